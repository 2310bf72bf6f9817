//! Readers that stop reading, receivers that are away.

#![allow(clippy::cast_precision_loss, reason = "counts are small")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ahwatch::alert::journal::verify::verify;
use ahwatch::alert::journal::{Failure, FailureKind, Next};
use serde_json::{Value, json};

use super::after::{After, peak_mib};
use super::case::Case;
use super::rig::{LIMIT, MEMORY, camera, judge};
use super::secrets::Secrets;
use crate::journal::broker::{Broker, subscribe};
use crate::journal::receiver::Receiver;
use crate::journal::{SECRET, alert, journal, sinks};
use crate::kit::endpoint::{Endpoint, Judge};
use crate::kit::run::ahwatch;
use crate::kit::service::Service;
use crate::kit::wait_until;

/// A webhook is away for an hour: the journal and its outbox with times passed in, at the longest waits there are.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "make faults"]
async fn case_17_a_webhook_is_down_for_an_hour() {
    const SENDING: Duration = Duration::from_millis(50);
    let mut case = Case::begin("17", "webhook down for an hour (simulated)");
    let dir = tempfile::tempdir().unwrap();
    let hook = "[[sink]]\nname = \"desk\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/hook\"\nsecret_env = \"HOOK\"\nallow_private = true\n";
    let sinks = sinks(hook, dir.path());
    let journal = journal(dir.path(), &sinks);
    let desk = journal.courier("desk").unwrap();
    desk.refill().await.unwrap();
    let began = ahwatch::time::wall();
    let (back, end) = (began + Duration::from_hours(1), began + Duration::from_secs(2 * 3600));
    let (mut now, mut next_alert, mut number) = (began, began, 0_u64);
    let (mut sent, mut attempts, mut drained) = (Vec::new(), 0_u64, None);
    // An alert each ten seconds, of three sessions in turn.
    while now < end && drained.is_none() {
        while next_alert <= now && next_alert < back {
            let mut event = alert(&format!("s{}", number % 3), number);
            event.wall = now;
            assert!(journal.record(vec![event]).await[0].durable);
            number += 1;
            next_alert += Duration::from_secs(10);
        }
        match desk.next(now) {
            Next::Send(item) if now < back => {
                attempts += 1;
                now += SENDING;
                let failure = Failure { kind: FailureKind::Away, detail: "connection refused".to_owned() };
                let _ = desk.failed(item.seq, &failure, now, 1.0);
            }
            Next::Send(item) => {
                now += SENDING;
                desk.delivered(item.seq, now);
                sent.push((item.session.clone(), item.seq));
            }
            Next::Wait(until) if now < back => now = until.min(next_alert).max(now + Duration::from_millis(1)),
            Next::Wait(until) => now = until,
            Next::Idle if now < back => now = next_alert.min(back),
            Next::Idle => drained = Some(now.duration_since(back).unsigned_abs()),
        }
    }
    case.within(
        "360 alerts drained after it is back, longest waits",
        Duration::from_secs(60),
        drained.expect("drained"),
    );
    case.exactly("alerts delivered", number, sent.len() as u64);
    let mut last: BTreeMap<_, u64> = BTreeMap::new();
    let in_order =
        sent.iter().all(|(session, seq)| last.insert(session.clone(), *seq).is_none_or(|before| before < *seq));
    case.row("order within a session", "kept", if in_order { "kept" } else { "lost" }, in_order);
    case.row("attempts within the hour", "at most 200", &attempts.to_string(), attempts <= 200);
    crate::journal::receiver::until("deliveries to be noted", || {
        journal.reader().outbox().unwrap().is_empty().then_some(())
    })
    .await;
    let report = verify(&journal.reader()).unwrap();
    let problems = report.problems.len() as u64;
    case.exactly("problems of the journal", 0, problems);
    drop(desk);
    journal.close().await;
    case.end();
}

/// Pending events of all sinks.
fn pending(service: &Service, token: &str) -> u64 {
    let sinks = service.get("/v1/sinks", token).ok().json();
    sinks["sinks"].as_array().unwrap().iter().map(|sink| sink["pending"].as_u64().unwrap()).sum()
}

/// A reader of the event stream that never reads, and has little room for what it does not.
fn stuck(service: &Service, token: &str) -> TcpStream {
    let address: std::net::SocketAddr = service.url.trim_start_matches("http://").parse().unwrap();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut stream: TcpStream = socket.into();
    write!(stream, "GET /v1/events?after=0 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n").unwrap();
    stream
}

#[test]
#[ignore = "make faults"]
fn case_17_readers_stop_and_receivers_are_away() {
    const READERS: usize = 20;
    const OUTAGE: Duration = Duration::from_secs(120);
    let mut case = Case::begin("17", "20 SSE clients stop reading; broker and webhook down for 2 min");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _inside = runtime.enter();
    let (dir, room) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let broker = Broker::start(room.path(), None, "allow_anonymous true");
    let port = broker.port;
    let got = subscribe(port);
    wait_until(LIMIT, "the subscription", || (!got.lock().unwrap().is_empty()).then_some(()));
    let receiver = runtime.block_on(Receiver::start(|_| 200));
    let (endpoint, show) = (Endpoint::start([("v1", Judge::default())]), camera());
    let text = format!(
        "[panel]\ncanary = false\n[window]\nwindow_secs = 1.0\nhop_secs = 0.5\n{}\
         [[sink]]\nname = \"home\"\nkind = \"mqtt\"\nprefix = \"ah\"\nurl = \"mqtt://127.0.0.1:{port}\"\nevents = [\"alert\", \"window\"]\n{}events = [\"alert\", \"window\"]\n",
        judge("v1", &endpoint.base_url(), ""),
        receiver.sink("desk"),
    );
    let service = Service::start_by(dir.path(), &text, |args| Secrets::plant(ahwatch(args)).env("HOOK", SECRET));
    let token = service.token("op", "admin");
    let mut wanted = crate::serve::camera(&show.url("/live"));
    wanted["source"]["name"] = json!("room");
    let id = crate::serve::made(&service, &token, &wanted);
    let reader = service.follow("/v1/events?after=0", &token);
    reader.wait_for("a window", |told| told.kind == "ah.window.judged.v1");
    wait_until(LIMIT, "both receivers to have all", || (pending(&service, &token) <= 1).then_some(()));
    let judged = || reader.told().iter().filter(|told| told.kind == "ah.window.judged.v1").count();

    let held: Vec<TcpStream> = (0..READERS).map(|_| stuck(&service, &token)).collect();
    broker.stop();
    receiver.answers(|_| 503);
    let (began, before) = (Instant::now(), judged());
    // The outage itself; how long the healthiest reader waits for the next window is what others cost it.
    let (mut seen, mut since, mut longest) = (before, Instant::now(), Duration::ZERO);
    while began.elapsed() < OUTAGE {
        let now = judged();
        if now > seen {
            longest = longest.max(since.elapsed());
            (seen, since) = (now, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let expected = began.elapsed().as_secs_f64() / 0.5;
    let share = (judged() - before) as f64 / expected;
    case.row(
        "windows judged meanwhile",
        "at least 98 % of one each 0.5 s",
        &format!("{:.1} %", share * 100.0),
        share >= 0.98,
    );
    case.within("longest from one window to the next", Duration::from_secs(2), longest);
    let waiting = pending(&service, &token);

    let back = Instant::now();
    let _broker = Broker::start(room.path(), Some(port), "allow_anonymous true");
    receiver.answers(|_| 200);
    // Two new ones come each second, to each.
    wait_until(Duration::from_secs(120), "the outboxes to be empty", || (pending(&service, &token) <= 2).then_some(()));
    case.within(&format!("{waiting} waiting events drained"), Duration::from_secs(60), back.elapsed());
    drop(held);

    service.post(&format!("/v1/sessions/{id}/end"), &token, &json!({})).ok();
    wait_until(LIMIT, "the rest", || (pending(&service, &token) == 0).then_some(()));
    let judges = [&endpoint];
    let after = After::serve(&service, &token, &judges);
    let wanted: Vec<String> = ids(after.events.iter().filter(|event| {
        let kind = event["type"].as_str().unwrap();
        kind.starts_with("ah.window.") || kind.starts_with("ah.alert.")
    }));
    let by_broker: Vec<Value> = {
        let got = got.lock().unwrap();
        let of_events = got.iter().filter(|(topic, _)| topic.starts_with("ah/") && !topic.ends_with("/available"));
        of_events.map(|(_, text)| serde_json::from_str(text).unwrap()).collect()
    };
    for (receiver, got) in [("the broker", ids(by_broker.iter())), ("the webhook", receiver.taken())] {
        let mut once: Vec<String> = Vec::new();
        for id in got {
            if !once.contains(&id) {
                once.push(id);
            }
        }
        let right = once == wanted;
        let said = format!("{} of {}{}", once.len(), wanted.len(), if right { ", in order" } else { "" });
        case.row(&format!("events that reached {receiver}"), "all that the journal has, in its order", &said, right);
    }
    let memory = Some((peak_mib(&service.run), MEMORY));
    After { memory, whole: &["room"], ..after }.check(&mut case);
    service.stop().expect_code(0);
    case.end();
}

fn ids<'a>(events: impl Iterator<Item = &'a Value>) -> Vec<String> {
    events.map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}
