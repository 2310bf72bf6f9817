//! A clip goes in, a [`Verdict`] comes out, and nothing here fails: whatever goes wrong with a judge is its abstention.
//!
//! - `answer`: the text of a model's answer to Present or Absent, or why not.
//! - `openai`: the wire to endpoints; `circuit`: whether a `base_url` is asked at all; pure.
//! - `panel`: all judges of a window at once.
//! - `tally`: votes to a label; pure.
//! - `canary`: whether a judge hears and sees; `proof`: what that comes to; `fingerprint`: whether it answers as it did.
//! - `guard`: keeps both up to date over a panel. `outage`: who ceased to answer.
//! - `usage`: what judging took.
//! - `cues`: the embedded hesitation-cue index, in place of a panel, never inside one.

pub mod answer;
pub mod canary;
mod circuit;
pub mod cues;
pub mod fingerprint;
pub mod guard;
pub mod openai;
pub mod outage;
pub mod panel;
pub mod prompt;
pub mod proof;
pub mod reply;
mod request;
pub mod tally;
pub mod usage;

use std::sync::Arc;
use std::time::Duration;

use crate::gate::GateSkip;
use crate::time::Span;

pub use usage::{Tokens, Usage};

/// Whether A/H shows: of one vote, one window, one judge over a session, or a session.
///
/// `Absent < Present` (the paper's Eq. 2 takes a maximum over them); `Undecided` is below both and never stands for "No".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// Not enough votes, or too little of the session judged, to say either.
    Undecided,
    /// No A/H shows in what was judged.
    Absent,
    /// A/H shows.
    Present,
}

impl Label {
    /// The word of the wire: `present`, `absent`, `undecided`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Undecided => "undecided",
            Self::Absent => "absent",
            Self::Present => "present",
        }
    }
}

/// Why a judge gave no answer. An abstention decides nothing, and is never a "No".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abstention {
    /// The kind, for counting.
    pub reason: AbstentionReason,
    /// One line for a person. Holds no credential, no media and nothing a model said beyond 80 characters.
    pub detail: String,
}

/// The kinds of abstention, as counted and as written in events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AbstentionReason {
    /// No complete answer before the judge's deadline.
    Deadline,
    /// The endpoint could not be reached, or the connection broke.
    Unreachable,
    /// No `base_url` of the judge answered lately, so it was not asked.
    CircuitOpen,
    /// 401 or 403.
    Unauthorized,
    /// 404, or a 400 that says the model does not exist.
    UnknownModel,
    /// Another 4xx: the server does not take this request.
    Refused,
    /// 429 with a Retry-After beyond the deadline; the judge pauses until then.
    RateLimited,
    /// 5xx to the last attempt.
    ServerError,
    /// A 200 that is no chat completion (HTML, cut JSON).
    NotACompletion,
    /// `finish_reason` was not "stop" (`length`: truncated; `abort`: aborted).
    Truncated,
    /// The answer is not one `<answer>Yes|No</answer>`.
    Unparsable,
    /// A score was needed to decide (a threshold is set) and the server gave none.
    NoScore,
    /// The judge needs pictures and the window has none.
    NoVideo,
    /// The judge needs sound and the window has none.
    NoAudio,
    /// The cue index heard too little speech to say anything.
    InsufficientEvidence,
    /// The judge was set aside before this window.
    SetAside,
    /// The clip could not be built.
    Encoding,
}

impl AbstentionReason {
    /// Every one.
    pub(crate) const ALL: [Self; 17] = [
        Self::Deadline,
        Self::Unreachable,
        Self::CircuitOpen,
        Self::Unauthorized,
        Self::UnknownModel,
        Self::Refused,
        Self::RateLimited,
        Self::ServerError,
        Self::NotACompletion,
        Self::Truncated,
        Self::Unparsable,
        Self::NoScore,
        Self::NoVideo,
        Self::NoAudio,
        Self::InsufficientEvidence,
        Self::SetAside,
        Self::Encoding,
    ];
    /// The word of the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Unreachable => "unreachable",
            Self::CircuitOpen => "circuit_open",
            Self::Unauthorized => "unauthorized",
            Self::UnknownModel => "unknown_model",
            Self::Refused => "refused",
            Self::RateLimited => "rate_limited",
            Self::ServerError => "server_error",
            Self::NotACompletion => "not_a_completion",
            Self::Truncated => "truncated",
            Self::Unparsable => "unparsable",
            Self::NoScore => "no_score",
            Self::NoVideo => "no_video",
            Self::NoAudio => "no_audio",
            Self::InsufficientEvidence => "insufficient_evidence",
            Self::SetAside => "set_aside",
            Self::Encoding => "encoding",
        }
    }

    /// The reason of this word of the wire, if there is one.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// Whether the same clip may be answered another time: something failed on the way, or nobody (fit) was there.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        match self {
            Self::Deadline
            | Self::Unreachable
            | Self::Unauthorized
            | Self::UnknownModel
            | Self::Refused
            | Self::RateLimited
            | Self::ServerError
            | Self::NotACompletion
            | Self::CircuitOpen
            | Self::SetAside => true,
            Self::Truncated
            | Self::Unparsable
            | Self::NoScore
            | Self::NoVideo
            | Self::NoAudio
            | Self::InsufficientEvidence
            | Self::Encoding => false,
        }
    }

    /// Whether it says that the judge as configured is not there, rather than that it was slow or had no answer.
    #[must_use]
    pub const fn is_away(self) -> bool {
        self.may_pass() && !matches!(self, Self::Deadline | Self::RateLimited | Self::NotACompletion)
    }
}

/// What one judge said about one window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A/H shows.
    Present,
    /// A/H does not show.
    Absent,
    /// No answer, and why.
    Abstained(Abstention),
    /// Early stop: the judge's session max is Present already, it was not asked. Not an abstention.
    NotAsked,
}

/// P(Yes) at the decision token, and how far to trust it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// `e^lp(Yes) / (e^lp(Yes) + e^lp(No))`, 0 to 1.
    pub p_yes: f64,
    /// `e^lp(Yes) + e^lp(No)`: the probability mass on the two labels. None where the answer was constrained, since the
    /// server renormalises after the mask.
    pub label_mass: Option<f64>,
}

/// One cue of the hesitation-cue index, as measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Cue {
    /// Name as in the weights file, e.g. `long_pause`.
    pub name: Arc<str>,
    /// The measured value, in `unit`.
    pub value: f64,
    /// Unit of `value`, e.g. `s`, `1/s`, `Hz`; empty for ratios.
    pub unit: Arc<str>,
    /// What this cue adds to the index.
    pub contribution: f64,
}

/// What the embedded baseline found in a window: an interpretable index of hesitation cues, not a probability of A/H.
#[derive(Clone, Debug, PartialEq)]
pub struct CueReading {
    /// 0 to 1; a weighted mean of cue strengths, not calibrated.
    pub index: f64,
    /// Name and version of the weights, e.g. `cue-baseline-v0`.
    pub version: Arc<str>,
    /// Strongest first.
    pub top: Vec<Cue>,
}

/// One judge's answer on one window, with what it took to get it.
#[derive(Clone, Debug, PartialEq)]
pub struct Vote {
    /// The judge's name in the panel, unique there.
    pub judge: Arc<str>,
    /// Present, Absent, an abstention, or not asked.
    pub answer: Answer,
    /// P(Yes), where it was asked for and given.
    pub score: Option<Score>,
    /// The cue index's findings; only of the embedded baseline.
    pub cues: Option<CueReading>,
    /// From the first request being sent to the answer or the giving up.
    pub latency: Duration,
    /// Requests sent.
    pub attempts: u32,
    /// What to know of the judge before trusting the vote; None: nothing.
    pub flag: Option<proof::VoteFlag>,
    /// The `base_url` that was asked last; None if none was.
    pub base_url: Option<Arc<str>>,
    /// What the answer took, where the server says.
    pub tokens: Option<Tokens>,
    /// The model's own words, for offline records only: never logged, never in events.
    pub raw: Option<Arc<str>>,
}

impl Vote {
    /// An answer with nothing known of what it took.
    #[must_use]
    pub const fn new(judge: Arc<str>, answer: Answer) -> Self {
        Self {
            judge,
            answer,
            score: None,
            cues: None,
            latency: Duration::ZERO,
            attempts: 0,
            flag: None,
            base_url: None,
            tokens: None,
            raw: None,
        }
    }
}

/// Which window of a session: continuity number from 0, then the window's index on that continuity's grid from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowId {
    /// Counts from 0 in a session; a gap or a jump begins the next.
    pub continuity: u32,
    /// Counts from 0 in a continuity; the window starts at `index * hop` of it.
    pub index: u32,
}

/// Why a window was not sent to any judge by choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// The gate found nothing worth asking about; says what it measured.
    Gate(GateSkip),
    /// Every judge's session max is Present already (rule 10).
    EarlyStop,
    /// The session was paused.
    Paused,
}

/// Why a window that was cut was not judged although it should have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// Newer windows were waiting.
    Overload,
    /// The program ended before it was judged.
    Shutdown,
}

/// Why a stretch of a session could not be judged at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LostReason {
    /// No frame arrived: the source was away.
    Outage,
    /// Under half of a stream that the source has.
    MissingMedia,
    /// Every judge that was asked abstained.
    AllAbstained,
}

/// What became of a window.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was put to the panel. `Vote`s of every judge of the panel, in panel order. If none of them is Present or Absent
    /// the window counts as lost (`AllAbstained`); if every one is `NotAsked` it counts as skipped.
    Votes(Vec<Vote>),
    /// Not sent, by choice.
    Skipped(SkipReason),
    /// Not judged, for want of time.
    Dropped(DropReason),
    /// Nothing there to judge.
    Lost(LostReason),
}

/// Everything decided about one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Which window.
    pub window: WindowId,
    /// Its span in session time.
    pub span: Span,
    /// Votes, or why there are none.
    pub outcome: Outcome,
}
