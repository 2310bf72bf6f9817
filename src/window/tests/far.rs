//! Streams whose clocks are far from each other: hostile, or only badly set.

use super::*;

#[test]
fn sound_that_begins_hours_after_the_pictures_ended_fills_nothing_with_silence() {
    let mut timeline = Timeline::new(cutting(false), keep());
    timeline.streams(Streams { audio: true, video: true });
    let mut out = Vec::new();
    for frame in pictures(secs(0.0), 25, 25, 1, 0) {
        timeline.frame(frame, secs(0.0), 0, &mut out);
    }
    timeline.stream_ended(Stream::Video, secs(0.0), &mut out);
    for frame in sound(secs(2e6), secs(6.0)) {
        timeline.frame(frame, secs(0.0), 0, &mut out);
    }
    timeline.finish(true, MediaTime::ZERO, &mut out);
    let cut = out.iter().filter(|cut| matches!(cut, Cut::Window(_) | Cut::Unjudgeable { .. })).count();
    assert_eq!((cut, elapsed(&out)), (1, secs(2_000_006.0)));
}

#[test]
fn pictures_a_week_ahead_of_the_sound_make_no_week_of_windows() {
    for (ended, streams) in [
        (false, Streams { audio: true, video: true }),
        (true, Streams { audio: true, video: true }),
        (false, Streams { audio: true, video: false }),
    ] {
        let mut timeline = Timeline::new(cutting(true), keep());
        timeline.streams(streams);
        let mut out = Vec::new();
        if ended {
            timeline.stream_ended(Stream::Video, secs(0.0), &mut out);
        }
        let ahead = pictures(secs(604_800.0), 100, 25, 1, 0);
        let mut arrival = MediaTime::ZERO;
        for frame in sound(secs(0.0), secs(16.0)).into_iter().chain(ahead) {
            timeline.frame(frame, arrival, 0, &mut out);
            arrival += MediaTime::from_millis(20);
        }
        timeline.finish(false, MediaTime::ZERO, &mut out);
        let cut = out.iter().filter(|cut| matches!(cut, Cut::Window(_) | Cut::Unjudgeable { .. })).count();
        assert!(cut <= 5 && elapsed(&out) < secs(60.0), "{cut} windows, {:?}", elapsed(&out));
    }
}
