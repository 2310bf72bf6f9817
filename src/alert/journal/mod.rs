//! The journal: an `SQLite` file of everything that was told, and of what became of it at each sink.
//!
//! An event has its number and stands in the file before it is told, in one transaction with its rows for the sinks that
//! want it. Where the disk refuses or stalls it is told all the same, `durable: false`, kept in memory and written when
//! that heals. Callers never wait for a sink, and not longer than a quarter of a second for the disk.
//!
//! - `types`: what goes in and comes out. `queue`: what callers and the writer share. `writer`: the thread's work.
//! - `store`: the file and every statement that writes. `reader`: every one that reads. `purge`: what is deleted by age.
//! - `rows`: rows as what they are.
//! - `outbox`: what waits for a receiver, and what is tried when; pure. `courier`: a sink's end of it.
//! - `letters`: what was given up, once more. `tokens`: who may do what.
//! - `withdraw`: everything of a session goes. `rebuild`: events back to a session. `verify`: is the file in order?
//! - `replay`: a session decided anew from its votes.

mod courier;
mod letters;
mod outbox;
mod purge;
mod queue;
mod reader;
pub mod rebuild;
pub mod replay;
mod rows;
mod store;
mod tokens;
mod types;
pub mod verify;
mod withdraw;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::{Notify, oneshot};

pub use courier::Courier;
pub use letters::{AT_ONCE, Resent, forget_sink_in, resend_in};
pub use outbox::{Done, Failure, FailureKind, Item, Next, Outbox};
pub use purge::{Cutoffs, Purged, purge};
pub use queue::Route;
pub use reader::{AlertFilter, Reader};
pub use tokens::{create_token, hash_of, revoke_token};
pub use types::{
    AlertRow, Audit, ConsentRecord, DeadLetter, Delivery, DeliveryState, Feedback, FeedbackVerdict, JournalError,
    NewSession, Receipt, Role, SessionRow, SessionState, SinkState, Token, Told,
};
pub use writer::Writer;

use crate::alert::Event;
use queue::{Job, Lane, Shared, Work};

/// How long a caller waits for the disk.
const LONGEST_WAIT: Duration = Duration::from_millis(250);
/// How long a caller waits who asked for one thing, and wants to know.
const LONGEST_CALL: Duration = Duration::from_secs(5);

/// A handle of the journal. Once the last is gone the writer ends; [`Journal::close`] waits for that.
#[derive(Clone)]
pub struct Journal {
    handle: Arc<Handle>,
}

struct Handle {
    path: PathBuf,
    shared: Arc<Shared>,
    reader: Reader,
    /// Sessions whose withdrawal was finished when it was opened.
    finished: Vec<String>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.work.notify_all();
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("path", &self.handle.path).finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the file and makes it where there is none. Sessions that were running in it become interrupted, and withdrawals that
    /// the last run did not come to the end of are finished. What is told is written once somebody runs the [`Writer`].
    ///
    /// # Errors
    /// It cannot be opened or written.
    pub fn open(path: &Path) -> Result<(Self, Writer), JournalError> {
        let shared = Arc::new(Shared::default());
        let writer = writer::begin(path, Arc::clone(&shared))?;
        let reader = Reader::of_run(path, Arc::clone(&shared));
        let handle = Handle { path: path.to_owned(), shared, reader, finished: writer.finished.clone() };
        Ok((Self { handle: Arc::new(handle) }, writer))
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// Which sinks there are. What waits in the file for one of them is brought in; what waits for others stays there.
    pub fn set_routes(&self, routes: Vec<Route>) {
        let mut state = self.shared().lock();
        let mut old = std::mem::take(&mut state.lanes);
        for route in routes {
            let kept = old.iter().position(|lane| lane.route.sink == route.sink).map(|at| old.swap_remove(at));
            let lane = kept.unwrap_or_else(|| Lane {
                route: route.clone(),
                outbox: Outbox::new(Arc::clone(&route.sink), true),
                wake: Arc::new(Notify::new()),
            });
            state.lanes.push(Lane { route, ..lane });
        }
        drop(state);
        for lane in old {
            lane.wake.notify_one();
        }
    }

    /// Numbers events and writes them, with their rows for sinks, in one transaction; gives them as they are to be told to
    /// others. Events of a session that was withdrawn are not among them.
    pub async fn record(&self, events: Vec<Event>) -> Vec<Told> {
        let (reply, written) = oneshot::channel();
        let taken = {
            let mut state = self.shared().lock();
            let taken = state.take(events);
            if !taken.queued.is_empty() {
                // Where the disk refuses nobody waits for it.
                let waits = !state.failing && !state.closed;
                state.jobs.push_back(Job::Events(taken.queued.clone(), waits.then_some(reply)));
            }
            taken
        };
        let mut durable = true;
        if let Some(last) = taken.queued.last() {
            self.shared().work.notify_one();
            durable = matches!(tokio::time::timeout(LONGEST_WAIT, written).await, Ok(Ok(true)));
            if !durable {
                self.shared().lock().hand(last.seq, false);
            }
        }
        let kept = |seq: u64| taken.queued.binary_search_by_key(&seq, |entry| entry.seq).is_ok();
        taken.told.iter().map(|entry| entry.told(durable && (kept(entry.seq) || entry.is_withdrawal()))).collect()
    }

    /// A session that the API made.
    ///
    /// # Errors
    /// There is one of this id, or the disk refuses.
    pub async fn create_session(&self, new: NewSession) -> Result<(), JournalError> {
        self.call(false, move |db| store::create_session(db, &new)).await
    }

    /// As [`Journal::create_session`], before everything that is told from now on, and waits for nothing: where the disk refuses
    /// it is written when that heals.
    ///
    /// # Errors
    /// The journal is closed.
    pub fn note_session(&self, new: NewSession) -> Result<(), JournalError> {
        self.later(move |db| store::create_session(db, &new))
    }

    /// Somebody agreed; a session that was waiting for that now waits for media.
    ///
    /// # Errors
    /// There is no such session, or the disk refuses.
    pub async fn consent(&self, session: &str, consent: ConsentRecord) -> Result<(), JournalError> {
        let session = session.to_owned();
        self.call(false, move |db| store::consent(db, &session, &consent)).await
    }

    /// How a session stands now. Events say it as well; a session that was withdrawn stays so.
    ///
    /// # Errors
    /// There is no such session, or the disk refuses; in that case it will be written when it heals.
    pub async fn set_state(&self, session: &str, state: SessionState, now: Timestamp) -> Result<(), JournalError> {
        let session = session.to_owned();
        self.call(true, move |db| {
            if store::state(db, &session, state, now)? {
                Ok(())
            } else {
                Err(JournalError::NotFound(format!("session {session}")))
            }
        })
        .await
    }

    /// As [`Journal::set_state`], and waits for nothing. Of a session that is not there nothing is written.
    ///
    /// # Errors
    /// The journal is closed.
    pub fn note_state(&self, session: &str, state: SessionState, now: Timestamp) -> Result<(), JournalError> {
        let session = session.to_owned();
        self.later(move |db| Ok(store::state(db, &session, state, now).map(drop)?))
    }

    /// What somebody made of an alert; the last word counts.
    ///
    /// # Errors
    /// There is no such alert, or the disk refuses.
    pub async fn feedback(&self, alert: &str, feedback: Feedback) -> Result<(), JournalError> {
        let alert = alert.to_owned();
        self.call(false, move |db| store::feedback(db, &alert, &feedback)).await
    }

    /// Somebody looked at something. Where the disk refuses it is written when that heals.
    pub async fn audit(&self, audit: Audit) {
        let written = self.call(true, move |db| Ok(store::audit(db, &audit)?)).await;
        if let Err(error) = written {
            tracing::debug!("an audit row waits: {error}");
        }
    }

    /// Makes a token; it is shown once and not kept.
    ///
    /// # Errors
    /// There is one of this name, or the disk refuses.
    pub async fn new_token(&self, token: Token) -> Result<String, JournalError> {
        let (shown, hash) = tokens::make();
        self.call(false, move |db| store::new_token(db, &hash, &token)).await?;
        Ok(shown)
    }

    /// Who is presented, if that is a token that opens something at this time. One that has expired does not, but for the
    /// participant who has consented in its session: withdrawing must be as easy as consenting was (GDPR Art. 7(3)), for as
    /// long as anything is kept of it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn token(&self, presented: &str, now: Timestamp) -> Result<Option<Token>, JournalError> {
        let Some(hash) = hash_of(presented) else { return Ok(None) };
        let found = move |reader: &Reader| {
            let Some(token) = reader.token(&hash)? else { return Ok(None) };
            if token.expires.is_none_or(|at| now < at) {
                return Ok(Some(token));
            }
            let own = token.session.as_deref().filter(|_| token.role == Role::Participant);
            let Some(session) = own else { return Ok(None) };
            // A withdrawal takes the consent away; its receipt stays to be read.
            let opens = |row: SessionRow| row.consent.is_some() || row.state == SessionState::Withdrawn;
            Ok(reader.session(session)?.is_some_and(opens).then_some(token))
        };
        self.reader().ask(found).await
    }

    /// All tokens, without what opens anything.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn tokens(&self) -> Result<Vec<Token>, JournalError> {
        self.reader().ask(Reader::tokens).await
    }

    /// Takes a token away. False: there is none of this name.
    ///
    /// # Errors
    /// The disk refuses.
    pub async fn revoke(&self, name: &str) -> Result<bool, JournalError> {
        let name = name.to_owned();
        self.call(false, move |db| Ok(store::revoke(db, &name)?)).await
    }

    /// Sessions that the last run had withdrawn and not deleted, which was done at the start of this one. Clips that were recorded
    /// of them may be left.
    #[must_use]
    pub fn finished(&self) -> &[String] {
        &self.handle.finished
    }

    /// To read, with connections of its own; blocking.
    #[must_use]
    pub fn reader(&self) -> Reader {
        self.handle.reader.clone()
    }

    /// Whether the disk refuses at present.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.shared().lock().failing
    }

    /// How many events were told and do not stand in the file, and how many could not even be kept.
    #[must_use]
    pub fn unwritten(&self) -> (usize, u64) {
        let state = self.shared().lock();
        (state.unwritten.len(), state.overflowed)
    }

    /// Writes what is left and closes the file; nothing can be written afterwards.
    pub async fn close(&self) {
        let ended = self.shared().ended.notified();
        tokio::pin!(ended);
        ended.as_mut().enable();
        {
            let mut state = self.shared().lock();
            state.closing = true;
            if state.closed {
                return;
            }
        }
        self.shared().work.notify_all();
        let _ = tokio::time::timeout(LONGEST_CALL, ended).await;
    }

    /// Does one thing in its turn; `keep`: where the disk refuses, later.
    async fn call<T: Send + 'static>(
        &self,
        keep: bool,
        work: impl FnMut(&Connection) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (reply, done) = oneshot::channel();
        let call = Call { keep, ..Call::new(work, Some(reply)) };
        self.queue(Box::new(call))?;
        wait(done).await
    }

    /// Has one thing done in its turn, or where the disk refuses later; nobody waits for it.
    fn later(
        &self,
        work: impl FnMut(&Connection) -> Result<(), JournalError> + Send + 'static,
    ) -> Result<(), JournalError> {
        self.queue(Box::new(Call { keep: true, ..Call::new(work, None) }))
    }

    fn queue(&self, work: Box<dyn Work>) -> Result<(), JournalError> {
        let mut state = self.shared().lock();
        if state.closed || state.closing {
            return Err(JournalError::Closed);
        }
        state.jobs.push_back(Job::Work(work));
        drop(state);
        self.shared().work.notify_one();
        Ok(())
    }
}

async fn wait<T>(done: oneshot::Receiver<Result<T, JournalError>>) -> Result<T, JournalError> {
    match tokio::time::timeout(LONGEST_CALL, done).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err(JournalError::Closed),
        Err(_) => Err(JournalError::Unavailable("it does not answer".to_owned())),
    }
}

/// A [`Work`] with an answer.
struct Call<T, F> {
    work: F,
    value: Option<T>,
    reply: Option<oneshot::Sender<Result<T, JournalError>>>,
    /// Done once it stands in the file, before that is answered.
    then: Option<Then<T>>,
    keep: bool,
    folds: bool,
}

type Then<T> = Box<dyn FnOnce(&T) + Send>;

impl<T, F> Call<T, F> {
    const fn new(work: F, reply: Option<oneshot::Sender<Result<T, JournalError>>>) -> Self {
        Self { work, value: None, reply, then: None, keep: false, folds: false }
    }
}

impl<T: Send, F: FnMut(&Connection) -> Result<T, JournalError> + Send> Work for Call<T, F> {
    fn run(&mut self, db: &Connection) -> Result<(), JournalError> {
        self.value = Some((self.work)(db)?);
        Ok(())
    }

    fn written(&mut self) {
        let Some(value) = self.value.take() else { return };
        if let Some(then) = self.then.take() {
            then(&value);
        }
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(Ok(value));
        }
    }

    fn failed(&mut self, error: JournalError) -> bool {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(Err(error));
        }
        self.keep
    }

    fn folds(&self) -> bool {
        self.folds
    }

    fn matters(&self) -> bool {
        self.reply.is_some() || self.folds
    }
}

#[cfg(test)]
mod tests;
