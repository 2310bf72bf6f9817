//! What leaves the program: [`Event`]s, plain here and given their wire form at the rim.
//!
//! - [`event`]: `CloudEvents` 1.0 JSON and its schemas.
//! - [`stdout`]: JSON lines, or lines and a summary table for people.
//! - [`journal`]: a file of everything that was told, and what waits for whom. [`sink`]: webhooks and MQTT.
//!
//! A session numbers its events. What happens outside any session (a camera that was never reached, a judge that changed)
//! is made with [`Event::outside`].

pub mod event;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod journal;
pub mod sink;
pub mod stdout;

use std::sync::Arc;

use jiff::Timestamp;

use crate::gate::Flags;
use crate::judge::proof::Proof;
use crate::judge::{CueReading, DropReason, Label, LostReason, SkipReason, Vote, WindowId};
use crate::session::{ClosedBy, Episode, Labels, Rule, SessionKind, SessionSettings, Summary};
use crate::time::{MediaTime, Span};
use crate::window::{Alignment, Window};

/// The standing line of every alert of a panel.
pub const ADVISORY_PANEL: &str = "Advisory, not a diagnosis: a panel of models estimates whether ambivalence or hesitancy \
    shows; it errs, and a person has to decide.";
/// The standing line of every alert of the embedded index.
pub const ADVISORY_HEURISTIC: &str = "Advisory, not a diagnosis: an uncalibrated index of hesitation cues in speech and \
    picture; it errs, and a person has to decide.";

/// The advisory line for what a kind of session may say.
#[must_use]
pub const fn advisory(kind: SessionKind) -> &'static str {
    match kind {
        SessionKind::Panel => ADVISORY_PANEL,
        SessionKind::Heuristic => ADVISORY_HEURISTIC,
    }
}

/// Something that happened, for whoever listens.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The session, or None outside any.
    pub session: Option<Arc<str>>,
    /// What makes `number` unique: the session id, or what [`Event::outside`] was given.
    pub scope: Arc<str>,
    /// Counts from 0 in `scope`.
    pub number: u64,
    /// The source's name, or its address.
    pub source: Arc<str>,
    /// Which continuity of the session.
    pub continuity: u32,
    /// Which part of the session, in session time.
    pub span: Span,
    /// When it was said.
    pub wall: Timestamp,
    /// What happened.
    pub kind: EventKind,
}

impl Event {
    /// An event outside any session. `scope` and `number` together must not occur twice, e.g. a random id of the process
    /// and a count.
    #[must_use]
    pub fn outside(scope: Arc<str>, number: u64, source: Arc<str>, kind: EventKind, wall: Timestamp) -> Self {
        let span = Span::new(MediaTime::ZERO, MediaTime::ZERO);
        Self { session: None, scope, number, source, continuity: 0, span, wall, kind }
    }

    /// The word of a withdrawal that the session itself cannot say: it is over, or nobody began it.
    #[must_use]
    pub fn withdrawal(session: Arc<str>, source: Arc<str>, by: Actor, wall: Timestamp) -> Self {
        let scope = format!("{session}.withdrawn").into();
        Self { session: Some(session), ..Self::outside(scope, 0, source, EventKind::SessionWithdrawn(by), wall) }
    }
}

/// What an [`Event`] says.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// A session began, with what it will keep.
    SessionStarted(Arc<SessionSettings>),
    /// A window was judged by at least one judge.
    WindowJudged(Box<JudgedWindow>),
    /// A window, or time outside windows (None), was left out by choice.
    WindowSkipped(UnjudgedWindow, SkipReason),
    /// A window, or time that never became one (None), was left out for want of time.
    WindowDropped(UnjudgedWindow, DropReason),
    /// A window, or time outside windows (None), could not be judged.
    WindowLost(UnjudgedWindow, LostTime),
    /// Analysis was paused.
    SessionPaused(Actor),
    /// Analysis goes on.
    SessionResumed(Actor),
    /// Consent was withdrawn, and everything of the session deleted.
    SessionWithdrawn(Actor),
    /// Somebody should look.
    AlertRaised(Box<Alert>),
    /// An episode opened.
    EpisodeOpened(SessionKind, Episode),
    /// An episode closed.
    EpisodeClosed(SessionKind, Episode, ClosedBy),
    /// The source is away; one line on why, without credentials.
    SourceLost(SourceState, String),
    /// The source is back, after this long.
    SourceRestored(std::time::Duration),
    /// A judge answers again, or no longer does.
    JudgeChanged(JudgeChange),
    /// A session ended: its books.
    SessionEnded(Box<Summary>),
}

/// A judged window.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedWindow {
    /// Which window.
    pub window: WindowId,
    /// Who judges.
    pub kind: SessionKind,
    /// The window's label.
    pub label: Label,
    /// All votes, in panel order, without the models' own words.
    pub votes: Vec<Vote>,
    /// The session's labels so far, this window included.
    pub labels: Labels,
    /// Each judge's session max so far, in panel order.
    pub maxima: Vec<(Arc<str>, Label)>,
    /// How complete the window was, where known.
    pub quality: Option<WindowQuality>,
}

/// A window without a label, or time that is no window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnjudgedWindow {
    /// Which window; None: not a window.
    pub window: Option<WindowId>,
    /// Who was asked and did not answer, if it came to that.
    pub votes: Vec<Vote>,
    /// How complete the window was, where known.
    pub quality: Option<WindowQuality>,
}

/// Why time was not judged although nobody chose so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostTime {
    /// It is lost.
    Lost(LostReason),
    /// The rest of a continuity, too short for a window.
    Tail,
}

/// How complete a window was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowQuality {
    /// Whether it is a full window, not a kept partial.
    pub full: bool,
    /// Pictures the source delivered.
    pub pictures_seen: u32,
    /// Pictures it should have delivered.
    pub pictures_expected: u32,
    /// How much of the sound is filled-in silence; None: no sound at all.
    pub sound_missing: Option<MediaTime>,
    /// Frames refused because the cutter was busy.
    pub refused: u32,
    /// Time of the first sound minus that of the first picture.
    pub audio_offset: Option<MediaTime>,
    /// Whether sound and pictures are in step; None: not known.
    pub alignment: Option<Alignment>,
    /// What else there is to know before trusting a verdict on it; None: nobody looked.
    pub flags: Option<Flags>,
}

/// Without flags: whoever looked at the window adds them.
impl From<&Window> for WindowQuality {
    fn from(window: &Window) -> Self {
        Self {
            full: window.full,
            pictures_seen: window.pictures_seen,
            pictures_expected: window.pictures_expected,
            sound_missing: window.sound.as_ref().map(|_| window.sound_missing),
            refused: window.refused,
            audio_offset: window.audio_offset,
            alignment: window.alignment,
            flags: None,
        }
    }
}

/// Somebody should look at a session. Advisory: see [`advisory`].
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// About the session or an episode of it.
    pub about: AlertAbout,
    /// Who judges.
    pub kind: SessionKind,
    /// The session's rule.
    pub rule: Rule,
    /// The session's labels when it was raised.
    pub labels: Labels,
    /// Each judge's session max when it was raised.
    pub maxima: Vec<(Arc<str>, Label)>,
    /// The window that raised it.
    pub window: WindowId,
    /// The strongest cues of that window, of the embedded index.
    pub cues: Option<CueReading>,
}

/// What an alert is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertAbout {
    /// The session's label became Present, once.
    Session,
    /// An episode opened.
    Episode(Episode),
}

/// Who asked for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// The person watched.
    Participant,
    /// Somebody who runs the program.
    Operator,
}

/// What a lost source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// Being tried again, with backoff.
    Retrying,
    /// It refuses the credentials; tried again once a minute.
    AuthFailed,
}

/// A judge's health changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgeChange {
    /// Its name in the panel.
    pub judge: Arc<str>,
    /// What it is now.
    pub state: JudgeState,
    /// What is known of its ears and eyes.
    pub proof: Proof,
    /// One line on why, without credentials.
    pub detail: String,
}

/// A judge's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JudgeState {
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

/// Session time for people: `03:07.4`, with hours from the first on.
#[must_use]
pub fn clock(time: MediaTime) -> String {
    let tenths = time.as_nanos().max(0) / 100_000_000;
    let (hours, minutes, seconds) = (tenths / 36_000, tenths / 600 % 60, tenths / 10 % 60);
    let hours = if hours > 0 { format!("{hours}:") } else { String::new() };
    format!("{hours}{minutes:02}:{seconds:02}.{}", tenths % 10)
}
