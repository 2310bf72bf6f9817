//! Labels against a plain re-statement of the paper's two equations; numbers of a small run counted by hand.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::bah::run_dir::tests::{ended, info, line};
use crate::bah::run_dir::{AnswerLine, Run, ScoreLine, Secs, VideoLine};

const NONE: Bootstrap = Bootstrap { draws: 0, seed: 0 };

fn run(videos: &[(&str, u8)], judges: &[&str], lines: Vec<AnswerLine>, ends: Vec<VideoLine>) -> Run {
    let mut run = Run {
        dir: "some/run-1".into(),
        info: info(videos, judges),
        samples: BTreeMap::new(),
        ended: ends.into_iter().map(|line| (line.video.clone(), line)).collect(),
        torn: Vec::new(),
        outdone: 0,
    };
    for line in lines {
        run.add(line);
    }
    run
}

/// Eq. 2, `y = max_i y_i`, for each judge; then Eq. 3, the majority of the judges; in the words of the paper, for videos in which
/// every judge answered every clip.
fn plain(answers: &[Vec<bool>]) -> (Vec<bool>, bool) {
    let maxima: Vec<bool> = answers.iter().map(|clips| clips.contains(&true)).collect();
    let yes = maxima.iter().filter(|max| **max).count();
    (maxima, yes > answers.len() / 2)
}

/// The maximum of the clips' majorities.
fn plain_max_of_vote(answers: &[Vec<bool>]) -> bool {
    let (panel, clips) = (answers.len(), answers[0].len());
    let yes = |clip: usize| answers.iter().filter(|judge| judge[clip]).count();
    (0..clips).any(|clip| 2 * yes(clip) > panel)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn labels_are_the_two_equations(
        (judges, clips) in (0_usize..4, 1_usize..9).prop_map(|(half, clips)| (2 * half + 1, clips)),
        seed in prop::collection::vec(0_u8..4, 7 * 9),
    ) {
        // A quarter of the answers is Yes, so that both labels occur.
        let answers: Vec<Vec<bool>> =
            (0..judges).map(|j| (0..clips).map(|c| seed[j * 9 + c] == 0).collect()).collect();
        let names: Vec<String> = (0..judges).map(|j| format!("v{j}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut lines = Vec::new();
        for (name, said) in names.iter().zip(&answers) {
            for (index, yes) in (0..).zip(said) {
                lines.push(line("a.mp4", index, name, if *yes { Said::Present } else { Said::Absent }));
            }
        }
        let end = ended("a.mp4", 5.0 * f64::from(u32::try_from(clips).unwrap()));
        let scored = score(&run(&[("a.mp4", 1)], &names, lines, vec![end]), NONE);
        let (maxima, vote) = plain(&answers);
        let video = &scored.videos[0];
        prop_assert_eq!(video.vote_of_max.answer(), Some(vote));
        prop_assert_eq!(video.max_of_vote.answer(), Some(plain_max_of_vote(&answers)));
        prop_assert_eq!(video.maxima.iter().map(|max| max.answer()).collect::<Vec<_>>(), maxima.into_iter().map(Some).collect::<Vec<_>>());
        for (clip, result) in video.clips.iter().enumerate() {
            let yes = answers.iter().filter(|judge| judge[clip]).count();
            prop_assert_eq!(result.label.unwrap().answer(), Some(2 * yes > judges));
        }
    }
}

fn with_score(mut line: AnswerLine, p_yes: f64) -> AnswerLine {
    line.score = Some(ScoreLine { p_yes, label_mass: Some(0.9) });
    line
}

/// Three judges on four videos of 10 s: `p/a` hit, `p/b` missed by one, `q/c` a false alarm, `q/d` unanswered by two.
fn small() -> Run {
    let videos = [("p/a.mp4", 1), ("p/b.mp4", 1), ("q/c.mp4", 0), ("q/d.mp4", 0)];
    let (yes, no, none) = (Said::Present, Said::Absent, Said::Abstained);
    let said = [
        [[yes, no], [no, yes], [no, no]],
        [[yes, no], [no, no], [yes, no]],
        [[no, yes], [yes, no], [no, no]],
        [[no, no], [none, none], [none, no]],
    ];
    let p = |answer| if answer == yes { 0.75 } else { 0.25 };
    let mut lines = Vec::new();
    for ((video, _), judges) in videos.iter().zip(said) {
        for (judge, clips) in ["v1", "v2", "v3"].iter().zip(judges) {
            for (index, answer) in (0..).zip(clips) {
                let line = line(video, index, judge, answer);
                lines.push(if answer.is_answer() { with_score(line, p(answer)) } else { line });
            }
        }
    }
    let mut run = run(&videos, &["v1", "v2", "v3"], lines, videos.iter().map(|(v, _)| ended(v, 10.0)).collect());
    run.info.videos[0].intervals = Some(vec![Secs { start_secs: 1.0, end_secs: 4.0 }]);
    run.info.videos[1].intervals = Some(Vec::new());
    run
}

fn system<'a>(level: &'a Level, name: &str) -> &'a System {
    level.systems.iter().find(|system| system.name == name).unwrap()
}

#[test]
fn a_small_run_is_scored_as_counted_by_hand() {
    let scored = score(&small(), Bootstrap { draws: 200, seed: 1 });
    let labels: Vec<_> = scored.videos.iter().map(|v| v.vote_of_max.as_str()).collect();
    // Two judges are undecided about d: one covers half of it, the other nothing.
    assert_eq!(labels, ["present", "present", "present", "undecided"]);
    let labels: Vec<_> = scored.videos.iter().map(|v| v.max_of_vote.as_str()).collect();
    assert_eq!(labels, ["absent", "present", "absent", "undecided"]);
    let panel = system(&scored.video, "panel (vote_of_max)");
    assert_eq!(
        panel.confusion,
        Confusion { true_positive: 2, false_positive: 1, abstained_negative: 1, ..Confusion::default() }
    );
    let rates = panel.counted_wrong.rates.unwrap();
    assert!((rates.n, rates.accuracy, rates.precision, rates.recall) == (4, 0.5, 0.5, 1.0), "{rates:?}");
    let rates = panel.left_out.rates.unwrap();
    assert!((rates.n, rates.precision, rates.macro_f1) == (3, 2.0 / 3.0, 0.4), "{rates:?}");
    assert!(panel.counted_wrong.intervals.contains_key(&super::super::metrics::Metric::ApExact));
    // Videos by the greatest P(Yes) of v1: 0.75, 0.75, 0.75, 0.25.
    assert_eq!(scored.videos[3].scores, [Some(0.25), None, Some(0.25)]);
    assert_eq!((scored.videos[3].panel_score, scored.videos[0].panel_score), (None, Some((0.75 + 0.75 + 0.25) / 3.0)));
    assert_eq!(system(&scored.video, "always Yes").counted_wrong.rates.unwrap().accuracy.to_bits(), 0.5_f64.to_bits());
    assert_eq!(scored.video.participants, 2);
}

#[test]
fn clips_have_two_truths_and_are_told_where_neither_is_known() {
    let scored = score(&small(), NONE);
    // b is positive without a usable interval: its two clips have no truth of their own.
    assert_eq!(scored.clips_without_truth, 2);
    let clip = scored.clip.unwrap();
    assert_eq!((clip.n, clip.positives), (6, 1));
    assert_eq!(system(&clip, "v1").confusion.true_positive, 1);
    let inherited = scored.clip_video_truth.unwrap();
    assert_eq!((inherited.n, inherited.positives), (8, 4));
    assert_eq!(system(&inherited, "v2").confusion.abstained_negative, 2);
}

#[test]
fn books_pairs_and_groups_are_there() {
    let scored = score(&small(), NONE);
    let v2 = &scored.judges[1];
    assert_eq!((v2.present, v2.absent, v2.abstained["deadline"], v2.requests), (2, 4, 2, 8));
    assert_eq!(scored.pairs.len(), 3);
    assert_eq!((scored.vote.accuracy, scored.vote.best_judge), (Some(0.5), Some(0.75)));
    let people: Vec<_> = scored.breakdown.iter().filter(|g| g.by == "participant").collect();
    assert_eq!(
        people.iter().map(|g| (g.value.as_str(), g.confusion.positives())).collect::<Vec<_>>(),
        [("p", 2), ("q", 0)]
    );
    assert!(scored.breakdown.iter().any(|g| g.by == "gender" && g.value == "unknown"));
    assert!((scored.time.elapsed_secs, scored.time.judged_secs) == (40.0, 40.0), "{:?}", scored.time);
}

#[test]
fn early_stop_keeps_the_vote_and_reports_no_clips() {
    let whole = score(&small(), NONE);
    let mut stopped = small();
    stopped.info.early_stop = true;
    for judges in stopped.samples.values_mut() {
        let first: Vec<String> =
            judges[&(0, 0)].values().filter(|l| l.answer == Said::Present).map(|l| l.judge.clone()).collect();
        for judge in first {
            let line = judges.get_mut(&(0, 1)).unwrap().get_mut(&judge).unwrap();
            (line.answer, line.score, line.attempts) = (Said::NotAsked, None, 0);
        }
    }
    let early = score(&stopped, NONE);
    let labels = |scored: &Scored| scored.videos.iter().map(|v| v.vote_of_max).collect::<Vec<_>>();
    assert_eq!(labels(&early), labels(&whole));
    assert!(early.clip.is_none() && early.clip_video_truth.is_none());
    assert_eq!(early.judges.iter().map(|j| j.not_asked).collect::<Vec<_>>(), [2, 1, 1]);
    assert!(system(&early.video, "v1").counted_wrong.average_precision.is_none());
}

#[test]
fn a_video_that_was_not_evaluated_is_no_no() {
    let mut run = small();
    run.ended.remove("q/c.mp4");
    run.samples.remove("q/c.mp4");
    run.info.videos[2].duration_secs = Some(10.0);
    let scored = score(&run, NONE);
    assert_eq!(scored.videos[2].vote_of_max, LabelWord::Undecided);
    assert_eq!(system(&scored.video, "v1").confusion.abstained_negative, 1);
    assert!(scored.findings.iter().any(|f| f.code == "missing_videos" && f.message.contains("q/c.mp4")));
    assert_eq!(scored.time.unjudged_secs["not_evaluated"].to_bits(), 10.0_f64.to_bits());
}

#[test]
fn runs_of_different_splits_are_not_compared() {
    let (first, mut second) = (score(&small(), NONE), score(&small(), NONE));
    let same = &between(&[first.clone(), second.clone()])[0];
    assert_eq!((same.videos, same.pair.unwrap().agreement), (4, Some(1.0)));
    second.dataset.digest = "e".into();
    let other = &between(&[first, second])[0];
    assert!(other.refused.as_ref().unwrap().contains("different splits") && other.mcnemar.is_none());
}
