//! Consent withdrawn: everything of a source is dropped at once, and only that is told.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::measure::Measuring;
use super::{Watched, Watcher};
use crate::alert::{Actor, EventKind};
use crate::run::{Item, Withdrawn};
use crate::session::Session;
use crate::time::{Span, wall};

/// A thread that holds a picture or a window lets go of it within this: it is asked ten times a second, and a window is measured or
/// encoded in less.
const LETTING_GO: Duration = Duration::from_secs(2);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(5);
/// Whoever takes the events may have stalled: the withdrawal is done all the same, and told when that goes on.
const TELLING: Duration = Duration::from_millis(250);

/// How a source's task hears of a withdrawal, and says that it is done.
pub(crate) struct Withdrawal {
    by: watch::Receiver<Option<Actor>>,
    done: watch::Sender<Withdrawn>,
}

impl Withdrawal {
    /// `by` says who asks for it, once somebody does.
    pub fn new(by: watch::Receiver<Option<Actor>>, done: watch::Sender<Withdrawn>) -> Self {
        Self { by, done }
    }

    /// Resolves when somebody asks for it, whoever that is.
    pub(super) async fn asked(&mut self) -> Actor {
        loop {
            if let Some(by) = *self.by.borrow_and_update() {
                return by;
            }
            if self.by.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Watcher {
    /// Drops everything, then says so.
    pub(super) async fn withdraw(
        mut self,
        by: Actor,
        mut queue: mpsc::Receiver<Item>,
        withdrawal: Withdrawal,
        one_session: bool,
    ) -> Watched {
        self.watched.withdrawn = true;
        // The cutting thread can hand in nothing more; requests in flight end with their connections.
        queue.close();
        self.in_flight = FuturesUnordered::new();
        (self.waiting, self.turn) = (None, None);
        self.measuring = Measuring::new(self.plan.desk.clone(), self.plan.station(&self.name));
        self.recorder.offer(None);
        // Closed by the thread once its rings are empty.
        let until = Instant::now() + LETTING_GO;
        let mut released = false;
        while let Ok(item) = timeout_at(until, queue.recv()).await {
            released = item.is_none();
            if released {
                break;
            }
        }
        // No session yet: its only one begins with its end.
        let session = self.session.take().or_else(|| {
            let id = self.id.take()?;
            Some(Session::new(id, Arc::clone(&self.name), self.plan.settings_now()))
        });
        let done = match &session {
            Some(session) => self.recorder.withdraw(session.id()).await.map(|_| ()),
            None => Ok(()),
        };
        while self.held.iter().any(|window| window.strong_count() > 0) && Instant::now() < until {
            sleep(LOOK).await;
        }
        if !released || self.held.iter().any(|window| window.strong_count() > 0) {
            tracing::error!(source = %self.name, "a withdrawn source's media is still held; it is freed when its thread goes on");
        }
        if let Err(error) = &done {
            tracing::error!(source = %self.name, %error, "clips of a withdrawn session could not be deleted");
        }
        let done = done.map_err(|error| error.to_string().into());
        let Some(mut session) = session else {
            // Where its only session has ended before, there was nothing to withdraw, which is the answer.
            if !one_session {
                withdrawal.done.send_replace(Some(done));
            }
            return self.watched;
        };
        let span = Span::new(self.now, self.now);
        let event = session.note(self.continuity, span, EventKind::SessionWithdrawn(by), wall());
        {
            let telling = self.send(event);
            tokio::pin!(telling);
            let told = timeout(TELLING, &mut telling).await;
            withdrawal.done.send_replace(Some(done));
            if told.is_err() {
                telling.await;
            }
        }
        self.watched
    }
}
