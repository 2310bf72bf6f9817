//! Rows of the file as what they are.

use std::sync::Arc;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::outbox::Item;
use super::store::time;
use super::types::{Delivery, DeliveryState, Receipt, Role, SessionRow, SessionState, Token};

/// Events of a sink in one state, oldest first.
pub(super) fn items(
    db: &Connection,
    sink: &str,
    state: DeliveryState,
    only: Option<u64>,
    after: u64,
    limit: i64,
) -> rusqlite::Result<Vec<Item>> {
    db.prepare_cached(
        "SELECT seq, event.id, event.session, json ->> '$.data.source', type, json, since, attempts
         FROM outbox JOIN event USING (seq)
         WHERE sink = ?1 AND state = ?2 AND seq > ?3 AND seq = ifnull(?4, seq) ORDER BY seq LIMIT ?5",
    )?
    .query_map(params![sink, state.as_str(), number(after), only.map(number), limit], |row| {
        let session: Option<String> = row.get(2)?;
        let source: Option<String> = row.get(3)?;
        Ok(Item {
            seq: unsigned(row, 0)?,
            id: text(row, 1)?,
            session: session.map(Into::into),
            source: source.unwrap_or_default().into(),
            kind: text(row, 4)?,
            json: text(row, 5)?,
            since: time(row.get(6)?),
            attempts: row.get(7)?,
        })
    })?
    .collect()
}

/// The number of an event.
pub(super) fn seq_of(db: &Connection, id: &str) -> rusqlite::Result<Option<u64>> {
    db.prepare_cached("SELECT seq FROM event WHERE id = ?1")?.query_row([id], |row| unsigned(row, 0)).optional()
}

pub(super) fn receipt(db: &Connection, session: &str) -> rusqlite::Result<Option<Receipt>> {
    let row = |row: &Row<'_>| {
        let told: String = row.get("receivers_told")?;
        Ok(Receipt {
            id: row.get("id")?,
            session: row.get("session")?,
            at: time(row.get("at")?),
            windows_deleted: unsigned(row, "windows_deleted")?,
            alerts_deleted: unsigned(row, "alerts_deleted")?,
            pending_deleted: unsigned(row, "pending_deleted")?,
            receivers_told: serde_json::from_str(&told).unwrap_or_default(),
        })
    };
    db.prepare_cached("SELECT * FROM receipt WHERE session = ?1")?.query_row([session], row).optional()
}

pub(super) fn deliveries(db: &Connection, seq: u64) -> rusqlite::Result<Vec<Delivery>> {
    db.prepare_cached("SELECT sink, state, attempts, at, detail FROM outbox WHERE seq = ?1 ORDER BY sink")?
        .query_map([number(seq)], |row| {
            let state: String = row.get(1)?;
            let state = DeliveryState::parse(&state).unwrap_or(DeliveryState::Pending);
            Ok(Delivery { sink: row.get(0)?, state, attempts: row.get(2)?, at: time(row.get(3)?), detail: row.get(4)? })
        })?
        .collect()
}

pub(super) fn session_row(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    let state: String = row.get("state")?;
    let at = |name: &str| row.get::<_, Option<i64>>(name).map(|ms| ms.map(time));
    let json = |name: &str| -> rusqlite::Result<Option<String>> { row.get(name) };
    Ok(SessionRow {
        id: row.get("id")?,
        source: row.get("source")?,
        kind: row.get("kind")?,
        state: SessionState::parse(&state).unwrap_or(SessionState::Interrupted),
        purpose: row.get("purpose")?,
        basis: json("basis")?.and_then(|text| serde_json::from_str(&text).ok()),
        consent: json("consent")?.and_then(|text| serde_json::from_str(&text).ok()),
        created_by: row.get("created_by")?,
        created: time(row.get("created")?),
        started: at("started")?,
        ended: at("ended")?,
        rule: row.get("rule")?,
        judgement: row.get("judgement")?,
        detail: json("detail")?.and_then(|text| serde_json::from_str(&text).ok()),
    })
}

pub(super) fn token_row(row: &Row<'_>) -> rusqlite::Result<Token> {
    let role: String = row.get("role")?;
    let expires: Option<i64> = row.get("expires")?;
    Ok(Token {
        name: row.get("name")?,
        // A word that is none allows the least.
        role: Role::parse(&role).unwrap_or(Role::Participant),
        session: row.get("session")?,
        created: time(row.get("created")?),
        expires: expires.map(time),
    })
}

pub(super) fn number(n: u64) -> Value {
    Value::Integer(i64::try_from(n).unwrap_or(i64::MAX))
}

pub(super) fn int(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(row: &Row<'_>, at: impl rusqlite::RowIndex) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0))
}

pub(super) fn text(row: &Row<'_>, at: usize) -> rusqlite::Result<Arc<str>> {
    row.get::<_, String>(at).map(Into::into)
}
