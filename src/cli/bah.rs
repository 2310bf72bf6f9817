//! `ahwatch bah`: the BAH dataset, offline.

mod inspect;
mod report;
mod score;

use clap::Subcommand;

use super::Exit;

/// What to do with the dataset.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what a copy of BAH holds, and what is wrong with it.
    Inspect(inspect::Options),
    /// Print the numbers of runs; asks no model.
    Score(score::Options),
    /// Write the numbers of runs as one offline HTML page, or as Markdown, CSV or LaTeX.
    Report(report::Options),
}

pub(super) fn run(command: &Command) -> Exit {
    match command {
        Command::Inspect(options) => inspect::run(options),
        Command::Score(options) => score::run(options),
        Command::Report(options) => report::run(options),
    }
}
