//! One video, decoded once: its frames go to the clips that they belong to, each written while it lasts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::VideoFault;
use crate::bah::Interval;
use crate::bah::algorithm::{self, CLIP, SHORT, SHORTEST};
use crate::encode::MovieWriter;
use crate::source::Image;
use crate::time::{MediaTime, Span};
use crate::window::{SAMPLE_RATE, Stream, Streams};

/// Timestamps are rounded on their way: a picture this little before a clip's begin belongs to it, as in the live cutter.
const EARLY: MediaTime = MediaTime::from_millis(1);
/// A block of sound this near to where the last one ended continues it.
const JITTER: MediaTime = MediaTime::from_millis(1);
/// How long a lone picture is shown.
const LONE: MediaTime = MediaTime::from_millis(40);

/// A clip that was written, under its temporary name.
#[derive(Debug)]
pub(super) struct Made {
    /// Number of the annotated interval, from 1; None: the video is one sample.
    pub interval: Option<u32>,
    /// Number in the sample, from 1; None: the sample is kept whole.
    pub part: Option<u32>,
    /// Its span in the video.
    pub span: Span,
    pub mp4: PathBuf,
    pub wav: PathBuf,
    pub pictures: u32,
    /// The last picture's repeats among them: a full clip has pictures for 5 s, or loaders take fewer than ten.
    pub repeated: u32,
    /// Silence filled in where the video has no sound.
    pub silence: MediaTime,
}

/// Time of the video that is in no clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dropped {
    pub interval: Option<u32>,
    pub span: Span,
    pub why: &'static str,
}

/// What became of a video.
#[derive(Debug)]
pub(super) struct VideoCut {
    /// From its first picture to the end of its media.
    pub span: Span,
    pub clips: Vec<Made>,
    pub dropped: Vec<Dropped>,
    pub usage: algorithm::Usage,
}

/// What clips are cut from: the whole video, or an annotated interval.
struct Source {
    interval: Option<u32>,
    /// None until the first picture, of the whole video.
    start: Option<MediaTime>,
    /// None: the end of the media.
    end: Option<MediaTime>,
    open: BTreeMap<u32, Open>,
    closed: BTreeMap<u32, Made>,
}

/// A clip that is being written.
struct Open {
    span: Span,
    writer: MovieWriter,
    mp4: PathBuf,
    first: Option<MediaTime>,
    last: MediaTime,
    sound: Vec<i16>,
    heard: usize,
}

/// Cuts one video.
pub(super) struct VideoCutter {
    /// Temporary names are this, a number and an extension.
    prefix: PathBuf,
    sources: Vec<Source>,
    nonsense: Vec<Dropped>,
    origin: Option<MediaTime>,
    /// Sound that came before the first picture.
    held: Vec<(MediaTime, Vec<i16>)>,
    newest: Option<(MediaTime, MediaTime)>,
    sound_end: Option<MediaTime>,
    /// Streams that are over: no clip waits for them.
    ended: Streams,
    named: u32,
}

impl VideoCutter {
    /// `intervals`: None cuts the whole video.
    pub fn new(prefix: &Path, intervals: Option<&[Interval]>) -> Self {
        let source =
            |interval, start, end| Source { interval, start, end, open: BTreeMap::new(), closed: BTreeMap::new() };
        let (mut sources, mut nonsense) = (Vec::new(), Vec::new());
        match intervals {
            None => sources.push(source(None, None, None)),
            Some(intervals) => {
                for (n, interval) in (1..).zip(intervals) {
                    if interval.start < interval.end {
                        sources.push(source(Some(n), Some(interval.start), Some(interval.end)));
                    } else {
                        let span = Span::new(interval.start, interval.start);
                        nonsense.push(Dropped { interval: Some(n), span, why: "interval empty or reversed" });
                    }
                }
            }
        }
        Self {
            prefix: prefix.to_owned(),
            sources,
            nonsense,
            origin: None,
            held: Vec::new(),
            newest: None,
            sound_end: None,
            ended: Streams::default(),
            named: 0,
        }
    }

    /// Takes a picture.
    pub fn picture(&mut self, time: MediaTime, image: &Image) -> Result<(), VideoFault> {
        if self.newest.is_some_and(|(newest, _)| time <= newest) {
            return Ok(());
        }
        let period = self.newest.map_or(LONE, |(newest, _)| time - newest);
        self.newest = Some((time, period));
        if self.origin.is_none() {
            self.origin = Some(time);
            for source in self.sources.iter_mut().filter(|s| s.start.is_none()) {
                source.start = Some(time);
            }
            for (at, pcm) in std::mem::take(&mut self.held) {
                self.sound(at, &pcm)?;
            }
        }
        for at in 0..self.sources.len() {
            let Some(number) = self.sources[at].number(time + EARLY) else { continue };
            self.open(at, number);
            if let Some(open) = self.sources[at].open.get_mut(&number) {
                let first = *open.first.get_or_insert(time);
                open.last = time;
                open.writer.picture(time - first, image.clone())?;
            }
        }
        self.close(false)
    }

    /// Takes a block of sound.
    pub fn sound(&mut self, time: MediaTime, pcm: &[i16]) -> Result<(), VideoFault> {
        if self.origin.is_none() {
            self.held.push((time, pcm.to_vec()));
            return Ok(());
        }
        let time = self.sound_end.filter(|end| (time - *end).abs() <= JITTER).unwrap_or(time);
        let end = time + MediaTime::from_nanos(i64::try_from(pcm.len()).unwrap_or(0) * 62_500);
        self.sound_end = Some(self.sound_end.map_or(end, |before| before.max(end)));
        for at in 0..self.sources.len() {
            // A block is shorter than a clip: it touches two at most, and holes between them do not matter.
            let numbers = [self.sources[at].number(time), self.sources[at].number(end - MediaTime::from_nanos(1))];
            for number in numbers.into_iter().flatten() {
                self.open(at, number);
            }
            for open in self.sources[at].open.values_mut() {
                open.hear(time, pcm);
            }
        }
        self.close(false)
    }

    /// No more will come of this stream.
    pub fn stream_ended(&mut self, stream: Stream) -> Result<(), VideoFault> {
        self.ended.set(stream);
        self.close(false)
    }

    /// Opens a clip, unless it was open before or is known to be too short to keep.
    fn open(&mut self, at: usize, number: u32) {
        let source = &mut self.sources[at];
        let Some(start) = source.start.map(|s| s + CLIP.scale(i64::from(number), 1)) else { return };
        let end = source.end.map_or(start + CLIP, |end| end.min(start + CLIP));
        let short = number > 0 && source.end.is_some_and(|end| end - start + SHORT < SHORTEST);
        if short || source.open.contains_key(&number) || source.closed.contains_key(&number) {
            return;
        }
        let span = Span::new(start, end);
        let mp4 = self.prefix.with_file_name(format!(
            "{}.{}.mp4",
            self.prefix.file_name().unwrap_or_default().to_string_lossy(),
            self.named
        ));
        self.named += 1;
        let length = usize::try_from(index(span.length())).unwrap_or(0);
        let open = Open {
            span,
            writer: MovieWriter::new(&mp4),
            mp4,
            first: None,
            last: start,
            sound: vec![0; length],
            heard: 0,
        };
        source.open.insert(number, open);
    }

    /// Ends the clips that both streams have passed; `all`: nothing more will come.
    fn close(&mut self, all: bool) -> Result<(), VideoFault> {
        let never = MediaTime::from_nanos(i64::MIN / 2);
        let (seen, heard) = (self.newest.map_or(never, |n| n.0 + EARLY), self.sound_end.unwrap_or(never));
        let passed = |ended: bool, at: MediaTime| if ended { MediaTime::MAX } else { at };
        let passed = passed(self.ended.video, seen).min(passed(self.ended.audio, heard));
        // Where the last clip ends is known when both are over, which finish() is told.
        let passed = if passed == MediaTime::MAX { never } else { passed };
        for source in &mut self.sources {
            while source.open.first_key_value().is_some_and(|(_, open)| all || open.span.end() <= passed) {
                let Some((number, open)) = source.open.pop_first() else { break };
                let media_end = self.newest.map_or(never, |(t, p)| t + p).max(heard);
                if let Some(made) = open.finish(source.interval, media_end)? {
                    source.closed.insert(number, made);
                }
            }
        }
        Ok(())
    }

    /// The media is over: which clips are kept, and what is in none. Files of clips that are not kept are removed.
    pub fn finish(mut self) -> Result<VideoCut, VideoFault> {
        self.close(true)?;
        let (Some(origin), Some((newest, period))) = (self.origin, self.newest) else {
            return Err(VideoFault::Media("has no pictures".into()));
        };
        let video = Span::new(origin, (newest + period).max(self.sound_end.unwrap_or(origin)));
        let mut cut =
            VideoCut { span: video, clips: Vec::new(), dropped: self.nonsense, usage: algorithm::Usage::default() };
        let (mut tails, mut empty) = (Vec::new(), Vec::new());
        for mut source in self.sources {
            let Some(start) = source.start else { continue };
            let sample = Span::new(start, source.end.map_or(video.end(), |end| end.min(video.end())));
            let beyond = source.end.map_or(MediaTime::ZERO, |end| end - sample.end().max(start));
            if beyond > SHORT {
                let span = Span::new(sample.end(), sample.end());
                cut.dropped.push(Dropped {
                    interval: source.interval,
                    span,
                    why: "interval goes on behind the video's end",
                });
            }
            let (pieces, tail) = algorithm::cut(sample);
            for (number, piece) in (0..).zip(pieces) {
                match source.closed.remove(&number) {
                    Some(made) => cut.clips.push(Made { part: piece.part, span: piece.span, ..made }),
                    None => empty.push((source.interval, piece.span)),
                }
            }
            if let Some(tail) = tail {
                tails.push(tail);
                cut.dropped.push(Dropped { interval: source.interval, span: tail, why: "rest shorter than 3 s" });
            }
            for made in source.closed.into_values() {
                made.remove()?;
            }
        }
        let spans: Vec<Span> = cut.clips.iter().map(|made| made.span).collect();
        tails.extend(empty.iter().map(|(_, span)| *span));
        cut.dropped.extend(empty.iter().map(|(interval, span)| Dropped {
            interval: *interval,
            span: *span,
            why: "no pictures",
        }));
        let (usage, outside) = algorithm::usage(video, &spans, &tails);
        cut.usage = usage;
        let outside =
            outside.into_iter().map(|span| Dropped { interval: None, span, why: "outside of the annotated intervals" });
        cut.dropped.extend(outside);
        Ok(cut)
    }
}

impl Source {
    /// The clip that a time belongs to.
    fn number(&self, time: MediaTime) -> Option<u32> {
        let from = time - self.start?;
        let inside = from >= MediaTime::ZERO && self.end.is_none_or(|end| time < end);
        if inside { u32::try_from(from.as_nanos() / CLIP.as_nanos()).ok() } else { None }
    }
}

/// Values of 16 kHz sound in so much time.
fn index(time: MediaTime) -> i64 {
    time.scale(i64::from(SAMPLE_RATE), 1_000_000_000).as_nanos()
}

impl Open {
    fn hear(&mut self, time: MediaTime, pcm: &[i16]) {
        let at = index(time - self.span.start());
        let skip = usize::try_from(-at).unwrap_or(0).min(pcm.len());
        let to = usize::try_from(at).unwrap_or(0).min(self.sound.len());
        let count = (pcm.len() - skip).min(self.sound.len() - to);
        self.sound[to..to + count].copy_from_slice(&pcm[skip..skip + count]);
        self.heard += count;
    }

    /// Writes the rest; None: it has no pictures. `media_end`: where the video's media ends as far as is known.
    fn finish(mut self, interval: Option<u32>, media_end: MediaTime) -> Result<Option<Made>, VideoFault> {
        let Some(first) = self.first else { return Ok(None) };
        let full = self.span.length() + SHORT >= CLIP && media_end + SHORT >= self.span.end();
        let end = if full { self.span.end() } else { self.span.end().min(media_end) };
        let length = end - self.span.start();
        let pictures = self.writer.pictures();
        let period = if pictures > 1 { (self.last - first).scale(1, i64::from(pictures) - 1) } else { LONE };
        let (mut last, mut repeated) = (self.last - first, 0);
        while full && period > MediaTime::ZERO && last + period + SHORT < CLIP {
            last += period;
            self.writer.again(last)?;
            repeated += 1;
        }
        self.sound.truncate(usize::try_from(index(length)).unwrap_or(0));
        let silence = self.sound.len().saturating_sub(self.heard);
        self.writer.finish(length.max(last + period), &self.sound)?;
        let wav = self.mp4.with_extension("wav");
        std::fs::write(&wav, crate::encode::wav(&self.sound)).map_err(|e| VideoFault::output(&wav, &e))?;
        Ok(Some(Made {
            interval,
            part: None,
            span: Span::new(self.span.start(), end),
            mp4: self.mp4,
            wav,
            pictures: pictures + repeated,
            repeated,
            silence: MediaTime::from_nanos(i64::try_from(silence).unwrap_or(0) * 62_500),
        }))
    }
}

impl Made {
    fn remove(&self) -> Result<(), VideoFault> {
        for file in [&self.mp4, &self.wav] {
            std::fs::remove_file(file).map_err(|e| VideoFault::output(file, &e))?;
        }
        Ok(())
    }
}
