//! Sessions of cameras by the API; what is refused.

use std::time::Duration;

use ahwatch::alert::journal::{NewSession, SessionState};
use ahwatch::alert::{Actor, Event, EventKind};
use ahwatch::config::JournalConfig;
use serde_json::{Value, json};

use super::{camera, made, panel, three};
use crate::books::books_are_exact;
use crate::journal::alert;
use crate::kit::media::Recipe;
use crate::kit::rtsp::{Camera, Show};
use crate::kit::run::ahwatch;
use crate::kit::service::Service;
use crate::kit::wait_until;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn a_camera_is_added_watched_and_ended_and_everything_about_it_can_be_read_again() {
    let endpoint = three();
    let show = Camera::start(Show::live(&Recipe::new(60.0).plant(&[0])));
    let service = Service::start(&panel(&endpoint));
    let token = service.token("op", "operator");
    let id = made(&service, &token, &camera(&show.url("/live")));
    // The same camera again is refused, in words.
    let twice = service.post("/v1/sessions", &token, &camera(&show.url("/live"))).refused(409);
    assert!(twice["detail"].as_str().unwrap().contains("watched already"), "{twice}");
    let events = service.follow(&format!("/v1/sessions/{id}/events?after=0"), &token);
    let alert = events.wait_for("an alert", |told| told.kind == "ah.alert.raised.v1");
    assert!(alert.data["data"]["advisory"].as_str().unwrap().contains("not a diagnosis"), "{}", alert.data);
    let running = service.get(&format!("/v1/sessions/{id}"), &token).ok().json();
    assert_eq!((&running["state"], &running["labels"]["vote_of_max"]), (&json!("live"), &json!("present")));
    assert_eq!(running["last_window"]["type"], "ah.window.judged.v1");
    assert_eq!((&running["alerts"], &running["consent"]["reference"]), (&json!(2), &json!("form 1")));

    let ended = service.post(&format!("/v1/sessions/{id}/end"), &token, &json!({})).ok().json();
    assert_eq!(ended["state"], "ended");
    let end = events.wait_for("the end", |told| told.kind == "ah.session.ended.v1");
    for field in ["labels", "coverage", "judges", "windows", "elapsed_secs", "verdict"] {
        assert_eq!(ended[field], end.data["data"][field], "{field}: {ended:#}");
    }
    let told: Vec<Value> = events.told().into_iter().map(|told| told.data).collect();
    books_are_exact(&told);
    // What the stream said is what the journal says.
    let windows = service.get(&format!("/v1/sessions/{id}/windows"), &token).ok().json();
    let of_windows: Vec<_> =
        told.iter().filter(|e| e["type"].as_str().unwrap().starts_with("ah.window.")).cloned().collect();
    assert_eq!(windows["windows"].as_array().unwrap(), &of_windows);
    let alerts = service.get(&format!("/v1/sessions/{id}/alerts"), &token).ok().json();
    assert_eq!(alerts["alerts"].as_array().unwrap().len(), 2);
    let listed = service.get("/v1/sessions?state=ended", &token).ok().json();
    assert_eq!(listed["sessions"][0], service.get(&format!("/v1/sessions/{id}"), &token).ok().json());
    // The camera may be watched again, in a session of its own.
    assert_ne!(made(&service, &token, &camera(&show.url("/live"))), id);
    // And what somebody makes of the alert is kept, and goes into the export.
    let alert = alert.data["id"].as_str().unwrap();
    let word = json!({ "verdict": "confirmed", "note": "saw it too" });
    assert_eq!(service.post(&format!("/v1/alerts/{alert}/feedback"), &token, &word).ok().status, 204);
    let export = service.get("/v1/alerts?format=jsonl", &token).ok();
    let lines: Vec<Value> = export.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ours = lines.iter().find(|line| line["event"]["id"] == alert).unwrap();
    assert_eq!((&ours["feedback"]["verdict"], &ours["feedback"]["by"]), (&json!("confirmed"), &json!("op")));
    service.post("/v1/alerts/nobody.1/feedback", &token, &word).refused(404);
}

#[test]
fn a_session_lists_what_was_before_a_restart_and_says_what_was_interrupted() {
    let dir = tempfile::tempdir().unwrap();
    let source =
        "[[source]]\nname = \"room\"\nurl = \"test:\"\npurpose = \"research\"\nconsent = \"nobody is in it\"\n";
    let service = Service::start_in(dir.path(), source);
    let token = service.token("op", "operator");
    let list =
        |service: &Service| service.get("/v1/sessions", &token).ok().json()["sessions"].as_array().unwrap().clone();
    wait_until(LIMIT, "the configured source's session", || list(&service).first().cloned());
    let (first, kind) = (list(&service)[0]["id"].clone(), list(&service)[0]["kind"].clone());
    assert_eq!((kind, &list(&service)[0]["purpose"]), (json!("configured"), &json!("research")));
    service.run.signal("KILL");
    drop(service);
    let service = Service::start_in(dir.path(), source);
    wait_until(LIMIT, "the next session", || (list(&service).len() == 2).then_some(()));
    let all = list(&service);
    let old = all.iter().find(|session| session["id"] == first).unwrap();
    assert_eq!(old["state"], "interrupted", "{old}");
    service.stop().expect_code(0);
}

/// Between the word of it and the deletion, the service died.
#[test]
fn a_withdrawal_that_was_begun_is_finished_at_the_next_start_with_its_clips() {
    let dir = tempfile::tempdir().unwrap();
    let id = "01900000-0000-7000-8000-00000000000a";
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let journal = ahwatch::run::journal(&JournalConfig::at(dir.path().join("journal.db")), &[]).unwrap();
        let new = NewSession {
            id: id.into(),
            source: "room-1".into(),
            kind: "webrtc".to_owned(),
            state: SessionState::Live,
            purpose: "health_care".to_owned(),
            basis: None,
            consent: None,
            created_by: "desk".to_owned(),
            created: ahwatch::time::wall(),
            rule: ahwatch::session::Rule::VoteOfMax,
            detail: Some(json!({ "language": "fr" })),
        };
        journal.create_session(new).await.unwrap();
        let word = Event { kind: EventKind::SessionWithdrawn(Actor::Participant), ..alert(id, 2) };
        journal.record(vec![alert(id, 0), alert(id, 1), word]).await;
        journal.close().await;
    });
    let clips = dir.path().join("clips");
    std::fs::create_dir_all(clips.join(id)).unwrap();
    std::fs::write(clips.join(id).join("0-0.wav"), "a voice").unwrap();
    let folder = clips.to_str().unwrap().to_owned();
    let service = Service::start_by(dir.path(), "", |args| ahwatch(args.into_iter().chain(["--record", &folder])));
    let token = service.token("op", "operator");
    let receipt = service.get(&format!("/v1/sessions/{id}/receipt"), &token).ok().json();
    assert_eq!(receipt["alerts_deleted"], 2);
    assert_eq!(service.get("/v1/alerts", &token).ok().json()["alerts"], json!([]));
    let session = service.get(&format!("/v1/sessions/{id}"), &token).ok().json();
    assert_eq!(session["state"], "withdrawn");
    assert!(!clips.join(id).exists());
    let word = b"\"ah.alert.raised.v1\"";
    wait_until(LIMIT, "the journal's files to hold nothing of it", || {
        (!service.journal_bytes().windows(word.len()).any(|part| part == word)).then_some(())
    });
    service.stop().expect_code(0);
}

#[test]
fn what_makes_no_sense_is_refused_in_words_and_changes_nothing() {
    let service = Service::start("");
    let token = service.token("op", "operator");
    let webrtc = json!({ "source": { "kind": "webrtc" }, "purpose": "research" });
    let with = |key: &str, value: Value| {
        let mut wish = webrtc.clone();
        wish[key] = value;
        wish
    };
    let url = |url: &str| camera(url);
    let mut unconsented = camera("rtsp://host/x");
    unconsented.as_object_mut().unwrap().remove("consent");
    for (wish, status, word) in [
        (with("purpose", json!("workplace")), 422, "Art. 5(1)(f)"),
        (with("purpose", json!("education")), 422, "Art. 5(1)(f)"),
        (with("purpose", json!("fun")), 422, "unknown variant"),
        (with("consent", json!({ "reference": "x" })), 422, "own page"),
        (with("colour", json!("red")), 422, "unknown field"),
        (with("source", json!({ "kind": "carrier_pigeon" })), 422, "unknown variant"),
        (url("http://user:hunter2@host/x"), 422, "no address of a camera"),
        (url("/etc/passwd"), 422, "no address of a camera"),
        (url("rtsp://"), 422, "url"),
        (unconsented, 422, "consent"),
    ] {
        let problem = service.post("/v1/sessions", &token, &wish).refused(status);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(word) && !detail.contains("hunter2"), "{wish}: {detail}");
    }
    let basis = json!({ "kind": "safety", "reference": "protocol 7" });
    let mut allowed = with("purpose", json!("workplace"));
    allowed["basis"] = basis;
    made(&service, &token, &allowed);
    let huge = vec![b' '; 2_000_000];
    service.ask("POST", "/v1/sessions", &token, Some(("application/json", &huge))).refused(413);
    service.ask("POST", "/v1/sessions", &token, Some(("application/json", b"{"))).refused(400);
    service.ask("POST", "/v1/sessions", &token, Some(("text/plain", b"{}"))).refused(415);
    service.ask("POST", "/v1/sessions", &token, None).refused(415);
    service.ask("PUT", "/v1/sessions", &token, None).refused(405);
    service.get("/v1/sessions/01900000-0000-7000-8000-000000000000", &token).refused(404);
    service.get("/v1/sessions?limit=0", &token).refused(400);
    service.get("/v1/sessions?state=asleep", &token).refused(400);
    service.get("/v1/nothing", &token).refused(404);
    assert_eq!(service.get("/v1/sessions", &token).ok().json()["sessions"].as_array().unwrap().len(), 1);
}

#[test]
fn the_service_is_ready_once_judges_were_examined_and_a_majority_is_not_deaf() {
    use crate::kit::endpoint::Senses;
    let endpoint = three();
    let config = panel(&endpoint).replace("canary = false", "canary = true");
    let config = config.replace("model = ", "score = true\nmodel = ");
    let service = Service::start(&config);
    let token = service.token("op", "viewer");
    wait_until(LIMIT, "ready", || (service.get("/readyz", &token).status == 200).then_some(()));
    let judges = service.get("/v1/judges", &token).ok().json();
    assert_eq!(judges["judges"][0]["proof"], "proven", "{judges}");
    drop(service);
    for deaf in ["v1", "v2"] {
        endpoint.set_senses(deaf, Senses { hears: false, ..Senses::default() });
    }
    let service = Service::start(&config);
    let token = service.token("op", "viewer");
    let judges = wait_until(LIMIT, "the judges to be examined", || {
        let judges = service.get("/v1/judges", &token).ok().json();
        judges["judges"].as_array().unwrap().iter().all(|judge| judge["proof"] != "not_checked").then_some(judges)
    });
    assert_eq!(judges["judges"][0]["set_aside"], true, "{judges}");
    let ready = service.get("/readyz", &token);
    assert_eq!(ready.status, 503);
    wait_until(LIMIT, "the reason", || {
        let ready = service.get("/readyz", &token).json();
        ready["reasons"]
            .as_array()
            .unwrap()
            .iter()
            .any(|why| why.as_str().unwrap().contains("2 of 3 judges"))
            .then_some(())
    });
}
