//! Reading: every statement that does not write. Blocking; in a run of the service what the disk refused is read as well.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params, params_from_iter};

use super::outbox::Item;
use super::queue::{ALERT, Shared};
use super::rows::{deliveries, int, items, number, receipt, session_row, text, token_row, unsigned};
use super::store::{self, time};
use super::types::{
    AlertRow, Audit, DeadLetter, DeliveryState, Feedback, FeedbackVerdict, JournalError, Receipt, SessionRow,
    SinkState, Token,
};

/// Connections that are kept open for the next reader.
const KEPT_OPEN: usize = 4;

/// Reads a journal, with connections of its own.
#[derive(Clone)]
pub struct Reader {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    shared: Option<Arc<Shared>>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Which alerts.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlertFilter<'a> {
    /// Only of this session.
    pub session: Option<&'a str>,
    /// Only this one, by its event's id.
    pub id: Option<&'a str>,
    /// Only those of which somebody made this; `Open` includes those nobody looked at.
    pub verdict: Option<FeedbackVerdict>,
    /// Only after this number.
    pub after: u64,
    /// At most so many.
    pub limit: usize,
}

impl Reader {
    /// Of a file that no service of this process has open.
    ///
    /// # Errors
    /// It is not there, or no journal.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let first = store::open_to_read(path)?;
        Ok(Self { path: path.to_owned(), idle: Arc::new(Mutex::new(vec![first])), shared: None })
    }

    pub(super) fn of_run(path: &Path, shared: Arc<Shared>) -> Self {
        Self { path: path.to_owned(), idle: Arc::default(), shared: Some(shared) }
    }

    pub(super) fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, JournalError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let db = idle.map_or_else(|| store::open_to_read(&self.path), Ok)?;
        let value = read(&db)?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT_OPEN {
            idle.push(db);
        }
        Ok(value)
    }

    /// Sessions, the newest first; `after` is the id of the last one seen.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn sessions(&self, after: Option<&str>, limit: usize) -> Result<Vec<SessionRow>, JournalError> {
        self.with(|db| {
            db.prepare_cached("SELECT * FROM session WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2")?
                .query_map(params![after, int(limit)], session_row)?
                .collect()
        })
    }

    /// A session.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn session(&self, id: &str) -> Result<Option<SessionRow>, JournalError> {
        self.with(|db| {
            db.prepare_cached("SELECT * FROM session WHERE id = ?1")?.query_row([id], session_row).optional()
        })
    }

    /// Events after a number, oldest first, with theirs; of one session, or all; of these types (or beginnings of types,
    /// such as `ah.window.`), or all.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn events_after(
        &self,
        session: Option<&str>,
        seq: u64,
        kinds: &[&str],
        limit: usize,
    ) -> Result<Vec<(u64, Arc<str>)>, JournalError> {
        // First what is in memory, so that nothing is missed that is written in between.
        let waiting = self.unwritten(session, seq, kinds, limit);
        let mut values: Vec<Value> = vec![number(seq), Value::Integer(int(limit))];
        let mut which = String::new();
        if let Some(session) = session {
            values.push(Value::Text(session.to_owned()));
            which += " AND session = ?3";
        }
        if !kinds.is_empty() {
            let any: Vec<String> = kinds
                .iter()
                .map(|kind| {
                    values.push(Value::Text((*kind).to_owned()));
                    format!("substr(type, 1, length(?{n})) = ?{n}", n = values.len())
                })
                .collect();
            which = format!("{which} AND ({})", any.join(" OR "));
        }
        let mut events: Vec<(u64, Arc<str>)> = self.with(|db| {
            let sql = format!("SELECT seq, json FROM event WHERE seq > ?1{which} ORDER BY seq LIMIT ?2");
            db.prepare_cached(&sql)?
                .query_map(params_from_iter(values), |row| Ok((unsigned(row, 0)?, text(row, 1)?)))?
                .collect()
        })?;
        if events.len() < limit {
            let last = events.last().map_or(seq, |(last, _)| *last);
            events.extend(waiting.into_iter().filter(|(seq, _)| *seq > last));
            events.truncate(limit);
        }
        Ok(events)
    }

    /// Asks where that may block.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Self) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let reader = self.clone();
        crate::run::blocking(move || ask(&reader)).await.unwrap_or(Err(JournalError::Closed))
    }

    fn unwritten(&self, session: Option<&str>, seq: u64, kinds: &[&str], limit: usize) -> Vec<(u64, Arc<str>)> {
        let Some(shared) = &self.shared else { return Vec::new() };
        let state = shared.lock();
        let entries = state.unwritten.range(seq + 1..).map(|(_, entry)| entry);
        entries
            .filter(|entry| session.is_none() || entry.event.session.as_deref() == session)
            .filter(|entry| kinds.is_empty() || kinds.iter().any(|kind| entry.kind.starts_with(kind)))
            .map(|entry| (entry.seq, Arc::clone(&entry.undurable)))
            .take(limit)
            .collect()
    }

    /// The last event of these types of a session.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn last_event(&self, session: &str, kinds: &[&str]) -> Result<Option<(u64, Arc<str>)>, JournalError> {
        if let Some(last) = self.unwritten(Some(session), 0, kinds, usize::MAX).pop() {
            return Ok(Some(last));
        }
        let kinds = serde_json::to_string(kinds).unwrap_or_default();
        self.with(|db| {
            db.prepare_cached(
                "SELECT seq, json FROM event WHERE session = ?1 AND EXISTS
                    (SELECT 1 FROM json_each(?2) AS kind WHERE substr(event.type, 1, length(kind.value)) = kind.value)
                 ORDER BY seq DESC LIMIT 1",
            )?
            .query_row(params![session, kinds], |row| Ok((unsigned(row, 0)?, text(row, 1)?)))
            .optional()
        })
    }

    /// Alerts, oldest first, with what became of them. Those that could not be written yet are not among them.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn alerts(&self, filter: AlertFilter<'_>) -> Result<Vec<AlertRow>, JournalError> {
        self.with(|db| {
            let mut statement = db.prepare_cached(&format!(
                "SELECT event.seq, event.json, verdict, note, who, feedback.at FROM event
                 LEFT JOIN feedback ON feedback.alert = event.id
                 WHERE event.type = '{ALERT}' AND event.seq > ?1 AND (?2 IS NULL OR event.session = ?2)
                    AND (?3 IS NULL OR event.id = ?3) AND (?4 IS NULL OR ifnull(verdict, 'open') = ?4)
                 ORDER BY event.seq LIMIT ?5"
            ))?;
            let verdict = filter.verdict.map(FeedbackVerdict::as_str);
            let values = params![number(filter.after), filter.session, filter.id, verdict, int(filter.limit)];
            let rows = statement.query_map(values, |row| {
                let verdict: Option<String> = row.get(2)?;
                let feedback = match verdict.as_deref().and_then(FeedbackVerdict::parse) {
                    Some(verdict) => {
                        Some(Feedback { verdict, note: row.get(3)?, by: row.get(4)?, at: time(row.get(5)?) })
                    }
                    None => None,
                };
                Ok(AlertRow { seq: unsigned(row, 0)?, json: text(row, 1)?, feedback, deliveries: Vec::new() })
            })?;
            let mut alerts: Vec<AlertRow> = rows.collect::<rusqlite::Result<_>>()?;
            for alert in &mut alerts {
                alert.deliveries = deliveries(db, alert.seq)?;
            }
            Ok(alerts)
        })
    }

    /// How many alerts a session has.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn count_alerts(&self, session: &str) -> Result<u64, JournalError> {
        self.with(|db| {
            db.prepare_cached(&format!("SELECT count(*) FROM event WHERE session = ?1 AND type = '{ALERT}'"))?
                .query_row([session], |row| unsigned(row, 0))
        })
    }

    /// Who looked at or did something, oldest first: to a session, or at all; `after` counts from 0.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn audit(&self, session: Option<&str>, after: u64, limit: usize) -> Result<Vec<(u64, Audit)>, JournalError> {
        self.with(|db| {
            db.prepare_cached(
                "SELECT id, at, who, action, session, address FROM audit
                 WHERE id > ?1 AND (?2 IS NULL OR session = ?2) ORDER BY id LIMIT ?3",
            )?
            .query_map(params![number(after), session, int(limit)], |row| {
                let (at, who, action) = (time(row.get(1)?), row.get(2)?, row.get(3)?);
                Ok((unsigned(row, 0)?, Audit { at, who, action, session: row.get(4)?, address: row.get(5)? }))
            })?
            .collect()
        })
    }

    /// The receipt of a withdrawal, by the session's id.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn receipt(&self, session: &str) -> Result<Option<Receipt>, JournalError> {
        self.with(|db| receipt(db, session))
    }

    /// How each sink stands of which there is anything.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn outbox(&self) -> Result<Vec<SinkState>, JournalError> {
        self.with(|db| {
            db.prepare_cached(
                "SELECT sink, sum(state = 'pending'), sum(state = 'dead'), min(iif(state = 'pending', since, NULL))
                 FROM outbox WHERE state <> 'delivered' GROUP BY sink ORDER BY sink",
            )?
            .query_map([], |row| {
                let oldest: Option<i64> = row.get(3)?;
                Ok(SinkState {
                    sink: row.get(0)?,
                    pending: unsigned(row, 1)?,
                    dead: unsigned(row, 2)?,
                    oldest: oldest.map(time),
                })
            })?
            .collect()
        })
    }

    /// What a sink never took.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn dead_letters(&self, sink: &str, limit: usize) -> Result<Vec<DeadLetter>, JournalError> {
        self.with(|db| {
            db.prepare_cached(
                "SELECT seq, event.id, outbox.session, attempts, outbox.at, detail FROM outbox JOIN event USING (seq)
                 WHERE sink = ?1 AND state = 'dead' ORDER BY seq LIMIT ?2",
            )?
            .query_map(params![sink, int(limit)], |row| {
                let (seq, event, session) = (unsigned(row, 0)?, row.get(1)?, row.get(2)?);
                let (attempts, at) = (row.get(3)?, time(row.get(4)?));
                Ok(DeadLetter { seq, event, session, attempts, at, detail: row.get(5)? })
            })?
            .collect()
        })
    }

    /// What waits in the file for a sink, after a number.
    pub(super) fn pending(&self, sink: &str, after: u64, limit: usize) -> Result<Vec<Item>, JournalError> {
        self.with(|db| items(db, sink, DeliveryState::Pending, None, after, int(limit)))
    }

    pub(super) fn token(&self, hash: &str) -> Result<Option<Token>, JournalError> {
        self.with(|db| {
            db.prepare_cached("SELECT * FROM token WHERE hash = ?1")?.query_row([hash], token_row).optional()
        })
    }

    /// All tokens, without what opens anything.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn tokens(&self) -> Result<Vec<Token>, JournalError> {
        self.with(|db| db.prepare("SELECT * FROM token ORDER BY name")?.query_map([], token_row)?.collect())
    }
}
