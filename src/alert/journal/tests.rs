use std::time::Duration;

use tempfile::TempDir;

mod deleting;
mod failing;
mod letters;
mod measuring;

use super::*;
use crate::alert::{Actor, EventKind, fixtures};
use crate::time::wall;

/// A journal with its writer, in a folder of its own.
struct Rig {
    dir: TempDir,
    journal: Journal,
    writer: Option<std::thread::JoinHandle<()>>,
}

#[allow(clippy::disallowed_methods, reason = "a test's own thread")]
fn start(dir: TempDir, change: impl FnOnce(&Writer)) -> Rig {
    let (journal, writer) = Journal::open(&dir.path().join("j.db")).unwrap();
    change(&writer);
    let writer = Some(std::thread::spawn(move || writer.run()));
    Rig { dir, journal, writer }
}

fn rig() -> Rig {
    start(tempfile::tempdir().unwrap(), |_| {})
}

impl Rig {
    async fn end(mut self) -> TempDir {
        self.journal.close().await;
        self.writer.take().unwrap().join().unwrap();
        self.dir
    }

    fn events(&self, session: Option<&str>) -> Vec<(u64, Arc<str>)> {
        self.journal.reader().events_after(session, 0, &[], 1000).unwrap()
    }
}

impl Journal {
    /// The disk stalls until what this gives is dropped.
    pub(crate) fn stall(&self) -> crossbeam_channel::Sender<()> {
        let (until, stalled) = crossbeam_channel::bounded(0);
        let work = move |_: &Connection| {
            let _ = stalled.recv();
            Ok(())
        };
        self.later(work).unwrap();
        until
    }
}

fn route(sink: &str, classes: &[&str]) -> Route {
    Route { sink: sink.into(), classes: classes.iter().map(ToString::to_string).collect() }
}

fn seqs(told: &[Told]) -> Vec<u64> {
    told.iter().map(|told| told.seq).collect()
}

#[tokio::test]
async fn what_is_told_stands_in_the_file_with_increasing_numbers_over_restarts() {
    let rig = rig();
    let events = fixtures::all();
    let told = rig.journal.record(events.clone()).await;
    assert!(told.iter().all(|told| told.durable));
    let numbers = |events: &[Event]| events.iter().map(|event| (event.scope.clone(), event.number)).collect::<Vec<_>>();
    assert_eq!(numbers(&told.iter().map(|told| told.event.clone()).collect::<Vec<_>>()), numbers(&events));
    assert_eq!(seqs(&told), (1..=events.len() as u64).collect::<Vec<_>>());
    let stored: Vec<_> = told.iter().map(|told| (told.seq, Arc::clone(&told.json))).collect();
    assert_eq!(rig.events(None), stored);
    let alerts = rig.journal.reader().alerts(AlertFilter { limit: 99, ..AlertFilter::default() }).unwrap();
    assert!(alerts.len() > 2 && alerts.iter().all(|alert| alert.json.contains("\"durable\":true")));

    let rig = start(rig.end().await, |_| {});
    let more = rig.journal.record(vec![Event { number: 900, ..events[0].clone() }]).await;
    assert_eq!(more[0].seq, events.len() as u64 + 1, "a run that ended in good order leaves no hole");
    drop(rig.end().await);
}

#[tokio::test]
async fn sessions_follow_their_events_and_a_run_that_died_interrupts_them() {
    let rig = rig();
    let mut events = fixtures::panel_session();
    let end = events.iter().position(|event| matches!(event.kind, EventKind::SessionEnded(_))).unwrap();
    let rest = events.split_off(end);
    let journal = &rig.journal;
    let state = |id: &str| journal.reader().session(id).unwrap().unwrap().state;
    let mut seen = Vec::new();
    for event in events {
        journal.record(vec![event]).await;
        seen.push(state("0195"));
    }
    seen.dedup();
    let (live, away, paused) = (SessionState::Live, SessionState::Away, SessionState::Paused);
    assert_eq!(seen, [live, away, live, paused, live]);
    let row = journal.reader().session("0195").unwrap().unwrap();
    assert_eq!((&*row.kind, row.judgement.as_deref(), row.ended), ("configured", Some("panel"), None));
    assert_eq!(row.source, "rtsp://cam.example/one", "without credentials");

    let rig = start(rig.end().await, |_| {});
    let row = rig.journal.reader().session("0195").unwrap().unwrap();
    assert_eq!((row.state, row.ended), (SessionState::Interrupted, Some(fixtures::wall())));
    rig.journal.record(vec![rest[0].clone()]).await;
    assert_eq!(rig.journal.reader().session("0195").unwrap().unwrap().state, SessionState::Ended);
    drop(rig.end().await);
}

fn new_session(id: &str) -> NewSession {
    NewSession {
        id: id.into(),
        source: "call-1".into(),
        kind: "webrtc".to_owned(),
        state: SessionState::AwaitingConsent,
        purpose: "health_care".to_owned(),
        basis: Some(serde_json::json!({"kind": "medical", "reference": "r"})),
        consent: None,
        created_by: "desk".to_owned(),
        created: fixtures::wall(),
        rule: crate::session::Rule::MaxOfVote,
        detail: None,
    }
}

#[tokio::test]
async fn sessions_feedback_and_audit_are_kept() {
    let rig = rig();
    let journal = &rig.journal;
    journal.create_session(new_session("0195")).await.unwrap();
    let twice = journal.create_session(new_session("0195")).await.unwrap_err();
    assert_eq!(twice.to_string(), "there is already a session 0195");
    let consent = ConsentRecord {
        at: fixtures::wall(),
        by: Actor::Participant,
        text_version: Some("1".to_owned()),
        language: Some("fr".to_owned()),
        reference: None,
    };
    journal.consent("0195", consent.clone()).await.unwrap();
    let row = journal.reader().session("0195").unwrap().unwrap();
    assert_eq!((row.state, row.consent), (SessionState::AwaitingMedia, Some(consent)));
    assert_eq!(row.rule.as_deref(), Some("max_of_vote"));

    journal.record(fixtures::panel_session()[..10].to_vec()).await;
    assert_eq!(journal.reader().session("0195").unwrap().unwrap().kind, "webrtc");
    let all = AlertFilter { limit: 9, session: Some("0195"), ..AlertFilter::default() };
    let alert: serde_json::Value = serde_json::from_str(&journal.reader().alerts(all).unwrap()[0].json).unwrap();
    let feedback = |verdict| Feedback { verdict, note: "late".to_owned(), by: "desk".to_owned(), at: fixtures::wall() };
    let id = alert["id"].as_str().unwrap();
    for verdict in [FeedbackVerdict::Dismissed, FeedbackVerdict::Confirmed] {
        journal.feedback(id, feedback(verdict)).await.unwrap();
    }
    let with = |verdict| journal.reader().alerts(AlertFilter { verdict: Some(verdict), ..all }).unwrap();
    assert_eq!(with(FeedbackVerdict::Confirmed)[0].feedback, Some(feedback(FeedbackVerdict::Confirmed)));
    assert!(with(FeedbackVerdict::Dismissed).is_empty());
    let nobody = journal.feedback("0195.0", feedback(FeedbackVerdict::Open)).await.unwrap_err();
    assert_eq!(nobody.to_string(), "there is no alert 0195.0");

    let audit = |action: &str, session: Option<&str>| Audit {
        at: fixtures::wall(),
        who: "desk (operator)".to_owned(),
        action: action.to_owned(),
        session: session.map(str::to_owned),
        address: Some("::1".to_owned()),
    };
    journal.audit(audit("list", None)).await;
    journal.audit(audit("look", Some("0195"))).await;
    assert_eq!(journal.reader().audit(Some("0195"), 0, 9).unwrap(), [(2, audit("look", Some("0195")))]);
    assert_eq!(journal.reader().audit(None, 0, 9).unwrap().len(), 2);
    drop(rig.end().await);
}

#[tokio::test]
async fn tokens_open_until_they_expire_or_are_revoked() {
    let rig = rig();
    let now = wall();
    let later = now + Duration::from_secs(60);
    let token = Token {
        name: "desk".to_owned(),
        role: Role::Operator,
        session: None,
        created: wall().round(jiff::Unit::Millisecond).unwrap(),
        expires: Some(later.round(jiff::Unit::Millisecond).unwrap()),
    };
    let shown = rig.journal.new_token(token.clone()).await.unwrap();
    assert!(rig.journal.new_token(token.clone()).await.is_err(), "names are unique");
    assert_eq!(rig.journal.token(&shown, now).await.unwrap(), Some(token.clone()));
    assert_eq!(rig.journal.token(&shown, later + Duration::from_secs(1)).await.unwrap(), None);
    assert_eq!(rig.journal.token("ahw_no", now).await.unwrap(), None);
    assert_eq!(rig.journal.tokens().await.unwrap(), [token]);
    assert!(rig.journal.revoke("desk").await.unwrap());
    assert!(!rig.journal.revoke("desk").await.unwrap());
    assert_eq!(rig.journal.token(&shown, now).await.unwrap(), None);
    let dir = rig.end().await;
    let bytes = std::fs::read(dir.path().join("j.db")).unwrap();
    assert!(!bytes.windows(20).any(|part| part == &shown.as_bytes()[4..24]), "a token is not in the file");
}
