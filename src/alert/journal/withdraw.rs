//! Consent was withdrawn: everything of a session goes, and those who had something of it are told.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::queue::{Entry, Job, Shared};
use super::{Call, Journal, JournalError, Receipt, store, wait};
use crate::alert::{Actor, Event, EventKind};

impl Journal {
    /// Deletes events, windows, votes, alerts, feedback and undelivered rows of a session, in memory at once and in the file
    /// before this resolves; deleted bytes are overwritten. Kept are the receipt, the session's row without content, and
    /// `ah.session.withdrawn.v1`, which is sent to each sink that had something of it, or may have had. Whatever comes of
    /// the session later is not taken. A second call gives the first one's receipt.
    ///
    /// # Errors
    /// There is no such session; or the disk refuses, in which case it is done when that heals.
    pub async fn withdraw(&self, session: &str, by: Actor, now: Timestamp) -> Result<Receipt, JournalError> {
        let of = session.to_owned();
        let (known, done) = self.reader().ask(move |reader| Ok((reader.session(&of)?, reader.receipt(&of)?))).await?;
        // By an earlier run of the service, too.
        if let Some(receipt) = done {
            return Ok(receipt);
        }
        let source: Arc<str> = match known {
            Some(row) => row.source.into(),
            None => return Err(JournalError::NotFound(format!("session {session}"))),
        };
        let (reply, done) = oneshot::channel();
        {
            let mut state = self.shared().lock();
            if state.closing || state.closed {
                return Err(JournalError::Closed);
            }
            let id: Arc<str> = session.into();
            let said = state.withdrawn.get(&id).cloned();
            let said = said.unwrap_or_else(|| {
                let kind = EventKind::SessionWithdrawn(by);
                let scope = format!("{session}.withdrawn").into();
                let event = Event { session: Some(id), ..Event::outside(scope, 0, source, kind, now) };
                let taken = state.take(vec![event]);
                state.jobs.push_back(Job::Events(taken.queued.clone(), None));
                taken.told.into_iter().next().unwrap_or_else(|| unreachable!("the session was not withdrawn before"))
            });
            let (holes, may_have) = state.forget(session);
            let (of, shared, seq) = (session.to_owned(), Arc::clone(&self.handle.shared), said.seq);
            let work = move |db: &rusqlite::Connection| {
                for number in &holes {
                    store::hole(db, *number, *number, "withdrawn", now)?;
                }
                let told = store::withdraw(db, &of, &may_have, now)?;
                if told.is_new {
                    store::tell_withdrawal(db, seq, &told.receipt)?;
                }
                Ok((told.receipt, told.is_new))
            };
            let then = move |(receipt, is_new): &(Receipt, bool)| {
                if *is_new {
                    hand(&shared, &said, receipt);
                }
            };
            let call = Call { then: Some(Box::new(then)), keep: true, folds: true, ..Call::new(work, Some(reply)) };
            state.jobs.push_back(Job::Work(Box::new(call)));
        }
        self.shared().work.notify_one();
        wait(done).await.map(|(receipt, _)| receipt)
    }
}

/// Into the outboxes of those who have to hear it.
fn hand(shared: &Shared, said: &Entry, receipt: &Receipt) {
    let mut state = shared.lock();
    for lane in state.lanes.iter_mut().filter(|lane| receipt.receivers_told.iter().any(|to| **to == *lane.route.sink)) {
        lane.outbox.push(said.item(true));
        lane.wake.notify_one();
    }
}
