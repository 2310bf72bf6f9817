//! Any sequence of frames, gaps, jumps, pauses and ends: windows are in order and none is longer than a window, a full one has
//! its 80,000 values, and every nanosecond of every session is on one account, exactly.

use ahwatch::judge::{Answer, LostReason, Outcome, SkipReason, Verdict, Vote};
use ahwatch::session::{Account, Session, SessionSettings};
use ahwatch::time::{MediaTime, Span};
use ahwatch::window::{Cut, Cutting, Frame, Still, Stream, Streams, Timeline};
use arbitrary::{Arbitrary, Unstructured};
use jiff::Timestamp;

/// One thing that a source says.
#[derive(Arbitrary, Debug)]
enum Step {
    /// Pictures, one after the other at a period of so many milliseconds.
    Pictures(u8, u8),
    /// Sound: blocks of so many times 64 values.
    Sound(u8, u8),
    /// Both, as a camera sends them: so many fifths of a second.
    Both(u8),
    /// The clock of the pictures, or of the sound, steps by so many milliseconds.
    Jump(bool, i32),
    /// Nothing arrives for so many milliseconds.
    Silence(u16),
    /// One stream has ended.
    Ended(bool),
    /// Gone, and back with these streams.
    Reconnected(bool, bool),
    Pause,
    Resume,
    /// Frames that were refused before the next.
    Refused(u8),
}

#[derive(Arbitrary, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is one thing that a source is or not")]
struct Script {
    live: bool,
    video: bool,
    audio: bool,
    /// Hop, in tenths of a window; 10 and above: one.
    hop: u8,
    /// Longest session, in seconds; 0: none.
    max_session: u8,
    complete: bool,
    missing: u16,
    steps: Vec<Step>,
}

struct Source {
    timeline: Timeline<u32>,
    out: Vec<Cut>,
    /// Where each stream is on its own clock, and what time it is.
    video: MediaTime,
    audio: MediaTime,
    arrival: MediaTime,
    refused: u32,
    number: u32,
    live: bool,
}

const fn ms(millis: i64) -> MediaTime {
    MediaTime::from_millis(millis)
}

impl Source {
    fn picture(&mut self, period: MediaTime) {
        let frame = Frame::Picture { time: self.video, image: self.number };
        self.number += 1;
        self.video += period;
        self.arrive(frame, period);
    }

    fn sound(&mut self, values: usize) {
        let length = MediaTime::from_nanos(i64::try_from(values).unwrap_or(0) * 62_500);
        let frame = Frame::Sound { time: self.audio, pcm: vec![1; values] };
        self.audio += length;
        self.arrive(frame, length);
    }

    fn arrive(&mut self, frame: Frame<u32>, took: MediaTime) {
        let refused = std::mem::take(&mut self.refused);
        self.timeline.frame(frame, self.arrival, refused, &mut self.out);
        self.arrival += took.scale(1, if self.live { 2 } else { 8 });
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Pictures(many, period) => (0..many).for_each(|_| self.picture(ms(i64::from(period)))),
            Step::Sound(many, size) => (0..many).for_each(|_| self.sound(usize::from(size) * 64)),
            Step::Both(fifths) => {
                for _ in 0..fifths {
                    (0..5).for_each(|_| self.picture(ms(40)));
                    (0..4).for_each(|_| self.sound(800));
                }
            }
            // No source's time is below zero.
            Step::Jump(true, by) => self.video = (self.video + ms(i64::from(by))).max(MediaTime::ZERO),
            Step::Jump(false, by) => self.audio = (self.audio + ms(i64::from(by))).max(MediaTime::ZERO),
            Step::Silence(length) => {
                self.arrival += ms(i64::from(length));
                self.timeline.idle(self.arrival, &mut self.out);
            }
            Step::Ended(video) => {
                let stream = if video { Stream::Video } else { Stream::Audio };
                self.timeline.stream_ended(stream, self.arrival, &mut self.out);
            }
            Step::Reconnected(audio, video) => {
                self.timeline.disconnected(&mut self.out);
                self.timeline.streams(Streams { audio, video });
            }
            Step::Pause => _ = self.timeline.pause(self.arrival, &mut self.out),
            Step::Resume => _ = self.timeline.resume(self.arrival),
            Step::Refused(many) => self.refused += u32::from(many),
        }
    }
}

/// A script of steps.
pub fn run(data: &[u8]) {
    let Ok(script) = Script::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let plain = if script.live { Cutting::LIVE } else { Cutting::RECORDING };
    let cutting = Cutting {
        hop: plain.window.scale(i64::from(script.hop.clamp(1, 10)), 10),
        session_gap: if script.live { ms(60_000) } else { MediaTime::MAX },
        max_session: (script.max_session > 0).then(|| ms(1000 * i64::from(script.max_session))),
        ..plain
    };
    let keep = Box::new(|time, n: &u32| {
        let jpeg = bytes::Bytes::copy_from_slice(&n.to_be_bytes());
        Some(Still { time, width: 2, height: 2, jpeg })
    });
    let mut source = Source {
        timeline: Timeline::new(cutting, keep),
        out: Vec::new(),
        video: MediaTime::ZERO,
        audio: MediaTime::ZERO,
        arrival: MediaTime::ZERO,
        refused: 0,
        number: 0,
        live: script.live,
    };
    source.timeline.streams(Streams { audio: script.audio, video: script.video });
    // A minute or two of media; more shows nothing else, and takes long.
    for step in script.steps.iter().take(24) {
        source.take(step);
        if source.number > 4000 || source.audio.abs() > ms(100_000_000) {
            break;
        }
    }
    source.timeline.finish(script.complete, ms(i64::from(script.missing)), &mut source.out);
    check(&cutting, &source.out);
}

/// Tells sessions what was cut, as the program does, and looks at their books.
fn check(cutting: &Cutting, cuts: &[Cut]) {
    let mut books = Books::default();
    for cut in cuts {
        match cut {
            Cut::SessionBegan => {
                assert!(books.session.is_none(), "a session begins after the last one ended");
                books.begin();
            }
            Cut::ContinuityBegan { continuity, .. } => {
                assert_eq!(*continuity, books.continuities, "continuities count from 0");
                assert!(books.open.is_none(), "a continuity begins after the last one ended");
                (books.open, books.windows, books.last) = (Some(*continuity), 0, None);
                books.continuities += 1;
            }
            Cut::Window(window) => {
                let length = window.span.length();
                if window.full {
                    assert!((length - cutting.window).abs() <= MediaTime::from_nanos(1), "{length:?}");
                    assert!(window.sound.as_ref().is_none_or(|pcm| pcm.len() == 80_000));
                    assert!(window.pictures.is_empty() || window.pictures.len() == 10, "{}", window.pictures.len());
                }
                assert!(length <= cutting.window + ms(5), "{length:?}");
                assert_eq!(window.media.length(), length);
                assert!(window.pictures.windows(2).all(|pair| pair[0].time <= pair[1].time), "pictures in order");
                books.window(window.id, window.span, None);
            }
            Cut::Unjudgeable { id, span, reason } => books.window(*id, *span, Some(*reason)),
            Cut::Outage(span) => {
                let no = books.continuity();
                books.told(*span, |session| session.lost(no, *span, LostReason::Outage, Timestamp::UNIX_EPOCH));
            }
            Cut::Paused(span) => {
                let no = books.continuity();
                books.told(*span, |session| session.skipped(no, *span, SkipReason::Paused, Timestamp::UNIX_EPOCH));
            }
            Cut::Tail(span) => {
                let no = books.continuity();
                books.told(*span, |session| session.tail(no, *span, Timestamp::UNIX_EPOCH));
            }
            Cut::ContinuityEnded { continuity, windows } => {
                assert_eq!((books.open.take(), books.windows), (Some(*continuity), *windows));
            }
            Cut::SessionEnded { elapsed } => books.end(*elapsed),
        }
    }
    assert!(books.session.is_none(), "every session ends");
}

#[derive(Default)]
struct Books {
    session: Option<Session>,
    continuities: u32,
    open: Option<u32>,
    windows: u32,
    last: Option<Span>,
}

impl Books {
    fn begin(&mut self) {
        let settings = SessionSettings { judges: vec!["v1".into()], ..SessionSettings::default() };
        let mut session = Session::new("s".into(), "camera".into(), settings.into());
        session.start(Timestamp::UNIX_EPOCH);
        *self = Self { session: Some(session), ..Self::default() };
    }

    fn continuity(&self) -> u32 {
        self.continuities.saturating_sub(1)
    }

    fn told<T>(&mut self, span: Span, tell: impl FnOnce(&mut Session) -> T) {
        assert!(span.start() >= MediaTime::ZERO && span.start() <= span.end(), "{span:?}");
        tell(self.session.as_mut().expect("a session has begun"));
    }

    fn window(&mut self, id: ahwatch::judge::WindowId, span: Span, lost: Option<LostReason>) {
        assert_eq!((Some(id.continuity), id.index), (self.open, self.windows), "windows count from 0");
        assert!(self.last.is_none_or(|last| last.start() < span.start()), "windows are in order");
        (self.windows, self.last) = (self.windows + 1, Some(span));
        let votes = || Outcome::Votes(vec![Vote::new("v1".into(), Answer::Absent)]);
        let outcome = lost.map_or_else(votes, Outcome::Lost);
        self.told(span, |session| session.apply(&Verdict { window: id, span, outcome }, Timestamp::UNIX_EPOCH));
    }

    fn end(&mut self, elapsed: MediaTime) {
        let mut session = self.session.take().expect("a session has begun");
        session.end(elapsed, Timestamp::UNIX_EPOCH);
        let summary = session.summary();
        assert_eq!(summary.elapsed, elapsed, "nothing lies after the end");
        assert_eq!(summary.coverage.total(), elapsed, "every nanosecond has one account");
        assert_eq!(summary.coverage.of(Account::DroppedShutdown), MediaTime::ZERO, "and the cutter named all of it");
    }
}
