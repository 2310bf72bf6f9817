//! Many sources in one process.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kit::media::Recipe;
use crate::kit::proxy::{self, Proxy};
use crate::kit::rtsp::{Camera, Show};
use crate::kit::run::ahwatch;
use crate::watch_file::LIMIT;

fn sources(urls: impl IntoIterator<Item = String>) -> String {
    let table = |(i, url): (usize, String)| format!("[[source]]\nname = \"cam-{i}\"\nurl = \"{url}\"\n");
    urls.into_iter().enumerate().map(table).collect()
}

fn config(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("many.toml");
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (dir, file)
}

/// Starts are spread; what the server still refuses is tried again.
#[test]
fn sixty_four_cameras_on_a_server_that_takes_eight_connections_a_second_all_come_up() {
    let camera = Camera::start(Show::file(&Recipe::new(120.0).size(160, 120).fps((5, 1))));
    let network = Proxy::limited(camera.port(), 8);
    let url = format!("rtsp://127.0.0.1:{}/live", network.port());
    let (_dir, file) = config(&sources(std::iter::repeat_n(url, 64)));
    let mut run = ahwatch(["watch", "--config", &file]).start();
    let began = Instant::now();
    run.wait_until(LIMIT, "a session of every camera", |run| {
        (run.events().iter().filter(|event| event["type"] == "ah.session.started.v1").count() == 64).then_some(())
    });
    let took = began.elapsed();
    run.signal("INT");
    let run = run.finish(LIMIT).expect_code(0);
    // The connections alone take 8 s; `cargo bench --bench media -- start` measures how much more there is.
    assert!(took > Duration::from_secs(7), "the server did not hold back: {took:?}");
    assert!(network.connections() < 64 * 4, "{} connections", network.connections());
    assert_eq!(run.events_of("ah.session.ended.v1").len(), 64);
}

#[test]
fn one_source_that_dies_stalls_and_comes_back_costs_the_others_nothing() {
    let recipe = Recipe::new(60.0).size(320, 240).fps((15, 1));
    let (steady, shaky) = (Camera::start(Show::file(&recipe)), Camera::start(Show::file(&recipe)));
    let network = Proxy::to(shaky.port());
    let urls = [steady.url("/live"), format!("rtsp://127.0.0.1:{}/live", network.port()), steady.url("/live")];
    let (_dir, file) = config(&sources(urls));
    let mut run = ahwatch(["watch", "--config", &file]).start();
    let judged = |run: &crate::kit::run::Running, source: &str, at_least: usize| {
        let window = |event: &&Value| event["type"] == "ah.window.lost.v1" && event["source"] == source;
        (run.events().iter().filter(window).count() >= at_least).then_some(())
    };
    // A code in tones is no speech: the cue index abstains, which is a lost window with all else as it should be.
    run.wait_until(LIMIT, "a window", |run| judged(run, "/ahwatch/cam-0", 1));
    for mode in [proxy::Mode::Cut, proxy::Mode::Pass, proxy::Mode::Stall] {
        network.set(mode);
        std::thread::sleep(Duration::from_secs(4)); // the trouble itself
    }
    network.set(proxy::Mode::Pass);
    run.wait_until(LIMIT, "windows of the others", |run| judged(run, "/ahwatch/cam-2", 4));
    run.signal("INT");
    let run = run.finish(LIMIT).expect_code(0);
    let events = run.events();
    assert!(events.iter().any(|event| event["type"] == "ah.source.lost.v1"));
    for source in ["/ahwatch/cam-0", "/ahwatch/cam-2"] {
        let of = |kind: &str| -> Vec<&Value> {
            events.iter().filter(|event| event["type"] == kind && event["source"] == source).collect()
        };
        assert!(of("ah.source.lost.v1").is_empty());
        // The last is dropped time of the stop.
        let windows = of("ah.window.lost.v1");
        for window in windows.iter().filter(|event| event["data"]["reason"] != "tail") {
            assert_eq!(window["data"]["reason"], "all_abstained", "{window:#}");
            let quality = &window["data"]["quality"];
            assert_eq!(quality["refused_frames"], 0, "{quality:#}");
            assert_eq!(quality["pictures_seen"], quality["pictures_expected"], "{quality:#}");
        }
    }
}
