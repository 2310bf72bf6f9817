//! The books of sessions, made anew from the events of their windows.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::watch_file::ended;

const ACCOUNTS: [&str; 7] = ["present", "absent", "undecided", "skipped", "dropped", "lost", "tail"];

/// Nanoseconds on each account.
pub type Books = BTreeMap<&'static str, i64>;

/// Whole nanoseconds.
#[allow(clippy::cast_possible_truncation, reason = "sessions are short")]
pub fn nanos(secs: &Value) -> i64 {
    (secs.as_f64().unwrap() * 1e9).round() as i64
}

/// A session's accounts, anew from its windows' events: where spans overlap a moment counts once, for the first of these
/// accounts that claims it.
fn rebuilt(events: &[Value], session: &Value) -> Books {
    let mut spans: Vec<(i64, i64, usize)> = Vec::new();
    for event in events.iter().filter(|event| event["data"]["session"] == *session) {
        let account = match event["type"].as_str().unwrap() {
            "ah.window.judged.v1" => event["data"]["label"].as_str().unwrap(),
            "ah.window.skipped.v1" => "skipped",
            "ah.window.dropped.v1" => "dropped",
            "ah.window.lost.v1" if event["data"]["reason"] == "tail" => "tail",
            "ah.window.lost.v1" => "lost",
            _ => continue,
        };
        let rank = ACCOUNTS.iter().position(|name| *name == account).unwrap();
        let span = &event["data"]["span"];
        spans.push((nanos(&span["start_secs"]), nanos(&span["end_secs"]), rank));
    }
    let mut edges: Vec<i64> = spans.iter().flat_map(|(from, to, _)| [*from, *to]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut books: Books = ACCOUNTS.iter().map(|name| (*name, 0)).collect();
    for edge in edges.windows(2) {
        let over = spans.iter().filter(|(from, to, _)| *from <= edge[0] && *to >= edge[1]);
        if let Some(rank) = over.map(|(_, _, rank)| *rank).min() {
            *books.get_mut(ACCOUNTS[rank]).unwrap() += edge[1] - edge[0];
        }
    }
    books
}

/// The accounts that the session's last event tells.
pub fn told(ended: &Value) -> Books {
    let coverage = &ended["coverage"];
    let judged = &coverage["judged"];
    BTreeMap::from([
        ("present", nanos(&judged["present_secs"])),
        ("absent", nanos(&judged["absent_secs"])),
        ("undecided", nanos(&judged["undecided_secs"])),
        ("skipped", nanos(&coverage["skipped"]["total_secs"])),
        ("dropped", nanos(&coverage["dropped"]["total_secs"])),
        ("lost", nanos(&coverage["lost"]["total_secs"])),
        ("tail", nanos(&coverage["tail_secs"])),
    ])
}

/// Every second of every session is on exactly one account, the accounts sum to its length, and its windows' events say the same.
pub fn books_are_exact(events: &[Value]) {
    let _at_least_one = ended(events);
    for event in events.iter().filter(|event| event["type"] == "ah.session.ended.v1") {
        let data = &event["data"];
        let books = told(data);
        assert_eq!(books.values().sum::<i64>(), nanos(&data["span"]["end_secs"]), "{books:?}");
        assert_eq!(books, rebuilt(events, &data["session"]), "{data:#}");
    }
}
