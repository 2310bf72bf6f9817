//! Consent was withdrawn: everything of a session goes, and those who had something of it are told.

use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, ToSql, TransactionBehavior};
use tokio::sync::oneshot;

use super::queue::{Entry, Job, Shared};
use super::{Call, Journal, JournalError, Receipt, store, wait};
use crate::alert::{Actor, Event};

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
                let taken = state.take(vec![Event::withdrawal(id, source, by, now)]);
                state.jobs.push_back(Job::Events(taken.queued.clone(), None));
                taken.told.into_iter().next().unwrap_or_else(|| unreachable!("the session was not withdrawn before"))
            });
            let (holes, may_have) = state.forget(session);
            let (of, shared, seq) = (session.to_owned(), Arc::clone(&self.handle.shared), said.seq);
            let work = move |db: &Connection| {
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

/// Sessions that are said to be withdrawn and of which something is left: the service ended in between. They are deleted; their ids.
/// One without a receipt of which nothing is left had one, which was deleted by age.
pub(super) fn finish(db: &mut Connection, now: Timestamp) -> Result<Vec<String>, JournalError> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let ids = |sql: &str, values: &[&dyn ToSql]| -> rusqlite::Result<Vec<String>> {
        tx.prepare(sql)?.query_map(values, |row| row.get(0))?.collect()
    };
    let begun = ids(
        "SELECT id FROM session WHERE state = 'withdrawn' AND id NOT IN (SELECT session FROM receipt)
         AND (coalesce(consent, basis, detail, judgement) IS NOT NULL
            OR id IN (SELECT session FROM event WHERE type <> 'ah.session.withdrawn.v1'))",
        &[],
    )?;
    for session in &begun {
        // What was on its way when that run ended may have arrived.
        let may_have =
            ids("SELECT DISTINCT sink FROM outbox WHERE session = ?1 AND state = 'pending'", &[session as &dyn ToSql])?;
        let told = store::withdraw(&tx, session, &may_have, now)?;
        let said = "SELECT min(seq) FROM event WHERE session = ?1";
        if let Some(seq) = tx.query_row(said, [session], |row| row.get::<_, Option<i64>>(0))? {
            store::tell_withdrawal(&tx, seq.unsigned_abs(), &told.receipt)?;
        }
    }
    tx.commit()?;
    Ok(begun)
}

/// Into the outboxes of those who have to hear it.
fn hand(shared: &Shared, said: &Entry, receipt: &Receipt) {
    let mut state = shared.lock();
    for lane in state.lanes.iter_mut().filter(|lane| receipt.receivers_told.iter().any(|to| **to == *lane.route.sink)) {
        lane.outbox.push(said.item(true));
        lane.wake.notify_one();
    }
}
