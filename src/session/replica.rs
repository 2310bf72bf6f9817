//! A session's books as whoever only hears its events knows them: the screen, the service's pages.
//!
//! Nothing is counted anew here. A [`Session`] is told what the events say, and gives the same books and labels as the one
//! that the events came from.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Alarms, Session, SessionSettings, Summary};
use crate::alert::{Event, EventKind, LostTime};
use crate::judge::{Outcome, SkipReason, Verdict, WindowId};

/// So many windows into a continuity, nothing of the one before is under way any more.
const CERTAINLY_OVER: u32 = 2 * crate::watch::MOST_IN_FLIGHT;

/// The books of one session, from its events.
#[derive(Debug)]
pub struct Replica {
    session: Session,
    /// As told. Windows after a gap may wait long for their turn here, which episodes would wait for.
    alarms: Alarms,
    /// Windows of each continuity that may have some under way.
    windows: BTreeMap<u32, u32>,
    over: u32,
}

impl Replica {
    /// Of the session that this event, `ah.session.started.v1`, began with these settings.
    #[must_use]
    pub fn new(started: &Event, settings: &Arc<SessionSettings>) -> Self {
        let id = started.session.clone().unwrap_or_else(|| started.scope.clone());
        let session = Session::new(id, Arc::clone(&started.source), Arc::clone(settings));
        Self { session, alarms: Alarms { episodes: 0, alerts: 0 }, windows: BTreeMap::new(), over: 0 }
    }

    /// The books so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let summary = self.session.summary();
        let alarms = summary.alarms.map(|_| self.alarms);
        Summary { alarms, ..summary }
    }

    /// Takes what an event says of windows, time and episodes; all others change nothing.
    pub fn apply(&mut self, event: &Event) {
        let (span, now, continuity) = (event.span, event.wall, event.continuity);
        let (window, outcome) = match &event.kind {
            EventKind::WindowJudged(judged) => (Some(judged.window), Outcome::Votes(judged.votes.clone())),
            // That no judge was asked is in each one's books.
            EventKind::WindowSkipped(of, SkipReason::EarlyStop) => (of.window, self.session.settings().unasked()),
            EventKind::WindowSkipped(of, reason) => (of.window, Outcome::Skipped(reason.clone())),
            EventKind::WindowDropped(of, reason) => (of.window, Outcome::Dropped(*reason)),
            EventKind::WindowLost(of, LostTime::Lost(_)) if !of.votes.is_empty() => {
                (of.window, Outcome::Votes(of.votes.clone()))
            }
            EventKind::WindowLost(of, LostTime::Lost(reason)) => (of.window, Outcome::Lost(*reason)),
            EventKind::WindowLost(_, LostTime::Tail) => return drop(self.session.tail(continuity, span, now)),
            EventKind::EpisodeOpened(_, episode) => {
                self.alarms.episodes += 1;
                self.alarms.alerts += u32::from(episode.alerted);
                return;
            }
            _ => return,
        };
        match (window, outcome) {
            (Some(window), outcome) => {
                self.session.apply(&Verdict { window, span, outcome }, now);
                self.count(window, event);
            }
            (None, Outcome::Skipped(reason)) => drop(self.session.skipped(continuity, span, reason, now)),
            (None, Outcome::Lost(reason)) => drop(self.session.lost(continuity, span, reason, now)),
            // Time that never became windows is told with the session's end, whose books follow.
            (None, Outcome::Dropped(_) | Outcome::Votes(_)) => {}
        }
    }

    /// No event says that a continuity is over. The session has to know, or it would hold what comes after it for ever.
    fn count(&mut self, window: WindowId, event: &Event) {
        let windows = self.windows.entry(window.continuity).or_default();
        *windows = (*windows).max(window.index.saturating_add(1));
        if window.index < CERTAINLY_OVER {
            return;
        }
        for continuity in self.over..window.continuity {
            let windows = self.windows.remove(&continuity).unwrap_or(0);
            self.session.continuity_ended(continuity, windows, event.wall);
        }
        self.over = self.over.max(window.continuity);
    }
}
