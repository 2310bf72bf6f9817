//! What the screen knows of one source: its state, its session's books, its last windows.
//!
//! The books are not counted anew here. A [`Session`] is told what the events say, and gives the same books and labels as
//! the one that the events came from.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::text::clean;
use super::window::{Cell, Row};
use crate::alert::event::without_credentials;
use crate::alert::stdout::{self, Style};
use crate::alert::{Event, EventKind, LostTime, SourceState};
use crate::judge::{Outcome, Verdict, WindowId};
use crate::session::{Episode, Session, SessionSettings, Summary};
use crate::time::MediaTime;

/// Windows that are kept of a source, for its details.
pub const ROWS: usize = 200;
/// Windows that its line shows.
pub const CELLS: usize = 24;
/// Events that are kept in words.
const NOTES: usize = 50;
/// So many windows into a continuity, nothing of the one before is under way any more.
const CERTAINLY_OVER: u32 = 2 * crate::watch::MOST_IN_FLIGHT;

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
    session: Option<Session>,
    /// When the session began, on the screen's clock.
    began: Duration,
    /// The session's books as it closed them.
    closed: Option<Box<Summary>>,
    /// Windows of each continuity that may have some under way.
    windows: BTreeMap<u32, u32>,
    over: u32,
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
            windows: BTreeMap::new(),
            over: 0,
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
            None => self.session.as_ref().map(Session::summary),
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
        match Row::of(event) {
            Some(row) => self.window(event, row),
            None => self.note(event),
        }
    }

    fn start(&mut self, event: &Event, settings: &Arc<SessionSettings>, now: Duration) {
        let id = event.session.clone().unwrap_or_else(|| event.scope.clone());
        self.session = Some(Session::new(id, Arc::clone(&self.name), Arc::clone(settings)));
        (self.phase, self.began, self.closed, self.episode, self.over) = (Phase::Live, now, None, None, 0);
        self.windows.clear();
        self.rows.clear();
    }

    /// Everything of the session goes, as its consent did.
    fn forget(&mut self) {
        (self.session, self.closed, self.episode) = (None, None, None);
        self.rows.clear();
        self.notes.clear();
        self.windows.clear();
        self.phase = Phase::Withdrawn;
    }

    fn window(&mut self, event: &Event, row: Row) {
        self.book(event);
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

    /// Tells the session what the event says.
    fn book(&mut self, event: &Event) {
        let Some(session) = &mut self.session else { return };
        let (span, now, continuity) = (event.span, event.wall, event.continuity);
        let (window, outcome) = match &event.kind {
            EventKind::WindowJudged(judged) => (Some(judged.window), Outcome::Votes(judged.votes.clone())),
            EventKind::WindowSkipped(of, reason) => (of.window, Outcome::Skipped(reason.clone())),
            EventKind::WindowDropped(of, reason) => (of.window, Outcome::Dropped(*reason)),
            EventKind::WindowLost(of, LostTime::Lost(_)) if !of.votes.is_empty() => {
                (of.window, Outcome::Votes(of.votes.clone()))
            }
            EventKind::WindowLost(of, LostTime::Lost(reason)) => (of.window, Outcome::Lost(*reason)),
            EventKind::WindowLost(_, LostTime::Tail) => return drop(session.tail(continuity, span, now)),
            _ => return,
        };
        match (window, outcome) {
            (Some(window), outcome) => {
                session.apply(&Verdict { window, span, outcome }, now);
                self.count(window, event);
            }
            (None, Outcome::Skipped(reason)) => drop(session.skipped(continuity, span, reason, now)),
            (None, Outcome::Lost(reason)) => drop(session.lost(continuity, span, reason, now)),
            // Time that never became windows is told with the session's end, whose books follow.
            (None, Outcome::Dropped(_) | Outcome::Votes(_)) => {}
        }
    }

    /// No event says that a continuity is over. The session has to know, or it would wait for more of it for ever.
    fn count(&mut self, window: WindowId, event: &Event) {
        let windows = self.windows.entry(window.continuity).or_default();
        *windows = (*windows).max(window.index.saturating_add(1));
        if window.index < CERTAINLY_OVER {
            return;
        }
        let Some(session) = &mut self.session else { return };
        for continuity in self.over..window.continuity {
            let windows = self.windows.remove(&continuity).unwrap_or(0);
            session.continuity_ended(continuity, windows, event.wall);
        }
        self.over = self.over.max(window.continuity);
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
