//! SIGTERM: what was asked is answered, what is under way is drained, the rest is in the journal. And a second one.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{panel, three};
use crate::kit::endpoint::{Endpoint, Mode};
use crate::kit::service::{Reader, Service};
use crate::kit::wait_until;

const LIMIT: Duration = Duration::from_secs(60);
const SOURCES: usize = 3;

/// Sources that are always watched, a window a second each.
fn sources(many: usize) -> String {
    let source = |n: usize| {
        format!(
            "[[source]]\nname = \"room{n}\"\nurl = \"test:\"\npurpose = \"research\"\nconsent = \"nobody is in it\"\n"
        )
    };
    "[window]\nwindow_secs = 1\n".to_owned() + &(0..many).map(source).collect::<String>()
}

/// A service whose judges take requests and do not answer: they are under way.
fn loaded(endpoint: &Endpoint, dir: &std::path::Path) -> (Service, String, Reader) {
    endpoint.set(Mode::Slow);
    let service = Service::start_in(dir, &(panel(endpoint) + &sources(SOURCES)));
    let token = service.token("op", "operator");
    let events = service.follow("/v1/events?after=0", &token);
    wait_until(LIMIT, "all sessions to have begun", || {
        let begun = events.told().iter().filter(|told| told.kind == "ah.session.started.v1").count();
        (begun == SOURCES).then_some(())
    });
    endpoint.wait_for(LIMIT, |requests| requests.len() >= 3 * SOURCES);
    (service, token, events)
}

fn verified(dir: &std::path::Path) -> String {
    let journal = dir.join("journal.db");
    let run = crate::kit::run::ahwatch(["journal", "verify", "--journal", journal.to_str().unwrap()]).finish(LIMIT);
    run.expect_code(0).stdout
}

#[test]
fn sigterm_under_load_answers_what_was_asked_and_has_everything_in_the_journal_within_ten_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = three();
    let (service, token, events) = loaded(&endpoint, dir.path());
    // A request that is half-sent when the signal comes, and an idle connection.
    let at = service.url.strip_prefix("http://").unwrap().to_owned();
    let body = json!({ "source": { "kind": "webrtc" }, "purpose": "gossip" }).to_string();
    let mut open = TcpStream::connect(&at).unwrap();
    let head = format!(
        "POST /v1/sessions HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    open.write_all(head.as_bytes()).unwrap();
    open.write_all(&body.as_bytes()[..10]).unwrap();
    let _idle = TcpStream::connect(&at).unwrap();
    // Connections are taken one after the other: that one is answered after this.
    service.get("/v1/me", &token).ok();

    let asked = Instant::now();
    service.run.signal("TERM");
    wait_until(LIMIT, "new connections to be refused", || TcpStream::connect(&at).is_err().then_some(()));
    open.write_all(&body.as_bytes()[10..]).unwrap();
    let mut answer = String::new();
    open.set_read_timeout(Some(LIMIT)).unwrap();
    open.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 422") && answer.contains("gossip"), "{answer}");

    let finished = service.run.finish(LIMIT).expect_code(0);
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}\n{}", asked.elapsed(), finished.stderr);
    // The readers of events got all of it, to the end.
    let ended = events.told().iter().filter(|told| told.kind == "ah.session.ended.v1").count();
    assert_eq!(ended, SOURCES, "{}", finished.stderr);
    let said = verified(dir.path());
    assert!(said.contains(&format!("sessions: {SOURCES} whose books come out again")), "{said}");
}

#[test]
fn a_second_sigterm_ends_it_within_a_second_and_the_journal_is_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let endpoint = three();
    let (service, _, events) = loaded(&endpoint, dir.path());
    let at = service.url.strip_prefix("http://").unwrap().to_owned();
    service.run.signal("TERM");
    wait_until(LIMIT, "it to have heard", || TcpStream::connect(&at).is_err().then_some(()));
    let asked = Instant::now();
    service.run.signal("TERM");
    let finished = service.run.finish(LIMIT);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(finished.code, Some(130), "{}", finished.stderr);
    drop(events);
    verified(dir.path());
}
