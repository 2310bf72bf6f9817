//! Properties of pauses: the books stay exact, nothing of a paused frame is in a window, and no pause is a gap.

use std::sync::Arc;

use super::*;
use crate::judge::{Outcome, SkipReason, Verdict};
use crate::session::{Account, Books, Session, SessionSettings};
use crate::time::wall;

/// What a source and its user do for some time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Play,
    Off,
    Pause,
    /// Paused, and the source sends nothing.
    PauseOff,
}

const FRAME: MediaTime = MediaTime::from_millis(40);
const TICK: MediaTime = MediaTime::from_millis(100);

/// A live source on which all this happens, and what was cut. Picture `n` arrives at `n` frame periods, so its number says whether
/// it may be seen.
struct Played {
    cuts: Vec<Cut>,
    /// Arrival of the first frame that was not paused.
    began: Option<MediaTime>,
    /// By arrival.
    pauses: Vec<Span>,
    end: MediaTime,
}

fn play(cutting: Cutting, acts: &[(Act, i64)]) -> Played {
    let mut timeline = Timeline::new(cutting, keep());
    timeline.streams(Streams { audio: true, video: true });
    let (mut cuts, mut began, mut pauses, mut since) = (Vec::new(), None, Vec::new(), None);
    let mut now = MediaTime::ZERO;
    for (act, millis) in acts {
        let until = now + MediaTime::from_millis(*millis);
        match (act, since) {
            (Act::Pause | Act::PauseOff, None) => {
                assert!(timeline.pause(now, &mut cuts) && !timeline.pause(now, &mut cuts));
                since = Some(now);
            }
            (Act::Play | Act::Off, Some(start)) => {
                assert!(timeline.resume(now) && !timeline.resume(now));
                pauses.push(Span::new(start, now));
                since = None;
            }
            _ => {}
        }
        // Whole frames and ticks, wherever an act begins.
        let step = if matches!(act, Act::Play | Act::Pause) { FRAME } else { TICK };
        let mut at = MediaTime::from_nanos((now.as_nanos() + step.as_nanos() - 1) / step.as_nanos() * step.as_nanos());
        while at < until {
            if step == FRAME {
                began = began.or((*act == Act::Play).then_some(at));
                let image = u32::try_from(at.as_nanos() / FRAME.as_nanos()).unwrap();
                timeline.frame(Frame::Picture { time: at + secs(100.0), image }, at, 0, &mut cuts);
                timeline.frame(Frame::Sound { time: at + secs(100.0), pcm: vec![1; 640] }, at, 0, &mut cuts);
            } else {
                timeline.idle(at, &mut cuts);
            }
            at += step;
        }
        now = until;
    }
    pauses.extend(since.map(|start| Span::new(start, now)));
    timeline.idle(now, &mut cuts);
    timeline.finish(false, MediaTime::ZERO, &mut cuts);
    Played { cuts, began, pauses, end: now }
}

/// The session time a cut stands for.
fn span_of(cut: &Cut) -> Option<Span> {
    match cut {
        Cut::Window(window) => Some(window.span),
        Cut::Unjudgeable { span, .. } | Cut::Outage(span) | Cut::Tail(span) | Cut::Paused(span) => Some(*span),
        _ => None,
    }
}

/// The books of a session that is told all this; its judge abstains.
fn books(cuts: &[Cut]) -> Books {
    let mut session = Session::new("s".into(), "a".into(), Arc::new(SessionSettings::default()));
    let mut at = 0;
    for cut in cuts {
        match cut {
            Cut::ContinuityBegan { continuity, .. } => at = *continuity,
            Cut::Window(window) => {
                let outcome = Outcome::Votes(Vec::new());
                session.apply(&Verdict { window: window.id, span: window.span, outcome }, wall());
            }
            Cut::Unjudgeable { id, span, reason } => {
                session.apply(&Verdict { window: *id, span: *span, outcome: Outcome::Lost(*reason) }, wall());
            }
            Cut::Outage(span) => drop(session.lost(at, *span, LostReason::Outage, wall())),
            Cut::Tail(span) => drop(session.tail(at, *span, wall())),
            Cut::Paused(span) => drop(session.skipped(at, *span, SkipReason::Paused, wall())),
            Cut::ContinuityEnded { continuity, windows } => {
                session.continuity_ended(*continuity, *windows, wall());
            }
            Cut::SessionEnded { elapsed } => drop(session.end(*elapsed, wall())),
            Cut::SessionBegan => {}
        }
    }
    session.summary().coverage
}

fn sum(spans: impl Iterator<Item = Span>) -> MediaTime {
    spans.fold(MediaTime::ZERO, |sum, span| sum + span.length())
}

fn overlap(a: Span, b: Span) -> MediaTime {
    (a.end().min(b.end()) - a.start().max(b.start())).max(MediaTime::ZERO)
}

fn acts() -> impl Strategy<Value = Vec<(Act, i64)>> {
    let act = prop_oneof![
        4 => (Just(Act::Play), 40i64..12_000),
        1 => (Just(Act::Off), 40i64..20_000),
        2 => (Just(Act::Pause), 40i64..12_000),
        2 => (Just(Act::PauseOff), 40i64..12_000),
        1 => (Just(Act::PauseOff), 60_000i64..900_000),
    ];
    prop::collection::vec(act, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_books_are_exact_and_nothing_paused_is_seen(acts in acts()) {
        let played = play(cutting(true), &acts);
        let Some(began) = played.began else {
            prop_assert!(played.cuts.is_empty(), "paused before its first frame it begins nothing");
            return Ok(());
        };
        let cuts = &played.cuts;
        let ends = cuts.iter().filter(|cut| matches!(cut, Cut::SessionEnded { .. })).count();
        prop_assert_eq!(ends, 1, "no pause ends a session");
        // Every moment once, in order.
        let mut spans: Vec<Span> = cuts.iter().filter_map(span_of).collect();
        spans.sort_by_key(|span| (span.start(), span.end()));
        let mut at = MediaTime::ZERO;
        for span in &spans {
            prop_assert_eq!(span.start(), at);
            at = span.end();
        }
        prop_assert_eq!(at, elapsed(cuts));
        let books = books(cuts);
        prop_assert_eq!(books.sum(&Account::ALL), elapsed(cuts));
        prop_assert_eq!(books.dropped(), MediaTime::ZERO);
        let told = sum(cuts.iter().filter_map(|cut| if let Cut::Paused(span) = cut { Some(*span) } else { None }));
        prop_assert_eq!(books.of(Account::SkippedPaused), told);
        // By arrival, from the first frame on.
        let pauses: Vec<Span> =
            played.pauses.iter().filter(|p| p.end() > began).map(|p| Span::new(p.start() - began, p.end() - began)).collect();
        for window in windows(cuts) {
            for picture in &window.pictures {
                let arrival = FRAME.scale(i64::from(number(picture)), 1) - began;
                prop_assert!(!pauses.iter().any(|p| (p.start()..p.end()).contains(&arrival)), "{:?} in {:?}", arrival, pauses);
            }
        }
        for cut in cuts {
            if let Cut::Outage(span) = cut {
                // A continuity's last picture lasts for a period, a frame past the pause's beginning.
                let both = sum(pauses.iter().map(|p| Span::new(p.start(), p.start() + overlap(*span, *p))));
                prop_assert!(both <= FRAME, "{:?} of the outage {:?} was paused", both, span);
            }
        }
        // Up to a second without a frame before and after a pause is part of it.
        let asked = sum(pauses.iter().copied());
        let slack = secs(2.1).scale(i64::try_from(pauses.len()).unwrap(), 1);
        prop_assert!((asked - slack..=asked + slack).contains(&told), "{:?} asked, {:?} told", asked, told);
        let paused_last = acts.last().is_some_and(|(act, _)| matches!(act, Act::Pause | Act::PauseOff));
        if paused_last {
            prop_assert!((elapsed(cuts) - (played.end - began)).abs() <= FRAME, "the last pause is on the books");
        }
    }

    #[test]
    fn a_paused_recording_has_its_whole_length_on_the_books(
        before in 0.1f64..12.0, paused in 0.1f64..12.0, after in 0.0f64..12.0, mut twice: bool,
    ) {
        let length = before + paused + after;
        let count = (length * 25.0).ceil() as u32;
        let whole = secs(f64::from(count) / 25.0);
        let frames = interleave([pictures(secs(0.0), count, 25, 1, 0), sound(secs(0.0), whole)].concat(), secs(0.0));
        let mut timeline = Timeline::new(cutting(false), keep());
        timeline.streams(Streams { audio: true, video: true });
        let mut out = Vec::new();
        for frame in frames {
            let at = frame.time();
            if (secs(before)..secs(before + paused)).contains(&at) {
                timeline.pause(at, &mut out);
            } else if at >= secs(before + paused) {
                timeline.resume(at);
                if std::mem::take(&mut twice) {
                    // Before any frame could come.
                    timeline.pause(at, &mut out);
                    timeline.resume(at);
                }
            }
            timeline.frame(frame, at, 0, &mut out);
        }
        timeline.finish(true, MediaTime::ZERO, &mut out);
        let books = books(&out);
        prop_assert_eq!(books.sum(&Account::ALL), elapsed(&out));
        prop_assert_eq!(books.dropped(), MediaTime::ZERO);
        prop_assert!((books.of(Account::SkippedPaused) - secs(paused)).abs() < secs(0.1));
        prop_assert!((elapsed(&out) - whole).abs() < secs(0.1), "{:?} of {:?}", elapsed(&out), whole);
        for window in windows(&out) {
            let seen = |still: &Still| secs(f64::from(number(still)) / 25.0);
            prop_assert!(window.pictures.iter().all(|p| !(secs(before)..secs(before + paused)).contains(&seen(p))));
        }
    }
}

#[test]
fn frames_that_arrived_before_the_resume_are_not_seen_however_late_they_are_taken() {
    let mut timeline = Timeline::new(cutting(true), keep());
    timeline.streams(Streams { audio: false, video: true });
    let mut out = Vec::new();
    timeline.pause(secs(1.0), &mut out);
    timeline.resume(secs(2.0));
    timeline.frame(Frame::Picture { time: secs(1.9), image: 7 }, secs(1.9), 0, &mut out);
    assert!(out.is_empty());
    timeline.frame(Frame::Picture { time: secs(2.1), image: 8 }, secs(2.1), 0, &mut out);
    assert!(matches!(out[..], [Cut::SessionBegan, Cut::ContinuityBegan { .. }]));
}

#[test]
fn a_session_comes_to_its_longest_time_while_paused_and_no_other_begins() {
    let longest = Cutting { max_session: Some(secs(30.0)), ..cutting(true) };
    let acts = [(Act::Play, 6000), (Act::PauseOff, 20_000), (Act::Pause, 20_000)];
    let played = play(longest, &acts);
    let sessions = played.cuts.iter().filter(|cut| matches!(cut, Cut::SessionBegan)).count();
    assert_eq!((sessions, elapsed(&played.cuts)), (1, secs(30.0)));
    let paused: Vec<_> = played.cuts.iter().filter(|cut| matches!(cut, Cut::Paused(_))).filter_map(span_of).collect();
    assert_eq!(paused, [Span::new(secs(6.0), secs(30.0))]);
    // After the resume the next does.
    let again = play(longest, &[&acts[..], &[(Act::Play, 1000)]].concat());
    assert_eq!(again.cuts.iter().filter(|cut| matches!(cut, Cut::SessionBegan)).count(), 2);
}

#[test]
fn what_does_not_come_back_after_a_resume_is_a_gap_from_there_on() {
    let played =
        play(cutting(true), &[(Act::Play, 6000), (Act::PauseOff, 120_000), (Act::Off, 30_000), (Act::Play, 1000)]);
    let of =
        |wanted: fn(&Cut) -> bool| played.cuts.iter().filter(|cut| wanted(cut)).filter_map(span_of).collect::<Vec<_>>();
    assert_eq!(of(|cut| matches!(cut, Cut::Paused(_))), [Span::new(secs(6.0), secs(126.0))]);
    assert_eq!(of(|cut| matches!(cut, Cut::Outage(_))), [Span::new(secs(126.0), secs(156.0))]);
    // And one that is longer than the session's gap ends the session at the resume.
    let played = play(cutting(true), &[(Act::Play, 6000), (Act::PauseOff, 120_000), (Act::Off, 70_000)]);
    assert_eq!(elapsed(&played.cuts), secs(126.0));
}
