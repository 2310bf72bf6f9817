//! `data` of a session's beginning and end, and of what participant and operator do in between.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::proof::ProofWord;
use super::{Head, Judgement, LabelWord, LabelsByRule, calibrated, finite, secs};
use crate::alert::{Actor, advisory};
use crate::judge::{Label, Usage};
use crate::session::summary::ASSUMED_FALSE_POSITIVES;
use crate::session::{Account, Books, JudgeSummary, Rule, SessionKind, SessionSettings, Summary};

/// A session began, with what it keeps while it lasts.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SessionStarted {
    #[serde(flatten)]
    head: Head,
    /// Who judges. `heuristic`: the embedded index of hesitation cues, not calibrated.
    kind: Judgement,
    /// False for `heuristic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    calibrated: Option<bool>,
    /// The panel, in order.
    judges: Vec<JudgeNamed>,
    /// The rule that alerts.
    rule: RuleWord,
    /// Whether a judge is left out once its session max is Present.
    early_stop: bool,
    /// Share of the session without tail to be covered before anything is called absent.
    min_coverage: f64,
    /// Present windows in a row that open an episode.
    open_windows: u32,
    /// Absent windows that close it.
    clear_windows: u32,
    /// No episode alert within this of the last one sent.
    cooldown_secs: f64,
}

/// A judge of the panel.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct JudgeNamed {
    /// Its name.
    judge: String,
    /// Its threshold on P(Yes); null: its text decides.
    threshold: Option<f64>,
    /// Whether it was seen to hear and see when the session began; null for the embedded index.
    proof: Option<ProofWord>,
}

/// How window votes become the session's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleWord {
    /// The majority of the judges' session maxima.
    VoteOfMax,
    /// The maximum of the windows' majorities.
    MaxOfVote,
}

impl From<Rule> for RuleWord {
    fn from(rule: Rule) -> Self {
        match rule {
            Rule::VoteOfMax => Self::VoteOfMax,
            Rule::MaxOfVote => Self::MaxOfVote,
        }
    }
}

impl RuleWord {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VoteOfMax => Rule::VoteOfMax.as_str(),
            Self::MaxOfVote => Rule::MaxOfVote.as_str(),
        }
    }
}

pub(super) fn started(head: Head, settings: &SessionSettings) -> SessionStarted {
    let judge = |(n, name): (usize, &std::sync::Arc<str>)| JudgeNamed {
        judge: name.to_string(),
        threshold: settings.thresholds.get(n).copied().flatten().and_then(finite),
        proof: settings.proofs.get(n).copied().map(Into::into),
    };
    SessionStarted {
        head,
        kind: settings.kind.into(),
        calibrated: calibrated(settings.kind),
        judges: settings.judges.iter().enumerate().map(judge).collect(),
        rule: settings.rule.into(),
        early_stop: settings.early_stop,
        // Not-a-number asks for everything, as in the session itself.
        min_coverage: finite(settings.min_coverage).unwrap_or(1.0),
        open_windows: settings.open_windows,
        clear_windows: settings.clear_windows,
        cooldown_secs: secs(settings.cooldown),
    }
}

/// A session was paused, goes on, or was withdrawn and deleted.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SessionChanged {
    #[serde(flatten)]
    head: Head,
    /// Who asked for it.
    by: ActorWord,
}

/// Who asked for something.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorWord {
    /// The person watched.
    Participant,
    /// Somebody who runs the program.
    Operator,
}

pub(super) fn changed(head: Head, by: Actor) -> SessionChanged {
    let by = match by {
        Actor::Participant => ActorWord::Participant,
        Actor::Operator => ActorWord::Operator,
    };
    SessionChanged { head, by }
}

/// A session ended: its labels and its books.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SessionEnded {
    #[serde(flatten)]
    head: Head,
    /// Who judged.
    kind: Judgement,
    /// False for `heuristic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    calibrated: Option<bool>,
    /// One sentence for a person; says nothing of time not judged.
    verdict: String,
    /// The standing line.
    advisory: &'static str,
    /// The rule the session goes by.
    rule: RuleWord,
    /// The label under that rule.
    label: LabelWord,
    /// The labels under both rules.
    labels: LabelsByRule,
    /// Whether judges were left out once they had said Present.
    early_stop: bool,
    /// The panel's members, in order.
    judges: Vec<JudgeBooks>,
    /// How long the session is; the sum of everything in `coverage`.
    elapsed_secs: f64,
    /// What became of every second.
    coverage: CoverageSecs,
    /// Judged time over elapsed time without tail.
    coverage_ratio: f64,
    /// What became of the windows.
    windows: WindowTotals,
    /// Null under early stop, which does not report episodes.
    alarms: Option<AlarmTotals>,
    /// A warning where the session is so long that its label says little; else null.
    saturation: Option<SaturationHint>,
}

/// One judge over the session.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct JudgeBooks {
    /// Its name.
    judge: String,
    /// Its session max.
    max: LabelWord,
    /// Windows it called Present.
    present: u32,
    /// Windows it called Absent.
    absent: u32,
    /// Windows it was not asked about, by early stop.
    not_asked: u32,
    /// Windows it abstained on, by reason.
    abstained: BTreeMap<String, u32>,
    /// How much of the session its own votes cover.
    covered_secs: f64,
    /// What asking it took.
    usage: UsageSums,
}

/// What asking a judge took, over a session.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct UsageSums {
    /// Requests sent, repeated ones included.
    requests: u64,
    /// Of these, the repeated ones: all but the first of each window.
    retries: u64,
    /// From each window's first request to its answer or the giving up, summed. Windows run beside each other.
    waited_secs: f64,
    /// Answers whose tokens the server told; the sums below are over these.
    answers_with_tokens: u64,
    /// Tokens of prompts, media included.
    prompt_tokens: u64,
    /// Of these, sound; null: the server does not tell.
    prompt_audio_tokens: Option<u64>,
    /// Of these, pictures; null: the server does not tell.
    prompt_video_tokens: Option<u64>,
    /// Tokens of answers.
    completion_tokens: u64,
}

fn usage(usage: &Usage) -> UsageSums {
    UsageSums {
        requests: usage.requests,
        retries: usage.retries,
        waited_secs: (usage.waited.as_secs_f64() * 1e3).round() / 1e3,
        answers_with_tokens: usage.counted,
        prompt_tokens: usage.prompt,
        prompt_audio_tokens: usage.audio,
        prompt_video_tokens: usage.video,
        completion_tokens: usage.completion,
    }
}

fn judge(summary: &JudgeSummary) -> JudgeBooks {
    JudgeBooks {
        judge: summary.judge.to_string(),
        max: summary.max.into(),
        present: summary.present,
        absent: summary.absent,
        not_asked: summary.not_asked,
        abstained: summary.abstained.iter().map(|(reason, count)| (reason.as_str().to_owned(), *count)).collect(),
        covered_secs: secs(summary.covered),
        usage: usage(&summary.usage),
    }
}

/// Every second of the session, once.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct CoverageSecs {
    /// At least one judge voted.
    judged: JudgedSecs,
    /// Left out by choice.
    skipped: SkippedSecs,
    /// Left out for want of time.
    dropped: DroppedSecs,
    /// Could not be judged.
    lost: LostSecs,
    /// Covered by no window, at the end of continuities.
    tail_secs: f64,
}

/// Judged time by label.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, clippy::struct_field_names, reason = "the names are the labels; units belong in names")]
pub struct JudgedSecs {
    total_secs: f64,
    present_secs: f64,
    absent_secs: f64,
    undecided_secs: f64,
}

/// Skipped time by reason.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, clippy::struct_field_names, reason = "the names are the reasons; units belong in names")]
pub struct SkippedSecs {
    total_secs: f64,
    gate_secs: f64,
    early_stop_secs: f64,
    paused_secs: f64,
}

/// Dropped time by reason.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, clippy::struct_field_names, reason = "the names are the reasons; units belong in names")]
pub struct DroppedSecs {
    total_secs: f64,
    overload_secs: f64,
    shutdown_secs: f64,
}

/// Lost time by reason.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, clippy::struct_field_names, reason = "the names are the reasons; units belong in names")]
pub struct LostSecs {
    total_secs: f64,
    outage_secs: f64,
    missing_media_secs: f64,
    all_abstained_secs: f64,
}

fn coverage(books: &Books) -> CoverageSecs {
    let of = |account| secs(books.of(account));
    CoverageSecs {
        judged: JudgedSecs {
            total_secs: secs(books.judged()),
            present_secs: of(Account::Present),
            absent_secs: of(Account::Absent),
            undecided_secs: of(Account::Undecided),
        },
        skipped: SkippedSecs {
            total_secs: secs(books.skipped()),
            gate_secs: of(Account::SkippedGate),
            early_stop_secs: of(Account::SkippedEarlyStop),
            paused_secs: of(Account::SkippedPaused),
        },
        dropped: DroppedSecs {
            total_secs: secs(books.dropped()),
            overload_secs: of(Account::DroppedOverload),
            shutdown_secs: of(Account::DroppedShutdown),
        },
        lost: LostSecs {
            total_secs: secs(books.lost()),
            outage_secs: of(Account::LostOutage),
            missing_media_secs: of(Account::LostMissingMedia),
            all_abstained_secs: of(Account::LostAllAbstained),
        },
        tail_secs: secs(books.tail()),
    }
}

/// Windows by what became of them. Under early stop their labels say little.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names are the outcomes")]
pub struct WindowTotals {
    present: u32,
    absent: u32,
    undecided: u32,
    skipped: u32,
    dropped: u32,
    lost: u32,
}

/// Episodes and their alerts.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct AlarmTotals {
    /// Episodes opened.
    episodes: u32,
    /// Episode alerts sent; fewer, where the cooldown held some back.
    alerts: u32,
    /// Episode alerts per hour of judged time; null if nothing was judged.
    per_hour: Option<f64>,
}

/// Why the label of a long session says little: a running maximum only ever rises.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SaturationHint {
    /// How many windows the judged time is long.
    windows: u32,
    /// The share of windows wrongly called Present that is reckoned with.
    assumed_false_positive_rate: f64,
    /// Chance that a session of this length is Present by such errors alone.
    chance_of_present: f64,
    /// One sentence for a person.
    text: String,
}

/// The saturation warning of a summary, in words.
#[must_use]
pub fn saturation_text(summary: &Summary) -> Option<String> {
    summary.saturation().map(|hint| {
        let instead = if summary.alarms.is_some() { ", read the alarms per hour" } else { "" };
        format!(
            "Long session: were only {:.0} % of windows called present by mistake, a session of {} windows would be present \
             with {:.1} % anyway. Its label says little{instead}.",
            ASSUMED_FALSE_POSITIVES * 100.0,
            hint.windows,
            hint.chance_of_present * 100.0,
        )
    })
}

pub(super) fn ended(head: Head, summary: &Summary) -> SessionEnded {
    let kind: SessionKind = summary.kind;
    let label: Label = summary.labels.by(summary.rule);
    let counts = summary.windows;
    SessionEnded {
        head,
        kind: kind.into(),
        calibrated: calibrated(kind),
        verdict: summary.verdict(),
        advisory: advisory(kind),
        rule: summary.rule.into(),
        label: label.into(),
        labels: summary.labels.into(),
        early_stop: summary.early_stop,
        judges: summary.judges.iter().map(judge).collect(),
        elapsed_secs: secs(summary.elapsed),
        coverage: coverage(&summary.coverage),
        coverage_ratio: summary.coverage_ratio(),
        windows: WindowTotals {
            present: counts.present,
            absent: counts.absent,
            undecided: counts.undecided,
            skipped: counts.skipped,
            dropped: counts.dropped,
            lost: counts.lost,
        },
        alarms: summary.alarms.map(|alarms| AlarmTotals {
            episodes: alarms.episodes,
            alerts: alarms.alerts,
            per_hour: summary.alarms_per_hour(),
        }),
        saturation: summary.saturation().map(|hint| SaturationHint {
            windows: hint.windows,
            assumed_false_positive_rate: ASSUMED_FALSE_POSITIVES,
            chance_of_present: hint.chance_of_present,
            text: saturation_text(summary).unwrap_or_default(),
        }),
    }
}
