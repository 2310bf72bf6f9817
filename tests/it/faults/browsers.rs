//! Case 13: browsers that vanish.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::after::{After, peak_mib, resident_mib};
use super::case::Case;
use crate::kit::encoded::{Coding, Unit, units};
use crate::kit::endpoint::{Endpoint, Judge};
use crate::kit::media::Recipe;
use crate::kit::peer::{Offering, Script};
use crate::kit::service::Service;
use crate::kit::wait_until;

/// Participants with a session, each of whom vanishes again and again. The service needs more than 1,024 descriptors for them, which
/// `make faults` asks for (`ulimit -n`).
const SESSIONS: usize = 160;
/// Browsers that vanish.
const BROWSERS: usize = 1000;
/// What is measured is compared with what it was after so many of them.
const WARM_UP: usize = 3 * SESSIONS;
/// So many are on their way at once.
const AT_ONCE: usize = 8;
/// Datagrams that a browser sends before it is gone: it is connected, and half a second of its media came.
const SENT: u64 = 40;
const LIMIT: Duration = Duration::from_secs(60);
const FREED: Duration = Duration::from_secs(30);

/// A session whose participant has consented.
struct Invited {
    id: String,
    token: String,
}

/// One that is gone, and whose place is not yet free.
struct Vanished {
    session: usize,
    location: String,
    at: Instant,
}

fn invite(service: &Service, operator: &str) -> Invited {
    let wish = json!({ "source": { "kind": "webrtc" }, "purpose": "health_care" });
    let made = service.post("/v1/sessions", operator, &wish).ok().json();
    let text = |key: &str| made[key].as_str().unwrap().to_owned();
    let (id, token) = (text("id"), text("join_token"));
    let page = service.get("/v1/join", &token).ok().json();
    let agreement = json!({ "text_version": page["text_version"], "language": "en" });
    service.post(&format!("/v1/sessions/{id}/consent"), &token, &agreement).ok();
    Invited { id, token }
}

/// A browser that joins, sends, and is gone without a word.
fn vanish(service: &Service, invited: &Invited, media: &[Unit]) -> (String, Instant) {
    let offering = Offering::new(Coding::Vp8);
    let path = format!("/whip/{}", invited.id);
    let answer = service.ask("POST", &path, &invited.token, Some(("application/sdp", offering.sdp.as_bytes())));
    assert_eq!(answer.status, 201, "{}", answer.text);
    let browser = offering.play(&answer.text, Script::new(media.to_vec()));
    wait_until(LIMIT, "media to flow", || {
        assert!(!browser.seen.closed.load(Ordering::SeqCst), "its connection was closed");
        (browser.seen.sent.load(Ordering::SeqCst) > SENT).then_some(())
    });
    browser.vanish();
    (answer.header("location").to_owned(), Instant::now())
}

/// So many browsers vanish, each in a session where none is. Gives how long each place was held at most.
fn vanish_all(service: &Service, all: &[Invited], media: &[Unit], browsers: usize) -> Vec<Duration> {
    // In turn, so that all are used alike.
    let free: Mutex<VecDeque<usize>> = Mutex::new((0..all.len()).collect());
    let gone: Mutex<Vec<Vanished>> = Mutex::default();
    let (held, begun, over) = (Mutex::new(Vec::new()), AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                // A change without If-Match changes nothing: 428 while there is something to change, 404 after that.
                let waiting = std::mem::take(&mut *gone.lock().unwrap());
                for Vanished { session, location, at } in waiting {
                    let fragment = Some(("application/trickle-ice-sdpfrag", &b"a=end-of-candidates\r\n"[..]));
                    let told = service.ask("PATCH", &location, &all[session].token, fragment).status;
                    assert!(told == 404 || told == 428, "{told}");
                    if told == 404 {
                        held.lock().unwrap().push(at.elapsed());
                        free.lock().unwrap().push_back(session);
                    } else {
                        gone.lock().unwrap().push(Vanished { session, location, at });
                    }
                }
                std::thread::sleep(Duration::from_millis(250));
            }
        });
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                scope.spawn(|| {
                    while begun.fetch_add(1, Ordering::SeqCst) < browsers {
                        let session = wait_until(LIMIT, "a free session", || free.lock().unwrap().pop_front());
                        let (location, at) = vanish(service, &all[session], media);
                        gone.lock().unwrap().push(Vanished { session, location, at });
                    }
                })
            })
            .collect();
        let done = workers.into_iter().all(|worker| worker.join().is_ok());
        // Not by a wait that panics: the thread above would be waited for.
        let until = Instant::now() + LIMIT;
        while done && held.lock().unwrap().len() < browsers && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        over.store(true, Ordering::SeqCst);
        assert!(done, "a browser could not join");
    });
    held.into_inner().unwrap()
}

/// What a service holds with which nobody is connected: threads by name, descriptors by kind.
#[derive(PartialEq)]
struct Held {
    threads: BTreeMap<String, usize>,
    descriptors: BTreeMap<String, usize>,
}

impl Held {
    fn of(service: &Service) -> Self {
        let process = format!("/proc/{}", service.run.id());
        let (mut threads, mut descriptors) = (BTreeMap::new(), BTreeMap::new());
        // One that ends while it is looked at is not there.
        for task in std::fs::read_dir(format!("{process}/task")).expect("it runs").flatten() {
            if let Ok(name) = std::fs::read_to_string(task.path().join("comm")) {
                *threads.entry(name.trim().to_owned()).or_default() += 1;
            }
        }
        for open in std::fs::read_dir(format!("{process}/fd")).expect("it runs").flatten() {
            if let Ok(target) = std::fs::read_link(open.path()) {
                // "socket:[1234]": the number is only its own.
                let kind = target.to_string_lossy().split(":[").next().unwrap_or_default().to_owned();
                *descriptors.entry(kind).or_default() += 1;
            }
        }
        Self { threads, descriptors }
    }

    /// Takes out the journal's descriptors, and says how many of a file there are at most: one writes, up to four are kept to read.
    fn journal(&mut self) -> usize {
        let of_journal = self.descriptors.extract_if(.., |kind, _| kind.contains("journal.db"));
        of_journal.map(|(_, count)| count).max().unwrap_or(0)
    }

    /// When it has come to rest: it was the same for longer than an idle thread of the runtime is kept (10 s).
    fn at_rest(service: &Service) -> Self {
        let (mut last, mut same) = (Self::of(service), 0);
        wait_until(LIMIT, "the service to come to rest", || {
            std::thread::sleep(Duration::from_millis(500));
            let now = Self::of(service);
            same = if now == last { same + 1 } else { 0 };
            last = now;
            (same == 24).then_some(())
        });
        last
    }
}

/// How many there are of all kinds.
fn total(of: &BTreeMap<String, usize>) -> usize {
    of.values().sum()
}

/// What there is more or less of than before, by kind.
fn changes(before: &BTreeMap<String, usize>, after: &BTreeMap<String, usize>) -> String {
    let kinds: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let of = |from: &BTreeMap<String, usize>, kind: &String| from.get(kind).copied().unwrap_or(0);
    let changed = kinds.into_iter().filter(|kind| of(before, kind) != of(after, kind));
    let said: Vec<String> =
        changed.map(|kind| format!("{kind} {} and {}", of(before, kind), of(after, kind))).collect();
    said.join(", ")
}

#[test]
#[ignore = "make faults"]
fn case_13_a_thousand_browsers_vanish() {
    let mut case = Case::begin("13", "a browser vanishes without DELETE, 1,000 times");
    let endpoint = Endpoint::start([("v1", Judge::default())]);
    let judge = format!("[[judge]]\nname = \"v1\"\nbase_url = \"{}\"\nmodel = \"v1\"\n", endpoint.base_url());
    let server = format!("requests_per_second = 10000\nmax_sessions = {SESSIONS}");
    // Between its browsers a session may wait for longer than a minute.
    let service =
        Service::start_so(&server, &format!("[session]\nsession_gap_secs = 600\n[panel]\ncanary = false\n{judge}"));
    let (operator, admin) = (service.token("op", "operator"), service.token("root", "admin"));
    let media = units(&Coding::Vp8.make(Recipe::new(3.0)), Coding::Vp8);
    let all: Vec<Invited> = (0..SESSIONS).map(|_| invite(&service, &operator)).collect();

    // Every session was used three times: what a source keeps for itself is there, and memory that is used again has grown to what
    // several browsers at once need. It was flat from there on to 1,440 (300, 301, 296 and 295 MiB; 267 after the first time).
    let mut held = vanish_all(&service, &all, &media, WARM_UP);
    let (mut before, memory_before) = (Held::at_rest(&service), resident_mib(&service.run));
    held.extend(vanish_all(&service, &all, &media, BROWSERS - WARM_UP));
    let (mut after, memory_after) = (Held::at_rest(&service), resident_mib(&service.run));

    case.exactly("browsers that vanished and were freed", BROWSERS as u64, held.len() as u64);
    case.within("the longest that a place was held", FREED, *held.iter().max().unwrap());
    let connections = (before.journal(), after.journal());
    let measured = format!("{} and {}", connections.0, connections.1);
    case.row("connections to the journal, the same", "at most 5", &measured, connections.1 <= 5);
    let kinds =
        [("threads", &before.threads, &after.threads), ("descriptors", &before.descriptors, &after.descriptors)];
    for (kind, before, after) in kinds {
        let what = format!("{kind} at rest after {WARM_UP} and after {BROWSERS}");
        let (n, m, changes) = (total(before), total(after), changes(before, after));
        let measured = if n == m { format!("{n} and {m}") } else { format!("{n} and {m} ({changes})") };
        case.row(&what, "no more", &measured, m <= n);
    }
    let measured = format!("{memory_before} and {memory_after} MiB");
    case.row("memory at rest, the same", "16 MiB more", &measured, memory_after <= memory_before + 16);
    let peak = peak_mib(&service.run);
    let mut left = After::serve(&service, &admin, &[]);
    left.memory = Some((peak, 24 * SESSIONS as u64));
    left.check(&mut case);
    case.end();
}
