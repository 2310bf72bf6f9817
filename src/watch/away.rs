//! What is told of a source besides its windows: that it is away, back, paused.

use std::sync::Arc;

use super::Watcher;
use crate::alert::{Event, EventKind, SourceState};
use crate::source::Loss;
use crate::time::{Span, monotonic, wall};

impl Watcher {
    pub(super) async fn source_lost(&mut self, loss: Loss) {
        let state = if loss.auth_failed { SourceState::AuthFailed } else { SourceState::Retrying };
        let since = match self.lost {
            // Said once, and again when the reason is another kind.
            Some((_, said)) if said == state => {
                return tracing::debug!(source = %self.name, reason = loss.reason, "still lost");
            }
            Some((since, _)) => since,
            None => monotonic(),
        };
        tracing::warn!(source = %self.name, reason = loss.reason, "source lost");
        self.lost = Some((since, state));
        self.source_event(EventKind::SourceLost(state, loss.reason)).await;
    }

    pub(super) async fn source_restored(&mut self) {
        if let Some((since, _)) = self.lost.take() {
            self.source_event(EventKind::SourceRestored(monotonic() - since)).await;
        }
    }

    async fn source_event(&mut self, kind: EventKind) {
        let event = match &mut self.session {
            Some(session) => session.note(self.continuity, Span::new(self.now, self.now), kind, wall()),
            None => {
                self.outside += 1;
                let (scope, name) = (Arc::clone(&self.scope), Arc::clone(&self.name));
                // Of the session that is to be, where that has its id already.
                Event { session: self.id.clone(), ..Event::outside(scope, self.outside, name, kind, wall()) }
            }
        };
        self.send(event).await;
    }

    /// An event of the running session, if there is one.
    pub(super) async fn note(&mut self, kind: EventKind) {
        if self.session.is_some() {
            self.source_event(kind).await;
        }
    }
}
