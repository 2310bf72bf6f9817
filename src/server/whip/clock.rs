//! Lip sync: the RTP times of a browser's two streams, put on one clock. Pure.
//!
//! Each stream counts from a zero of its own (RFC 3550, 5.1). That they belong together is told by the sender reports, which
//! give for each stream one RTP time and the sender's wall time of the same moment; the first come after one to five seconds.
//!
//! - Until both streams have a report, each stream lies where its first unit arrived.
//! - Sound never moves: a step in it would be a hole or an overlap. Pictures are brought to it.
//! - A picture is moved by no more than an eighth of the time since the one before. So their times only grow, no window sees a
//!   jump, no continuity breaks, and an error of 200 ms is gone after 1.6 s. Clocks that drift are followed the same way.
//! - A report is believed only if it agrees with what arrives to within [`CREDIBLE`]; some senders write no true wall time.
//! - RTP times that leave the arrival by more than [`RESTART`] have begun anew (another SSRC, another encoder). The stream then
//!   lies where that unit arrives, and goes on without a break, until the next report. A stalled network is shorter than that,
//!   and keeps its times.

use crate::time::MediaTime;
use crate::window::Stream;

/// No live stream arrives so much later, or earlier, than the other at the same moment.
const CREDIBLE: MediaTime = MediaTime::from_millis(2000);
/// A peer that is silent for so long is gone: no times are later than this for want of a network.
const RESTART: MediaTime = MediaTime::from_millis(15_000);
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
}

impl Line {
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
        let line = self.line(stream);
        let begun = Line { newest: MediaTime::ZERO, ticks: rtp.ticks, offset: arrival, wall: None };
        let line = line.get_or_insert(begun);
        let mut time = line.unwrap(rtp);
        let mut restarted = false;
        if (arrival - (time + line.offset)).abs() > RESTART {
            (*line, time, restarted) = (begun, MediaTime::ZERO, true);
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
            line.offset += (target - line.offset).clamp(-most, most);
        }
        let mut at = time + line.offset;
        // A restart may lie a little before what was shown: then it goes on from there. Left out, it would be missed by the
        // pictures after it.
        if let Some(least) = shown.map(|shown| shown + JUST_AFTER).filter(|least| at < *least) {
            if restarted {
                line.offset += least - at;
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: i64) -> MediaTime {
        MediaTime::from_millis(ms)
    }

    /// A sender whose streams begin at these RTP times, and whose packets take so long to come.
    struct Sender {
        zero: [u32; 2],
        delay: [i64; 2],
    }

    impl Sender {
        fn rtp(&self, stream: Stream, at: i64) -> RtpTime {
            let (zero, rate) = match stream {
                Stream::Audio => (self.zero[0], 48_000),
                Stream::Video => (self.zero[1], 90_000),
            };
            let ticks = u32::try_from((at * i64::from(rate) / 1000) & 0xffff_ffff).unwrap();
            RtpTime { ticks: zero.wrapping_add(ticks), rate }
        }

        fn place(&self, sync: &mut LipSync, stream: Stream, at: i64) -> MediaTime {
            let delay = self.delay[usize::from(stream == Stream::Video)];
            sync.place(stream, self.rtp(stream, at), ms(60_000 + at + delay))
        }

        fn report(&self, sync: &mut LipSync, stream: Stream, at: i64) {
            sync.report(stream, self.rtp(stream, at), ms(1_000_000 + at));
        }
    }

    #[test]
    fn pictures_come_to_the_sound_without_a_jump_and_stay_there() {
        let sender = Sender { zero: [u32::MAX - 48_000, u32::MAX - 180_000], delay: [20, 220] };
        let mut sync = LipSync::default();
        let (mut shown, mut late) = (Vec::new(), Vec::new());
        for at in (0..20_000).step_by(20) {
            if at == 3000 {
                sender.report(&mut sync, Stream::Audio, at);
                sender.report(&mut sync, Stream::Video, at - 1000);
            }
            let sound = sender.place(&mut sync, Stream::Audio, at);
            assert_eq!(sound, ms(60_020 + at), "sound never moves");
            if at % 40 == 0 {
                let picture = sender.place(&mut sync, Stream::Video, at);
                shown.push(picture);
                late.push(picture - sound);
            }
        }
        assert_eq!(late[0], ms(200), "before the first reports, by arrival");
        assert_eq!(late[3000 / 40 - 1], ms(200));
        assert_eq!(*late.last().unwrap(), MediaTime::ZERO, "by the reports");
        assert_eq!(late.iter().position(|late| *late == MediaTime::ZERO), Some((3000 + 1600) / 40 - 1));
        assert!(shown.windows(2).all(|pair| (ms(35)..=ms(45)).contains(&(pair[1] - pair[0]))), "no jump");
        assert_eq!(sync.error(), Some(MediaTime::ZERO));
    }

    #[test]
    fn reports_without_a_true_wall_time_change_nothing() {
        let sender = Sender { zero: [7, 9], delay: [0, 50] };
        let mut sync = LipSync::default();
        for at in (0..5000).step_by(40) {
            sender.report(&mut sync, Stream::Audio, at);
            sync.report(Stream::Video, sender.rtp(Stream::Video, at), MediaTime::ZERO);
            assert_eq!(sender.place(&mut sync, Stream::Audio, at), ms(60_000 + at));
            assert_eq!(sender.place(&mut sync, Stream::Video, at), ms(60_050 + at));
        }
        assert_eq!(sync.error(), None);
    }

    #[test]
    fn a_stalled_network_keeps_its_times_and_a_new_encoder_goes_on_where_it_arrives() {
        let mut sender = Sender { zero: [0, 0], delay: [0, 0] };
        let mut sync = LipSync::default();
        sender.place(&mut sync, Stream::Video, 0);
        sender.delay = [9000, 9000];
        assert_eq!(sender.place(&mut sync, Stream::Video, 40), ms(60_040), "9 s late, and still of then");
        sender.delay = [0, 0];
        assert_eq!(sender.place(&mut sync, Stream::Video, 10_000), ms(70_000));
        sender.zero[1] = 2_000_000_000;
        assert_eq!(sender.place(&mut sync, Stream::Video, 10_040), ms(70_040));
        assert_eq!(sender.place(&mut sync, Stream::Video, 10_080), ms(70_080));
        // It began anew a second time, and a second earlier than what was shown.
        (sender.zero[1], sender.delay[1]) = (77, -1000);
        assert_eq!(sender.place(&mut sync, Stream::Video, 10_120), ms(70_081));
        assert_eq!(sender.place(&mut sync, Stream::Video, 10_160), ms(70_121));
    }

    proptest! {
        /// Whatever reports say and whenever things arrive, pictures only go forward, and sound keeps its distances.
        #[test]
        fn times_only_grow(
            zero in any::<[u32; 2]>(),
            steps in prop::collection::vec((0i64..200, 0i64..3000, prop::option::of(any::<i32>())), 1..200),
        ) {
            let sender = Sender { zero, delay: [0, 0] };
            let mut sync = LipSync::default();
            let (mut at, mut shown, mut heard) = (0, None, None);
            for (step, late, wall) in steps {
                at += step;
                if let Some(wall) = wall {
                    sync.report(Stream::Audio, sender.rtp(Stream::Audio, at), ms(i64::from(wall)));
                    sync.report(Stream::Video, sender.rtp(Stream::Video, at), ms(i64::from(wall) + late));
                }
                let arrival = ms(60_000 + at + late);
                let sound = sync.place(Stream::Audio, sender.rtp(Stream::Audio, at), arrival);
                if let Some((before, was)) = heard {
                    prop_assert_eq!(sound - before, ms(at - was));
                }
                heard = Some((sound, at));
                let picture = sync.place(Stream::Video, sender.rtp(Stream::Video, at), arrival);
                prop_assert!(shown.is_none_or(|shown| picture > shown));
                shown = Some(picture);
            }
        }
    }
}
