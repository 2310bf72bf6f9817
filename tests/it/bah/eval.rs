//! `ahwatch bah eval`, `score` and `report` on the invented dataset, before an endpoint that sees and hears what is planted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::{copy, edit, replace};
use crate::kit::bah::{Planted, dataset, videos};
use crate::kit::endpoint::{Endpoint, Judge, Mode, Needs};
use crate::kit::run::{Finished, Run, ahwatch};
use crate::watch_file::panel;

pub const LIMIT: Duration = Duration::from_secs(90);
const MODELS: [&str; 3] = ["v1", "v2", "v3"];

/// One that needs both, one that only looks, one that only listens: all see what is planted.
pub fn endpoint() -> Endpoint {
    let needs = |needs| Judge { needs, ..Judge::default() };
    Endpoint::start([("v1", needs(Needs::Both)), ("v2", needs(Needs::Pictures)), ("v3", needs(Needs::Sound))])
}

pub struct Place {
    dir: tempfile::TempDir,
    panel: PathBuf,
}

/// A directory with a panel file for this endpoint.
pub fn place(endpoint: &Endpoint) -> Place {
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &MODELS, "profile = \"paper\"\nscore = true\n");
    Place { dir, panel }
}

impl Place {
    pub fn out(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn eval(&self, root: &Path, out: &Path, more: &[&str]) -> Run {
        let args = ["bah", "eval", root.to_str().unwrap(), "--panel", self.panel.to_str().unwrap(), "--out"];
        ahwatch(args.into_iter().chain([out.to_str().unwrap()]).chain(more.iter().copied()))
    }
}

pub fn bah(args: &[&str]) -> Finished {
    ahwatch(["bah"].iter().chain(args)).finish(LIMIT)
}

pub fn score(out: &Path) -> Value {
    let scored = bah(&["score", out.to_str().unwrap(), "--json", "--draws", "50"]).expect_code(0);
    serde_json::from_str::<Value>(&scored.stdout).unwrap()["runs"][0].clone()
}

pub fn lines(out: &Path, file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join(file)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

pub fn test_videos() -> Vec<Planted> {
    videos().into_iter().filter(|video| video.split == "test").collect()
}

fn system<'a>(level: &'a Value, name: &str) -> &'a Value {
    level["systems"].as_array().unwrap().iter().find(|system| system["name"] == name).unwrap()
}

/// Labels of all videos under the paper's rule.
fn labels(scored: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let videos = scored["videos"].as_array().unwrap().iter();
    videos.map(|video| (text(&video["video"]), text(&video["vote_of_max"]))).collect()
}

#[test]
fn the_planted_truth_comes_back_exactly() {
    let endpoint = endpoint();
    let place = place(&endpoint);
    let out = place.out("run");
    let finished = place.eval(&dataset(), &out, &[]).finish(LIMIT).expect_code(0);
    assert!(finished.stderr.contains("14 of 14 videos"), "{}", finished.stderr);
    let scored = score(&out);
    let planted = test_videos();
    assert_eq!(scored["videos"].as_array().unwrap().len(), planted.len());
    for (video, found) in planted.iter().zip(scored["videos"].as_array().unwrap()) {
        assert_eq!(found["video"], video.path.as_str());
        assert_eq!(found["label"], video.label());
        assert_eq!(found["vote_of_max"], if video.label() == 1 { "present" } else { "absent" }, "{}", video.path);
        let mut from = 0.0;
        for clip in found["clips"].as_array().unwrap() {
            assert_eq!(clip["span"]["start_secs"], from, "{}", video.path);
            let to = clip["span"]["end_secs"].as_f64().unwrap();
            let marked: f64 = video.intervals.iter().map(|s| (s.end.min(to) - s.start.max(from)).max(0.0)).sum();
            let expected = if marked > 0.5 * (to - from) { "present" } else { "absent" };
            assert_eq!(clip["label"], expected, "{} at {from}", video.path);
            assert_eq!(clip["answers"], serde_json::json!([expected, expected, expected]));
            from += 5.0;
        }
        let elapsed = found["elapsed_secs"].as_f64().unwrap();
        assert!((elapsed - video.secs).abs() < 0.1, "{}: {elapsed}", video.path);
    }
    for name in ["v1", "v2", "v3", "panel (vote_of_max)", "panel (max_of_vote)"] {
        let measured = &system(&scored["video"], name)["counted_wrong"];
        assert_eq!(
            (&measured["rates"]["accuracy"], &measured["rates"]["macro_f1"]),
            (&1.0.into(), &1.0.into()),
            "{name}"
        );
    }
    assert_eq!(system(&scored["video"], "panel (vote_of_max)")["counted_wrong"]["average_precision"]["exact"], 1.0);
    // Every clip was asked about once, with its media and prompt on record.
    let samples = lines(&out, "samples.jsonl");
    assert_eq!(samples.len(), endpoint.requests().len());
    assert!(samples.iter().all(|line| line["media_sha256"].as_str().unwrap().len() == 64 && line["raw"].is_string()));
    let codes: Vec<_> = scored["findings"].as_array().unwrap().iter().map(|f| f["code"].clone()).collect();
    assert_eq!(codes, ["release"], "14 videos are no release; all else is the paper's protocol");

    let page = place.out("report.html");
    bah(&["report", out.to_str().unwrap(), "--draws", "50", "--out", page.to_str().unwrap()]).expect_code(0);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && planted.iter().all(|video| page.contains(&video.path)));
}

#[test]
fn a_killed_evaluation_goes_on_and_asks_nothing_again() {
    let whole = endpoint();
    let place = place(&whole);
    let (first, second) = (place.out("a/run"), place.out("b/run"));
    place.eval(&dataset(), &first, &[]).finish(LIMIT).expect_code(0);
    whole.forget();

    // Killed twice in the middle of things, once with a line torn.
    for (enough, torn) in [(10, "{\"video\": \"Videos/90009/"), (40, "")] {
        whole.set(Mode::Delay(Duration::from_millis(40)));
        let mut run = place.eval(&dataset(), &second, &[]).start();
        let samples = second.join("samples.jsonl");
        let count = || std::fs::read_to_string(&samples).unwrap_or_default().lines().count();
        run.wait_until(LIMIT, "some answers", |_| (count() >= enough).then_some(()));
        run.signal("KILL");
        drop(run);
        let text = std::fs::read_to_string(&samples).unwrap();
        let kept = text.rfind('\n').map_or("", |at| &text[..=at]);
        std::fs::write(&samples, format!("{kept}{torn}")).unwrap();
    }
    let before = lines(&second, "samples.jsonl").len();
    whole.set(Mode::Ok);
    whole.forget();
    place.eval(&dataset(), &second, &[]).finish(LIMIT).expect_code(0);
    let after = lines(&second, "samples.jsonl");
    assert!(before >= 40 && before < after.len(), "{before} of {} lines were there", after.len());
    assert_eq!(whole.requests().len(), after.len() - before, "asked only what was not answered");
    let keys: BTreeSet<String> =
        after.iter().map(|l| format!("{} {} {}", l["video"], l["window"], l["judge"])).collect();
    assert_eq!(keys.len(), after.len(), "nothing was answered twice");

    // Once more: there is nothing left to ask.
    whole.forget();
    place.eval(&dataset(), &second, &[]).finish(LIMIT).expect_code(0);
    assert!(whole.requests().is_empty());
    for args in [&["score"][..], &["report"], &["report", "--format", "md"], &["report", "--format", "csv"]] {
        let of = |out: &Path| {
            let mut args = args.to_vec();
            args.extend([out.to_str().unwrap(), "--draws", "100"]);
            bah(&args).expect_code(0).stdout
        };
        assert!(of(&first) == of(&second), "{args:?} is not the same byte for byte");
    }
}

#[test]
fn early_stop_gives_the_same_labels_with_fewer_calls() {
    let endpoint = endpoint();
    let place = place(&endpoint);
    let (whole, early) = (place.out("whole"), place.out("early"));
    place.eval(&dataset(), &whole, &[]).finish(LIMIT).expect_code(0);
    let all = endpoint.requests().len();
    endpoint.forget();
    let finished = place.eval(&dataset(), &early, &["--early-stop"]).finish(LIMIT).expect_code(0);
    let (of_whole, of_early) = (score(&whole), score(&early));
    assert_eq!(labels(&of_whole), labels(&of_early));
    let saved: u64 = of_early["judges"].as_array().unwrap().iter().map(|j| j["not_asked"].as_u64().unwrap()).sum();
    assert!(saved >= 10, "{saved}");
    assert_eq!(endpoint.requests().len() as u64 + saved, all as u64);
    assert!(finished.stderr.contains(&format!("{saved} calls saved")), "{}", finished.stderr);
    assert!(of_early["clip"].is_null() && of_early["findings"].to_string().contains("early_stop"));
    let text = bah(&["score", early.to_str().unwrap(), "--draws", "0"]).expect_code(0).stdout;
    assert!(text.contains(&format!("Early stop saved {saved} of {all} calls.")), "{text}");
}

#[test]
fn a_limit_is_said_in_every_output() {
    let endpoint = endpoint();
    let place = place(&endpoint);
    let out = place.out("run");
    place.eval(&dataset(), &out, &["--limit", "2"]).finish(LIMIT).expect_code(0);
    let run = out.to_str().unwrap();
    for (args, says) in [
        (&["score", run][..], "FAILURE: --limit 2"),
        (&["score", run, "--json"], "\"limit\": 2"),
        (&["report", run], "--limit 2"),
        (&["report", run, "--format", "md"], "--limit 2"),
        (&["report", run, "--format", "latex"], "--limit 2"),
        (&["report", run, "--format", "csv"], ",2\n"),
    ] {
        let mut args = args.to_vec();
        args.extend(["--draws", "0"]);
        let text = bah(&args).expect_code(0).stdout;
        assert!(text.contains(says), "{args:?}: {text}");
    }
    assert_eq!(score(&out)["videos"].as_array().unwrap().len(), 2);
}

#[test]
fn a_run_of_something_else_is_not_gone_on_with() {
    let endpoint = endpoint();
    let place = place(&endpoint);
    let out = place.out("run");
    place.eval(&dataset(), &out, &["--limit", "1"]).finish(LIMIT).expect_code(0);
    let before = lines(&out, "samples.jsonl");
    let other = copy();
    edit(other.path(), "split/test.txt", ".mp4,1,", ".mp4,0,");
    let refused = |root: &Path, out: &Path, more: &[&str], says: &str| {
        let finished = place.eval(root, out, more).finish(LIMIT).expect_code(2);
        assert!(finished.stderr.contains(says), "{says}: {}", finished.stderr);
    };
    refused(&dataset(), &out, &[], "is a run of --limit 1, not no --limit");
    refused(&dataset(), &out, &["--limit", "1", "--split", "val"], "the split test, not val");
    refused(&dataset(), &out, &["--limit", "1", "--early-stop"], "a panel without early stop");
    refused(other.path(), &out, &["--limit", "1"], "another dataset");
    let panel = std::fs::read_to_string(&place.panel).unwrap();
    for key in ["max_tokens = 16", "max_pixels = 20000"] {
        std::fs::write(&place.panel, panel.replacen("[[judge]]", &format!("[[judge]]\n{key}"), 1)).unwrap();
        refused(&dataset(), &out, &["--limit", "1"], "limit of pixels or tokens");
    }
    std::fs::write(&place.panel, panel).unwrap();
    refused(&dataset(), place.dir.path(), &[], "is not empty, and no RUN");
    refused(&out, &place.out("new"), &[], "has no split files");
    let split = other.path().join("split/test.txt");
    let list = std::fs::read_to_string(&split).unwrap();
    std::fs::write(&split, format!("Videos/1/a.avi,0,no comma after a name\n{list}")).unwrap();
    refused(other.path(), &place.out("new"), &[], "test.txt:1: has no `.mp4,`");
    std::fs::write(&split, list).unwrap();
    std::fs::remove_dir_all(other.path().join("Videos")).unwrap();
    refused(other.path(), &place.out("new"), &[], "none of the 14 videos of test is there");
    std::fs::write(&place.panel, "[[judge]]\n").unwrap();
    refused(&dataset(), &place.out("new"), &[], "base_url");
    assert!(!place.out("new").exists(), "nothing half-written is visible");
    assert_eq!(lines(&out, "samples.jsonl"), before);
}

#[test]
fn a_panel_that_is_away_is_told_and_asked_again_when_it_is_back() {
    let endpoint = endpoint();
    let place = place(&endpoint);
    let out = place.out("run");
    endpoint.set_model("v2", Mode::status(401));
    let finished = place.eval(&dataset(), &out, &[]).finish(LIMIT).expect_code(1);
    assert!(finished.stderr.contains("judge v2 failed on 12 clips in a row"), "{}", finished.stderr);
    assert!(score(&out)["findings"].to_string().contains("missing_videos"));
    endpoint.set(Mode::Ok);
    place.eval(&dataset(), &out, &[]).finish(LIMIT).expect_code(0);
    let scored = score(&out);
    assert_eq!(system(&scored["video"], "v2")["counted_wrong"]["rates"]["accuracy"], 1.0);
    assert!(scored["judges"][1]["abstained"].as_object().unwrap().is_empty(), "{}", scored["judges"]);
}

/// Its circuit opens after five windows; those that are not even sent are no answers either.
#[test]
fn a_server_that_is_gone_for_good_ends_the_evaluation_and_is_asked_again_when_it_is_back() {
    let endpoint = endpoint();
    let place = place(&endpoint);
    let out = place.out("run");
    let text = std::fs::read_to_string(&place.panel).unwrap();
    std::fs::write(&place.panel, text.replace("[[judge]]", "[[judge]]\ndeadline_ms = 1000")).unwrap();
    endpoint.set(Mode::status(503));
    let finished = place.eval(&dataset(), &out, &[]).finish(LIMIT).expect_code(1);
    assert!(finished.stderr.contains("failed on 12 clips in a row"), "{}", finished.stderr);
    assert!(lines(&out, "samples.jsonl").iter().any(|line| line["reason"] == "circuit_open"));
    endpoint.set(Mode::Ok);
    // What a loaded machine answers in a second is not the question.
    std::fs::write(&place.panel, text).unwrap();
    place.eval(&dataset(), &out, &[]).finish(LIMIT).expect_code(0);
    let scored = score(&out);
    for judge in scored["judges"].as_array().unwrap() {
        assert!(judge["abstained"].as_object().unwrap().is_empty(), "{judge}");
    }
}

#[test]
fn a_video_that_cannot_be_read_costs_that_video() {
    let endpoint = endpoint();
    let place = place(&endpoint);
    let (root, out) = (copy(), place.out("run"));
    let planted = test_videos();
    replace(&root.path().join(&planted[2].path), b"This is no video.");
    std::fs::remove_file(root.path().join(&planted[3].path)).unwrap();
    let finished = place.eval(root.path(), &out, &[]).finish(LIMIT).expect_code(1);
    assert!(
        finished.stderr.contains("2 videos failed") && finished.stderr.contains(&planted[3].path),
        "{}",
        finished.stderr
    );
    let scored = score(&out);
    let failed = scored["findings"].as_array().unwrap().iter().find(|f| f["code"] == "failed_videos").unwrap();
    assert!(failed["message"].as_str().unwrap().contains("2 of 14 videos"), "{failed}");
    let labels = labels(&scored);
    assert_eq!((&*labels[&planted[2].path], &*labels[&planted[3].path]), ("undecided", "undecided"), "never No");
    let panel = &system(&scored["video"], "panel (vote_of_max)");
    assert_eq!(panel["left_out"]["rates"]["accuracy"], 1.0);
    assert_eq!(panel["confusion"]["abstained_positive"], 1);
    assert_eq!(panel["confusion"]["abstained_negative"], 1);
}

#[cfg(feature = "rtsp-server")]
#[test]
fn by_the_live_path_the_labels_are_those_of_the_files() {
    let endpoint = endpoint();
    let place = place(&endpoint);
    let (file, live) = (place.out("file"), place.out("live"));
    place.eval(&dataset(), &file, &["--split", "val"]).finish(LIMIT).expect_code(0);
    place.eval(&dataset(), &live, &["--split", "val", "--via", "rtsp"]).finish(LIMIT).expect_code(0);
    let (of_file, of_live) = (score(&file), score(&live));
    assert_eq!(of_live["via"], "rtsp");
    assert_eq!(labels(&of_live), labels(&of_file));
    assert_eq!(labels(&of_file).len(), 6);
    // The server drops up to 200 ms at the end, so that only full clips are the same.
    let full = |scored: &Value| {
        let clips = |video: &Value| {
            let clips = video["clips"].as_array().unwrap().clone();
            let full = |clip: &Value| clip["span"]["end_secs"] == (clip["span"]["start_secs"].as_f64().unwrap() + 5.0);
            clips.into_iter().filter(full).map(|clip| (clip["span"].clone(), clip["label"].clone())).collect::<Vec<_>>()
        };
        scored["videos"].as_array().unwrap().iter().map(clips).collect::<Vec<_>>()
    };
    assert_eq!(full(&of_live), full(&of_file));
}

#[cfg(not(feature = "rtsp-server"))]
#[test]
fn a_build_without_the_rtsp_server_says_so() {
    let endpoint = endpoint();
    let place = place(&endpoint);
    let finished = place.eval(&dataset(), &place.out("run"), &["--via", "rtsp"]).finish(LIMIT).expect_code(2);
    assert!(finished.stderr.contains("--features rtsp-server"), "{}", finished.stderr);
}
