//! `ahwatch bah`: the BAH dataset, offline.

mod eval;
mod inspect;
mod prepare;
mod report;
mod score;
mod train;

use std::convert::Infallible;
use std::io::IsTerminal as _;

use clap::Subcommand;
use crossbeam_channel::Receiver;
use indicatif::{ProgressBar, ProgressStyle};

use super::Exit;

/// What to do with the dataset.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what a copy of BAH holds, and what is wrong with it.
    Inspect(inspect::Options),
    /// Cut the clips that the published checkpoints were trained on, and write the rows for ms-swift.
    Prepare(prepare::Options),
    /// Train a checkpoint by ms-swift with a recipe of the paper.
    Train(train::Options),
    /// Put a split's videos before a panel, by the code that watches live; goes on where it was stopped.
    Eval(eval::Options),
    /// Print the numbers of runs; asks no model.
    Score(score::Options),
    /// Write the numbers of runs as one offline HTML page, or as Markdown, CSV or LaTeX.
    Report(report::Options),
}

pub(super) fn run(command: &Command) -> Exit {
    match command {
        Command::Inspect(options) => inspect::run(options),
        Command::Prepare(options) => prepare::run(options),
        Command::Train(options) => train::run(options),
        Command::Eval(options) => eval::run(options),
        Command::Score(options) => score::run(options),
        Command::Report(options) => report::run(options),
    }
}

/// One job a core.
fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Does work on many things behind a bar; Ctrl-C and SIGTERM disconnect what it is given. `work` tells how many of how many are
/// done.
fn behind_a_bar<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce(&Receiver<Infallible>, &mut dyn FnMut(usize, usize)) -> T + Send + 'static,
) -> Result<T, Exit> {
    let done = crate::run::interruptible(move |stop| {
        let bar = progress(what);
        let outcome = work(stop, &mut |done, all| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        });
        bar.finish_and_clear();
        outcome
    });
    done.map_err(|error| {
        eprintln!("no thread could be started: {error}");
        Exit::Failed
    })
}

/// A bar on stderr with rate and time left; hidden where stderr is no terminal.
fn progress(what: &'static str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg}, {per_sec:.1}, {eta} left");
    ProgressBar::new(0).with_message(what).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
