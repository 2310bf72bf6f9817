//! A participant's browser: consent, media, pause, withdrawal. The browser is scripted; its media is real.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{panel, three};
use crate::books::books_are_exact;
use crate::kit::encoded::{Coding, Unit, units};
use crate::kit::endpoint::{Endpoint, Mode};
use crate::kit::media::Recipe;
use crate::kit::peer::{Browser, Offering, Script};
use crate::kit::service::{Answer, Service};
use crate::kit::wait_until;

const LIMIT: Duration = Duration::from_secs(60);

/// A session that waits for its participant.
struct Joining {
    service: Service,
    endpoint: Endpoint,
    operator: String,
    participant: String,
    id: String,
}

impl Joining {
    fn new(more: &str) -> Self {
        let endpoint = three();
        let service = Service::start(&format!("{more}{}", panel(&endpoint)));
        let operator = service.token("op", "operator");
        let wish = json!({ "source": { "kind": "webrtc" }, "purpose": "health_care" });
        let made = service.post("/v1/sessions", &operator, &wish).ok().json();
        let text = |key: &str| made[key].as_str().unwrap().to_owned();
        let (participant, id) = (text("join_token"), text("id"));
        assert_eq!(made["state"], "awaiting_consent");
        Self { service, endpoint, operator, participant, id }
    }

    fn act(&self, act: &str) -> Answer {
        self.service.post(&format!("/v1/sessions/{}/{act}", self.id), &self.participant, &json!({}))
    }

    fn consent(&self) {
        let page = self.service.get("/v1/join", &self.participant).ok().json();
        assert_eq!(page["controller"]["name"], "Test clinic");
        assert_eq!(page["judges"], json!(["v1", "v2", "v3"]));
        assert_eq!(page["endpoints"], json!(["127.0.0.1"]));
        let agreement = json!({ "text_version": page["text_version"], "language": "fr" });
        let path = format!("/v1/sessions/{}/consent", self.id);
        let agreed = self.service.post(&path, &self.participant, &agreement).ok().json();
        assert_eq!((&agreed["state"], &agreed["consent"]["language"]), (&json!("awaiting_media"), &json!("fr")));
    }

    fn offer(&self, sdp: &str) -> Answer {
        let path = format!("/whip/{}", self.id);
        self.service.ask("POST", &path, &self.participant, Some(("application/sdp", sdp.as_bytes())))
    }

    /// Joins; where the connection may be changed and closed.
    fn join(&self, media: Vec<Unit>) -> (Browser, String) {
        let offering = Offering::new(Coding::Vp8);
        let answer = self.offer(&offering.sdp);
        assert_eq!((answer.status, answer.header("content-type")), (201, "application/sdp"), "{}", answer.text);
        assert!(!answer.header("etag").is_empty() && answer.header("accept-patch").contains("sdpfrag"));
        let location = answer.header("location").to_owned();
        assert!(location.starts_with(&format!("/whip/{}/", self.id)), "{location}");
        (offering.play(&answer.text, Script::new(media)), location)
    }

    fn state(&self) -> String {
        let session = self.service.get(&format!("/v1/sessions/{}", self.id), &self.operator).ok().json();
        session["state"].as_str().unwrap().to_owned()
    }

    fn wait_for(&self, state: &str) {
        wait_until(LIMIT, state, || (self.state() == state).then_some(()));
    }
}

fn talk(secs: f64) -> Vec<Unit> {
    units(&Coding::Vp8.make(Recipe::new(secs).plant(&[0])), Coding::Vp8)
}

#[test]
fn no_media_is_taken_before_consent_and_the_session_is_the_browsers_from_then_on() {
    let joining = Joining::new("");
    let offering = Offering::new(Coding::Vp8);
    let refused = joining.offer(&offering.sdp).refused(403);
    assert!(refused["detail"].as_str().unwrap().contains("not consented"), "{refused}");
    // Consent is to the text that was shown.
    let old = json!({ "text_version": "0", "language": "en" });
    let path = format!("/v1/sessions/{}/consent", joining.id);
    joining.service.post(&path, &joining.participant, &old).refused(409);
    joining.consent();
    joining.consent_again();
    let events = joining.service.follow(&format!("/v1/sessions/{}/events?after=0", joining.id), &joining.operator);
    let (browser, location) = joining.join(talk(12.0));
    events.wait_for("a window", |told| told.kind == "ah.window.judged.v1");
    joining.wait_for("live");
    let asked = joining.endpoint.requests();
    assert!(asked.iter().all(|seen| seen.clip.is_some()), "{asked:?}");
    // What is no fragment, of another session, or gone, is told.
    joining.service.ask("PATCH", &location, &joining.participant, Some(("text/plain", b""))).refused(415);
    let fragment = ("application/trickle-ice-sdpfrag", &b"a=end-of-candidates\r\n"[..]);
    joining.service.ask("PATCH", &location, &joining.participant, Some(fragment)).refused(428);
    let other = location.replace(&joining.id, "other");
    joining.service.ask("DELETE", &other, &joining.operator, None).refused(404);
    browser.close();
    wait_until(LIMIT, "the browser to be gone", || (joining.state() == "away").then_some(()));
    let ended = joining.service.post(&format!("/v1/sessions/{}/end", joining.id), &joining.operator, &json!({})).ok();
    assert_eq!(ended.json()["state"], "ended");
    let told: Vec<Value> = events.told().into_iter().map(|told| told.data).collect();
    books_are_exact(&told);
    joining.offer(&offering.sdp).refused(409);
}

impl Joining {
    /// A second click changes nothing.
    fn consent_again(&self) {
        let agreement = json!({ "text_version": "1", "language": "en" });
        let path = format!("/v1/sessions/{}/consent", self.id);
        let agreed = self.service.post(&path, &self.participant, &agreement).ok().json();
        assert_eq!(agreed["consent"]["language"], "fr");
    }
}

#[test]
fn what_is_sent_during_a_pause_is_seen_by_nobody_and_its_time_is_skipped() {
    let joining = Joining::new("");
    joining.consent();
    let events = joining.service.follow(&format!("/v1/sessions/{}/events?after=0", joining.id), &joining.operator);
    let (browser, _) = joining.join(talk(30.0));
    events.wait_for("a window", |told| told.kind == "ah.window.judged.v1");
    let paused = joining.act("pause").ok().json();
    assert_eq!(paused["state"], "paused");
    // What was cut before is still judged; then nobody is asked, although the browser goes on sending.
    wait_until(LIMIT, "what was cut before", || (joining.endpoint.in_flight() == 0).then_some(()));
    let asked = joining.endpoint.requests().len();
    let sent = browser.seen.sent.load(std::sync::atomic::Ordering::SeqCst);
    wait_until(LIMIT, "seven more seconds of media", || {
        (browser.seen.sent.load(std::sync::atomic::Ordering::SeqCst) > sent + 600).then_some(())
    });
    let late = joining.endpoint.requests().len() - asked;
    assert!(late <= 3, "{late} requests after the pause: more than the one window that was under way");
    assert_eq!(joining.act("resume").ok().json()["state"], "live");
    let before = events.told().iter().filter(|told| told.kind == "ah.window.judged.v1").count();
    wait_until(LIMIT, "a window after the pause", || {
        let now = events.told().iter().filter(|told| told.kind == "ah.window.judged.v1").count();
        (now > before).then_some(())
    });
    joining.service.post(&format!("/v1/sessions/{}/end", joining.id), &joining.operator, &json!({})).ok();
    let told: Vec<Value> = events.told().into_iter().map(|told| told.data).collect();
    books_are_exact(&told);
    let end = told.iter().find(|event| event["type"] == "ah.session.ended.v1").unwrap();
    let coverage = &end["data"]["coverage"];
    assert!(coverage["skipped"]["paused_secs"].as_f64().unwrap() > 3.0, "{coverage}");
    assert_eq!(coverage["lost"]["outage_secs"], 0.0, "{coverage}");
}

#[test]
fn a_withdrawal_leaves_nothing_but_its_receipt_and_no_byte_goes_out_after_it() {
    let joining = Joining::new("");
    joining.consent();
    let events = joining.service.follow("/v1/events", &joining.operator);
    let (browser, _) = joining.join(talk(40.0));
    events.wait_for("an alert", |told| told.kind == "ah.alert.raised.v1");
    // The next window hangs at the judges when consent is withdrawn.
    joining.endpoint.set(Mode::Slow);
    joining.endpoint.wait_for(LIMIT, |_| joining.endpoint.in_flight() == 3);
    let began = Instant::now();
    let receipt = joining.act("withdraw").ok().json();
    let took = began.elapsed();
    let asked = joining.endpoint.requests().len();
    wait_until(LIMIT, "the requests to be dropped", || (joining.endpoint.in_flight() == 0).then_some(()));
    assert!(took < Duration::from_secs(1), "{took:?}: withdrawing takes effect within a second");
    assert!(receipt["windows_deleted"].as_u64().unwrap() >= 1 && receipt["alerts_deleted"].as_u64().unwrap() >= 1);
    events.wait_for("the last word", |told| told.kind == "ah.session.withdrawn.v1");
    wait_until(LIMIT, "the browser to be sent away", || {
        browser.seen.closed.load(std::sync::atomic::Ordering::SeqCst).then_some(())
    });
    browser.vanish();
    assert_eq!(joining.endpoint.requests().len(), asked, "somebody was asked after the withdrawal");
    let of_session: Vec<_> = events.told().into_iter().filter(|told| told.data["subject"] == *joining.id).collect();
    assert_eq!(of_session.last().unwrap().kind, "ah.session.withdrawn.v1");

    // What is left: that there was a session, and the receipt.
    let path = format!("/v1/sessions/{}", joining.id);
    let left = joining.service.get(&path, &joining.operator).ok().json();
    assert_eq!((&left["state"], left.get("labels"), &left["last_window"]), (&json!("withdrawn"), None, &Value::Null));
    assert_eq!(joining.service.get(&format!("{path}/receipt"), &joining.operator).ok().json(), receipt);
    let windows = joining.service.get(&format!("{path}/windows"), &joining.operator).ok().json();
    assert_eq!(windows["windows"], json!([]));
    let alerts = joining.service.get("/v1/alerts", &joining.operator).ok().json();
    assert_eq!(alerts["alerts"], json!([]));
    let bytes = joining.service.journal_bytes();
    let events = ["\"ah.window.judged.v1\"", "\"ah.alert.raised.v1\"", "\"ah.episode.opened.v1\"", "session_maxima"];
    for word in events {
        let there = bytes.windows(word.len()).filter(|part| part == &word.as_bytes()).count();
        assert_eq!(there, 0, "{word} is still in the journal's files");
    }
    // A second click, and a late one, change nothing.
    assert_eq!(joining.act("withdraw").ok().json()["id"], receipt["id"]);
    joining.act("pause").refused(409);
    assert!(!joining.service.stop().stderr.contains(&joining.participant));
}

#[test]
fn what_is_no_offer_of_a_browser_is_refused_in_one_clear_answer() {
    let joining = Joining::new("");
    joining.consent();
    joining.offer("v=0").refused(400);
    joining.offer(&"a".repeat(100_000)).refused(413);
    let huge = vec![b'a'; 2_000_000];
    let path = format!("/whip/{}", joining.id);
    let ask = |kind, body: &[u8]| joining.service.ask("POST", &path, &joining.participant, Some((kind, body)));
    ask("application/sdp", &huge).refused(413);
    ask("application/json", b"{}").refused(415);
    ask("application/sdp", &[0xff, 0xfe]).refused(400);
    let neither = Offering::of(Coding::Vp8, true, true).sdp.replace("VP8", "AV1").replace("opus", "speex");
    joining.offer(&neither).refused(422);
    joining.service.ask("POST", "/whip/unknown", &joining.operator, Some(("application/sdp", b"v=0"))).refused(409);
    // Sound alone, and pictures alone, are taken with what they have.
    for (audio, video) in [(true, false), (false, true)] {
        assert_eq!(joining.offer(&Offering::of(Coding::Vp8, audio, video).sdp).status, 201, "{audio} {video}");
    }
}

/// A session of a browser: its id and its participant's token.
fn invited(service: &Service, operator: &str) -> (String, String) {
    let wish = json!({ "source": { "kind": "webrtc" }, "purpose": "health_care" });
    let made = service.post("/v1/sessions", operator, &wish).ok().json();
    let text = |key: &str| made[key].as_str().unwrap().to_owned();
    (text("id"), text("join_token"))
}

#[test]
fn with_an_expired_or_anothers_token_nobody_joins() {
    // Links are valid for 3.6 s.
    let service = Service::start_so("requests_per_second = 10000\njoin_hours = 0.001", "");
    let operator = service.token("op", "operator");
    let (id, token) = invited(&service, &operator);
    let offer = |token: &str| {
        let sdp = Offering::new(Coding::Vp8).sdp;
        service.ask("POST", &format!("/whip/{id}"), token, Some(("application/sdp", sdp.as_bytes())))
    };
    let (_, other) = invited(&service, &operator);
    // Whether another's session exists is not told.
    offer(&other).refused(404);
    offer(&service.token("looker", "viewer")).refused(403);
    let told = wait_until(LIMIT, "the link to expire", || Some(offer(&token)).filter(|answer| answer.status != 403));
    assert!(told.refused(401)["detail"].as_str().unwrap().contains("expired"), "{}", told.text);
}

#[test]
fn who_has_consented_can_still_stop_and_withdraw_when_their_link_is_older_than_it_was_valid() {
    // Links are valid for 3.6 s.
    let service = Service::start_so("requests_per_second = 10000\njoin_hours = 0.001", "");
    let operator = service.token("op", "operator");
    let [(id, token), (late, never)] = [invited(&service, &operator), invited(&service, &operator)];
    let page = service.get("/v1/join", &token).ok().json();
    let agreement = json!({ "text_version": page["text_version"], "language": "en" });
    service.post(&format!("/v1/sessions/{id}/consent"), &token, &agreement).ok();
    // Made after the other one, which so is over as well.
    wait_until(LIMIT, "the links to expire", || (service.get("/v1/join", &never).status == 401).then_some(()));
    service.post(&format!("/v1/sessions/{late}/consent"), &never, &agreement).refused(401);
    service.get("/v1/join", &token).ok();
    service.post(&format!("/v1/sessions/{late}/withdraw"), &token, &json!({})).refused(404);
    let receipt = service.post(&format!("/v1/sessions/{id}/withdraw"), &token, &json!({})).ok().json();
    assert_eq!(service.get(&format!("/v1/sessions/{id}/receipt"), &token).ok().json()["id"], receipt["id"]);
    service.get("/v1/sessions", &token).refused(403);
}

#[test]
fn one_session_more_than_there_may_be_is_told_to_wait() {
    let service = Service::start_so("max_sessions = 2", "");
    let operator = service.token("op", "operator");
    let (first, _) = invited(&service, &operator);
    let _ = invited(&service, &operator);
    let wish = json!({ "source": { "kind": "webrtc" }, "purpose": "health_care" });
    let refused = service.post("/v1/sessions", &operator, &wish);
    let problem = refused.refused(503);
    assert!(problem["detail"].as_str().unwrap().contains("[server] max_sessions"), "{problem}");
    assert_eq!(refused.header("retry-after"), "30");
    service.post(&format!("/v1/sessions/{first}/end"), &operator, &json!({})).ok();
    let _ = invited(&service, &operator);
}
