//! Every route with every role. A route that is not in the table, or is in it and not there, fails.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::kit::service::{Service, forged};

/// Who may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum May {
    /// Whoever asks.
    Anybody,
    /// Whoever has a token.
    Known,
    /// Who has at least this role; no participant.
    Least(Role),
    /// The session's participant, and who has at least this role. To another participant the session is not there.
    Own(Role),
    /// The session's participant and nobody else, whatever their role. `true`: it is about one session.
    Participant(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Viewer,
    Operator,
    Admin,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Nobody,
    Forged,
    /// The participant of another session.
    Foreign,
    /// The participant of this one.
    Own,
    Has(Role),
}

const CALLERS: [Caller; 7] = [
    Caller::Nobody,
    Caller::Forged,
    Caller::Foreign,
    Caller::Own,
    Caller::Has(Viewer),
    Caller::Has(Operator),
    Caller::Has(Admin),
];

use May::{Anybody, Known, Least, Own, Participant};
use Role::{Admin, Operator, Viewer};

/// The table. `{id}` is a session of a browser, but for alerts.
const ROUTES: [(&str, &str, May); 43] = [
    ("GET", "/v1/sessions", Least(Viewer)),
    ("POST", "/v1/sessions", Least(Operator)),
    ("GET", "/v1/sessions/{id}", Own(Viewer)),
    ("GET", "/v1/sessions/{id}/windows", Least(Viewer)),
    ("GET", "/v1/sessions/{id}/alerts", Least(Viewer)),
    ("GET", "/v1/sessions/{id}/events", Least(Viewer)),
    ("GET", "/v1/sessions/{id}/receipt", Own(Viewer)),
    ("POST", "/v1/sessions/{id}/consent", Participant(true)),
    ("POST", "/v1/sessions/{id}/pause", Own(Operator)),
    ("POST", "/v1/sessions/{id}/resume", Own(Operator)),
    ("POST", "/v1/sessions/{id}/end", Own(Operator)),
    ("POST", "/v1/sessions/{id}/withdraw", Own(Operator)),
    ("GET", "/v1/events", Least(Viewer)),
    ("GET", "/v1/alerts", Least(Viewer)),
    ("POST", "/v1/alerts/{id}/feedback", Least(Operator)),
    ("GET", "/v1/audit", Least(Admin)),
    ("GET", "/v1/judges", Least(Viewer)),
    ("GET", "/v1/sinks", Least(Viewer)),
    ("GET", "/v1/sinks/{name}/dead-letters", Least(Viewer)),
    ("POST", "/v1/sinks/{name}/dead-letters/resend", Least(Operator)),
    ("DELETE", "/v1/sinks/{name}", Least(Admin)),
    ("GET", "/v1/join", Participant(false)),
    ("GET", "/v1/me", Known),
    ("GET", "/v1/version", Known),
    ("GET", "/metrics", Least(Viewer)),
    ("GET", "/readyz", Least(Viewer)),
    ("GET", "/livez", Anybody),
    // Beyond the document: itself, WHIP (RFC 9725), pages.
    ("GET", "/v1/openapi.json", Known),
    ("POST", "/whip/{session}", Own(Operator)),
    ("PATCH", "/whip/{session}/{resource}", Own(Operator)),
    ("DELETE", "/whip/{session}/{resource}", Own(Operator)),
    ("GET", "/", Least(Viewer)),
    ("GET", "/dashboard/{file}", Least(Viewer)),
    ("GET", "/signin/{file}", Anybody),
    ("GET", "/join/{token}", Anybody),
    ("GET", "/join/static/{file}", Anybody),
    ("GET", "/join/static/texts/{file}", Anybody),
    // They take no token from a header: a form holds it, and the cookie goes.
    ("POST", "/login", Anybody),
    ("POST", "/logout", Anybody),
    // HEAD is GET without its body.
    ("HEAD", "/v1/sessions", Least(Viewer)),
    ("HEAD", "/v1/audit", Least(Admin)),
    ("HEAD", "/v1/sessions/{id}", Own(Viewer)),
    ("HEAD", "/metrics", Least(Viewer)),
];

/// The status of a refusal; None: they may.
fn refusal(may: May, caller: Caller) -> Option<u16> {
    match (may, caller) {
        (Anybody, _) => None,
        (_, Caller::Nobody | Caller::Forged) => Some(401),
        (Known, _) | (Own(_) | Participant(_), Caller::Own) | (Participant(false), Caller::Foreign) => None,
        (Least(_), Caller::Foreign | Caller::Own) | (Participant(_), Caller::Has(_)) => Some(403),
        (Own(_) | Participant(true), Caller::Foreign) => Some(404),
        (Least(needs) | Own(needs), Caller::Has(role)) => (role < needs).then_some(403),
    }
}

/// Its id, and its participant's token.
fn session(service: &Service, operator: &str) -> (String, String) {
    let wish = json!({ "source": { "kind": "webrtc" }, "purpose": "research" });
    let made = service.post("/v1/sessions", operator, &wish).ok().json();
    let text = |key: &str| made[key].as_str().unwrap().to_owned();
    (text("id"), text("join_token"))
}

/// Before that no media is taken, whoever brings it.
fn consent(service: &Service, id: &str, participant: &str) {
    let version = service.get("/v1/join", participant).ok().json()["text_version"].clone();
    let agreement = json!({ "text_version": version, "language": "en" });
    service.post(&format!("/v1/sessions/{id}/consent"), participant, &agreement).ok();
}

fn body(path: &str) -> (&'static str, String) {
    let json = |value: Value| ("application/json", value.to_string());
    match path {
        "/v1/sessions" => json(json!({ "source": { "kind": "webrtc" }, "purpose": "research" })),
        "/v1/sessions/{id}/consent" => json(json!({ "text_version": "none", "language": "en" })),
        "/v1/alerts/{id}/feedback" => json(json!({ "verdict": "confirmed" })),
        "/login" => ("application/x-www-form-urlencoded", "token=x".to_owned()),
        "/whip/{session}/{resource}" => ("application/trickle-ice-sdpfrag", "a=end-of-candidates".to_owned()),
        path if path.starts_with("/whip") => ("application/sdp", "v=0".to_owned()),
        _ => json(json!({})),
    }
}

#[test]
fn every_route_lets_in_whom_it_is_for_and_nobody_else() {
    let service = Service::start_so("requests_per_second = 10000\nmax_sessions = 4096", "");
    let tokens: BTreeMap<_, _> = ["viewer", "operator", "admin"].map(|role| (role, service.token(role, role))).into();
    let (operator, admin) = (&tokens["operator"], &tokens["admin"]);
    let forged = forged(admin);
    for (method, path, may) in ROUTES {
        for caller in CALLERS {
            // Who may changes what is asked about, so each has a session of their own.
            let (id, own) = session(&service, operator);
            let (_, foreign) = session(&service, operator);
            if path.starts_with("/whip") {
                consent(&service, &id, &own);
            }
            let token = match caller {
                Caller::Nobody => None,
                Caller::Forged => Some(&forged),
                Caller::Foreign => Some(&foreign),
                Caller::Own => Some(&own),
                Caller::Has(Viewer) => Some(&tokens["viewer"]),
                Caller::Has(Operator) => Some(operator),
                Caller::Has(Admin) => Some(admin),
            };
            let at = path
                .replace("{id}", &id)
                .replace("{session}", &id)
                .replace("{file}", "main.js")
                .replace("{name}", "desk");
            let at = at.replace("{resource}", "r").replace("{token}", "ahw_x");
            let headers: Vec<(&str, String)> =
                token.map(|token| ("authorization", format!("Bearer {token}"))).into_iter().collect();
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let (kind, body) = body(path);
            let body = matches!(method, "POST" | "PATCH").then_some((kind, body.as_bytes()));
            let status = service.status(method, &at, &headers, body);
            match refusal(may, caller) {
                // The page that has no use for them is the sign-in page.
                Some(_) if path == "/" => assert_eq!(status, 401, "{method} {path} by {caller:?}"),
                Some(refused) => assert_eq!(status, refused, "{method} {path} by {caller:?}"),
                // A form with a wrong token in it, and a file that is not there.
                None if path == "/login" => assert_eq!(status, 401),
                None if path == "/v1/sessions/{id}/receipt" => assert_eq!(status, 409, "none was withdrawn"),
                None => assert!(
                    ![401, 403, 405, 415, 429, 500].contains(&status),
                    "{method} {path} by {caller:?}: {status}"
                ),
            }
        }
    }
}

#[test]
fn the_table_is_of_all_routes_there_are() {
    let known: BTreeSet<(String, String)> = ROUTES
        .iter()
        .filter(|(method, ..)| *method != "HEAD")
        .map(|(m, path, _)| ((*m).to_owned(), (*path).to_owned()))
        .collect();
    let document = ahwatch::server::document();
    let mut all = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        all.extend(item.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())));
    }
    assert!(all.len() >= 24, "{all:?}");
    // What the document does not tell of stands in the sources as `.route("PATH", method(…`.
    for source in ["mod.rs", "media.rs", "pages.rs"] {
        let path = format!("{}/src/server/{source}", env!("CARGO_MANIFEST_DIR"));
        let text: String = std::fs::read_to_string(path).unwrap().split_whitespace().collect();
        for route in text.split(".route(\"").skip(1) {
            let (path, handler) = route.split_once("\",").unwrap();
            for method in ["get", "post", "patch", "delete", "put"] {
                let end = handler.find(".route(").unwrap_or(handler.len()).min(160);
                let first = handler.starts_with(&format!("{method}("))
                    || handler.starts_with(&format!("axum::routing::{method}("));
                if first || handler.get(..end).is_some_and(|text| text.contains(&format!(").{method}("))) {
                    all.insert((method.to_uppercase(), path.to_owned()));
                }
            }
        }
    }
    let (missing, gone): (Vec<_>, Vec<_>) = (all.difference(&known).collect(), known.difference(&all).collect());
    assert!(missing.is_empty() && gone.is_empty(), "not in the table: {missing:?}; not there any more: {gone:?}");
}

#[test]
fn whoever_tries_tokens_is_slowed_down_and_no_token_is_kept() {
    let service = Service::start_so("requests_per_second = 3", "");
    let admin = service.token("root", "admin");
    let forged = forged(&admin);
    let guess = || service.get("/v1/me", &forged);
    let answers: Vec<_> = (0..60).map(|_| guess()).collect();
    let of = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
    assert!(of(401) >= 30 && of(429) > 0 && of(401) + of(429) == 60, "{} refused, {} slowed down", of(401), of(429));
    let slowed = answers.iter().find(|answer| answer.status == 429).unwrap();
    slowed.refused(429);
    assert!(slowed.header("retry-after").parse::<u64>().unwrap() >= 1);
    // What is compared are hashes of 256 random bits: how far two of them agree says nothing of a token.
    let kept = service.journal_bytes();
    assert!(!kept.windows(20).any(|part| part == &admin.as_bytes()[4..24]), "the token stands in the journal");
    let hash = ahwatch::alert::journal::hash_of(&admin).unwrap();
    assert!(kept.windows(64).any(|part| part == hash.as_bytes()), "its hash does");
}
