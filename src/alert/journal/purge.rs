//! What is deleted by age, in small steps, so that nobody waits long for the file.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, params};

use super::rows::int;
use super::store::{delete_events, ms};
use super::types::JournalError;
use crate::config::JournalConfig;

/// Events of one step.
const STEP: usize = 500;
/// From one purge to the next.
pub(super) const EVERY: Duration = Duration::from_secs(24 * 3600);

/// What is deleted: everything from before these times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutoffs {
    /// Windows, sources and judges.
    pub events: Timestamp,
    /// Alerts with what was made of them, episodes, sessions and their beginnings and ends.
    pub alerts: Timestamp,
    /// Who looked at what; receipts.
    pub audit: Timestamp,
}

/// How much was deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Events of any kind.
    pub events: u64,
    /// Sessions.
    pub sessions: u64,
    /// Audit rows and receipts.
    pub audit: u64,
}

impl Cutoffs {
    /// As configured.
    #[must_use]
    pub fn of(config: &JournalConfig, now: Timestamp) -> Self {
        let before = |days: u32| {
            now.saturating_sub(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::UNIX_EPOCH)
        };
        Self {
            events: before(config.keep_events_days),
            alerts: before(config.keep_alerts_days),
            audit: before(config.keep_audit_days),
        }
    }

    /// The same for all.
    #[must_use]
    pub const fn all(before: Timestamp) -> Self {
        Self { events: before, alerts: before, audit: before }
    }
}

/// One step, in a transaction of its own. The flag: there is no more.
pub(super) fn step(db: &mut Connection, cutoffs: &Cutoffs, now: Timestamp) -> rusqlite::Result<(Purged, bool)> {
    let tx = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // What somebody still waits for stays until it is delivered or given up.
    let seqs: Vec<i64> = tx
        .prepare_cached(
            "SELECT seq FROM event WHERE at < iif(type GLOB 'ah.alert.*' OR type GLOB 'ah.episode.*'
                OR type GLOB 'ah.session.*', ?2, ?1)
             AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.seq = event.seq AND state = 'pending')
             ORDER BY seq LIMIT ?3",
        )?
        .query_map(params![ms(cutoffs.events), ms(cutoffs.alerts), int(STEP)], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let list = serde_json::to_string(&seqs).unwrap_or_default();
    let these = "seq IN (SELECT value FROM json_each(?1))";
    tx.execute(&format!("DELETE FROM feedback WHERE alert IN (SELECT id FROM event WHERE {these})"), [&list])?;
    tx.execute(&format!("DELETE FROM outbox WHERE {these}"), [&list])?;
    let mut purged = Purged { events: delete_events(&tx, these, &[&list], "purged", now)? as u64, ..Purged::default() };
    let done = seqs.len() < STEP;
    if done {
        purged.sessions = tx.execute(
            "DELETE FROM session WHERE ifnull(ended, created) < ?1
             AND state IN ('ended', 'withdrawn', 'interrupted', 'awaiting_consent', 'awaiting_media')
             AND NOT EXISTS (SELECT 1 FROM event WHERE event.session = session.id)",
            [ms(cutoffs.alerts)],
        )? as u64;
        purged.audit = tx.execute("DELETE FROM audit WHERE at < ?1", [ms(cutoffs.audit)])? as u64;
        purged.audit += tx.execute("DELETE FROM receipt WHERE at < ?1", [ms(cutoffs.audit)])? as u64;
        join_holes(&tx)?;
    }
    tx.commit()?;
    Ok((purged, done))
}

/// Purges all there is, of a file that may be in use.
///
/// # Errors
/// The file cannot be opened or written.
pub fn purge(path: &std::path::Path, cutoffs: &Cutoffs, now: Timestamp) -> Result<Purged, JournalError> {
    drop(super::store::open_to_read(path)?);
    let mut db = super::store::open(path)?;
    let mut all = Purged::default();
    loop {
        let (purged, done) = step(&mut db, cutoffs, now)?;
        all = all + purged;
        if done {
            super::store::fold(&db)?;
            return Ok(all);
        }
    }
}

impl std::ops::Add for Purged {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            events: self.events + other.events,
            sessions: self.sessions + other.sessions,
            audit: self.audit + other.audit,
        }
    }
}

/// Holes of one reason beside each other become one.
fn join_holes(db: &Connection) -> rusqlite::Result<()> {
    let holes: Vec<(i64, i64, String)> = db
        .prepare("SELECT first, last, reason FROM hole ORDER BY first")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for run in holes.chunk_by(|a, b| a.1 + 1 == b.0 && a.2 == b.2).filter(|run| run.len() > 1) {
        let (first, last) = (run[0].0, run[run.len() - 1].1);
        db.execute("DELETE FROM hole WHERE first > ?1 AND first <= ?2", [first, last])?;
        db.execute("UPDATE hole SET last = ?2 WHERE first = ?1", [first, last])?;
    }
    Ok(())
}
