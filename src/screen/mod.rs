//! The live screen of `watch`: a [`State`] built from events, and its drawing. Both are pure; terminal, threads and clocks
//! are in `run`.
//!
//! - [`source`], [`window`], [`judges`]: what is known. [`keys`]: what is looked at.
//! - [`mod@draw`]: the sources at a glance; [`details`]: one of them; [`paint`], [`text`]: colours and columns.
//! - [`log`]: log lines, which must not tear the screen.
//!
//! Nothing on it is said by colour alone, and time that was not judged never looks like Absent.

pub mod details;
pub mod draw;
pub mod judges;
pub mod keys;
pub mod log;
pub mod paint;
pub mod source;
#[cfg(test)]
mod tests;
pub mod text;
pub mod window;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub use draw::draw;
pub use keys::{Asked, View};

use crate::alert::{Event, EventKind};
use crate::session::{Rule, SessionKind, SessionSettings};
use judges::Judges;
use source::Source;

/// Ends of sessions that are kept to be printed after the screen; older ones are counted.
const ENDS: usize = 200;

/// A source that will be watched.
#[derive(Clone, Debug)]
pub struct Expected {
    /// What events will call it.
    pub name: Arc<str>,
    /// Its session time passes with the clock: a camera, or a recording at its own pace.
    pub clocked: bool,
}

/// What the screen knows, from events alone.
#[derive(Debug)]
pub struct State {
    kind: SessionKind,
    rule: Rule,
    sources: Vec<Source>,
    judges: Judges,
    ends: VecDeque<Event>,
    ends_left_out: usize,
}

impl State {
    /// Nothing has happened yet. `settings` are those that every session will begin with.
    #[must_use]
    pub fn new(sources: &[Expected], settings: &SessionSettings) -> Self {
        Self {
            kind: settings.kind,
            rule: settings.rule,
            sources: sources.iter().map(|source| Source::new(source.name.clone(), source.clocked)).collect(),
            judges: Judges::new(&settings.judges),
            ends: VecDeque::new(),
            ends_left_out: 0,
        }
    }

    /// Takes an event that came at `now`, on the screen's own clock.
    pub fn apply(&mut self, event: &Event, now: Duration) {
        match &event.kind {
            EventKind::JudgeChanged(change) => return self.judges.changed(change),
            EventKind::SessionStarted(settings) => {
                (self.kind, self.rule) = (settings.kind, settings.rule);
                for judge in &settings.judges {
                    self.judges.named(judge);
                }
            }
            EventKind::WindowJudged(judged) => self.judges.votes(&judged.votes),
            EventKind::WindowLost(window, _) => self.judges.votes(&window.votes),
            EventKind::SessionEnded(_) => {
                self.ends.push_back(event.clone());
                if self.ends.len() > ENDS {
                    self.ends.pop_front();
                    self.ends_left_out += 1;
                }
            }
            EventKind::SessionWithdrawn(_) => self.ends.retain(|end| end.session != event.session),
            EventKind::WindowSkipped(..)
            | EventKind::WindowDropped(..)
            | EventKind::SessionPaused(_)
            | EventKind::SessionResumed(_)
            | EventKind::AlertRaised(_)
            | EventKind::EpisodeOpened(..)
            | EventKind::EpisodeClosed(..)
            | EventKind::SourceLost(..)
            | EventKind::SourceRestored(_) => {}
        }
        let at = self.sources.iter().position(|source| source.name == event.source).unwrap_or_else(|| {
            // Not in the configuration: then its pace is not known, and its time is what its events say.
            self.sources.push(Source::new(event.source.clone(), false));
            self.sources.len() - 1
        });
        self.sources[at].apply(event, now);
    }

    /// The sources, in the order of the configuration.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The judges, in the order of the panel.
    #[must_use]
    pub const fn judges(&self) -> &Judges {
        &self.judges
    }

    /// Who judges.
    #[must_use]
    pub const fn kind(&self) -> SessionKind {
        self.kind
    }

    /// The rule that sessions go by.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        self.rule
    }

    /// The ends of the sessions so far, oldest first, and how many older ones are no longer kept.
    #[must_use]
    pub const fn ends(&self) -> (&VecDeque<Event>, usize) {
        (&self.ends, self.ends_left_out)
    }
}

/// The lower median.
fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len().checked_sub(1)? / 2).copied()
}
