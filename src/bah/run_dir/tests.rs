//! Reading, and what is refused.

use std::path::Path;

use super::*;
use crate::bah::BahError;

/// A run of `videos` with this label each, by this many judges, one clip of 5 s per 5 s of `secs`.
pub(crate) fn info(videos: &[(&str, u8)], judges: &[&str]) -> RunInfo {
    let video = |(id, label): &(&str, u8)| VideoInfo {
        id: (*id).into(),
        label: *label,
        participant: id.split('/').next().unwrap_or_default().into(),
        question: Some(1),
        gender: None,
        age_group: None,
        duration_secs: None,
        intervals: None,
    };
    let judge = |name: &&str| JudgeInfo {
        name: (*name).into(),
        model: format!("model-{name}"),
        prompt: "trained".into(),
        prompt_sha256: crate::bah::protocol::trained_digest(),
        profile: "paper".into(),
        temperature: Some(0.3),
        top_p: Some(0.95),
        seed: None,
        time_scale: Some(2.0),
        score: false,
        threshold: None,
        constrain: false,
        max_pixels: None,
        max_tokens: None,
        server_version: None,
    };
    RunInfo {
        format: FORMAT.into(),
        ahwatch: "0.1.0".into(),
        dataset: DatasetInfo {
            release: Some("2026-01-31".into()),
            split: "test".into(),
            digest: "d".into(),
            videos_in_split: videos.len(),
            participants_elsewhere: BTreeMap::new(),
        },
        videos: videos.iter().map(video).collect(),
        panel: judges.iter().map(judge).collect(),
        window: WindowInfo { window_secs: 5.0, hop_secs: 5.0, max_pixels: 786_432, clip_codec: "jpeg".into() },
        min_coverage: 0.8,
        early_stop: false,
        limit: None,
        via: "file".into(),
        started: "2026-02-01T00:00:00Z".into(),
    }
}

/// What a judge said of the `index`th 5 s of a video.
pub(crate) fn line(video: &str, index: u32, judge: &str, answer: Said) -> AnswerLine {
    let start_secs = 5.0 * f64::from(index);
    AnswerLine {
        video: video.into(),
        clip: format!("{video}_{}", index + 1),
        window: (0, index),
        span: Secs { start_secs, end_secs: start_secs + 5.0 },
        judge: judge.into(),
        answer,
        reason: (answer == Said::Abstained).then(|| "deadline".into()),
        detail: None,
        flag: None,
        score: None,
        raw: None,
        latency_ms: 100.0,
        attempts: 1,
        prompt_sha256: crate::bah::protocol::trained_digest(),
        media_sha256: None,
        server_version: None,
    }
}

pub(crate) fn ended(video: &str, secs: f64) -> VideoLine {
    VideoLine { video: video.into(), elapsed_secs: secs, unjudged: Vec::new(), error: None }
}

/// Writes a RUN directory.
pub(crate) fn write(dir: &Path, info: &RunInfo, samples: &[AnswerLine], videos: &[VideoLine]) {
    let lines = |lines: Vec<String>| lines.into_iter().map(|line| line + "\n").collect::<String>();
    std::fs::write(dir.join(INFO), serde_json::to_string_pretty(info).unwrap()).unwrap();
    let samples = samples.iter().map(|line| serde_json::to_string(line).unwrap()).collect();
    std::fs::write(dir.join(SAMPLES), lines(samples)).unwrap();
    let videos = videos.iter().map(|line| serde_json::to_string(line).unwrap()).collect();
    std::fs::write(dir.join(VIDEOS), lines(videos)).unwrap();
}

fn small() -> (tempfile::TempDir, RunInfo) {
    let dir = tempfile::tempdir().unwrap();
    let info = info(&[("a.mp4", 1)], &["v1"]);
    write(dir.path(), &info, &[line("a.mp4", 0, "v1", Said::Present)], &[ended("a.mp4", 5.0)]);
    (dir, info)
}

fn append(dir: &Path, file: &str, text: &str) {
    let before = std::fs::read_to_string(dir.join(file)).unwrap();
    std::fs::write(dir.join(file), before + text).unwrap();
}

#[track_caller]
fn refused(dir: &Path, says: &[&str]) {
    let message = Run::open(dir).unwrap_err().to_string();
    for part in says {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
fn what_was_written_is_read_again() {
    let (dir, info) = small();
    let run = Run::open(dir.path()).unwrap();
    assert_eq!(run.info, info);
    assert_eq!(run.samples["a.mp4"][&(0, 0)]["v1"], line("a.mp4", 0, "v1", Said::Present));
    assert!(run.torn.is_empty() && run.outdone == 0 && run.ended.len() == 1);
}

#[test]
fn a_torn_last_line_is_no_line_and_is_told() {
    let (dir, _) = small();
    append(dir.path(), SAMPLES, "{\"video\": \"a.mp4\", \"cl");
    let run = Run::open(dir.path()).unwrap();
    assert_eq!((run.torn.as_slice(), run.samples["a.mp4"].len()), ([SAMPLES].as_slice(), 1));
}

#[test]
fn a_broken_line_before_the_last_is_named() {
    let (dir, _) = small();
    append(dir.path(), SAMPLES, "{\"video\": \n");
    refused(dir.path(), &["samples.jsonl:2", "is not a line of this file"]);
}

#[test]
fn fields_of_a_later_version_are_passed_over() {
    let (dir, info) = small();
    let mut value = serde_json::to_value(&info).unwrap();
    value["new"] = 1.into();
    std::fs::write(dir.path().join(INFO), value.to_string()).unwrap();
    let mut value = serde_json::to_value(line("a.mp4", 1, "v1", Said::Absent)).unwrap();
    value["new"] = 1.into();
    append(dir.path(), SAMPLES, &format!("{value}\n"));
    assert_eq!(Run::open(dir.path()).unwrap().samples["a.mp4"].len(), 2);
}

#[test]
fn lines_of_another_dataset_or_panel_are_refused() {
    let (dir, _) = small();
    append(dir.path(), SAMPLES, &(serde_json::to_string(&line("b.mp4", 0, "v1", Said::Absent)).unwrap() + "\n"));
    refused(dir.path(), &["samples.jsonl:2", "b.mp4", "another dataset"]);
    let (dir, _) = small();
    append(dir.path(), SAMPLES, &(serde_json::to_string(&line("a.mp4", 0, "v9", Said::Absent)).unwrap() + "\n"));
    refused(dir.path(), &["samples.jsonl:2", "v9", "panel"]);
    let (dir, _) = small();
    append(dir.path(), VIDEOS, &(serde_json::to_string(&ended("b.mp4", 5.0)).unwrap() + "\n"));
    refused(dir.path(), &["videos.jsonl:2", "b.mp4"]);
}

#[test]
fn a_run_json_that_is_none_is_refused_with_its_place() {
    let (dir, mut info) = small();
    let file = dir.path().join(INFO);
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write("{\n\"format\": ");
    refused(dir.path(), &["run.json:2", "is not JSON"]);
    write("{}");
    refused(dir.path(), &["run.json:1", "no `format`"]);
    write("{\"format\": \"ahwatch-bah-run.v2\"}");
    refused(dir.path(), &["ahwatch-bah-run.v2", FORMAT]);
    info.panel.push(info.panel[0].clone());
    write(&serde_json::to_string(&info).unwrap());
    refused(dir.path(), &["two judges are named \"v1\""]);
    info.panel[1].name = "v2".into();
    write(&serde_json::to_string(&info).unwrap());
    refused(dir.path(), &["2 judges", "odd"]);
    std::fs::remove_file(&file).unwrap();
    refused(dir.path(), &["run.json", "is not there", "bah eval --out"]);
    assert!(matches!(Run::open(&dir.path().join("nowhere")), Err(BahError::Unreadable { .. })));
}

#[test]
fn the_first_answer_counts_and_an_abstention_gives_way() {
    let (dir, _) = small();
    let text = |answer| serde_json::to_string(&line("a.mp4", 1, "v1", answer)).unwrap() + "\n";
    for answer in [Said::Abstained, Said::Absent, Said::Present, Said::Abstained] {
        append(dir.path(), SAMPLES, &text(answer));
    }
    let run = Run::open(dir.path()).unwrap();
    assert_eq!((run.samples["a.mp4"][&(0, 1)]["v1"].answer, run.outdone), (Said::Absent, 3));
}
