//! How a source's task ends, and how its windows are measured.

#![allow(clippy::disallowed_methods, reason = "the test is the topology")]

use super::measure::{Jobs, desk};
use super::*;
use crate::alert::Actor;
use crate::config::{Config, Judging, Overrides, RawConfig};
use crate::judge::cues::Weights;
use crate::source::Finish;
use crate::stage::Stages;
use crate::time::monotonic;
use crate::window::Cutting;
use crate::window::tests::empty;

/// By the embedded index, with nobody at the desk.
fn plan() -> (Jobs, Arc<Plan>) {
    let config = Config::build(RawConfig::default(), Overrides::default(), &|_| None).unwrap();
    let (desk, jobs) = desk(1);
    let plan = Plan {
        cutting: Cutting::LIVE,
        max_pixels: config.window.max_pixels,
        jpeg_quality: config.window.jpeg_quality,
        codec: config.window.clip_codec,
        settings: Arc::new(session_settings(&config)),
        judges: Judges::Embedded(Arc::new(Weights::load(None).unwrap())),
        gate: config.gate,
        desk,
        stages: Stages::default(),
        care: Arc::new(()),
    };
    (jobs, Arc::new(plan))
}

/// A session of these many windows, for the task, and then the end of its source.
fn session(windows: u32) -> mpsc::Receiver<Item> {
    let (items, queue) = mpsc::channel(64);
    let cut = |cut| items.try_send(Item::From(FromSource::Cut(cut, monotonic()))).unwrap();
    cut(Cut::SessionBegan);
    for index in 0..windows {
        cut(Cut::Window(Box::new(empty(index))));
    }
    cut(Cut::ContinuityEnded { continuity: 0, windows });
    cut(Cut::SessionEnded { elapsed: empty(windows).span.start() });
    let finish = Finish { complete: true, missing: MediaTime::ZERO, error: None };
    items.try_send(Item::From(FromSource::Finished(finish))).unwrap();
    queue
}

async fn summary(mut receiver: mpsc::Receiver<Event>) -> crate::session::Summary {
    while let Some(event) = receiver.recv().await {
        if let EventKind::SessionEnded(summary) = event.kind {
            return *summary;
        }
    }
    panic!("no end of the session");
}

const FIVE: MediaTime = MediaTime::from_millis(5000);

#[tokio::test]
async fn windows_that_nobody_took_by_the_end_of_the_grace_are_dropped_time() {
    let (events, receiver) = mpsc::channel(64);
    let (_grace, grace) = watch::channel(Some(tokio::time::Instant::now()));
    let (_jobs, plan) = plan();
    Watcher::new("a", false, plan, events, grace).run(session(3)).await;
    assert_eq!(summary(receiver).await.coverage.dropped(), FIVE.scale(3, 1));
}

#[tokio::test]
async fn a_camera_whose_windows_are_not_measured_in_time_drops_the_oldest() {
    let (events, receiver) = mpsc::channel(64);
    let (grace, over) = watch::channel(None);
    let (jobs, plan) = plan();
    let task = tokio::spawn(Watcher::new("a", true, plan, events, over).run(session(8)));
    // One window is at the desk and three wait; the others are gone by the time anybody measures.
    let mut receiver = receiver;
    let mut dropped = Vec::new();
    while dropped.len() < 4 {
        if let EventKind::WindowDropped(window, DropReason::Overload) = receiver.recv().await.unwrap().kind {
            dropped.push(window.window.unwrap().index);
        }
    }
    assert_eq!(dropped, [1, 2, 3, 4]);
    let worker = std::thread::spawn(move || measure::work(&jobs, None));
    let summary = summary(receiver).await;
    assert_eq!((summary.coverage.dropped(), summary.coverage.lost()), (FIVE.scale(4, 1), FIVE.scale(4, 1)));
    task.await.unwrap();
    drop(grace);
    worker.join().unwrap();
}

/// The session's end waits for what is measured. Where its verdict did not, nothing else comes that would have it looked at again.
#[tokio::test]
async fn a_session_ends_although_its_last_window_is_measured_after_its_verdict() {
    let text = "[[judge]]\nname = \"v1\"\nmodel = \"m\"\nbase_url = \"http://127.0.0.1:1/v1\"\ndeadline_ms = 1000\n";
    let raw = RawConfig::parse(text, std::path::Path::new("test"));
    let Judging::Panel(judges) = Config::build(raw, Overrides::default(), &|_| None).unwrap().judging else { panic!() };
    let panel = Judges::Panel(Arc::new(crate::judge::panel::Panel::new(&judges).unwrap()));
    let (events, mut receiver) = mpsc::channel(64);
    let (_grace, grace) = watch::channel(None);
    let (jobs, plan) = plan();
    let plan = Arc::new(Plan { judges: panel, ..Arc::into_inner(plan).unwrap() });
    let task = tokio::spawn(Watcher::new("a", true, plan, events, grace).run(session(1)));
    while !matches!(receiver.recv().await.unwrap().kind, EventKind::WindowLost(..)) {}
    // Its verdict is told, its session is over, and only now does anybody look at it.
    let worker = std::thread::spawn(move || measure::work(&jobs, None));
    let over = tokio::time::timeout(std::time::Duration::from_secs(30), summary(receiver)).await;
    assert_eq!(over.expect("the session ends").coverage.lost(), FIVE);
    task.await.unwrap();
    worker.join().unwrap();
}

#[tokio::test]
async fn windows_that_never_come_back_from_being_measured_are_abstained_on() {
    let (events, receiver) = mpsc::channel(64);
    let (_grace, grace) = watch::channel(None);
    let (jobs, plan) = plan();
    drop(jobs);
    Watcher::new("a", false, plan, events, grace).run(session(3)).await;
    let summary = summary(receiver).await;
    assert_eq!((summary.coverage.lost(), summary.coverage.judged()), (FIVE.scale(3, 1), MediaTime::ZERO));
}

#[tokio::test]
async fn a_source_that_breaks_off_without_a_word_is_an_error() {
    for finishes in [true, false] {
        let (events, _receiver) = mpsc::channel(16);
        let (items, queue) = mpsc::channel(16);
        let (_grace, grace) = watch::channel(None);
        let (_jobs, plan) = plan();
        let watcher = Watcher::new("a", false, plan, events, grace);
        if finishes {
            let finish = Finish { complete: true, missing: MediaTime::ZERO, error: None };
            items.send(Item::From(FromSource::Finished(finish))).await.unwrap();
        }
        drop(items);
        assert_eq!(watcher.run(queue).await.error.is_none(), finishes);
    }
}

#[tokio::test]
async fn a_withdrawal_is_done_although_nobody_takes_the_events_and_is_the_last_of_them() {
    let (events, mut receiver) = mpsc::channel(1);
    let (_grace, grace) = watch::channel(None);
    let (_jobs, plan) = plan();
    let ((asked, by), (done, mut withdrawn)) = (watch::channel(None), watch::channel(None));
    let mut watcher = Watcher::new("a", true, plan, events, grace);
    (watcher.id, watcher.withdrawal) = (Some("given".into()), Some(Withdrawal::new(by, done)));
    let task = tokio::spawn(watcher.run(session(8)));
    // The beginning is not taken, so what follows waits.
    while receiver.is_empty() {
        tokio::task::yield_now().await;
    }
    asked.send_replace(Some(Actor::Participant));
    let result = withdrawn.wait_for(Option::is_some).await.unwrap().clone();
    assert_eq!(result, Some(Ok(())));
    let mut kinds = Vec::new();
    while let Some(event) = receiver.recv().await {
        assert_eq!(event.session.as_deref(), Some("given"));
        kinds.push(event.kind);
    }
    assert!(matches!(kinds[..], [EventKind::SessionStarted(_), EventKind::SessionWithdrawn(Actor::Participant)]));
    let watched = task.await.unwrap();
    assert!(watched.withdrawn && watched.judged == MediaTime::ZERO);
}
