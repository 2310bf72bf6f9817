//! Lip sync: the RTP times of a browser's two streams, put on one clock. Pure.
//!
//! Each stream counts from a zero of its own (RFC 3550, 5.1). That they belong together is told by the sender reports, which
//! give for each stream one RTP time and the sender's wall time of the same moment; the first come after one to five seconds.
//!
//! - Until both streams have a report, each stream lies where its first unit arrived.
//! - Sound moves only where it begins anew: a step in it would be a hole or an overlap. Pictures are brought to it.
//! - A picture is moved by no more than an eighth of the time since the one before. So their times only grow, no window sees a
//!   jump, no continuity breaks, and an error of 200 ms is gone after 1.6 s. Clocks that drift are followed the same way.
//! - A report is believed only if it agrees with what arrives to within [`CREDIBLE`]; some senders write no true wall time.
//! - RTP times that leave the arrival by more than [`RESTART`] have begun anew (another SSRC, another encoder). The stream then
//!   lies as long before its arrival as it did, and goes on without a break, until the next report.
//! - A client that sends nothing of one stream for a while may let that stream's RTP clock stand still (Chrome's does for sound
//!   without a track). What comes then seems late by that time. A stalled network makes late too, but both streams alike: a unit
//!   that is late by [`STEP`] more than usual, and by as much more than the other stream, which flows, is of a clock that stood
//!   still, and begins anew in the same way. Pictures must be so for [`RESENT`], since those that were lost and are sent again come
//!   late without the sound.

use crate::time::MediaTime;
use crate::window::Stream;

/// No live stream arrives so much later, or earlier, than the other at the same moment.
const CREDIBLE: MediaTime = MediaTime::from_millis(2000);
/// A peer that is silent for so long is gone: no times are later than this for want of a network.
const RESTART: MediaTime = MediaTime::from_millis(15_000);
/// No network delays one stream so much more than the other at once.
const STEP: MediaTime = MediaTime::from_millis(1000);
/// So long may pictures that were sent again be later than sound, which never is.
const RESENT: MediaTime = MediaTime::from_millis(500);
/// Part of a unit's lateness that goes into what is usual.
const SMOOTH: i64 = 16;
/// What two pictures are apart at least.
const JUST_AFTER: MediaTime = MediaTime::from_millis(1);
/// Part of the time since the picture before by which a picture may be moved.
const SLEW: i64 = 8;

/// One RTP time, as a stream's units and reports have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpTime {
    /// Its lower 32 bits, which wrap around.
    pub ticks: u32,
    /// Ticks a second.
    pub rate: u32,
}

/// Where a stream's times lie on the common clock.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// An RTP time of the stream, unwrapped: the newest.
    newest: MediaTime,
    ticks: u32,
    /// Unwrapped time to the common clock.
    offset: MediaTime,
    /// What the reports say: unwrapped time to the sender's wall time.
    wall: Option<MediaTime>,
    /// Arrival of the unit before.
    arrived: MediaTime,
    /// How long after its time on the common clock that one arrived.
    late: MediaTime,
    /// The same of all before it, smoothed.
    usual: MediaTime,
    /// How much more than usual it was late, from a sudden step on until that is gone; else zero.
    excess: MediaTime,
    /// Arrival since which units are that late and the other stream's are not.
    apart: Option<MediaTime>,
}

impl Line {
    /// A stream whose unit of this time arrives `usual` after where it then lies.
    const fn begin(rtp: RtpTime, arrival: MediaTime, usual: MediaTime) -> Self {
        let offset = MediaTime::from_nanos(arrival.as_nanos() - usual.as_nanos());
        let (newest, excess) = (MediaTime::ZERO, MediaTime::ZERO);
        let (ticks, arrived, late) = (rtp.ticks, arrival, usual);
        Self { newest, ticks, offset, wall: None, arrived, late, usual, excess, apart: None }
    }

    /// A unit arrived, so late.
    fn hear(&mut self, late: MediaTime, arrival: MediaTime) {
        let over = late - self.usual;
        let begins = late - self.late > STEP;
        if (begins || self.excess > MediaTime::ZERO) && over > STEP.scale(1, 2) {
            self.excess = over;
        } else {
            self.excess = MediaTime::ZERO;
            self.usual += over.scale(1, SMOOTH);
        }
        (self.late, self.arrived) = (late, arrival);
    }

    /// Whether the unit that just arrived says that the stream's clock stood still.
    fn stood_still(&mut self, other: Option<Self>, patience: MediaTime) -> bool {
        let flows = other.filter(|other| self.arrived - other.arrived <= STEP);
        let on_time = flows.is_some_and(|other| self.excess - (other.late - other.usual) > STEP);
        if self.excess <= STEP || !on_time {
            self.apart = None;
            return false;
        }
        self.arrived - *self.apart.get_or_insert(self.arrived) >= patience
    }

    /// Lies so much later from now on.
    fn shift(&mut self, by: MediaTime) {
        self.offset += by;
        self.late -= by;
        self.usual -= by;
    }

    /// Unwraps a time that lies less than half a turn from the newest.
    fn unwrap(&self, time: RtpTime) -> MediaTime {
        let ticks = i64::from(time.ticks.wrapping_sub(self.ticks).cast_signed());
        self.newest + MediaTime::from_nanos(1_000_000_000).scale(ticks, i64::from(time.rate.max(1)))
    }
}

/// The clock of one peer's two streams.
#[derive(Clone, Debug, Default)]
pub struct LipSync {
    audio: Option<Line>,
    video: Option<Line>,
    /// The last picture's time, which none after it may reach.
    shown: Option<MediaTime>,
}

impl LipSync {
    const fn line(&mut self, stream: Stream) -> &mut Option<Line> {
        match stream {
            Stream::Audio => &mut self.audio,
            Stream::Video => &mut self.video,
        }
    }

    /// A sender report: at this RTP time of the stream, the sender's clock showed `wall` (any zero, the same for both streams).
    pub fn report(&mut self, stream: Stream, rtp: RtpTime, wall: MediaTime) {
        if let Some(line) = self.line(stream) {
            line.wall = Some(wall - line.unwrap(rtp));
        }
    }

    /// The time on the common clock of a unit that arrived at `arrival`, which is on that clock. Pictures' times only grow.
    pub fn place(&mut self, stream: Stream, rtp: RtpTime, arrival: MediaTime) -> MediaTime {
        let (target, shown) = (self.target(), self.shown);
        let (other, patience) = match stream {
            Stream::Audio => (self.video, MediaTime::ZERO),
            Stream::Video => (self.audio, RESENT),
        };
        let line = self.line(stream).get_or_insert(Line::begin(rtp, arrival, MediaTime::ZERO));
        let mut time = line.unwrap(rtp);
        let (late, usual) = (arrival - (time + line.offset), line.usual);
        line.hear(late, arrival);
        let restarted = late.abs() > RESTART || line.stood_still(other, patience);
        if restarted {
            (*line, time) = (Line::begin(rtp, arrival, usual), MediaTime::ZERO);
        }
        let step = time - line.newest;
        if step > MediaTime::ZERO {
            (line.newest, line.ticks) = (time, rtp.ticks);
        }
        if stream == Stream::Audio {
            return time + line.offset;
        }
        if let Some(target) = target.filter(|_| !restarted && step > MediaTime::ZERO) {
            let most = step.scale(1, SLEW);
            line.shift((target - line.offset).clamp(-most, most));
        }
        let mut at = time + line.offset;
        // A restart may lie a little before what was shown: then it goes on from there. Left out, it would be missed by the
        // pictures after it.
        if let Some(least) = shown.map(|shown| shown + JUST_AFTER).filter(|least| at < *least) {
            if restarted {
                line.shift(least - at);
            }
            at = least;
        }
        self.shown = Some(at);
        at
    }

    /// Where the reports say that pictures lie, if both streams have one and they can be believed.
    fn target(&self) -> Option<MediaTime> {
        let (audio, video) = (self.audio?, self.video?);
        let target = audio.offset + (video.wall? - audio.wall?);
        ((target - video.offset).abs() <= CREDIBLE).then_some(target)
    }

    /// How far pictures are from where the reports say: positive, they are late. None until both streams have a report.
    #[must_use]
    pub fn error(&self) -> Option<MediaTime> {
        Some(self.video?.offset - self.target()?)
    }
}

#[cfg(test)]
#[path = "clock_tests.rs"]
mod tests;
