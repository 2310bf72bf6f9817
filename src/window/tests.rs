//! Properties of cutting, on frames that carry their own number.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "frames of a test are few"
)]

mod empty;
mod far;
mod pause;
mod step;

pub(crate) use empty::empty;
use proptest::prelude::*;

use super::*;
use crate::time::{MediaTime, Span};

const SEC: i64 = 1_000_000_000;

fn secs(s: f64) -> MediaTime {
    MediaTime::from_secs_f64(s)
}

fn cutting(live: bool) -> Cutting {
    Cutting {
        window: secs(5.0),
        hop: secs(5.0),
        stall: secs(if live { 2.0 } else { 20.0 }),
        live,
        session_gap: secs(60.0),
        max_session: None,
    }
}

/// A picture that is its own number; kept as a "JPEG" of that number.
fn keep() -> Keep<u32> {
    Box::new(|time, n: &u32| Some(Still { time, width: 2, height: 2, jpeg: Bytes::copy_from_slice(&n.to_be_bytes()) }))
}

fn number(still: &Still) -> u32 {
    u32::from_be_bytes(still.jpeg.as_ref().try_into().unwrap())
}

/// `count` pictures from `start`, at `num/den` a second, numbered from `first`.
fn pictures(start: MediaTime, count: u32, num: i64, den: i64, first: u32) -> Vec<Frame<u32>> {
    (0..count)
        .map(|n| Frame::Picture {
            time: start + MediaTime::from_nanos(i64::from(n) * SEC).scale(den, num),
            image: first + n,
        })
        .collect()
}

/// Sound from `start`, in blocks as AAC gives them; each value is its index from `start`, modulo 30000, plus one.
fn sound(start: MediaTime, length: MediaTime) -> Vec<Frame<u32>> {
    let total = length.scale(16_000, SEC).as_nanos();
    let (mut at, mut frames) = (0, Vec::new());
    while at < total {
        let count = (total - at).min(341);
        let pcm = (at..at + count).map(|i| i16::try_from(i % 30_000 + 1).unwrap()).collect();
        frames.push(Frame::Sound { time: start + MediaTime::from_nanos(at * 62_500), pcm });
        at += count;
    }
    frames
}

/// Orders frames by time, the sound running `lead` ahead of the pictures.
fn interleave(mut frames: Vec<Frame<u32>>, lead: MediaTime) -> Vec<Frame<u32>> {
    frames.sort_by_key(|f| match f {
        Frame::Picture { time, .. } => (*time + lead, 0),
        Frame::Sound { time, .. } => (*time, 1),
    });
    frames
}

fn run(cutting: Cutting, frames: Vec<Frame<u32>>, complete: bool) -> Vec<Cut> {
    let mut out = Vec::new();
    let mut timeline = Timeline::new(cutting, keep());
    timeline.streams(Streams {
        audio: frames.iter().any(|f| f.stream() == Stream::Audio),
        video: frames.iter().any(|f| f.stream() == Stream::Video),
    });
    for frame in frames {
        let arrival = frame.time();
        timeline.frame(frame, arrival, 0, &mut out);
    }
    timeline.finish(complete, MediaTime::ZERO, &mut out);
    out
}

fn windows(cuts: &[Cut]) -> Vec<&Window> {
    cuts.iter().filter_map(|c| if let Cut::Window(w) = c { Some(&**w) } else { None }).collect()
}

fn elapsed(cuts: &[Cut]) -> MediaTime {
    cuts.iter().find_map(|c| if let Cut::SessionEnded { elapsed } = c { Some(*elapsed) } else { None }).unwrap()
}

fn numbers(window: &Window) -> Vec<u32> {
    window.pictures.iter().map(number).collect()
}

/// What training takes: `numpy.linspace(0, count - 1, n).round()`.
fn linspace_round(count: u32, n: u32) -> Vec<u32> {
    (0..n).map(|k| ((f64::from(k) * f64::from(count - 1) / f64::from(n - 1)).round()) as u32).collect()
}

#[test]
fn a_thirty_fps_window_has_the_ten_pictures_of_training() {
    let cuts = run(
        cutting(false),
        interleave([pictures(secs(0.08), 150, 30, 1, 0), sound(secs(0.021), secs(5.1))].concat(), secs(0.0)),
        true,
    );
    let windows = windows(&cuts);
    assert_eq!(numbers(windows[0]), [0, 17, 33, 50, 66, 83, 99, 116, 132, 149]);
    let pcm = windows[0].sound.as_ref().unwrap();
    assert_eq!(pcm.len(), 80_000);
    // Second 0 is the first picture, 59 ms = 944 values after the sound began: those are cut.
    assert_eq!(pcm[0], 945);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn full_windows_at_a_constant_rate_have_linspaces_pictures(
        (num, den, per_window) in prop_oneof![Just((25i64, 1i64, 125u32)), Just((30, 1, 150)), Just((24, 1, 120)), Just((15, 1, 75)), Just((10, 1, 50)), Just((50, 1, 250)), Just((60, 1, 300))],
        windows_count in 1u32..4, start_ms in 0i64..3000, jitter_us in 0i64..20,
    ) {
        let mut frames = pictures(MediaTime::from_millis(start_ms), windows_count * per_window, num, den, 0);
        for (i, f) in frames.iter_mut().enumerate() {
            if let Frame::Picture { time, .. } = f {
                *time += MediaTime::from_nanos(jitter_us * 1000 * (i as i64 % 3 - 1));
            }
        }
        let cuts = run(cutting(false), frames, true);
        let windows = windows(&cuts);
        prop_assert_eq!(windows.len(), windows_count as usize);
        for (i, w) in windows.iter().enumerate() {
            let expected: Vec<u32> = linspace_round(per_window, 10).iter().map(|n| n + i as u32 * per_window).collect();
            prop_assert_eq!(numbers(w), expected);
            prop_assert!(w.full);
        }
    }

    #[test]
    fn the_order_in_which_the_two_streams_arrive_changes_nothing(
        length in 1.0f64..22.0, lead_ms in -1500i64..1500, hop in prop_oneof![Just(5.0), Just(2.5), Just(1.0)],
    ) {
        let make = |lead| {
            let count = (length * 25.0) as u32;
            let frames = interleave([pictures(secs(0.04), count, 25, 1, 0), sound(secs(0.0), secs(length))].concat(), lead);
            let cuts = run(Cutting { hop: secs(hop), ..cutting(false) }, frames, true);
            let seen: Vec<_> = windows(&cuts).iter().map(|w| (w.id, w.span, w.full, numbers(w), w.sound.clone(), w.sound_missing)).collect();
            (seen, elapsed(&cuts))
        };
        prop_assert_eq!(make(MediaTime::ZERO), make(MediaTime::from_millis(lead_ms)));
    }

    #[test]
    fn every_instant_is_covered_or_tail_and_no_window_is_longer_than_a_window(
        length in 0.2f64..31.0, hop in 0.7f64..5.0, complete: bool,
    ) {
        let frames = interleave([pictures(secs(0.0), (length * 25.0).ceil() as u32, 25, 1, 0), sound(secs(0.0), secs(length))].concat(), secs(0.0));
        let cuts = run(Cutting { hop: secs(hop), ..cutting(false) }, frames, complete);
        let end = elapsed(&cuts);
        let mut covered = MediaTime::ZERO;
        for cut in &cuts {
            match cut {
                Cut::Window(w) => {
                    prop_assert_eq!(w.span.start(), secs(hop).scale(i64::from(w.id.index), 1));
                    prop_assert!(w.span.start() <= covered);
                    prop_assert!(w.span.length() <= secs(5.0));
                    let values = w.sound.as_ref().unwrap().len() as i64;
                    prop_assert_eq!(values, w.span.length().scale(16_000, SEC).as_nanos());
                    prop_assert_eq!(w.full, values == 80_000);
                    prop_assert!(w.full || w.span.length() >= secs(2.995) || (complete && end < secs(5.0)));
                    covered = covered.max(w.span.end());
                }
                Cut::Tail(span) => {
                    prop_assert_eq!(span.start(), covered);
                    prop_assert!(!span.is_empty());
                    covered = span.end();
                }
                _ => {}
            }
        }
        prop_assert_eq!(covered, end);
        if complete && end < secs(4.99) {
            prop_assert_eq!(windows(&cuts).len(), 1);
        }
    }

    #[test]
    fn no_window_spans_a_gap_and_the_gap_is_lost_time(before in 0.5f64..12.0, gap in 1.2f64..40.0, after in 0.5f64..12.0, live: bool) {
        let (count, rest) = ((before * 25.0).ceil() as u32, (after * 25.0).ceil() as u32);
        let first_end = secs(f64::from(count) / 25.0);
        let again = first_end + secs(gap);
        let frames = interleave([
            pictures(secs(0.0), count, 25, 1, 0), sound(secs(0.0), first_end),
            pictures(again, rest, 25, 1, count), sound(again, secs(f64::from(rest) / 25.0)),
        ].concat(), secs(0.0));
        let cuts = run(cutting(live), frames, !live);
        let hole = Span::new(first_end, again);
        let outage: Vec<_> = cuts.iter().filter_map(|c| if let Cut::Outage(s) = c { Some(*s) } else { None }).collect();
        prop_assert_eq!(outage.len(), 1);
        prop_assert!((outage[0].length() - hole.length()).abs() < secs(0.05), "{:?} {:?}", outage, hole);
        for w in windows(&cuts) {
            prop_assert!(w.span.end() <= outage[0].start() + secs(0.001) || w.span.start() >= outage[0].end());
            prop_assert_eq!(w.id.continuity, u32::from(w.span.start() >= outage[0].end()));
        }
    }

    #[test]
    fn a_jump_of_timestamps_loses_no_time(before in 1.0f64..12.0, jump in prop_oneof![-60.0f64..-1.5, 1.5f64..4000.0]) {
        let count = (before * 25.0).ceil() as u32;
        let first_end = secs(100.0 + f64::from(count) / 25.0);
        let again = first_end + secs(jump);
        let mut arrival = MediaTime::ZERO;
        let mut timeline = Timeline::new(cutting(true), keep());
        timeline.streams(Streams { audio: true, video: true });
        let mut out = Vec::new();
        let first = interleave([pictures(secs(100.0), count, 25, 1, 0), sound(secs(100.0), secs(f64::from(count) / 25.0))].concat(), secs(0.0));
        let second = interleave([pictures(again, 250, 25, 1, count), sound(again, secs(10.0))].concat(), secs(0.0));
        for frame in first.into_iter().chain(second) {
            timeline.frame(frame, arrival, 0, &mut out);
            arrival += MediaTime::from_millis(10);
        }
        timeline.finish(false, MediaTime::ZERO, &mut out);
        prop_assert_eq!(elapsed(&out), secs(f64::from(count) / 25.0) + secs(10.0));
        let no_outage = !out.iter().any(|c| matches!(c, Cut::Outage(_)));
        prop_assert!(no_outage);
        prop_assert_eq!(windows(&out).iter().filter(|w| w.id.continuity == 1).count(), 2);
    }
}

#[test]
fn a_partial_window_is_kept_from_three_seconds_on_and_a_short_recording_whole() {
    let of = |length: f64, complete| {
        let cuts = run(cutting(false), pictures(secs(0.0), (length * 25.0).round() as u32, 25, 1, 0), complete);
        windows(&cuts).iter().map(|w| (w.span, w.pictures.len())).collect::<Vec<_>>()
    };
    let span = |a: f64, b: f64| Span::new(secs(a), secs(b));
    assert_eq!(of(7.92, true), [(span(0.0, 5.0), 10)]);
    assert_eq!(of(8.0, true), [(span(0.0, 5.0), 10), (span(5.0, 8.0), 6)]);
    assert_eq!(of(9.48, true), [(span(0.0, 5.0), 10), (span(5.0, 9.48), 8)]);
    assert_eq!(of(2.4, true), [(span(0.0, 2.4), 4)]);
    assert_eq!(of(2.4, false), []);
    assert_eq!(of(0.04, true), [(span(0.0, 0.04), 4)]);
}

#[test]
fn a_partial_windows_pictures_are_within_200_ms_of_linspaces() {
    let cuts = run(cutting(false), pictures(secs(0.0), 85 + 125, 25, 1, 0), true);
    let partial = windows(&cuts)[1];
    for (got, want) in numbers(partial).iter().zip(linspace_round(85, 6)) {
        assert!((f64::from(*got) - f64::from(want + 125)).abs() <= 5.0, "{:?}", numbers(partial));
    }
    assert_eq!(*numbers(partial).last().unwrap(), 209);
}

#[test]
fn a_missing_picture_leaves_ten_in_a_full_window() {
    let mut frames = pictures(secs(0.0), 250, 25, 1, 0);
    frames.retain(|f| !matches!(f, Frame::Picture { image, .. } if (120..130).contains(image) || *image == 40));
    let cuts = run(cutting(false), frames, true);
    let windows = windows(&cuts);
    assert_eq!((windows[0].pictures.len(), windows[0].pictures_seen, windows[0].pictures_expected), (10, 119, 125));
    assert_eq!(*numbers(windows[0]).last().unwrap(), 119);
    assert_eq!(windows[1].pictures.len(), 10);
    assert!(numbers(windows[1]).iter().all(|n| (130..250).contains(n)));
}

#[test]
fn when_the_sound_stops_windows_close_two_seconds_late_and_are_not_judged() {
    let frames = interleave([pictures(secs(0.0), 500, 25, 1, 0), sound(secs(0.0), secs(5.0))].concat(), secs(0.0));
    let mut timeline = Timeline::new(cutting(true), keep());
    timeline.streams(Streams { audio: true, video: true });
    let (mut out, mut closed) = (Vec::new(), Vec::new());
    for frame in frames {
        let arrival = frame.time();
        timeline.frame(frame, arrival, 0, &mut out);
        closed.extend(
            out.drain(..).filter(|c| matches!(c, Cut::Window(_) | Cut::Unjudgeable { .. })).map(|c| (arrival, c)),
        );
    }
    assert!(matches!(&closed[0], (at, Cut::Window(_)) if *at < secs(5.1)));
    assert!(matches!(&closed[1], (at, Cut::Unjudgeable { span, reason: LostReason::MissingMedia, .. })
        if (secs(11.9)..secs(12.1)).contains(at) && *span == Span::new(secs(5.0), secs(10.0))));
}

#[test]
fn a_picture_every_ten_seconds_beside_sound_is_no_gap() {
    let frames = interleave([pictures(secs(0.0), 4, 1, 10, 0), sound(secs(0.0), secs(40.0))].concat(), secs(0.0));
    let cuts = run(cutting(false), frames, true);
    assert!(!cuts.iter().any(|c| matches!(c, Cut::Outage(_) | Cut::ContinuityBegan { continuity: 1, .. })));
}

#[test]
fn a_hole_in_the_sound_is_silence_of_its_length() {
    let late = sound(secs(0.0), secs(10.0)).into_iter().filter(|f| !(secs(1.0)..secs(1.8)).contains(&f.time()));
    let cuts =
        run(cutting(false), interleave([pictures(secs(0.0), 250, 25, 1, 0), late.collect()].concat(), secs(0.0)), true);
    let window = windows(&cuts)[0];
    let pcm = window.sound.as_ref().unwrap();
    assert!((window.sound_missing - secs(0.8)).abs() < secs(0.03));
    assert_eq!(pcm.iter().filter(|v| **v == 0).count() as i64, window.sound_missing.scale(16_000, SEC).as_nanos());
    assert_eq!(pcm[40_000], i16::try_from(40_000 % 30_000 + 1).unwrap());
}

#[test]
fn a_long_live_gap_ends_the_session_at_its_last_frame() {
    let mut timeline = Timeline::new(cutting(true), keep());
    timeline.streams(Streams { audio: false, video: true });
    let mut out = Vec::new();
    for frame in pictures(secs(0.0), 150, 25, 1, 0) {
        let at = frame.time();
        timeline.frame(frame, at, 0, &mut out);
    }
    timeline.idle(secs(30.0), &mut out);
    assert!(!out.iter().any(|c| matches!(c, Cut::SessionEnded { .. })));
    timeline.idle(secs(67.0), &mut out);
    assert_eq!(elapsed(&out), secs(6.0));
    out.clear();
    timeline.frame(Frame::Picture { time: secs(80.0), image: 0 }, secs(80.0), 0, &mut out);
    assert!(matches!(out[..], [Cut::SessionBegan, Cut::ContinuityBegan { continuity: 0, start: MediaTime::ZERO, .. }]));
}

#[test]
fn a_session_ends_at_its_longest_time_and_the_next_begins() {
    let cuts =
        run(Cutting { max_session: Some(secs(12.0)), ..cutting(true) }, pictures(secs(0.0), 500, 25, 1, 0), false);
    let ends: Vec<_> =
        cuts.iter().filter_map(|c| if let Cut::SessionEnded { elapsed } = c { Some(*elapsed) } else { None }).collect();
    assert_eq!(ends.len(), 2);
    assert!((ends[0] - secs(12.0)).abs() <= secs(0.04) && (ends[0] + ends[1] - secs(20.0)).abs() <= secs(0.001));
}

/// What a live source gives, whatever its timestamps: its frames arrive one after the other.
#[test]
fn a_new_plan_holds_from_the_next_session_on() {
    let old = Cutting { max_session: Some(secs(20.0)), ..cutting(true) };
    let mut timeline = Timeline::new(old, keep());
    timeline.streams(Streams { audio: false, video: true });
    let mut out = Vec::new();
    for (n, frame) in pictures(secs(0.0), 1000, 25, 1, 0).into_iter().enumerate() {
        if n == 30 {
            let marked = Box::new(|time, _: &u32| Some(Still { time, width: 9, height: 9, jpeg: Bytes::new() }));
            timeline.replan(Cutting { hop: secs(2.5), ..old }, Some(marked));
            timeline.replan(Cutting { hop: secs(2.5), ..old }, None);
        }
        let arrival = frame.time();
        timeline.frame(frame, arrival, 0, &mut out);
    }
    timeline.finish(false, MediaTime::ZERO, &mut out);
    let ends = out.iter().position(|cut| matches!(cut, Cut::SessionEnded { .. })).unwrap();
    let starts = |cuts: &[Cut]| windows(cuts).iter().map(|w| w.span.start()).collect::<Vec<_>>();
    let kept = |cuts: &[Cut]| windows(cuts).iter().flat_map(|w| &w.pictures).all(|still| still.width == 9);
    assert_eq!(starts(&out[..ends]), [0.0, 5.0, 10.0, 15.0].map(secs));
    assert_eq!(starts(&out[ends..])[..3], [0.0, 2.5, 5.0].map(secs));
    assert!(!kept(&out[..ends]) && kept(&out[ends..]));
}

fn live_cuts(frames: Vec<Frame<u32>>) -> Vec<Cut> {
    let mut timeline = Timeline::new(cutting(true), keep());
    timeline.streams(Streams { audio: true, video: true });
    let (mut out, mut arrival) = (Vec::new(), MediaTime::ZERO);
    for frame in frames {
        arrival += MediaTime::from_millis(10);
        timeline.frame(frame, arrival, 0, &mut out);
    }
    timeline.finish(false, MediaTime::ZERO, &mut out);
    out
}

#[test]
fn sound_that_steps_far_ahead_alone_adds_no_time() {
    let mut frames = interleave([pictures(secs(0.0), 250, 25, 1, 0), sound(secs(0.0), secs(10.0))].concat(), secs(0.0));
    let mut rest =
        interleave([pictures(secs(10.0), 250, 25, 1, 250), sound(secs(10.0), secs(10.0))].concat(), secs(0.0));
    for frame in &mut rest {
        if let Frame::Sound { time, .. } = frame {
            *time += secs(3600.0);
        }
    }
    frames.extend(rest);
    let cuts = live_cuts(frames);
    assert!(elapsed(&cuts) < secs(20.1), "{:?}", elapsed(&cuts));
    let lost = cuts.iter().filter(|c| matches!(c, Cut::Unjudgeable { .. })).count();
    assert!(lost <= 3, "{lost}");
}

#[test]
fn two_jumps_in_a_row_lose_no_time() {
    let mut frames = interleave([pictures(secs(0.0), 250, 25, 1, 0), sound(secs(0.0), secs(10.0))].concat(), secs(0.0));
    frames.extend(pictures(secs(100.0), 1, 25, 1, 250));
    frames.extend(interleave(
        [pictures(secs(3700.0), 250, 25, 1, 251), sound(secs(3700.0), secs(10.0))].concat(),
        secs(0.0),
    ));
    let cuts = live_cuts(frames);
    assert!(elapsed(&cuts) < secs(20.2), "{:?}", elapsed(&cuts));
    assert_eq!(windows(&cuts).len(), 4);
}
