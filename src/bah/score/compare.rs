//! Two runs beside each other, on the videos of one split.

use serde::Serialize;

use super::Scored;
use crate::bah::metrics::{Case, McNemar, Pair, mcnemar, pair};

/// Two runs' panels (`vote_of_max`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Between {
    /// The first run.
    pub first: String,
    /// The second run.
    pub second: String,
    /// Why they cannot be compared; None: they were.
    pub refused: Option<String>,
    /// Videos that both have.
    pub videos: u64,
    /// How far they say the same.
    pub pair: Option<Pair>,
    /// Whether one is better.
    pub mcnemar: Option<McNemar>,
}

/// Compares every two runs. Runs of different splits, or of different truths, are not compared.
#[must_use]
pub fn between(runs: &[Scored]) -> Vec<Between> {
    let mut rows = Vec::new();
    for (i, first) in runs.iter().enumerate() {
        for second in &runs[i + 1..] {
            rows.push(compare(first, second));
        }
    }
    rows
}

fn compare(first: &Scored, second: &Scored) -> Between {
    let (a, b) = (&first.dataset, &second.dataset);
    let names = (first.run.clone(), second.run.clone());
    let mut row = Between { first: names.0, second: names.1, refused: None, videos: 0, pair: None, mcnemar: None };
    if a.digest != b.digest {
        row.refused = Some(format!(
            "they are of different splits: {} with {} videos and {} with {} (the digests of their lists differ)",
            a.split, a.videos_in_split, b.split, b.videos_in_split
        ));
        return row;
    }
    let case = |video: &super::VideoResult| Case {
        truth: video.label == 1,
        answer: video.vote_of_max.answer(),
        score: None,
        participant: 0,
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for video in &first.videos {
        if let Some(other) = second.videos.iter().find(|other| other.video == video.video) {
            ours.push(case(video));
            theirs.push(case(other));
        }
    }
    row.videos = ours.len() as u64;
    row.pair = Some(pair(&ours, &theirs));
    row.mcnemar = Some(mcnemar(&ours, &theirs));
    row
}
