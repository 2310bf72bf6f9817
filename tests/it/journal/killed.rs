//! A service that dies at any moment: nothing it acknowledged is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ahwatch::alert::journal::verify::verify;
use ahwatch::alert::journal::{AlertFilter, DeliveryState, Reader};
use ahwatch::run::Sinks;
use ahwatch::stage::Stages;
use rand::{RngExt as _, SeedableRng as _};

use super::receiver::{Receiver, until};
use super::{alert, journal, sinks};

const DIR: &str = "AHWATCH_TEST_KILLED_DIR";
const ROUND: &str = "AHWATCH_TEST_KILLED_ROUND";

/// Not a test: what the others start and kill. Records alerts all the time and says which stand in the journal.
#[test]
#[ignore = "is started by the tests beside it"]
fn child() {
    let (Ok(dir), Ok(round)) = (std::env::var(DIR), std::env::var(ROUND)) else { return };
    let dir = Path::new(&dir);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let sinks = sinks(&std::fs::read_to_string(dir.join("sinks.toml")).unwrap(), dir);
        let journal = journal(dir, &sinks);
        let _running = Sinks::start(&journal, &sinks, Stages::default()).unwrap();
        for number in 0.. {
            tokio::time::sleep(Duration::from_millis(10)).await;
            let events = (0..3).map(|session| alert(&format!("r{round}s{session}"), number)).collect();
            for told in journal.record(events).await.into_iter().filter(|told| told.durable) {
                println!("acknowledged {}.{}", told.event.scope, told.event.number);
            }
        }
    });
}

/// Lets the child run, kills it, and gives what it acknowledged.
fn run_and_kill(dir: &Path, round: u32, life: Duration) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["journal::killed::child", "--exact", "--ignored", "--nocapture"])
        .env(DIR, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reader = std::thread::spawn(move || {
        let mut acknowledged = Vec::new();
        while let Some(Ok(line)) = lines.next() {
            if let Some((_, id)) = line.split_once("acknowledged ") {
                acknowledged.push(id.to_owned());
            }
        }
        acknowledged
    });
    std::thread::sleep(life);
    // SIGKILL: nothing of it runs any more.
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

/// Every alert that was acknowledged stands in this journal, delivered or about to be.
#[track_caller]
pub fn none_is_lost(journal: &Path, acknowledged: &BTreeSet<String>, after: &str) {
    let Ok(reader) = Reader::open(journal) else {
        assert!(acknowledged.is_empty(), "the journal is gone after {after}");
        return;
    };
    let all = AlertFilter { limit: usize::MAX, ..AlertFilter::default() };
    let there: BTreeMap<String, DeliveryState> = reader
        .alerts(all)
        .unwrap()
        .into_iter()
        .map(|row| {
            let event: serde_json::Value = serde_json::from_str(&row.json).unwrap();
            (event["id"].as_str().unwrap().to_owned(), row.deliveries[0].state)
        })
        .collect();
    for id in acknowledged {
        let state = there.get(id).unwrap_or_else(|| panic!("{id} is lost after {after}"));
        assert!(matches!(state, DeliveryState::Delivered | DeliveryState::Pending), "{id}: {state}");
    }
}

async fn killed(times: u32) {
    let dir = tempfile::tempdir().unwrap();
    // A receiver that takes most, and sometimes takes what it answers badly.
    let mut random = rand_pcg::Pcg64::seed_from_u64(7);
    let receiver = Receiver::start(move |_| if random.random_bool(0.02) { 503 } else { 200 }).await;
    let sink = receiver.sink("desk");
    std::fs::write(dir.path().join("sinks.toml"), &sink).unwrap();
    let mut random = rand_pcg::Pcg64::seed_from_u64(11);
    let mut acknowledged = BTreeSet::new();
    for round in 0..times {
        let life = Duration::from_millis(random.random_range(20..700));
        let path = dir.path().to_owned();
        let new = tokio::task::spawn_blocking(move || run_and_kill(&path, round, life)).await.unwrap();
        acknowledged.extend(new);
        none_is_lost(&dir.path().join("j.db"), &acknowledged, &format!("round {round}"));
    }
    assert!(acknowledged.len() > 10, "{} alerts", acknowledged.len());

    let sinks = sinks(&sink, dir.path());
    let journal = journal(dir.path(), &sinks);
    let running = Sinks::start(&journal, &sinks, Stages::default()).unwrap();
    // However many are left, there have to be fewer and fewer.
    receiver.answers(|_| 200);
    let left = || journal.reader().outbox().unwrap().iter().map(|sink| sink.pending + sink.dead).sum::<u64>();
    let waited = left();
    let mut now = waited;
    while now > 0 {
        now = until("fewer to be left", || Some(left()).filter(|left| *left < now)).await;
    }
    running.stop().await;
    let report = verify(&journal.reader()).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    journal.close().await;

    let mut bodies = BTreeMap::new();
    let (mut twice, mut order) = (0, BTreeMap::<String, u64>::new());
    for got in receiver.got() {
        let body = bodies.entry(got.id.clone()).or_insert_with(|| got.body.clone());
        assert_eq!(*body, got.body, "{} came twice and differs", got.id);
        let (session, number) = got.id.rsplit_once('.').unwrap();
        let number: u64 = number.parse().unwrap();
        let last = order.entry(session.to_owned()).or_insert(0);
        assert!(number <= *last + 1, "{} came before its turn, after {last}", got.id);
        twice += u32::from(number < *last);
        *last = number.max(*last);
    }
    let taken: BTreeSet<String> = receiver.taken().into_iter().collect();
    let lost: Vec<_> = acknowledged.difference(&taken).collect();
    assert_eq!(lost, Vec::<&String>::new());
    println!(
        "killed {times} times: {} alerts acknowledged, {} delivered ({waited} of them waited at the last start), {twice} came again \
         after a later one, none lost",
        acknowledged.len(),
        taken.len(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost_when_the_process_is_killed() {
    killed(6).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "three minutes: cargo test --test it journal::killed -- --ignored two_hundred"]
async fn two_hundred_times() {
    killed(200).await;
}
