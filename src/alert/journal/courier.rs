//! A sink's end of its outbox: what to send next, and what came of it.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Notify;

use super::outbox::{Done, Failure, Item, MOST, Next};
use super::queue::{Job, Lane, Shared};
use super::types::DeliveryState;
use super::{Call, Journal, JournalError, Reader, store};

/// Takes events to one sink, one at a time. What it was given and never spoke of again waits for the next courier.
pub struct Courier {
    sink: Arc<str>,
    shared: Arc<Shared>,
    reader: Reader,
    wake: Arc<Notify>,
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Courier").field("sink", &self.sink).finish_non_exhaustive()
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.lane(|lane| lane.outbox.let_go());
    }
}

impl Journal {
    /// The courier of a sink; there should be one at a time. None: there is no such sink.
    #[must_use]
    pub fn courier(&self, sink: &str) -> Option<Courier> {
        let state = self.shared().lock();
        let lane = state.lanes.iter().find(|lane| &*lane.route.sink == sink)?;
        let (sink, wake) = (Arc::clone(&lane.route.sink), Arc::clone(&lane.wake));
        Some(Courier { sink, shared: Arc::clone(&self.handle.shared), reader: self.reader(), wake })
    }
}

impl Courier {
    /// The sink's name.
    #[must_use]
    pub fn sink(&self) -> &Arc<str> {
        &self.sink
    }

    fn lane<T>(&self, with: impl FnOnce(&mut Lane) -> T) -> Option<T> {
        self.shared.lock().lanes.iter_mut().find(|lane| lane.route.sink == self.sink).map(with)
    }

    /// What to do now.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Next {
        self.lane(|lane| lane.outbox.next(now)).unwrap_or(Next::Idle)
    }

    /// Resolves when there may be something else to do.
    pub async fn changed(&self) {
        self.wake.notified().await;
    }

    /// Whether an event that is being sent is still to be: not, once its session was withdrawn.
    #[must_use]
    pub fn is_wanted(&self, seq: u64) -> bool {
        self.lane(|lane| lane.outbox.is_in_flight(seq)).unwrap_or(false)
    }

    /// Brings in what waits in the file, where that is due. False: there was nothing to bring, though there should be.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn refill(&self) -> Result<bool, JournalError> {
        let Some(after) = self.lane(|lane| lane.outbox.wants_more()).flatten() else { return Ok(true) };
        let sink = Arc::clone(&self.sink);
        let items: Vec<Item> = self.reader.ask(move |reader| reader.pending(&sink, after, MOST)).await?;
        let (some, all) = (!items.is_empty(), items.len() < MOST);
        let mut state = self.shared.lock();
        // Read before it was withdrawn.
        let items: Vec<Item> = items.into_iter().filter(|item| !state.is_gone(item)).collect();
        let Some(lane) = state.lanes.iter_mut().find(|lane| lane.route.sink == self.sink) else { return Ok(true) };
        lane.outbox.bring_in(items, all);
        Ok(some || lane.outbox.wants_more().is_none())
    }

    /// The sink took it.
    pub fn delivered(&self, seq: u64, now: Timestamp) {
        let done = self.lane(|lane| lane.outbox.delivered(seq, now)).flatten();
        self.note(done);
    }

    /// The sink did not take it. `chance`, 0 to 1, is how much of the longest wait is waited. What it is now; None: it is
    /// not to be sent any more.
    #[must_use = "whoever gives up says so"]
    pub fn failed(&self, seq: u64, failure: &Failure, now: Timestamp, chance: f64) -> Option<DeliveryState> {
        let done = self.lane(|lane| lane.outbox.failed(seq, failure, now, chance)).flatten();
        let state = done.as_ref().map(|done| done.state);
        self.note(done);
        state
    }

    fn note(&self, done: Option<Done>) {
        let Some(done) = done else { return };
        let mut state = self.shared.lock();
        // Where the disk refuses, what is tried again may fill no memory.
        if state.closed || (state.failing && done.state == DeliveryState::Pending) {
            return;
        }
        let work = move |db: &rusqlite::Connection| Ok(store::delivery(db, &done)?);
        let call = Call { keep: true, ..Call::new(work, None) };
        state.jobs.push_back(Job::Work(Box::new(call)));
        drop(state);
        self.shared.work.notify_one();
    }
}
