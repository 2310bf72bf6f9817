//! A copy of BAH on disk: which videos there are, who talks in them, and what was annotated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{
    Annotation, BahError, Interval, Participant, Split, SplitLine, VideoPath, read_annotations, read_metadata,
    read_split,
};
use crate::judge::Label;

/// The annotations' file.
pub const ANNOTATIONS: &str = "video_annotation_transcript.yaml";
/// The participants' file.
pub const METADATA: &str = "meta_data.yml";
/// Where the releases keep the split files, below the dataset's folder.
const SPLIT_FOLDERS: [&str; 3] = ["", "split", "dataset-splits/video-level/BAH_DB/split-0"];

/// A dataset as its files describe it. The media are not touched.
#[derive(Debug)]
pub struct Dataset {
    /// Its folder.
    pub root: PathBuf,
    /// Where its split files are.
    pub splits_folder: PathBuf,
    /// Lines of the split files, in their order.
    pub splits: BTreeMap<Split, Vec<SplitLine>>,
    /// What was annotated, without labels of single frames.
    pub annotated: BTreeMap<VideoPath, Annotated>,
    /// The participants; None: the file is not there.
    pub participants: Option<BTreeMap<String, Participant>>,
}

/// What a video's annotation comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotated {
    /// `global_ah`.
    pub label: Option<Label>,
    /// `time_detailed_ah`, as written.
    pub intervals: Vec<Interval>,
}

/// A video of a split, with everything the files say of it.
#[derive(Clone, Debug)]
pub struct Video<'a> {
    /// Its name.
    pub path: &'a VideoPath,
    /// The split's label.
    pub label: Label,
    /// Its annotated intervals, as written.
    pub intervals: &'a [Interval],
    /// Whether it was annotated at all.
    pub annotated: bool,
}

impl Dataset {
    /// Reads the files below `root`. `splits`: another folder with `train.txt`, `val.txt` and `test.txt`.
    ///
    /// # Errors
    /// A file is missing or malformed; names it and the place in it.
    pub fn read(root: &Path, splits: Option<&Path>) -> Result<Self, BahError> {
        Self::read_with(root, splits, |_| ())
    }

    /// The same; `each` sees every annotation whole as it is read.
    ///
    /// # Errors
    /// As [`Dataset::read`].
    pub fn read_with(root: &Path, splits: Option<&Path>, mut each: impl FnMut(&Annotation)) -> Result<Self, BahError> {
        if !root.is_dir() {
            return Err(BahError::NoFolder(root.to_owned()));
        }
        let has = |folder: &Path| Split::ALL.iter().any(|split| folder.join(split.file_name()).is_file());
        let folder =
            match splits {
                Some(folder) => folder.to_owned(),
                None => SPLIT_FOLDERS.iter().map(|folder| root.join(folder)).find(|folder| has(folder)).ok_or_else(
                    || BahError::NoSplits {
                        root: root.to_owned(),
                        looked: SPLIT_FOLDERS.map(|f| Path::new(f).join("train.txt").display().to_string()).join(", "),
                    },
                )?,
            };
        let mut lines = BTreeMap::new();
        for split in Split::ALL {
            lines.insert(split, read_split(&folder.join(split.file_name()))?);
        }
        let metadata = root.join(METADATA);
        let participants = if metadata.exists() { Some(read_metadata(&metadata)?) } else { None };
        let (mut annotated, mut twice) = (BTreeMap::new(), None);
        let file = root.join(ANNOTATIONS);
        read_annotations(&file, |annotation| {
            each(&annotation);
            let Annotation { path, line, label, intervals, .. } = annotation;
            if annotated.insert(path.clone(), Annotated { label, intervals }).is_some() {
                twice.get_or_insert((line, path));
            }
        })?;
        if let Some((line, path)) = twice {
            return Err(BahError::Malformed { file, line, column: None, what: format!("{path} has a second entry") });
        }
        Ok(Self { root: root.to_owned(), splits_folder: folder, splits: lines, annotated, participants })
    }

    /// The videos of a split, in its file's order.
    pub fn videos(&self, split: Split) -> impl Iterator<Item = Video<'_>> {
        self.splits.get(&split).into_iter().flatten().map(|line| {
            let annotated = self.annotated.get(&line.path);
            Video {
                path: &line.path,
                label: line.label,
                intervals: annotated.map_or(&[], |a| &a.intervals),
                annotated: annotated.is_some(),
            }
        })
    }

    /// What is known of a participant.
    #[must_use]
    pub fn participant(&self, id: &str) -> Option<&Participant> {
        self.participants.as_ref()?.get(id)
    }

    /// Whether a participant allowed the use in challenges. Yes, unless "No" is written.
    #[must_use]
    pub fn in_challenges(&self, id: &str) -> bool {
        self.participant(id).and_then(|p| p.use_in_challenges).unwrap_or(true)
    }
}
