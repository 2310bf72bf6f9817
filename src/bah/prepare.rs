//! Training data from a copy of BAH: Algorithm 1 (see [`super::algorithm`]), every video decoded once.
//!
//! - `cutter`: one video's frames to its clips. `record`: what was done, so that a second run does only what is left.
//! - `rows`: the manifest and ms-swift's rows.
//!
//! Sources are only read. Files are written under temporary names and renamed when whole.

mod cutter;
mod record;
mod rows;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::{cmp::Reverse, collections::BTreeMap, convert::Infallible};

use crossbeam_channel::Receiver;

use super::algorithm::clip_name;
use super::inspect::union;
use super::{BahError, Dataset, Split, Video, VideoPath};
use crate::digest::sha256;
use crate::encode::EncodeError;
use crate::judge::Label;
use crate::source::{Description, Incoming, Location, Retry, SourceError, Spec};
use crate::time::{MediaTime, Span};
use cutter::{VideoCut, VideoCutter};
use record::{ClipRecord, DroppedRecord, hashed};

pub(crate) use record::write_whole;

pub use record::Record;
pub use rows::read_prompt;

/// How clips are encoded; part of what decides whether a clip is made anew.
const ENCODING: &str = "x264 crf 18 veryfast, AAC 128k 48 kHz mono, WAV 16 kHz mono; 1";

/// What to prepare.
#[derive(Clone, Debug)]
pub struct Preparing {
    /// Where clips go.
    pub out: PathBuf,
    /// Which videos. Those of test are cut whole.
    pub split: Split,
    /// Videos at once.
    pub jobs: usize,
    /// Leave out who does not allow the use in challenges.
    pub for_challenge: bool,
    /// The rows for training.
    pub rows: Rows,
    /// Seed of the rows' order.
    pub seed: u64,
    /// Paths in the rows start at the folder of the rows.
    pub relative: bool,
}

/// What a training row looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The user's turn, with `<video>` and `<audio>` in it.
    pub prompt: String,
    /// The answer is `solution` rather than the assistant's turn.
    pub grpo: bool,
    /// `video` and `audio`, as in the released rows, rather than `videos` and `audios`.
    pub legacy_keys: bool,
}

/// What became of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Videos of the split.
    pub videos: usize,
    /// Of them now prepared, those done before among them.
    pub prepared: usize,
    /// Of them not done, since their participants do not allow the use in challenges.
    pub left_out: usize,
    /// Done before.
    pub resumed: usize,
    /// Videos that could not be prepared, and why.
    pub failed: Vec<(VideoPath, String)>,
    /// Clips with Yes and with No.
    pub clips: [usize; 2],
    /// Media of the videos that were prepared.
    pub length: MediaTime,
    /// In clips, in rests that were too short, outside of the annotated intervals. Sums to `length`.
    pub usage: [MediaTime; 3],
    /// It was stopped before its end.
    pub stopped: bool,
}

/// Why nothing (more) can be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The dataset.
    #[error(transparent)]
    Bah(#[from] BahError),
    /// GStreamer.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The output cannot be written.
    #[error("{0}; what is done stays, and the same command goes on from there")]
    Output(String),
    /// Another run writes there.
    #[error("{}: another run is writing there; wait for its end, or name another folder", .0.display())]
    Busy(PathBuf),
    /// Clips would be written over each other, or over the dataset; or a video is not of the dataset.
    #[error("{0}")]
    Clash(String),
}

/// Why one video was not prepared.
#[derive(Debug)]
enum VideoFault {
    /// It is the video's own fault.
    Media(String),
    /// The output cannot be written: no other video can be prepared either.
    Output(String),
    /// A stop was asked for.
    Stopped,
}

impl VideoFault {
    fn output(file: &Path, error: &std::io::Error) -> Self {
        Self::Output(format!("{}: could not be written: {error}", file.display()))
    }
}

impl From<EncodeError> for VideoFault {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::Empty => Self::Media("has pictures without area".into()),
            error => Self::Output(error.to_string()),
        }
    }
}

/// Folders of a split's output.
struct Folders {
    clips: PathBuf,
    records: PathBuf,
    parts: PathBuf,
}

/// Prepares a split. `tick` is told of each video that is done, of how many.
///
/// # Errors
/// Nothing could be started, or the output cannot be written. A video's own fault is in the outcome.
pub fn prepare(
    dataset: &Dataset,
    preparing: &Preparing,
    stop: &Receiver<Infallible>,
    mut tick: impl FnMut(usize, usize),
) -> Result<Outcome, PrepareError> {
    let unwritable = |path: &Path, e: &std::io::Error| PrepareError::Output(format!("{}: {e}", path.display()));
    let mut videos = chosen(dataset, preparing)?;
    // The largest first: a long one that was begun last would be worked on alone.
    videos.sort_by_cached_key(|v| Reverse(v.path.below(&dataset.root).metadata().map_or(0, |m| m.len())));
    let top = preparing.out.join(preparing.split.as_str());
    let folders = Folders { clips: top.join("clips"), records: top.join("records"), parts: top.join("parts") };
    for folder in [&folders.clips, &folders.records] {
        std::fs::create_dir_all(folder).map_err(|e| unwritable(folder, &e))?;
    }
    let lock = top.join("lock");
    let opened = File::create(&lock).map_err(|e| unwritable(&lock, &e))?;
    match opened.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(PrepareError::Busy(top)),
        Err(TryLockError::Error(e)) => return Err(unwritable(&lock, &e)),
    }
    // Left by a run that was killed.
    if folders.parts.exists() {
        std::fs::remove_dir_all(&folders.parts).map_err(|e| unwritable(&folders.parts, &e))?;
    }
    std::fs::create_dir_all(&folders.parts).map_err(|e| unwritable(&folders.parts, &e))?;
    let description = Description::shipped("file.gst", None)?;
    description.check()?;
    let mut outcome = Outcome { videos: dataset.videos(preparing.split).count(), ..Outcome::default() };
    outcome.left_out = outcome.videos - videos.len();
    let (mut records, mut broken, mut done) = (BTreeMap::new(), None, 0);
    let work = |video: &Video<'_>| one(dataset, preparing, &folders, &description, video, stop);
    let ran = crate::run::in_parallel(preparing.jobs, &videos, stop, work, |at, result| {
        done += 1;
        tick(done, videos.len());
        let path = videos[at].path;
        match result {
            Ok((record, resumed)) => {
                outcome.resumed += usize::from(resumed);
                records.insert(path.clone(), record);
            }
            Err(VideoFault::Media(reason)) => outcome.failed.push((path.clone(), reason)),
            Err(VideoFault::Output(reason)) => broken = Some(broken.take().unwrap_or(reason)),
            Err(VideoFault::Stopped) => {}
        }
        broken.is_none()
    });
    let _ = std::fs::remove_dir_all(&folders.parts);
    ran.map_err(|e| PrepareError::Output(format!("no thread could be started: {e}")))?;
    if let Some(reason) = broken {
        return Err(PrepareError::Output(reason));
    }
    outcome.stopped = records.len() + outcome.failed.len() < videos.len();
    outcome.failed.sort_by(|a, b| a.0.cmp(&b.0));
    outcome.prepared = records.len();
    // Rows and manifest speak of the whole split: a part of it never takes the place of what an earlier run wrote.
    if !outcome.stopped {
        rows::write(dataset, preparing, &records, &outcome.failed, &folders)?;
    }
    for (video, record) in videos.iter().filter_map(|v| Some((v, records.get(v.path)?))) {
        outcome.clips[usize::from(video.label != Label::Present)] += record.clips.len();
        outcome.length += MediaTime::from_nanos(record.length_ns);
        for (sum, nanos) in outcome.usage.iter_mut().zip(record.usage_ns) {
            *sum += MediaTime::from_nanos(nanos);
        }
    }
    Ok(outcome)
}

/// The videos to prepare; refuses what would write clips over each other.
fn chosen<'a>(dataset: &'a Dataset, preparing: &Preparing) -> Result<Vec<Video<'a>>, PrepareError> {
    let absolute = |path: &Path| std::fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_default();
    let media = absolute(&dataset.root.join("Videos"));
    if absolute(&preparing.out).starts_with(&media) {
        let what = "the output lies among the dataset's videos; name another folder";
        return Err(PrepareError::Clash(format!("{}: {what}", preparing.out.display())));
    }
    let mut stems = BTreeMap::new();
    let mut videos = Vec::new();
    for video in dataset.videos(preparing.split) {
        if preparing.for_challenge && !dataset.in_challenges(video.path.participant()) {
            continue;
        }
        if let Some(other) = stems.insert(video.path.stem(), video.path) {
            return Err(PrepareError::Clash(format!(
                "{} and {other} have one file name, so their clips would too; `ahwatch bah inspect` lists such faults",
                video.path
            )));
        }
        if let Some(what) = super::outside(video.path, &dataset.root) {
            return Err(PrepareError::Clash(what));
        }
        videos.push(video);
    }
    // Clips are called `<stem>`, `<stem>_<n>` or `<stem>_<n>_<n>`.
    let shorter = |stem: &'a str| without_number(stem).into_iter().chain(without_number(stem).and_then(without_number));
    if let Some(stem) = videos.iter().map(|v| v.path.stem()).find(|stem| shorter(stem).any(|s| stems.contains_key(s))) {
        return Err(PrepareError::Clash(format!("{stem}.mp4 may have the name of another video's clip; rename it")));
    }
    Ok(videos)
}

/// A name without the number of a part at its end.
fn without_number(stem: &str) -> Option<&str> {
    let (rest, number) = stem.rsplit_once('_')?;
    (!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())).then_some(rest)
}

/// Whether the whole video is cut.
fn whole(preparing: &Preparing, video: &Video<'_>) -> bool {
    preparing.split == Split::Test || video.label != Label::Present
}

/// Prepares one video, or finds that it is done.
fn one(
    dataset: &Dataset,
    preparing: &Preparing,
    folders: &Folders,
    description: &Description,
    video: &Video<'_>,
    stop: &Receiver<Infallible>,
) -> Result<(Record, bool), VideoFault> {
    if !video.annotated {
        return Err(VideoFault::Media(format!("{} does not have it", super::ANNOTATIONS)));
    }
    if !whole(preparing, video) && video.intervals.is_empty() {
        return Err(VideoFault::Media("is positive without any annotated interval".into()));
    }
    let path = video.path.below(&dataset.root);
    let key = key(preparing, video, &path).map_err(|e| VideoFault::Media(format!("cannot be read: {e}")))?;
    let file = folders.records.join(format!("{}.json", video.path.stem()));
    if let Some(record) = Record::load(&file, &key, &folders.clips) {
        return Ok((record, true));
    }
    let parts = folders.parts.join(video.path.stem());
    std::fs::create_dir_all(&parts).map_err(|e| VideoFault::output(&parts, &e))?;
    let cut = cut(&path, video, &parts.join("part"), description, whole(preparing, video), stop);
    if cut.is_err() {
        let _ = std::fs::remove_dir_all(&parts);
    }
    let record = keep(&cut?, video, key, folders)?;
    record.store(&file).map_err(|e| VideoFault::output(&file, &e))?;
    Ok((record, false))
}

fn key(preparing: &Preparing, video: &Video<'_>, path: &Path) -> std::io::Result<String> {
    let meta = std::fs::metadata(path)?;
    let changed = meta.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let what = if whole(preparing, video) { "whole".to_owned() } else { format!("{:?}", video.intervals) };
    // A/H in a clip is written down, too.
    let about = format!("{:?} {:?} {:?}", video.label, video.intervals, preparing.split);
    Ok(sha256([format!("{ENCODING}\n{}\n{} {changed:?}\n{what}\n{about}", video.path, meta.len())]))
}

/// Plays the video into its clips.
fn cut(
    path: &Path,
    video: &Video<'_>,
    prefix: &Path,
    description: &Description,
    whole: bool,
    stop: &Receiver<Infallible>,
) -> Result<VideoCut, VideoFault> {
    let spec = Spec::once(video.path.stem(), Location::File(path.to_owned()), description.clone());
    let mut cutter = VideoCutter::new(prefix, if whole { None } else { Some(video.intervals) });
    let mut result = Ok(());
    let mut end = None;
    crate::run::play(&spec, &Retry::default(), stop, |message| {
        let Some(message) = message else { return true };
        result = match message {
            Incoming::Streams(streams) if !streams.audio => Err(VideoFault::Media("has no sound".into())),
            Incoming::Streams(streams) if !streams.video => Err(VideoFault::Media("has no pictures".into())),
            Incoming::Frame { frame: crate::window::Frame::Picture { time, image }, .. } => {
                cutter.picture(time, &image)
            }
            Incoming::Frame { frame: crate::window::Frame::Sound { time, pcm }, .. } => cutter.sound(time, &pcm),
            Incoming::StreamEnded(stream) => cutter.stream_ended(stream),
            Incoming::Finished(finish) => {
                end = Some(finish);
                Ok(())
            }
            _ => Ok(()),
        };
        result.is_ok()
    });
    result?;
    match end {
        Some(finish) => match finish.error {
            Some(error) => return Err(VideoFault::Media(super::inspect::reason(error))),
            None if !finish.complete => return Err(VideoFault::Stopped),
            None => {}
        },
        None => return Err(VideoFault::Stopped),
    }
    cutter.finish()
}

/// Gives the clips their names.
fn keep(cut: &VideoCut, video: &Video<'_>, key: String, folders: &Folders) -> Result<Record, VideoFault> {
    let annotated = union(video.intervals.iter().map(|i| Span::new(i.start, i.end)).collect());
    let mut clips = Vec::new();
    for made in &cut.clips {
        let name = clip_name(video.path.stem(), made.interval, made.part);
        let mut files = Vec::new();
        for (part, extension) in [(&made.mp4, "mp4"), (&made.wav, "wav")] {
            let to = folders.clips.join(format!("{name}.{extension}"));
            files.push(hashed(part).map_err(|e| VideoFault::output(part, &e))?);
            std::fs::rename(part, &to).map_err(|e| VideoFault::output(&to, &e))?;
        }
        let (Some(wav), Some(mp4)) = (files.pop(), files.pop()) else { continue };
        let common = |a: Span| Span::new(a.start().max(made.span.start()), a.end().min(made.span.end())).length();
        let ah = annotated.iter().fold(MediaTime::ZERO, |sum, a| sum + common(*a));
        clips.push(ClipRecord {
            name,
            interval: made.interval,
            start_ns: made.span.start().as_nanos(),
            end_ns: made.span.end().as_nanos(),
            pictures: made.pictures,
            repeated: made.repeated,
            silence_ns: made.silence.as_nanos(),
            ah_ns: ah.as_nanos(),
            mp4,
            wav,
        });
    }
    let dropped = cut.dropped.iter().map(|d| DroppedRecord {
        interval: d.interval,
        start_ns: d.span.start().as_nanos(),
        end_ns: d.span.end().as_nanos(),
        why: d.why.to_owned(),
    });
    Ok(Record {
        key,
        video: video.path.to_string(),
        length_ns: cut.span.length().as_nanos(),
        usage_ns: [cut.usage.clips, cut.usage.tails, cut.usage.outside].map(MediaTime::as_nanos),
        clips,
        dropped: dropped.collect(),
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_the_number_of_a_part_is_taken_from_a_name() {
        let names = ["a_1", "a_1_22", "a", "a_", "a_1b", "_3"].map(super::without_number);
        assert_eq!(names, [Some("a"), Some("a_1"), None, None, None, Some("")]);
    }
}
