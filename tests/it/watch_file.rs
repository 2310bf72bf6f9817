//! `ahwatch watch` on recordings, as a user runs it, against the endpoint that decodes what it is sent.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::books::books_are_exact;
use crate::kit::endpoint::{Endpoint, Judge, Mode, Seen};
use crate::kit::media::{self, Container, Recipe};
use crate::kit::run::{Finished, ahwatch};

/// Long enough for a loaded machine; a hang is what it catches.
pub const LIMIT: Duration = Duration::from_secs(90);

/// A panel file of these judges at one endpoint; `more` goes into each table.
pub fn panel(dir: &Path, base_url: &str, models: &[&str], more: &str) -> PathBuf {
    let table = |model: &&str| {
        format!("[[judge]]\nname = \"{model}\"\nbase_url = \"{base_url}\"\nmodel = \"{model}\"\n{more}\n")
    };
    let path = dir.join("panel.toml");
    std::fs::write(&path, models.iter().map(table).collect::<String>()).unwrap();
    path
}

/// Runs `watch` on `source` with a panel of judges that see and hear the planted mark, and expects the exit code.
fn watch(source: &str, endpoint: &Endpoint, models: &[&str], more: &[&str], code: i32) -> Finished {
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), models, "");
    let args = ["watch", source, "--panel", panel.to_str().unwrap()];
    ahwatch(args.iter().chain(more)).finish(LIMIT).expect_code(code)
}

pub fn three() -> (Endpoint, [&'static str; 3]) {
    (
        Endpoint::start([("v1", Judge::default()), ("v2", Judge::default()), ("v3", Judge::default())]),
        ["v1", "v2", "v3"],
    )
}

/// Start of each judged window's span and its label, in order.
pub fn labels(events: &[Value]) -> Vec<(f64, String)> {
    let judged = events.iter().filter(|e| e["type"] == "ah.window.judged.v1");
    let mut labels: Vec<_> = judged
        .map(|e| (e["data"]["span"]["start_secs"].as_f64().unwrap(), e["data"]["label"].as_str().unwrap().to_owned()))
        .collect();
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    labels
}

/// Windows that were lost; tails and outages are no windows.
pub fn lost_windows(events: &[Value]) -> Vec<Value> {
    events.iter().filter(|e| e["type"] == "ah.window.lost.v1" && !e["data"]["window"].is_null()).cloned().collect()
}

pub fn ended(events: &[Value]) -> &Value {
    &events.iter().find(|e| e["type"] == "ah.session.ended.v1").expect("a session's end")["data"]
}

/// What training takes of `count` pictures: `numpy.linspace(0, count - 1, n).round()`, from picture `first` on.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "picture numbers are small")]
pub fn linspace(first: u32, count: u32, n: u32) -> Vec<u32> {
    (0..n).map(|k| first + (f64::from(k) * f64::from(count - 1) / f64::from(n - 1)).round() as u32).collect()
}

/// The requests of one model, by the first picture they hold.
pub fn by_first_picture(seen: &[Seen], model: &str) -> Vec<(Vec<u32>, Seen)> {
    let mut of_model: Vec<_> =
        seen.iter().filter(|s| s.model == model).map(|s| (s.clip.as_ref().unwrap().frames(), s.clone())).collect();
    of_model.sort_by_key(|(frames, _)| frames[0]);
    of_model
}

#[test]
fn a_recording_gives_exactly_the_planted_windows_with_the_pictures_of_training() {
    let path = Recipe::new(23.0).plant(&[1, 3]).make();
    let (endpoint, models) = three();
    let run = watch(path.to_str().unwrap(), &endpoint, &models, &[], 0);
    let events = run.events();

    let expected = [(0.0, "absent"), (5.0, "present"), (10.0, "absent"), (15.0, "present"), (20.0, "absent")];
    assert_eq!(labels(&events), expected.map(|(at, label)| (at, label.to_owned())));
    let ended = ended(&events);
    assert_eq!(
        (&ended["labels"]["vote_of_max"], &ended["labels"]["max_of_vote"]),
        (&"present".into(), &"present".into())
    );
    let alerts = events.iter().filter(|e| e["type"] == "ah.alert.raised.v1" && e["data"]["kind"] == "session");
    assert_eq!(alerts.count(), 1);

    let seen = endpoint.requests();
    assert_eq!(seen.len(), 15);
    for model in models {
        let requests = by_first_picture(&seen, model);
        for (window, (frames, seen)) in (0u32..).zip(&requests) {
            let clip = seen.clip.as_ref().unwrap();
            let track = clip.track.as_ref().unwrap();
            assert!((track.fps() - 2.0).abs() < 1e-6, "{track:?}");
            if window < 4 {
                assert_eq!(*frames, linspace(125 * window, 125, 10));
                assert_eq!(clip.samples(), 80_000);
            } else {
                // A partial window of 3 s: six pictures, each within 200 ms of training's.
                assert_eq!(frames.len(), 6);
                assert!((48_000..48_800).contains(&clip.samples()), "{}", clip.samples());
                let off = frames.iter().zip(linspace(500, 75, 6)).map(|(a, b)| a.abs_diff(b)).max().unwrap();
                assert!(off <= 5, "{frames:?}");
            }
            // Sound and pictures are of the same moment: within one frame period.
            for (position, secs) in [(0.2, 16_000 / 5), (2.0, 32_000)] {
                let heard = clip.sound_secs_at(secs).unwrap();
                let shown = f64::from(frames[0]) / 25.0 + position;
                assert!((heard - shown).abs() < 0.04, "window {window}: heard {heard}, shown {shown}");
            }
        }
    }
}

#[test]
fn the_clip_is_the_same_in_h264() {
    let path = Recipe::new(10.0).plant(&[1]).make();
    let (endpoint, models) = three();
    let run = watch(path.to_str().unwrap(), &endpoint, &models, &["--clip-codec", "h264"], 0);
    assert_eq!(labels(&run.events()), [(0.0, "absent".to_owned()), (5.0, "present".to_owned())]);
    for (frames, seen) in by_first_picture(&endpoint.requests(), "v2") {
        assert_eq!(frames, linspace(frames[0], 125, 10));
        assert_eq!(seen.clip.unwrap().track.unwrap().codec, "video/x-h264");
    }
}

#[test]
fn each_stream_is_optional_and_judges_that_need_the_other_abstain() {
    let (endpoint, models) = three();
    for (recipe, reason) in
        [(Recipe::new(10.0).without_sound(), "no_audio"), (Recipe::new(10.0).without_pictures(), "no_video")]
    {
        let run = watch(recipe.make().to_str().unwrap(), &endpoint, &models, &[], 1);
        let lost = lost_windows(&run.events());
        assert_eq!(lost.len(), 2);
        for event in &lost {
            assert_eq!(event["data"]["reason"], "all_abstained");
            assert!(
                event["data"]["votes"].as_array().unwrap().iter().all(|v| v["abstention"]["reason"] == reason),
                "{event}"
            );
        }
        assert!(run.stderr.contains("nothing could be judged"), "{}", run.stderr);
        assert!(labels(&run.events()).is_empty());
    }
    assert!(endpoint.requests().is_empty());
}

#[test]
fn judges_of_one_medium_judge_a_source_of_one_medium() {
    let dir = tempfile::tempdir().unwrap();
    let hears = Judge { needs: crate::kit::behaviour::Needs::Sound, ..Judge::default() };
    let endpoint = Endpoint::start([("ear", hears)]);
    let panel = panel(dir.path(), &endpoint.base_url(), &["ear"], "accepts = [\"audio\"]");
    let path = Recipe::new(10.0).without_pictures().plant_sound(&[1], 1).make();
    let run =
        ahwatch(["watch", path.to_str().unwrap(), "--panel", panel.to_str().unwrap()]).finish(LIMIT).expect_code(0);
    assert_eq!(labels(&run.events()), [(0.0, "absent".to_owned()), (5.0, "present".to_owned())]);
}

#[test]
fn three_judges_each_on_another_window_are_present_under_vote_of_max_only() {
    let path = Recipe::new(15.0).make();
    let endpoint =
        Endpoint::start([("v1", Judge::windows(&[0])), ("v2", Judge::windows(&[1])), ("v3", Judge::windows(&[2]))]);
    let run = watch(path.to_str().unwrap(), &endpoint, &["v1", "v2", "v3"], &[], 0);
    let ended = run.events_of("ah.session.ended.v1").remove(0);
    assert_eq!(ended["data"]["labels"]["vote_of_max"], "present");
    assert_eq!(ended["data"]["labels"]["max_of_vote"], "absent");
}

#[test]
fn early_stop_asks_less_and_labels_the_same() {
    let path = Recipe::new(30.0).plant(&[0]).make();
    let (endpoint, models) = three();
    let dir = tempfile::tempdir().unwrap();
    // One window at a time, so that the first answer is known when the second window comes.
    let panel = panel(dir.path(), &endpoint.base_url(), &models, "max_in_flight = 1");
    let run = ahwatch(["watch", path.to_str().unwrap(), "--panel", panel.to_str().unwrap(), "--early-stop"]);
    let run = run.finish(LIMIT).expect_code(0);
    assert_eq!(ended(&run.events())["labels"]["vote_of_max"], "present");
    assert_eq!(endpoint.requests().len(), 3);
    let skipped = run.events_of("ah.window.skipped.v1");
    assert_eq!(skipped.len(), 5);
    assert!(skipped.iter().all(|e| e["data"]["reason"] == "early_stop"));
}

#[test]
fn rolling_windows_overlap_and_the_books_stay_exact() {
    let path = Recipe::new(12.0).make();
    let (endpoint, models) = three();
    let run = watch(path.to_str().unwrap(), &endpoint, &models, &["--hop-secs", "2.5"], 0);
    let starts: Vec<f64> = labels(&run.events()).into_iter().map(|(at, _)| at).collect();
    // The fourth is partial: 7.5 s to the end.
    assert_eq!(starts, [0.0, 2.5, 5.0, 7.5]);
    books_are_exact(&run.events());
}

#[test]
fn a_hole_in_a_recordings_timestamps_is_lost_time_that_no_window_spans() {
    let (endpoint, models) = three();
    let recipe = Recipe::new(24.0).jump(12.0, 30.0).container(Container::Mkv);
    let run = watch(recipe.make().to_str().unwrap(), &endpoint, &models, &[], 0);
    let events = run.events();
    books_are_exact(&events);
    let outage = ended(&events)["coverage"]["lost"]["outage_secs"].as_f64().unwrap();
    assert!((outage - 30.0).abs() < 0.1, "{outage}");
    let starts: Vec<_> = labels(&events).into_iter().map(|(at, _)| at).collect();
    assert_eq!(starts[..2], [0.0, 5.0]);
    assert!(starts[2..].len() == 2 && (starts[2] - 42.0).abs() < 0.1, "{starts:?}");
    for seen in endpoint.requests() {
        let frames = seen.clip.unwrap().frames();
        assert!(frames.iter().all(|f| *f < 300) || frames.iter().all(|f| *f >= 300), "{frames:?}");
    }
}

#[test]
fn a_truncated_recording_is_used_as_far_as_it_goes_and_the_rest_is_lost() {
    // Matroska keeps its length in front and its media in order, so half of the file is half of the recording.
    let whole = Recipe::new(30.0).container(Container::Mkv).make();
    let path = media::truncated(&whole, 0.5);
    let (endpoint, models) = three();
    let run = watch(path.to_str().unwrap(), &endpoint, &models, &[], 1);
    assert!(run.stderr.contains("truncated") && run.stderr.contains(path.to_str().unwrap()), "{}", run.stderr);
    assert!(!labels(&run.events()).is_empty());
    assert!(ended(&run.events())["coverage"]["lost"]["outage_secs"].as_f64().unwrap() > 5.0);
    books_are_exact(&run.events());
}

#[test]
fn what_is_no_recording_is_told_in_one_line() {
    let text = media::only_text();
    let cases = [
        (media::not_media(), 1, "GStreamer can"),
        (media::empty_file(), 1, "the file is empty"),
        (media::truncated(&Recipe::new(10.0).make(), 0.6), 1, ""),
        (text, 1, "GStreamer"),
        (PathBuf::from("/no/such/file.mp4"), 2, "/no/such/file.mp4"),
    ];
    for (path, code, says) in cases {
        let run = ahwatch(["watch", path.to_str().unwrap()]).finish(LIMIT).expect_code(code);
        let about: Vec<_> = run.stderr.lines().filter(|l| l.contains(path.to_str().unwrap())).collect();
        assert_eq!(about.len(), 1, "{}: {}", path.display(), run.stderr);
        assert!(about[0].contains(says), "{}", run.stderr);
        assert!(run.events_of("ah.window.judged.v1").is_empty());
    }
}

#[test]
fn whatever_an_endpoint_does_wrong_is_an_abstention_with_its_reason_and_never_absent() {
    let path = Recipe::new(5.0).make();
    let cases = [
        (Mode::status(401), "unauthorized"),
        (Mode::status(404), "unknown_model"),
        (Mode::Html, "not_a_completion"),
        (Mode::Text("maybe".into()), "unparsable"),
        (Mode::Truncated, "truncated"),
        (Mode::Abort, "truncated"),
        (Mode::Slow, "deadline"),
    ];
    for (mode, reason) in cases {
        let endpoint = Endpoint::start([("v1", Judge::default())]);
        endpoint.set(mode);
        let dir = tempfile::tempdir().unwrap();
        let panel = panel(dir.path(), &endpoint.base_url(), &["v1"], "deadline_ms = 2000");
        let run =
            ahwatch(["watch", path.to_str().unwrap(), "--panel", panel.to_str().unwrap()]).finish(LIMIT).expect_code(1);
        let lost = lost_windows(&run.events());
        assert_eq!(lost[0]["data"]["votes"][0]["abstention"]["reason"], reason, "{}", lost[0]);
        assert_eq!(ended(&run.events())["labels"]["vote_of_max"], "undecided");
    }
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), "http://127.0.0.1:9/v1", &["v1"], "deadline_ms = 1000");
    let run =
        ahwatch(["watch", path.to_str().unwrap(), "--panel", panel.to_str().unwrap()]).finish(LIMIT).expect_code(1);
    assert_eq!(lost_windows(&run.events())[0]["data"]["votes"][0]["abstention"]["reason"], "unreachable");
}

#[test]
fn a_dead_judge_of_three_stays_in_the_denominator() {
    let path = Recipe::new(10.0).plant(&[1]).make();
    let (endpoint, models) = three();
    endpoint.set_model("v2", Mode::status(500));
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &models, "deadline_ms = 2000");
    let watch = |code| {
        ahwatch(["watch", path.to_str().unwrap(), "--panel", panel.to_str().unwrap()]).finish(LIMIT).expect_code(code)
    };
    assert_eq!(labels(&watch(0).events()), [(0.0, "absent".to_owned()), (5.0, "present".to_owned())]);
    endpoint.set_model("v3", Mode::status(500));
    let run = watch(0);
    assert_eq!(labels(&run.events()), [(0.0, "undecided".to_owned()), (5.0, "undecided".to_owned())]);
    assert_eq!(ended(&run.events())["labels"]["vote_of_max"], "undecided");
}

#[test]
fn an_interrupted_recording_before_a_slow_panel_ends_in_time_with_every_second_accounted_for() {
    let path = Recipe::new(33.0).make();
    let endpoint = Endpoint::start([("v1", Judge::default())]);
    endpoint.set(Mode::Slow);
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &["v1"], "max_in_flight = 1");
    let run = ahwatch(["watch", path.to_str().unwrap(), "--panel", panel.to_str().unwrap()]).start();
    endpoint.wait_for(LIMIT, |requests| !requests.is_empty());
    let asked = std::time::Instant::now();
    run.signal("INT");
    let run = run.finish(LIMIT).expect_code(0);
    assert!(asked.elapsed() < Duration::from_secs(13), "{:?}", asked.elapsed());
    let events = run.events();
    books_are_exact(&events);
    let coverage = &ended(&events)["coverage"];
    assert!(coverage["dropped"]["shutdown_secs"].as_f64().unwrap() >= 4.9, "{coverage:#}");
    assert_eq!(ended(&events)["labels"]["vote_of_max"], "undecided");
}
