//! `ahwatch bah`: the BAH dataset, offline.

mod inspect;

use clap::Subcommand;

use super::Exit;

/// What to do with the dataset.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what a copy of BAH holds, and what is wrong with it.
    Inspect(inspect::Options),
}

pub(super) fn run(command: &Command) -> Exit {
    match command {
        Command::Inspect(options) => inspect::run(options),
    }
}
