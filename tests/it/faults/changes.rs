//! Case 7: the media changes its shape in mid-stream.

use std::path::PathBuf;
use std::time::Duration;

use ahwatch::source::{Codec, Pushed, Taken};
use ahwatch::time::MediaTime;
use ahwatch::window::Stream;

use super::after::After;
use super::case::Case;
use crate::kit::behaviour::Needs;
use crate::kit::encoded::{Coding, units};
use crate::kit::endpoint::{Endpoint, Judge};
use crate::kit::media::{Container, Recipe, store};
use crate::kit::rtsp::{Camera, Show};
use crate::kit::run::ahwatch;
use crate::kit::station::Station;
use crate::watch_file::{LIMIT, labels, panel};

/// Two recordings end to end, as a recorder writes that goes on in one file.
fn spliced(name: &str, before: &Recipe, after: &Recipe) -> PathBuf {
    let mut bytes = Vec::new();
    for recipe in [before, after] {
        bytes.extend(std::fs::read(recipe.clone().container(Container::Ts).make()).unwrap());
    }
    let path = store().join(format!("{name}-{}.ts", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Watches four windows' worth, and counts those that were judged.
fn judged(source: &str, more: &[&str], what: &str, case: &mut Case) {
    let endpoint = Endpoint::start([("v1", Judge { needs: Needs::Pictures, ..Judge::default() })]);
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &["v1"], "accepts = [\"video\"]");
    let args = ["watch", source, "--panel", panel.to_str().unwrap()];
    let run = ahwatch(args.iter().chain(more)).finish(LIMIT);
    let windows = labels(&run.events()).len();
    case.row(what, "at least 3 of 4 windows judged", &format!("{windows}"), windows >= 3);
    if windows < 3 {
        println!("{}", run.stderr);
    }
    let endpoints = [&endpoint];
    After::watch(&run, &endpoints).check(case);
}

#[test]
#[ignore = "a case of the laboratory: make faults"]
fn case_7_recordings_that_change() {
    let mut case = Case::begin("7", "size, codec, sample rate in mid-recording");
    let usual = Recipe::new(10.0).key_interval(25);
    let h265 = "x265enc speed-preset=ultrafast tune=zerolatency key-int-max=25 ! h265parse";
    let rate = "audioresample ! audio/x-raw,rate=48000,channels=2 ! avenc_aac bitrate=64000 ! aacparse";
    for (what, after) in [
        ("picture size", usual.clone().size(640, 480)),
        ("sample rate and channels", usual.clone().sound_encoded_by(rate)),
        ("picture codec, H.264 to H.265", usual.clone().encoded_by(h265)),
    ] {
        let path = spliced(&what.replace([' ', ',', '.'], ""), &usual, &after);
        judged(path.to_str().unwrap(), &[], what, &mut case);
        std::fs::remove_file(path).unwrap();
    }
    case.end();
}

#[test]
#[ignore = "a case of the laboratory: make faults"]
fn case_7_a_camera_that_changes_its_size() {
    let mut case = Case::begin("7", "size in mid-stream of a camera");
    let shape = |width: u32, height: u32| {
        format!(
            "videotestsrc num-buffers=250 ! video/x-raw,width={width},height={height},framerate=25/1 \
             ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 ! video/x-h264,profile=constrained-baseline \
             ! queue ! change. "
        )
    };
    let description = format!(
        "concat name=change ! h264parse config-interval=-1 ! clocksync ! rtph264pay name=pay0 pt=96 {}{}",
        shape(320, 240),
        shape(640, 480)
    );
    let camera = Camera::start(Show::described(&Recipe::new(0.0).without_sound(), &description));
    judged(&camera.url("/live"), &["--once"], "a camera's picture size", &mut case);
    case.end();
}

#[test]
#[ignore = "a case of the laboratory: make faults"]
fn case_7_a_participant_whose_browser_changes_its_pictures() {
    let mut case = Case::begin("7", "size, then codec, of what a browser sends");
    let small = units(&Coding::H264.make(Recipe::new(10.0)), Coding::H264);
    let large = units(&Coding::H264.make(Recipe::new(10.0).size(640, 480)), Coding::H264);
    let other = units(&Coding::Vp8.make(Recipe::new(10.0)), Coding::Vp8);
    let station = Station::start();
    let sender = station.sender.clone().unwrap();
    let mut refused = 0;
    let began = std::time::Instant::now();
    for (part, (units, coding)) in (0..).zip([(small, Some(Codec::H264)), (large, None), (other, Some(Codec::Vp8))]) {
        if coding.is_some() {
            assert_eq!(sender.send(Pushed::Began { video: coding, audio: Some(Codec::Opus) }), Taken::Yes);
        }
        let offset = Duration::from_secs(10 * part);
        for unit in units {
            let time = offset + unit.time;
            std::thread::sleep(time.saturating_sub(began.elapsed()));
            let stream = if unit.video { Stream::Video } else { Stream::Audio };
            let time = MediaTime::from_duration(time);
            let taken = sender.send(Pushed::Media { stream, time, data: unit.data, follows: true });
            refused += u64::from(taken == Taken::Refused);
        }
    }
    drop(sender);
    let told = station.finish();
    case.exactly("units that found no place", 0, refused);
    let full = told.windows.iter().filter(|window| window.full).count();
    case.row("full windows of 30 s with two changes", "at least 4 of 6", &full.to_string(), full >= 4);
    case.end();
}
