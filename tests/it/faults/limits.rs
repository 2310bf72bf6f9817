//! More than it can do: three times the panel's capacity, and too few descriptors.

#![allow(clippy::cast_precision_loss, reason = "counts are small")]

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::after::{After, descriptors, peak_mib};
use super::case::Case;
use super::rig::{self, LIMIT, judge, watch};
use super::secrets::Secrets;
use crate::books::nanos;
use crate::kit::endpoint::{Endpoint, Judge, Mode};
use crate::kit::media::Recipe;
use crate::kit::rtsp::{Camera, Show};
use crate::kit::run::{Run, program};
use crate::kit::service::Service;
use crate::kit::wait_until;

/// So long windows come.
const OVERLOAD: Duration = Duration::from_secs(120);

#[test]
#[ignore = "make faults"]
fn case_16_three_times_the_capacity() {
    const SOURCES: usize = 12;
    const PLACES: usize = 8;
    const SERVICE: Duration = Duration::from_secs(4);
    let mut case =
        Case::begin("16", "12 cameras, a window each 2 s: three times what 8 places of 4 s take, deadline 10 s");
    let endpoint = Endpoint::start([("v1", Judge::default())]);
    endpoint.set(Mode::Delay(SERVICE));
    let camera = Camera::start(Show::live(&Recipe::new(3600.0).size(160, 120).fps((5, 1))));
    let table = |n| format!("[[source]]\nname = \"cam-{n:02}\"\nurl = \"{}\"\n", camera.url("/live"));
    let sources = (0..SOURCES).map(table).collect::<Vec<_>>().concat();
    let more = format!("deadline_ms = 10000\nmax_in_flight = {PLACES}");
    let text = sources + "[window]\nwindow_secs = 2.0\nhop_secs = 2.0\n" + &judge("v1", &endpoint.base_url(), &more);
    let dir = tempfile::tempdir().unwrap();
    let mut run = watch(dir.path(), &text);
    run.wait_until(LIMIT, "every camera's session", |run| {
        (run.events().iter().filter(|event| event["type"] == "ah.session.started.v1").count() == SOURCES).then_some(())
    });
    endpoint.wait_for(LIMIT, |_| endpoint.in_flight() == PLACES);
    let (from, known) = (Instant::now(), run.events().len());
    std::thread::sleep(OVERLOAD); // the overload itself
    let told: Vec<Value> = run.events().split_off(known);
    let secs = from.elapsed().as_secs_f64();
    let judged: Vec<&Value> = told.iter().filter(|event| event["type"] == "ah.window.judged.v1").collect();
    let offered = SOURCES as f64 * secs / 2.0;
    // Time of the places that became verdicts: serving takes the stand-in 4 s and what decoding the clip takes.
    let served = |event: &&Value| event["data"]["votes"][0]["latency_ms"].as_f64().unwrap() / 1e3;
    let useful: f64 = judged.iter().map(served).sum();
    let share = useful / (PLACES as f64 * secs);
    let said = format!("{:.1} % ({} windows of {offered:.0} that were offered)", share * 100.0, judged.len());
    case.row("goodput: time of the places that became verdicts", "at least 95 %", &said, share >= 0.95);

    // When each verdict was told, less the end of its window: a source's youngest verdict is as old as its serving took.
    let mut ages: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for event in &judged {
        let wall: jiff::Timestamp = event["time"].as_str().unwrap().parse().unwrap();
        let end = nanos(&event["data"]["span"]["end_secs"]) as f64 / 1e9;
        let age = wall.as_millisecond() as f64 / 1e3 - end;
        ages.entry(event["source"].as_str().unwrap()).or_default().push(age);
    }
    let mut all: Vec<f64> = Vec::new();
    for of_source in ages.values() {
        let youngest = of_source.iter().copied().fold(f64::INFINITY, f64::min);
        all.extend(of_source.iter().map(|age| age - youngest + SERVICE.as_secs_f64()));
    }
    all.sort_by(f64::total_cmp);
    let p99 = all[(all.len() * 99).div_ceil(100) - 1];
    let said = format!("{p99:.2} s (p50 {:.2} s)", all[all.len() / 2]);
    case.row("p99 age of a verdict, from a source's youngest", "at most 10 s", &said, p99 <= 10.0);
    let counts: Vec<usize> = ages.values().map(Vec::len).collect();
    let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    // Jain's index: 1 where all have the same, 1/n where one has all.
    let sum: usize = counts.iter().sum();
    let squares: usize = counts.iter().map(|count| count * count).sum();
    let jain = (sum * sum) as f64 / (SOURCES * squares) as f64;
    let said = format!("{jain:.3} ({least} to {most} windows a camera)");
    case.row("fairness (Jain's index over cameras)", "at least 0.95", &said, jain >= 0.95 && counts.len() == SOURCES);
    rig::end(&mut case, run, &[&endpoint], &[]);
    case.end();
}

/// Windows of a source that were judged so far.
fn judged(told: &[crate::kit::service::Told], source: &str) -> usize {
    let of = format!("/ahwatch/{source}");
    told.iter().filter(|told| told.kind == "ah.window.judged.v1" && told.data["source"] == of.as_str()).count()
}

#[test]
#[ignore = "make faults"]
fn case_22_sixty_four_descriptors() {
    const MOST: usize = 64;
    let mut case = Case::begin("22", "descriptor limit 64");
    let endpoint = Endpoint::start([("v1", Judge::default())]);
    let show = Show::live(&Recipe::new(3600.0).size(320, 240).fps((10, 1)));
    let shows = (0..8).map(|n| (format!("/{n}"), show.clone())).collect();
    let mut camera = Camera::start_with(shows, None);
    let dir = tempfile::tempdir().unwrap();
    let text =
        format!("[panel]\ncanary = false\n[window]\nwindow_secs = 2.0\n{}", judge("v1", &endpoint.base_url(), ""));
    let limited = format!("--nofile={MOST}:{MOST}");
    let ahwatch = program();
    let program = [limited.as_str(), &ahwatch];
    let run = |args: [&str; 3]| Secrets::plant(Run::program("prlimit", program.iter().chain(&args)));
    let service = Service::start_by(dir.path(), &text, run);
    let token = service.token("op", "admin");
    let reader = service.follow("/v1/events?after=0", &token);
    let address = camera.url("");
    let wanted = |n: usize| {
        let mut wanted = crate::serve::camera(&format!("{address}/{n}"));
        wanted["source"]["name"] = json!(format!("cam-{n}"));
        wanted
    };
    let before = descriptors(&service.run);
    let (mut sessions, mut statuses) = (Vec::new(), Vec::new());
    for n in 0..8 {
        let answer = service.post("/v1/sessions", &token, &wanted(n));
        statuses.push(answer.status);
        if answer.status == 201 {
            sessions.push((answer.json()["id"].as_str().unwrap().to_owned(), format!("cam-{n}")));
            reader.wait_for("its first window", |told| {
                told.kind == "ah.window.judged.v1" && told.data["subject"] == sessions.last().unwrap().0.as_str()
            });
        } else {
            let problem = answer.refused(answer.status);
            assert!(problem["detail"].as_str().unwrap().contains("descriptors"), "{problem}");
        }
    }
    let said = format!(
        "{} accepted, then {:?}; {before} descriptors before, {} after",
        sessions.len(),
        &statuses[sessions.len()..],
        descriptors(&service.run)
    );
    let refused = statuses.len() > sessions.len() && statuses[sessions.len()..].iter().all(|status| *status == 503);
    case.row("new sources", "some accepted, then 503", &said, !sessions.is_empty() && refused);

    // Those that run go on, also where somebody takes all connections there are, and where their camera goes away.
    let api = service.url.trim_start_matches("http://");
    let held: Vec<TcpStream> = (0..MOST).filter_map(|_| TcpStream::connect(api).ok()).collect();
    let go_on = |what: &str| {
        let known: Vec<usize> = sessions.iter().map(|(_, source)| judged(&reader.told(), source)).collect();
        wait_until(LIMIT, what, || {
            let told = reader.told();
            let on = |((_, source), known): (&(String, String), &usize)| judged(&told, source) >= known + 3;
            sessions.iter().zip(&known).all(on).then_some(())
        });
    };
    go_on("windows of those that run, while connections are held");
    let most = descriptors(&service.run);
    case.row("windows of those that run, 64 connections held", "three more each", "three more each", true);
    camera.kill();
    for (_, source) in &sessions {
        reader.wait_for("it to be lost", |told| {
            told.kind == "ah.source.lost.v1" && told.data["data"]["source"] == source.as_str()
        });
    }
    camera.restart();
    let began = Instant::now();
    go_on("windows after the camera is back");
    let what = format!("three windows each once their cameras are back; {most} descriptors at most");
    case.within(&what, Duration::from_secs(30), began.elapsed());
    drop(held);

    // There is room again once one has ended.
    let (first, source) = sessions.remove(0);
    service.post(&format!("/v1/sessions/{first}/end"), &token, &json!({})).ok();
    let again = wait_until(LIMIT, "room", || {
        let answer = service.post("/v1/sessions", &token, &wanted(7));
        (answer.status == 201).then_some(answer)
    });
    sessions.push((again.json()["id"].as_str().unwrap().to_owned(), "cam-7".to_owned()));
    case.row(
        "after the end of one",
        "another is accepted",
        &format!("{} accepted, {source} has ended", again.status),
        true,
    );
    for (id, _) in &sessions {
        service.post(&format!("/v1/sessions/{id}/end"), &token, &json!({})).ok();
    }
    let judges = [&endpoint];
    let after = After::serve(&service, &token, &judges);
    let memory = Some((peak_mib(&service.run), rig::MEMORY));
    After { memory, ..after }.check(&mut case);
    service.stop().expect_code(0);
    case.end();
}
