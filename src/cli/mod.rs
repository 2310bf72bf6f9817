//! The commands. Data goes to stdout, everything said to people about the work goes to stderr.
//!
//! Exit codes: 0, it ran to its end; 1, a source or an output failed, or nothing could be judged; 2, bad usage,
//! configuration or a missing input, before anything ran.

mod bah;
mod config;
mod devices;
mod doctor;
mod gate_report;
mod journal;
mod log;
mod reload;
mod replay;
mod serve;
mod telemetry;
mod token;
mod watch;
mod worker;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::RawConfig;

/// Watches a person talk and says, while it happens, whether Ambivalence/Hesitancy (A/H) shows.
///
/// Advisory, not a diagnosis. Media goes only to endpoints that somebody wrote down.
#[derive(Debug, Parser)]
#[command(name = "ahwatch", version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    log: log::Options,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch recordings, cameras and microphones, and print what is judged as it happens.
    Watch(watch::Options),
    /// Run as a service: sessions by an HTTP API, participants' browsers, a dashboard, alerts that arrive.
    Serve(serve::Options),
    /// Look at everything a watch needs: this machine, the configuration, every judge and whether it hears and sees.
    Doctor(doctor::Options),
    /// Check a configuration, or print its JSON Schema.
    Config {
        #[command(subcommand)]
        command: config::Command,
    },
    /// The journal of a service: what was said, and what became of it.
    Journal {
        #[command(subcommand)]
        command: journal::Command,
    },
    /// Decide a session of the journal anew, by other settings; no model is asked.
    Replay(replay::Options),
    /// Tokens of a service: who may do what.
    Token {
        #[command(subcommand)]
        command: token::Command,
    },
    /// The BAH dataset: what a copy holds, the published training data and training.
    Bah {
        #[command(subcommand)]
        command: bah::Command,
    },
    /// Decodes one source for the program that started it (`isolation = "process"`).
    #[command(hide = true)]
    Worker,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// It ran to its end.
    Done,
    /// A source or an output failed, or nothing could be judged.
    Failed,
    /// It did not start.
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Failed => Self::from(1),
            Exit::Refused => Self::from(2),
        }
    }
}

/// Reads the command line and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    telemetry::off();
    let cli = Cli::parse();
    log::start(&cli.log);
    let exit = match cli.command {
        Command::Watch(options) => watch::run(&options),
        Command::Serve(options) => serve::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Config { command } => config::run(&command),
        Command::Journal { command } => journal::run(&command),
        Command::Replay(options) => replay::run(&options),
        Command::Token { command } => token::run(&command),
        Command::Bah { command } => bah::run(&command),
        Command::Worker => worker::run(),
    };
    exit.into()
}

/// What is typed in a configuration file, where one is named, with a panel's file, where one is.
fn typed(config: Option<&Path>, panel: Option<&Path>) -> Result<RawConfig, String> {
    let raw = match config {
        Some(file) => RawConfig::parse(&watch::read(file)?, file),
        None => RawConfig::default(),
    };
    Ok(match panel {
        Some(panel) => raw.with_panel(&watch::read(panel)?, panel),
        None => raw,
    })
}

/// Runs to its end what needs tasks. What hangs in a driver or decoder then does not hold the program.
fn run_tasks<T>(work: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    runtime.shutdown_background();
    Ok(done)
}

/// [`run_tasks`] of a whole command.
fn run_command(work: impl Future<Output = Exit>) -> Exit {
    run_tasks(work).unwrap_or_else(|error| {
        eprintln!("no threads to run on: {error}");
        Exit::Failed
    })
}
