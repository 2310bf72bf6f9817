//! Withdrawal and retention; that a journal says what is gone; a session decided anew.

use super::super::rebuild::Recorded;
use super::super::replay::{Changes, Side, replay};
use super::super::verify::verify;
use super::*;
use crate::alert::event::LabelWord;
use crate::config::JournalConfig;

fn running() -> Vec<Event> {
    let mut events = fixtures::panel_session();
    events.retain(|event| event.session.is_some() && !matches!(event.kind, EventKind::SessionWithdrawn(_)));
    events
}

fn take(courier: &Courier) -> Option<Item> {
    match courier.next(wall()) {
        Next::Send(item) => Some(item),
        _ => None,
    }
}

#[tokio::test]
async fn a_withdrawn_session_leaves_a_receipt_and_the_word_of_it() {
    let rig = rig();
    let journal = &rig.journal;
    journal.set_routes(vec![route("had", &["alert"]), route("never", &["alert"]), route("judges", &["judge"])]);
    let (had, never) = (journal.courier("had").unwrap(), journal.courier("never").unwrap());
    had.refill().await.unwrap();
    never.refill().await.unwrap();
    journal.create_session(new_session("0195")).await.unwrap();
    journal.record(running()).await;
    journal.record(fixtures::heuristic_session()).await;
    let first = take(&had).unwrap();
    had.delivered(first.seq, wall());
    let second = take(&had).unwrap();
    assert!(had.is_wanted(second.seq));

    let receipt = journal.withdraw("0195", Actor::Participant, fixtures::wall()).await.unwrap();
    let alerts = running().iter().filter(|event| matches!(event.kind, EventKind::AlertRaised(_))).count() as u64;
    assert_eq!((receipt.alerts_deleted, &*receipt.receivers_told), (alerts, &["had".to_owned()][..]));
    assert_eq!(receipt.pending_deleted, 2 * alerts - 1);
    assert!(receipt.windows_deleted >= 9, "{receipt:?}");
    assert_eq!(
        journal.withdraw("0195", Actor::Operator, wall()).await.unwrap(),
        receipt,
        "a second call changes nothing"
    );
    assert_eq!(journal.reader().receipt("0195").unwrap(), Some(receipt));

    assert!(!had.is_wanted(second.seq), "what is being sent is to be stopped");
    assert_eq!(had.failed(second.seq, &Failure { kind: FailureKind::Away, detail: String::new() }, wall(), 0.0), None);
    let word = rig.events(Some("0195"));
    assert_eq!(word.len(), 1);
    assert!(word[0].1.contains("ah.session.withdrawn.v1"), "{}", word[0].1);
    let other = |item: &Item| item.session.as_deref() == Some("0196");
    let mut left = Vec::new();
    while let Some(item) = take(&had) {
        had.delivered(item.seq, wall());
        left.push(item);
    }
    assert!(left.iter().any(|item| &*item.kind == "ah.session.withdrawn.v1" && item.seq == word[0].0));
    assert!(left.iter().filter(|item| other(item)).count() > 0 && left.iter().filter(|item| !other(item)).count() == 1);
    assert!(take(&never).is_none_or(|item| other(&item)), "who had nothing is told nothing");

    let late = journal.record(running()).await;
    assert!(late.is_empty(), "what comes late is not taken");
    let row = journal.reader().session("0195").unwrap().unwrap();
    assert_eq!((row.state, row.consent, row.basis, row.judgement), (SessionState::Withdrawn, None, None, None));
    assert!(journal.withdraw("nobody", Actor::Operator, wall()).await.is_err());

    let report = verify(&journal.reader()).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(report.holes.iter().any(|hole| hole.reason == "withdrawn"));
    assert_eq!(report.alerts.withdrawn, alerts);
    drop((had, never));
    let dir = rig.end().await;
    let bytes = std::fs::read(dir.path().join("j.db")).unwrap();
    let secret = b"gpu-1.example.org";
    let many = bytes.windows(secret.len()).filter(|part| part == secret).count();
    assert_eq!(many, 0, "deleted bytes are overwritten");
}

/// Between the word of it and the deletion, the service died.
#[tokio::test]
async fn a_withdrawal_that_was_begun_is_finished_by_the_next_run_and_once() {
    let rig = rig();
    let routes = || vec![route("had", &["alert"]), route("waits", &["alert"]), route("judges", &["judge"])];
    rig.journal.set_routes(routes());
    let had = rig.journal.courier("had").unwrap();
    had.refill().await.unwrap();
    rig.journal.create_session(new_session("0195")).await.unwrap();
    rig.journal.record(running()).await;
    rig.journal.record(fixtures::heuristic_session()).await;
    had.delivered(take(&had).unwrap().seq, wall());
    let word =
        fixtures::panel_session().into_iter().find(|e| matches!(e.kind, EventKind::SessionWithdrawn(_))).unwrap();
    let said = rig.journal.record(vec![word]).await[0].seq;
    assert_eq!(rig.journal.reader().receipt("0195").unwrap(), None);
    drop(had);

    let rig = start(rig.end().await, |_| {});
    assert_eq!(rig.journal.finished(), ["0195"]);
    let row = rig.journal.reader().session("0195").unwrap().unwrap();
    assert_eq!((row.state, row.basis, row.judgement), (SessionState::Withdrawn, None, None));
    let receipt = rig.journal.reader().receipt("0195").unwrap().unwrap();
    assert!(receipt.windows_deleted >= 9 && receipt.alerts_deleted >= 2, "{receipt:?}");
    assert_eq!(receipt.receivers_told, ["had", "waits"], "to the other one something may have been on its way");
    assert_eq!(rig.events(Some("0195")).iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [said]);
    assert_eq!(rig.journal.withdraw("0195", Actor::Participant, wall()).await.unwrap(), receipt);
    rig.journal.set_routes(routes());
    for sink in ["had", "waits"] {
        let courier = rig.journal.courier(sink).unwrap();
        courier.refill().await.unwrap();
        let mut of_it = Vec::new();
        while let Some(item) = take(&courier) {
            courier.delivered(item.seq, wall());
            of_it.extend((item.session.as_deref() == Some("0195")).then_some(item.seq));
        }
        assert_eq!(of_it, [said], "{sink} is told of the withdrawal, and of nothing else");
    }
    assert_eq!(verify(&rig.journal.reader()).unwrap().problems, Vec::<String>::new());

    let dir = rig.end().await;
    let bytes = std::fs::read(dir.path().join("j.db")).unwrap();
    let secret = b"gpu-1.example.org";
    assert_eq!(bytes.windows(secret.len()).filter(|part| part == secret).count(), 0, "deleted bytes are overwritten");
    // Receipts are deleted by age, which is no reason to withdraw it anew.
    store::open(&dir.path().join("j.db")).unwrap().execute_batch("DELETE FROM receipt").unwrap();
    let rig = start(dir, |_| {});
    assert_eq!(rig.journal.finished(), [""; 0]);
    assert_eq!(rig.journal.reader().receipt("0195").unwrap(), None);
    drop(rig.end().await);
}

#[tokio::test]
async fn a_withdrawn_event_of_the_source_is_the_one_that_is_told() {
    let rig = rig();
    rig.journal.set_routes(vec![route("had", &["alert"])]);
    let had = rig.journal.courier("had").unwrap();
    had.refill().await.unwrap();
    rig.journal.record(running()).await;
    let item = take(&had).unwrap();
    had.delivered(item.seq, wall());
    let word =
        fixtures::panel_session().into_iter().find(|e| matches!(e.kind, EventKind::SessionWithdrawn(_))).unwrap();
    let told = rig.journal.record(vec![word.clone()]).await;
    rig.journal.withdraw("0195", Actor::Participant, wall()).await.unwrap();
    assert_eq!(take(&had).unwrap().seq, told[0].seq);
    let again = rig.journal.record(vec![word]).await;
    assert_eq!(seqs(&again), seqs(&told), "the same number, whichever comes first");
    drop(had);
    drop(rig.end().await);
}

#[tokio::test]
async fn what_is_old_is_deleted_by_kind_and_said_to_be() {
    let rig = rig();
    rig.journal.set_routes(vec![route("slow", &["alert"])]);
    rig.journal.record(running()).await;
    let now = fixtures::wall() + Duration::from_secs(40 * 86_400);
    let keep = JournalConfig::at(rig.dir.path().join("j.db"));
    let path = keep.path.clone();
    let events = purge(&path, &Cutoffs::of(&keep, now), now).unwrap().events;
    let left = rig.events(None);
    assert_eq!(events + left.len() as u64, running().len() as u64);
    let kinds = ["ah.alert", "ah.episode", "ah.session"];
    assert!(left.iter().all(|(_, json)| kinds.iter().any(|kind| json.contains(kind))), "alerts are kept longer");
    let report = verify(&rig.journal.reader()).unwrap();
    assert_eq!((report.problems, report.sessions.partly_gone), (Vec::new(), 1));

    let all = purge(&path, &Cutoffs::all(now), now).unwrap();
    let left = rig.events(None);
    assert!(left.iter().all(|(_, json)| json.contains("ah.alert")) && !left.is_empty(), "somebody waits for them");
    assert_eq!((all.sessions, events + all.events + left.len() as u64), (0, running().len() as u64));
    let slow = rig.journal.courier("slow").unwrap();
    slow.refill().await.unwrap();
    while let Some(item) = take(&slow) {
        slow.delivered(item.seq, wall());
    }
    rig.journal.revoke("nobody").await.unwrap();
    assert_eq!(purge(&path, &Cutoffs::all(now), now).unwrap().sessions, 1);
    assert_eq!(rig.events(None).len(), 0);
    let report = verify(&rig.journal.reader()).unwrap();
    assert_eq!((report.problems, report.holes.len()), (Vec::new(), 1), "holes beside each other are one");
    drop(slow);
    drop(rig.end().await);
}

#[tokio::test]
async fn verify_finds_what_is_missing_and_books_that_do_not_come_out() {
    let rig = rig();
    let all: Vec<Event> =
        fixtures::all().into_iter().filter(|e| !matches!(e.kind, EventKind::SessionWithdrawn(_))).collect();
    rig.journal.record(all).await;
    let dir = rig.end().await;
    let path = dir.path().join("j.db");
    let reader = || Reader::open(&path).unwrap();
    let report = verify(&reader()).unwrap();
    assert_eq!((report.problems.clone(), report.sessions.right), (Vec::new(), 3), "{report:?}");
    let db = store::open(&path).unwrap();
    let changed = "UPDATE event SET json = replace(json, '\"answer\":\"present\"', '\"answer\":\"absent\"') WHERE session = '0195'";
    db.execute(changed, []).unwrap();
    let report = verify(&reader()).unwrap();
    assert_eq!((report.sessions.right, report.sessions.wrong, report.problems.len()), (2, 1, 1), "{report:?}");
    db.execute("DELETE FROM event WHERE seq IN (4, 5)", []).unwrap();
    let report = verify(&reader()).unwrap();
    assert_eq!(report.problems, ["events 4 to 5 are gone, and nothing says why"]);
}

#[test]
fn a_session_comes_out_of_its_events_and_changes_with_the_settings() {
    let lines: Vec<String> = running()
        .iter()
        .map(|event| serde_json::to_string(&crate::alert::event::CloudEvent::from(event)).unwrap())
        .collect();
    let recorded = Recorded::read(lines.iter().map(String::as_str)).unwrap();
    let same = replay(&recorded, &Changes::default()).unwrap();
    assert_eq!(same.before, Side { settings: same.before.settings.clone(), ..same.after.clone() });
    assert_eq!((same.votes, same.votes_with_score, same.notes.len()), (14, 10, 0));
    assert_eq!(same.before.episodes.len(), 2);
    assert_eq!(recorded.alerts.len(), 1 + same.before.episode_alerts_secs.len());
    let rule = Some(crate::session::Rule::MaxOfVote);
    let one = replay(&recorded, &Changes { clear_windows: Some(3), rule, ..Changes::default() }).unwrap();
    assert_eq!(one.after.episodes.len(), 1, "two Absent windows no longer close it: {one:?}");
    let high = replay(&recorded, &Changes { threshold: Some(0.9), ..Changes::default() }).unwrap();
    assert_eq!((high.before.label, high.after.windows_present), (LabelWord::Present, 0));
    assert_eq!(high.notes, ["4 of 14 votes have no P(Yes) and become abstentions"]);
    let wrong = replay(&recorded, &Changes { open_windows: Some(0), ..Changes::default() }).unwrap_err();
    assert_eq!(wrong.len(), 1);
    assert!(
        Recorded::read(lines[1..].iter().map(String::as_str)).is_err(),
        "without a beginning nobody knows its judges"
    );
}

#[test]
fn what_its_source_said_before_it_began_is_not_counted_among_a_sessions_events() {
    use crate::alert::SourceState;
    let lines = |events: &[Event]| -> Vec<String> {
        events
            .iter()
            .map(|event| serde_json::to_string(&crate::alert::event::CloudEvent::from(event)).unwrap())
            .collect()
    };
    let mut all = running();
    let away = EventKind::SourceLost(SourceState::Retrying, "not there yet".into());
    let early = Event::outside("another".into(), 1, Arc::clone(&all[0].source), away, fixtures::wall());
    all.insert(0, Event { session: all[0].session.clone(), ..early });
    let read = |lines: &[String]| Recorded::read(lines.iter().map(String::as_str)).unwrap().missing;
    assert_eq!(read(&lines(&all)), 0);
    all.remove(3);
    assert_eq!(read(&lines(&all)), 1, "the early event stands for no other");
}
