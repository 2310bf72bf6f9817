//! What has to be known before a run's numbers are read: where it is not the published protocol, or not a whole run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;

use super::run_dir::{AnswerLine, Run};
use super::score::VideoResult;
use crate::digest::sha256;
use crate::judge::prompt::SHIPPED;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The numbers do not say what they seem to.
    Failure,
    /// They are not comparable with the paper's.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// In lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// One word, for programs.
    pub code: &'static str,
    /// One sentence, for people.
    pub message: String,
}

/// The release that the paper's test set is of, and its test videos: all of them, and those with A/H.
pub const PAPER_RELEASE: &str = "2026-01-31";
/// See [`PAPER_RELEASE`].
pub const PAPER_TEST: (usize, usize) = (525, 318);

/// The paper's Table II: checkpoint, and right answers of 525 test videos. Counts, since all four percentages are whole ones.
pub const PAPER_TABLE: [(&str, u32); 4] =
    [("v1: LoRA, 1 epoch", 430), ("v2: full, 2 epochs", 419), ("v3: full, 3 epochs", 343), ("majority vote", 447)];

/// A judge that abstains on more than this share of its clips is told.
const MANY_ABSTENTIONS: f64 = 0.02;
/// The paper's sampling.
const PAPER_SAMPLING: (f64, f64) = (0.3, 0.95);
/// So many names are listed; the rest is counted.
const NAMES: usize = 5;

/// SHA-256 of a judge's words: the prompt's text with its tags, and the system message.
#[must_use]
pub fn prompt_digest(prompt: &str, system: &str) -> String {
    sha256([prompt.trim_end_matches(['\r', '\n']), "\n", system])
}

/// The digest of the trained prompt with the published system message.
#[must_use]
pub fn trained_digest() -> String {
    prompt_digest(SHIPPED[0].1, "You are a Multimodal Emotion Analysis Expert.")
}

/// What was found about a run, the worst first.
#[must_use]
pub fn check(run: &Run, videos: &[VideoResult]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |severity, code, message: String| findings.push(Finding { severity, code, message });
    dataset(run, &mut add);
    whole(run, videos, &mut add);
    if run.info.via == "import" {
        add(
            Severity::Note,
            "imported",
            "read from released result files: prompt, sampling, media and seconds are not known; clips count as 5 s each".into(),
        );
    } else {
        panel(run, &mut add);
        proofs(run, &mut add);
        scores(run, &mut add);
        drift(run, &mut add);
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn dataset(run: &Run, add: &mut impl FnMut(Severity, &'static str, String)) {
    let (info, dataset) = (&run.info, &run.info.dataset);
    for (split, people) in dataset.participants_elsewhere.iter().filter(|(_, people)| !people.is_empty()) {
        add(
            Severity::Failure,
            "leakage",
            format!("{} of the {} participants are in {split} as well: {}", people.len(), dataset.split, some(people)),
        );
    }
    if let Some(limit) = info.limit {
        add(
            Severity::Failure,
            "limit",
            format!(
                "--limit {limit}: these numbers are of {} of the {} videos of {}, the first of its list, not of the split",
                info.videos.len(),
                dataset.videos_in_split,
                dataset.split
            ),
        );
    }
    if dataset.split != "test" {
        add(
            Severity::Warning,
            "split",
            format!("these are the {} videos; the paper's numbers are of the test videos", dataset.split),
        );
    }
    match dataset.release.as_deref() {
        Some(PAPER_RELEASE) => {}
        Some(other) => add(
            Severity::Warning,
            "release",
            format!("this is the split of release {other}; the paper's numbers are of release {PAPER_RELEASE}"),
        ),
        None if info.via == "import" => {}
        None => add(
            Severity::Warning,
            "release",
            format!(
                "a {} split of {} videos is of no known release (BAH of {PAPER_RELEASE} has {} test videos)",
                dataset.split, dataset.videos_in_split, PAPER_TEST.0
            ),
        ),
    }
    if info.early_stop {
        add(
            Severity::Note,
            "early_stop",
            "early stop: a judge was not asked again after its first Present of a video. `vote_of_max` is what it would be; \
             clip metrics, scores and `max_of_vote` No are not reported"
                .into(),
        );
    }
    #[allow(clippy::float_cmp, reason = "the published values are exact")]
    if info.window.window_secs != 5.0 || info.window.hop_secs != 5.0 {
        add(
            Severity::Warning,
            "window",
            format!(
                "clips of {} s every {} s; the paper's are of 5 s every 5 s",
                info.window.window_secs, info.window.hop_secs
            ),
        );
    }
}

fn whole(run: &Run, videos: &[VideoResult], add: &mut impl FnMut(Severity, &'static str, String)) {
    let missing: Vec<_> = videos.iter().filter(|v| !v.complete && v.error.is_none()).map(|v| &v.video).collect();
    if !missing.is_empty() {
        add(
            Severity::Failure,
            "missing_videos",
            format!(
                "{} of {} videos were not evaluated to their end: {}; `ahwatch bah eval` with the same --out goes on",
                missing.len(),
                videos.len(),
                some(&missing)
            ),
        );
    }
    let failed: Vec<_> = videos.iter().filter(|v| v.error.is_some()).map(|v| &v.video).collect();
    if !failed.is_empty() {
        add(
            Severity::Failure,
            "failed_videos",
            format!("{} of {} videos could not be read to their end: {}", failed.len(), videos.len(), some(&failed)),
        );
    }
    let undecided = videos.iter().filter(|v| v.vote_of_max.answer().is_none()).count();
    if undecided > 0 {
        add(
            Severity::Warning,
            "undecided",
            format!(
                "the panel is undecided about {undecided} of {} videos; both ways to count them are given",
                videos.len()
            ),
        );
    }
    for name in &run.torn {
        add(
            Severity::Note,
            "torn_line",
            format!("the last line of {name} was torn by a kill and does not count; `eval` asks again"),
        );
    }
    for judge in &run.info.panel {
        let lines = lines_of(run, &judge.name);
        let (asked, abstained) = lines.fold((0_u32, 0_u32), |(asked, abstained), line| match line.answer {
            super::run_dir::Said::NotAsked => (asked, abstained),
            answer => (asked + 1, abstained + u32::from(!answer.is_answer())),
        });
        if asked > 0 && f64::from(abstained) > MANY_ABSTENTIONS * f64::from(asked) {
            let share = 100.0 * f64::from(abstained) / f64::from(asked);
            add(
                Severity::Warning,
                "abstentions",
                format!("judge {} abstained on {abstained} of {asked} clips ({share:.1} %)", judge.name),
            );
        }
    }
}

fn panel(run: &Run, add: &mut impl FnMut(Severity, &'static str, String)) {
    let trained = trained_digest();
    for judge in &run.info.panel {
        let name = &judge.name;
        if judge.prompt_sha256 != trained {
            add(
                Severity::Warning,
                "prompt",
                format!("judge {name} was not asked with the trained prompt, but with {:?}", judge.prompt),
            );
        }
        let sampling = (judge.temperature, judge.top_p);
        if sampling != (Some(PAPER_SAMPLING.0), Some(PAPER_SAMPLING.1)) || judge.seed.is_some() {
            let mut how = format!("profile {}", judge.profile);
            if let Some(temperature) = judge.temperature {
                let _ = write!(how, ", temperature {temperature}");
            }
            if let Some(top_p) = judge.top_p {
                let _ = write!(how, ", top-p {top_p}");
            }
            if let Some(seed) = judge.seed {
                let _ = write!(how, ", seed {seed}");
            }
            add(
                Severity::Warning,
                "sampling",
                format!("judge {name} sampled otherwise ({how}); the paper: temperature 0.3, top-p 0.95, no seed"),
            );
        }
        if let Some(threshold) = judge.threshold {
            add(
                Severity::Warning,
                "threshold",
                format!("judge {name} says Present from P(Yes) {threshold} on; the paper goes by the text"),
            );
        }
        if judge.constrain {
            add(Severity::Note, "constrained", format!("judge {name}: the server was asked to constrain the answer"));
        }
    }
    if run.info.panel.len() != 3 {
        add(Severity::Note, "panel", format!("a panel of {}; the paper's vote is of three", run.info.panel.len()));
    }
}

/// Judges of which it is not known that they hear and see, or known that they do not.
fn proofs(run: &Run, add: &mut impl FnMut(Severity, &'static str, String)) {
    for judge in &run.info.panel {
        let (mut answers, mut flagged) = (0_u32, BTreeMap::<&str, u32>::new());
        for line in lines_of(run, &judge.name).filter(|line| line.answer.is_answer()) {
            answers += 1;
            if let Some(flag) = &line.flag {
                *flagged.entry(flag).or_default() += 1;
            }
        }
        for (flag, count) in flagged {
            let (code, why) = match flag {
                "degraded" => {
                    ("degraded", "failed the canary, it does not take in all that it is sent, and was let vote")
                }
                "not_checked" => ("no_canary", "was not asked about the built-in clips (--no-canary)"),
                _ => (
                    "unproven",
                    "could not be shown to hear and see: its server gave no answer or no log-probabilities",
                ),
            };
            add(Severity::Warning, code, format!("judge {} {why}; {count} of its {answers} answers", judge.name));
        }
    }
}

/// Judges whose P(Yes) was asked for and did not come; otherwise a missing average precision would be a riddle.
fn scores(run: &Run, add: &mut impl FnMut(Severity, &'static str, String)) {
    for judge in run.info.panel.iter().filter(|judge| judge.score) {
        let answers = || lines_of(run, &judge.name).filter(|line| line.answer.is_answer());
        let (all, without) = (answers().count(), answers().filter(|line| line.score.is_none()).count());
        if without > 0 {
            let message = format!(
                "judge {}: {without} of its {all} answers came without a P(Yes) that can be read, although it was asked for; \
                 average precision goes by the rest",
                judge.name
            );
            add(Severity::Warning, "no_score", message);
        }
    }
}

/// A judge that was not the same throughout.
fn drift(run: &Run, add: &mut impl FnMut(Severity, &'static str, String)) {
    for judge in &run.info.panel {
        let (mut prompts, mut servers) = (BTreeSet::new(), BTreeSet::new());
        for line in lines_of(run, &judge.name).filter(|line| line.attempts > 0) {
            prompts.insert(line.prompt_sha256.as_str());
            servers.extend(line.server_version.as_deref());
        }
        if prompts.iter().any(|prompt| *prompt != judge.prompt_sha256) {
            add(Severity::Failure, "drift", format!("judge {}: its prompt changed during the run", judge.name));
        }
        if servers.len() > 1 {
            let servers: Vec<_> = servers.into_iter().collect();
            add(
                Severity::Failure,
                "drift",
                format!("judge {}: its server changed during the run: {}", judge.name, servers.join(", ")),
            );
        }
    }
}

fn lines_of<'a>(run: &'a Run, judge: &'a str) -> impl Iterator<Item = &'a AnswerLine> {
    run.samples.values().flat_map(BTreeMap::values).filter_map(move |lines| lines.get(judge))
}

/// The first names, and how many more.
fn some(names: &[impl AsRef<str>]) -> String {
    let mut text = names.iter().take(NAMES).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if names.len() > NAMES {
        let _ = write!(text, " and {} more", names.len() - NAMES);
    }
    text
}

#[cfg(test)]
mod tests;
