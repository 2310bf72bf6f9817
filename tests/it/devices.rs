//! `ahwatch watch` on devices of this machine: real sound servers and cameras, the test picture, and what is not there.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::books::books_are_exact;
use crate::kit::behaviour::Needs;
use crate::kit::endpoint::{Endpoint, Judge, Seen};
use crate::kit::media::Recipe;
use crate::kit::pipewire::Desktop;
use crate::kit::pulse::SoundServer;
use crate::kit::run::{Run, Running, ahwatch};
use crate::watch_file::{LIMIT, ended, labels, panel, three};

/// A judge of sound that says Yes to what comes from these windows of the source.
fn listener(windows: &[u64]) -> Endpoint {
    Endpoint::start([("v1", Judge { needs: Needs::Sound, ..Judge::windows(windows) })])
}

/// `watch` with a judge that takes sound only.
fn watch(sources: &[&str], endpoint: &Endpoint, more: &[&str]) -> Run {
    let dir = tempfile::tempdir().unwrap().keep();
    let panel = panel(&dir, &endpoint.base_url(), &["v1"], "accepts = [\"audio\"]");
    ahwatch(["watch", "--panel", panel.to_str().unwrap()].iter().chain(sources).chain(more))
}

/// Requests whose clip is a whole window; the last of a source, which was stopped, may be a partial one.
fn whole(endpoint: &Endpoint) -> Vec<Seen> {
    let mut seen = endpoint.requests();
    seen.retain(|seen| seen.clip.as_ref().unwrap().samples() == 80_000);
    seen
}

/// Source seconds of a clip's middle.
fn middle(seen: &Seen) -> f64 {
    seen.clip.as_ref().unwrap().sound_middle_secs().unwrap_or(f64::NAN)
}

/// Every window begins where the one before it ended. On a loaded machine the sound server, which is a peer in real time, may
/// leave out a block or two on its way; nothing more.
fn in_step(middles: &[f64]) -> bool {
    middles.windows(2).all(|pair| (pair[1] - pair[0] - 5.0).abs() < 0.25)
}

fn of_source(events: &[Value], name: &str) -> Vec<Value> {
    events.iter().filter(|e| e["data"]["source"] == name).cloned().collect()
}

#[test]
fn microphones_of_any_rate_and_channels_are_judged_without_a_hole() {
    let rates = [("odd", 8_000, 1), ("usual", 48_000, 2), ("many", 192_000, 6)];
    let mut server = SoundServer::start(&rates);
    for (n, (sink, ..)) in (0..).zip(rates) {
        server.play(sink, n * 1000, 120);
    }
    // Each hears a thousand seconds of its own, of which every second window is planted.
    let planted: Vec<u64> = (0..600).filter(|window| window % 2 == 1).collect();
    let endpoint = listener(&planted);
    let run = watch(&["mic:odd.monitor", "mic:usual.monitor", "mic:pulse:many.monitor"], &endpoint, &[]);
    let mut run = server.hears(run).start();
    run.wait_until(LIMIT, "three windows of each", |run| {
        let events = run.events();
        ["mic", "mic-2", "mic-3"].iter().all(|name| labels(&of_source(&events, name)).len() >= 3).then_some(())
    });
    run.signal("TERM");
    let run = run.finish(LIMIT).expect_code(0);

    let mut heard: Vec<f64> = whole(&endpoint).iter().map(middle).collect();
    heard.sort_by(f64::total_cmp);
    for source in [0.0, 1000.0, 2000.0] {
        let own: Vec<f64> = heard.iter().copied().filter(|secs| (source..source + 1000.0).contains(secs)).collect();
        assert!(own.len() >= 3, "{heard:?}");
        assert!(in_step(&own), "{own:?}");
    }
    let odd = |secs: f64| secs.rem_euclid(10.0) >= 5.0;
    // A partial one may be either.
    let partial = endpoint.requests().len() - heard.len();
    let yes = heard.iter().filter(|secs| odd(**secs)).count();
    let events = run.events();
    let present = labels(&events).iter().filter(|(_, label)| label == "present").count();
    assert!((yes..=yes + partial).contains(&present), "{present} of {yes} and {partial}");
    for name in ["mic", "mic-2", "mic-3"] {
        let own = of_source(&events, name);
        books_are_exact(&own);
        let lost = &ended(&own)["coverage"]["lost"];
        assert!(lost["total_secs"].as_f64().unwrap() < 1e-9, "{lost:#}");
    }
}

#[test]
fn a_sound_server_that_dies_is_a_lost_source_and_comes_back() {
    let mut server = SoundServer::start(&[("desk", 48_000, 2)]);
    server.play("desk", 0, 300);
    let endpoint = listener(&[]);
    let mut run = server.hears(watch(&["mic:"], &endpoint, &[])).start();
    run.wait_for_type(LIMIT, "ah.window.judged.v1");
    server.kill();
    let lost = run.wait_for_type(Duration::from_secs(10), "ah.source.lost.v1");
    assert_eq!(lost["data"]["state"], "retrying");
    assert!(lost["data"]["detail"].as_str().unwrap().contains("microphone"), "{lost}");
    std::thread::sleep(Duration::from_secs(3)); // the outage itself
    server.restart();
    server.play("desk", 1000, 300);
    run.wait_for_type(LIMIT, "ah.source.restored.v1");
    run.wait_for(LIMIT, "a window after it", |event| {
        event["type"] == "ah.window.judged.v1" && event["data"]["continuity"].as_u64() > Some(0)
    });
    run.signal("TERM");
    let events = run.finish(LIMIT).expect_code(0).events();
    books_are_exact(&events);
    assert!(ended(&events)["coverage"]["lost"]["outage_secs"].as_f64().unwrap() > 3.0);
    for seen in endpoint.requests() {
        let anchors = &seen.clip.as_ref().unwrap().heard.anchors;
        let before = anchors.iter().filter(|anchor| anchor.source_secs() < 1000.0).count();
        assert!(before == 0 || before == anchors.len(), "a window spans the gap");
    }
}

#[test]
fn what_is_not_there_is_told_in_one_line_and_retried() {
    let server = SoundServer::start(&[("desk", 48_000, 2)]);
    let endpoint = listener(&[]);
    let mut run = server.hears(watch(&["mic:nosuch", "webcam:/dev/video99"], &endpoint, &["--no-audio"])).start();
    for (name, words) in [("mic", "microphone is not there"), ("webcam", "camera is not there")] {
        let lost = run.wait_for(LIMIT, name, |e| e["type"] == "ah.source.lost.v1" && e["data"]["source"] == name);
        let detail = lost["data"]["detail"].as_str().unwrap();
        assert!(detail.contains(words) && detail.contains("--list-devices"), "{detail}");
    }
    run.signal("INT");
    run.finish(LIMIT).expect_code(0);

    let once = server.hears(watch(&["mic:nosuch", "--once"], &endpoint, &[])).finish(LIMIT).expect_code(1);
    assert!(once.stderr.contains("mic:nosuch: was never reached"), "{}", once.stderr);
    // A camera whose picture is there but whose microphone is not says which of the two it is.
    let once = server.hears(watch(&["test:", "--audio", "nosuch", "--once"], &endpoint, &[])).finish(LIMIT);
    assert!(once.expect_code(1).stderr.contains("the microphone is not there"));
    let nowhere = watch(&["mic:", "--once"], &endpoint, &[]).env("PULSE_SERVER", "unix:/nowhere/native");
    let says = nowhere.finish(LIMIT).expect_code(1).stderr;
    assert!(says.contains("sound server does not answer"), "{says}");
}

/// `watch` on the default microphone of this server, and its first loss.
fn first_loss(server: &SoundServer, endpoint: &Endpoint) -> (Running, String) {
    let mut run = server.hears(watch(&["mic:"], endpoint, &[])).start();
    let lost = run.wait_for_type(LIMIT, "ah.source.lost.v1");
    (run, lost["data"]["detail"].as_str().unwrap().to_owned())
}

#[test]
fn a_sound_server_that_accepts_and_never_answers_is_told_and_opened_once_it_does() {
    let server = SoundServer::start(&[("desk", 48_000, 2)]);
    server.freeze(true);
    let endpoint = listener(&[]);
    let (mut run, detail) = first_loss(&server, &endpoint);
    assert!(detail.contains("does not answer"), "{detail}");
    server.freeze(false);
    run.wait_for_type(LIMIT, "ah.source.restored.v1");
    run.wait_for_type(LIMIT, "ah.window.judged.v1");
    run.signal("INT");
    books_are_exact(&run.finish(LIMIT).expect_code(0).events());
}

#[test]
fn a_sound_server_that_freezes_is_lost_and_comes_back_when_it_thaws() {
    let mut server = SoundServer::start(&[("desk", 48_000, 2)]);
    server.play("desk", 0, 300);
    let endpoint = listener(&[]);
    let mut run = server.hears(watch(&["mic:"], &endpoint, &[])).start();
    run.wait_for_type(LIMIT, "ah.window.judged.v1");
    server.freeze(true);
    let lost = run.wait_for_type(Duration::from_secs(10), "ah.source.lost.v1");
    assert!(lost["data"]["detail"].as_str().unwrap().contains("no frame for"), "{lost}");
    server.freeze(false);
    run.wait_for_type(LIMIT, "ah.source.restored.v1");
    run.wait_for(LIMIT, "a window after it", |event| {
        event["type"] == "ah.window.judged.v1" && event["data"]["continuity"].as_u64() > Some(0)
    });
    run.signal("INT");
    books_are_exact(&run.finish(LIMIT).expect_code(0).events());
}

#[test]
fn a_frozen_sound_server_does_not_keep_the_program_from_ending() {
    let server = SoundServer::start(&[("desk", 48_000, 2)]);
    server.freeze(true);
    let endpoint = listener(&[]);
    let mut run = server.hears(watch(&["mic:"], &endpoint, &[])).start();
    run.wait_until(LIMIT, "its introduction", |run| run.stderr().contains("judge v1").then_some(()));
    run.signal("INT");
    let done = run.finish(Duration::from_secs(15)).expect_code(0);
    server.freeze(false);
    assert!(done.took < Duration::from_secs(8), "{:?}", done.took);
}

#[test]
fn what_hangs_up_while_it_is_opened_is_told_in_one_line_however_often_it_is_tried() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("native");
    let listening = UnixListener::bind(&socket).unwrap();
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    // Ends with the test: the listener is shut by its last try.
    std::thread::spawn(move || {
        listening.incoming().take(50).for_each(|_| {
            counted.fetch_add(1, Ordering::SeqCst);
        });
    });
    let endpoint = listener(&[]);
    let run = watch(&["mic:"], &endpoint, &[]).env("PULSE_SERVER", format!("unix:{}", socket.display()));
    let mut run = run.start();
    run.wait_until(LIMIT, "three tries", |_| (tries.load(Ordering::SeqCst) >= 3).then_some(()));
    run.signal("INT");
    let run = run.finish(LIMIT).expect_code(0);
    assert_eq!(run.events_of("ah.source.lost.v1").len(), 1);
    let said: Vec<_> = run.stderr.lines().filter(|line| line.contains("source lost")).collect();
    assert!(said.len() == 1 && said[0].contains("sound server does not answer"), "{}", run.stderr);
}

#[test]
fn a_microphone_that_is_suspended_is_lost_and_comes_back() {
    let mut server = SoundServer::start(&[("desk", 48_000, 2)]);
    server.play("desk", 0, 300);
    let endpoint = listener(&[]);
    let mut run = server.hears(watch(&["mic:"], &endpoint, &[])).start();
    run.wait_for_type(LIMIT, "ah.window.judged.v1");
    server.tell(&["suspend-sink", "desk", "1"]);
    run.wait_for_type(Duration::from_secs(10), "ah.source.lost.v1");
    server.tell(&["suspend-sink", "desk", "0"]);
    run.wait_for_type(LIMIT, "ah.source.restored.v1");
    run.signal("INT");
    books_are_exact(&run.finish(LIMIT).expect_code(0).events());
}

#[test]
fn a_sound_card_that_is_not_there_and_two_sources_of_one_name_are_told() {
    let endpoint = listener(&[]);
    let says = watch(&["mic:hw:99,0", "--once"], &endpoint, &[]).finish(LIMIT).expect_code(1).stderr;
    assert!(says.contains("microphone") && says.contains("not there"), "{says}");

    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("two.toml");
    let source = "[[source]]\nname = \"desk\"\nurl = \"test:\"\n";
    std::fs::write(&config, source.repeat(2)).unwrap();
    let says = ahwatch(["watch", "--config", config.to_str().unwrap()]).finish(LIMIT).expect_code(2).stderr;
    assert!(says.contains("two.toml") && says.contains("another source has this name"), "{says}");
}

#[test]
fn the_test_source_needs_no_device_and_is_judged_like_a_camera() {
    let (endpoint, models) = three();
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &models, "");
    let mut run = ahwatch(["watch", "test:", "--panel", panel.to_str().unwrap()]).start();
    run.wait_until(LIMIT, "two windows", |run| (labels(&run.events()).len() >= 2).then_some(()));
    run.signal("TERM");
    let events = run.finish(LIMIT).expect_code(0).events();
    assert_eq!(labels(&events)[..2], [(0.0, "absent".to_owned()), (5.0, "absent".to_owned())]);
    books_are_exact(&events);
    let whole = whole(&endpoint);
    assert!(whole.len() >= 6, "{} of three judges", whole.len());
    for seen in whole {
        let clip = seen.clip.unwrap();
        let sound = clip.wav.unwrap().samples;
        assert_eq!((clip.pictures.len(), sound.len()), (10, 80_000));
        assert!(sound.iter().any(|value| value.abs() > 1000), "it is heard");
    }
}

#[test]
fn a_test_picture_is_heard_through_a_microphone() {
    let mut server = SoundServer::start(&[("desk", 44_100, 2)]);
    server.play("desk", 0, 120);
    let (endpoint, models) = three();
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &models, "");
    let args = ["watch", "test:", "--audio", "desk.monitor", "--panel", panel.to_str().unwrap()];
    let mut run = server.hears(ahwatch(args)).start();
    run.wait_until(LIMIT, "two windows", |run| (labels(&run.events()).len() >= 2).then_some(()));
    run.signal("TERM");
    let events = run.finish(LIMIT).expect_code(0).events();
    books_are_exact(&events);
    let mut heard: Vec<f64> = whole(&endpoint).iter().filter(|seen| seen.model == "v1").map(middle).collect();
    heard.sort_by(f64::total_cmp);
    assert!(in_step(&heard), "{heard:?}");
    assert!(whole(&endpoint).iter().all(|seen| seen.clip.as_ref().unwrap().pictures.len() == 10));
}

#[test]
fn devices_are_listed_by_names_that_open_them() {
    let server = SoundServer::start(&[("desk", 48_000, 2)]);
    let list = |more: &[&str]| {
        let run = server.hears(ahwatch(["watch", "--list-devices"].iter().chain(more)));
        run.finish(LIMIT).expect_code(0).stdout
    };
    let table = list(&[]);
    assert!(table.contains("microphones\n  mic:desk.monitor  "), "{table}");
    assert!(table.contains("cameras"), "{table}");
    let lines: Vec<Value> = list(&["--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let desk = lines.iter().find(|line| line["source"] == "mic:desk.monitor").expect("the microphone");
    assert_eq!((&desk["kind"], &desk["monitor"]), (&"microphone".into(), &true.into()));

    let endpoint = listener(&[]);
    let mut run = server.hears(watch(&[desk["source"].as_str().unwrap()], &endpoint, &[])).start();
    run.wait_for_type(LIMIT, "ah.session.started.v1");
    run.signal("INT");
    run.finish(LIMIT);
}

#[test]
fn a_webcam_that_offers_sixty_pictures_a_second_only_is_watched() {
    let recording = Recipe::new(60.0).fps((60, 1)).without_sound().make();
    let mut desktop = Desktop::start();
    desktop.plug("fast-camera", &recording);
    let endpoint = Endpoint::start([("v1", Judge { needs: Needs::Pictures, ..Judge::default() })]);
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &["v1"], "accepts = [\"video\"]");
    let args = ["watch", "webcam:pipewire:fast-camera", "--no-audio", "--panel", panel.to_str().unwrap()];
    let mut run = desktop.sees(ahwatch(args)).start();
    run.wait_until(LIMIT, "two windows", |run| (labels(&run.events()).len() >= 2).then_some(()));
    run.signal("INT");
    books_are_exact(&run.finish(LIMIT).expect_code(0).events());
    let frames = endpoint.requests()[1].clip.as_ref().unwrap().frames();
    assert!(frames.len() == 10 && (250..=320).contains(&(frames[9] - frames[0])), "{frames:?}");
}

#[test]
fn a_webcam_that_is_unplugged_is_lost_and_comes_back() {
    let first = Recipe::new(120.0).without_sound().plant(&[0, 1, 2, 3]).make();
    let second = Recipe::new(120.0).without_sound().plant(&(0..24).collect::<Vec<_>>()).make();
    let mut desktop = Desktop::start();
    desktop.plug("desk-camera", &first);
    let endpoint = Endpoint::start([("v1", Judge { needs: Needs::Pictures, ..Judge::default() })]);
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &["v1"], "accepts = [\"video\"]");

    let list = desktop.sees(ahwatch(["watch", "--list-devices"])).finish(LIMIT).expect_code(0).stdout;
    assert!(list.contains("cameras\n  webcam:pipewire:desk-camera"), "{list}");
    let args = ["watch", "webcam:pipewire:desk-camera", "--no-audio", "--panel", panel.to_str().unwrap()];
    let mut run = desktop.sees(ahwatch(args)).start();
    run.wait_until(LIMIT, "two windows", |run| (labels(&run.events()).len() >= 2).then_some(()));
    desktop.unplug();
    run.wait_for_type(Duration::from_secs(10), "ah.source.lost.v1");
    desktop.plug("desk-camera", &second);
    run.wait_for_type(LIMIT, "ah.source.restored.v1");
    run.wait_for(LIMIT, "a window after it", |event| {
        event["type"] == "ah.window.judged.v1" && event["data"]["continuity"].as_u64() > Some(0)
    });
    run.signal("TERM");
    let events = run.finish(LIMIT).expect_code(0).events();
    books_are_exact(&events);
    assert!(labels(&events).iter().any(|(_, label)| label == "present"), "{:?}", labels(&events));
    for seen in endpoint.requests() {
        // Pictures count from when they come, so on a loaded machine some are a few from where training would take them.
        let frames = seen.clip.unwrap().frames();
        assert!(frames.is_sorted_by(|a, b| a < b), "{frames:?}");
        assert!(frames.len() < 10 || (100..=150).contains(&(frames[9] - frames[0])), "{frames:?}");
    }
}
