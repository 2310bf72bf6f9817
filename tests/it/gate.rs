//! The gate and the flags, as a user meets them: what is skipped, what is said of a window, and what the report promises.

use serde_json::Value;

use crate::books::books_are_exact;
use crate::kit::endpoint::{Endpoint, Judge};
use crate::kit::media::Recipe;
use crate::kit::rtsp::{Camera, Show};
use crate::kit::run::{Finished, ahwatch};
use crate::kit::scenes::{faces, made, speech, test_picture, test_sound};
use crate::watch_file::{LIMIT, ended, labels, panel, three};

fn sample() -> String {
    format!("{}/examples/media/interview.mp4", env!("CARGO_MANIFEST_DIR"))
}

/// Runs `watch` on `source` with a panel at `endpoint` behind a gate.
fn watch(source: &str, endpoint: &Endpoint, models: &[&str], gate: &str, code: i32) -> Finished {
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), models, "");
    let args = ["watch", source, "--panel", panel.to_str().unwrap(), "--gate", gate];
    ahwatch(args).finish(LIMIT).expect_code(code)
}

fn skipped(run: &Finished) -> Vec<Value> {
    run.events_of("ah.window.skipped.v1").iter().map(|e| e["data"].clone()).collect()
}

/// Flags of every window, judged or not, by its start.
fn flags(events: &[Value]) -> Vec<Value> {
    let of_window = |e: &&Value| e["type"].as_str().is_some_and(|kind| kind.starts_with("ah.window."));
    let windows = events.iter().filter(of_window).filter(|e| e["data"]["window"].is_object());
    windows.map(|e| e["data"]["quality"]["flags"].clone()).collect()
}

fn secs(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_recording_without_speech_is_skipped_and_no_judge_is_asked_and_nothing_is_absent() {
    // A code in tones, and a picture of blocks: a machine's voice, and nobody's face.
    let path = Recipe::new(13.0).make();
    for gate in ["speech", "face", "speech-or-face", "speech-and-face"] {
        let (endpoint, models) = three();
        let run = watch(path.to_str().unwrap(), &endpoint, &models, gate, 1);
        let skips = skipped(&run);
        assert_eq!(skips.len(), 3, "{gate}: {}", run.stdout);
        for skip in &skips {
            assert_eq!((&skip["reason"], &skip["gate"]["require"]), (&"gate".into(), &gate.into()));
            assert!(secs(&skip["gate"]["speech_secs"]) < secs(&skip["gate"]["min_speech_secs"]));
            assert_eq!(skip["gate"]["pictures_with_face"], 0);
            assert!(skip["detail"].as_str().unwrap().starts_with(&format!("gate {gate}: ")), "{skip:#}");
        }
        let events = run.events();
        books_are_exact(&events);
        let coverage = &ended(&events)["coverage"];
        assert!((secs(&coverage["skipped"]["gate_secs"]) - 13.0).abs() < 0.1, "{coverage:#}");
        assert_eq!(coverage["judged"]["total_secs"], 0.0);
        for rule in ["vote_of_max", "max_of_vote"] {
            assert_eq!(ended(&events)["labels"][rule], "undecided");
        }
        assert!(endpoint.requests().is_empty());
        assert!(run.stderr.contains("nothing could be judged"), "{}", run.stderr);
    }
}

#[test]
fn the_sample_interview_passes_every_gate_with_the_labels_it_has_without() {
    let judge = |gate: &str| ahwatch(["watch", &sample(), "--gate", gate]).finish(LIMIT).expect_code(0);
    let without = judge("none");
    let all = labels(&without.events());
    assert_eq!(all.len(), 10);
    // What passes the strictest passes all.
    let run = judge("speech-and-face");
    assert!(skipped(&run).is_empty(), "{}", run.stdout);
    assert_eq!(labels(&run.events()), all);
    books_are_exact(&run.events());
    for flags in flags(&without.events()) {
        assert!(secs(&flags["speech_secs"]) > 0.25 && flags["silent"] == false, "{flags:#}");
    }
}

#[test]
fn without_a_requirement_everything_is_judged() {
    let path = Recipe::new(15.0).plant(&[1]).make();
    let (endpoint, models) = three();
    let run = watch(path.to_str().unwrap(), &endpoint, &models, "none", 0);
    assert!(skipped(&run).is_empty());
    assert_eq!(labels(&run.events())[1], (5.0, "present".to_owned()));
    assert_eq!(endpoint.requests().len(), 9);
}

#[test]
fn what_a_source_cannot_show_is_not_held_against_it_and_is_said_once() {
    let ear = Judge { needs: crate::kit::behaviour::Needs::Sound, ..Judge::default() };
    let eye = Judge { needs: crate::kit::behaviour::Needs::Pictures, ..Judge::default() };
    let cases = [
        (Recipe::new(10.0).without_sound(), eye.clone(), "video", "speech", "sound", Some(2)),
        (Recipe::new(10.0).without_pictures(), ear, "audio", "face", "pictures", Some(2)),
        // Of two that must both be there one is known to be missing.
        (Recipe::new(10.0).without_sound(), eye, "video", "speech-and-face", "", None),
    ];
    for (recipe, judge, accepts, gate, missing, judged) in cases {
        let endpoint = Endpoint::start([("v1", judge)]);
        let dir = tempfile::tempdir().unwrap();
        let panel = panel(dir.path(), &endpoint.base_url(), &["v1"], &format!("accepts = [\"{accepts}\"]"));
        let path = recipe.make();
        let args = ["watch", path.to_str().unwrap(), "--panel", panel.to_str().unwrap(), "--gate", gate];
        let run = ahwatch(args).finish(LIMIT).expect_code(i32::from(judged.is_none()));
        assert_eq!(labels(&run.events()).len(), judged.unwrap_or(0), "{gate}: {}", run.stdout);
        let says = run.stderr.lines().filter(|line| line.contains("cannot be checked")).collect::<Vec<_>>();
        assert_eq!(says.len(), usize::from(judged.is_some()), "{}", run.stderr);
        assert!(says.iter().all(|line| line.contains(&format!("without {missing}"))), "{}", run.stderr);
    }
}

#[test]
fn flags_are_on_every_window_of_a_panel_without_a_gate() {
    let (endpoint, models) = three();
    let run = watch(&sample(), &endpoint, &models, "none", 0);
    let flags = flags(&run.events());
    assert_eq!(flags.len(), 10);
    for flags in &flags {
        assert!(flags["faces"].is_u64() && flags["faces_max"].is_u64(), "{flags:#}");
        for flag in ["second_face", "silent", "clipped_sound", "frozen_picture", "black_picture", "voice_without_face"]
        {
            assert!(flags[flag].is_boolean(), "{flag}: {flags:#}");
        }
    }
}

#[test]
fn what_is_odd_about_a_window_is_said() {
    let talk = speech();
    let cases: [(&str, String, String, &[(&str, Value)]); 5] = [
        (
            "dark",
            test_picture("black", 75),
            test_sound("silence", 3.0),
            &[
                ("black_picture", true.into()),
                ("frozen_picture", true.into()),
                ("silent", true.into()),
                ("faces", 0.into()),
                ("speech_secs", 0.0.into()),
            ],
        ),
        (
            "couple",
            faces(2, 75),
            talk.clone(),
            &[("faces", 2.into()), ("second_face", true.into()), ("voice_without_face", false.into())],
        ),
        (
            "alone",
            faces(1, 75),
            test_sound("silence", 3.0),
            &[("faces", 1.into()), ("second_face", false.into()), ("frozen_picture", true.into())],
        ),
        (
            "unseen",
            test_picture("ball background-color=0xff808080", 75),
            talk,
            &[("voice_without_face", true.into()), ("frozen_picture", false.into()), ("black_picture", false.into())],
        ),
        (
            "loud",
            test_picture("ball background-color=0xff808080", 75),
            test_sound("square volume=1.0", 3.0),
            &[("clipped_sound", true.into()), ("silent", false.into())],
        ),
    ];
    let endpoint = Endpoint::start([("v1", Judge::default())]);
    for (name, video, audio, expected) in cases {
        let path = made(name, &video, &audio);
        // Judged or not is another matter: the endpoint reads no code in these.
        let dir = tempfile::tempdir().unwrap();
        let panel = panel(dir.path(), &endpoint.base_url(), &["v1"], "");
        let run = ahwatch(["watch", path.to_str().unwrap(), "--panel", panel.to_str().unwrap()]).finish(LIMIT);
        let flags = flags(&run.events());
        assert_eq!(flags.len(), 1, "{name}: {}{}", run.stdout, run.stderr);
        for (flag, value) in expected {
            assert_eq!(&flags[0][flag], value, "{name}, {flag}: {:#}", flags[0]);
        }
    }
}

#[test]
fn a_face_without_a_voice_and_a_voice_without_a_face() {
    let face = made("alone", &faces(1, 75), &test_sound("silence", 3.0));
    let voice = made("unseen", &test_picture("ball background-color=0xff808080", 75), &speech());
    for (path, passes) in [(face, "face"), (voice, "speech")] {
        for gate in ["speech", "face", "speech-or-face", "speech-and-face"] {
            let run = ahwatch(["watch", path.to_str().unwrap(), "--gate", gate, "--judge", "cues"]).finish(LIMIT);
            let skips = !(gate == passes || gate == "speech-or-face");
            assert_eq!(skipped(&run).len(), usize::from(skips), "{gate} of {passes}: {}", run.stdout);
        }
    }
}

#[test]
fn without_onnx_runtime_a_panel_judges_and_the_pure_flags_remain() {
    let path = Recipe::new(5.0).make();
    let (endpoint, models) = three();
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &models, "");
    let path = path.to_str().unwrap();
    let run = |more: &[&str], code| {
        let args = ["watch", path, path, "--panel", panel.to_str().unwrap()];
        ahwatch(args.iter().chain(more)).env("ORT_DYLIB_PATH", "/nope/ort.so").finish(LIMIT).expect_code(code)
    };
    let watched = run(&[], 0);
    assert_eq!(watched.stderr.matches("not measured").count(), 1, "{}", watched.stderr);
    let flags = flags(&watched.events());
    assert_eq!(flags.len(), 2);
    for flags in flags {
        assert!(flags["faces"].is_null() && flags["speech_secs"].is_null() && flags["second_face"].is_null());
        assert_eq!((&flags["silent"], &flags["frozen_picture"]), (&false.into(), &false.into()), "{flags:#}");
    }
    let refused = run(&["--gate", "face"], 2);
    assert!(refused.stdout.is_empty() && refused.stderr.contains("/nope/ort.so"), "{}", refused.stderr);
}

#[test]
fn the_report_says_what_each_gate_then_skips_and_asks_no_judge() {
    let planted = Recipe::new(13.0).make();
    let sample = sample();
    let args = ["watch", "--gate-report", &sample, planted.to_str().unwrap(), "--json"];
    let report = ahwatch(args).finish(LIMIT).expect_code(0).events();
    assert_eq!(report.len(), 2, "{report:#?}");
    let setting = |line: &Value, gate: &str| {
        let settings = line["settings"].as_array().unwrap();
        settings.iter().find(|setting| setting["require"] == gate).unwrap_or_else(|| panic!("{gate}: {line:#}")).clone()
    };
    for (path, line) in [sample.as_str(), planted.to_str().unwrap()].into_iter().zip(&report) {
        for gate in ["face", "speech-and-face"] {
            let promised = setting(line, gate);
            let run = ahwatch(["watch", path, "--gate", gate, "--judge", "cues"]).finish(LIMIT);
            let skips = skipped(&run);
            assert_eq!(promised["windows_skipped"], skips.len(), "{gate} of {path}");
            let skipped = secs(&ended(&run.events())["coverage"]["skipped"]["total_secs"]);
            assert!((secs(&promised["skipped_secs"]) - skipped).abs() < 1e-6, "{promised:#}");
            let share = skipped / secs(&line["secs"]);
            assert!((secs(&promised["skipped_share"]) - share).abs() < 1e-9, "{promised:#}");
        }
    }
    assert_eq!(report[0]["windows"], 10);
    assert!((secs(&report[1]["thresholds"]["face_threshold"]) - 0.7).abs() < 1e-6);
}

#[test]
fn a_report_needs_recordings() {
    let live = ahwatch(["watch", "--gate-report", "rtsp://u:hunter2@127.0.0.1:1/x"]).finish(LIMIT).expect_code(2);
    assert!(live.stderr.contains("recordings") && !live.stderr.contains("hunter2"), "{}", live.stderr);
    let args = ["watch", "--gate-report", "--json", &sample()];
    let no_library = ahwatch(args).env("ORT_DYLIB_PATH", "/nope/ort.so").finish(LIMIT).expect_code(2);
    assert!(no_library.stderr.contains("/nope/ort.so"), "{}", no_library.stderr);
    let prose = crate::kit::media::not_media();
    ahwatch(["watch", "--gate-report", prose.to_str().unwrap()]).finish(LIMIT).expect_code(1);
}

/// The sample as a camera would send it, from its 20th second on: speech and a face, then as long without either.
fn half_empty() -> std::path::PathBuf {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("gate");
    let path = folder.join("half-empty.mp4");
    std::fs::create_dir_all(&folder).unwrap();
    let blank = "drawbox=t=fill:enable='gte(t,10)'";
    let text = format!(
        "-v error -y -i {} -t 20 -vf {blank},format=yuv420p -af volume=0:enable='gte(t,10)' \
         -c:v libx264 -preset veryfast -bf 0 -g 25 -c:a aac -ac 1",
        sample()
    );
    let made = std::process::Command::new("ffmpeg").args(text.split_whitespace()).arg(&path).status();
    assert!(made.unwrap().success());
    path
}

#[test]
fn a_gate_skips_the_same_of_a_camera_as_of_the_recording() {
    let path = half_empty();
    let (endpoint, models) = three();
    let file = watch(path.to_str().unwrap(), &endpoint, &models, "speech-and-face", 0);
    let camera = Camera::start(Show::File { path, pictures: true, sound: true });
    let (endpoint, models) = three();
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &models, "");
    let url = camera.url("/live");
    let args = ["watch", &url, "--once", "--panel", panel.to_str().unwrap(), "--gate", "speech-and-face"];
    let live = ahwatch(args).finish(LIMIT).expect_code(0);
    let starts = |run: &Finished| -> Vec<f64> {
        skipped(run).iter().map(|skip| secs(&skip["span"]["start_secs"])).filter(|start| *start < 14.0).collect()
    };
    assert_eq!((starts(&file), starts(&live)), (vec![10.0], vec![10.0]), "{}", live.stdout);
    for run in [&file, &live] {
        assert_eq!(labels(&run.events()).iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0.0, 5.0]);
        books_are_exact(&run.events());
    }
    assert_eq!(endpoint.requests().len(), 6);
}
