//! Webhooks to a real receiver over HTTP, verified by the reference libraries of Rust and Python.

use std::process::Command;

use ahwatch::alert::Actor;
use ahwatch::alert::journal::DeliveryState;
use ahwatch::run::Sinks;
use ahwatch::stage::Stages;

use super::receiver::{Receiver, until};
use super::{SECRET, alert, journal, sinks};

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_signed_as_the_reference_library_verifies_it() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_| 204).await;
    let sinks = sinks(&receiver.sink("desk"), dir.path());
    let journal = journal(dir.path(), &sinks);
    let running = Sinks::start(&journal, &sinks, Stages::default()).unwrap();
    let told = journal.record(vec![alert("s1", 1)]).await;
    until("the alert", || (!receiver.taken().is_empty()).then_some(())).await;
    let got = receiver.got().remove(0);
    let header = |name: &str| got.headers[name].to_str().unwrap().to_owned();
    assert_eq!(got.body, told[0].json.as_bytes(), "the very event");
    assert_eq!(got.id, "s1.1");
    assert!(header("content-type").starts_with("application/cloudevents+json"));
    let library = standardwebhooks::Webhook::new(SECRET).unwrap();
    library.verify(&got.body, &got.headers).unwrap();
    assert!(library.verify(b"{}", &got.headers).is_err());

    let vector = dir.path().join("vector.json");
    let text = serde_json::json!({
        "secret": SECRET,
        "body": String::from_utf8(got.body.to_vec()).unwrap(),
        "headers": {
            "webhook-id": header("webhook-id"),
            "webhook-timestamp": header("webhook-timestamp"),
            "webhook-signature": header("webhook-signature"),
        },
    });
    std::fs::write(&vector, text.to_string()).unwrap();
    running.stop().await;
    journal.close().await;
    match python() {
        Some(python) => {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/webhook/verify.py");
            let run = Command::new(python).arg(script).arg(&vector).output().unwrap();
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
            assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), "verified, and a changed body refused");
        }
        None => eprintln!(
            "skipped: there is no Python with the package standardwebhooks (scripts/setup.sh --test brings it)"
        ),
    }
}

/// A Python that has the reference library; `AHWATCH_PYTHON` names another.
fn python() -> Option<String> {
    let own = concat!(env!("CARGO_MANIFEST_DIR"), "/target/webhook-python/bin/python").to_owned();
    let named = std::env::var("AHWATCH_PYTHON").ok();
    named.into_iter().chain([own, "python3".to_owned()]).find(|python| {
        let has = Command::new(python).args(["-c", "import standardwebhooks"]).output();
        has.is_ok_and(|has| has.status.success())
    })
}

/// Vectors that Python's reference library made once: the fixtures say how.
#[test]
fn signatures_are_those_of_the_reference_library_in_python() {
    let text = include_str!("../../fixtures/webhook/vectors.json");
    let vectors: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
    assert!(vectors.len() >= 4);
    for vector in vectors {
        let text = |key: &str| vector[key].as_str().unwrap();
        let library = standardwebhooks::Webhook::new(text("secret")).unwrap();
        let signed = library.sign(text("id"), vector["timestamp"].as_i64().unwrap(), text("body").as_bytes()).unwrap();
        assert_eq!(signed, text("signature"), "{}", text("id"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_gets_everything_in_order_and_what_it_refuses_for_good_is_a_dead_letter() {
    let dir = tempfile::tempdir().unwrap();
    let mut failures = 2;
    let receiver = Receiver::start(move |id| match id {
        "s1.3" => 410,
        _ if failures > 0 => {
            failures -= 1;
            503
        }
        _ => 200,
    })
    .await;
    let sinks = sinks(&receiver.sink("desk"), dir.path());
    let journal = journal(dir.path(), &sinks);
    let running = Sinks::start(&journal, &sinks, Stages::default()).unwrap();
    for number in 1..=5 {
        journal.record(vec![alert("s1", number), alert("s2", number)]).await;
    }
    until("nine of ten", || (receiver.taken().len() == 9).then_some(())).await;
    let of = |session: &str| receiver.taken().into_iter().filter(|id| id.starts_with(session)).collect::<Vec<_>>();
    assert_eq!(of("s1"), ["s1.1", "s1.2", "s1.4", "s1.5"]);
    assert_eq!(of("s2"), ["s2.1", "s2.2", "s2.3", "s2.4", "s2.5"]);
    let dead = until("the dead letter", || journal.reader().dead_letters("desk", 9).unwrap().pop()).await;
    assert_eq!((&*dead.event, dead.attempts), ("s1.3", 1));
    assert!(dead.detail.unwrap().contains("410"));
    // What was taken is noted a moment later.
    let left = || journal.reader().outbox().unwrap().pop().map(|sink| (sink.pending, sink.dead));
    until("that to be noted", || (left() == Some((0, 1))).then_some(())).await;

    receiver.answers(|_| 200);
    let resent = journal.resend("desk", None, ahwatch::time::wall()).await.unwrap();
    assert_eq!((resent.resent, resent.left), (1, 0));
    until("what was sent again", || receiver.taken().contains(&"s1.3".to_owned()).then_some(())).await;
    until("that to be noted", || journal.reader().outbox().unwrap().is_empty().then_some(())).await;
    running.stop().await;
    journal.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_stops_what_is_being_sent_and_tells_who_may_have_it() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(|_| 500).await;
    let sinks = sinks(&receiver.sink("desk"), dir.path());
    let journal = journal(dir.path(), &sinks);
    let running = Sinks::start(&journal, &sinks, Stages::default()).unwrap();
    let mut started = alert("s1", 0);
    started.kind = ahwatch::alert::EventKind::SessionStarted(std::sync::Arc::default());
    journal.record(vec![started, alert("s1", 1), alert("s1", 2)]).await;
    until("an attempt", || (!receiver.got().is_empty()).then_some(())).await;
    let receipt = journal.withdraw("s1", Actor::Participant, ahwatch::time::wall()).await.unwrap();
    assert_eq!(receipt.receivers_told, ["desk"], "it may have kept what it answered 500 to");
    let before = receiver.got().len();
    receiver.answers(|_| 200);
    until("the word of it", || (!receiver.taken().is_empty()).then_some(())).await;
    let after = receiver.got().split_off(before);
    assert!(after.iter().all(|got| String::from_utf8_lossy(&got.body).contains("ah.session.withdrawn.v1")));
    until("that to be noted", || journal.reader().outbox().unwrap().is_empty().then_some(())).await;
    running.stop().await;
    journal.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_and_redirects_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let inner = Receiver::start(|_| 200).await;
    let moved = Receiver::start(|_| 307).await;
    let text = moved.sink("moved")
        + &inner.sink("inner").replace("127.0.0.1", "localhost").replace("allow_private = true", "");
    let sinks = sinks(&text, dir.path());
    let journal = journal(dir.path(), &sinks);
    let running = Sinks::start(&journal, &sinks, Stages::default()).unwrap();
    journal.record(vec![alert("s1", 1)]).await;
    let all =
        || journal.reader().alerts(ahwatch::alert::journal::AlertFilter { limit: 9, ..Default::default() }).unwrap();
    let deliveries = until("both to have failed", || {
        let deliveries = all().remove(0).deliveries;
        deliveries.iter().all(|delivery| delivery.attempts > 0).then_some(deliveries)
    })
    .await;
    assert!(deliveries.iter().all(|delivery| delivery.state == DeliveryState::Pending));
    let detail = |n: usize| deliveries[n].detail.clone().unwrap();
    assert!(detail(0).contains("allow_private"), "{}", detail(0));
    assert!(detail(1).contains("redirects are not followed"), "{}", detail(1));
    assert!(inner.got().is_empty());
    running.stop().await;
    journal.close().await;
}
