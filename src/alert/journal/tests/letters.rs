//! Dead letters, and sinks that are gone.

use super::super::verify::verify;
use super::*;

fn alerts(session: &str, many: u64) -> Vec<Event> {
    let mut events = fixtures::panel_session();
    events.retain(|event| matches!(event.kind, EventKind::AlertRaised(_)));
    let id: Arc<str> = session.into();
    (0..many)
        .map(|number| Event { session: Some(id.clone()), scope: id.clone(), number, ..events[0].clone() })
        .collect()
}

fn next(courier: &Courier) -> Item {
    match courier.next(wall()) {
        Next::Send(item) => item,
        other => panic!("{other:?}"),
    }
}

fn gone() -> Failure {
    Failure { kind: FailureKind::Gone, detail: "410".into() }
}

#[tokio::test]
async fn what_was_given_up_comes_again_with_its_id_and_its_attempts_and_what_was_withdrawn_does_not() {
    let rig = rig();
    let journal = &rig.journal;
    journal.set_routes(vec![route("desk", &["alert"])]);
    let desk = journal.courier("desk").unwrap();
    desk.refill().await.unwrap();
    for session in ["a", "b"] {
        journal.create_session(new_session(session)).await.unwrap();
        journal.record(alerts(session, 2)).await;
    }
    for _ in 0..4 {
        let item = next(&desk);
        assert_eq!(desk.failed(item.seq, &gone(), wall(), 0.0), Some(DeliveryState::Dead));
    }
    assert!(matches!(journal.resend("other", None, wall()).await, Err(JournalError::NotFound(_))));
    assert!(matches!(journal.resend("desk", Some("a.9"), wall()).await, Err(JournalError::NotFound(_))));
    let one = journal.resend("desk", Some("a.1"), wall()).await.unwrap();
    assert_eq!(one, Resent { resent: 1, left: 3 });
    let item = next(&desk);
    assert_eq!((&*item.id, item.attempts), ("a.1", 2), "it was tried once before");
    assert!(item.since > wall() - Duration::from_secs(60), "and is tried for three days from now on");
    desk.delivered(item.seq, wall());

    let receipt = journal.withdraw("b", Actor::Operator, wall()).await.unwrap();
    assert_eq!(receipt.receivers_told, ["desk"], "it may have kept what it refused");
    assert_eq!(journal.resend("desk", None, wall()).await.unwrap(), Resent { resent: 1, left: 0 });
    let mut ids = Vec::new();
    for _ in 0..2 {
        let item = next(&desk);
        desk.delivered(item.seq, wall());
        ids.push(item.id);
    }
    ids.sort();
    assert!(&*ids[0] == "a.0" && ids[1].starts_with("b.withdrawn"), "{ids:?}");
    drop(rig.end().await);
}

#[tokio::test]
async fn what_waits_for_a_sink_that_is_gone_can_be_deleted_and_not_that_of_another() {
    let rig = rig();
    let journal = &rig.journal;
    journal.set_routes(vec![route("desk", &["alert"]), route("kept", &["alert"])]);
    journal.record(alerts("a", 3)).await;
    assert!(matches!(journal.forget_sink("desk").await, Err(JournalError::Exists(_))));
    journal.set_routes(vec![route("kept", &["alert"])]);
    let waits = |journal: &Journal| {
        journal.reader().outbox().unwrap().into_iter().map(|sink| (sink.sink, sink.pending)).collect::<Vec<_>>()
    };
    assert_eq!(waits(journal), [("desk".to_owned(), 3), ("kept".to_owned(), 3)]);
    assert_eq!(journal.forget_sink("desk").await.unwrap(), 3);
    assert!(matches!(journal.forget_sink("desk").await, Err(JournalError::NotFound(_))));
    assert_eq!(waits(journal), [("kept".to_owned(), 3)]);
    drop(rig.end().await);
}

#[tokio::test]
async fn without_a_service_the_file_itself_is_changed_and_beside_one_it_is_not() {
    let rig = rig();
    let path = rig.dir.path().join("j.db");
    rig.journal.set_routes(vec![route("desk", &["alert"])]);
    let desk = rig.journal.courier("desk").unwrap();
    desk.refill().await.unwrap();
    rig.journal.record(alerts("a", 2)).await;
    for _ in 0..2 {
        let item = next(&desk);
        desk.failed(item.seq, &gone(), wall(), 0.0).unwrap();
    }
    for refused in [resend_in(&path, "desk", None, wall()).map(drop), forget_sink_in(&path, "desk").map(drop)] {
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("it is running") && said.contains("/v1/sinks/NAME"), "{said}");
    }
    let dir = rig.end().await;
    assert_eq!(resend_in(&path, "desk", Some("a.0"), wall()).unwrap(), Resent { resent: 1, left: 1 });
    let rig = start(dir, |_| {});
    rig.journal.set_routes(vec![route("desk", &["alert"])]);
    let desk = rig.journal.courier("desk").unwrap();
    desk.refill().await.unwrap();
    assert_eq!(&*next(&desk).id, "a.0");
    drop(desk);
    let _dir = rig.end().await;
    assert_eq!(forget_sink_in(&path, "desk").unwrap(), 2, "one pending, one dead");
    assert_eq!(verify(&Reader::open(&path).unwrap()).unwrap().problems, Vec::<String>::new());
}
