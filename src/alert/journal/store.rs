//! The file: opening it, its schema, and every statement that writes to it. Blocking.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags, params};
use rusqlite_migration::{M, Migrations};

use super::queue::Entry;
use super::types::{Audit, ConsentRecord, Feedback, JournalError, NewSession, Receipt, SessionState, Token};
use crate::alert::EventKind;

/// Each once, in order, for ever.
const MIGRATIONS: &[M<'_>] = &[M::up(include_str!("schema.sql"))];

/// Another process (`ahwatch journal purge`) may hold the file so long.
const BUSY: Duration = Duration::from_secs(1);

/// Pages that a connection keeps. `SQLite`'s own 2 MiB would be filled, by each of six connections, as the journal grows; the
/// system keeps the file's pages as well. Negative: KiB.
const CACHE: &str = "PRAGMA cache_size = -256;";

/// How many sequence numbers a run is given at a time.
pub(super) const RESERVED: u64 = 1_000_000;

/// Opens the file to write, and makes it where there is none; only its owner can read it.
pub(super) fn open(path: &Path) -> Result<Connection, JournalError> {
    let wrong = |what: String| JournalError::Open { path: path.display().to_string(), what };
    create(path).map_err(|error| wrong(format!("{error}; name another file in [journal] path")))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags).map_err(|error| wrong(error.to_string()))?;
    prepare(&mut db).map_err(|error| wrong(in_words(&error)))?;
    Ok(db)
}

fn prepare(db: &mut Connection) -> Result<(), rusqlite_migration::Error> {
    db.busy_timeout(BUSY)?;
    db.execute_batch(CACHE)?;
    // A commit survives the death of the process by WAL alone; FULL makes it survive the machine's too. The writer chooses.
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;")?;
    Migrations::from_slice(MIGRATIONS).to_latest(db)
}

fn in_words(error: &rusqlite_migration::Error) -> String {
    use rusqlite_migration::{Error, MigrationDefinitionError};
    match error {
        Error::MigrationDefinition(MigrationDefinitionError::DatabaseTooFarAhead) => {
            "was written by a newer ahwatch; use that one, or name another file in [journal] path".to_owned()
        }
        Error::RusqliteError { err, .. } => match err.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => "is no journal; name another file in [journal] path".to_owned(),
            _ => err.to_string(),
        },
        other => other.to_string(),
    }
}

fn create(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// Opens a file that must be there, to read.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, JournalError> {
    let wrong = |what: String| JournalError::Open { path: path.display().to_string(), what };
    // Not read-only: who reads a file in WAL mode after a crash may have to recover it.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) if !path.exists() => {
            wrong("there is no such file; name it by --journal, or the configuration by --config".to_owned())
        }
        _ => wrong(error.to_string()),
    })?;
    let look = |db: &Connection| -> rusqlite::Result<i64> {
        db.busy_timeout(BUSY)?;
        db.execute_batch(CACHE)?;
        db.execute_batch("PRAGMA query_only = ON;")?;
        db.query_row("PRAGMA user_version", [], |row| row.get(0))
    };
    match look(&db) {
        Ok(version) if usize::try_from(version) == Ok(MIGRATIONS.len()) => Ok(db),
        Ok(0) => Err(wrong("is no journal".to_owned())),
        Ok(_) => Err(wrong("was written by another version of ahwatch".to_owned())),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            Err(wrong("is no journal".to_owned()))
        }
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// Whether the same may go well later: the disk is full, slow or away.
pub(super) fn may_heal(error: &rusqlite::Error) -> bool {
    use ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory, ReadOnly, SystemIoFailure};
    let code = error.sqlite_error_code();
    code.is_some_and(|code| {
        matches!(code, CannotOpen | DatabaseBusy | DatabaseLocked | DiskFull | OutOfMemory | ReadOnly | SystemIoFailure)
    })
}

/// Milliseconds, as the file has times.
pub(super) fn ms(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// And back; what no clock ever said becomes 1970.
pub(super) fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn seq(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// What a run begins with: the sequence numbers from the first on are its own.
pub(super) struct Begun {
    pub first: u64,
    /// Sessions that ran when the last one died.
    pub interrupted: u64,
}

/// A run begins: sessions that ran when the last one died become interrupted, and its unused numbers a hole.
pub(super) fn begin_run(db: &mut Connection, now: Timestamp) -> rusqlite::Result<Begun> {
    let tx = db.transaction()?;
    let reserved: i64 = tx.query_row("SELECT value FROM meta WHERE key = 'seq_reserved'", [], |row| row.get(0))?;
    let used: i64 = tx.query_row(
        "SELECT max(ifnull((SELECT max(seq) FROM event), 0), ifnull((SELECT max(last) FROM hole), 0))",
        [],
        |row| row.get(0),
    )?;
    if used + 1 < reserved {
        tx.execute("INSERT INTO hole VALUES (?1, ?2, 'restart', ?3)", params![used + 1, reserved - 1, ms(now)])?;
    }
    let first = reserved.max(used + 1);
    tx.execute("UPDATE meta SET value = ?1 WHERE key = 'seq_reserved'", [first + seq(RESERVED)])?;
    let interrupted = tx.execute(
        "UPDATE session SET state = 'interrupted',
            ended = ifnull((SELECT max(at) FROM event WHERE event.session = session.id), ?1)
         WHERE state IN ('live', 'away', 'paused')",
        [ms(now)],
    )?;
    tx.commit()?;
    Ok(Begun { first: u64::try_from(first).unwrap_or(1), interrupted: interrupted as u64 })
}

/// Reserves more numbers where those of this run come to an end; gives the first that are not.
pub(super) fn reserve(db: &Connection, next: u64) -> rusqlite::Result<u64> {
    db.execute("UPDATE meta SET value = ?1 WHERE key = 'seq_reserved'", [seq(next + RESERVED)])?;
    Ok(next + RESERVED)
}

/// A run ends in good order: numbers from `next` on are free again, and the log is folded into the file.
pub(super) fn end_run(db: &Connection, next: u64) -> rusqlite::Result<()> {
    db.execute("UPDATE meta SET value = ?1 WHERE key = 'seq_reserved'", [seq(next)])?;
    fold(db).map(drop)
}

/// Folds the write-ahead log into the file and empties it, so that nothing deleted is left in it. False: somebody reads.
pub(super) fn fold(db: &Connection) -> rusqlite::Result<bool> {
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)).map(|busy| busy == 0)
}

/// Writes an event, its rows for sinks, and what it says of its session.
pub(super) fn event(db: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    let (number, at) = (seq(entry.seq), ms(entry.event.wall));
    let session = entry.event.session.as_deref();
    db.prepare_cached("INSERT INTO event VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
        number,
        &entry.id,
        session,
        entry.kind,
        at,
        &*entry.json
    ])?;
    for sink in &entry.sinks {
        outbox(db, sink, entry.seq, session, at)?;
    }
    let Some(session) = session else { return Ok(()) };
    let became = |state: &str, from: &str| -> rusqlite::Result<()> {
        let sql = format!("UPDATE session SET state = '{state}' WHERE id = ?1 AND state IN ({from})");
        db.prepare_cached(&sql)?.execute([session]).map(drop)
    };
    match &entry.event.kind {
        EventKind::SessionStarted(settings) => {
            let source = crate::alert::event::without_credentials(&entry.event.source);
            db.prepare_cached(
                "INSERT INTO session (id, source, kind, state, created, started, rule, judgement)
                 VALUES (?1, ?2, 'configured', 'live', ?3, ?3, ?4, ?5)
                 ON CONFLICT (id) DO UPDATE SET state = 'live', started = ifnull(started, excluded.started),
                    rule = excluded.rule, judgement = excluded.judgement",
            )?
            .execute(params![session, source, at, settings.rule.as_str(), settings.kind.as_str()])
            .map(drop)
        }
        EventKind::SessionPaused(_) => became("paused", "'live', 'away'"),
        EventKind::SessionResumed(_) => became("live", "'paused'"),
        EventKind::SourceLost(..) => became("away", "'live'"),
        EventKind::SourceRestored(_) => became("live", "'away'"),
        EventKind::SessionEnded(_) => state(db, session, SessionState::Ended, entry.event.wall).map(drop),
        EventKind::SessionWithdrawn(_) => state(db, session, SessionState::Withdrawn, entry.event.wall).map(drop),
        _ => Ok(()),
    }
}

fn outbox(db: &Connection, sink: &str, number: u64, session: Option<&str>, at: i64) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO outbox VALUES (?1, ?2, ?3, 'pending', 0, ?4, ?4, NULL)")?
        .execute(params![sink, seq(number), session, at])
        .map(drop)
}

/// Numbers that were given and will have no row.
pub(super) fn hole(db: &Connection, first: u64, last: u64, reason: &str, now: Timestamp) -> rusqlite::Result<()> {
    db.execute("INSERT OR REPLACE INTO hole VALUES (?1, ?2, ?3, ?4)", params![seq(first), seq(last), reason, ms(now)])
        .map(drop)
}

/// What became of an event at a sink.
pub(super) fn delivery(db: &Connection, done: &super::outbox::Done) -> rusqlite::Result<()> {
    db.prepare_cached("UPDATE outbox SET state = ?3, attempts = ?4, at = ?5, detail = ?6 WHERE sink = ?1 AND seq = ?2")?
        .execute(params![&*done.sink, seq(done.seq), done.state.as_str(), done.attempts, ms(done.at), done.detail])
        .map(drop)
}

pub(super) fn create_session(db: &Connection, new: &NewSession) -> Result<(), JournalError> {
    let text = |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string);
    let made = db.execute(
        "INSERT INTO session (id, source, kind, state, purpose, basis, consent, created_by, created, rule, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (id) DO NOTHING",
        params![
            &*new.id,
            &*new.source,
            new.kind,
            new.state.as_str(),
            new.purpose,
            text(&new.basis),
            new.consent.as_ref().map(consent_json),
            new.created_by,
            ms(new.created),
            new.rule.as_str(),
            text(&new.detail),
        ],
    )?;
    if made == 0 { Err(JournalError::Exists(format!("a session {}", new.id))) } else { Ok(()) }
}

fn consent_json(consent: &ConsentRecord) -> String {
    serde_json::to_string(consent).unwrap_or_default()
}

pub(super) fn consent(db: &Connection, session: &str, consent: &ConsentRecord) -> Result<(), JournalError> {
    let known = db.execute(
        "UPDATE session SET consent = ?2, state = iif(state = 'awaiting_consent', 'awaiting_media', state)
         WHERE id = ?1 AND state <> 'withdrawn'",
        params![session, consent_json(consent)],
    )?;
    if known == 0 { Err(no_session(session)) } else { Ok(()) }
}

fn no_session(session: &str) -> JournalError {
    JournalError::NotFound(format!("session {session}"))
}

/// False: there is no such session. A session that was withdrawn stays so.
pub(super) fn state(db: &Connection, session: &str, state: SessionState, now: Timestamp) -> rusqlite::Result<bool> {
    let ended = state.is_over().then(|| ms(now));
    db.prepare_cached(
        "UPDATE session SET state = ?2, ended = ifnull(?3, ended) WHERE id = ?1 AND state <> 'withdrawn'",
    )?
    .execute(params![session, state.as_str(), ended])
    .map(|known| known > 0)
}

pub(super) fn feedback(db: &Connection, alert: &str, feedback: &Feedback) -> Result<(), JournalError> {
    let written = db.execute(
        "INSERT INTO feedback SELECT id, session, ?2, ?3, ?4, ?5 FROM event WHERE id = ?1 AND type = 'ah.alert.raised.v1'
         ON CONFLICT (alert) DO UPDATE SET verdict = excluded.verdict, note = excluded.note, who = excluded.who,
            at = excluded.at",
        params![alert, feedback.verdict.as_str(), feedback.note, feedback.by, ms(feedback.at)],
    )?;
    if written == 0 { Err(JournalError::NotFound(format!("alert {alert}"))) } else { Ok(()) }
}

pub(super) fn audit(db: &Connection, audit: &Audit) -> rusqlite::Result<()> {
    db.prepare_cached("INSERT INTO audit (at, who, action, session, address) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![ms(audit.at), audit.who, audit.action, audit.session, audit.address])
        .map(drop)
}

/// What a withdrawal leaves to be told.
pub(super) struct Withdrawn {
    pub receipt: Receipt,
    /// It is the session's first.
    pub is_new: bool,
}

/// Deletes everything of a session but its row (without content) and the event that says it was withdrawn. `may_have` are
/// the sinks that something of it is just on its way to.
pub(super) fn withdraw(
    db: &Connection,
    session: &str,
    may_have: &[String],
    now: Timestamp,
) -> Result<Withdrawn, JournalError> {
    let known = db.execute(
        "UPDATE session SET state = 'withdrawn', ended = ?2, consent = NULL, basis = NULL, detail = NULL, judgement = NULL
         WHERE id = ?1",
        params![session, ms(now)],
    )?;
    if known == 0 {
        return Err(no_session(session));
    }
    let count = |sql: &str| -> rusqlite::Result<u64> {
        db.query_row(sql, [session], |row| row.get::<_, i64>(0)).map(|n| u64::try_from(n).unwrap_or(0))
    };
    let windows = count("SELECT count(*) FROM event WHERE session = ?1 AND type GLOB 'ah.window.*'")?;
    let alerts = count("SELECT count(*) FROM event WHERE session = ?1 AND type = 'ah.alert.raised.v1'")?;
    let pending = count("SELECT count(*) FROM outbox WHERE session = ?1 AND state = 'pending'")?;
    let mut told: Vec<String> = db
        .prepare("SELECT DISTINCT sink FROM outbox WHERE session = ?1 AND (state = 'delivered' OR attempts > 0)")?
        .query_map([session], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    told.extend(may_have.iter().filter(|sink| !told.contains(sink)).cloned().collect::<Vec<_>>());
    told.sort();
    // A second call leaves alone what the first has queued.
    let first = "AND NOT EXISTS (SELECT 1 FROM receipt WHERE receipt.session = ?1)";
    db.execute(&format!("DELETE FROM outbox WHERE session = ?1 {first}"), [session])?;
    db.execute("DELETE FROM feedback WHERE session = ?1", [session])?;
    delete_events(db, "session = ?1 AND type <> 'ah.session.withdrawn.v1'", &[&session], "withdrawn", now)?;
    if let Some(receipt) = super::rows::receipt(db, session)? {
        return Ok(Withdrawn { receipt, is_new: false });
    }
    let receipt = Receipt {
        id: uuid::Uuid::now_v7().to_string(),
        session: session.to_owned(),
        at: now,
        windows_deleted: windows,
        alerts_deleted: alerts,
        pending_deleted: pending,
        receivers_told: told,
    };
    db.execute(
        "INSERT INTO receipt VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            receipt.id,
            session,
            ms(receipt.at),
            seq(receipt.windows_deleted),
            seq(receipt.alerts_deleted),
            seq(receipt.pending_deleted),
            serde_json::to_string(&receipt.receivers_told).unwrap_or_default(),
        ],
    )?;
    Ok(Withdrawn { receipt, is_new: true })
}

/// Deletes events and notes their numbers as holes. `which` is a condition on `event`.
pub(super) fn delete_events(
    db: &Connection,
    which: &str,
    values: &[&dyn rusqlite::ToSql],
    reason: &str,
    now: Timestamp,
) -> rusqlite::Result<usize> {
    let at = ms(now);
    db.execute(
        &format!(
            "INSERT INTO hole SELECT min(seq), max(seq), '{reason}', {at} FROM
                (SELECT seq, seq - row_number() OVER (ORDER BY seq) AS island FROM event WHERE {which}) GROUP BY island"
        ),
        values,
    )?;
    db.execute(&format!("DELETE FROM event WHERE {which}"), values)
}

/// Puts the event that tells of a withdrawal into the outboxes of those who have to hear it.
pub(super) fn tell_withdrawal(db: &Connection, number: u64, receipt: &Receipt) -> rusqlite::Result<()> {
    receipt.receivers_told.iter().try_for_each(|sink| {
        db.execute("DELETE FROM outbox WHERE sink = ?1 AND seq = ?2", params![sink, seq(number)])?;
        outbox(db, sink, number, Some(&receipt.session), ms(receipt.at))
    })
}

pub(super) fn new_token(db: &Connection, hash: &str, token: &Token) -> Result<(), JournalError> {
    let made = db.execute(
        "INSERT INTO token VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
        params![hash, token.name, token.role.as_str(), token.session, ms(token.created), token.expires.map(ms)],
    )?;
    if made == 0 { Err(JournalError::Exists(format!("a token named {}", token.name))) } else { Ok(()) }
}

/// False: there is none of this name.
pub(super) fn revoke(db: &Connection, name: &str) -> rusqlite::Result<bool> {
    db.execute("DELETE FROM token WHERE name = ?1", [name]).map(|n| n > 0)
}
