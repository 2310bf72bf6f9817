//! A quarter of an hour of real sources side by side: `cargo test --test it long -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::books::{books_are_exact, nanos, told};
use crate::kit::media::Recipe;
use crate::kit::pulse::SoundServer;
use crate::kit::rtsp::{Camera, Show};
use crate::kit::run::ahwatch;
use crate::watch_file::{LIMIT, panel, three};

const ENDED: &str = "ah.session.ended.v1";

#[test]
#[ignore = "takes 15 minutes"]
fn a_microphone_with_the_test_picture_and_two_cameras_of_which_one_dies_twice() {
    let mut sounds = SoundServer::start(&[("desk", 48_000, 2)]);
    sounds.play("desk", 0, 1200);
    let steady = Camera::start(Show::live(&Recipe::new(3600.0)));
    let mut shaky = Camera::start(Show::live(&Recipe::new(3600.0)));
    let (endpoint, models) = three();
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &models, "");
    let config = dir.path().join("live.toml");
    let text = format!(
        "[[source]]\nname = \"desk\"\nurl = \"test:\"\naudio = \"desk.monitor\"\n\
         [[source]]\nname = \"steady\"\nurl = \"{}\"\n[[source]]\nname = \"shaky\"\nurl = \"{}\"\n",
        steady.url("/live"),
        shaky.url("/live")
    );
    std::fs::write(&config, text).unwrap();
    let run = ahwatch(["watch", "--config", config.to_str().unwrap(), "--panel", panel.to_str().unwrap()]);
    let mut run = sounds.hears(run).start();
    let began = Instant::now();
    for source in ["desk", "steady", "shaky"] {
        run.wait_for(LIMIT, "a window of each", |event| {
            event["type"] == "ah.window.judged.v1" && event["data"]["source"] == source
        });
    }
    let mut until = |minute: u64| {
        let moment = Duration::from_secs(60 * minute);
        run.wait_until(moment + LIMIT, "time", |_| (began.elapsed() >= moment).then_some(()));
    };
    until(3);
    shaky.kill();
    let away = Instant::now();
    until(3);
    std::thread::sleep(Duration::from_secs(20));
    shaky.restart();
    let first = away.elapsed().as_secs_f64();
    until(7);
    shaky.kill();
    std::thread::sleep(Duration::from_secs(90)); // longer than a session goes on without its source
    shaky.restart();
    until(15);
    run.signal("INT");
    let run = run.finish(LIMIT).expect_code(0);

    let events = run.events();
    let of = |source: &str, kind: &str| -> Vec<Value> {
        events.iter().filter(|e| e["type"] == kind && e["data"]["source"] == source).cloned().collect()
    };
    books_are_exact(&events);
    for source in ["desk", "steady", "shaky"] {
        for ended in of(source, ENDED) {
            let data = &ended["data"];
            println!("{source}, {:.3} s: {:?}", data["span"]["end_secs"].as_f64().unwrap(), told(data));
        }
    }
    for source in ["desk", "steady"] {
        let ended = of(source, ENDED);
        assert_eq!(ended.len(), 1, "{source}");
        let books = told(&ended[0]["data"]);
        assert!(nanos(&ended[0]["data"]["span"]["end_secs"]) > 880_000_000_000, "{books:?}");
        assert_eq!((books["lost"], books["skipped"]), (0, 0), "{source}: {books:?}");
        assert!(of(source, "ah.source.lost.v1").is_empty());
    }
    assert_eq!((of("shaky", "ah.source.lost.v1").len(), of("shaky", "ah.source.restored.v1").len()), (2, 2));
    // The first absence is in the session, the second ends it at its last frame.
    let ended = of("shaky", ENDED);
    assert_eq!(ended.len(), 2);
    let outage = ended[0]["data"]["coverage"]["lost"]["outage_secs"].as_f64().unwrap();
    assert!((first - 2.0..first + 13.0).contains(&outage), "away for {first}, lost {outage}");
    let length = ended[0]["data"]["span"]["end_secs"].as_f64().unwrap();
    assert!((410.0..421.0).contains(&length), "{length}");
}
