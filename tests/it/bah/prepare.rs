//! `ahwatch bah prepare`.

#![allow(clippy::cast_precision_loss, reason = "numbers of pictures")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{copy, edit, replace};
use crate::kit::bah::{Planted, dataset, videos};
use crate::kit::run::{Finished, ahwatch};
use crate::kit::{decode, tones, wav};

const LIMIT: Duration = Duration::from_secs(300);

fn prepare(root: &Path, out: &Path, split: &str, more: &[&str]) -> Finished {
    let mut args = vec!["bah", "prepare", root.to_str().unwrap(), out.to_str().unwrap(), "--split", split];
    args.extend(more);
    ahwatch(args).finish(LIMIT)
}

fn said(run: &Finished) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {} {}", run.stdout, run.stderr))
}

/// Every file below a folder with its bytes.
pub fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(folder).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// Two outputs hold the same: names, sound, rows and books. x264's bytes differ from run to run.
#[track_caller]
fn same(one: &Path, other: &Path, split: &str) {
    let differ = differences(one, other, split);
    assert!(differ.is_empty(), "{differ:?}");
}

/// In which files two outputs differ.
pub fn differences(one: &Path, other: &Path, split: &str) -> BTreeSet<PathBuf> {
    let of = |out: &Path| {
        let mut files = tree(out);
        files.retain(|path, _| !path.starts_with(format!("{split}/records")));
        let mut csv = csv::Reader::from_path(out.join(split).join("manifest.csv")).unwrap();
        let mut rows: Vec<BTreeMap<String, String>> = csv.deserialize().map(Result::unwrap).collect();
        for row in &mut rows {
            row.remove("mp4_sha256");
        }
        for (path, bytes) in &mut files {
            if path.extension().is_some_and(|e| e == "mp4") {
                bytes.clear();
            } else if path.ends_with("manifest.csv") {
                *bytes = format!("{rows:?}").into_bytes();
            }
        }
        files
    };
    let (one, other) = (of(one), of(other));
    let all: BTreeSet<&PathBuf> = one.keys().chain(other.keys()).collect();
    all.into_iter().filter(|path| one.get(*path) != other.get(*path)).cloned().collect()
}

/// Begin and end in the video of every clip there should be, by name. Stated anew, not by the program's own code.
fn expected(videos: &[Planted], whole: bool) -> BTreeMap<String, (f64, f64)> {
    let mut clips = BTreeMap::new();
    for video in videos {
        let stem = video.path.rsplit('/').next().unwrap().trim_end_matches(".mp4");
        let mut samples: Vec<(String, f64, f64)> = vec![(stem.to_owned(), 0.0, video.secs)];
        if !whole && video.label() == 1 {
            let intervals = (1..).zip(&video.intervals);
            samples = intervals.map(|(i, s)| (format!("{stem}_{i}"), s.start, s.end.min(video.secs))).collect();
        }
        for (name, start, end) in samples {
            if end - start <= 5.0 + 1e-6 {
                clips.insert(name, (start, end));
                continue;
            }
            let mut from = start;
            for part in 1.. {
                let to = (from + 5.0).min(end);
                if to - from < 3.0 - 0.001 {
                    break;
                }
                clips.insert(format!("{name}_{part}"), (from, to));
                from = to;
            }
        }
    }
    clips
}

fn names(clips: &Path, extension: &str) -> BTreeSet<String> {
    let files = std::fs::read_dir(clips).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    files.filter_map(|f| f.strip_suffix(extension).map(str::to_owned)).collect()
}

fn of(split: &str) -> Vec<Planted> {
    videos().into_iter().filter(|v| v.split == split).collect()
}

#[test]
fn training_clips_are_those_of_algorithm_1_and_hold_what_they_should() {
    let out = tempfile::tempdir().unwrap();
    let before = tree(&dataset());
    let run = prepare(&dataset(), out.path(), "train", &[]).expect_code(0);
    assert!(tree(&dataset()) == before, "the sources were touched");
    let clips = out.path().join("train/clips");
    let planned = expected(&of("train"), false);
    let planned_names: BTreeSet<_> = planned.keys().cloned().collect();
    assert_eq!(names(&clips, ".mp4"), planned_names);
    assert_eq!(names(&clips, ".wav"), planned_names);
    for (name, (start, end)) in &planned {
        let stem_of = |v: &&Planted| name.starts_with(v.path.rsplit('/').next().unwrap().trim_end_matches(".mp4"));
        let video = of("train").into_iter().find(|v| stem_of(&v)).unwrap();
        let fps = f64::from(video.fps.0) / f64::from(video.fps.1);
        // Every picture of the span, by its number, and none else.
        let seen = decode::file(&clips.join(format!("{name}.mp4"))).unwrap();
        let mut frames: Vec<f64> = seen.pictures.iter().map(|p| f64::from(p.code.expect("a code").frame)).collect();
        frames.dedup(); // a full clip's last picture may be there twice
        // A millisecond early is rounding.
        let (first, last) = (((start - 0.001) * fps - 1e-3).ceil(), ((end - 0.001) * fps - 1e-3).ceil() - 1.0);
        let count = last - first + 1.0;
        assert!(
            (frames[0], *frames.last().unwrap(), frames.len() as f64) == (first, last, count),
            "{name}: {frames:?}"
        );
        if (end - start - 5.0).abs() < 1e-6 {
            assert!(seen.pictures.len() as f64 / fps >= 5.0 - 1e-6, "{name}: {} pictures", seen.pictures.len());
        }
        // The sound of the span, to the millisecond.
        let sound = wav::read(&std::fs::read(clips.join(format!("{name}.wav"))).unwrap()).unwrap();
        assert_eq!((sound.rate, sound.channels), (16_000, 1));
        assert!((sound.samples.len() as f64 - (end - start) * 16_000.0).abs() <= 0.05 * 16_000.0, "{name}");
        if (end - start - 5.0).abs() < 1e-6 {
            assert_eq!(sound.samples.len(), 80_000, "{name}");
        }
        let heard = tones::read(&sound.samples).source_secs_at(8000).expect("sound with codes");
        assert!((heard - start - 0.5).abs() < 0.002, "{name}: {heard} for {}", start + 0.5);
    }
    // The books: every second of every video is in a clip, in a short rest, or outside of the intervals.
    let outcome = said(&run);
    let secs = |key: &str| outcome["secs"][key].as_f64().unwrap();
    let total: f64 = of("train").iter().map(|v| v.secs).sum();
    assert!((secs("media") - total).abs() < 0.05 * 20.0, "{outcome}");
    assert!((secs("media") - secs("clips") - secs("tails") - secs("outside_intervals")).abs() < 1e-6, "{outcome}");
    let mut manifest = csv::Reader::from_path(out.path().join("train/manifest.csv")).unwrap();
    let rows: Vec<BTreeMap<String, String>> = manifest.deserialize().map(Result::unwrap).collect();
    let kept: Vec<_> = rows.iter().filter(|r| !r["clip"].is_empty()).collect();
    assert_eq!(kept.len(), planned.len());
    for row in kept {
        assert!(row["mp4_sha256"].len() == 64 && row["dropped_why"].is_empty() && row["split"] == "train", "{row:?}");
        let (start, end) = planned[&row["clip"]];
        let near = |key: &str, value: f64| (row[key].parse::<f64>().unwrap() - value).abs() < 0.05;
        assert!(near("start_s", start) && near("end_s", end), "{row:?}");
        assert_eq!(row["label"] == "Yes", !row["interval"].is_empty(), "{row:?}");
    }
    let dropped = rows.iter().filter(|r| r["clip"].is_empty());
    let dropped: f64 = dropped.map(|r| r["end_s"].parse::<f64>().unwrap() - r["start_s"].parse::<f64>().unwrap()).sum();
    assert!((dropped - secs("tails") - secs("outside_intervals")).abs() < 0.05, "{dropped}: {outcome}");
    // The rows.
    let text = std::fs::read_to_string(out.path().join("train.jsonl")).unwrap();
    let rows: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(rows.len(), planned.len());
    for row in &rows {
        assert_eq!(row["messages"][0]["content"].as_str().unwrap().matches("<video>").count(), 1);
        let video = Path::new(row["videos"][0].as_str().unwrap());
        assert!(video.is_absolute() && video.exists() && Path::new(row["audios"][0].as_str().unwrap()).exists());
        let yes = of("train").iter().any(|v| {
            let stem = v.path.rsplit('/').next().unwrap().trim_end_matches(".mp4");
            v.label() == 1 && video.file_name().unwrap().to_str().unwrap().starts_with(stem)
        });
        assert_eq!(row["messages"][1]["content"], format!("<answer>{}</answer>", if yes { "Yes" } else { "No" }));
    }

    // Again, in another form: nothing is made anew, and only the rows change.
    let before = tree(&clips);
    let times = |folder: &Path| -> Vec<SystemTime> {
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().metadata().unwrap().modified().unwrap()).collect()
    };
    let made = times(&clips);
    let more = ["--grpo", "--legacy-keys", "--relative", "--seed", "7"];
    let again = said(&prepare(&dataset(), out.path(), "train", &more).expect_code(0));
    assert_eq!(again["resumed"], 20);
    assert!(tree(&clips) == before && times(&clips) == made);
    let text = std::fs::read_to_string(out.path().join("train.jsonl")).unwrap();
    let others: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let order = |rows: &[Value], key: &str| -> Vec<String> {
        rows.iter().map(|r| r[key][0].as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
    };
    assert_ne!(order(&rows, "videos"), order(&others, "video"));
    for row in &others {
        assert!(
            row["solution"].as_str().unwrap().starts_with("<answer>") && row["messages"].as_array().unwrap().len() == 1
        );
        assert!(out.path().join(row["video"][0].as_str().unwrap()).exists(), "{row}");
        assert!(row["audio"][0].as_str().unwrap().starts_with("train/clips/"), "{row}");
    }
}

#[test]
fn test_videos_are_cut_whole_whatever_the_number_of_jobs() {
    let (out, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    prepare(&dataset(), out.path(), "test", &["--jobs", "1"]).expect_code(0);
    let planned: BTreeSet<_> = expected(&of("test"), true).into_keys().collect();
    assert_eq!(names(&out.path().join("test/clips"), ".mp4"), planned);
    assert!(!out.path().join("test.jsonl").exists(), "a clip of a test video has no label of its own");
    prepare(&dataset(), other.path(), "test", &["--jobs", "4"]).expect_code(0);
    same(out.path(), other.path(), "test");
}

#[test]
fn a_killed_run_goes_on_where_it_ended_and_comes_to_the_same() {
    let (out, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let args = |out: &Path| {
        [
            "bah",
            "prepare",
            dataset().to_str().unwrap(),
            out.to_str().unwrap(),
            "--split",
            "val",
            "--jobs",
            "1",
            "--relative",
        ]
        .map(str::to_owned)
    };
    let records = out.path().join("val/records");
    let done = || std::fs::read_dir(&records).map_or(0, Iterator::count);
    for signal in ["KILL", "INT"] {
        let mut run = ahwatch(args(out.path())).start();
        let before = done();
        run.wait_until(LIMIT, "another video", |_| (done() > before).then_some(()));
        run.signal(signal);
        let run = run.finish(LIMIT);
        if signal == "INT" && run.code == Some(1) {
            assert!(run.stderr.contains("goes on from here"), "{}", run.stderr);
        }
    }
    let last = said(&ahwatch(args(out.path())).finish(LIMIT).expect_code(0));
    assert!(last["resumed"].as_u64().unwrap() >= 2, "{last}");
    ahwatch(args(other.path())).finish(LIMIT).expect_code(0);
    same(out.path(), other.path(), "val");
}

#[test]
fn a_run_that_is_stopped_leaves_the_rows_of_the_one_before() {
    use ahwatch::bah::prepare::{Preparing, Rows, prepare as library};
    let out = tempfile::tempdir().unwrap();
    prepare(&dataset(), out.path(), "val", &[]).expect_code(0);
    let before = tree(out.path());
    let preparing = Preparing {
        out: out.path().to_owned(),
        split: ahwatch::bah::Split::Val,
        jobs: 2,
        for_challenge: false,
        rows: Rows { prompt: "<video><audio>Another?".into(), grpo: true, legacy_keys: false },
        seed: 7,
        relative: false,
    };
    let dataset = ahwatch::bah::Dataset::read(&dataset(), None).unwrap();
    // Stopped before it has looked at any video.
    let (_, stop) = crossbeam_channel::bounded(0);
    let outcome = library(&dataset, &preparing, &stop, |_, _| {}).unwrap();
    assert!(outcome.stopped && outcome.prepared == 0, "{outcome:?}");
    assert_eq!(tree(out.path()), before);
}

#[test]
fn corrupt_videos_cost_themselves_and_are_named() {
    let (dir, out) = (copy(), tempfile::tempdir().unwrap());
    let all = of("val");
    let path = |n: usize| dir.path().join(&all[n].path);
    let half = std::fs::read(path(1)).unwrap();
    replace(&path(0), b"");
    replace(&path(1), &half[..half.len() / 2]);
    replace(&path(2), &vec![7; 50_000]);
    std::fs::remove_file(path(3)).unwrap();
    let run = prepare(dir.path(), out.path(), "val", &[]).expect_code(1);
    let outcome = said(&run);
    assert_eq!(outcome["failed"].as_array().unwrap().len(), 4, "{outcome}");
    for video in &all[..4] {
        assert!(run.stderr.contains(&video.path), "{} in {}", video.path, run.stderr);
    }
    let planned: BTreeSet<_> = expected(&all[4..], false).into_keys().collect();
    assert_eq!(names(&out.path().join("val/clips"), ".mp4"), planned);
    assert!(!out.path().join("val/parts").exists());
    let manifest = std::fs::read_to_string(out.path().join("val/manifest.csv")).unwrap();
    assert_eq!(manifest.matches("could not be prepared").count(), 4, "{manifest}");
}

#[test]
fn faults_are_refused_before_anything_is_written() {
    let out = tempfile::tempdir().unwrap();
    let says = |root: &Path, out: &Path, more: &[&str], words: &[&str]| {
        let run = prepare(root, out, "train", more).expect_code(2);
        assert!(words.iter().all(|w| run.stderr.contains(w)), "{words:?} in {}", run.stderr);
    };
    let nothing = out.path().join("x");
    says(&dataset(), &nothing, &["--prompt", "nosuch"], &["nosuch", "trained, definitions"]);
    says(&dataset(), &nothing, &["--prompt", "no/such.txt"], &["no/such.txt"]);
    says(&nothing, &nothing, &[], &["is no folder"]);
    says(&dataset(), &dataset().join("Videos/out"), &[], &["among the dataset's videos"]);
    let dir = copy();
    edit(dir.path(), "split/train.txt", "mp4,1,", "mp4,yes,");
    says(dir.path(), &nothing, &[], &["train.txt:", "0 or 1"]);
    assert!(!nothing.exists());
    std::fs::write(&nothing, "a file").unwrap();
    let run = prepare(&dataset(), &nothing, "train", &[]).expect_code(1);
    assert!(run.stderr.contains(nothing.to_str().unwrap()), "{}", run.stderr);
}

#[test]
fn a_full_disk_is_one_message_and_leaves_nothing_half_written() {
    let out = tempfile::tempdir().unwrap();
    // Files may grow to 40 KiB, as if the disk were full then: the shell's `ulimit -f` counts blocks of 1,024 bytes or of 512.
    let program = env!("CARGO_BIN_EXE_ahwatch");
    let script = "trap '' XFSZ; ulimit -f 40; exec \"$0\" \"$@\"";
    let (root, to) = (dataset(), out.path().to_owned());
    let args =
        ["-c", script, program, "bah", "prepare", root.to_str().unwrap(), to.to_str().unwrap(), "--split", "val"];
    let run = crate::kit::run::Run::program("bash", args).env("GST_REGISTRY_UPDATE", "no").finish(LIMIT).expect_code(1);
    assert!(run.stderr.contains("goes on from there"), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    for (path, _) in tree(out.path()) {
        assert!(!path.to_string_lossy().contains("part"), "{}", path.display());
    }
    prepare(&dataset(), out.path(), "val", &[]).expect_code(0);
}
