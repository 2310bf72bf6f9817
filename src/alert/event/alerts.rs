//! `data` of alerts, episodes, sources and judges.

use std::fmt::Write as _;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::proof::ProofWord;
use super::session::RuleWord;
use super::window::{CuesFound, cues};
use super::{Head, JudgeMax, Judgement, LabelsByRule, WindowNumber, calibrated, maxima};
use crate::alert::{Alert, AlertAbout, JudgeChange, JudgeState, SourceState, advisory, clock};
use crate::judge::{CueReading, Label};
use crate::session::{ClosedBy, Episode, SessionKind};
use crate::time::Span;

/// Somebody should look. Advisory, not a diagnosis.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AlertRaised {
    #[serde(flatten)]
    head: Head,
    /// About the session (once), or an episode of it.
    kind: AlertWord,
    /// Who judges. `heuristic`: of hesitation cues only.
    judged_by: Judgement,
    /// False for `heuristic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    calibrated: Option<bool>,
    /// One line for a person.
    text: String,
    /// The standing line that goes with every alert.
    advisory: &'static str,
    /// The session's rule.
    rule: RuleWord,
    /// The session's labels when it was raised.
    session_labels: LabelsByRule,
    /// Each judge's session max when it was raised.
    session_maxima: Vec<JudgeMax>,
    /// The window that raised it.
    window: WindowNumber,
    /// The episode's number in the session; null for a session alert.
    episode: Option<u32>,
    /// What the embedded index found in that window; null for models.
    cues: Option<CuesFound>,
    /// Of a service with a journal: whether it stood there when it was told. False: it may be lost should the service die.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) durable: Option<bool>,
}

/// What an alert is about.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertWord {
    /// The session's label became Present.
    Session,
    /// An episode opened.
    Episode,
}

pub(super) fn raised(head: Head, span: Span, alert: &Alert) -> AlertRaised {
    let (kind, episode) = match alert.about {
        AlertAbout::Session => (AlertWord::Session, None),
        AlertAbout::Episode(episode) => (AlertWord::Episode, Some(episode.number)),
    };
    AlertRaised {
        head,
        kind,
        judged_by: alert.kind.into(),
        calibrated: calibrated(alert.kind),
        text: text(span, alert),
        advisory: advisory(alert.kind),
        rule: alert.rule.into(),
        session_labels: alert.labels.into(),
        session_maxima: maxima(&alert.maxima),
        window: alert.window.into(),
        episode,
        cues: alert.cues.as_ref().map(cues),
        durable: None,
    }
}

/// One line on an alert; speaks of A/H only where a panel judged.
#[must_use]
pub fn text(span: Span, alert: &Alert) -> String {
    let at = format!("{}\u{2013}{}", clock(span.start()), clock(span.end()));
    let what = match alert.kind {
        SessionKind::Panel => "A/H",
        SessionKind::Heuristic => "Hesitation cues",
    };
    let mut text = match alert.about {
        AlertAbout::Session => format!("{what} present in this session, at {at}"),
        AlertAbout::Episode(episode) => format!("{what} present: episode {} at {at}", episode.number),
    };
    match (alert.kind, alert.about) {
        (SessionKind::Panel, AlertAbout::Session) => {
            let present = alert.maxima.iter().filter(|(_, max)| *max == Label::Present).count();
            let _ = write!(text, " ({present} of {} judges, {})", alert.maxima.len(), alert.rule);
        }
        (SessionKind::Panel, AlertAbout::Episode(_)) => {}
        (SessionKind::Heuristic, _) => {
            if let Some(top) = alert.cues.as_ref().map(cue_line).filter(|top| !top.is_empty()) {
                let _ = write!(text, " ({top})");
            }
        }
    }
    text
}

/// The strongest cues with their values, `long_pause 1.8 s, pitch_range 0.2`.
#[must_use]
pub fn cue_line(reading: &CueReading) -> String {
    let cue = |cue: &crate::judge::Cue| format!("{} {:.2} {}", cue.name, cue.value, cue.unit).trim_end().to_owned();
    reading.top.iter().filter(|cue| cue.value.is_finite()).take(3).map(cue).collect::<Vec<_>>().join(", ")
}

/// An episode opened: enough Present windows in a row.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct EpisodeOpened {
    #[serde(flatten)]
    head: Head,
    /// Counts from 1 in a session.
    episode: u32,
    /// Who judges.
    judged_by: Judgement,
    /// Present windows in it so far.
    present_windows: u32,
    /// Whether an alert goes with it; no, where the last one was too recent.
    alerted: bool,
}

pub(super) fn opened(head: Head, kind: SessionKind, episode: &Episode) -> EpisodeOpened {
    let Episode { number, present_windows, alerted, .. } = *episode;
    EpisodeOpened { head, episode: number, judged_by: kind.into(), present_windows, alerted }
}

/// An episode closed. Its span ends with its last Present window.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct EpisodeClosed {
    #[serde(flatten)]
    head: Head,
    /// Counts from 1 in a session.
    episode: u32,
    /// Who judges.
    judged_by: Judgement,
    /// Present windows in it.
    present_windows: u32,
    /// Whether an alert went with it.
    alerted: bool,
    /// What closed it.
    closed_by: ClosedWord,
}

/// What closed an episode.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClosedWord {
    /// Enough Absent windows in a row.
    Clear,
    /// The session ended.
    SessionEnd,
}

pub(super) fn closed(head: Head, kind: SessionKind, episode: &Episode, by: ClosedBy) -> EpisodeClosed {
    let Episode { number, present_windows, alerted, .. } = *episode;
    let closed_by = match by {
        ClosedBy::Clear => ClosedWord::Clear,
        ClosedBy::SessionEnd => ClosedWord::SessionEnd,
    };
    EpisodeClosed { head, episode: number, judged_by: kind.into(), present_windows, alerted, closed_by }
}

/// The source is away.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SourceLost {
    #[serde(flatten)]
    head: Head,
    /// What is done about it.
    state: SourceWord,
    /// One line on why.
    detail: String,
}

/// What is done about a lost source.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceWord {
    /// Tried again, with backoff, for ever.
    Retrying,
    /// It refuses the credentials; tried again at most once a minute.
    AuthFailed,
}

pub(super) fn source_lost(head: Head, state: SourceState, detail: &str) -> SourceLost {
    let state = match state {
        SourceState::Retrying => SourceWord::Retrying,
        SourceState::AuthFailed => SourceWord::AuthFailed,
    };
    SourceLost { head, state, detail: detail.to_owned() }
}

/// The source is back.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SourceRestored {
    #[serde(flatten)]
    head: Head,
    /// How long it was away.
    away_secs: f64,
}

pub(super) fn source_restored(head: Head, after: Duration) -> SourceRestored {
    SourceRestored { head, away_secs: after.as_secs_f64() }
}

/// A judge answers again or no longer does, or was found out. Of no session, and of no source.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct JudgeChanged {
    #[serde(flatten)]
    head: Head,
    /// Its name in the panel.
    judge: String,
    /// What it is now.
    state: JudgeWord,
    /// Whether it was seen to hear and see.
    proof: ProofWord,
    /// One line on why.
    detail: String,
}

/// A judge's health.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JudgeWord {
    /// It answers.
    Healthy,
    /// It does not answer, and is still asked.
    Failing,
    /// It is not asked, and stays in the denominator.
    SetAside,
    /// It failed, and votes all the same, flagged, because that was allowed.
    Degraded,
    /// It could not be found out whether it hears and sees; it votes, flagged.
    Unproven,
}

impl From<JudgeState> for JudgeWord {
    fn from(state: JudgeState) -> Self {
        match state {
            JudgeState::Healthy => Self::Healthy,
            JudgeState::Failing => Self::Failing,
            JudgeState::SetAside => Self::SetAside,
            JudgeState::Degraded => Self::Degraded,
            JudgeState::Unproven => Self::Unproven,
        }
    }
}

pub(super) fn judge_changed(head: Head, change: &JudgeChange) -> JudgeChanged {
    let state = change.state.into();
    let (judge, proof) = (change.judge.to_string(), change.proof.into());
    JudgeChanged { head, judge, state, proof, detail: change.detail.clone() }
}
