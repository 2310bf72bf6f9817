//! `ahwatch bah inspect`.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;

use super::super::Exit;
use crate::bah::{Split, read_split};
use crate::judge::Label;

/// What to inspect.
#[derive(Debug, Args)]
pub struct Options {
    /// The dataset's folder: the one that holds `Videos` and `train.txt`.
    root: PathBuf,
}

pub(super) fn run(options: &Options) -> Exit {
    for split in Split::ALL {
        let lines = match read_split(&options.root.join(split.file_name())) {
            Ok(lines) => lines,
            Err(error) => {
                eprintln!("{error}");
                return Exit::Refused;
            }
        };
        let positive = lines.iter().filter(|line| line.label == Label::Present).count();
        let text = format!("{}: {} videos, {positive} positive\n", split.as_str(), lines.len());
        if std::io::stdout().write_all(text.as_bytes()).is_err() {
            return Exit::Failed;
        }
    }
    Exit::Done
}
