//! What the screen knows of one source: its state, its session's books, its last windows.
//!
//! The books are not counted anew here: a [`Replica`] has them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::text::clean;
use super::window::{Cell, Row};
use crate::alert::event::without_credentials;
use crate::alert::stdout::{self, Style};
use crate::alert::{Event, EventKind, SourceState};
use crate::session::{Episode, Replica, SessionSettings, Summary};
use crate::time::MediaTime;

/// Windows that are kept of a source, for its details.
pub const ROWS: usize = 200;
/// Windows that its line shows.
pub const CELLS: usize = 24;
/// Events that are kept in words.
const NOTES: usize = 50;

/// Where a source stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No frame has come yet.
    Waiting,
    /// Frames come.
    Live,
    /// It went away, or was never there.
    Away {
        /// It refuses the credentials.
        denied: bool,
        /// Since when, on the screen's clock.
        since: Duration,
        /// One line on why.
        why: String,
    },
    /// Analysis is paused.
    Paused,
    /// Its session is over; a camera may begin another.
    Ended,
    /// Consent was withdrawn.
    Withdrawn,
}

/// One source of the screen.
#[derive(Debug)]
pub struct Source {
    /// What events call it.
    pub(super) name: Arc<str>,
    /// The same for people: without credentials, clean.
    pub shown: String,
    /// Session time passes with the clock: a camera, or a recording at its own pace.
    clocked: bool,
    /// Where it stands.
    pub phase: Phase,
    session: Option<Replica>,
    /// When the session began, on the screen's clock.
    began: Duration,
    /// The session's books as it closed them.
    closed: Option<Box<Summary>>,
    rows: VecDeque<Row>,
    /// The open episode.
    pub episode: Option<Episode>,
    /// Alerts raised since the screen began.
    pub alerts: u32,
    notes: VecDeque<String>,
}

impl Source {
    pub(super) fn new(name: Arc<str>, clocked: bool) -> Self {
        Self {
            shown: clean(&without_credentials(&name)),
            name,
            clocked,
            phase: Phase::Waiting,
            session: None,
            began: Duration::ZERO,
            closed: None,
            rows: VecDeque::new(),
            episode: None,
            alerts: 0,
            notes: VecDeque::new(),
        }
    }

    /// Its last windows, oldest first, and stretches outside windows that were lost or left out.
    #[must_use]
    pub const fn rows(&self) -> &VecDeque<Row> {
        &self.rows
    }

    /// What else happened, in words, oldest first.
    pub fn notes(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.notes.iter().map(String::as_str)
    }

    /// The books of its session so far, or as they were closed; None before its first session.
    #[must_use]
    pub fn books(&self) -> Option<Summary> {
        match &self.closed {
            Some(summary) => Some((**summary).clone()),
            None => self.session.as_ref().map(Replica::summary),
        }
    }

    /// Session time at `now`: what the events told, and while frames come at the clock's pace, what passed since it began.
    #[must_use]
    pub fn session_time(&self, books: &Summary, now: Duration) -> MediaTime {
        let passes = self.clocked && self.closed.is_none() && matches!(self.phase, Phase::Live | Phase::Paused);
        let passed = MediaTime::from_duration(now.saturating_sub(self.began));
        if passes { books.elapsed.max(passed) } else { books.elapsed }
    }

    /// The median over the last windows of the slowest judge's time; None if none was asked about them.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        let recent = self.rows.iter().rev().take(CELLS);
        super::median(recent.filter_map(|row| row.latency).collect())
    }

    pub(super) fn apply(&mut self, event: &Event, now: Duration) {
        let of_camera = matches!(event.kind, EventKind::SourceLost(..) | EventKind::SourceRestored(_));
        if self.phase == Phase::Withdrawn && !of_camera && !matches!(event.kind, EventKind::SessionStarted(_)) {
            return; // whatever is still said of the session is not kept
        }
        match &event.kind {
            EventKind::SessionStarted(settings) => self.start(event, settings, now),
            EventKind::WindowJudged(_)
            | EventKind::WindowSkipped(..)
            | EventKind::WindowDropped(..)
            | EventKind::WindowLost(..)
            | EventKind::JudgeChanged(_) => {}
            EventKind::SessionPaused(_) => self.phase = Phase::Paused,
            EventKind::SessionWithdrawn(_) => self.forget(),
            EventKind::AlertRaised(_) => self.alerts = self.alerts.saturating_add(1),
            EventKind::EpisodeOpened(_, episode) => self.episode = Some(*episode),
            EventKind::EpisodeClosed(..) => self.episode = None,
            EventKind::SourceLost(state, why) => {
                // The first word on it began it; another word is another reason.
                let since = if let Phase::Away { since, .. } = self.phase { since } else { now };
                self.phase = Phase::Away { denied: *state == SourceState::AuthFailed, since, why: clean(why) };
            }
            EventKind::SessionResumed(_) | EventKind::SourceRestored(_) => self.phase = Phase::Live,
            EventKind::SessionEnded(summary) => {
                self.closed = Some(summary.clone());
                self.session = None;
                self.episode = None;
                // A camera that is away stays away.
                if !matches!(self.phase, Phase::Away { .. }) {
                    self.phase = Phase::Ended;
                }
            }
        }
        if let Some(session) = &mut self.session {
            session.apply(event);
        }
        match Row::of(event) {
            Some(row) => self.window(row),
            None => self.note(event),
        }
    }

    fn start(&mut self, event: &Event, settings: &Arc<SessionSettings>, now: Duration) {
        self.session = Some(Replica::new(event, settings));
        (self.phase, self.began, self.closed, self.episode) = (Phase::Live, now, None, None);
        self.rows.clear();
    }

    /// Everything of the session goes, as its consent did.
    fn forget(&mut self) {
        (self.session, self.closed, self.episode) = (None, None, None);
        self.rows.clear();
        self.notes.clear();
        self.phase = Phase::Withdrawn;
    }

    fn window(&mut self, row: Row) {
        // The rest of a continuity is on the books, and is no window.
        if row.cell == Cell::Tail {
            return;
        }
        let at = self.rows.partition_point(|other| other.key() <= row.key());
        self.rows.insert(at, row);
        if self.rows.len() > ROWS {
            self.rows.pop_front();
        }
    }

    fn note(&mut self, event: &Event) {
        let line = stdout::line(event, Style::default());
        let first = line.lines().next().unwrap_or_default();
        self.notes.push_back(clean(first));
        if self.notes.len() > NOTES {
            self.notes.pop_front();
        }
    }
}
