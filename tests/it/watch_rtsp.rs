//! `ahwatch watch` on a camera: a real RTSP server on loopback, killed, stalled and refusing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::books::books_are_exact;
use crate::kit::endpoint::{Endpoint, Judge};
use crate::kit::interleaved::Meddler;
use crate::kit::media::Recipe;
use crate::kit::proxy::{self, Proxy};
use crate::kit::rtsp::{Camera, Show};
use crate::kit::run::{Running, ahwatch};
use crate::watch_file::{LIMIT, by_first_picture, ended, labels, linspace, panel, three};

/// Starts `watch` on an address.
fn watch(url: &str, endpoint: &Endpoint, models: &[&str], more: &[&str]) -> Running {
    let dir = tempfile::tempdir().unwrap().keep();
    let panel = panel(&dir, &endpoint.base_url(), models, "");
    let args = ["watch", url, "--panel", panel.to_str().unwrap()];
    ahwatch(args.iter().chain(more)).start()
}

#[test]
fn a_camera_gives_the_same_windows_pictures_and_labels_as_the_recording() {
    let recipe = Recipe::new(23.0).plant(&[1, 3]);
    let (by_file, models) = three();
    let dir = tempfile::tempdir().unwrap();
    let panel_file = panel(dir.path(), &by_file.base_url(), &models, "");
    let file = ahwatch(["watch", recipe.make().to_str().unwrap(), "--panel", panel_file.to_str().unwrap()]);
    let file = file.finish(LIMIT).expect_code(0);

    let camera = Camera::start(Show::file(&recipe));
    let (by_camera, models) = three();
    let live = watch(&camera.url("/live"), &by_camera, &models, &["--once"]).finish(LIMIT).expect_code(0);

    let expected = [(0.0, "absent"), (5.0, "present"), (10.0, "absent"), (15.0, "present"), (20.0, "absent")];
    assert_eq!(labels(&file.events()), expected.map(|(at, label)| (at, label.to_owned())));
    // The server drops up to 200 ms of the end, which may cost the partial window its last kept pictures or itself.
    assert_eq!(
        labels(&live.events())[..4],
        expected[..4].iter().map(|(at, l)| (*at, (*l).to_owned())).collect::<Vec<_>>()
    );
    books_are_exact(&live.events());
    for model in models {
        let (file, live) =
            (by_first_picture(&by_file.requests(), model), by_first_picture(&by_camera.requests(), model));
        for ((in_file, _), (in_camera, seen)) in file.iter().zip(&live).take(4) {
            assert_eq!(in_file, in_camera);
            let clip = seen.clip.as_ref().unwrap();
            assert_eq!(clip.samples(), 80_000);
            let (heard, shown) = (clip.sound_secs_at(40_000).unwrap(), f64::from(in_camera[0]) / 25.0 + 2.5);
            assert!((heard - shown).abs() < 0.04, "heard {heard}, shown {shown}");
        }
    }
}

/// A camera that says goodbye to its sound (RTCP BYE) by the first report after five seconds of it, sends none of it any more, and
/// goes on with reports of it.
#[derive(Default)]
struct Goodbye {
    heard: usize,
    said: bool,
    reports_since: usize,
}

impl Meddler for Goodbye {
    fn packet(&mut self, channel: u8, packet: &mut [u8]) {
        const SENDER_REPORT: u8 = 200;
        const BYE: u8 = 203;
        // A block of AAC has 1,024 samples.
        const FIVE_SECONDS: usize = 5 * 48_000 / 1024;
        self.heard += usize::from(channel == 2);
        if channel != 3 || packet.len() < 28 || packet[1] != SENDER_REPORT {
            return;
        }
        if self.said {
            self.reports_since += 1;
        } else if self.heard >= FIVE_SECONDS {
            // Of one source, without a reason; as long as the report in whose place it stands.
            (packet[0], packet[1]) = (0x81, BYE);
            packet[8..28].fill(0);
            self.said = true;
        }
    }

    fn passes(&mut self, channel: u8, _: &[u8]) -> bool {
        channel != 2 || !self.said
    }
}

#[test]
fn a_camera_that_says_goodbye_to_its_sound_is_watched_to_its_end() {
    let camera = Camera::start(Show::file(&Recipe::new(33.0)));
    let goodbye = Arc::new(Mutex::new(Goodbye::default()));
    let network = Proxy::meddled(camera.port(), goodbye.clone());
    let (endpoint, models) = three();
    let url = format!("rtsp://127.0.0.1:{}/live", network.port());
    let run = watch(&url, &endpoint, &models, &["--once"]).finish(LIMIT).expect_code(0);
    let Goodbye { said, reports_since, .. } = *goodbye.lock().unwrap();
    assert!(said && reports_since > 0, "said {said}, {reports_since} reports after it");
    let events = run.events();
    books_are_exact(&events);
    assert_eq!(run.events_of("ah.source.lost.v1").len(), 0);
    let ended = ended(&events);
    let secs = ended["span"]["end_secs"].as_f64().unwrap();
    assert!((32.0..33.5).contains(&secs), "{secs}");
    // What has no sound is not judged, and is said to be not judged.
    let lost = ended["coverage"]["lost"]["missing_media_secs"].as_f64().unwrap();
    assert!((13.0..28.5).contains(&lost), "{ended}");
}

#[test]
fn a_killed_camera_is_lost_then_restored_and_no_window_spans_the_gap() {
    let recipe = Recipe::new(3600.0);
    let mut camera = Camera::start(Show::live(&recipe));
    let (endpoint, models) = three();
    let mut run = watch(&camera.url("/live"), &endpoint, &models, &[]);
    run.wait_for_type(LIMIT, "ah.window.judged.v1");
    camera.kill();
    let lost = run.wait_for_type(LIMIT, "ah.source.lost.v1");
    assert_eq!(lost["data"]["state"], "retrying");
    std::thread::sleep(Duration::from_secs(10)); // the outage itself
    camera.restart();
    run.wait_for_type(LIMIT, "ah.source.restored.v1");
    run.wait_for(LIMIT, "a window after the gap", |e| {
        e["type"] == "ah.window.judged.v1" && e["data"]["continuity"] == 1
    });
    run.signal("INT");
    let run = run.finish(LIMIT).expect_code(0);
    let events = run.events();
    books_are_exact(&events);
    let outage = ended(&events)["coverage"]["lost"]["outage_secs"].as_f64().unwrap();
    assert!((9.0..25.0).contains(&outage), "{outage}");
    for seen in endpoint.requests() {
        // Source time goes on while the camera is dead: a window that spans the gap would hold pictures from both sides.
        let frames = seen.clip.unwrap().frames();
        assert!(frames.last().unwrap() - frames[0] <= 130, "{frames:?}");
    }
}

#[test]
fn a_camera_that_falls_silent_is_noticed_within_four_seconds() {
    let camera = Camera::start(Show::live(&Recipe::new(3600.0)));
    let network = Proxy::to(camera.port());
    let url = format!("rtsp://127.0.0.1:{}/live", network.port());
    let (endpoint, models) = three();
    let mut run = watch(&url, &endpoint, &models, &[]);
    run.wait_for_type(LIMIT, "ah.window.judged.v1");
    network.set(proxy::Mode::Stall);
    let began = std::time::Instant::now();
    let lost = run.wait_for_type(LIMIT, "ah.source.lost.v1");
    assert!(lost["data"]["detail"].as_str().unwrap().contains("no frame for"), "{lost}");
    let noticed = began.elapsed();
    assert!(noticed > Duration::from_millis(2500) && noticed < Duration::from_secs(5), "{noticed:?}");
    network.set(proxy::Mode::Pass);
    run.wait_for_type(LIMIT, "ah.source.restored.v1");
    run.signal("TERM");
    run.finish(LIMIT).expect_code(0);
}

#[test]
fn a_camera_that_was_never_there_is_said_at_once_and_retried() {
    let (endpoint, models) = three();
    let mut run = watch("rtsp://127.0.0.1:9/none", &endpoint, &models, &[]);
    let lost = run.wait_for_type(Duration::from_secs(10), "ah.source.lost.v1");
    assert!(lost["data"]["session"].is_null());
    run.signal("INT");
    run.finish(Duration::from_secs(15)).expect_code(0);

    let run = watch("rtsp://127.0.0.1:9/none", &endpoint, &models, &["--once"]).finish(LIMIT).expect_code(1);
    assert!(run.stderr.contains("never reached"), "{}", run.stderr);
}

#[test]
fn refused_credentials_and_unknown_streams_are_told_without_the_password() {
    let recipe = Recipe::new(10.0);
    let camera = Camera::start_with(vec![("/live".into(), Show::file(&recipe))], Some(("user", "right")));
    let (endpoint, models) = three();
    let secret = "s3cr%40t:word";
    let dir = tempfile::tempdir().unwrap();
    let panel_file = panel(dir.path(), &endpoint.base_url(), &models, "");
    let url = camera.url_as(&format!("user:{secret}@"), "/live");
    // GStreamer's own log too, at the level of what happens.
    let mut run = ahwatch(["watch", &url, "--panel", panel_file.to_str().unwrap(), "--log", "trace"])
        .env("GST_DEBUG", "4")
        .start();
    let lost = run.wait_for_type(LIMIT, "ah.source.lost.v1");
    assert_eq!(lost["data"]["state"], "auth_failed");
    run.signal("INT");
    let run = run.finish(LIMIT).expect_code(0);
    for text in [&run.stdout, &run.stderr] {
        assert!(!text.contains("s3cr") && !text.contains("right@"), "{text}");
    }

    let live =
        watch(&camera.url_as("user:right@", "/live"), &endpoint, &models, &["--once"]).finish(LIMIT).expect_code(0);
    assert!(!labels(&live.events()).is_empty());
    assert!(!live.stdout.contains("right@") && !live.stderr.contains("right@"));

    let run =
        watch(&camera.url_as("user:right@", "/nowhere"), &endpoint, &models, &["--once"]).finish(LIMIT).expect_code(1);
    assert!(run.stderr.contains("404"), "{}", run.stderr);
}

#[test]
fn a_camera_that_accepts_and_says_nothing_is_given_up_and_retried() {
    let network = Proxy::silent();
    let (endpoint, models) = three();
    let url = format!("rtsp://127.0.0.1:{}/live", network.port());
    let mut run = watch(&url, &endpoint, &models, &[]);
    run.wait_for_type(Duration::from_secs(20), "ah.source.lost.v1");
    run.wait_until(Duration::from_secs(30), "another try", |_| (network.connections() > 1).then_some(()));
    run.signal("INT");
    run.finish(Duration::from_secs(15)).expect_code(0);
}

#[test]
fn two_sources_side_by_side_are_two_sessions() {
    let camera = Camera::start_with(
        vec![
            ("/one".into(), Show::file(&Recipe::new(11.0).plant(&[0]))),
            ("/two".into(), Show::file(&Recipe::new(11.0).plant(&[1]))),
        ],
        None,
    );
    let (endpoint, models) = three();
    let (one, two) = (camera.url("/one"), camera.url("/two"));
    let run = watch(&one, &endpoint, &models, &[&two, "--once"]).finish(LIMIT).expect_code(0);
    let events = run.events();
    let mut sessions: Vec<&Value> =
        events.iter().filter(|e| e["type"] == "ah.session.ended.v1").map(|e| &e["subject"]).collect();
    sessions.dedup();
    assert_eq!(sessions.len(), 2);
    for session in sessions {
        let own: Vec<Value> = events.iter().filter(|e| e["subject"] == *session).cloned().collect();
        assert_eq!(labels(&own).iter().filter(|(_, label)| label == "present").count(), 1);
        books_are_exact(&own);
    }
}

#[test]
fn an_interrupt_lets_what_is_under_way_finish_and_a_second_one_ends_at_once() {
    let camera = Camera::start(Show::live(&Recipe::new(3600.0)));
    let endpoint = Endpoint::start([("v1", Judge::default())]);
    let mut run = watch(&camera.url("/live"), &endpoint, &["v1"], &[]);
    run.wait_for_type(LIMIT, "ah.window.judged.v1");
    endpoint.set(crate::kit::endpoint::Mode::Slow);
    let seen = endpoint.requests().len();
    endpoint.wait_for(LIMIT, |requests| requests.len() > seen);
    let asked = std::time::Instant::now();
    run.signal("INT");
    let finished = run.finish(Duration::from_secs(20)).expect_code(0);
    // The request under way got its ten seconds, and no more.
    assert!((9.0..13.0).contains(&asked.elapsed().as_secs_f64()), "{:?}", asked.elapsed());
    let ended = ended(&finished.events()).clone();
    assert!(ended["coverage"]["dropped"]["shutdown_secs"].as_f64().unwrap() >= 4.9, "{ended:#}");
    books_are_exact(&finished.events());

    let run = watch(&camera.url("/live"), &endpoint, &["v1"], &[]);
    let seen = endpoint.requests().len();
    endpoint.wait_for(LIMIT, |requests| requests.len() > seen);
    run.signal("INT");
    std::thread::sleep(Duration::from_millis(200));
    let asked = std::time::Instant::now();
    run.signal("INT");
    run.finish(Duration::from_secs(5));
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}

#[test]
fn linspace_here_is_what_the_issue_of_frames_says() {
    assert_eq!(linspace(0, 150, 10), [0, 17, 33, 50, 66, 83, 99, 116, 132, 149]);
}

#[test]
fn a_pipeline_without_a_branch_for_sound_watches_the_pictures_of_a_camera_that_has_both() {
    let camera = Camera::start(Show::file(&Recipe::new(11.0)));
    let shipped = include_str!("../../pipelines/rtsp.gst");
    let dir = tempfile::tempdir().unwrap();
    let pipeline = dir.path().join("mine.gst");
    std::fs::write(&pipeline, shipped.split("[audio]").next().unwrap()).unwrap();
    let (endpoint, models) = three();
    let more = ["--once", "--pipeline", pipeline.to_str().unwrap()];
    let run = watch(&camera.url("/live"), &endpoint, &models, &more).finish(LIMIT);
    let lost = run.events_of("ah.window.lost.v1");
    let windows = lost.iter().filter(|e| e["data"]["span"]["end_secs"].as_f64() < Some(10.5));
    // The judges want sound as well: the windows are there, and theirs to abstain on.
    let reasons: Vec<_> = windows.map(|e| e["data"]["reason"].clone()).collect();
    assert_eq!(reasons, ["all_abstained", "all_abstained"]);
}
