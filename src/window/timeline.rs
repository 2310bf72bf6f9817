//! What arrives from a source, split into continuities and sessions and put on session time (design rule 8).
//!
//! A gap (over 1 s without any frame: by arrival on live sources, by timestamps in a file) is lost time. A jump of
//! timestamps while media arrives is none. After either a new continuity begins. One stream that pauses or steps alone is
//! no gap: its frames are parked until the other stream shows which it is, or for [`PATIENCE`] of its own media. Smaller
//! differences between the streams' clocks are `step`'s.

mod pause;
mod piece;
mod step;

use std::collections::VecDeque;

use super::cutter::Cutter;
use super::stills::Keep;
use super::{Cut, Cutting, Frame, Stream, Streams};
use crate::time::{MediaTime, Span};
use pause::Pause;
use piece::cut;
use step::Step;

/// Longer without any frame is a gap; a longer step of timestamps is a jump.
pub const GAP: MediaTime = MediaTime::from_millis(1000);
/// How much of a stream's media may wait for the other stream to show whether timestamps jumped.
const PATIENCE: MediaTime = MediaTime::from_millis(2000);
/// No more frames wait than two seconds of both streams hold, whatever their timestamps say: pictures are large.
const MOST_PARKED: usize = 256;

/// Splits one source's frames. Pure: arrival times are passed in.
pub struct Timeline<R> {
    cutting: Cutting,
    streams: Streams,
    ended: Streams,
    /// Between continuities the way of keeping pictures rests here.
    keep: Option<Keep<R>>,
    current: Option<Current<R>>,
    /// Of the connection that lasts.
    step: Step,
    session: Option<Session>,
    /// Whether the whole recording so far is one continuity.
    unbroken: bool,
    /// How the next session is cut, where that differs.
    next: Option<(Cutting, Option<Keep<R>>)>,
    /// Frames are thrown away.
    paused: bool,
    /// Arrival of the latest resume: what arrived before it is not looked at either.
    resumed: MediaTime,
}

struct Session {
    /// Arrival of its first frame.
    began: MediaTime,
    /// Next continuity's number.
    continuities: u32,
    /// Session time up to which continuities have been.
    end: MediaTime,
    /// Arrival of its newest frame, or of the resume after it.
    last_arrival: MediaTime,
    /// It is paused, or was and no frame came since.
    pause: Option<Pause>,
}

struct Current<R> {
    cutter: Cutter<R>,
    number: u32,
    /// Where its second 0 lies in session time.
    start: MediaTime,
    /// Source time after the newest frame of each stream.
    audio_end: Option<MediaTime>,
    video_end: Option<MediaTime>,
    video_last: Option<MediaTime>,
    parked: VecDeque<(Frame<R>, u32)>,
}

impl<R> Current<R> {
    fn end_of(&self, stream: Stream) -> Option<MediaTime> {
        match stream {
            Stream::Audio => self.audio_end,
            Stream::Video => self.video_end,
        }
    }

    fn jumped(&self, frame: &Frame<R>, ended: Streams) -> bool {
        let other = frame.stream().other();
        match self.end_of(frame.stream()) {
            Some(end) => (frame.time() - end).abs() > GAP,
            // The first of its stream, long after the other has ended: nothing came between.
            None => ended.of(other) && self.end_of(other).is_some_and(|end| frame.time() - end > GAP),
        }
    }

    fn is_parked(&self, stream: Stream) -> bool {
        self.parked.iter().any(|(f, _)| f.stream() == stream)
    }
}

impl<R> Timeline<R> {
    /// A timeline on which nothing has arrived. `keep` turns a chosen picture into the JPEG that is held.
    #[must_use]
    pub fn new(cutting: Cutting, keep: Keep<R>) -> Self {
        Self {
            cutting,
            streams: Streams::default(),
            ended: Streams::default(),
            keep: Some(keep),
            current: None,
            step: Step::default(),
            session: None,
            unbroken: true,
            next: None,
            paused: false,
            resumed: MediaTime::ZERO,
        }
    }

    /// From the next session on, windows are cut so and pictures kept so (None: as they are). A session keeps what it began with.
    pub fn replan(&mut self, cutting: Cutting, keep: Option<Keep<R>>) {
        // Where several plans come within a session, the latest of each counts.
        let keep = keep.or_else(|| self.next.take().and_then(|(_, keep)| keep));
        self.next = Some((cutting, keep));
    }

    /// The source says which streams it has; before its first frame, and anew when it was reconnected.
    pub fn streams(&mut self, streams: Streams) {
        self.streams = streams;
        self.ended = Streams::default();
        self.step = Step::default();
    }

    /// A frame arrived at `arrival` (monotonic, any zero). `refused`: frames of this source refused at the bridge since the last.
    pub fn frame(&mut self, frame: Frame<R>, arrival: MediaTime, refused: u32, out: &mut Vec<Cut>) {
        if self.cutting.live {
            self.idle(arrival, out);
        }
        if self.passes_over(frame.time(), arrival) {
            return;
        }
        if let Some(session) = &mut self.session {
            session.last_arrival = arrival;
        }
        if self.current.is_none() {
            self.end_pause(frame.time(), arrival, out);
            self.begin(arrival, MediaTime::ZERO, out);
        }
        let now = self.session_time().unwrap_or_default();
        let frame = if self.cutting.live { self.step.follow(frame, arrival, now) } else { frame };
        self.place(frame, refused, arrival, out);
        self.end_if_too_long(out);
    }

    /// A frame goes on in the current continuity, or is parked where it does not fit.
    fn place(&mut self, frame: Frame<R>, refused: u32, arrival: MediaTime, out: &mut Vec<Cut>) {
        let Some(current) = &mut self.current else { return };
        if current.is_parked(frame.stream()) || current.jumped(&frame, self.ended) {
            current.parked.push_back((frame, refused));
            self.unpark(arrival, out);
        } else {
            self.accept(frame, refused, out);
            if self.current.as_ref().is_some_and(|c| !c.parked.is_empty()) {
                self.unpark(arrival, out);
            }
        }
    }

    /// Nothing arrived up to `arrival`: a live gap ends the continuity, a long one the session.
    pub fn idle(&mut self, arrival: MediaTime, out: &mut Vec<Cut>) {
        if self.idle_paused(arrival, out) {
            return;
        }
        let Some(session) = &self.session else { return };
        let silent = arrival - session.last_arrival;
        if self.cutting.live && silent > GAP {
            self.disconnected(out);
        }
        if self.cutting.live && silent > self.cutting.session_gap {
            self.end_session(out);
        }
    }

    /// One stream of the source ended while the other may go on.
    pub fn stream_ended(&mut self, stream: Stream, arrival: MediaTime, out: &mut Vec<Cut>) {
        self.ended.set(stream);
        if self.current.as_ref().is_some_and(|c| !c.parked.is_empty()) {
            self.unpark(arrival, out);
        }
        if let Some(current) = &mut self.current {
            current.cutter.end_stream(stream);
        }
        self.drain(out);
    }

    /// The source is gone: its continuity ends here.
    pub fn disconnected(&mut self, out: &mut Vec<Cut>) {
        self.unbroken = false;
        self.break_continuity(false, out);
    }

    /// Nothing more will come. `complete`: the source was a whole recording (a file, or a stream ended by EOS under `--once`).
    /// `missing`: so much more should have come (a truncated recording); it is lost time.
    pub fn finish(&mut self, complete: bool, missing: MediaTime, out: &mut Vec<Cut>) {
        self.place_parked(out);
        self.break_continuity(complete && self.unbroken, out);
        self.close_pause(out);
        if let Some(session) = self.session.as_mut().filter(|_| missing > MediaTime::ZERO) {
            out.push(Cut::Outage(Span::new(session.end, session.end + missing)));
            session.end += missing;
        }
        self.end_session(out);
    }

    /// Throws everything away that is held. Nothing may be asked of it afterwards.
    pub fn clear(&mut self) {
        (self.current, self.session, self.next) = (None, None, None);
    }

    /// Session time of the newest frame; None outside a session.
    #[must_use]
    pub fn session_time(&self) -> Option<MediaTime> {
        let session = self.session.as_ref()?;
        Some(self.current.as_ref().map_or(session.end, |c| c.start + c.cutter.end()))
    }

    fn begin(&mut self, arrival: MediaTime, hole: MediaTime, out: &mut Vec<Cut>) {
        if self.session.is_none() {
            if let Some((cutting, keep)) = self.next.take() {
                self.cutting = cutting;
                self.keep = keep.or_else(|| self.keep.take());
            }
            out.push(Cut::SessionBegan);
        }
        let Some(keep) = self.keep.take() else { return };
        let session = self.session.get_or_insert(Session {
            began: arrival,
            continuities: 0,
            end: MediaTime::ZERO,
            last_arrival: arrival,
            pause: None,
        });
        let start = if self.cutting.live && hole == MediaTime::ZERO && session.continuities > 0 {
            session.end.max(arrival - session.began)
        } else {
            session.end + hole
        };
        if start > session.end {
            out.push(Cut::Outage(Span::new(session.end, start)));
            session.end = start;
        }
        let number = session.continuities;
        session.continuities += 1;
        out.push(Cut::ContinuityBegan { continuity: number, start, streams: self.streams });
        let mut cutter = Cutter::new(self.cutting, self.streams, keep);
        for stream in [Stream::Audio, Stream::Video] {
            if self.ended.of(stream) {
                cutter.end_stream(stream);
            }
        }
        self.current = Some(Current {
            cutter,
            number,
            start,
            audio_end: None,
            video_end: None,
            video_last: None,
            parked: VecDeque::new(),
        });
    }

    /// A frame that continues the current continuity.
    fn accept(&mut self, frame: Frame<R>, refused: u32, out: &mut Vec<Cut>) {
        let Some(current) = &mut self.current else { return };
        match frame {
            Frame::Picture { time, image } => {
                // After a picture comes the next one a period later; a slow camera's period counts for no more than a gap.
                let period = current.video_last.map_or(MediaTime::ZERO, |last| (time - last).min(GAP));
                current.video_last = Some(time);
                current.video_end = Some(time + period.max(MediaTime::ZERO));
                current.cutter.picture(time, image, refused);
            }
            Frame::Sound { time, pcm } => {
                let length = super::sound::time_of(i64::try_from(pcm.len()).unwrap_or(0));
                current.audio_end = Some(time + length);
                current.cutter.sound(time, &pcm, refused);
            }
        }
        self.drain(out);
    }

    /// Decides about parked frames, if it can be decided yet.
    fn unpark(&mut self, arrival: MediaTime, out: &mut Vec<Cut>) {
        let Some(current) = &mut self.current else { return };
        let Some((first, _)) = current.parked.front() else { return };
        let (stream, at) = (first.stream(), first.time());
        let other = stream.other();
        let other_end = current.end_of(other).filter(|_| !self.ended.of(other));
        if let Some(end) = other_end
            && !current.is_parked(other)
        {
            let mine = current.end_of(stream).unwrap_or(at);
            let newest = current.parked.back().map_or(at, |(f, _)| f.time());
            if at > mine && end + GAP >= at {
                // The other stream went on to there: this one only paused.
                for (frame, refused) in std::mem::take(&mut current.parked) {
                    self.accept(frame, refused, out);
                }
                return;
            }
            if (newest - at).abs() <= PATIENCE && current.parked.len() < MOST_PARKED {
                return;
            }
        }
        self.break_at_parked(arrival, out);
    }

    /// Ends the continuity before the parked frames and begins the next with them.
    fn break_at_parked(&mut self, arrival: MediaTime, out: &mut Vec<Cut>) {
        let Some(current) = &mut self.current else { return };
        let parked = std::mem::take(&mut current.parked);
        let Some(from) = parked.iter().map(|(f, _)| f.time()).min() else { return };
        let end = current.audio_end.max(current.video_end).unwrap_or(from);
        let hole = if self.cutting.live { MediaTime::ZERO } else { (from - end).max(MediaTime::ZERO) };
        self.unbroken = false;
        self.break_continuity(false, out);
        let began = self.session.as_ref().map_or(arrival, |s| s.began);
        // A live jump is no lost time: the next continuity begins where this one ended.
        let at = if self.cutting.live { began } else { arrival };
        self.begin(at, hole, out);
        // They may have jumped again among themselves. The first is at home here, so this comes to an end.
        for (frame, refused) in parked {
            self.place(frame, refused, arrival, out);
        }
    }

    /// What is parked becomes continuities of its own.
    fn place_parked(&mut self, out: &mut Vec<Cut>) {
        while self.current.as_ref().is_some_and(|c| !c.parked.is_empty()) {
            self.break_at_parked(MediaTime::ZERO, out);
        }
    }

    fn break_continuity(&mut self, complete: bool, out: &mut Vec<Cut>) {
        let Some(current) = self.current.take() else { return };
        let Current { cutter, number, start, .. } = current;
        let (pieces, keep, end, windows) = cutter.finish(complete);
        self.keep = Some(keep);
        for piece in pieces {
            out.push(cut(piece, number, start, self.streams, &self.step));
        }
        if let Some(session) = &mut self.session {
            session.end = session.end.max(start + end);
        }
        out.push(Cut::ContinuityEnded { continuity: number, windows });
    }

    fn end_session(&mut self, out: &mut Vec<Cut>) {
        self.close_pause(out);
        if let Some(session) = self.session.take() {
            self.step.session_ended();
            out.push(Cut::SessionEnded { elapsed: session.end });
        }
    }

    fn end_if_too_long(&mut self, out: &mut Vec<Cut>) {
        if let (Some(max), Some(now)) = (self.cutting.max_session, self.session_time())
            && now >= max
        {
            self.unbroken = false;
            self.break_continuity(false, out);
            self.end_session(out);
        }
    }

    fn drain(&mut self, out: &mut Vec<Cut>) {
        let Some(current) = &mut self.current else { return };
        while let Some(piece) = current.cutter.pop() {
            out.push(cut(piece, current.number, current.start, self.streams, &self.step));
        }
    }
}
