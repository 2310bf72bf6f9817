//! Are a live source's sound and pictures still in step? Their timestamps come from two clocks, which may run apart or be set;
//! what tells is when frames arrive. Pure.
//!
//! Of each stream the least delay from timestamp to arrival is kept: delays vary by network and load, the least hardly
//! does. The difference between the streams' least delays, against what it was when the connection had settled, is how far
//! their clocks have come apart. As much as clocks can drift is made up for, by moving the sound. A greater difference may be
//! a clock that was set or a stream that is delayed, which cannot be told: then the windows say that they are not to be trusted in
//! this, until it is over.

use std::collections::VecDeque;

use super::super::{Alignment, Frame, Stream};
use super::GAP;
use crate::time::MediaTime;

/// A least delay is taken of so much time.
const CELL: MediaTime = MediaTime::from_millis(500);
/// Cells whose least delay is followed: long enough that some frame was not delayed.
const LONG: usize = 40;
/// Whole cells whose least delay says at once that something is wrong.
const SHORT: i64 = 2;
/// A connection's beginning says nothing: its first frames come in a burst, and timestamps are put right at the camera's first
/// reports (RFC 3550 has them every five seconds).
const SETTLED: MediaTime = MediaTime::from_millis(15_000);
/// So far sound and pictures may be apart: ITU-R BT.1359 has 45 ms of early sound as what people begin to notice.
const TOLERANCE: MediaTime = MediaTime::from_millis(40);
/// A smaller difference is left alone: it may be chance.
const CHANCE: MediaTime = MediaTime::from_millis(10);
/// By so much the sound is moved in a cell: 1000 ppm. Worse clocks than 500 ppm are not known.
const MOVE: MediaTime = MediaTime::from_nanos(500_000);
/// A stream whose timestamps go back by more has another delay from then on.
const BACK: MediaTime = MediaTime::from_millis(20);

/// The delays of one stream.
#[derive(Default)]
struct Delays {
    /// Number of a cell, and its least delay.
    cells: VecDeque<(i64, MediaTime)>,
    /// Timestamp after the newest frame.
    end: Option<MediaTime>,
}

impl Delays {
    fn note(&mut self, cell: i64, time: MediaTime, end: MediaTime, arrival: MediaTime) {
        if self.end.is_some_and(|before| time < before - BACK || time > before + GAP) {
            self.cells.clear();
        }
        self.end = Some(end);
        let delay = arrival - end;
        match self.cells.back_mut() {
            Some((of, least)) if *of == cell => *least = delay.min(*least),
            _ => self.cells.push_back((cell, delay)),
        }
        while self.cells.len() > LONG {
            self.cells.pop_front();
        }
    }

    fn least(&self, from: i64, to: i64) -> Option<MediaTime> {
        self.cells.iter().filter(|(cell, _)| (from..to).contains(cell)).map(|(_, delay)| *delay).min()
    }
}

/// The two streams of one connection.
#[derive(Default)]
pub(super) struct Step {
    sound: Delays,
    pictures: Delays,
    began: Option<MediaTime>,
    cell: i64,
    /// What the difference was when the connection had settled.
    settled: Option<MediaTime>,
    /// How far the sound is moved.
    moved: MediaTime,
    /// Session time when the streams were last seen out of step.
    astray: Option<MediaTime>,
}

impl Step {
    /// Takes note of a frame that arrived, moves it if it is sound, and gives it back. `now`: the session's time before it.
    pub fn follow<R>(&mut self, frame: Frame<R>, arrival: MediaTime, now: MediaTime) -> Frame<R> {
        let began = *self.began.get_or_insert(arrival);
        let cell = arrival.as_nanos().div_euclid(CELL.as_nanos());
        let next = cell > self.cell;
        self.cell = self.cell.max(cell);
        let end = match &frame {
            Frame::Picture { time, .. } => *time,
            Frame::Sound { time, pcm } => {
                *time + super::super::sound::time_of(i64::try_from(pcm.len()).unwrap_or(i64::MAX))
            }
        };
        let delays = match frame.stream() {
            Stream::Audio => &mut self.sound,
            Stream::Video => &mut self.pictures,
        };
        delays.note(cell, frame.time(), end, arrival);
        self.compare(arrival - began >= SETTLED, next, now);
        match frame {
            Frame::Sound { time, pcm } => Frame::Sound { time: time + self.moved, pcm },
            picture @ Frame::Picture { .. } => picture,
        }
    }

    fn difference(&self, from: i64, to: i64) -> Option<MediaTime> {
        Some(self.sound.least(from, to)? - self.pictures.least(from, to)?)
    }

    fn compare(&mut self, settled: bool, next: bool, now: MediaTime) {
        let Some(long) = self.difference(i64::MIN, i64::MAX) else { return };
        let Some(then) = self.settled else {
            if settled {
                self.settled = Some(long);
            }
            return;
        };
        let long = long - then - self.moved;
        let short = self.difference(self.cell - SHORT, self.cell).map_or(long, |short| short - then - self.moved);
        if long.abs().max(short.abs()) > TOLERANCE {
            self.astray = Some(now);
        } else if next && long.abs() > CHANCE {
            self.moved += long.clamp(-MOVE, MOVE);
        }
    }

    /// Session time begins anew; what is known of the connection stays.
    pub fn session_ended(&mut self) {
        self.astray = None;
    }

    /// How far the streams of a window that began at this session time can be trusted to be in step. None: not known yet, or there
    /// is only one.
    pub fn of_window(&self, start: MediaTime) -> Option<Alignment> {
        self.settled?;
        Some(Alignment { moved: self.moved, reliable: self.astray.is_none_or(|at| at < start) })
    }
}
