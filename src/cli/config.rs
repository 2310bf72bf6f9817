//! `ahwatch config check|schema`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::Exit;
use super::serve::by_leave;
use super::watch::environment;
use crate::config::{Config, Judging, Overrides, config_schema};

/// What to do with a configuration.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a configuration file and everything it names; opens no connection.
    Check {
        /// The file.
        #[arg(required_unless_present = "config")]
        file: Option<PathBuf>,
        /// The same, named as for other commands.
        #[arg(long, value_name = "FILE", conflicts_with = "file")]
        config: Option<PathBuf>,
        /// A panel file to check with it.
        #[arg(long, value_name = "FILE")]
        panel: Option<PathBuf>,
    },
    /// Print the JSON Schema of the configuration file.
    Schema,
}

pub(super) fn run(command: &Command) -> Exit {
    let text = match command {
        Command::Schema => format!("{:#}\n", config_schema()),
        Command::Check { file, config, panel } => {
            // One of the two is there.
            let file = file.as_deref().or(config.as_deref()).unwrap_or(Path::new(""));
            match check(file, panel.as_deref()) {
                Ok(text) => text,
                Err(problems) => {
                    eprintln!("{problems}");
                    return Exit::Refused;
                }
            }
        }
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Done,
        Err(_) => Exit::Failed,
    }
}

fn check(file: &Path, panel: Option<&Path>) -> Result<String, String> {
    let raw = super::typed(Some(file), panel)?;
    let serves = raw.serves;
    let config = Config::build(raw, Overrides::default(), &environment).map_err(|problems| problems.to_string())?;
    if serves {
        by_leave(&config, file)?;
    }
    let judges = match &config.judging {
        Judging::Cues { .. } => "the embedded hesitation-cue index".to_owned(),
        Judging::Panel(judges) => format!("a panel of {}", judges.len()),
    };
    let sources = config.sources.len();
    Ok(format!("{}: in order; {judges}, {sources} source{}\n", file.display(), if sources == 1 { "" } else { "s" }))
}
