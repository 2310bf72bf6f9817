//! What is kept, where, for whom, and what happens when it cannot be.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::alert::fixtures;

fn sent() -> Media {
    Media::Sent(Sent { video: Some(Bytes::from_static(b"moov")), sound: Some(Bytes::from_static(b"RIFF")) })
}

/// The session of the fixtures, each window's verdict with the events that it brought.
fn verdicts() -> Vec<Vec<Event>> {
    let mut verdicts: Vec<Vec<Event>> = Vec::new();
    for event in fixtures::panel_session() {
        let is_window = matches!(event.kind, EventKind::WindowJudged(_));
        match verdicts.last_mut() {
            Some(last) if !is_window => last.push(event),
            _ => verdicts.push(vec![event]),
        }
    }
    verdicts.retain(|events| matches!(events[0].kind, EventKind::WindowJudged(_)));
    assert!(verdicts.len() > 1);
    verdicts
}

/// The same as of a session with a real id.
fn of_session(mut events: Vec<Event>, session: &str) -> Vec<Event> {
    for event in &mut events {
        event.session = Some(session.into());
    }
    events
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn windows_that_are_present_or_raise_an_alert_are_kept_for_this_user_alone_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(&dir.path().join("a/b")).unwrap();
    let mut recorder = Recorder::new(Some(Arc::clone(&records)), "../../etc".into());
    let session = uuid::Uuid::now_v7().to_string();
    let mut expected = Vec::new();
    for events in verdicts() {
        let EventKind::WindowJudged(judged) = &events[0].kind else { unreachable!("they begin so") };
        let raised = events.iter().any(|e| matches!(e.kind, EventKind::AlertRaised(_)));
        if raised || judged.label == Label::Present {
            let name = format!("{}-{}", judged.window.continuity, judged.window.index);
            expected.extend(["json", "mp4", "wav"].map(|kind| format!("{name}.{kind}")));
        }
        let events = of_session(events, &session);
        recorder.offer(Some(sent()));
        recorder.decide(&events);
    }
    recorder.session_ended().await;
    expected.sort();
    assert!(!expected.is_empty() && expected.len() < 3 * verdicts().len(), "some are kept and some are not");

    assert_eq!(names(&dir.path().join("a/b")), std::slice::from_ref(&session));
    let of_session = dir.path().join("a/b").join(&session);
    assert_eq!(names(&of_session), expected);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir.path().join("a")), mode(&dir.path().join("a/b")), mode(&of_session)), (0o700, 0o700, 0o700));
    for name in &expected {
        assert_eq!(mode(&of_session.join(name)), 0o600, "{name}");
    }

    assert!(recorder.withdraw(&session).await.unwrap());
    assert!(names(&dir.path().join("a/b")).is_empty());
    assert!(!recorder.withdraw(&session).await.unwrap(), "a second time there is nothing");
}

#[test]
fn only_a_sessions_id_names_what_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let records = Records::open(&dir.path().join("records")).unwrap();
    std::fs::create_dir(dir.path().join("mine")).unwrap();
    for id in ["", ".", "..", "../mine", "/tmp", "a/b", "0-1"] {
        assert_eq!(records.remove_session(id).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{id}");
    }
    assert!(dir.path().join("mine").exists() && dir.path().join("records").exists());
}

#[tokio::test]
async fn a_window_without_a_request_for_it_is_forgotten_before_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::new(Some(Records::open(dir.path()).unwrap()), "a".into());
    recorder.offer(Some(sent()));
    recorder.decide(&[]);
    for events in verdicts() {
        recorder.decide(&of_session(events, &uuid::Uuid::now_v7().to_string())); // nothing was offered with these
    }
    recorder.session_ended().await;
    assert!(names(dir.path()).is_empty());
}

#[tokio::test]
async fn what_cannot_be_written_leaves_no_half_clip_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("records");
    let mut recorder = Recorder::new(Some(Records::open(&path).unwrap()), "a".into());
    let session = uuid::Uuid::now_v7().to_string();
    let present: Vec<_> = verdicts().into_iter().filter(|events| worth_a_look(events).is_some()).collect();
    let (first, second) = (of_session(present[0].clone(), &session), of_session(present[1].clone(), &session));
    // Something stands where the second window's sound should go.
    let (_, id) = worth_a_look(&second).unwrap();
    let blocked = path.join(&session).join(format!("{}-{}.wav", id.continuity, id.index));
    std::fs::create_dir_all(blocked.join("full")).unwrap();
    for events in [&first, &second] {
        recorder.offer(Some(sent()));
        recorder.decide(events);
    }
    recorder.written().await;
    recorder.written().await;
    assert_eq!((recorder.written, recorder.failed), (1, 1));
    let left = names(&path.join(&session));
    assert_eq!(left.len(), 4, "the first whole, of the second nothing but what was there: {left:?}");
    recorder.session_ended().await;
    assert_eq!((recorder.written, recorder.failed), (0, 0), "the next session counts anew");
}

#[tokio::test]
async fn a_disk_that_takes_nothing_holds_no_more_than_a_few_clips() {
    let dir = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::new(Some(Records::open(dir.path()).unwrap()), "a".into());
    let session = uuid::Uuid::now_v7().to_string();
    let present = verdicts().into_iter().find(|events| worth_a_look(events).is_some()).unwrap();
    let events = of_session(present, &session);
    for _ in 0..MOST_PENDING + 5 {
        recorder.offer(Some(sent()));
        recorder.decide(&events); // nobody drives the writes
    }
    assert_eq!((recorder.writes.len(), recorder.failed), (MOST_PENDING, 5));
}

#[test]
fn a_folder_that_cannot_be_is_refused_with_its_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    for dir in [file.path().to_owned(), file.path().join("below"), "/proc/no/such".into()] {
        let message = Records::open(&dir).unwrap_err().to_string();
        assert!(message.contains(dir.to_str().unwrap()) && message.contains("name a directory"), "{message}");
    }
}
