//! Cases 19 and 20: the program is killed, and told to end.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use ahwatch::alert::journal::Reader;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use super::case::Case;
use crate::journal::SECRET;
use crate::journal::killed::none_is_lost;
use crate::journal::receiver::Receiver;
use crate::kit::endpoint::{Endpoint, Judge};
use crate::kit::media::Recipe;
use crate::kit::run::{Run, Running, ahwatch, program};
use crate::kit::wait_until;

const LIMIT: Duration = Duration::from_secs(30);

/// The calls a kill is put on, and how many of each some thread makes in the first seconds of a run (counted by strace): what
/// writes the journal and waits for the disk, what connects, sends and hears.
const CALLS: [(&str, u32); 6] =
    [("pwrite64", 150), ("fsync", 6), ("writev", 8), ("connect", 5), ("write", 16), ("recvfrom", 10)];

/// How many kills are to meet their call, and how often that is tried: which thread makes a call is the scheduler's choice.
const KILLS: u64 = 100;
const TRIES: usize = 130;

/// A runtime with a receiver on it.
struct Desk {
    receiver: Receiver,
    _runtime: tokio::runtime::Runtime,
}

impl Desk {
    fn open() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        // It takes most; sometimes it takes what it answers badly, as receivers do.
        let mut random = rand_pcg::Pcg64::seed_from_u64(7);
        let receiver = runtime.block_on(Receiver::start(move |_| if random.random_bool(0.05) { 503 } else { 200 }));
        Self { receiver, _runtime: runtime }
    }
}

/// A configuration with recordings in which every window is Present, so that every session raises alerts.
fn config(dir: &Path, endpoint: &Endpoint, desk: &Desk) -> String {
    let judge = format!("[[judge]]\nname = \"v1\"\nmodel = \"v1\"\nbase_url = \"{}\"\n", endpoint.base_url());
    let recording = Recipe::new(20.0).size(160, 120).fps((5, 1)).plant(&[0, 1, 2, 3]).make();
    let source = |n: u32| {
        format!(
            "[[source]]\nname = \"file-{n}\"\npath = \"{}\"\npurpose = \"research\"\nconsent = \"nobody is in it\"\n",
            recording.display()
        )
    };
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nmedia_listen = \"127.0.0.1:0\"\n[controller]\nname = \"Test\"\n\
         contact = \"privacy@example.org\"\n[journal]\npath = \"journal.db\"\n[panel]\ncanary = false\n{judge}{}{}",
        desk.receiver.sink("desk"),
        (0..3).map(source).collect::<String>()
    );
    let file = dir.join("ahwatch.toml");
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Who reads the event stream until it ends: ids of alerts that were told to stand in the journal.
fn acknowledged(address: &str, token: &str) -> std::thread::JoinHandle<BTreeSet<String>> {
    let mut ids = BTreeSet::new();
    let Ok(mut stream) = TcpStream::connect(address) else { return std::thread::spawn(BTreeSet::new) };
    let request = format!("GET /v1/events?after=0 HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {token}\r\n\r\n");
    std::thread::spawn(move || {
        if stream.write_all(request.as_bytes()).is_err() {
            return ids;
        }
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|n| n > 0) {
            let event = line.strip_prefix("data:").and_then(|json| serde_json::from_str::<Value>(json).ok());
            let alert = event.filter(|event| event["type"] == "ah.alert.raised.v1" && event["data"]["durable"] == true);
            ids.extend(alert.map(|event| event["id"].as_str().unwrap().to_owned()));
            line.clear();
        }
        ids
    })
}

fn address(run: &Running) -> Option<String> {
    run.stderr().lines().find_map(|line| line.strip_prefix("listening on ").map(str::to_owned))
}

/// What came of a kill.
struct Killed {
    /// Alerts that were told to stand in the journal.
    told: BTreeSet<String>,
    /// It was at the call it was put on.
    met: bool,
    log: String,
}

/// Runs the service until the kill that was put on one of its calls, or `life`.
fn killed(file: &str, token: &str, (call, nth): (&str, u32), life: Duration) -> Killed {
    // -D: the tracer is the grandchild, so that what is started, killed and waited for is the program.
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=KILL:when={nth}"));
    let strace = ["-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    let serve = [&program(), "serve", "--config", file].map(str::to_owned);
    let program = Run::program("strace", strace.map(str::to_owned).into_iter().chain(serve));
    let mut run = program.env("HOOK", SECRET).start();
    let begun = Instant::now();
    let mut reader = None;
    let mut over = false;
    while begun.elapsed() < life && !over {
        if reader.is_none() {
            reader = address(&run).map(|address| acknowledged(&address, token));
        }
        over = run.is_over();
        std::thread::sleep(Duration::from_millis(2));
    }
    if !over {
        run.signal("KILL");
    }
    let ended = run.finish(LIMIT);
    assert_eq!(ended.code, None, "it ended by itself, not by a signal: {}", ended.stderr);
    let told = reader.map(|reader| reader.join().unwrap()).unwrap_or_default();
    Killed { told, met: over, log: ended.stderr }
}

#[test]
#[ignore = "make faults"]
fn case_19_serve_is_killed_at_a_hundred_system_calls() {
    let mut case = Case::begin("19", "kill -9 at 100 system-call points of serve");
    let dir = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::start([("v1", Judge::default())]);
    let desk = Desk::open();
    let file = config(dir.path(), &endpoint, &desk);
    let token = ahwatch(["token", "create", "reader", "--role", "operator", "--config", &file]).env("HOOK", SECRET);
    let token = token.finish(LIMIT).expect_code(0).stdout.trim().to_owned();
    let mut random = rand_pcg::Pcg64::seed_from_u64(19);
    let (mut all, mut met, mut tries) = (BTreeSet::new(), BTreeMap::from(CALLS.map(|(call, _)| (call, 0))), 0);
    let mut log = String::new();
    while met.values().sum::<u64>() < KILLS && tries < TRIES {
        let (call, most) = CALLS[tries % CALLS.len()];
        let run = killed(&file, &token, (call, random.random_range(1..=most)), Duration::from_secs(4));
        *met.get_mut(call).unwrap() += u64::from(run.met);
        all.extend(run.told);
        log += &run.log;
        none_is_lost(&dir.path().join("journal.db"), &all, &format!("try {tries}, {call}"));
        tries += 1;
    }
    // The last run is left alone until everything is delivered.
    let mut run = ahwatch(["serve", "--config", &file]).env("HOOK", SECRET).start();
    run.wait_until(LIMIT, "the service", address);
    let waiting = |_: &Running| {
        let reader = Reader::open(&dir.path().join("journal.db")).ok()?;
        reader.outbox().ok()?.iter().all(|sink| sink.pending == 0).then_some(())
    };
    run.wait_until(Duration::from_secs(90), "the outbox to be empty", waiting);
    run.signal("TERM");
    let run = run.finish(LIMIT).expect_code(0);
    let mut bodies = BTreeMap::new();
    let mut again = 0;
    for got in desk.receiver.got() {
        let mut body: Value = serde_json::from_slice(&got.body).unwrap();
        // Whether it stood in the journal yet when it was told; of one alert that may become true.
        body["data"]["durable"] = Value::Null;
        let before = bodies.insert(got.id.clone(), body.clone());
        again += usize::from(before.is_some());
        let same = before.as_ref().is_none_or(|before| *before == body);
        assert!(same, "{} came again and differs:\n{before:?}\n{body}", got.id);
    }
    let taken: BTreeSet<String> = desk.receiver.taken().into_iter().collect();
    let lost = all.difference(&taken).count();
    let of = |(call, count): (&&str, &u64)| format!("{call} {count}");
    let measured =
        format!("{} of {tries}: {}", met.values().sum::<u64>(), met.iter().map(of).collect::<Vec<_>>().join(", "));
    let all_met = met.values().sum::<u64>() == KILLS && met.values().all(|count| *count >= 10);
    case.row("kills that met their call", "100, at least 10 of each", &measured, all_met);
    case.row(
        "acknowledged alerts lost",
        "0, of at least 50",
        &format!("{lost} of {}", all.len()),
        lost == 0 && all.len() >= 50,
    );
    case.row("duplicates", "have the same id and body", &format!("{again} of {} deliveries", taken.len()), true);
    let verified = ahwatch(["journal", "verify", "--json", "--config", &file]).env("HOOK", SECRET).finish(LIMIT);
    let report: Value = serde_json::from_str(&verified.stdout).unwrap();
    let problems = report["problems"].as_array().unwrap();
    case.row("journal verify", "no problem", &format!("{problems:?}"), problems.is_empty());
    log += &run.stderr;
    let read = log.matches("whsec").count() + log.matches(&token).count();
    case.exactly("secrets in the logs, of every run", 0, read as u64);
    case.exactly("panics in them", 0, log.matches("panicked").count() as u64);
    case.end();
}

/// How a run that was told to end, ended.
struct Ended {
    took: Duration,
    code: Option<i32>,
    sessions: usize,
    pending: u64,
}

/// A service with sixteen cameras, judges that take their time, a webhook that hangs and readers of its stream is told to end.
fn told_to_end(signals: u32) -> (Ended, Vec<Value>) {
    use crate::kit::behaviour::Mode;
    use crate::kit::rtsp::{Camera, Show};
    let dir = tempfile::tempdir().unwrap();
    let endpoint = Endpoint::start([("v1", Judge::default())]);
    endpoint.set(Mode::Delay(if signals > 1 { Duration::from_secs(30) } else { Duration::from_millis(1500) }));
    let camera =
        Camera::start(Show::live(&Recipe::new(3600.0).size(160, 120).fps((5, 1)).plant(&[0, 1, 2, 3, 4, 5, 6, 7])));
    let desk = Desk::open();
    // A receiver that has hung since the first alert.
    desk.receiver.answers(|_| {
        std::thread::sleep(Duration::from_millis(300));
        503
    });
    let source = |n: u32| {
        format!(
            "[[source]]\nname = \"cam-{n}\"\nurl = \"{}\"\npurpose = \"research\"\nconsent = \"nobody is in it\"\n",
            camera.url("/live")
        )
    };
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nmedia_listen = \"127.0.0.1:0\"\n[controller]\nname = \"Test\"\n\
         contact = \"privacy@example.org\"\n[journal]\npath = \"journal.db\"\n[panel]\ncanary = false\n\
         [[judge]]\nname = \"v1\"\nmodel = \"v1\"\nbase_url = \"{}\"\nmax_in_flight = 32\ndeadline_ms = 60000\n{}{}",
        endpoint.base_url(),
        desk.receiver.sink("desk"),
        (0..16).map(source).collect::<String>()
    );
    let file = dir.path().join("ahwatch.toml");
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let token = ahwatch(["token", "create", "reader", "--role", "operator", "--config", file]).env("HOOK", SECRET);
    let token = token.finish(LIMIT).expect_code(0).stdout.trim().to_owned();
    let mut run = ahwatch(["serve", "--config", file]).env("HOOK", SECRET).start();
    let at = run.wait_until(LIMIT, "the service", address);
    // Readers of the stream, one of which never reads.
    let readers = [acknowledged(&at, &token), acknowledged(&at, &token)];
    let mut stalled = TcpStream::connect(&at).unwrap();
    let request = format!("GET /v1/events?after=0 HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {token}\r\n\r\n");
    stalled.write_all(request.as_bytes()).unwrap();
    endpoint.wait_for(Duration::from_secs(60), |seen| seen.len() >= 16);
    let begun = Instant::now();
    run.signal("TERM");
    if signals > 1 {
        wait_until(LIMIT, "it to have heard", || TcpStream::connect(&at).is_err().then_some(()));
        run.signal("TERM");
    }
    let second = Instant::now();
    let finished = run.finish(Duration::from_secs(60));
    let took = if signals > 1 { second.elapsed() } else { begun.elapsed() };
    drop(stalled);
    for reader in readers {
        let _ = reader.join();
    }
    let exported = ahwatch(["journal", "export", "--config", file]).env("HOOK", SECRET).finish(LIMIT).expect_code(0);
    let events: Vec<Value> = exported.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let reader = Reader::open(&dir.path().join("journal.db")).unwrap();
    let pending = reader.outbox().unwrap().iter().map(|sink| sink.pending).sum();
    let sessions = events.iter().filter(|event| event["type"] == "ah.session.ended.v1").count();
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
    (Ended { took, code: finished.code, sessions, pending }, events)
}

#[test]
#[ignore = "make faults"]
fn case_20_sigterm_under_load() {
    let mut case = Case::begin("20", "SIGTERM under load: 16 cameras, slow judge, hanging webhook, stalled reader");
    let (ended, events) = told_to_end(1);
    case.within("drained", Duration::from_secs(10), ended.took);
    case.row("exit", "0", &format!("{:?}", ended.code), ended.code == Some(0));
    case.exactly("sessions with their end in the journal", 16, ended.sessions as u64);
    crate::books::books_are_exact(&events);
    let alerts = events.iter().filter(|event| event["type"] == "ah.alert.raised.v1").count();
    let kept = ended.pending >= alerts as u64 && alerts > 0;
    case.row(
        "alerts that the webhook did not take",
        "wait in the journal",
        &format!("{} of {alerts}", ended.pending),
        kept,
    );
    case.end();
}

#[test]
#[ignore = "make faults"]
fn case_20_a_second_sigterm() {
    let mut case = Case::begin("20", "SIGTERM again, with judges that do not answer");
    let (ended, _events) = told_to_end(2);
    case.within("gone", Duration::from_secs(1), ended.took);
    case.row("exit", "130", &format!("{:?}", ended.code), ended.code == Some(130));
    case.end();
}
