//! The RUN directory while an evaluation writes it. Lines are only ever appended, each by one write, so that a kill leaves whole
//! lines and at most one torn one, which is cut off when the evaluation goes on.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::bah::BahError;
use crate::bah::run_dir::{AnswerLine, INFO, Run, RunInfo, SAMPLES, Said, VIDEOS, VideoLine, Windows};
use crate::bah::run_dir::{lines_of, read_info};
use crate::judge::AbstentionReason;
use crate::run::RunError;

/// Held while an evaluation writes.
const LOCK: &str = "lock";

/// Why an evaluation did not start, or did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// A file of the dataset or of the RUN directory cannot be used.
    #[error(transparent)]
    Bah(#[from] BahError),
    /// The RUN directory is not this evaluation's.
    #[error("{}: {what}", dir.display())]
    Refused {
        /// The directory.
        dir: PathBuf,
        /// What is in the way, and what to do.
        what: String,
    },
    /// A file cannot be written.
    #[error("{}: cannot be written: {error}; what was written before stays, the same command goes on", file.display())]
    Unwritable {
        /// The file.
        file: PathBuf,
        /// The system's word.
        error: std::io::Error,
    },
    /// Something needed is not there.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Judges failed the canary.
    #[error(
        "judges did not pass the canary: {0}. Nothing was asked; `ahwatch doctor` looks into it. --allow-degraded lets them \
         vote, each vote flagged"
    )]
    Unfit(String),
    /// The panel is not there.
    #[error(
        "judge {judge} failed on {failures} clips in a row, the last time: {detail}. Nothing more is asked; the same command goes on, and asks again what failed"
    )]
    Silent {
        /// Its name.
        judge: String,
        /// How many.
        failures: u32,
        /// The last abstention's.
        detail: String,
    },
}

/// An open RUN directory.
#[derive(Debug)]
pub struct Ledger {
    run: Run,
    samples: File,
    videos: File,
    _lock: File,
}

impl Ledger {
    /// Begins the evaluation `info` describes in `dir`, or goes on with it.
    ///
    /// # Errors
    /// The directory holds something else, another process writes it, or a file of it cannot be read or written.
    pub fn open(dir: &Path, info: &RunInfo) -> Result<Self, EvalError> {
        let refused = |what: String| EvalError::Refused { dir: dir.to_owned(), what };
        let unwritable = |file: &str| {
            let file = dir.join(file);
            |error| EvalError::Unwritable { file, error }
        };
        std::fs::create_dir_all(dir).map_err(unwritable(""))?;
        let begun = dir.join(INFO).exists();
        if !begun && foreign(dir).map_err(unwritable(""))? {
            return Err(refused("is not empty, and no RUN of this program; name a new directory with --out".into()));
        }
        let lock = append(&dir.join(LOCK)).map_err(unwritable(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(refused("another evaluation is writing it".into())),
            Err(TryLockError::Error(error)) => return Err(unwritable(LOCK)(error)),
        }
        if begun {
            let before = read_info(dir)?;
            if let Some(what) = difference(&before, info) {
                return Err(refused(format!("is a run of {what}; name a new directory with --out")));
            }
            for (name, end) in [
                (SAMPLES, lines_of::<AnswerLine>(&dir.join(SAMPLES))?.1),
                (VIDEOS, lines_of::<VideoLine>(&dir.join(VIDEOS))?.1),
            ] {
                let file = append(&dir.join(name)).map_err(unwritable(name))?;
                file.set_len(end).map_err(unwritable(name))?;
            }
        } else {
            let text = serde_json::to_string_pretty(info).unwrap_or_default() + "\n";
            let part = dir.join("run.json.part");
            let write = || {
                let mut file = File::create(&part)?;
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                std::fs::rename(&part, dir.join(INFO))
            };
            write().map_err(unwritable(INFO))?;
        }
        let run = Run::open(dir)?;
        let (samples, videos) = (dir.join(SAMPLES), dir.join(VIDEOS));
        Ok(Self {
            samples: append(&samples).map_err(unwritable(SAMPLES))?,
            videos: append(&videos).map_err(unwritable(VIDEOS))?,
            run,
            _lock: lock,
        })
    }

    /// What is in it.
    #[must_use]
    pub const fn run(&self) -> &Run {
        &self.run
    }

    /// Whether a video is done: it came to its end without error, and no judge failed on it in a way that another attempt
    /// may mend.
    #[must_use]
    pub fn is_done(&self, video: &str) -> bool {
        let ended = self.run.ended.get(video).is_some_and(|line| line.error.is_none());
        ended && self.known(video).values().flat_map(|lines| lines.values()).all(is_settled)
    }

    /// The lines of a video.
    #[must_use]
    pub fn known(&self, video: &str) -> Windows {
        self.run.samples.get(video).cloned().unwrap_or_default()
    }

    /// Appends a judge's line.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn sample(&mut self, line: AnswerLine) -> Result<(), EvalError> {
        write(&mut self.samples, &line).map_err(|error| self.unwritable(SAMPLES, error))?;
        self.run.add(line);
        Ok(())
    }

    /// Appends a video's line.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn video(&mut self, line: VideoLine) -> Result<(), EvalError> {
        write(&mut self.videos, &line).map_err(|error| self.unwritable(VIDEOS, error))?;
        self.run.ended.insert(line.video.clone(), line);
        Ok(())
    }

    fn unwritable(&self, file: &str, error: std::io::Error) -> EvalError {
        EvalError::Unwritable { file: self.run.dir.join(file), error }
    }
}

/// Whether there is anything that no evaluation wrote.
fn foreign(dir: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        if name != LOCK && name != "run.json.part" {
            return Ok(true);
        }
    }
    Ok(false)
}

fn append(file: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).open(file)
}

/// One write a line.
fn write(file: &mut File, line: &impl serde::Serialize) -> std::io::Result<()> {
    let mut text = serde_json::to_vec(line).map_err(std::io::Error::other)?;
    text.push(b'\n');
    file.write_all(&text)
}

/// Whether a judge has said its last word on a clip. What failed on the way (no connection, no time, a server's error) is asked
/// again when the evaluation goes on; an answer that could not be read is an answer.
pub(super) fn is_settled(line: &AnswerLine) -> bool {
    let may_pass = |word: &str| AbstentionReason::parse(word).is_some_and(AbstentionReason::may_pass);
    line.answer != Said::Abstained || !line.reason.as_deref().is_some_and(may_pass)
}

/// What is different between the run in the directory and the one that is wanted.
fn difference(before: &RunInfo, wanted: &RunInfo) -> Option<String> {
    let (a, b) = (&before.dataset, &wanted.dataset);
    if a.split != b.split {
        return Some(format!("the split {}, not {}", a.split, b.split));
    }
    if a.digest != b.digest {
        return Some(format!("another dataset: its {} list differs (other videos or labels)", a.split));
    }
    if before.limit != wanted.limit {
        let limit =
            |limit: Option<usize>| limit.map_or_else(|| "no --limit".into(), |limit| format!("--limit {limit}"));
        return Some(format!("{}, not {}", limit(before.limit), limit(wanted.limit)));
    }
    if before.early_stop != wanted.early_stop {
        return Some(format!("{} early stop", if before.early_stop { "a panel with" } else { "a panel without" }));
    }
    if before.via != wanted.via {
        return Some(format!("--via {}, not {}", before.via, wanted.via));
    }
    let names = |info: &RunInfo| info.panel.iter().map(|judge| judge.name.clone()).collect::<Vec<_>>().join(", ");
    if names(before) != names(wanted) {
        return Some(format!("another panel ({}, not {})", names(before), names(wanted)));
    }
    for (was, is) in before.panel.iter().zip(&wanted.panel) {
        let comparable = |judge: &crate::bah::run_dir::JudgeInfo| {
            let mut judge = judge.clone();
            judge.server_version = None;
            // What a run of an earlier version does not say is not known to differ.
            judge.max_pixels = judge.max_pixels.filter(|_| was.max_pixels.is_some());
            judge.max_tokens = judge.max_tokens.filter(|_| was.max_tokens.is_some());
            judge
        };
        if comparable(was) != comparable(is) {
            return Some(format!(
                "a judge {} with another model, prompt, sampling, threshold or limit of pixels or tokens",
                was.name
            ));
        }
    }
    if before.window != wanted.window || before.min_coverage.to_bits() != wanted.min_coverage.to_bits() {
        return Some("other window settings".into());
    }
    (before.videos != wanted.videos).then(|| "the same videos with another annotation".into())
}
