//! From a RUN's lines back to labels, by the session and the tally that live watching uses. Nothing is counted here.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::alert::event::LabelWord;
use crate::bah::run_dir::{AnswerLine, Run, Said, Secs, VideoInfo, VideoLine, Windows};
use crate::judge::proof::VoteFlag;
use crate::judge::tally::{Tally, tally};
use crate::judge::{Abstention, AbstentionReason, Answer, DropReason, LostReason, Outcome};
use crate::judge::{Score, Verdict, Vote, WindowId};
use crate::session::{Session, SessionSettings, Summary};
use crate::time::{MediaTime, Span};

/// What came of one video.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VideoResult {
    /// Its path in the dataset.
    pub video: String,
    /// 1: A/H somewhere in it.
    pub label: u8,
    /// Who talks.
    pub participant: String,
    /// `vote_of_max`: the majority of the judges' maxima.
    pub vote_of_max: LabelWord,
    /// `max_of_vote`: the maximum of the clips' majorities.
    pub max_of_vote: LabelWord,
    /// Each judge's maximum, in panel order.
    pub maxima: Vec<LabelWord>,
    /// Each judge's greatest P(Yes) over the clips.
    pub scores: Vec<Option<f64>>,
    /// The mean of those, if every judge has one.
    pub panel_score: Option<f64>,
    /// Seconds.
    pub elapsed_secs: f64,
    /// Seconds at least one judge voted on.
    pub judged_secs: f64,
    /// It was read to its end.
    pub complete: bool,
    /// What went wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its clips, in order.
    pub clips: Vec<ClipResult>,
    /// What was no clip, or was one that nobody could be asked about.
    pub unjudged: Vec<UnjudgedTime>,
}

/// One clip.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClipResult {
    /// Where in the video.
    pub span: Secs,
    /// The majority; None: no judge voted.
    pub label: Option<LabelWord>,
    /// What each judge said, in panel order; None: there is no line of it.
    pub answers: Vec<Option<Said>>,
    /// Each judge's P(Yes).
    pub scores: Vec<Option<f64>>,
    /// The mean of those, if every judge has one.
    pub panel_score: Option<f64>,
    /// Whether an annotated interval overlaps it; None: the annotation does not say.
    pub truth: Option<bool>,
}

/// A stretch nobody was asked about.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnjudgedTime {
    /// Where in the video.
    #[serde(flatten)]
    pub span: Secs,
    /// Why.
    pub reason: String,
}

/// The settings of every video of a run.
pub(super) fn settings(run: &Run) -> Arc<SessionSettings> {
    Arc::new(SessionSettings {
        judges: run.info.panel.iter().map(|judge| judge.name.as_str().into()).collect(),
        thresholds: run.info.panel.iter().map(|judge| judge.threshold).collect(),
        early_stop: run.info.early_stop,
        min_coverage: run.info.min_coverage,
        ..SessionSettings::default()
    })
}

/// Times in files are seconds that came from whole nanoseconds.
fn span(secs: Secs) -> Span {
    Span::new(MediaTime::from_secs_f64(secs.start_secs), MediaTime::from_secs_f64(secs.end_secs))
}

/// A line as the vote it records.
pub(crate) fn vote(line: &AnswerLine) -> Vote {
    let answer = match line.answer {
        Said::Present => Answer::Present,
        Said::Absent => Answer::Absent,
        Said::NotAsked => Answer::NotAsked,
        Said::Abstained => {
            // The reason counts for people, who read it in the line; for a label an abstention is an abstention.
            let detail = line.detail.clone().unwrap_or_default();
            Answer::Abstained(Abstention { reason: AbstentionReason::Refused, detail })
        }
    };
    Vote {
        score: line.score.map(|score| Score { p_yes: score.p_yes, label_mass: score.label_mass }),
        latency: Duration::from_secs_f64(line.latency_ms.clamp(0.0, 1e9) / 1e3),
        attempts: line.attempts,
        flag: line.flag.as_deref().and_then(VoteFlag::parse),
        ..Vote::new(line.judge.as_str().into(), answer)
    }
}

fn verdict(id: (u32, u32), span: Span, outcome: Outcome) -> Verdict {
    Verdict { window: WindowId { continuity: id.0, index: id.1 }, span, outcome }
}

/// Tells a session everything that is known of a video, and ends it.
fn replayed(settings: &Arc<SessionSettings>, info: &VideoInfo, windows: &Windows, end: Option<&VideoLine>) -> Summary {
    let now = Timestamp::UNIX_EPOCH;
    let mut session = Session::new("replay".into(), info.id.as_str().into(), Arc::clone(settings));
    for (id, lines) in windows {
        let Some(line) = lines.values().next() else { continue };
        let votes = lines.values().map(vote).collect();
        session.apply(&verdict(*id, span(line.span), Outcome::Votes(votes)), now);
    }
    for unjudged in end.iter().flat_map(|end| &end.unjudged) {
        let span = span(unjudged.span);
        let outcome = match (unjudged.window, unjudged.reason.as_str()) {
            (_, "tail") => {
                session.tail(0, span, now);
                continue;
            }
            (None, _) => {
                session.lost(0, span, LostReason::Outage, now);
                continue;
            }
            (Some(_), "missing_media") => Outcome::Lost(LostReason::MissingMedia),
            (Some(_), _) => Outcome::Dropped(DropReason::Shutdown),
        };
        if let Some(id) = unjudged.window {
            session.apply(&verdict(id, span, outcome), now);
        }
    }
    // Of a video that did not come to its end, what is known of its length counts as not judged.
    let elapsed = end.map(|end| end.elapsed_secs).or(info.duration_secs).unwrap_or_default();
    session.end(MediaTime::from_secs_f64(elapsed), now);
    session.summary()
}

/// The mean, if every judge has a score.
#[allow(clippy::cast_precision_loss, reason = "a panel is small")]
fn mean(scores: &[Option<f64>]) -> Option<f64> {
    let all: Option<Vec<f64>> = scores.iter().copied().collect();
    all.filter(|all| !all.is_empty()).map(|all| all.iter().sum::<f64>() / all.len() as f64)
}

/// Whether an annotated interval overlaps the clip. A video without A/H has none; of one with A/H and no usable interval nobody
/// knows where it is.
fn truth(info: &VideoInfo, clip: Secs) -> Option<bool> {
    if info.label == 0 {
        return Some(false);
    }
    let intervals = info.intervals.as_ref().filter(|intervals| !intervals.is_empty())?;
    Some(intervals.iter().any(|i| i.start_secs < clip.end_secs && clip.start_secs < i.end_secs))
}

/// What came of one video of a run.
pub(super) fn video(run: &Run, settings: &Arc<SessionSettings>, info: &VideoInfo) -> VideoResult {
    let none = Windows::new();
    let windows = run.samples.get(&info.id).unwrap_or(&none);
    let end = run.ended.get(&info.id);
    let summary = replayed(settings, info, windows, end);
    let judges = &settings.judges;
    let mut clips = Vec::new();
    for lines in windows.values() {
        let Some(line) = lines.values().next() else { continue };
        let votes: Vec<Vote> = lines.values().map(vote).collect();
        let label = match tally(judges, &votes) {
            Tally::Judged(label) => Some(label.into()),
            Tally::NotAsked | Tally::AllAbstained => None,
        };
        let of = |judge: &Arc<str>| lines.get(&**judge);
        // Under early stop the later clips have none, so that a maximum over them would say nothing.
        let score = |judge| of(judge).and_then(|line| line.score).map(|s| s.p_yes).filter(|_| !settings.early_stop);
        let scores: Vec<_> = judges.iter().map(score).collect();
        clips.push(ClipResult {
            span: line.span,
            label,
            answers: judges.iter().map(|judge| of(judge).map(|line| line.answer)).collect(),
            panel_score: mean(&scores),
            scores,
            truth: truth(info, line.span),
        });
    }
    let mut unjudged = Vec::new();
    for stretch in end.iter().flat_map(|end| &end.unjudged) {
        unjudged.push(UnjudgedTime { span: stretch.span, reason: stretch.reason.clone() });
        if stretch.window.is_some() {
            let judges = judges.len();
            clips.push(ClipResult {
                span: stretch.span,
                label: None,
                answers: vec![None; judges],
                scores: vec![None; judges],
                panel_score: None,
                truth: truth(info, stretch.span),
            });
        }
    }
    clips.sort_by(|a, b| a.span.start_secs.total_cmp(&b.span.start_secs));
    let greatest = |judge: usize| clips.iter().filter_map(|clip| clip.scores[judge]).max_by(f64::total_cmp);
    let scores: Vec<_> = (0..judges.len()).map(greatest).collect();
    VideoResult {
        video: info.id.clone(),
        label: info.label,
        participant: info.participant.clone(),
        vote_of_max: summary.labels.vote_of_max.into(),
        max_of_vote: summary.labels.max_of_vote.into(),
        maxima: summary.judges.iter().map(|judge| judge.max.into()).collect(),
        panel_score: mean(&scores),
        scores,
        elapsed_secs: summary.elapsed.as_secs_f64(),
        judged_secs: summary.coverage.judged().as_secs_f64(),
        complete: end.is_some_and(|end| end.error.is_none()),
        error: end.and_then(|end| end.error.clone()),
        clips,
        unjudged,
    }
}
