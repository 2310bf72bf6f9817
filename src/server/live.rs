//! What runs, as the events tell it: for the session list, and for whoever looks at one session.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::alert::journal::{SessionState, Told};
use crate::alert::{Event, EventKind, JudgeChange, event};
use crate::session::{Replica, SessionSettings, Summary};

/// Every session that runs, and every source.
#[derive(Debug, Default)]
pub struct Live {
    running: BTreeMap<Arc<str>, Running>,
    /// Why a source is away; of those that are.
    away: BTreeMap<Arc<str>, String>,
    /// What was last said of each judge.
    judges: BTreeMap<Arc<str>, JudgeChange>,
}

/// A session that runs.
#[derive(Debug)]
pub struct Running {
    /// Its source's name.
    pub source: Arc<str>,
    /// What it keeps.
    pub settings: Arc<SessionSettings>,
    /// The newest of its windows that was told, a `CloudEvent`; a window that was judged only.
    pub last_window: Option<Arc<str>>,
    /// What opened the open episode, a `CloudEvent`.
    pub episode: Option<Arc<str>>,
    /// Alerts raised so far.
    pub alerts: u32,
    replica: Replica,
    paused: bool,
    lost: bool,
}

impl Running {
    /// Its state as seen from outside.
    #[must_use]
    pub const fn state(&self) -> SessionState {
        match (self.paused, self.lost) {
            (true, _) => SessionState::Paused,
            (false, true) => SessionState::Away,
            (false, false) => SessionState::Live,
        }
    }

    /// Its books so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.replica.summary()
    }

    /// The same on the wire: the fields of `ah.session.ended.v1`.
    #[must_use]
    pub fn books(&self) -> Value {
        event::books(&self.replica.summary())
    }
}

impl Live {
    /// A session that runs.
    #[must_use]
    pub fn session(&self, id: &str) -> Option<&Running> {
        self.running.get(id)
    }

    /// All that run, by id.
    pub fn sessions(&self) -> impl Iterator<Item = (&Arc<str>, &Running)> {
        self.running.iter()
    }

    /// Why a source is away, if it is.
    #[must_use]
    pub fn away(&self, source: &str) -> Option<&str> {
        self.away.get(source).map(String::as_str)
    }

    /// What was last said of a judge; None: nothing since the start.
    #[must_use]
    pub fn judge(&self, name: &str) -> Option<&JudgeChange> {
        self.judges.get(name)
    }

    /// Nothing of this session is known any more.
    pub fn forget(&mut self, session: &str) {
        self.running.remove(session);
    }

    /// A source is no longer watched.
    pub fn gone(&mut self, source: &str) {
        self.away.remove(source);
    }

    /// Takes what was told.
    pub fn apply(&mut self, told: &Told) {
        let event = &told.event;
        self.reach(event);
        let Some(id) = &event.session else { return };
        if let EventKind::SessionStarted(settings) = &event.kind {
            let running = Running {
                source: Arc::clone(&event.source),
                settings: Arc::clone(settings),
                last_window: None,
                episode: None,
                alerts: 0,
                replica: Replica::new(event, settings),
                paused: false,
                lost: false,
            };
            self.running.insert(Arc::clone(id), running);
        }
        let Some(running) = self.running.get_mut(id) else { return };
        running.replica.apply(event);
        match &event.kind {
            EventKind::WindowJudged(_) => running.last_window = Some(Arc::clone(&told.json)),
            EventKind::SessionPaused(_) => running.paused = true,
            EventKind::SessionResumed(_) => running.paused = false,
            EventKind::AlertRaised(_) => running.alerts = running.alerts.saturating_add(1),
            EventKind::EpisodeOpened(..) => running.episode = Some(Arc::clone(&told.json)),
            EventKind::EpisodeClosed(..) => running.episode = None,
            EventKind::SourceLost(..) => running.lost = true,
            EventKind::SourceRestored(_) => running.lost = false,
            EventKind::SessionEnded(_) | EventKind::SessionWithdrawn(_) => self.forget(&Arc::clone(id)),
            EventKind::SessionStarted(_)
            | EventKind::WindowSkipped(..)
            | EventKind::WindowDropped(..)
            | EventKind::WindowLost(..)
            | EventKind::JudgeChanged(_) => {}
        }
    }

    fn reach(&mut self, event: &Event) {
        match &event.kind {
            EventKind::SourceLost(_, why) => drop(self.away.insert(Arc::clone(&event.source), why.clone())),
            EventKind::JudgeChanged(change) => drop(self.judges.insert(Arc::clone(&change.judge), change.clone())),
            EventKind::SourceRestored(_) | EventKind::SessionStarted(_) | EventKind::WindowJudged(_) => {
                self.away.remove(&event.source);
            }
            _ => {}
        }
    }
}
