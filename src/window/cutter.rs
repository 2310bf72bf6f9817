//! The cutter of one continuity (design rules 1 and 2). Pure: frames and times go in, windows come out.

use std::collections::VecDeque;

use super::sound::{SoundRing, index_at, time_of};
use super::stills::{Keep, Stills};
use super::{Cutting, Piece, PieceSound, SAMPLE_RATE, Still, Stream, Streams};
use crate::time::{MediaTime, Span};

/// Timestamps are rounded on their way (MP4 to RTP's 90 kHz, Matroska to milliseconds): a picture this little before a
/// window's start belongs to it.
const EARLY: MediaTime = MediaTime::from_millis(1);
/// The 5 ms of rule 2's `floor(d + 0.005)`: media this little short of a window's end is a full window.
const SHORT: MediaTime = MediaTime::from_millis(5);
/// The shortest partial window that is kept (the released code's "very short trailing segments").
const SHORTEST_PARTIAL: MediaTime = MediaTime::from_millis(3000);
/// How long a lone picture is shown, since nothing tells its period.
const LONE: MediaTime = MediaTime::from_millis(40);
/// Sound is taken in pieces of this many values, so that a window closes as soon as it can.
const PIECE: usize = 1600;

/// A window of the grid that has begun.
struct Open {
    index: u32,
    span: Span,
    first_picture: Option<MediaTime>,
    pictures: u32,
    refused: u32,
    /// The `t_k` of rule 2, once the frame period is known well enough; how many of them a picture has passed.
    targets: Option<Vec<MediaTime>>,
    passed: usize,
}

/// Cuts one continuity.
pub struct Cutter<R> {
    cutting: Cutting,
    streams: Streams,
    ended: Streams,
    /// Source time of second 0; sound that came before it was known waits in `held`.
    origin: Option<MediaTime>,
    held: VecDeque<(MediaTime, Vec<i16>)>,
    sound: SoundRing,
    stills: Stills<R>,
    open: VecDeque<Open>,
    next_index: u32,
    /// End of what windows cover so far.
    covered: MediaTime,
    out: VecDeque<Piece>,
    windows: u32,
}

impl<R> Cutter<R> {
    /// A cutter for a continuity of a source that has these streams.
    #[must_use]
    pub fn new(cutting: Cutting, streams: Streams, keep: Keep<R>) -> Self {
        let capacity = cutting.window + cutting.stall + MediaTime::from_millis(2000);
        Self {
            cutting,
            streams,
            ended: Streams::default(),
            origin: None,
            held: VecDeque::new(),
            sound: SoundRing::new(capacity),
            stills: Stills::new(keep),
            open: VecDeque::new(),
            next_index: 0,
            covered: MediaTime::ZERO,
            out: VecDeque::new(),
            windows: 0,
        }
    }

    /// Takes a picture at `time` of the source's timeline. One that is not later than the last is ignored.
    pub fn picture(&mut self, time: MediaTime, raw: R, refused: u32) {
        let origin = self.begin_at(time);
        let time = time - origin;
        let is_late = self.stills.newest().is_some_and(|newest| time <= newest) || time < MediaTime::ZERO;
        if is_late || time > self.reach() {
            return;
        }
        self.open_until(time + EARLY);
        let mut targets = Vec::new();
        let mut first = false;
        let (period, newest) = (self.stills.period(), self.stills.newest());
        let counts = self.cutting.pictures();
        for open in &mut self.open {
            if time + EARLY >= open.span.end() {
                // The rest of its targets lie past its last picture, which is the newest one so far.
                if open.targets.as_ref().is_none_or(|t| open.passed < t.len()) {
                    targets.extend(newest);
                }
                open.passed = usize::MAX;
                continue;
            }
            if time + EARLY < open.span.start() {
                continue;
            }
            open.pictures += 1;
            open.refused = open.refused.saturating_add(refused);
            let a = *open.first_picture.get_or_insert_with(|| {
                first = true;
                time
            });
            if open.targets.is_none()
                && let Some(period) = period
                && time - a >= self.cutting.settle()
            {
                let b = a + self.cutting.window - period;
                open.targets = Some(linspace(a, b, counts).collect());
                open.passed = 1; // the first is the first picture, which is kept already
            }
            for target in open.targets.iter().flatten().skip(open.passed).take_while(|t| **t <= time) {
                targets.push(*target);
                open.passed += 1;
            }
        }
        let open = &self.open;
        self.stills.push(time, raw, &targets, first, |from, to| {
            open.iter().any(|o| o.targets.iter().flatten().any(|t| from <= *t && *t < to))
        });
        self.close();
    }

    /// Takes a block of 16 kHz mono sound that begins at `time` of the source's timeline.
    pub fn sound(&mut self, time: MediaTime, pcm: &[i16], refused: u32) {
        let Some(origin) = self.origin else {
            if self.streams.video && !self.ended.video {
                self.hold(time, pcm);
            } else {
                self.begin_at(time);
                self.sound(time, pcm, refused);
            }
            return;
        };
        if let Some(open) = self.open.back_mut() {
            open.refused = open.refused.saturating_add(refused);
        }
        let (skip, mut zeros) = self.sound.place(time - origin);
        if zeros > i64::from(SAMPLE_RATE) && time - origin > self.reach() {
            return;
        }
        while zeros > 0 {
            let count = usize::try_from(zeros).unwrap_or(PIECE).min(PIECE);
            self.sound.push_hole(count);
            zeros -= i64::try_from(count).unwrap_or(zeros);
            self.open_until(self.sound.end());
            self.close();
        }
        for piece in pcm.get(skip..).unwrap_or_default().chunks(PIECE) {
            self.sound.push(piece);
            self.open_until(self.sound.end());
            self.close();
        }
    }

    /// No more will come of this stream.
    pub fn end_stream(&mut self, stream: Stream) {
        self.ended.set(stream);
        if let (Some(&(time, _)), true, None) = (self.held.front(), self.ended.video, self.origin) {
            self.begin_at(time);
        }
        self.close();
    }

    /// The next closed window or tail.
    pub fn pop(&mut self) -> Option<Piece> {
        self.out.pop_front()
    }

    /// Media time after everything that arrived, from second 0: the later of the two streams' ends.
    pub fn end(&self) -> MediaTime {
        let video = self.stills.newest().map(|t| t + self.stills.period().unwrap_or(LONE));
        let audio = self.sound.first_arrived().map(|_| self.sound.end());
        video.max(audio).unwrap_or_default()
    }

    /// A frame beyond this is of another clock than all that is there, and is ignored: up to there would be time that never was, in
    /// windows without number.
    fn reach(&self) -> MediaTime {
        self.end() + self.cutting.window + self.cutting.stall
    }

    /// How many windows were cut so far.
    pub fn windows(&self) -> u32 {
        self.windows
    }

    /// Ends the continuity: closes what is whole, then the partial window or the tail of rule 1. `complete`: this is a whole
    /// recording, which is kept as one window however short.
    pub fn finish(mut self, complete: bool) -> (Vec<Piece>, Keep<R>, MediaTime, u32) {
        if let Some(&(time, _)) = self.held.front() {
            self.begin_at(time);
        }
        let end = self.end();
        self.ended = Streams { audio: true, video: true };
        self.stills.keep_newest();
        self.close_until(end + SHORT);
        // The first grid window that does not fit whole.
        if let Some(open) = self.open.pop_front() {
            let span = Span::new(open.span.start(), end);
            let whole_recording = complete && self.windows == 0 && !span.is_empty();
            if whole_recording || span.length() + SHORT >= SHORTEST_PARTIAL {
                self.cut(&open, span, false);
            }
        }
        if end > self.covered {
            self.out.push_back(Piece::Tail(Span::new(self.covered, end)));
        }
        (self.out.into(), self.stills.into_keep(), end.max(self.covered), self.windows)
    }

    /// Second 0, if it is not set yet, is here; what sound waited for it is placed.
    fn begin_at(&mut self, time: MediaTime) -> MediaTime {
        if let Some(origin) = self.origin {
            return origin;
        }
        self.origin = Some(time);
        self.open_until(MediaTime::ZERO);
        for (at, pcm) in std::mem::take(&mut self.held) {
            self.sound(at, &pcm, 0);
        }
        time
    }

    /// Sound before the first picture waits for it, but no longer than a stall.
    fn hold(&mut self, time: MediaTime, pcm: &[i16]) {
        self.held.push_back((time, pcm.to_vec()));
        let first = self.held.front().map_or(time, |h| h.0);
        if time - first > self.cutting.window + self.cutting.stall {
            self.begin_at(first);
        }
    }

    /// Opens the grid's windows that begin at or before `time`.
    fn open_until(&mut self, time: MediaTime) {
        loop {
            let start = self.cutting.hop.scale(i64::from(self.next_index), 1);
            if start > time {
                return;
            }
            self.open.push_back(Open {
                index: self.next_index,
                span: Span::new(start, start + self.cutting.window),
                first_picture: None,
                pictures: 0,
                refused: 0,
                targets: None,
                passed: 0,
            });
            self.next_index += 1;
        }
    }

    /// Closes every window that both streams have passed, or that one has passed by more than the stall deadline.
    fn close(&mut self) {
        let never = MediaTime::from_nanos(i64::MIN / 2);
        let video = self.stills.newest().map_or(never, |t| t + EARLY);
        let audio = self.sound.end();
        let video_waits = self.streams.video && !self.ended.video;
        let audio_waits = self.streams.audio && !self.ended.audio;
        let both = match (video_waits, audio_waits) {
            (true, true) => video.min(audio),
            (true, false) => video,
            (false, true) => audio,
            (false, false) => return, // both ended: finish() decides what is whole
        };
        self.close_until(both.max(video.max(audio) - self.cutting.stall));
    }

    fn close_until(&mut self, time: MediaTime) {
        while self.open.front().is_some_and(|o| o.span.end() <= time) {
            let Some(open) = self.open.pop_front() else { return };
            let span = open.span;
            self.cut(&open, span, true);
        }
    }

    /// Makes the window and forgets what no later one needs.
    fn cut(&mut self, open: &Open, span: Span, full: bool) {
        let period = self.stills.period();
        let (from, to) = (span.start() - EARLY, if full { span.end() - EARLY } else { MediaTime::MAX });
        let sound = self.streams.audio.then(|| {
            let length = usize::try_from(index_at(span.length())).unwrap_or(0);
            let (pcm, missing) = self.sound.copy(index_at(span.start()), length);
            PieceSound { pcm, missing: time_of(missing) }
        });
        let first_sound =
            sound.as_ref().and_then(|_| self.sound.first_arrived_in(index_at(span.start()), index_at(span.end())));
        if open.passed != usize::MAX && self.stills.newest().is_some_and(|t| t < to) {
            self.stills.keep_newest();
        }
        let pictures = self.choose(open, span, full, from, to);
        self.out.push_back(Piece::Window {
            index: open.index,
            span,
            full,
            pictures_seen: open.pictures,
            pictures_expected: expected(span.length(), period),
            pictures,
            sound,
            refused: open.refused,
            audio_offset: first_sound.zip(open.first_picture).map(|(sound, picture)| time_of(sound) - picture),
        });
        self.windows += 1;
        self.covered = self.covered.max(span.end());
        let next =
            self.open.front().map_or_else(|| self.cutting.hop.scale(i64::from(self.next_index), 1), |o| o.span.start());
        self.sound.discard_before(index_at(next));
        self.stills.discard_before(next - EARLY);
    }

    /// The pictures of rule 2, from those kept.
    fn choose(&self, open: &Open, span: Span, full: bool, from: MediaTime, to: MediaTime) -> Vec<Still> {
        let Some(a) = open.first_picture else { return Vec::new() };
        let period = self.stills.period().unwrap_or_default();
        let (n, b) = if full {
            (self.cutting.pictures(), a + span.length() - period)
        } else {
            let d = period.scale(i64::from(open.pictures), 1);
            (picture_count(d), self.stills.newest().unwrap_or(a))
        };
        let fresh;
        let targets = match &open.targets {
            Some(targets) if full => targets,
            _ => {
                fresh = linspace(a, b, n).collect::<Vec<_>>();
                &fresh
            }
        };
        targets.iter().filter_map(|t| self.stills.nearest(*t, from, to).cloned()).collect()
    }
}

/// Rule 2's number of pictures for a window that lasts `d`: two a second, even, at least four.
#[must_use]
pub fn picture_count(d: MediaTime) -> usize {
    let secs = (d + SHORT).as_nanos().div_euclid(1_000_000_000);
    usize::try_from(2 * secs).unwrap_or(0).max(4)
}

/// `n` times from `a` to `b`, both included; `n` at least 2.
fn linspace(a: MediaTime, b: MediaTime, n: usize) -> impl Iterator<Item = MediaTime> {
    let last = i64::try_from(n).unwrap_or(2) - 1;
    (0..=last).map(move |k| a + (b - a).scale(k, last))
}

/// How many pictures a span holds at a frame period.
fn expected(length: MediaTime, period: Option<MediaTime>) -> u32 {
    match period {
        Some(p) if p > MediaTime::ZERO => u32::try_from(length.scale(1, p.as_nanos()).as_nanos()).unwrap_or(0),
        _ => 0,
    }
}
