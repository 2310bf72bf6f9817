//! Networks that lose, reorder, slow and spoil: case 5.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::after::After;
use super::cameras::{JUDGED, Scene, at, guarded, source, steady};
use super::case::Case;
use super::secrets::Secrets;
use crate::kit::media::Recipe;
use crate::kit::proxy::{Mode, Proxy};
use crate::kit::rtsp::Show;
use crate::kit::udp::{Faults, Passed, Udp};
use crate::watch_file::LIMIT;

/// Payload type of the camera's sound.
const SOUND: u8 = 97;
const NONE: Faults = Faults { loss: 0.0, reorder: 0.0, duplicate: 0.0, corrupt: 0.0 };

/// The share of a camera's sound in packets of which something holds: each packet holds as much as its time says.
fn sound_of(passed: &[Passed], holds: impl Fn(&Passed) -> bool) -> f64 {
    let sound: Vec<&Passed> = passed.iter().filter(|packet| packet.kind == SOUND).collect();
    let length = |pair: &[&Passed]| f64::from(pair[1].time.wrapping_sub(pair[0].time));
    let lost: f64 = sound.windows(2).filter(|pair| holds(pair[0])).map(length).sum();
    lost / sound.windows(2).map(length).sum::<f64>()
}

/// The windows of a source, whatever became of them.
fn windows(events: &[Value], name: &str) -> Vec<Value> {
    let of = |event: &&Value| {
        let kind = event["type"].as_str().unwrap_or_default();
        event["source"] == format!("/ahwatch/{name}")
            && kind.starts_with("ah.window.")
            && !event["data"]["window"].is_null()
    };
    events.iter().filter(of).cloned().collect()
}

#[test]
#[ignore = "make faults"]
fn case_5_loss_and_reordering_over_udp() {
    let mut case = Case::begin("5", "RTP over UDP: packets lost, reordered, doubled and spoilt");
    let secrets = Secrets::new();
    let (password, calm) = (secrets.take(), steady());
    let camera = guarded(&password, Show::live(&Recipe::new(3600.0).size(160, 120).fps((10, 1))));
    let dir = tempfile::tempdir().unwrap();
    let pipeline = dir.path().join("udp.gst");
    let shipped = include_str!("../../../pipelines/rtsp.gst");
    assert!(shipped.contains("protocols=tcp"));
    std::fs::write(&pipeline, shipped.replace("protocols=tcp", "protocols=udp").replace("latency=200", "latency=1000"))
        .unwrap();
    let kinds = [
        ("none", NONE),
        ("loss-1", Faults { loss: 0.01, ..NONE }),
        ("loss-5", Faults { loss: 0.05, ..NONE }),
        ("loss-20", Faults { loss: 0.2, ..NONE }),
        ("reordered", Faults { reorder: 0.1, duplicate: 0.1, ..NONE }),
        ("spoilt", Faults { corrupt: 0.05, ..NONE }),
    ];
    let networks = kinds.map(|(name, faults)| {
        let udp = Udp::new(faults);
        (name, Proxy::meddled(camera.port(), udp.clone()), udp)
    });
    let more = format!("pipeline = \"{}\"", pipeline.display());
    let tables = networks.iter().map(|(name, network, _)| source(name, &at(network.port(), &password), &more));
    let sources: String = tables.chain([source("calm", &calm.url("/live"), "")]).collect();
    let mut scene = Scene::start(&sources, |run| run);
    for (name, ..) in &networks {
        let address = format!("/ahwatch/{name}");
        scene.run.wait_until(LIMIT, "five windows", |run| {
            let told = |line: &&str| {
                line.contains("\"ah.window.") && line.contains(&address) && !line.contains("\"window\":null")
            };
            (run.stdout().lines().filter(told).count() >= 5).then_some(())
        });
    }
    let passed = networks.each_ref().map(|(.., udp)| udp.lock().unwrap().passed());
    let (run, endpoint, held) = scene.end();
    let events = run.events();
    for ((name, ..), passed) in networks.iter().zip(&passed) {
        let own = windows(&events, name);
        let secs = |event: &Value| {
            let span = &event["data"]["span"];
            span["end_secs"].as_f64().unwrap() - span["start_secs"].as_f64().unwrap()
        };
        let length: f64 = own.iter().map(secs).sum();
        // A window that lacks most of a stream is lost with all of it; no such window is here but at 20 %.
        let missing: f64 =
            own.iter().map(|e| e["data"]["quality"]["sound_missing_secs"].as_f64().unwrap_or_else(|| secs(e))).sum();
        // Of a spoilt packet the decoder makes something or nothing.
        let (told, truth) = (missing / length, sound_of(passed, |packet| packet.lost));
        let spoilt = sound_of(passed, |packet| packet.spoilt);
        let lost = passed.iter().filter(|packet| packet.lost).count();
        case.row(
            &format!("{name}: sound told as missing"),
            "within 2 % of the truth; what is spoilt may be missing or not",
            &format!(
                "{:.1} %, truly {:.1} % ({lost} of {} packets lost), and spoilt {:.1} %",
                told * 100.0,
                truth.abs() * 100.0,
                passed.len(),
                spoilt.abs() * 100.0
            ),
            (truth - 0.02..=truth + spoilt + 0.02).contains(&told),
        );
        let whole: Vec<u64> = own.iter().filter_map(|event| event["data"]["window"]["index"].as_u64()).collect();
        let continuities: BTreeSet<u64> =
            own.iter().filter_map(|event| event["data"]["window"]["continuity"].as_u64()).collect();
        let judged = own.iter().filter(|event| event["type"] == JUDGED).count();
        case.row(
            &format!("{name}: its time"),
            "one continuity, all windows told",
            &format!("{} windows, {judged} judged, {} continuities", whole.len(), continuities.len()),
            continuities.len() == 1 && (0..whole.len() as u64).all(|n| whole.contains(&n)),
        );
    }
    After { whole: &["calm"], memory: Some((held, 500)), ..After::watch(&run, &[&endpoint]) }.check(&mut case);
    case.end();
}

#[test]
#[ignore = "make faults"]
fn case_5_a_slow_and_a_spoilt_connection() {
    let mut case = Case::begin("5", "RTSP over TCP: 400 ms late, in slices of 7 bytes, on 64 kB/s; bits turned");
    let secrets = Secrets::new();
    let (password, calm) = (secrets.take(), steady());
    let camera = guarded(&password, Show::live(&Recipe::new(3600.0).size(160, 120).fps((10, 1))));
    let modes = [
        ("late", Mode::Latency(Duration::from_millis(400))),
        ("sliced", Mode::Slices(7)),
        ("narrow", Mode::Bandwidth(64_000)),
        ("turned", Mode::Corrupt(20_000)),
    ];
    let networks = modes.map(|(name, mode)| (name, mode, Proxy::to(camera.port())));
    let tables = networks.iter().map(|(name, _, network)| source(name, &at(network.port(), &password), ""));
    let sources: String = tables.chain([source("calm", &calm.url("/live"), "")]).collect();
    let mut scene = Scene::start(&sources, |run| run);
    for (name, mode, network) in &networks {
        scene.wait_for("ah.session.started.v1", name, |_| true);
        network.set(*mode);
    }
    for (name, mode, _) in &networks {
        if matches!(mode, Mode::Corrupt(_)) {
            continue;
        }
        let after = scene.wait_for(JUDGED, name, |event| event["data"]["window"]["index"] == 3);
        let quality = &after["data"]["quality"];
        let (seen, expected) =
            (quality["pictures_seen"].as_i64().unwrap(), quality["pictures_expected"].as_i64().unwrap());
        let silent = quality["sound_missing_secs"].as_f64().unwrap();
        case.row(
            name,
            "the fourth window is whole",
            &format!("{seen} of {expected} pictures, {silent:.3} s of sound missing"),
            seen >= expected && silent < 0.01,
        );
    }
    // Framing is lost where a length is spoilt: then it is a lost camera, which comes back.
    networks[3].2.set(Mode::Pass);
    let last = |events: &[Value]| windows(events, "turned").len();
    let so_far = last(&scene.run.events());
    scene.run.wait_until(LIMIT, "windows of the spoilt one", |run| (last(&run.events()) >= so_far + 2).then_some(()));
    let (run, endpoint, held) = scene.end();
    let events = run.events();
    let told = windows(&events, "turned").len();
    case.row(
        "turned",
        "goes on when bits are right again",
        &format!("{told} windows, 2 of them after"),
        told >= so_far + 2,
    );
    After { whole: &["calm"], memory: Some((held, 400)), ..After::watch(&run, &[&endpoint]) }.check(&mut case);
    case.end();
}
