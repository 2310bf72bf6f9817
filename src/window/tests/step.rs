//! Sound and pictures of a live source whose clocks are not one.

use super::*;

/// A camera for so many seconds: 25 pictures a second, sound in blocks of 20 ms; when and with what timestamp each comes is said
/// in milliseconds by functions of the true time. Gives each window's start, second, and what it says of its streams.
fn camera(
    length: i64,
    sound: impl Fn(i64) -> (i64, i64),
    pictures: impl Fn(i64) -> (i64, i64),
) -> Vec<(f64, Option<Alignment>)> {
    camera_cut(cutting(true), length, sound, pictures)
}

fn camera_cut(
    cutting: Cutting,
    length: i64,
    sound: impl Fn(i64) -> (i64, i64),
    pictures: impl Fn(i64) -> (i64, i64),
) -> Vec<(f64, Option<Alignment>)> {
    let mut timeline = Timeline::new(cutting, keep());
    timeline.streams(Streams { audio: true, video: true });
    let mut frames: Vec<(i64, Frame<u32>)> = Vec::new();
    for at in (0..length * 1000).step_by(20) {
        let (time, arrival) = sound(at);
        frames.push((arrival, Frame::Sound { time: MediaTime::from_millis(time), pcm: vec![1; 320] }));
        if at % 40 == 0 {
            let (time, arrival) = pictures(at);
            frames.push((arrival, Frame::Picture { time: MediaTime::from_millis(time), image: 0 }));
        }
    }
    frames.sort_by_key(|frame| frame.0);
    let mut out = Vec::new();
    for (arrival, frame) in frames {
        timeline.frame(frame, MediaTime::from_millis(arrival), 0, &mut out);
    }
    windows(&out).iter().map(|window| (window.span.start().as_secs_f64(), window.alignment)).collect()
}

#[test]
fn drift_is_made_up_for_and_windows_stay_reliable() {
    // 500 ppm, of which the first 15 s are not seen.
    for sign in [1, -1] {
        let told = camera(120, |at| (at + sign * at / 2000, at + 90), |at| (at, at + 200));
        let (_, last) = *told.last().unwrap();
        let last = last.unwrap();
        let drift = MediaTime::from_millis(-sign * 52);
        assert!(last.reliable && (last.moved - drift).abs() < MediaTime::from_millis(25), "{sign}: {last:?}");
        assert!(told.iter().all(|(_, alignment)| alignment.is_none_or(|alignment| alignment.reliable)), "{told:?}");
    }
}

#[test]
fn late_frames_move_nothing() {
    // Each stream is late in its own way, by up to 300 ms, but not always.
    let late = |at: i64, every: i64| if at / 1000 % every == 0 { (300 - at % 1000).max(0) } else { 0 };
    let told = camera(120, |at| (at, at + 50 + late(at, 3)), |at| (at, at + 100 + late(at, 4)));
    assert!(
        told.iter().flat_map(|(_, alignment)| alignment).all(|alignment| alignment.moved == MediaTime::ZERO),
        "{told:?}"
    );
    assert!(told.iter().filter(|(_, alignment)| alignment.is_some()).count() > 15, "known after a while: {told:?}");
}

#[test]
fn a_clock_that_was_set_makes_windows_unreliable_from_there_on_and_a_lost_stretch_does_not() {
    for step in [400, -400] {
        let told = camera(80, |at| (at + if at < 42_000 { 0 } else { step }, at + 50), |at| (at, at + 100));
        for (start, alignment) in told.iter().filter(|(start, _)| *start >= 20.0) {
            assert_eq!(alignment.unwrap().reliable, *start < 40.0, "{step} ms: {start} in {told:?}");
        }
    }
    // What is not there for 400 ms comes 400 ms later.
    let gap = |at| at + i64::from(at >= 42_000) * 400;
    let told = camera(80, |at| (gap(at), gap(at) + 50), |at| (at, at + 100));
    assert!(told.iter().flat_map(|(_, alignment)| alignment).all(|alignment| alignment.reliable), "{told:?}");
}

#[test]
fn what_was_out_of_step_in_one_session_is_not_in_the_next() {
    let late = |at: i64| at + 50 + if (30_000..36_000).contains(&at) { 400 } else { 0 };
    let cutting = Cutting { max_session: Some(secs(60.0)), ..cutting(true) };
    let told = camera_cut(cutting, 120, |at| (at, late(at)), |at| (at, at + 100));
    let next = told.iter().skip(1).position(|(start, _)| *start == 0.0).expect("another session") + 1;
    let reliable =
        |part: &[(f64, Option<Alignment>)]| part.iter().flat_map(|(_, alignment)| alignment).all(|a| a.reliable);
    assert!(!reliable(&told[..next]) && reliable(&told[next..]), "{told:?}");
}

#[test]
fn a_recording_has_no_clock_of_ours_to_be_compared_with() {
    let cuts = run(
        cutting(false),
        interleave([pictures(secs(0.0), 900, 25, 1, 0), sound(secs(0.0), secs(36.0))].concat(), secs(0.0)),
        true,
    );
    assert!(windows(&cuts).iter().all(|window| window.alignment.is_none()));
}
