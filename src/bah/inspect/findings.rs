//! What is wrong with a copy of BAH, one finding a fault. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Frames, Media, union};
use crate::bah::{Dataset, Split, Video, VideoPath};
use crate::judge::Label;
use crate::time::{MediaTime, Span};

/// Ends of intervals are typed by people and frame numbers are rounded: so far is no disagreement.
const TOLERANCE: MediaTime = MediaTime::from_millis(200);

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Training or evaluation on it would be wrong or fail.
    Error,
    /// Worth a look; the preparation copes.
    Warning,
}

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The kind of fault, one word, e.g. `interval_reversed`.
    pub kind: &'static str,
    /// The video or participant it is about.
    pub about: String,
    /// What is wrong, for people.
    pub what: String,
}

struct Found(Vec<Finding>);

impl Found {
    fn add(&mut self, level: Level, kind: &'static str, about: &dyn std::fmt::Display, what: impl Into<String>) {
        self.0.push(Finding { level, kind, about: about.to_string(), what: what.into() });
    }
    fn error(&mut self, kind: &'static str, about: &dyn std::fmt::Display, what: impl Into<String>) {
        self.add(Level::Error, kind, about, what);
    }
    fn warning(&mut self, kind: &'static str, about: &dyn std::fmt::Display, what: impl Into<String>) {
        self.add(Level::Warning, kind, about, what);
    }
}

/// Everything that is wrong, errors first.
pub(super) fn find(
    dataset: &Dataset,
    frames: &BTreeMap<VideoPath, Frames>,
    media: &BTreeMap<VideoPath, Media>,
) -> Vec<Finding> {
    let mut found = Found(Vec::new());
    of_splits(dataset, &mut found);
    for video in Split::ALL.iter().flat_map(|split| dataset.videos(*split)) {
        of_labels(dataset, &video, &mut found);
    }
    for (path, media) in media {
        let length = match media {
            Media::Missing => {
                found.error("missing_file", &path, "the video is not on disk");
                None
            }
            Media::Outside(target) => {
                let what = format!("the video is a link to {}, outside of the dataset's folder", target.display());
                found.error("leads_outside", &path, what);
                None
            }
            Media::Broken(reason) => {
                found.error("unreadable_video", &path, reason.clone());
                None
            }
            Media::Fine(probe) => {
                for (there, what) in [(probe.video, "no pictures"), (probe.audio, "no sound")] {
                    if !there {
                        found.error("missing_stream", &path, format!("the video has {what}"));
                    }
                }
                probe.duration
            }
            Media::Unopened => None,
        };
        let Some(annotated) = dataset.annotated.get(path) else { continue };
        of_intervals(path, &annotated.intervals, length, &mut found);
        if let Some(frames) = frames.get(path) {
            of_frames(path, &annotated.intervals, frames, length, &mut found);
        }
    }
    found.0.sort();
    found.0
}

fn of_splits(dataset: &Dataset, found: &mut Found) {
    let (mut people, mut videos, mut stems) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (split, lines) in &dataset.splits {
        for line in lines {
            people.entry(line.path.participant()).or_insert_with(BTreeSet::new).insert(*split);
            if let Some((first, at)) = videos.insert(&line.path, (*split, line.line)) {
                let what = format!(
                    "line {} of {} lists it, and line {at} of {}",
                    line.line,
                    split.file_name(),
                    first.file_name()
                );
                found.error("listed_twice", &line.path, what);
            } else if let Some(other) = stems.insert(line.path.stem(), &line.path) {
                found.error("same_name", &line.path, format!("{other} has the same file name: their clips would too"));
            }
        }
    }
    for (person, splits) in &people {
        if splits.len() > 1 {
            let names: Vec<_> = splits.iter().map(|s| s.as_str()).collect();
            found.error("participant_in_two_splits", &person, format!("is in {}", names.join(" and ")));
        }
        if dataset.participants.as_ref().is_some_and(|all| !all.contains_key(*person)) {
            found.warning("no_metadata", &person, "meta_data.yml does not have this participant");
        }
    }
    for path in dataset.annotated.keys().filter(|path| !videos.contains_key(path)) {
        found.warning("in_no_split", &path, "is annotated, and in no split");
    }
}

fn of_labels(dataset: &Dataset, video: &Video<'_>, found: &mut Found) {
    let Some(annotated) = dataset.annotated.get(video.path) else {
        return found.error("not_annotated", &video.path, "is in a split, and not annotated");
    };
    match annotated.label {
        Some(label) if label != video.label => {
            found.error("label_disagrees", &video.path, "the split's label and global_ah disagree");
        }
        None => found.warning("no_global_label", &video.path, "global_ah is not said; the split's label counts"),
        Some(_) => {}
    }
    match (video.label, annotated.intervals.is_empty()) {
        (Label::Present, true) => found.error("no_interval", &video.path, "is positive without any annotated interval"),
        (Label::Absent, false) => {
            found.error("interval_in_negative", &video.path, "is negative with annotated intervals");
        }

        _ => {}
    }
}

fn of_intervals(path: &VideoPath, intervals: &[crate::bah::Interval], length: Option<MediaTime>, found: &mut Found) {
    let mut good = Vec::new();
    for (n, interval) in (1..).zip(intervals) {
        let shown = format!("interval {n} ({} to {})", interval.start, interval.end);
        if interval.end <= interval.start {
            if interval.end == interval.start {
                found.error("interval_empty", &path, format!("{shown} is empty"));
            } else {
                found.error("interval_reversed", &path, format!("{shown} ends before it begins"));
            }
        } else {
            good.push(Span::new(interval.start, interval.end));
            if let Some(length) = length {
                if interval.start >= length {
                    found.error("interval_outside", &path, format!("{shown} lies behind the video's end at {length}"));
                } else if interval.end > length + TOLERANCE {
                    let what = format!("{shown} goes on behind the video's end at {length}; it is cut there");
                    found.warning("interval_outside", &path, what);
                }
            }
        }
    }
    good.sort_unstable();
    for pair in good.windows(2).filter(|pair| pair[1].start() < pair[0].end()) {
        let what = format!(
            "the intervals at {} and {} overlap; each gives clips of its own",
            pair[0].start(),
            pair[1].start()
        );
        found.warning("intervals_overlap", &path, what);
    }
}

/// Frames are compared with the intervals by time, if the video's length is known, else with the annotator's own frame numbers.
fn of_frames(
    path: &VideoPath,
    intervals: &[crate::bah::Interval],
    frames: &Frames,
    length: Option<MediaTime>,
    found: &mut Found,
) {
    if frames.foreign > 0 {
        found.error("foreign_frames", &path, format!("{} of its frame labels name another video", frames.foreign));
    }
    if frames.unlisted > 0 {
        let what = format!("{} of {} frames have no label", frames.unlisted, frames.count);
        found.warning("frames_unlisted", &path, what);
    }
    if frames.count == 0 {
        return;
    }
    let count = i64::try_from(frames.count).unwrap_or(i64::MAX);
    let time = |length: MediaTime, n: i64| length.scale(n, count);
    let (expected, unit): (Vec<Span>, _) = match length {
        Some(length) if length > MediaTime::ZERO => {
            let spans = intervals.iter().map(|i| Span::new(i.start, i.end.min(length))).collect();
            (spans, Box::new(move |n| time(length, n)) as Box<dyn Fn(i64) -> MediaTime>)
        }
        _ if !frames.ranges.is_empty() => {
            // 33 ms a frame, so that the tolerance is six frames.
            let frame = |n: i64| MediaTime::from_millis(33).scale(n, 1);
            let at = |n: u64| frame(i64::try_from(n).unwrap_or(i64::MAX / 100_000_000));
            (frames.ranges.iter().map(|(a, b)| Span::new(at(*a), at(b.saturating_add(1)))).collect(), Box::new(frame))
        }
        _ => {
            if frames.runs.is_empty() != intervals.is_empty() {
                let what = "has intervals and no positive frame, or positive frames and no interval";
                found.warning("frames_disagree", &path, what);
            }
            return;
        }
    };
    let expected = union(expected);
    let seen = frames.runs.iter().map(|&(a, b)| {
        let at = |n: usize| unit(i64::try_from(n).unwrap_or(i64::MAX));
        Span::new(at(a), at(b + 1))
    });
    let wrong = difference(&expected, &union(seen.collect()));
    if wrong > MediaTime::ZERO {
        let what = format!("labels of frames and intervals disagree over {wrong}, beyond the rounding of their ends");
        found.warning("frames_disagree", &path, what);
    }
}

/// Time in one and not in the other, less what lies within the tolerance of an end. Both without overlaps and in order.
fn difference(a: &[Span], b: &[Span]) -> MediaTime {
    let outside = |one: &[Span], other: &[Span]| {
        let mut sum = MediaTime::ZERO;
        for span in one {
            let mut at = span.start();
            for hole in other.iter().map(|o| Span::new(o.start() - TOLERANCE, o.end() + TOLERANCE)) {
                if hole.start() > at {
                    sum += Span::new(at, hole.start().min(span.end())).length();
                }
                at = at.max(hole.end());
            }
            sum += Span::new(at, span.end()).length();
        }
        sum
    };
    outside(a, b) + outside(b, a)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bah::Interval;

    fn ms(millis: i64) -> MediaTime {
        MediaTime::from_millis(millis)
    }

    fn kinds(intervals: &[(i64, i64)], length: Option<i64>) -> Vec<(&'static str, Level)> {
        let mut found = Found(Vec::new());
        let intervals: Vec<_> = intervals.iter().map(|(a, b)| Interval { start: ms(*a), end: ms(*b) }).collect();
        of_intervals(&VideoPath::parse("a.mp4").unwrap(), &intervals, length.map(ms), &mut found);
        found.0.iter().map(|f| (f.kind, f.level)).collect()
    }

    #[test]
    fn intervals_that_make_no_sense_are_found() {
        assert_eq!(kinds(&[(0, 1000), (1000, 9900)], Some(10_000)), []);
        assert_eq!(kinds(&[(0, 10_150)], Some(10_000)), [], "people round");
        assert_eq!(kinds(&[(2000, 1000)], None), [("interval_reversed", Level::Error)]);
        assert_eq!(kinds(&[(2000, 2000)], None), [("interval_empty", Level::Error)]);
        assert_eq!(kinds(&[(9000, 11_000)], Some(10_000)), [("interval_outside", Level::Warning)]);
        assert_eq!(kinds(&[(10_000, 11_000)], Some(10_000)), [("interval_outside", Level::Error)]);
        assert_eq!(kinds(&[(3000, 6000), (0, 3001)], None), [("intervals_overlap", Level::Warning)]);
    }

    proptest! {
        #[test]
        fn only_what_lies_beyond_the_tolerance_differs(start in 1000i64..5000, long in 500i64..3000, shift in -400i64..400) {
            let (a, b) = (Span::new(ms(start), ms(start + long)), Span::new(ms(start + shift), ms(start + long + shift)));
            let beyond = (shift.abs() - 200).max(0);
            prop_assert_eq!(difference(&[a], &[b]), ms(2 * beyond));
        }
    }

    #[test]
    fn frames_are_compared_by_time_or_by_the_annotators_numbers() {
        let path = VideoPath::parse("a.mp4").unwrap();
        let intervals = [Interval { start: ms(2000), end: ms(4000) }];
        let kinds = |runs: &[(usize, usize)], ranges: &[(u64, u64)], length| {
            let mut found = Found(Vec::new());
            let frames = Frames { count: 250, unlisted: 0, runs: runs.to_vec(), foreign: 0, ranges: ranges.to_vec() };
            of_frames(&path, &intervals, &frames, length, &mut found);
            found.0.len()
        };
        let length = Some(ms(10_000));
        assert_eq!(kinds(&[(50, 99)], &[], length), 0);
        assert_eq!(kinds(&[(47, 103)], &[], length), 0);
        assert_eq!(kinds(&[(40, 99)], &[], length), 1);
        assert_eq!(kinds(&[(50, 99), (200, 220)], &[], length), 1);
        assert_eq!(kinds(&[], &[], length), 1);
        assert_eq!(kinds(&[(50, 99)], &[(50, 99)], None), 0);
        assert_eq!(kinds(&[(50, 99)], &[(60, 130)], None), 1);
        assert_eq!((kinds(&[(1, 2)], &[], None), kinds(&[], &[], None)), (0, 1));
    }
}
