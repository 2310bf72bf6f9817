//! `ahwatch bah inspect`.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::{copy, edit, replace};
use crate::kit::bah::{Shape, dataset, videos, write};
use crate::kit::media::Recipe;
use crate::kit::run::{Finished, ahwatch};
use crate::watch_file::LIMIT;

fn inspect(root: &Path, more: &[&str]) -> Finished {
    let mut args = vec!["bah", "inspect", root.to_str().unwrap()];
    args.extend(more);
    ahwatch(args).finish(LIMIT)
}

fn report(run: &Finished) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", run.stdout, run.stderr))
}

fn kinds(report: &Value) -> BTreeSet<String> {
    report["findings"].as_array().unwrap().iter().map(|f| f["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_whole_dataset_is_counted_and_nothing_is_wrong_with_it() {
    let report = report(&inspect(&dataset(), &[]).expect_code(0));
    assert_eq!(report["findings"], Value::Array(vec![]));
    assert_eq!(report["release"], Value::Null);
    assert_eq!(report["not_for_challenges"], serde_json::json!(["90004"]));
    for (split, participants) in [("train", 6), ("val", 2), ("test", 4)] {
        let of: Vec<_> = videos().into_iter().filter(|v| v.split == split).collect();
        let numbers = &report["splits"][split];
        assert_eq!(numbers["videos"], of.len());
        assert_eq!(numbers["participants"], participants);
        assert_eq!(numbers["positive"], of.iter().filter(|v| v.label() == 1).count());
        let secs: f64 = of.iter().map(|v| v.secs).sum();
        assert!((numbers["secs"].as_f64().unwrap() - secs).abs() < 2.0, "{numbers} for {secs}");
        let ah: f64 = of.iter().flat_map(|v| &v.intervals).map(|i| i.end - i.start).sum();
        assert!((numbers["ah_secs"].as_f64().unwrap() - ah).abs() < 1e-6, "{numbers} for {ah}");
    }
}

#[test]
fn every_planted_fault_is_found() {
    let dir = copy();
    let root = dir.path();
    let all = videos();
    let yaml = "video_annotation_transcript.yaml";
    edit(root, yaml, "- - '00:00:01.721'\n    - '00:00:04.410'", "- - '00:00:04.410'\n    - '00:00:01.721'");
    edit(root, yaml, "- - '00:00:03.000'\n    - '00:00:11.600'", "- - '00:00:13.000'\n    - '00:00:14.000'");
    edit(root, yaml, "['00:00:00.400', '00:00:02.000']", "['00:00:00.400', '00:00:00.400']");
    edit(root, yaml, "'00:00:05.000'", "'00:00:04.000'");
    std::fs::remove_file(root.join(&all[1].path)).unwrap();
    replace(&root.join(&all[2].path), b"no video");
    let line = format!("{},0,said, twice\n", all[20].path);
    let train = std::fs::read_to_string(root.join("split/train.txt")).unwrap();
    std::fs::write(root.join("split/train.txt"), train + &line + "Videos/90099/new.mp4,1,x\n").unwrap();
    edit(root, "split/test.txt", "Video.mp4,1,", "Video.mp4,0,");
    let run = inspect(root, &[]).expect_code(1);
    let found = kinds(&report(&run));
    for kind in [
        "frames_disagree",
        "interval_empty",
        "interval_in_negative",
        "interval_outside",
        "interval_reversed",
        "intervals_overlap",
        "label_disagrees",
        "listed_twice",
        "missing_file",
        "no_metadata",
        "not_annotated",
        "participant_in_two_splits",
        "unreadable_video",
    ] {
        assert!(found.contains(kind), "{kind} not in {found:?}");
    }
    let kinds = kinds(&report(&inspect(root, &["--no-media"]).expect_code(1)));
    assert!(kinds.contains("missing_file") && !kinds.contains("unreadable_video"), "{kinds:?}");
}

/// The rest of the table in docs/bah.md, each about the video it is planted in.
#[test]
fn every_other_planted_fault_is_found_where_it_is() {
    let dir = copy();
    let root = dir.path();
    let all = videos();
    let yaml = "video_annotation_transcript.yaml";
    let path = |n: usize| all[n].path.as_str();
    edit(root, yaml, "time_detailed_ah:\n  - - '00:00:01.721'\n    - '00:00:04.410'\n", "time_detailed_ah: []\n");
    edit(root, yaml, &format!("  - [{}/frame-3.jpg,\n    0]\n", path(1)), "");
    edit(root, yaml, "global_ah: 0", "global_ah: null");
    edit(root, yaml, &format!("- - {}/frame-3.jpg", path(4)), "- - Videos/90001/other.mp4/frame-3.jpg");
    let silent = std::fs::read(Recipe::new(all[5].secs).without_sound().make()).unwrap();
    replace(&root.join(path(5)), &silent);
    let dark = std::fs::read(Recipe::new(all[6].secs).without_pictures().make()).unwrap();
    replace(&root.join(path(6)), &dark);
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("other.mp4");
    std::fs::copy(root.join(path(7)), &target).unwrap();
    std::fs::remove_file(root.join(path(7))).unwrap();
    std::os::unix::fs::symlink(&target, root.join(path(7))).unwrap();
    let val = std::fs::read_to_string(root.join("split/val.txt")).unwrap();
    let (first, rest) = val.split_once('\n').unwrap();
    let name = path(8).rsplit('/').next().unwrap();
    std::fs::write(root.join("split/val.txt"), format!("{rest}Videos/90007/Visite_9/{name},0,again\n")).unwrap();
    let report = report(&inspect(root, &[]).expect_code(1));
    let about = |kind: &str| {
        let findings = report["findings"].as_array().unwrap().iter().filter(|f| f["kind"] == kind);
        findings.map(|f| (f["about"].as_str().unwrap(), f["level"].as_str().unwrap())).collect::<Vec<_>>()
    };
    let again = format!("Videos/90007/Visite_9/{name}");
    for (kind, video, level) in [
        ("no_interval", path(0), "error"),
        ("no_global_label", path(1), "warning"),
        ("foreign_frames", path(4), "error"),
        ("leads_outside", path(7), "error"),
        ("same_name", &again, "error"),
        ("in_no_split", first.split_once(',').unwrap().0, "warning"),
    ] {
        assert_eq!(about(kind), [(video, level)], "{kind}: {}", report["findings"]);
    }
    // A label that is said of another video's frame is missing here.
    for (kind, about_both, level) in
        [("missing_stream", [path(5), path(6)], "error"), ("frames_unlisted", [path(1), path(4)], "warning")]
    {
        let mut both = about_both.map(|video| (video, level));
        both.sort_unstable();
        assert_eq!(about(kind), both, "{kind}: {}", report["findings"]);
    }
}

/// docs/bah.md lists what can be found: no kind is missing there, and none is listed that the code does not know.
#[test]
fn the_documents_table_has_every_kind_of_finding() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code = std::fs::read_to_string(root.join("src/bah/inspect/findings.rs")).unwrap();
    let code = code.split("#[cfg(test)]").next().unwrap();
    let mut known = BTreeSet::new();
    for call in ["found.error(", "found.warning("] {
        known.extend(code.split(call).skip(1).filter_map(|rest| rest.split('"').nth(1)));
    }
    let page = std::fs::read_to_string(root.join("docs/bah.md")).unwrap();
    let table = page.split("| finding |").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut listed = BTreeSet::new();
    for row in table.lines().skip(2) {
        listed.extend(row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2));
    }
    assert_eq!(known, listed);
}

#[test]
fn the_older_releases_folders_are_found() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), Shape::Older);
    let report = report(&inspect(dir.path(), &["--json"]).expect_code(0));
    assert!(report["splits_folder"].as_str().unwrap().ends_with("split-0"), "{report}");
    assert_eq!(report["total"]["videos"], 37);
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    let says = |root: &Path, words: &[&str]| {
        let run = inspect(root, &[]).expect_code(2);
        assert!(words.iter().all(|w| run.stderr.contains(w)), "{words:?} in {}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert!(run.stdout.is_empty());
    };
    let yaml = "video_annotation_transcript.yaml";
    let dir = tempfile::tempdir().unwrap();
    says(dir.path(), &["no split files; looked for train.txt, split/train.txt", "--splits"]);
    for (file, from, to, words) in [
        (yaml, "global_ah: 1", "global_ah: [1", &["video_annotation_transcript.yaml:", ":"][..]),
        (yaml, "!!python/tuple", "!!python/name:os.system", &["python/name:os.system is not known"]),
        (yaml, "Videos/90001", "../90001", &["leads out of the dataset's folder"]),
        ("split/val.txt", "mp4,1,", "mp4,7,", &["val.txt:", "\"7\"", "0 or 1"]),
        ("split/test.txt", ".mp4,", ".mkv,", &["test.txt:1:", "no `.mp4,`"]),
        ("meta_data.yml", "challenges: 'Yes'", "challenges: 'Perhaps'", &["meta_data.yml:", "Yes or No"]),
    ] {
        let dir = copy();
        edit(dir.path(), file, from, to);
        says(dir.path(), words);
    }
    let dir = copy();
    std::fs::remove_file(dir.path().join(yaml)).unwrap();
    says(dir.path(), &[yaml, "cannot be read"]);
}
