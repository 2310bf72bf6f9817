//! Logs, on stderr; while the live screen is up, on it.

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::screen::log::Logs;

/// How much is logged, and how.
#[derive(Debug, Args)]
pub struct Options {
    /// What to log: error, warn, info, debug, trace, or a filter such as `ahwatch=debug`.
    #[arg(long, global = true, value_name = "FILTER", default_value = "warn", value_parser = parse)]
    log: String,
    /// Form of the log lines.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    log_format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

fn parse(filter: &str) -> Result<String, String> {
    EnvFilter::try_new(filter).map(|_| filter.to_owned()).map_err(|e| e.to_string())
}

/// Starts logging.
pub fn start(options: &Options) {
    let filter = EnvFilter::new(&options.log);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Logs).with_target(false);
    let started = match options.log_format {
        Format::Text => {
            builder.with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()).try_init()
        }
        Format::Json => builder.json().try_init(),
    };
    // Fails only where something has started logging before, which is then as good.
    drop(started);
}
