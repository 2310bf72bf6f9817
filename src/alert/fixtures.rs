//! One event of every type, and more where an event has faces. For tests.

use std::sync::Arc;
use std::time::Duration;

use super::{Actor, Event, EventKind, JudgeChange, JudgeState, SourceState, WindowQuality};
use crate::config::GateRequire;
use crate::gate::decide::{FacesFound, SpeechFound};
use crate::gate::flags::FaceFlags;
use crate::gate::{Evidence, Flags, GateSkip};
use crate::judge::proof::{Fault, Proof, VoteFlag};
use crate::judge::{Abstention, AbstentionReason, Answer, Cue, CueReading, DropReason, LostReason, Outcome, Score};
use crate::judge::{SkipReason, Tokens, Verdict, Vote, WindowId};
use crate::session::{Session, SessionKind, SessionSettings};
use crate::time::{MediaTime, Span};

/// The wall time of all of it.
pub fn wall() -> jiff::Timestamp {
    "2025-03-04T05:06:07.089Z".parse().unwrap()
}

/// From and to, in seconds.
pub fn span(start: f64, end: f64) -> Span {
    Span::new(MediaTime::from_secs_f64(start), MediaTime::from_secs_f64(end))
}

/// A vote with a score, or without.
pub fn vote(judge: &str, answer: Answer, p_yes: Option<f64>) -> Vote {
    let tokens = Tokens { prompt: 1636, completion: 8, audio: Some(65), video: Some(1500) };
    let tokens = matches!(answer, Answer::Present | Answer::Absent).then_some(tokens);
    Vote {
        judge: judge.into(),
        answer,
        score: p_yes.map(|p_yes| Score { p_yes, label_mass: Some(0.99) }),
        cues: None,
        latency: Duration::from_micros(1_234_567),
        attempts: 1,
        flag: (judge == "v2").then_some(VoteFlag::Unproven),
        base_url: Some("https://gpu-1.example.org/v1".into()),
        tokens,
        raw: Some("<answer>secret words</answer>".into()),
    }
}

fn abstained(reason: AbstentionReason, detail: &str) -> Answer {
    Answer::Abstained(Abstention { reason, detail: detail.to_owned() })
}

fn verdict(index: u32, outcome: Outcome) -> Verdict {
    let start = f64::from(index) * 5.0;
    Verdict { window: WindowId { continuity: 0, index }, span: span(start, start + 5.0), outcome }
}

fn quality(full: bool) -> WindowQuality {
    WindowQuality {
        full,
        pictures_seen: 124,
        pictures_expected: 125,
        sound_missing: Some(MediaTime::from_millis(20)),
        refused: 1,
        audio_offset: Some(MediaTime::from_millis(-13)),
        alignment: Some(crate::window::Alignment { moved: MediaTime::from_millis(-2), reliable: true }),
        flags: full.then(|| Flags {
            speech: Some(MediaTime::from_millis(3_200)),
            faces: Some(FaceFlags { median: 1, most: 2, largest: Some(141), small: false }),
            voice_without_face: Some(false),
            silent: Some(false),
            clipped: Some(false),
            frozen: Some(false),
            black: Some(false),
        }),
    }
}

/// A window without speech, of a gate on it.
pub fn gate_skip() -> SkipReason {
    let speech = SpeechFound { heard: MediaTime::from_millis(96), needed: MediaTime::from_millis(250) };
    let faces = FacesFound { with_face: 9, pictures: 10, needed: 1, largest: Some(141) };
    let evidence = Evidence { speech: Some(speech), faces: Some(faces) };
    SkipReason::Gate(GateSkip { require: GateRequire::Speech, evidence })
}

/// A session of a panel of three in which everything happens that can.
pub fn panel_session() -> Vec<Event> {
    let settings = Arc::new(SessionSettings {
        judges: vec!["v1".into(), "v2".into(), "v3".into()],
        thresholds: vec![None, Some(0.4), None],
        proofs: vec![Proof::Proven, Proof::Unproven, Proof::Proven],
        ..SessionSettings::default()
    });
    let mut session = Session::new("0195".into(), "rtsp://admin:hunter2@cam.example/one?token=t".into(), settings);
    let mut events = vec![session.start(wall())];
    let deadline = || abstained(AbstentionReason::Deadline, "no answer within 20 s");
    let votes =
        |a, b, c| Outcome::Votes(vec![vote("v1", a, Some(0.834)), vote("v2", b, Some(0.12)), vote("v3", c, None)]);
    let full = Some(quality(true));
    events.extend(session.apply_window(&verdict(0, votes(Answer::Absent, Answer::Absent, deadline())), full, wall()));
    events.extend(session.apply_window(
        &verdict(1, votes(Answer::Present, Answer::Present, Answer::Absent)),
        full,
        wall(),
    ));
    events.extend(session.apply(&verdict(2, Outcome::Skipped(gate_skip())), wall()));
    events.extend(session.apply(&verdict(3, Outcome::Dropped(DropReason::Overload)), wall()));
    events.extend(session.apply(&verdict(4, votes(deadline(), deadline(), deadline())), wall()));
    events.extend(session.apply(&verdict(5, Outcome::Lost(LostReason::MissingMedia)), wall()));
    events.extend(session.apply(&verdict(6, votes(Answer::Absent, Answer::Absent, Answer::Absent)), wall()));
    events.extend(session.apply(&verdict(7, votes(Answer::Absent, Answer::Absent, Answer::Present)), wall()));
    let mut partial = verdict(8, votes(Answer::Present, Answer::Present, Answer::Present));
    partial.span = span(40.0, 43.5);
    events.extend(session.apply_window(&partial, Some(quality(false)), wall()));
    events.extend(session.tail(0, span(43.5, 44.2), wall()));
    let lost = EventKind::SourceLost(SourceState::Retrying, "no frame for 3 s".to_owned());
    events.push(session.note(0, span(44.2, 44.2), lost, wall()));
    let refused = EventKind::SourceLost(SourceState::AuthFailed, "401 Unauthorized".to_owned());
    events.push(session.note(0, span(44.2, 44.2), refused, wall()));
    events.extend(session.lost(0, span(44.2, 54.2), LostReason::Outage, wall()));
    events.extend(session.continuity_ended(0, 9, wall()));
    events.push(session.note(1, span(54.2, 54.2), EventKind::SourceRestored(Duration::from_secs(10)), wall()));
    events.push(session.note(1, span(54.2, 54.2), EventKind::SessionPaused(Actor::Participant), wall()));
    events.extend(session.skipped(1, span(54.2, 60.0), SkipReason::Paused, wall()));
    events.push(session.note(1, span(60.0, 60.0), EventKind::SessionResumed(Actor::Operator), wall()));
    events.extend(session.end(MediaTime::from_secs_f64(61.5), wall()));
    events.push(session.note(1, span(61.5, 61.5), EventKind::SessionWithdrawn(Actor::Participant), wall()));
    let proof = Proof::Failed(Fault::Deaf);
    let detail = "sound: log-odds differ by 0.0000 at a spread of 0.0000, which is no difference".to_owned();
    let change = JudgeChange { judge: "v3".into(), state: JudgeState::SetAside, proof, detail };
    events.push(Event::outside("process".into(), 7, "".into(), EventKind::JudgeChanged(change), wall()));
    events
}

/// A short session of the embedded index: one window that shows cues, one without enough speech.
pub fn heuristic_session() -> Vec<Event> {
    let settings = Arc::new(SessionSettings {
        judges: vec!["cues".into()],
        kind: SessionKind::Heuristic,
        ..SessionSettings::default()
    });
    let mut session = Session::new("0196".into(), "interview.mp4".into(), settings);
    let cue =
        |name: &str, value, unit: &str, contribution| Cue { name: name.into(), value, unit: unit.into(), contribution };
    let reading = CueReading {
        index: 0.71,
        version: "cue-baseline-v0".into(),
        top: vec![
            cue("long_pause", 1.84, "s", 0.4),
            cue("filler_rate", 0.4, "1/s", 0.3),
            cue("gaze", f64::NAN, "", 0.01),
        ],
    };
    let present =
        Vote { cues: Some(reading), attempts: 0, base_url: None, tokens: None, ..vote("cues", Answer::Present, None) };
    let silent = abstained(AbstentionReason::InsufficientEvidence, "0.4 s of speech");
    let silent = Vote { attempts: 0, base_url: None, tokens: None, ..vote("cues", silent, None) };
    let mut events = vec![session.start(wall())];
    events.extend(session.apply_window(&verdict(0, Outcome::Votes(vec![present])), Some(quality(true)), wall()));
    events.extend(session.apply(&verdict(1, Outcome::Votes(vec![silent])), wall()));
    events.extend(session.end(MediaTime::from_secs_f64(10.0), wall()));
    events
}

/// A long session with early stop that ends Present.
pub fn early_stop_session() -> Vec<Event> {
    let settings =
        Arc::new(SessionSettings { judges: vec!["v1".into()], early_stop: true, ..SessionSettings::default() });
    let mut session = Session::new("0197".into(), "call.mp4".into(), settings);
    let mut events = vec![session.start(wall())];
    for index in 0..100 {
        let answer = if index == 90 { Answer::Present } else { Answer::Absent };
        let answer = if session.asks("v1") { answer } else { Answer::NotAsked };
        events.extend(session.apply(&verdict(index, Outcome::Votes(vec![vote("v1", answer, None)])), wall()));
    }
    events.extend(session.end(MediaTime::from_secs_f64(500.0), wall()));
    events
}

/// All of them.
pub fn all() -> Vec<Event> {
    [panel_session(), heuristic_session(), early_stop_session()].concat()
}
