//! The BAH dataset, offline, on the same core as live: what it holds, the published training data, and training.
//!
//! BAH (Gonzalez-Gonzalez et al., arXiv 2505.19328) is released on request; none of it is part of this project. The
//! preparation is that of Tang et al. (arXiv 2603.13406, Sec. II and Algorithm 1).
//!
//! - `path`: how a video is named. `splits`: `train.txt`, `val.txt`, `test.txt`. `yaml`, `annotations`, `metadata`: the YAML
//!   files, as they stream by. `dataset`: all of them together.
//! - [`inspect`]: what is wrong with it. [`algorithm`]: which clips training data is made of.
//! - [`prepare`]: the clips, and the rows that are trained on. [`train`]: by ms-swift.
//! - [`eval`]: a split's videos through the live path's code. [`run_dir`]: what it writes. [`metrics`], [`score`]: its numbers.
//!   [`protocol`]: what has to be known before they are read. [`report`]: the same for people. [`import`]: result files of the
//!   released scripts.

pub mod algorithm;
mod annotations;
mod dataset;
pub mod eval;
pub mod import;
pub mod inspect;
mod metadata;
pub mod metrics;
mod path;
pub mod prepare;
pub mod protocol;
pub mod report;
pub mod run_dir;
pub mod score;
mod splits;
pub mod train;
mod yaml;

use std::path::PathBuf;

pub use annotations::{Annotation, FrameLabel, Interval, read_annotations};
pub use dataset::{ANNOTATIONS, Annotated, Dataset, METADATA, Video};
pub use metadata::{Participant, read_metadata};
pub use path::VideoPath;
pub use splits::{Split, SplitLine, read_split};

/// Why a file of the dataset cannot be used. Names the file, and the place in it.
#[derive(Debug, thiserror::Error)]
pub enum BahError {
    /// It is not there, or may not be read.
    #[error("{}: cannot be read: {reason}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's word.
        reason: String,
    },
    /// Its text is not what it should be.
    #[error("{}:{line}:{} {what}", file.display(), column.map(|c| format!("{c}:")).unwrap_or_default())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1, where it is known.
        column: Option<usize>,
        /// What is wrong, and what should stand there.
        what: String,
    },
    /// The dataset's folder is none.
    #[error("{}: is no folder; name the one that holds BAH's files", _0.display())]
    NoFolder(PathBuf),
    /// There are no split files.
    #[error("{}: has no split files; looked for {looked} (`--splits DIR` names another folder)", root.display())]
    NoSplits {
        /// The dataset's folder.
        root: PathBuf,
        /// What was looked for below it.
        looked: String,
    },
}

impl BahError {
    fn unreadable(file: &std::path::Path, error: &std::io::Error) -> Self {
        Self::Unreadable { file: file.to_owned(), reason: error.to_string() }
    }
}

/// What is wrong with a video that leads out of the dataset by a link, in one line; None: it does not.
pub(crate) fn outside(video: &VideoPath, root: &std::path::Path) -> Option<String> {
    let target = video.leads_out(root)?;
    Some(format!("{video} links to {}, outside of the dataset's folder; put the file itself there", target.display()))
}
