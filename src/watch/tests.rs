//! How a source's task ends.

use super::measure::{Jobs, desk};
use super::*;
use crate::config::{Config, Overrides, RawConfig};
use crate::judge::WindowId;
use crate::judge::cues::Weights;
use crate::source::Finish;
use crate::window::Cutting;

/// By the embedded index, with nobody at the desk.
fn plan() -> (Jobs, Arc<Plan>) {
    let config = Config::build(RawConfig::default(), Overrides::default(), &|_| None).unwrap();
    let (desk, jobs) = desk(1);
    let plan = Plan {
        cutting: Cutting {
            window: config.window.window,
            hop: config.window.hop,
            stall: MediaTime::from_millis(2000),
            live: true,
            session_gap: MediaTime::from_millis(60_000),
            max_session: None,
        },
        max_pixels: config.window.max_pixels,
        jpeg_quality: config.window.jpeg_quality,
        codec: config.window.clip_codec,
        settings: Arc::new(session_settings(&config)),
        judges: Judges::Embedded(Arc::new(Weights::load(None).unwrap())),
        gate: config.gate,
        desk,
    };
    (jobs, Arc::new(plan))
}

#[tokio::test]
async fn windows_that_nobody_took_by_the_end_of_the_grace_are_dropped_time() {
    let (events, mut receiver) = mpsc::channel(64);
    let (items, queue) = mpsc::channel(8);
    let (_grace, grace) = watch::channel(Some(tokio::time::Instant::now()));
    let cut = |cut| Item::From(FromSource::Cut(cut, monotonic()));
    items.send(cut(Cut::SessionBegan)).await.unwrap();
    for index in 0..3 {
        let start = MediaTime::from_millis(5000 * i64::from(index));
        let span = Span::new(start, start + MediaTime::from_millis(5000));
        let window = Window {
            id: WindowId { continuity: 0, index },
            media: span,
            span,
            full: true,
            pictures: Vec::new(),
            pictures_seen: 0,
            pictures_expected: 0,
            sound: None,
            sound_missing: MediaTime::ZERO,
            refused: 0,
            audio_offset: None,
        };
        items.send(cut(Cut::Window(Box::new(window)))).await.unwrap();
    }
    drop(items);
    let (_jobs, plan) = plan();
    Watcher::new("a", false, plan, events, grace).run(queue).await;
    let mut ended = None;
    while let Some(event) = receiver.recv().await {
        if let EventKind::SessionEnded(summary) = event.kind {
            ended = Some(summary);
        }
    }
    let coverage = ended.unwrap().coverage;
    assert_eq!(coverage.dropped(), MediaTime::from_millis(15_000));
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
