//! What a sink never took: sent once more, or, where the sink is gone, deleted with all that waits for it.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::{Connection, params};
use tokio::sync::oneshot;

use super::outbox::Item;
use super::rows::{int, items, unsigned};
use super::{Call, DeliveryState, Journal, JournalError, rows, store, wait, writer};

/// Dead letters that are sent again at once, so that they fit into memory beside what waits there.
pub const AT_ONCE: usize = 1000;

/// What came of sending dead letters again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resent {
    /// So many wait for their sink again.
    pub resent: usize,
    /// Dead letters of the sink that are left.
    pub left: u64,
}

impl Journal {
    /// Lets dead letters wait for their sink again, the oldest first, at most [`AT_ONCE`]; or only that of one event. Each keeps its
    /// id and is tried for three days. Of its session it comes before what waits, and after what is being sent.
    ///
    /// # Errors
    /// There is no such sink, or no such dead letter; or the disk refuses.
    pub async fn resend(&self, sink: &str, event: Option<&str>, now: Timestamp) -> Result<Resent, JournalError> {
        let room = {
            let mut state = self.shared().lock();
            let lane = state.lanes.iter_mut().find(|lane| &*lane.route.sink == sink);
            lane.ok_or_else(|| no_sink(sink))?.outbox.room().min(AT_ONCE)
        };
        let (name, event, shared) =
            (sink.to_owned(), event.map(str::to_owned), std::sync::Arc::clone(&self.handle.shared));
        let work = move |db: &Connection| {
            let items = revive(db, &name, event.as_deref(), room, now)?;
            let resent = Resent { resent: items.len(), left: dead(db, &name)? };
            Ok((resent, name.clone(), items))
        };
        // By the writer, once it stands in the file: whoever asked may be gone by then.
        let then = move |(_, name, items): &(Resent, String, Vec<Item>)| {
            let mut state = shared.lock();
            let wanted: Vec<Item> = items.iter().filter(|item| !state.is_gone(item)).cloned().collect();
            if let Some(lane) = state.lanes.iter_mut().find(|lane| *lane.route.sink == **name) {
                for item in wanted {
                    lane.outbox.revive(item);
                }
                lane.wake.notify_one();
            }
        };
        let (reply, done) = oneshot::channel();
        let call = Call { then: Some(Box::new(then)), ..Call::new(work, Some(reply)) };
        self.queue(Box::new(call))?;
        wait(done).await.map(|(resent, _, _)| resent)
    }

    /// Deletes all that waits for a sink that there is no more, and its dead letters. How many.
    ///
    /// # Errors
    /// There is such a sink, or nothing of it; or the disk refuses.
    pub async fn forget_sink(&self, sink: &str) -> Result<usize, JournalError> {
        if self.shared().lock().lanes.iter().any(|lane| &*lane.route.sink == sink) {
            return Err(JournalError::Exists(format!("a sink {sink}; take it out of the configuration first")));
        }
        let name = sink.to_owned();
        self.call(false, move |db| forget(db, &name)).await
    }
}

/// [`Journal::resend`] in a file that no service has, without a limit.
///
/// # Errors
/// A service has it; there is no such dead letter; the file cannot be opened or written.
pub fn resend_in(path: &Path, sink: &str, event: Option<&str>, now: Timestamp) -> Result<Resent, JournalError> {
    let (_lock, mut db) = alone(path, "POST /v1/sinks/NAME/dead-letters/resend")?;
    let tx = db.transaction()?;
    let items = revive(&tx, sink, event, usize::MAX, now)?;
    let resent = Resent { resent: items.len(), left: dead(&tx, sink)? };
    tx.commit()?;
    Ok(resent)
}

/// [`Journal::forget_sink`] in a file that no service has.
///
/// # Errors
/// A service has it; there is nothing of the sink; the file cannot be opened or written.
pub fn forget_sink_in(path: &Path, sink: &str) -> Result<usize, JournalError> {
    let (_lock, mut db) = alone(path, "DELETE /v1/sinks/NAME")?;
    let tx = db.transaction()?;
    let many = forget(&tx, sink)?;
    tx.commit()?;
    store::fold(&db)?;
    Ok(many)
}

/// The file, while no service has it: one that runs keeps in memory what waits.
fn alone(path: &Path, by_api: &str) -> Result<(std::fs::File, Connection), JournalError> {
    drop(store::open_to_read(path)?);
    let lock = writer::lock(path, &format!("it is running: ask it by {by_api}, or end it"))?;
    Ok((lock, store::open(path)?))
}

fn no_sink(sink: &str) -> JournalError {
    JournalError::NotFound(format!("sink {sink} in the configuration"))
}

fn dead(db: &Connection, sink: &str) -> rusqlite::Result<u64> {
    db.prepare_cached("SELECT count(*) FROM outbox WHERE sink = ?1 AND state = 'dead'")?
        .query_row([sink], |row| unsigned(row, 0))
}

/// Dead letters become pending again: which.
fn revive(
    db: &Connection,
    sink: &str,
    event: Option<&str>,
    most: usize,
    now: Timestamp,
) -> Result<Vec<Item>, JournalError> {
    let only = event.map(|event| rows::seq_of(db, event)).transpose()?.flatten();
    let missing = |event: &str| JournalError::NotFound(format!("dead letter {event} of the sink {sink}"));
    if let (Some(event), None) = (event, only) {
        return Err(missing(event));
    }
    let mut items = items(db, sink, DeliveryState::Dead, only, 0, int(most))?;
    if let (Some(event), true) = (event, items.is_empty() && most > 0) {
        return Err(missing(event));
    }
    let mut revive =
        db.prepare_cached("UPDATE outbox SET state = ?3, since = ?4, at = ?4 WHERE sink = ?1 AND seq = ?2")?;
    for item in &mut items {
        item.since = now;
        revive.execute(params![sink, rows::number(item.seq), DeliveryState::Pending.as_str(), store::ms(now)])?;
    }
    Ok(items)
}

fn forget(db: &Connection, sink: &str) -> Result<usize, JournalError> {
    // What was delivered stays: a withdrawal has to know who had something.
    let many = db.execute("DELETE FROM outbox WHERE sink = ?1 AND state <> 'delivered'", [sink])?;
    if many == 0 { Err(JournalError::NotFound(format!("delivery that waits for a sink {sink}"))) } else { Ok(many) }
}
