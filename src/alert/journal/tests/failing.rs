//! A disk that refuses, and files that are none.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn alert() -> Event {
    let is_alert = |event: &Event| matches!(event.kind, EventKind::AlertRaised(_));
    fixtures::panel_session().into_iter().find(is_alert).unwrap()
}

/// Until the journal says so.
async fn becomes(journal: &Journal, failing: bool) {
    let turned = async {
        while journal.is_failing() != failing {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), turned).await.unwrap();
}

fn pages(db: &Connection, limit: i64) {
    db.query_row(&format!("PRAGMA max_page_count = {limit}"), [], |_| Ok(())).unwrap();
}

/// A file that may not grow (the limit is of a connection, here the writer's): alerts are told undurable and reach their
/// sink; once it may grow again everything stands in the file, in order, and nothing is sent twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_nothing_and_heals() {
    let rig = start(tempfile::tempdir().unwrap(), |writer| pages(&writer.db, 60));
    let journal = &rig.journal;
    journal.set_routes(vec![route("desk", &["alert"])]);
    let desk = journal.courier("desk").unwrap();
    desk.refill().await.unwrap();
    let event = |number: u64| Event { number, ..alert() };
    let mut told = Vec::new();
    let mut number = 0;
    while !journal.is_failing() {
        told.extend(journal.record(vec![event(number)]).await);
        number += 1;
        assert!(number < 1000, "the file is never full");
    }
    let before = told.len();
    for _ in 0..20 {
        told.extend(journal.record(vec![event(number)]).await);
        number += 1;
    }
    assert!(before > 5 && told[before..].iter().all(|told| !told.durable), "{before}");
    for told in &told {
        assert!(told.json.contains(&format!("\"durable\":{}", told.durable)), "{}", told.json);
    }
    let refused = journal.create_session(new_session("0199")).await.unwrap_err();
    assert!(matches!(refused, JournalError::Unavailable(_)), "{refused}");
    let waiting = journal.unwritten().0;
    assert!(waiting >= 20);
    assert_eq!(seqs(&told), rig.events(None).iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), "readers miss nothing");

    let mut sent = Vec::new();
    while let Next::Send(item) = desk.next(wall()) {
        desk.delivered(item.seq, wall());
        sent.push(item.seq);
    }
    assert_eq!(sent, seqs(&told), "alerts do not wait for the disk");

    // Room is made: pages that hold nothing any more may be used again.
    let db = store::open(&rig.dir.path().join("j.db")).unwrap();
    let last = told[told.len() - waiting - 1].seq;
    db.execute("DELETE FROM event WHERE seq <= ?1", [i64::try_from(last).unwrap()]).unwrap();
    db.execute("DELETE FROM outbox WHERE seq <= ?1", [i64::try_from(last).unwrap()]).unwrap();
    store::hole(&db, 1, last, "purged", wall()).unwrap();
    becomes(journal, false).await;
    journal.create_session(new_session("0199")).await.unwrap();
    assert_eq!(journal.unwritten(), (0, 0));
    let stored: i64 = db.query_row("SELECT count(*) FROM event", [], |row| row.get(0)).unwrap();
    assert_eq!(usize::try_from(stored).unwrap(), waiting);
    assert_eq!(desk.next(wall()), Next::Idle, "nothing is sent twice");
    assert_eq!(journal.reader().outbox().unwrap(), [], "and all of it is noted as delivered");
    assert_eq!(verify::verify(&journal.reader()).unwrap().problems, Vec::<String>::new());
    drop((db, desk));
    drop(rig.end().await);
}

/// Another process holds the file: nobody waits longer than a quarter of a second for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_disk_delays_nobody() {
    let rig = rig();
    let db = store::open(&rig.dir.path().join("j.db")).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    let told = rig.journal.record(vec![alert()]).await;
    assert!(!told[0].durable && told[0].json.contains("\"durable\":false"));
    becomes(&rig.journal, true).await;
    let more = rig.journal.record(vec![Event { number: 99, ..alert() }]).await;
    assert!(!more[0].durable);
    db.execute_batch("COMMIT").unwrap();
    becomes(&rig.journal, false).await;
    let told = rig.journal.record(vec![Event { number: 100, ..alert() }]).await;
    assert!(told[0].durable);
    let numbers: Vec<u64> = rig.events(None).iter().map(|(seq, _)| *seq).collect();
    assert_eq!(numbers, [1, 2, 3]);
    drop(db);
    drop(rig.end().await);
}

/// What a configured source is watched for is known when its session begins, and never again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_noted_of_a_session_is_written_when_the_disk_heals() {
    let rig = rig();
    let db = store::open(&rig.dir.path().join("j.db")).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    rig.journal.note_session(new_session("0195")).unwrap();
    let began = fixtures::panel_session().into_iter().find(|event| matches!(event.kind, EventKind::SessionStarted(_)));
    rig.journal.record(vec![began.unwrap()]).await;
    becomes(&rig.journal, true).await;
    db.execute_batch("COMMIT").unwrap();
    becomes(&rig.journal, false).await;
    let row = rig.journal.reader().session("0195").unwrap().unwrap();
    assert_eq!((row.state, row.purpose.as_deref()), (SessionState::Live, Some("health_care")));
    assert!(row.basis.is_some() && row.judgement.is_some(), "{row:?}");
    rig.journal.note_state("0195", SessionState::Ended, wall()).unwrap();
    rig.journal.note_state("nobody", SessionState::Ended, wall()).unwrap();
    assert!(!rig.journal.revoke("nobody").await.unwrap(), "it is done in its turn");
    assert_eq!(rig.journal.reader().session("0195").unwrap().unwrap().state, SessionState::Ended);
    drop(db);
    drop(rig.end().await);
}

#[test]
fn files_that_are_no_journal_are_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("notes.db");
    std::fs::write(
        &file,
        "these are my notes, and they are longer than a header of SQLite would be, by some bytes".repeat(20),
    )
    .unwrap();
    for error in [Journal::open(&file).unwrap_err(), Reader::open(&file).unwrap_err()] {
        assert!(error.to_string().contains("notes.db: is no journal"), "{error}");
    }
    let error = Reader::open(&dir.path().join("none.db")).unwrap_err().to_string();
    assert!(error.contains("none.db: there is no such file") && error.contains("--journal"), "{error}");
    assert!(!dir.path().join("none.db").exists());
    let error = Journal::open(&dir.path().join("no/such/folder/j.db")).unwrap_err().to_string();
    assert!(error.contains("[journal] path"), "{error}");

    let newer = dir.path().join("newer.db");
    store::open(&newer).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let error = Journal::open(&newer).unwrap_err().to_string();
    assert!(error.contains("newer ahwatch"), "{error}");

    let path = dir.path().join("j.db");
    let (_journal, _writer) = Journal::open(&path).unwrap();
    let error = Journal::open(&path).unwrap_err().to_string();
    assert!(error.contains("another ahwatch has it"), "{error}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "for its owner only");
}
