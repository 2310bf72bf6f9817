//! What a copy of BAH holds, and what is wrong with it.

mod findings;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::Path;

use crossbeam_channel::Receiver;
use serde::Serialize;

use super::{Annotation, BahError, Dataset, FrameLabel, Split, VideoPath};
use crate::judge::Label;
use crate::source::{Probe, SourceError, probe};
use crate::time::{MediaTime, Span};

pub use findings::{Finding, Level};

/// What to look at.
#[derive(Clone, Debug)]
pub struct Inspecting {
    /// Another folder with the split files.
    pub splits: Option<std::path::PathBuf>,
    /// Whether the videos themselves are opened.
    pub media: bool,
    /// How many at once.
    pub jobs: usize,
}

/// The releases that are known: videos of train, val and test.
const RELEASES: [(&str, [usize; 3]); 2] = [
    ("31 January 2026 (1,427 videos, 300 participants)", [778, 124, 525]),
    ("the older one (1,118 videos)", [616, 110, 392]),
];

/// The labels of single frames, as runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Frames {
    /// How many frames there should be: one more than the last listed.
    pub count: usize,
    /// Missing among them.
    pub unlisted: usize,
    /// First and last of each run of Present.
    pub runs: Vec<(usize, usize)>,
    /// Entries that name another video.
    pub foreign: u64,
    /// `fr_detailed_ah`.
    pub ranges: Vec<(u64, u64)>,
}

impl Frames {
    fn of(annotation: &Annotation) -> Self {
        let mut found = Self {
            count: annotation.frames.len(),
            unlisted: annotation.frames.iter().filter(|l| **l == FrameLabel::Unlisted).count(),
            runs: Vec::new(),
            foreign: annotation.foreign_frames,
            ranges: annotation.frame_ranges.clone(),
        };
        for (n, _) in annotation.frames.iter().enumerate().filter(|(_, l)| **l == FrameLabel::Present) {
            match found.runs.last_mut() {
                Some((_, last)) if *last + 1 == n => *last = n,
                _ => found.runs.push((n, n)),
            }
        }
        found
    }
}

/// What was found out about a video's file.
pub(super) enum Media {
    /// There is no file.
    Missing,
    /// It is a link out of the dataset's folder, which says where.
    Outside(std::path::PathBuf),
    /// It was not opened.
    Unopened,
    /// GStreamer can make nothing of it; why.
    Broken(String),
    /// What its headers say.
    Fine(Probe),
}

/// A split in numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SplitReport {
    /// Videos listed.
    pub videos: usize,
    /// Participants among them.
    pub participants: usize,
    /// Videos whose label is 1.
    pub positive: usize,
    /// Videos that are not on disk.
    pub missing: usize,
    /// Seconds of the videos that could be opened; None: none was.
    pub secs: Option<f64>,
    /// Annotated seconds of A/H, overlaps once.
    pub ah_secs: f64,
}

/// What a copy of BAH holds.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Its folder.
    pub root: String,
    /// Where its split files are.
    pub splits_folder: String,
    /// The release it is; None: not a known one.
    pub release: Option<&'static str>,
    /// By split.
    pub splits: BTreeMap<&'static str, SplitReport>,
    /// All splits together.
    pub total: SplitReport,
    /// Participants who do not allow the use in challenges.
    pub not_for_challenges: Vec<String>,
    /// What is wrong or worth knowing, errors first.
    pub findings: Vec<Finding>,
    /// It was stopped before all videos were opened.
    pub stopped: bool,
}

impl Report {
    /// Whether anything is wrong.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.findings.iter().any(|f| f.level == Level::Error)
    }
}

/// Inspects the copy of BAH at `root`. `tick` is told of each video that was opened, of how many.
///
/// # Errors
/// A file of the dataset is missing or malformed.
pub fn inspect(
    root: &Path,
    inspecting: &Inspecting,
    stop: &Receiver<Infallible>,
    mut tick: impl FnMut(usize, usize),
) -> Result<Report, BahError> {
    let mut frames: BTreeMap<VideoPath, Frames> = BTreeMap::new();
    let dataset = Dataset::read_with(root, inspecting.splits.as_deref(), |annotation| {
        frames.insert(annotation.path.clone(), Frames::of(annotation));
    })?;
    let listed: BTreeSet<&VideoPath> = dataset.splits.values().flatten().map(|line| &line.path).collect();
    let all: Vec<&VideoPath> =
        listed.iter().copied().chain(dataset.annotated.keys()).collect::<BTreeSet<_>>().into_iter().collect();
    let mut media = BTreeMap::new();
    let look = |path: &&VideoPath| {
        let file = path.below(root);
        if let Some(target) = path.leads_out(root) {
            return Media::Outside(target);
        }
        match (file.is_file(), inspecting.media) {
            (false, _) => Media::Missing,
            (true, false) => Media::Unopened,
            (true, true) => probe(&file).map_or_else(|error| Media::Broken(reason(error)), Media::Fine),
        }
    };
    let looked = crate::run::in_parallel(inspecting.jobs, &all, stop, look, |at, found| {
        media.insert(all[at].clone(), found);
        tick(media.len(), all.len());
        true
    });
    looked.map_err(|e| BahError::unreadable(root, &e))?;
    let stopped = media.len() < all.len();
    let findings = findings::find(&dataset, &frames, &media);
    let counts: Vec<usize> = Split::ALL.iter().map(|s| dataset.splits.get(s).map_or(0, Vec::len)).collect();
    let release = RELEASES.iter().find(|(_, known)| counts == known).map(|(name, _)| *name);
    let splits: BTreeMap<_, _> =
        Split::ALL.iter().map(|split| (split.as_str(), numbers(&dataset, &media, &[*split]))).collect();
    let refused = dataset.participants.iter().flatten().filter(|(_, p)| p.use_in_challenges == Some(false));
    Ok(Report {
        root: root.display().to_string(),
        splits_folder: dataset.splits_folder.display().to_string(),
        release,
        splits,
        total: numbers(&dataset, &media, &Split::ALL),
        not_for_challenges: refused.map(|(id, _)| id.clone()).collect(),
        findings,
        stopped,
    })
}

/// Without the place, which the finding names.
pub(super) fn reason(error: SourceError) -> String {
    match error {
        SourceError::Unreadable { reason, .. } | SourceError::Media { reason, .. } => reason,
        SourceError::Nothing { .. } => "has neither sound nor pictures that GStreamer can decode".into(),
        other => other.to_string(),
    }
}

fn numbers(dataset: &Dataset, media: &BTreeMap<VideoPath, Media>, splits: &[Split]) -> SplitReport {
    let mut report = SplitReport::default();
    let mut people = BTreeSet::new();
    let (mut length, mut ah) = (None, MediaTime::ZERO);
    for video in splits.iter().flat_map(|split| dataset.videos(*split)) {
        report.videos += 1;
        people.insert(video.path.participant().to_owned());
        report.positive += usize::from(video.label == Label::Present);
        match media.get(video.path) {
            Some(Media::Missing) => report.missing += 1,
            Some(Media::Fine(probe)) => {
                *length.get_or_insert(MediaTime::ZERO) += probe.duration.unwrap_or_default();
            }
            _ => {}
        }
        let spans = video.intervals.iter().map(|i| Span::new(i.start, i.end)).collect();
        ah += union(spans).iter().fold(MediaTime::ZERO, |sum, s| sum + s.length());
    }
    report.participants = people.len();
    report.secs = length.map(MediaTime::as_secs_f64);
    report.ah_secs = ah.as_secs_f64();
    report
}

/// The same time, in order and without overlaps.
pub(super) fn union(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut merged: Vec<Span> = Vec::new();
    for span in spans.into_iter().filter(|s| !s.is_empty()) {
        match merged.last_mut() {
            Some(last) if span.start() <= last.end() => *last = Span::new(last.start(), last.end().max(span.end())),
            _ => merged.push(span),
        }
    }
    merged
}
