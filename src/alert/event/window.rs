//! `data` of the window events.

use schemars::JsonSchema;
use serde::Serialize;

use super::flags::{FlagsSeen, GateNumbers};
use super::proof::FlagWord;
use super::{Head, JudgeMax, Judgement, LabelWord, LabelsByRule, WindowNumber, calibrated, finite, maxima, secs};
use crate::alert::{JudgedWindow, LostTime, UnjudgedWindow, WindowQuality};
use crate::judge::{Answer, Cue, CueReading, DropReason, LostReason, Score, SkipReason, Tokens, Vote};

/// A window was judged by at least one judge.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct WindowJudged {
    #[serde(flatten)]
    head: Head,
    /// Which window.
    window: WindowNumber,
    /// Who judges. `heuristic`: the labels speak of hesitation cues, not of A/H.
    kind: Judgement,
    /// False for `heuristic`: its numbers are no probabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    calibrated: Option<bool>,
    /// The window's label: the majority of the whole panel.
    label: LabelWord,
    /// All votes, in panel order.
    votes: Vec<VoteCast>,
    /// The session's labels so far, this window included.
    session_labels: LabelsByRule,
    /// Each judge's session max so far, in panel order.
    session_maxima: Vec<JudgeMax>,
    /// How complete the window was; null where not known.
    quality: Option<Quality>,
}

pub(super) fn judged(head: Head, judged: &JudgedWindow) -> WindowJudged {
    WindowJudged {
        head,
        window: judged.window.into(),
        kind: judged.kind.into(),
        calibrated: calibrated(judged.kind),
        label: judged.label.into(),
        votes: judged.votes.iter().map(vote).collect(),
        session_labels: judged.labels.into(),
        session_maxima: maxima(&judged.maxima),
        quality: judged.quality.map(quality),
    }
}

/// A window, or time outside windows, was left out by choice.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct WindowSkipped {
    #[serde(flatten)]
    head: Head,
    /// Which window; null: time outside windows.
    window: Option<WindowNumber>,
    /// Why.
    reason: SkipWord,
    /// What the gate measured, for a person; null for other reasons.
    detail: Option<String>,
    /// What the gate measured; null for other reasons.
    gate: Option<GateNumbers>,
    /// How complete the window was; null where not known.
    quality: Option<Quality>,
}

/// Why time was left out by choice.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipWord {
    /// The gate found nothing worth asking about.
    Gate,
    /// Every judge's session max is Present already.
    EarlyStop,
    /// The session was paused.
    Paused,
}

pub(super) fn skipped(head: Head, unjudged: &UnjudgedWindow, reason: &SkipReason) -> WindowSkipped {
    let (reason, gate) = match reason {
        SkipReason::Gate(skip) => (SkipWord::Gate, Some(skip)),
        SkipReason::EarlyStop => (SkipWord::EarlyStop, None),
        SkipReason::Paused => (SkipWord::Paused, None),
    };
    let (detail, gate) = (gate.map(ToString::to_string), gate.map(GateNumbers::from));
    let (window, quality) = (unjudged.window.map(Into::into), unjudged.quality.map(quality));
    WindowSkipped { head, window, reason, detail, gate, quality }
}

/// A window, or time that never became one, was left out for want of time.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct WindowDropped {
    #[serde(flatten)]
    head: Head,
    /// Which window; null: the time never became one.
    window: Option<WindowNumber>,
    /// Why.
    reason: DropWord,
    /// How complete the window was; null where not known.
    quality: Option<Quality>,
}

/// Why time was left out that should have been judged.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DropWord {
    /// Newer windows were waiting.
    Overload,
    /// The session ended before it was judged.
    Shutdown,
}

pub(super) fn dropped(head: Head, unjudged: &UnjudgedWindow, reason: DropReason) -> WindowDropped {
    let reason = match reason {
        DropReason::Overload => DropWord::Overload,
        DropReason::Shutdown => DropWord::Shutdown,
    };
    WindowDropped { head, window: unjudged.window.map(Into::into), reason, quality: unjudged.quality.map(quality) }
}

/// A window, or time outside windows, could not be judged; or it is the rest of a continuity.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct WindowLost {
    #[serde(flatten)]
    head: Head,
    /// Which window; null: time outside windows.
    window: Option<WindowNumber>,
    /// Why.
    reason: LostWord,
    /// Who was asked and did not answer; empty for other reasons.
    votes: Vec<VoteCast>,
    /// How complete the window was; null where not known.
    quality: Option<Quality>,
}

/// Why time could not be judged.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LostWord {
    /// The source was away.
    Outage,
    /// Under half of the window's sound or pictures arrived.
    MissingMedia,
    /// Every judge that was asked abstained.
    AllAbstained,
    /// The rest of a continuity, too short for a window.
    Tail,
}

pub(super) fn lost(head: Head, unjudged: &UnjudgedWindow, reason: LostTime) -> WindowLost {
    let reason = match reason {
        LostTime::Lost(LostReason::Outage) => LostWord::Outage,
        LostTime::Lost(LostReason::MissingMedia) => LostWord::MissingMedia,
        LostTime::Lost(LostReason::AllAbstained) => LostWord::AllAbstained,
        LostTime::Tail => LostWord::Tail,
    };
    WindowLost {
        head,
        window: unjudged.window.map(Into::into),
        reason,
        votes: unjudged.votes.iter().map(vote).collect(),
        quality: unjudged.quality.map(quality),
    }
}

/// One judge's vote on one window.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct VoteCast {
    /// Its name in the panel.
    judge: String,
    /// What it said.
    answer: AnswerWord,
    /// Why it abstained.
    abstention: Option<AbstentionCast>,
    /// P(Yes), where it was asked for and given.
    score: Option<ScoreGiven>,
    /// From the first request being sent to the answer or the giving up.
    latency_ms: f64,
    /// Requests sent.
    attempts: u32,
    /// What to know of the judge before trusting the vote; null: nothing.
    flag: Option<FlagWord>,
    /// Where the last one was sent; null if none was.
    base_url: Option<String>,
    /// What the answer took; null where the server does not tell.
    tokens: Option<TokensTaken>,
    /// What the embedded index found; null for models.
    cues: Option<CuesFound>,
}

/// Tokens of one answer, as the server counted them.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct TokensTaken {
    /// Of the prompt, media included.
    prompt: u64,
    /// Of these, sound; null: the server does not tell.
    prompt_audio: Option<u64>,
    /// Of these, pictures; null: the server does not tell.
    prompt_video: Option<u64>,
    /// Of the answer.
    completion: u64,
}

/// What a judge said about a window.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerWord {
    /// Shows.
    Present,
    /// Does not show.
    Absent,
    /// No answer; decides nothing.
    Abstained,
    /// Left out by early stop; not an abstention.
    NotAsked,
}

/// Why a judge abstained.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AbstentionCast {
    /// The kind, such as `deadline` or `unparsable`. New ones may appear.
    reason: String,
    /// One line for a person.
    detail: String,
}

/// P(Yes) at the token that decides.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct ScoreGiven {
    /// 0 to 1, of Yes against No.
    p_yes: f64,
    /// Probability mass on Yes and No together; null where the answer was constrained to them.
    label_mass: Option<f64>,
}

pub(super) fn vote(vote: &Vote) -> VoteCast {
    let (answer, abstention) = match &vote.answer {
        Answer::Present => (AnswerWord::Present, None),
        Answer::Absent => (AnswerWord::Absent, None),
        Answer::NotAsked => (AnswerWord::NotAsked, None),
        Answer::Abstained(why) => {
            let why = AbstentionCast { reason: why.reason.as_str().to_owned(), detail: why.detail.clone() };
            (AnswerWord::Abstained, Some(why))
        }
    };
    VoteCast {
        judge: vote.judge.to_string(),
        answer,
        abstention,
        score: vote.score.and_then(score),
        latency_ms: millis(vote.latency.as_secs_f64()),
        attempts: vote.attempts,
        flag: vote.flag.map(Into::into),
        base_url: vote.base_url.as_deref().map(str::to_owned),
        tokens: vote.tokens.map(tokens),
        cues: vote.cues.as_ref().map(cues),
    }
}

fn tokens(tokens: Tokens) -> TokensTaken {
    TokensTaken {
        prompt: tokens.prompt,
        prompt_audio: tokens.audio,
        prompt_video: tokens.video,
        completion: tokens.completion,
    }
}

fn score(score: Score) -> Option<ScoreGiven> {
    finite(score.p_yes).map(|p_yes| ScoreGiven { p_yes, label_mass: score.label_mass.and_then(finite) })
}

/// What the embedded index of hesitation cues found. Not calibrated: no probability of anything.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CuesFound {
    /// 0 to 1; null if it could not be computed.
    index: Option<f64>,
    /// Name and version of the weights.
    version: String,
    /// Strongest first.
    top: Vec<CueFound>,
}

/// One cue as measured.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CueFound {
    /// Such as `long_pause`.
    name: String,
    /// In `unit`; null if it could not be measured.
    value: Option<f64>,
    /// Such as `s` or `1/s`; empty for ratios.
    unit: String,
    /// What it adds to the index.
    contribution: Option<f64>,
}

pub(super) fn cues(reading: &CueReading) -> CuesFound {
    let found = |cue: &Cue| CueFound {
        name: cue.name.to_string(),
        value: finite(cue.value),
        unit: cue.unit.to_string(),
        contribution: finite(cue.contribution),
    };
    CuesFound {
        index: finite(reading.index),
        version: reading.version.to_string(),
        top: reading.top.iter().map(found).collect(),
    }
}

/// How complete a window was.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Quality {
    /// `full`, or `partial` at the end of a continuity.
    extent: ExtentWord,
    /// Pictures the source delivered.
    pictures_seen: u32,
    /// Pictures it should have delivered.
    pictures_expected: u32,
    /// How much of the sound is filled-in silence; null: the window has no sound.
    sound_missing_secs: Option<f64>,
    /// Frames refused because the program was busy.
    refused_frames: u32,
    /// Time of the first sound minus that of the first picture; null without both.
    audio_offset_ms: Option<f64>,
    /// By how much the sound was moved because its clock and the pictures' drift apart; null: not known (yet), or not a live source.
    sound_moved_ms: Option<f64>,
    /// Sound and pictures may be more than 40 ms apart: one of their clocks was set, or one of them is delayed; null: not known
    /// (yet), or not a live source.
    sync_unreliable: Option<bool>,
    /// What else there is to know before trusting a verdict on it; null where nobody looked.
    flags: Option<FlagsSeen>,
}

/// Whether a window has its whole length.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExtentWord {
    /// It has.
    Full,
    /// The last of a continuity, kept although shorter.
    Partial,
}

fn quality(quality: WindowQuality) -> Quality {
    Quality {
        extent: if quality.full { ExtentWord::Full } else { ExtentWord::Partial },
        pictures_seen: quality.pictures_seen,
        pictures_expected: quality.pictures_expected,
        sound_missing_secs: quality.sound_missing.map(secs),
        refused_frames: quality.refused,
        audio_offset_ms: quality.audio_offset.map(|offset| millis(secs(offset))),
        sound_moved_ms: quality.alignment.map(|alignment| millis(secs(alignment.moved))),
        sync_unreliable: quality.alignment.map(|alignment| !alignment.reliable),
        flags: quality.flags.map(Into::into),
    }
}

/// Milliseconds to the microsecond.
fn millis(secs: f64) -> f64 {
    (secs * 1e6).round() / 1e3
}
