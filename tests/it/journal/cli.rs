//! `ahwatch journal`, `replay` and `token`, as somebody types them, beside a running service.

use std::path::Path;

use ahwatch::alert::journal::Role;
use serde_json::Value;

use super::{alert, journal};
use crate::kit::run::{Finished, ahwatch};
use crate::watch_file::LIMIT;

fn run(dir: &Path, args: &[&str]) -> Finished {
    ahwatch(args).dir(dir).finish(LIMIT)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_is_exported_verified_and_purged_beside_its_service() {
    let dir = tempfile::tempdir().unwrap();
    let service = journal(dir.path(), &[]);
    let told = service.record((0..3).map(|n| alert("s1", n)).collect()).await;
    std::fs::write(
        dir.path().join("a.toml"),
        "[journal]\npath = \"j.db\"\n[[judge]]\nname = \"no key is needed here\"\n",
    )
    .unwrap();

    let export = run(dir.path(), &["journal", "export", "--config", "a.toml"]).expect_code(0);
    assert_eq!(export.stdout.lines().collect::<Vec<_>>(), told.iter().map(|told| &*told.json).collect::<Vec<_>>());
    let alerts = run(dir.path(), &["journal", "export", "--alerts", "--journal", "j.db"]).expect_code(0);
    let first: Value = serde_json::from_str(alerts.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&first["event"]["id"], &first["feedback"]), (&"s1.0".into(), &Value::Null));
    let none = run(dir.path(), &["journal", "export", "--session", "x", "--journal", "j.db"]).expect_code(2);
    assert!(none.stderr.contains("there is no session x"), "{}", none.stderr);

    let verified = run(dir.path(), &["journal", "verify", "--journal", "j.db"]).expect_code(0);
    assert!(verified.stdout.contains("events: 3") && verified.stdout.ends_with("in order\n"), "{}", verified.stdout);
    let purged = run(dir.path(), &["journal", "purge", "--before", "2100-01-01T00:00:00Z", "--journal", "j.db"]);
    assert!(purged.expect_code(0).stderr.contains("deleted: 3 events"));
    let report: Value = serde_json::from_str(
        &run(dir.path(), &["journal", "verify", "--json", "--journal", "j.db"]).expect_code(0).stdout,
    )
    .unwrap();
    assert_eq!(report["holes"], serde_json::json!([{"first": 1, "last": 3, "reason": "purged"}]));
    let more = service.record(vec![alert("s1", 3)]).await;
    assert!(more[0].durable && more[0].seq == 4);
    service.close().await;
    let missing = run(dir.path(), &["journal", "verify", "--journal", "no.db"]).expect_code(2);
    assert!(missing.stderr.contains("no.db: there is no such file"), "{}", missing.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_made_and_taken_away_beside_the_service() {
    let dir = tempfile::tempdir().unwrap();
    let service = journal(dir.path(), &[]);
    let make = |args: &[&str]| run(dir.path(), &[&["token", "create", "--journal", "j.db"], args].concat());
    let desk = make(&["desk", "--role", "operator", "--days", "30"]).expect_code(0);
    let shown = desk.stdout.trim().to_owned();
    let token = service.token(&shown, ahwatch::time::wall()).await.unwrap().unwrap();
    assert_eq!((&*token.name, token.role, token.session), ("desk", Role::Operator, None));
    assert!(make(&["desk", "--role", "viewer"]).expect_code(2).stderr.contains("already a token named desk"));
    make(&["p", "--role", "participant"]).expect_code(2);
    make(&["p", "--role", "participant", "--session", "s1"]).expect_code(0);
    make(&["v", "--role", "viewer", "--session", "s1"]).expect_code(2);
    make(&["v", "--role", "viewer", "--expires", "2001-01-01T00:00:00Z"]).expect_code(2);
    let list = run(dir.path(), &["token", "list", "--journal", "j.db"]).expect_code(0).stdout;
    assert!(list.contains("p: participant of session s1, does not expire"), "{list}");
    assert!(!list.contains(&shown[4..20]) && list.lines().count() == 2, "{list}");
    run(dir.path(), &["token", "revoke", "desk", "--journal", "j.db"]).expect_code(0);
    assert_eq!(service.token(&shown, ahwatch::time::wall()).await.unwrap(), None, "at once");
    run(dir.path(), &["token", "revoke", "desk", "--journal", "j.db"]).expect_code(2);
    service.close().await;
}

/// A recorded watch of the sample, put into a journal, decides as it did, and otherwise with another rule.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_a_watch_is_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let service = journal(dir.path(), &[]);
    let config = ahwatch::config::Config::build(
        ahwatch::config::RawConfig::default(),
        ahwatch::config::Overrides {
            sources: vec![format!("{}/examples/media/interview.mp4", env!("CARGO_MANIFEST_DIR"))],
            cues: true,
            ..Default::default()
        },
        &|_| None,
    )
    .unwrap();
    let (sender, mut events) = tokio::sync::mpsc::channel(64);
    let recording = async {
        let mut last = None;
        while let Some(event) = events.recv().await {
            last = service.record(vec![event]).await.pop();
        }
        last
    };
    let (outcome, last) = tokio::join!(ahwatch::run::run(&config, sender, std::future::pending()), recording);
    outcome.unwrap();
    let id = last.unwrap().event.session.unwrap();
    let replay = |args: &[&str]| {
        let run = run(dir.path(), &[&["replay", &id, "--journal", "j.db", "--json"], args].concat()).expect_code(0);
        serde_json::from_str::<Value>(&run.stdout).unwrap()
    };
    let same = replay(&[]);
    assert_eq!(same["before"], same["after"]);
    let verified = run(dir.path(), &["journal", "verify", "--journal", "j.db"]).expect_code(0);
    assert!(verified.stdout.contains("sessions: 1 whose books come out again"), "{}", verified.stdout);
    let other = replay(&["--rule", "max_of_vote", "--clear-windows", "1", "--threshold", "0.5"]);
    assert_eq!(other["after"]["settings"]["rule"], "max_of_vote");
    assert_eq!(other["after"]["windows_present"], 0, "the index gives no P(Yes)");
    let table = run(dir.path(), &["replay", &id, "--journal", "j.db", "--rule", "max_of_vote"]).expect_code(0).stdout;
    assert!(table.contains("as it was") && table.contains("differs"), "{table}");
    run(dir.path(), &["replay", "nobody", "--journal", "j.db"]).expect_code(2);
    service.close().await;
}
