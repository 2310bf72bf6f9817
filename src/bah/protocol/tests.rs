//! One run without a finding, and each thing that can be wrong with it.

use super::*;
use crate::bah::metrics::Bootstrap;
use crate::bah::run_dir::tests::{ended, info, line};
use crate::bah::run_dir::{Said, ScoreLine, VideoLine};
use crate::bah::score::score;

/// A whole run of three videos with nothing to be said of it.
fn clean() -> Run {
    let videos = [("p/a.mp4", 1), ("p/b.mp4", 0), ("q/c.mp4", 0)];
    let judges = ["v1", "v2", "v3"];
    let mut run = Run {
        dir: "run".into(),
        info: info(&videos, &judges),
        samples: BTreeMap::new(),
        ended: videos.iter().map(|(v, _)| ((*v).to_owned(), ended(v, 5.0))).collect(),
        torn: Vec::new(),
        outdone: 0,
    };
    for (video, label) in videos {
        for judge in judges {
            run.add(line(video, 0, judge, if label == 1 { Said::Present } else { Said::Absent }));
        }
    }
    run
}

fn findings(run: &Run) -> Vec<(Severity, &'static str, String)> {
    let found = score(run, Bootstrap { draws: 0, seed: 0 }).findings;
    found.into_iter().map(|f| (f.severity, f.code, f.message)).collect()
}

#[track_caller]
fn finds(change: impl FnOnce(&mut Run), severity: Severity, code: &str, says: &str) {
    let mut run = clean();
    change(&mut run);
    let found = findings(&run);
    let hit = found.iter().any(|f| f.0 == severity && f.1 == code && f.2.contains(says));
    assert!(hit, "{severity:?} {code} {says:?} is not in {found:?}");
}

#[test]
fn a_run_by_the_protocol_has_no_finding() {
    assert_eq!(findings(&clean()), []);
}

#[test]
fn what_is_not_the_split_or_not_whole_is_a_failure() {
    use Severity::Failure;
    let other = |run: &mut Run| run.info.dataset.participants_elsewhere = [("train".into(), vec!["p".into()])].into();
    finds(other, Failure, "leakage", "1 of the test participants are in train as well: p");
    let limit = |run: &mut Run| (run.info.limit, run.info.dataset.videos_in_split) = (Some(3), 525);
    finds(limit, Failure, "limit", "3 of the 525 videos");
    finds(|run| drop(run.ended.remove("q/c.mp4")), Failure, "missing_videos", "1 of 3 videos");
    let broken = VideoLine { error: Some("no moov atom".into()), ..ended("q/c.mp4", 0.0) };
    finds(|run| drop(run.ended.insert("q/c.mp4".into(), broken)), Failure, "failed_videos", "q/c.mp4");
}

#[test]
fn a_judge_that_drifted_is_a_failure() {
    let version = |run: &mut Run, video: &str, version: &str| {
        let line = run.samples.get_mut(video).unwrap().get_mut(&(0, 0)).unwrap().get_mut("v2").unwrap();
        line.server_version = Some(version.into());
    };
    let servers = |run: &mut Run| {
        version(run, "p/a.mp4", "vLLM 0.32.0");
        version(run, "p/b.mp4", "vLLM 0.33.0");
    };
    finds(servers, Severity::Failure, "drift", "judge v2: its server changed during the run: vLLM 0.32.0, vLLM 0.33.0");
    let prompt = |run: &mut Run| run.info.panel[0].prompt_sha256 = "0".into();
    finds(prompt, Severity::Failure, "drift", "judge v1: its prompt changed");
}

#[test]
fn what_is_not_the_papers_protocol_is_a_warning() {
    use Severity::Warning;
    finds(|run| run.info.dataset.release = Some("1118".into()), Warning, "release", "of release 1118");
    finds(|run| run.info.dataset.release = None, Warning, "release", "no known release");
    finds(|run| run.info.dataset.split = "val".into(), Warning, "split", "val videos");
    let definitions = |run: &mut Run| {
        run.info.panel[1].prompt = "definitions".into();
        run.info.panel[1].prompt_sha256 = "1".into();
    };
    finds(definitions, Warning, "prompt", "judge v2 was not asked with the trained prompt, but with \"definitions\"");
    let greedy = |run: &mut Run| (run.info.panel[2].temperature, run.info.panel[2].top_p) = (Some(0.0), None);
    finds(greedy, Warning, "sampling", "judge v3 sampled otherwise");
    finds(
        |run| run.info.panel[2].seed = Some(7),
        Warning,
        "sampling",
        "judge v3 sampled otherwise (profile paper, temperature 0.3, top-p 0.95, seed 7)",
    );
    finds(|run| run.info.panel[0].threshold = Some(0.4), Warning, "threshold", "0.4");
    for (flag, code, says) in [
        ("degraded", "degraded", "judge v3 failed the canary"),
        ("unproven", "unproven", "judge v3 could not be shown to hear and see"),
        ("not_checked", "no_canary", "judge v3 was not asked about the built-in clips"),
    ] {
        let flagged = |run: &mut Run| {
            let line = run.samples.get_mut("p/b.mp4").unwrap().get_mut(&(0, 0)).unwrap().get_mut("v3").unwrap();
            line.flag = Some(flag.into());
        };
        finds(flagged, Warning, code, says);
        finds(flagged, Warning, code, "; 1 of its 3 answers");
    }
    let scored = |run: &mut Run| {
        run.info.panel[1].score = true;
        for line in run.samples.values_mut().flat_map(BTreeMap::values_mut).filter_map(|lines| lines.get_mut("v2")) {
            line.score = (line.video != "q/c.mp4").then_some(ScoreLine { p_yes: 0.5, label_mass: None });
        }
    };
    finds(scored, Warning, "no_score", "judge v2: 1 of its 3 answers came without a P(Yes)");
    finds(|run| run.info.window.hop_secs = 2.5, Warning, "window", "every 2.5 s");
    let silent = |run: &mut Run| {
        run.samples.get_mut("p/a.mp4").unwrap().insert((0, 0), BTreeMap::new());
        run.add(line("p/a.mp4", 0, "v1", Said::Abstained));
    };
    finds(silent, Warning, "abstentions", "judge v1 abstained on 1 of 3 clips");
    finds(silent, Warning, "undecided", "1 of 3 videos");
}

#[test]
fn the_worst_stands_first() {
    let mut run = clean();
    run.info.early_stop = true;
    run.info.limit = Some(1);
    run.info.dataset.release = None;
    run.torn.push("samples.jsonl");
    let severities: Vec<_> = findings(&run).into_iter().map(|f| f.0).collect();
    assert!(severities.is_sorted() && severities.len() == 4, "{severities:?}");
}

#[test]
fn the_papers_counts_are_its_percentages() {
    let per_mille = |right: u32| (f64::from(right) / 525.0 * 1000.0).round().to_string();
    assert_eq!(PAPER_TABLE.map(|(_, right)| per_mille(right)), ["819", "798", "653", "851"]);
}
