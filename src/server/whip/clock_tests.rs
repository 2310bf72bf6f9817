//! The clock of a browser's streams: pauses, stalls and what comes late, in virtual time.

use proptest::prelude::*;

use super::*;

const fn ms(ms: i64) -> MediaTime {
    MediaTime::from_millis(ms)
}

/// A sender whose streams begin at these RTP times, whose packets take so long to come, and whose clocks stood still for so long.
#[derive(Default)]
struct Sender {
    zero: [u32; 2],
    delay: [i64; 2],
    stood: [i64; 2],
}

impl Sender {
    fn rtp(&self, stream: Stream, at: i64) -> RtpTime {
        let (zero, stood, rate) = match stream {
            Stream::Audio => (self.zero[0], self.stood[0], 48_000),
            Stream::Video => (self.zero[1], self.stood[1], 90_000),
        };
        let ticks = u32::try_from(((at - stood) * i64::from(rate) / 1000) & 0xffff_ffff).unwrap();
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
    let sender = Sender { zero: [u32::MAX - 48_000, u32::MAX - 180_000], delay: [20, 220], ..Sender::default() };
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
    let sender = Sender { zero: [7, 9], delay: [0, 50], ..Sender::default() };
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
    let mut sender = Sender::default();
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

/// A sender in which `pauses` is silent for so long, and in which the clock of `stands` stands still meanwhile. Gives by how much
/// pictures lay later than the sound of the same moment, from when both are back on.
fn late_after_a_pause(pauses: &[Stream], stands: Stream, silence: i64) -> Vec<MediaTime> {
    let mut sender = Sender { zero: [u32::MAX - 4000, 7], delay: [20, 220], ..Sender::default() };
    let (mut sync, mut late) = (LipSync::default(), Vec::new());
    let (from, to) = (10_000, 10_000 + silence);
    for at in (0..to + 20_000).step_by(20) {
        let stood = &mut sender.stood[usize::from(stands == Stream::Video)];
        *stood = if at >= to { silence } else { 0 };
        // Sound takes 20 to 50 ms to come.
        sender.delay[0] = 20 + at / 20 * 7 % 30;
        let silent = |stream| pauses.contains(&stream) && (from..to).contains(&at);
        if at % 5000 == 4000 {
            sender.report(&mut sync, Stream::Audio, at);
        }
        if at % 1000 == 600 {
            sender.report(&mut sync, Stream::Video, at);
        }
        let sound = (!silent(Stream::Audio)).then(|| sender.place(&mut sync, Stream::Audio, at));
        if at % 40 == 0 && !silent(Stream::Video) {
            let picture = sender.place(&mut sync, Stream::Video, at);
            if at >= to {
                late.extend(sound.map(|sound| picture - sound));
            }
        }
    }
    late
}

#[test]
fn after_a_pause_in_which_the_clock_of_sound_stood_still_sound_and_pictures_are_together() {
    for silence in [1500, 2000, 5000, 14_900, 40_000] {
        for (pauses, unknown) in [(&[Stream::Audio][..], 0), (&[Stream::Audio, Stream::Video], 1)] {
            // Where both paused and sound is the first to come back, that its clock stood still shows with the first picture.
            let late = late_after_a_pause(pauses, Stream::Audio, silence);
            let worst = late[unknown..].iter().map(|late| late.abs()).max().unwrap();
            assert!(worst <= ms(40), "{silence} ms of {pauses:?}: {worst:?}, {:?}", &late[..3]);
            assert!(late.last().unwrap().abs() <= ms(1), "by the reports: {:?}", late.last());
        }
    }
}

#[test]
fn pictures_whose_clock_stood_still_come_to_the_sound_within_half_a_second() {
    for silence in [2000, 5000, 14_000] {
        let late = late_after_a_pause(&[Stream::Video], Stream::Video, silence);
        assert!(late[0] < ms(40 - silence), "it is waited whether they were only sent again: {:?}", late[0]);
        let worst = late[13..].iter().map(|late| late.abs()).max().unwrap();
        assert!(worst <= ms(40), "{silence} ms: {worst:?}");
    }
}

#[test]
fn pictures_that_were_lost_with_their_sound_and_are_sent_again_keep_their_times() {
    let (mut sender, mut sync) = (Sender::default(), LipSync::default());
    for at in (0..20_000).step_by(20) {
        let away = (10_000..11_500).contains(&at);
        if !away {
            assert_eq!(sender.place(&mut sync, Stream::Audio, at), ms(60_000 + at));
        }
        // The network is back at 11.5 s. What is sent again comes with its first packets, and within half a second.
        sender.delay[1] = if away { 11_560 + (at - 10_000) / 4 - at } else { (11_940 - at).clamp(0, 440) };
        sender.delay[1] *= i64::from(at >= 10_000);
        if at % 40 == 0 {
            if at == 10_000 {
                sender.delay[0] = 0;
                sender.place(&mut sync, Stream::Audio, 11_500);
            }
            assert_eq!(sender.place(&mut sync, Stream::Video, at), ms(60_000 + at), "{at}");
        }
    }
}

#[test]
fn a_network_that_stalls_both_streams_keeps_their_times() {
    let (mut sender, mut sync) = (Sender::default(), LipSync::default());
    for at in (0..30_000).step_by(20) {
        // From 10 s on nothing comes until 16 s, then everything at four times its pace.
        let late = if at < 10_000 { 0 } else { (6000 - (at - 10_000) * 3 / 4).max(0) };
        sender.delay = [late, late + 15];
        assert_eq!(sender.place(&mut sync, Stream::Audio, at), ms(60_000 + at));
        if at % 40 == 0 {
            assert_eq!(sender.place(&mut sync, Stream::Video, at), ms(60_015 + at), "{at}");
        }
    }
}

proptest! {
    /// Whatever reports say and whenever things arrive, pictures only go forward, and sound keeps its distances.
    #[test]
    fn times_only_grow(
        zero in any::<[u32; 2]>(),
        steps in prop::collection::vec((0i64..200, 0i64..3000, prop::option::of(any::<i32>())), 1..200),
    ) {
        let sender = Sender { zero, ..Sender::default() };
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
