//! Case 23: the service with eight cameras and a fault every half a minute, for an hour. `make soak` runs it.
//!
//! Faults come in rounds of all kinds in an order drawn from a seed, and each is over within its half minute. So every
//! stretch of a round's length holds the same faults, and what the program holds can be compared between two of them.

mod observer;
mod scene;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ahwatch::alert::journal::{AlertFilter, AlertRow, Reader};
use serde_json::Value;

use super::after::{After, peak_mib};
use super::case::Case;
use crate::journal::receiver::Receiver;
use crate::kit::endpoint::Endpoint;
use crate::kit::run::ahwatch;
use crate::kit::wait_until;
use observer::{Look, Observer, keep, median};
use scene::{CAMERAS, Kind, STEADY, Scene, plan};

/// Long enough for a loaded machine; a hang is what it catches.
const LIMIT: Duration = Duration::from_secs(120);
/// From one fault to the next.
const EVERY: Duration = Duration::from_secs(30);
/// What the program may hold at most, MiB.
const MEMORY: u64 = 320;
/// What it may hold more after the hour than after its first minutes, kB.
const GROWTH: i64 = 1024;

/// What was done, and when the program was looked at.
struct Soaked {
    done: BTreeMap<Kind, usize>,
    looks: Vec<Look>,
    minutes: f64,
}

/// One fault after the other until the time is up, then a calm in which every camera is judged again.
fn soak(scene: &mut Scene, minutes: f64) -> Soaked {
    let observer = Observer::start(scene.service.run.id());
    let began = Instant::now();
    let until = |at: Duration| std::thread::sleep(at.saturating_sub(began.elapsed())); // the clock of the plan
    let mut done: BTreeMap<Kind, usize> = BTreeMap::new();
    let length = Duration::from_secs_f64(minutes * 60.0);
    let count = usize::try_from(length.as_secs() / EVERY.as_secs()).expect("an hour or so");
    for (n, (kind, room, lasts)) in (0_u32..).zip(plan(count)) {
        until(EVERY * n + Duration::from_secs(5));
        scene.begin(kind, room);
        until(EVERY * n + Duration::from_secs(5) + lasts);
        scene.mend(kind, room);
        *done.entry(kind).or_default() += 1;
        // The stand-in keeps what it was sent; the votes it gave are counted apart.
        scene.endpoint.forget();
        let now = observer.last();
        println!(
            "  {:5.1} min, {kind:?} of {lasts:?} in room {room}: {} kB, of them {} anonymous, {} descriptors, {} threads",
            began.elapsed().as_secs_f64() / 60.0,
            now.held,
            now.own,
            now.descriptors,
            now.threads
        );
    }
    until(length);
    let looks = observer.finish();
    let after = scene.service.follow("/v1/events", &scene.token);
    for n in 0..CAMERAS {
        let room = format!("/ahwatch/room-{n}");
        wait_until(LIMIT, "every camera to be judged again", || {
            let told = after.told();
            told.iter()
                .any(|told| told.kind == "ah.window.judged.v1" && told.data["source"] == room.as_str())
                .then_some(())
        });
    }
    Soaked { done, looks, minutes }
}

/// Between the first stretch after the warm-up and the last one: how much more there is of what the program holds.
fn growth(case: &mut Case, soaked: &Soaked) {
    let stretch = soaked.minutes * 60.0 / 12.0;
    let end = soaked.looks.last().map_or(0.0, |look| look.secs);
    let between = |of: fn(&Look) -> i64| {
        let first = median(&soaked.looks, stretch..2.0 * stretch, of);
        let last = median(&soaked.looks, end - stretch..end + 1.0, of);
        (first, last)
    };
    let words = |what: &str| {
        format!(
            "{what}: median of the last {:.0} min less that of minutes {:.0} to {:.0}",
            stretch / 60.0,
            stretch / 60.0,
            stretch / 30.0
        )
    };
    let (first, last) = between(|look| look.held);
    let measured = format!("{:+} kB ({first} kB, {last} kB)", last - first);
    case.row(&words("memory"), "at most 1 MiB", &measured, last - first <= GROWTH);
    let (first, last) = between(|look| look.descriptors);
    let measured = format!("{:+} ({first}, {last})", last - first);
    case.row(&words("descriptors"), "no more", &measured, last <= first);
    let (first, last) = between(|look| look.threads);
    println!("  threads: {first}, then {last}");
}

#[test]
#[ignore = "make soak"]
fn case_23_soak() {
    let minutes = std::env::var("AHWATCH_SOAK_MINUTES").map_or(60.0, |text| text.parse().expect("minutes"));
    let mut case = Case::begin("23", &format!("soak: {CAMERAS} cameras, a fault every {EVERY:?}, {minutes} min"));
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal.db");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut scene = Scene::open(dir.path(), &runtime);
    let soaked = soak(&mut scene, minutes);
    println!("  {}", keep(&soaked.looks).display());

    let Scene { service, token, endpoint, receiver, rooms, .. } = scene;
    let filter = AlertFilter { limit: usize::MAX, ..AlertFilter::default() };
    let alerts: BTreeSet<String> = Reader::open(&journal).unwrap().alerts(filter).unwrap().iter().map(id).collect();
    let missing = || {
        let taken: BTreeSet<String> = receiver.taken().into_iter().collect();
        alerts.difference(&taken).count()
    };
    wait_until(LIMIT, "every alert at the webhook", || (missing() == 0).then_some(()));
    let metrics = service.get("/metrics", &token).ok().text;
    let memory = peak_mib(&service.run);
    let run = service.stop().expect_code(0);
    drop(rooms);
    let command = |args: &[&str]| {
        ahwatch(["journal"].iter().chain(args).chain(&["--journal", journal.to_str().unwrap()])).finish(LIMIT)
    };
    let exported = command(&["export"]).expect_code(0);
    let events: Vec<Value> = exported.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let verified = command(&["verify", "--json"]);

    let kinds = format!("{} faults of {} kinds", soaked.done.values().sum::<usize>(), soaked.done.len());
    case.row("faults", "a round of ten kinds every 5 min", &kinds, !soaked.done.is_empty());
    growth(&mut case, &soaked);
    case.exactly("panics", 0, run.stderr.matches("panicked").count() as u64);
    effects(&mut case, &soaked.done, &events, &receiver, &run.stderr);
    let said = format!("{} of {}", alerts.len() - missing(), alerts.len());
    case.row("alerts at the webhook", "all", &said, missing() == 0 && !alerts.is_empty());
    let files = ["journal.db", "journal.db-wal"].iter().filter_map(|name| std::fs::read(dir.path().join(name)).ok());
    let texts = vec![
        ("stdout", run.stdout.into_bytes()),
        ("stderr", run.stderr.into_bytes()),
        ("metrics", metrics.into_bytes()),
        ("journal", files.flatten().collect()),
    ];
    let journal = Some(serde_json::from_str(&verified.stdout).unwrap());
    let endpoints: &[&Endpoint] = &[&endpoint];
    After { events, texts, endpoints, whole: &[], memory: Some((memory, MEMORY)), journal }.check(&mut case);
    case.end();
}

/// Under which the receiver has an alert.
fn id(alert: &AlertRow) -> String {
    let event: Value = serde_json::from_str(&alert.json).unwrap();
    event["id"].as_str().unwrap().to_owned()
}

/// That the faults were felt, where they should be and nowhere else.
fn effects(case: &mut Case, done: &BTreeMap<Kind, usize>, events: &[Value], receiver: &Receiver, log: &str) {
    let count = |kinds: &[Kind]| kinds.iter().filter_map(|kind| done.get(kind)).sum::<usize>();
    let lost: Vec<&Value> = events.iter().filter(|event| event["type"] == "ah.source.lost.v1").collect();
    let of_steady = |event: &&&Value| (0..STEADY).any(|n| event["source"] == format!("/ahwatch/room-{n}").as_str());
    let steady = lost.iter().filter(of_steady).count();
    case.exactly("losses of the two cameras without a fault", 0, steady as u64);
    let cameras = count(&[Kind::CameraKilled, Kind::CameraStalled, Kind::CameraCut]);
    case.row("losses of the others", &format!("at least {cameras}"), &lost.len().to_string(), lost.len() >= cameras);
    let answers = |wanted: &str| {
        let votes = events.iter().flat_map(|event| event["data"]["votes"].as_array().into_iter().flatten());
        votes.filter(|vote| vote["answer"] == wanted || (wanted == "none" && !vote["abstention"].is_null())).count()
    };
    let judged = events.iter().filter(|event| event["type"] == "ah.window.judged.v1").count();
    let [present, absent, none] = ["present", "absent", "none"].map(answers);
    let said = format!("{judged}; votes: {present} present, {absent} absent, {none} abstentions");
    let endpoints = count(&[Kind::Endpoint500, Kind::EndpointHtml, Kind::OneJudge500]);
    case.row(
        "windows judged",
        "of either vote, and abstentions",
        &said,
        present > 0 && absent > 0 && (none > 0 || endpoints == 0),
    );
    let refused = receiver.got().iter().filter(|got| got.status == 503).count();
    println!("  refused by the webhook: {refused}");
    let guests =
        events.iter().filter(|event| event["type"] == "ah.session.started.v1" && event["source"] == "/ahwatch/guest");
    let (guests, changes) = (guests.count(), count(&[Kind::Reconfigured]));
    let taken = log.matches("added: guest").count();
    let said = format!("{taken} taken, {guests} sessions of the ninth source");
    case.row("configurations with a ninth source", &changes.to_string(), &said, taken == changes);
}
