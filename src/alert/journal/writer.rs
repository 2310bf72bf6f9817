//! The writing thread's work: what is queued goes into the file, all that waits in one transaction. Blocking.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::queue::{Job, Shared, State};
use super::types::JournalError;
use super::{purge, store, withdraw};
use crate::config::JournalConfig;
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
    /// Whether a commit waits for the disk.
    synced: bool,
    /// How long what is kept, and when that is looked at next.
    keep: Option<(JournalConfig, Instant)>,
    /// Sessions whose withdrawal was finished at the start.
    pub(super) finished: Vec<String>,
    /// Held as long as the writer lives: only one service can have a journal.
    _lock: std::fs::File,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    /// From now on, deletes what is older than configured: at once, then once a day, when nothing else is to be done.
    #[must_use]
    pub fn keeping(mut self, config: &JournalConfig) -> Self {
        self.keep = Some((config.clone(), monotonic()));
        self
    }

    /// Writes until the journal is closed and everything is written, or cannot be.
    pub fn run(mut self) {
        let mut fold = !self.finished.is_empty();
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
    fn wait(&mut self, fold: &mut bool) -> Option<Vec<Job>> {
        let mut state = self.shared.lock();
        loop {
            if !state.jobs.is_empty() {
                let many = state.jobs.len().min(BATCH);
                return Some(state.jobs.drain(..many).collect());
            }
            if state.closing {
                return None;
            }
            let purge_in = self.keep.as_ref().map(|(_, at)| at.saturating_duration_since(monotonic()));
            let now_due = purge_in.is_some_and(|left| left.is_zero());
            if *fold || now_due {
                drop(state);
                if now_due {
                    *fold |= self.purge();
                }
                if *fold {
                    *fold = !self.fold();
                }
                state = self.shared.lock();
                if !state.jobs.is_empty() || state.closing {
                    continue;
                }
            }
            let purge_in = self.keep.as_ref().map(|(_, at)| at.saturating_duration_since(monotonic()));
            let fold_in = fold.then_some(FOLD_AGAIN);
            state = self.shared.sleep(state, purge_in.into_iter().chain(fold_in).min());
        }
    }

    /// A step of deleting what is old. True: something was deleted.
    fn purge(&mut self) -> bool {
        let Some((config, at)) = &mut self.keep else { return false };
        let now = wall();
        match purge::step(&mut self.db, &purge::Cutoffs::of(config, now), now) {
            Ok((purged, done)) => {
                if done {
                    *at = monotonic() + purge::EVERY;
                }
                purged != purge::Purged::default()
            }
            Err(error) => {
                tracing::warn!("what is old could not be deleted from the journal, tried again in an hour: {error}");
                *at = monotonic() + Duration::from_secs(3600);
                false
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
        // Windows come all the time and survive the death of the process as they are. What matters waits until the disk has
        // it, and all before it.
        let sync = batch.iter().any(Job::matters);
        if sync != self.synced {
            self.db.execute_batch(if sync { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" })?;
            self.synced = sync;
        }
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
        let mut state = self.shared.lock();
        if !std::mem::replace(&mut state.failing, true) {
            tracing::error!("the journal cannot be written ({error}); events are kept in memory until it can");
        }
        for job in batch.into_iter().rev() {
            state.jobs.push_front(job);
        }
        // Who came meanwhile does not wait for the disk either.
        let (mut last, mut replies) = (0, Vec::new());
        state.jobs.retain_mut(|job| match job {
            Job::Events(entries, reply) => {
                last = entries.last().map_or(last, |entry| entry.seq);
                replies.extend(reply.take());
                !entries.is_empty()
            }
            Job::Hole { .. } => true,
            Job::Work(work) => work.failed(JournalError::Unavailable(error.to_string())),
        });
        state.hand(last, false);
        if state.closing {
            tracing::error!("{} events are lost with the end of the program", state.unwritten.len());
            return true;
        }
        for reply in replies {
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
pub(super) fn begin(path: &Path, shared: std::sync::Arc<Shared>) -> Result<Writer, JournalError> {
    let lock = lock(path, "end that one, or name another file in [journal] path")?;
    let mut db = store::open(path)?;
    let begun = store::begin_run(&mut db, wall())?;
    if begun.interrupted > 0 {
        tracing::warn!("{} sessions were running when the service last ended; they are interrupted", begun.interrupted);
    }
    let finished = withdraw::finish(&mut db, wall())?;
    if !finished.is_empty() {
        tracing::warn!("{} withdrawals had begun when the service last ended; they are finished", finished.len());
    }
    let mut state = shared.lock();
    (state.next_seq, state.handed) = (begun.first, begun.first - 1);
    drop(state);
    let reserved = begun.first + store::RESERVED;
    Ok(Writer { db, shared, reserved, synced: true, keep: None, finished, _lock: lock })
}

/// A file beside it, locked as long as it is open, by whatever way its holder ends. `remedy`: what to do where a service has it.
pub(super) fn lock(path: &Path, remedy: &str) -> Result<std::fs::File, JournalError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let wrong = |what: String| JournalError::Open { path: path.display().to_string(), what };
    let other = "name another file in [journal] path";
    let file = std::fs::File::create(&name).map_err(|error| wrong(format!("{error}; {other}")))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(wrong(format!("another ahwatch has it; {remedy}"))),
        Err(std::fs::TryLockError::Error(error)) => Err(wrong(error.to_string())),
    }
}
