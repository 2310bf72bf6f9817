//! What the service adds to a verdict, and what it takes. `cargo bench --bench serve -- NAME...` with some of
//! `latency idle start record`.
//!
//! The service is the program itself in a process of its own. The judges' stand-in, the reader of the event stream and the
//! receiver of the webhook are in this process and share its clock. Everything runs on the same cores, over loopback.

#![allow(clippy::disallowed_methods, reason = "measures with threads, tasks and clocks of its own")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::format_push_string,
    reason = "counts and sums are small, and texts short"
)]

#[allow(dead_code, reason = "shared with the other benches")]
mod process;
mod serving;
#[allow(dead_code, reason = "shared with the other benches")]
mod table;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahwatch::alert::journal::Told;
use ahwatch::alert::{Alert, AlertAbout, Event, EventKind, JudgedWindow};
use ahwatch::config::{Config, JournalConfig, Overrides, RawConfig, SinkConfig};
use ahwatch::judge::{Answer, Label, Vote, WindowId};
use ahwatch::run::journal;
use ahwatch::session::{Labels, Rule, SessionKind};
use ahwatch::time::{MediaTime, Span, wall};
use serde_json::Value;
use serving::{Heard, Judges, SECRET, Service, follow, load, open, receiver};
use table::{Repeats, print};

const SOURCES: usize = 16;
/// How long verdicts are looked at, after all sources began.
const MEASURE: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_secs(8);
/// Readers of the event stream.
const READERS: usize = 1000;
/// Starts of the program.
const STARTS: usize = 20;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    println!("{}", process::machine());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    let wanted = |name: &str| args.is_empty() || args.iter().any(|arg| arg == name);
    if wanted("latency") {
        runtime.block_on(latency());
    }
    if wanted("idle") {
        runtime.block_on(idle());
    }
    if wanted("start") {
        runtime.block_on(start());
    }
    if wanted("record") {
        runtime.block_on(record());
    }
}

/// Which window an event is about.
fn window(event: &Value) -> (String, u64, u64) {
    let window = &event["data"]["window"];
    let number = |key: &str| window[key].as_u64().unwrap_or(u64::MAX);
    (event["subject"].as_str().unwrap_or_default().to_owned(), number("continuity"), number("index"))
}

/// Milliseconds from the answer that made a window's verdict whole to each event about it, by type.
fn delays(heard: &Heard, verdicts: &HashMap<(String, u64, u64), Instant>, kind: &str) -> Repeats {
    let heard = heard.lock().expect("not poisoned");
    let delays = heard.iter().filter_map(|(at, json)| {
        let event: Value = serde_json::from_slice(json).ok()?;
        let verdict = verdicts.get(&window(&event)).filter(|_| event["type"] == kind)?;
        Some(at.duration_since(*verdict).as_secs_f64() * 1e3)
    });
    delays.collect()
}

async fn latency() {
    let judges = Judges::start().await;
    let (hook, posted) = receiver().await;
    let assets = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(assets.path().join("pipelines")).expect("a folder");
    let pipeline = include_str!("../pipelines/test.gst")
        .replace("width=640,height=480,framerate=25/1", "width=160,height=120,framerate=5/1");
    std::fs::write(assets.path().join("pipelines/test.gst"), pipeline).expect("a file");
    let source = |n: usize| {
        format!("[[source]]\nname = \"s{n}\"\nurl = \"test:\"\npurpose = \"research\"\nconsent = \"nobody is in it\"\n")
    };
    let config = judges.panel()
        + "[window]\nhop_secs = 1\n[session]\nclear_windows = 1\ncooldown_secs = 0\n"
        + &format!("[[sink]]\nname = \"desk\"\nkind = \"webhook\"\nurl = \"{hook}\"\nsecret_env = \"BENCH_SECRET\"\n")
        + "allow_private = true\nevents = [\"window\", \"alert\"]\n"
        + &(0..SOURCES).map(source).collect::<String>();
    let service = Service::start(&config, &["--assets", assets.path().to_str().expect("UTF-8")]);
    service.ready().await;
    let told = follow(&service).await;
    tokio::time::sleep(SETTLE).await;
    told.lock().expect("not poisoned").clear();
    posted.lock().expect("not poisoned").clear();
    let (pid, before) = (service.child.id().to_string(), load());
    let (cpu, clock) = (process::cpu(&pid), Instant::now());
    tokio::time::sleep(MEASURE).await;
    let cores = (process::cpu(&pid) - cpu) / clock.elapsed().as_secs_f64();
    let stamps = judges.answered.lock().expect("not poisoned").clone();
    let mut verdicts = HashMap::new();
    for (_, json) in told.lock().expect("not poisoned").iter() {
        let Ok(event) = serde_json::from_slice::<Value>(json) else { continue };
        let votes = event["data"]["votes"].as_array().map_or(&[][..], Vec::as_slice);
        let answers = votes.iter().filter_map(|vote| stamps.get(&vote["tokens"]["prompt"].as_u64()?));
        if let (Some(last), "ah.window.judged.v1") = (answers.max(), event["type"].as_str().unwrap_or_default()) {
            verdicts.insert(window(&event), *last);
        }
    }
    let mut rows = Vec::new();
    for (what, target, heard, kind) in [
        ("window, event stream", "10", &told, "ah.window.judged.v1"),
        ("alert, event stream", "10", &told, "ah.alert.raised.v1"),
        ("window, webhook", "25", &posted, "ah.window.judged.v1"),
        ("alert, webhook", "25", &posted, "ah.alert.raised.v1"),
    ] {
        let ms = delays(heard, &verdicts, kind);
        let shown = [0.5, 0.95, 0.99, 1.0].map(|share| format!("{:.1}", ms.quantile(share)));
        rows.push([vec![what.to_owned(), ms.count().to_string(), target.to_owned()], shown.to_vec()].concat());
    }
    let title = format!(
        "From a verdict's last answer being ready at its judge to the event, ms; {SOURCES} sources of 160x120@5 with a window a second, \
         {} s, one run; cores of the service {cores:.2}; load {before} to {}",
        MEASURE.as_secs(),
        load()
    );
    print(&title, &["what", "n", "target p99", "p50", "p95", "p99", "max"], &rows);
}

async fn idle() {
    let mut rows = Vec::new();
    for _ in 0..3 {
        let service = Service::start("", &[]);
        service.ready().await;
        // What the first reader brings in for all does not count as one of a thousand.
        let mut readers = vec![open(&service).await];
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (rss, pss) = process::memory(service.child.id());
        for _ in 0..READERS {
            readers.push(open(&service).await);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (after, proportional) = process::memory(service.child.id());
        let shown = [rss, after, after - rss, proportional - pss].map(|mib| format!("{mib:.1}"));
        rows.push([vec![readers.len().to_string()], shown.to_vec(), vec![load()]].concat());
    }
    let title =
        format!("Memory of {READERS} more readers of events that nothing happens to, MiB; target 64; n = 3 runs");
    print(&title, &["readers", "RSS before", "RSS after", "RSS more", "PSS more", "load"], &rows);
}

async fn start() {
    let judges = Judges::start().await;
    let source = |n: usize| {
        format!("[[source]]\nname = \"s{n}\"\nurl = \"test:\"\npurpose = \"research\"\nconsent = \"nobody is in it\"\n")
    };
    let mut rows = Vec::new();
    for sources in [0, SOURCES] {
        let config = judges.panel() + &(0..sources).map(source).collect::<String>();
        let mut times = Vec::new();
        for _ in 0..STARTS {
            times.push(Service::start(&config, &[]).ready().await.as_secs_f64());
        }
        let times: Repeats = times.into_iter().collect();
        rows.push(vec![sources.to_string(), times.count().to_string(), times.shown(2), load()]);
    }
    let title = "From the start of the program to /readyz saying so, a panel of three without canary, s; target 1";
    print(title, &["sources (test:)", "n", "median (range)", "load"], &rows);
}

/// An event of a session as the service has them: a judged window of three votes, or an alert.
fn event(session: &str, number: u64, is_alert: bool) -> Event {
    let labels = Labels { vote_of_max: Label::Present, max_of_vote: Label::Present };
    let maxima = || (1..=3).map(|n| (format!("v{n}").into(), Label::Present)).collect();
    let window = WindowId { continuity: 0, index: number as u32 };
    let kind = SessionKind::Panel;
    let vote = |n: u32| Vote::new(format!("v{n}").into(), Answer::Present);
    let kind = if is_alert {
        let (about, rule) = (AlertAbout::Session, Rule::VoteOfMax);
        EventKind::AlertRaised(Box::new(Alert { about, kind, rule, labels, maxima: maxima(), window, cues: None }))
    } else {
        let (label, votes) = (Label::Present, (1..=3).map(vote).collect());
        EventKind::WindowJudged(Box::new(JudgedWindow {
            window,
            kind,
            label,
            votes,
            labels,
            maxima: maxima(),
            quality: None,
        }))
    };
    let id: Arc<str> = session.into();
    let span = Span::new(MediaTime::ZERO, MediaTime::from_millis(5000));
    Event {
        session: Some(Arc::clone(&id)),
        scope: id,
        number,
        source: "room".into(),
        continuity: 0,
        span,
        wall: wall(),
        kind,
    }
}

async fn record() {
    const EACH: u64 = 500;
    let mut rows = Vec::new();
    for run in 1..=3 {
        let dir = tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target")).expect("target is writable");
        let journal = journal(&JournalConfig::at(dir.path().join("j.db")), &sink(dir.path())).expect("a journal");
        let writers: Vec<_> = (0..SOURCES)
            .map(|writer| {
                let journal = journal.clone();
                tokio::spawn(async move {
                    let (mut windows, mut alerts) = (Vec::new(), Vec::new());
                    let session = format!("s{writer}");
                    for number in 0..EACH {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        let is_alert = (number + writer as u64).is_multiple_of(10);
                        let event = event(&session, number, is_alert);
                        let begin = Instant::now();
                        let told: Vec<Told> = journal.record(vec![event]).await;
                        let took = begin.elapsed().as_secs_f64() * 1e3;
                        assert!(told[0].durable, "the disk stalled");
                        if is_alert { &mut alerts } else { &mut windows }.push(took);
                    }
                    (windows, alerts)
                })
            })
            .collect();
        let (mut windows, mut alerts) = (Vec::new(), Vec::new());
        for writer in writers {
            let (some, more) = writer.await.expect("no panic");
            windows.extend(some);
            alerts.extend(more);
        }
        journal.close().await;
        for (what, times) in [("window", windows), ("alert", alerts)] {
            let ms: Repeats = times.into_iter().collect();
            let shown = [0.5, 0.99, 1.0].map(|share| format!("{:.2}", ms.quantile(share)));
            rows.push(
                [vec![run.to_string(), what.to_owned(), ms.count().to_string()], shown.to_vec(), vec![load()]].concat(),
            );
        }
    }
    let title = format!(
        "record() under {SOURCES} writers, an event of each every 20 ms, every tenth an alert (FULL), the rest windows (NORMAL); \
         a row for a sink each; ms"
    );
    print(&title, &["run", "event", "n", "p50", "p99", "max", "load"], &rows);
}

/// A sink that wants all of it, and is never run.
fn sink(dir: &Path) -> Vec<SinkConfig> {
    let text = "[[sink]]\nname = \"desk\"\nkind = \"webhook\"\nurl = \"https://desk.example/\"\nsecret_env = \"S\"\n\
        events = [\"window\", \"alert\"]\n";
    let raw = RawConfig::parse(text, &dir.join("a.toml"));
    let built = Config::build(raw, Overrides::default(), &|_| Some(SECRET.to_owned()));
    built.expect("valid").sinks
}
