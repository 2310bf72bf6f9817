//! Event streams.

use std::time::Duration;

use super::{camera, made};
use crate::kit::service::{Reader, Service};
use crate::kit::wait_until;

const LIMIT: Duration = Duration::from_secs(60);

/// A service with one session, whose windows are a second long; an operator's token; the session; who reads all events from the first.
fn followed() -> (Service, String, String, Reader) {
    let service = Service::start("[window]\nwindow_secs = 1\n");
    let token = service.token("op", "operator");
    let id = made(&service, &token, &camera("test:"));
    let all = service.follow("/v1/events?after=0", &token);
    (service, token, id, all)
}

#[test]
fn who_comes_back_gets_everything_that_was_missed_once_and_in_order() {
    let (service, token, id, all) = followed();
    wait_until(LIMIT, "five events", || (all.told().len() >= 5).then_some(()));
    let seen = all.told();
    // From the middle on, as a browser that lost its connection.
    let again = service.follow(&format!("/v1/events?after={}", seen[2].id), &token);
    wait_until(LIMIT, "what was missed, and more", || (again.told().len() >= 6).then_some(()));
    wait_until(LIMIT, "the first reader", || (all.told().len() >= again.told().len() + 3).then_some(()));
    let (whole, part) = (all.told(), again.told());
    for (one, other) in whole[3..].iter().zip(&part) {
        assert_eq!((one.id, &one.kind, &one.data), (other.id, &other.kind, &other.data));
    }
    assert!(whole.windows(2).all(|pair| pair[0].id < pair[1].id));
    assert!(whole.iter().all(|told| told.kind == told.data["type"].as_str().unwrap()));
    let of_session = service.follow(&format!("/v1/sessions/{id}/events?after=0"), &token);
    wait_until(LIMIT, "the session's events", || (of_session.told().len() >= 5).then_some(()));
    assert!(of_session.told().iter().all(|told| told.data["subject"] == *id));
    // A reader that is in the future, or nonsense, is not taken for one that wants everything.
    let wrong = [("authorization", &*format!("Bearer {token}")), ("last-event-id", "yesterday")];
    service.ask_with("GET", "/v1/events", &wrong, None).refused(400);
    service.get("/v1/sessions/nobody/events", &token).refused(404);
}

#[test]
fn who_follows_events_hears_of_a_withdrawal_after_the_end_once_and_in_its_place() {
    let (service, token, over, all) = followed();
    all.wait_for("its first window", |told| told.kind.starts_with("ah.window.") && told.data["subject"] == *over);
    service.post(&format!("/v1/sessions/{over}/end"), &token, &serde_json::json!({})).ok();
    let runs = made(&service, &token, &camera("test:"));
    let of_session = service.follow(&format!("/v1/sessions/{over}/events"), &token);
    let withdraw =
        || service.post(&format!("/v1/sessions/{over}/withdraw"), &token, &serde_json::json!({})).ok().json();
    let receipt = withdraw();
    let said = all.wait_for("the word of it", |told| told.kind == "ah.session.withdrawn.v1");
    assert_eq!(said.data["subject"], *over);
    of_session.wait_for("the same", |told| told.id == said.id);
    assert_eq!(withdraw()["id"], receipt["id"]);
    let after = all.told().len();
    wait_until(LIMIT, "the other session to go on", || (all.told().len() > after + 3).then_some(()));
    let told = all.told();
    assert_eq!(told.iter().filter(|told| told.kind == "ah.session.withdrawn.v1").count(), 1, "it is said once");
    assert!(told.windows(2).all(|pair| pair[0].id < pair[1].id));
    assert!(told.iter().any(|told| told.id > said.id && told.data["subject"] == *runs));
}

#[test]
fn metrics_count_what_the_events_say() {
    let (service, token, id, events) = followed();
    wait_until(LIMIT, "three windows", || (events.told().len() >= 4).then_some(()));
    service.post(&format!("/v1/sessions/{id}/end"), &token, &serde_json::json!({})).ok();
    events.wait_for("the end", |told| told.kind == "ah.session.ended.v1");
    let windows = events.told().iter().filter(|told| !told.data["data"]["window"].is_null()).count();
    let text = service.get("/metrics", &token).ok();
    assert!(text.header("content-type").starts_with("application/openmetrics-text"));
    let counted: usize = text
        .text
        .lines()
        .filter(|line| line.starts_with("ahwatch_windows_total{"))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
        .sum();
    assert_eq!(counted, windows, "{}", text.text);
    // Each is documented.
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/serve.md")).unwrap();
    let names = text.text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for name in names {
        assert!(page.contains(&format!("`{name}")), "docs/serve.md does not say what {name} is");
    }
    assert!(text.text.ends_with("# EOF\n"));
}
