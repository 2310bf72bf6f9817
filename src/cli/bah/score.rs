//! `ahwatch bah score`: numbers of runs, without asking any model.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::bah::BahError;
use crate::bah::import::import;
use crate::bah::metrics::Bootstrap;
use crate::bah::prepare::write_whole;
use crate::bah::report::{Markup, tables};
use crate::bah::run_dir::{Run, RunInfo};
use crate::bah::score::{Between, Scored, between, score};
use crate::cli::Exit;

/// Which runs, and how.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    runs: Runs,
    /// Print one JSON object with everything, as fractions.
    #[arg(long)]
    json: bool,
}

/// What `score` and `report` read.
#[derive(Debug, Args)]
pub struct Runs {
    /// RUN directories of `ahwatch bah eval`; clip-level result files (.json) of the released scripts, which together are one panel.
    #[arg(value_name = "RUN", required = true)]
    paths: Vec<PathBuf>,
    /// Draws of the bootstrap over participants; 0: no intervals.
    #[arg(long, value_name = "N", default_value_t = Bootstrap::default().draws)]
    draws: u32,
    /// Seed of the bootstrap.
    #[arg(long, value_name = "N", default_value_t = Bootstrap::default().seed)]
    seed: u64,
}

/// Runs with what was scored, and every two of them beside each other.
pub(super) type Scores = (Vec<(Scored, RunInfo)>, Vec<Between>);

impl Runs {
    /// Reads and scores them.
    pub(super) fn score(&self) -> Result<Scores, BahError> {
        let bootstrap = Bootstrap { draws: self.draws, seed: self.seed };
        let (files, dirs): (Vec<PathBuf>, Vec<PathBuf>) = self.paths.iter().cloned().partition(|path| path.is_file());
        let mut runs = Vec::new();
        for dir in &dirs {
            let run = Run::open(dir)?;
            runs.push((score(&run, bootstrap), run.info));
        }
        if !files.is_empty() {
            let imported = import(&files)?;
            let mut scored = score(&imported.run, bootstrap);
            scored.released = Some(imported.compare(&scored));
            runs.push((scored, imported.run.info));
        }
        let scores: Vec<Scored> = runs.iter().map(|(scored, _)| scored.clone()).collect();
        let between = between(&scores);
        Ok((runs, between))
    }
}

#[derive(serde::Serialize)]
struct Everything<'a> {
    runs: Vec<&'a Scored>,
    between: &'a [Between],
}

pub(super) fn run(options: &Options) -> Exit {
    let (runs, between) = match options.runs.score() {
        Ok(scored) => scored,
        Err(error) => {
            eprintln!("{error}");
            return Exit::Refused;
        }
    };
    let text = if options.json {
        let runs = runs.iter().map(|(scored, _)| scored).collect();
        match serde_json::to_string_pretty(&Everything { runs, between: &between }) {
            Ok(json) => json + "\n",
            Err(error) => {
                eprintln!("the scores cannot be written as JSON: {error}");
                return Exit::Failed;
            }
        }
    } else {
        let scores: Vec<Scored> = runs.into_iter().map(|(scored, _)| scored).collect();
        tables(&scores, &between, Markup::Text)
    };
    print(text.as_bytes(), None)
}

/// To a file, by way of a temporary one beside it, or to stdout. A link is followed; a device or a pipe is written to, never replaced.
pub(super) fn print(bytes: &[u8], file: Option<&Path>) -> Exit {
    let Some(file) = file else {
        let mut out = std::io::stdout().lock();
        return match out.write_all(bytes).and_then(|()| out.flush()) {
            Ok(()) => Exit::Done,
            Err(error) => {
                eprintln!("the output was closed before the end: {error}");
                Exit::Failed
            }
        };
    };
    let target = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let written = if target.metadata().is_ok_and(|there| !there.is_file()) {
        std::fs::write(&target, bytes)
    } else {
        write_whole(&target, bytes)
    };
    match written {
        Ok(()) => Exit::Done,
        Err(error) => {
            eprintln!("{}: cannot be written: {error}", file.display());
            Exit::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_and_what_it_leads_to_stay_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let (page, link, other) = (dir.path().join("page.html"), dir.path().join("link"), dir.path().join("other"));
        let _socket = std::os::unix::net::UnixListener::bind(&other).unwrap();
        std::fs::write(&page, "old").unwrap();
        std::os::unix::fs::symlink(&page, &link).unwrap();
        assert_eq!(print(b"new", Some(&link)), Exit::Done);
        assert_eq!(print(b"new", Some(&other)), Exit::Failed, "it is no file, and not replaced by one");
        assert_eq!(std::fs::read(&page).unwrap(), b"new");
        assert!(link.is_symlink() && !other.metadata().unwrap().is_file());
        assert_eq!(print(b"new", Some(dir.path())), Exit::Failed);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3, "no temporary file is left");
    }
}
