//! Is a journal in order? Every number is there or said to be gone, every delivery is of an event, and the books of every
//! session come out again of its events.

use rusqlite::Connection;
use serde::Serialize;
use serde_json::Value;

use super::rebuild::{RebuildError, Recorded};
use super::rows::unsigned;
use super::types::JournalError;
use super::{DeliveryState, Reader, SessionState};

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Events in the file.
    pub events: u64,
    /// The first and the last number of an event.
    pub seq: Option<(u64, u64)>,
    /// Numbers without an event, and why.
    pub holes: Vec<Hole>,
    /// Alerts, by what became of them.
    pub alerts: Alerts,
    /// Deliveries by sink, of alerts and of other events.
    pub sinks: Vec<SinkBooks>,
    /// Sessions.
    pub sessions: Sessions,
    /// Everything that is not in order.
    pub problems: Vec<String>,
}

/// Numbers that no event has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hole {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// `purged` (by age), `withdrawn`, `restart` (kept in reserve by a run that did not end in good order), `overflow`
    /// (memory was full while the disk refused), `refused` (the file did not take it), or `unexplained`.
    pub reason: String,
}

/// Alerts in the file, and those that were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Alerts {
    /// In the file.
    pub there: u64,
    /// Deleted by withdrawals whose receipts are there.
    pub withdrawn: u64,
}

/// A sink's deliveries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SinkBooks {
    /// Its name.
    pub sink: String,
    /// Alerts it wanted; the sum of the three after it.
    pub alerts: u64,
    /// Alerts that it took.
    pub delivered: u64,
    /// Alerts that wait.
    pub pending: u64,
    /// Alerts that were given up.
    pub dead: u64,
    /// Other events it wanted.
    pub others: u64,
}

/// Sessions by what could be said of their books.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sessions {
    /// Ended, and their books come out again of their events.
    pub right: u64,
    /// Ended, and they do not.
    pub wrong: u64,
    /// Ended, and some of their events are not there any more.
    pub partly_gone: u64,
    /// Not ended, or withdrawn, or never begun: there are no books.
    pub without_books: u64,
}

/// Looks at everything.
///
/// # Errors
/// The file cannot be read.
pub fn verify(reader: &Reader) -> Result<Report, JournalError> {
    let mut report = reader.with(|db| {
        let mut report = Report::default();
        integrity(db, &mut report)?;
        numbers(db, &mut report)?;
        deliveries(db, &mut report)?;
        Ok(report)
    })?;
    let mut after: Option<String> = None;
    loop {
        let page = reader.sessions(after.as_deref(), 100)?;
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        for session in &page {
            books(reader, &session.id, session.state, &mut report)?;
        }
    }
    Ok(report)
}

fn integrity(db: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    let said: Vec<String> =
        db.prepare("PRAGMA integrity_check(20)")?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    report.problems.extend(said.into_iter().filter(|line| line != "ok").map(|line| format!("SQLite: {line}")));
    Ok(())
}

fn numbers(db: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    let noted: Vec<Hole> = db
        .prepare("SELECT first, last, reason FROM hole ORDER BY first")?
        .query_map([], |row| Ok(Hole { first: unsigned(row, 0)?, last: unsigned(row, 1)?, reason: row.get(2)? }))?
        .collect::<rusqlite::Result<_>>()?;
    let mut statement = db.prepare("SELECT seq FROM event ORDER BY seq")?;
    let mut seqs = statement.query_map([], |row| unsigned(row, 0))?;
    let mut noted = noted.into_iter().peekable();
    let mut next = 1;
    loop {
        let seq = seqs.next().transpose()?;
        // Holes and rows have to follow each other without anything between them.
        while let Some(hole) = noted.next_if(|hole| seq.is_none_or(|seq| hole.first < seq)) {
            if hole.first > next {
                unexplained(next, hole.first - 1, report);
            }
            next = next.max(hole.last + 1);
            report.holes.push(hole);
        }
        let Some(seq) = seq else { break };
        match seq {
            seq if seq > next => unexplained(next, seq - 1, report),
            seq if seq < next => report.problems.push(format!("event {seq} is there and noted as gone")),
            _ => {}
        }
        next = next.max(seq + 1);
        report.events += 1;
        report.seq = Some((report.seq.map_or(seq, |(first, _)| first), seq));
    }
    Ok(())
}

fn unexplained(first: u64, last: u64, report: &mut Report) {
    report.problems.push(format!("events {first} to {last} are gone, and nothing says why"));
    report.holes.push(Hole { first, last, reason: "unexplained".to_owned() });
}

fn deliveries(db: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    let count = |sql: &str| db.query_row(sql, [], |row| unsigned(row, 0));
    report.alerts = Alerts {
        there: count("SELECT count(*) FROM event WHERE type = 'ah.alert.raised.v1'")?,
        withdrawn: count("SELECT ifnull(sum(alerts_deleted), 0) FROM receipt")?,
    };
    let strays =
        count("SELECT count(*) FROM outbox WHERE NOT EXISTS (SELECT 1 FROM event WHERE event.seq = outbox.seq)")?;
    if strays > 0 {
        report.problems.push(format!("{strays} deliveries are of no event"));
    }
    let known: Vec<String> = DeliveryState::ALL.iter().map(|state| format!("'{state}'")).collect();
    let odd = count(&format!("SELECT count(*) FROM outbox WHERE state NOT IN ({})", known.join(", ")))?;
    if odd > 0 {
        report.problems.push(format!("{odd} deliveries are neither delivered nor pending nor dead"));
    }
    report.sinks = db
        .prepare(
            "SELECT sink, sum(alert), sum(alert AND state = 'delivered'), sum(alert AND state = 'pending'),
                sum(alert AND state = 'dead'), sum(NOT alert)
             FROM (SELECT sink, state, type = 'ah.alert.raised.v1' AS alert FROM outbox JOIN event USING (seq))
             GROUP BY sink ORDER BY sink",
        )?
        .query_map([], |row| {
            Ok(SinkBooks {
                sink: row.get(0)?,
                alerts: unsigned(row, 1)?,
                delivered: unsigned(row, 2)?,
                pending: unsigned(row, 3)?,
                dead: unsigned(row, 4)?,
                others: unsigned(row, 5)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(())
}

/// What of `ah.session.ended.v1` has to come out again.
const BOOKS: [&str; 9] =
    ["rule", "label", "labels", "early_stop", "elapsed_secs", "coverage", "windows", "alarms", "coverage_ratio"];
/// And of each judge there; what asking it took is not in events to the last microsecond.
const JUDGE: [&str; 7] = ["judge", "max", "present", "absent", "not_asked", "abstained", "covered_secs"];

fn books(reader: &Reader, id: &str, state: SessionState, report: &mut Report) -> Result<(), JournalError> {
    let events = reader.events_after(Some(id), 0, &[], usize::MAX)?;
    let recorded = match Recorded::read(events.iter().map(|(_, json)| &**json)) {
        Ok(recorded) => recorded,
        Err(RebuildError::NoBeginning) => {
            report.sessions.without_books += 1;
            return Ok(());
        }
        Err(error) => {
            report.problems.push(format!("session {id}: {error}"));
            report.sessions.wrong += 1;
            return Ok(());
        }
    };
    let Some(told) = &recorded.ended else {
        report.sessions.without_books += 1;
        if state == SessionState::Ended {
            report.problems.push(format!("session {id} has ended, and no event says so"));
        }
        return Ok(());
    };
    if recorded.missing > 0 {
        report.sessions.partly_gone += 1;
        return Ok(());
    }
    let decided = recorded.decide(recorded.settings.clone(), None);
    let again = as_read(&crate::alert::event::books(&decided.summary));
    let mut differ: Vec<String> =
        BOOKS.iter().filter(|key| told[**key] != again[**key]).map(ToString::to_string).collect();
    let judges = |data: &Value| data["judges"].as_array().cloned().unwrap_or_default();
    let (before, after) = (judges(told), judges(&again));
    let same = |a: &Value, b: &Value| JUDGE.iter().all(|key| a[*key] == b[*key]);
    if before.len() != after.len() || !before.iter().zip(&after).all(|(a, b)| same(a, b)) {
        differ.push("judges".to_owned());
    }
    if differ.is_empty() {
        report.sessions.right += 1;
    } else {
        report.sessions.wrong += 1;
        report.problems.push(format!("session {id}: its events come to other books: {}", differ.join(", ")));
    }
    Ok(())
}

/// A value as it is once its text was read: of many a ratio the last digit is another then, since `serde_json` reads numbers
/// fast and not to the last bit. What is compared with a text that was read is to be read as well.
fn as_read(value: &Value) -> Value {
    serde_json::from_str(&value.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn books_are_right_whatever_the_last_digit_of_a_ratio() {
        // Of a session of 89.6 s, of which 5 s were dropped: read from its text it is another number.
        let ratio = 84.561_980_389 / 89.561_980_389;
        for books in [json!({ "coverage_ratio": ratio }), json!({ "coverage_ratio": 0.25 })] {
            let told: Value = serde_json::from_str(&books.to_string()).unwrap();
            assert_eq!(as_read(&books), told);
        }
    }
}
