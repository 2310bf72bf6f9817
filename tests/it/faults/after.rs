//! What must hold after every case, whatever happened in it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::case::Case;
use super::secrets::Secrets;
use crate::books::{books_are_exact, nanos};
use crate::kit::endpoint::Endpoint;
use crate::kit::process::status;
use crate::kit::run::{Finished, Running};
use crate::kit::service::Service;

/// What a case left.
pub struct After<'a> {
    /// All events that were told.
    pub events: Vec<Value>,
    /// Everything that was written, by name: outputs, metrics, the journal's bytes.
    pub texts: Vec<(&'static str, Vec<u8>)>,
    /// Who gave votes.
    pub endpoints: &'a [&'a Endpoint],
    /// Sources that must have lost and dropped nothing, by name.
    pub whole: &'a [&'a str],
    /// The most memory that the program held, and what it may: MiB.
    pub memory: Option<(u64, u64)>,
    /// What `ahwatch journal verify --json` says.
    pub journal: Option<Value>,
}

impl<'a> After<'a> {
    /// After `ahwatch watch`.
    pub fn watch(run: &Finished, endpoints: &'a [&'a Endpoint]) -> Self {
        let texts = vec![("stdout", run.stdout.clone().into_bytes()), ("stderr", run.stderr.clone().into_bytes())];
        Self { events: run.events(), texts, endpoints, whole: &[], memory: None, journal: None }
    }

    /// After `ahwatch serve`, which is still up: an admin's token reads what it says. Stop it after this.
    pub fn serve(service: &Service, token: &str, endpoints: &'a [&'a Endpoint]) -> Self {
        let exported = service.command(&["journal", "export"]).expect_code(0);
        let verified = service.command(&["journal", "verify", "--json"]);
        let journal = Some(serde_json::from_str(&verified.stdout).expect("what journal verify says"));
        let texts = vec![
            ("stdout", service.run.stdout().into_bytes()),
            ("stderr", service.run.stderr().into_bytes()),
            ("metrics", service.get("/metrics", token).text.into_bytes()),
            ("journal", service.journal_bytes()),
        ];
        let events = exported.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { events, texts, endpoints, whole: &[], memory: None, journal }
    }

    /// Adds a row to the case: all of it, or what does not hold.
    pub fn check(self, case: &mut Case) {
        let mut wrong = Vec::new();
        let sessions = self.events.iter().filter(|event| event["type"] == "ah.session.ended.v1").count();
        if sessions > 0 {
            books_are_exact(&self.events);
        }
        self.votes(&mut wrong);
        self.spans(&mut wrong);
        for (name, text) in &self.texts {
            let read = Secrets::read_in(text);
            if !read.is_empty() {
                wrong.push(format!("{} secrets are read in {name}", read.len()));
            }
        }
        for source in self.whole {
            self.whole(source, &mut wrong);
        }
        if let Some((held, cap)) = self.memory.filter(|(held, cap)| held > cap) {
            wrong.push(format!("{held} MiB of memory, more than {cap}"));
        }
        let mut alerts = String::new();
        if let Some(journal) = &self.journal {
            let problems = journal["problems"].as_array().expect("problems").len();
            if problems > 0 {
                wrong.push(format!("the journal: {}", journal["problems"]));
            }
            for sink in journal["sinks"].as_array().expect("sinks") {
                let count = |key: &str| sink[key].as_u64().expect(key);
                let [all, delivered, pending, dead] = ["alerts", "delivered", "pending", "dead"].map(count);
                alerts = format!("{alerts}, {all} alerts = {delivered} delivered + {pending} pending + {dead} dead");
                if all != delivered + pending + dead {
                    wrong.push(format!("alerts of {}", sink["sink"]));
                }
            }
        }
        let memory = self.memory.map(|(held, cap)| format!(", {held} of {cap} MiB")).unwrap_or_default();
        let said = if wrong.is_empty() {
            format!("{sessions} sessions' books exact, {} events{alerts}{memory}", self.events.len())
        } else {
            wrong.join("; ")
        };
        let bound = "books, alerts, votes, spans, memory, other sources, 50 secrets";
        case.row("afterwards", bound, &said, wrong.is_empty());
    }

    /// No judge has more votes than the answers it gave, of either kind.
    fn votes(&self, wrong: &mut Vec<String>) {
        let mut told: BTreeMap<(String, bool), u64> = BTreeMap::new();
        for event in self.events.iter().filter(|event| event["type"] == "ah.window.judged.v1") {
            for vote in event["data"]["votes"].as_array().into_iter().flatten() {
                let answer = match vote["answer"].as_str() {
                    Some("present") => true,
                    Some("absent") => false,
                    _ => continue,
                };
                *told.entry((vote["judge"].as_str().unwrap_or_default().to_owned(), answer)).or_default() += 1;
            }
        }
        let given = |judge: &str, word: &str| -> u64 {
            let of = |endpoint: &&Endpoint| -> u64 {
                let given = endpoint.given();
                let said = |(model, status, answer): &(String, u16, String)| {
                    model == judge && *status == 200 && answer.contains(&format!(">{word}<"))
                };
                given.iter().filter(|(key, _)| said(key)).map(|(_, count)| count).sum()
            };
            self.endpoints.iter().map(of).sum()
        };
        for ((judge, present), votes) in told {
            let word = if present { "Yes" } else { "No" };
            let given = given(&judge, word);
            if votes > given {
                wrong.push(format!("{judge} has {votes} votes {word}, and gave {given}"));
            }
        }
    }

    /// Windows of a continuity come in order and are at most five seconds long.
    fn spans(&self, wrong: &mut Vec<String>) {
        let mut last: BTreeMap<(String, String), i64> = BTreeMap::new();
        for event in &self.events {
            let (data, window) = (&event["data"], &event["data"]["window"]);
            if window.is_null() || data["span"].is_null() {
                continue;
            }
            let [from, to] = ["start_secs", "end_secs"].map(|key| nanos(&data["span"][key]));
            if to <= from || to - from > 5_000_000_000 {
                wrong.push(format!("a window from {from} to {to} ns"));
            }
            // Verdicts may come in any order; a window's number says where it belongs.
            let key = (data["session"].to_string(), window.to_string());
            if last.insert(key, from).is_some_and(|before| before != from) {
                wrong.push(format!("window {window} stands at two places"));
            }
        }
    }

    fn whole(&self, source: &str, wrong: &mut Vec<String>) {
        let address = format!("/ahwatch/{source}");
        let own = || self.events.iter().filter(|event| event["source"] == address.as_str());
        if !own().any(|event| event["type"] == "ah.window.judged.v1") {
            wrong.push(format!("{source}: no window of it was judged"));
        }
        for event in own() {
            let (kind, reason) = (&event["type"], &event["data"]["reason"]);
            let lost = kind == "ah.window.lost.v1" && reason != "tail";
            if lost || kind == "ah.window.dropped.v1" {
                wrong.push(format!("{source}: {kind} {reason}"));
            }
        }
    }
}

/// The most memory that a program has held so far, MiB.
pub fn peak_mib(run: &Running) -> u64 {
    status(run.id(), "VmHWM").expect("it runs") / 1024
}

/// The memory that a program holds now, MiB.
pub fn resident_mib(run: &Running) -> u64 {
    status(run.id(), "VmRSS").expect("it runs") / 1024
}

/// Open descriptors of a program.
pub fn descriptors(run: &Running) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", run.id())).expect("it runs").count()
}
