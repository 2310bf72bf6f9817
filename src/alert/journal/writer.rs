//! The writing thread's work: what is queued goes into the file, all that waits in one transaction. Blocking.

use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::queue::{Job, Shared, State};
use super::store;
use super::types::JournalError;
use crate::time::{monotonic, wall};

/// Jobs of one transaction.
const BATCH: usize = 256;
/// From a refusal of the disk to the next try.
const RETRY: Duration = Duration::from_millis(250);
/// Between two tries to empty the log while somebody reads.
const FOLD_AGAIN: Duration = Duration::from_millis(200);

/// The writer: owns the one connection that writes events.
pub struct Writer {
    pub(super) db: Connection,
    pub(super) shared: std::sync::Arc<Shared>,
    /// Numbers below this are this run's.
    pub(super) reserved: u64,
}

impl Writer {
    /// Writes until the journal is closed and everything is written, or cannot be.
    pub fn run(mut self) {
        let mut fold = false;
        while let Some(mut batch) = self.wait(&mut fold) {
            match self.commit(&mut batch) {
                Ok(failures) => {
                    fold |= batch.iter().any(|job| matches!(job, Job::Work(work) if work.folds()));
                    if fold {
                        fold = !self.fold();
                    }
                    self.written(batch, failures);
                }
                Err(error) => {
                    if self.refused(batch, &error) {
                        break;
                    }
                }
            }
        }
        let next = self.shared.lock().next_seq;
        if let Err(error) = store::end_run(&self.db, next) {
            tracing::warn!("the journal was not closed in good order, which loses nothing: {error}");
        }
        drop(self.db);
        self.shared.lock().closed = true;
        self.shared.ended.notify_waiters();
    }

    /// The next jobs; None: closed, and nothing is left.
    fn wait(&self, fold: &mut bool) -> Option<Vec<Job>> {
        let mut state = self.shared.lock();
        loop {
            if !state.jobs.is_empty() {
                let many = state.jobs.len().min(BATCH);
                return Some(state.jobs.drain(..many).collect());
            }
            if state.closing {
                return None;
            }
            if *fold {
                drop(state);
                *fold = !self.fold();
                state = self.shared.lock();
                if *fold && state.jobs.is_empty() && !state.closing {
                    state = self.shared.sleep(state, Some(FOLD_AGAIN));
                }
            } else {
                state = self.shared.sleep(state, None);
            }
        }
    }

    fn fold(&self) -> bool {
        store::fold(&self.db).unwrap_or(false)
    }

    /// All jobs in one transaction; what failed by itself, by place. The error is the disk's.
    fn commit(&mut self, batch: &mut [Job]) -> Result<Vec<(usize, JournalError)>, rusqlite::Error> {
        let done = self.try_commit(batch);
        if done.is_err() && !self.db.is_autocommit() {
            let _ = self.db.execute_batch("ROLLBACK");
        }
        done
    }

    fn try_commit(&mut self, batch: &mut [Job]) -> Result<Vec<(usize, JournalError)>, rusqlite::Error> {
        let mut failures = Vec::new();
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        let next = self.shared.lock().next_seq;
        let mut reserved = self.reserved;
        if next + store::RESERVED / 2 > reserved {
            reserved = store::reserve(&self.db, next)?;
        }
        for (n, job) in batch.iter_mut().enumerate() {
            self.db.execute_batch("SAVEPOINT job")?;
            match run(&self.db, job) {
                Ok(()) => {}
                Err(JournalError::Sqlite(error)) if store::may_heal(&error) => return Err(error),
                Err(error) => {
                    self.db.execute_batch("ROLLBACK TO job")?;
                    if let Job::Events(entries, _) = job {
                        for entry in entries {
                            store::hole(&self.db, entry.seq, entry.seq, "refused", entry.event.wall)?;
                        }
                    }
                    failures.push((n, error));
                }
            }
            self.db.execute_batch("RELEASE job")?;
        }
        self.db.execute_batch("COMMIT")?;
        self.reserved = reserved;
        Ok(failures)
    }

    fn written(&self, batch: Vec<Job>, mut failures: Vec<(usize, JournalError)>) {
        let mut state = self.shared.lock();
        if std::mem::take(&mut state.failing) {
            let lost = std::mem::take(&mut state.overflowed);
            tracing::warn!("the journal can be written again; {lost} events could not be kept meanwhile");
        }
        let mut replies: Vec<(oneshot::Sender<bool>, bool)> = Vec::new();
        let mut works = Vec::new();
        for (n, job) in batch.into_iter().enumerate() {
            let failure = failures.iter().position(|(at, _)| *at == n).map(|at| failures.swap_remove(at).1);
            match job {
                Job::Events(entries, reply) => {
                    if let Some(error) = &failure {
                        tracing::error!("events were not written to the journal: {error}");
                    }
                    let Some(last) = entries.last().map(|entry| entry.seq) else { continue };
                    state.hand(last, failure.is_none());
                    for entry in &entries {
                        state.unwritten.remove(&entry.seq);
                    }
                    replies.extend(reply.map(|reply| (reply, failure.is_none())));
                }
                Job::Hole { .. } => {}
                Job::Work(work) => works.push((work, failure)),
            }
        }
        drop(state);
        for (reply, durable) in replies {
            let _ = reply.send(durable);
        }
        for (mut work, failure) in works {
            match failure {
                None => work.written(),
                Some(error) => drop(work.failed(error)),
            }
        }
    }

    /// The disk refuses: everything goes back to its place, and whoever waits is told. True: it is to be given up.
    fn refused(&self, batch: Vec<Job>, error: &rusqlite::Error) -> bool {
        let mut kept = Vec::new();
        let mut last = 0;
        let mut replies = Vec::new();
        for job in batch {
            match job {
                Job::Events(entries, reply) => {
                    last = entries.last().map_or(last, |entry| entry.seq);
                    replies.extend(reply);
                    kept.push(Job::Events(entries, None));
                }
                Job::Hole { .. } => kept.push(job),
                Job::Work(mut work) => {
                    if work.failed(JournalError::Unavailable(error.to_string())) {
                        kept.push(Job::Work(work));
                    }
                }
            }
        }
        let mut state = self.shared.lock();
        if !std::mem::replace(&mut state.failing, true) {
            tracing::error!("the journal cannot be written ({error}); events are kept in memory until it can");
        }
        for job in kept.into_iter().rev() {
            state.jobs.push_front(job);
        }
        // Who came meanwhile does not wait for the disk.
        let waiting: Vec<_> = state.jobs.iter_mut().filter_map(|job| answer(job, &mut last)).collect();
        state.hand(last, false);
        if state.closing {
            tracing::error!("{} events are lost with the end of the program", state.unwritten.len());
            return true;
        }
        for reply in replies.into_iter().chain(waiting) {
            let _ = reply.send(false);
        }
        self.pause(state);
        false
    }

    fn pause(&self, mut state: std::sync::MutexGuard<'_, State>) {
        let until = monotonic() + RETRY;
        loop {
            let left = until.saturating_duration_since(monotonic());
            if left.is_zero() || state.closing {
                return;
            }
            state = self.shared.sleep(state, Some(left));
        }
    }
}

fn answer(job: &mut Job, last: &mut u64) -> Option<oneshot::Sender<bool>> {
    let Job::Events(entries, reply) = job else { return None };
    *last = entries.last().map_or(*last, |entry| entry.seq);
    reply.take()
}

fn run(db: &Connection, job: &mut Job) -> Result<(), JournalError> {
    match job {
        Job::Events(entries, _) => Ok(entries.iter().try_for_each(|entry| store::event(db, entry))?),
        Job::Hole { first, last, at } => Ok(store::hole(db, *first, *last, "overflow", *at)?),
        Job::Work(work) => work.run(db),
    }
}

/// Opens the file for a run of the service.
///
/// # Errors
/// It cannot be opened or written, or is another program's.
pub(super) fn begin(path: &std::path::Path, shared: std::sync::Arc<Shared>) -> Result<Writer, JournalError> {
    let mut db = store::open(path)?;
    let begun = store::begin_run(&mut db, wall())?;
    if begun.interrupted > 0 {
        tracing::warn!("{} sessions were running when the service last ended; they are interrupted", begun.interrupted);
    }
    let mut state = shared.lock();
    (state.next_seq, state.handed) = (begun.first, begun.first - 1);
    drop(state);
    Ok(Writer { db, shared, reserved: begun.first + store::RESERVED })
}
