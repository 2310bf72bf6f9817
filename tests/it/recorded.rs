//! What real servers answered in `make conformance`, and what they never did, put to the client again.
//!
//! `tests/fixtures/endpoint/conformance.jsonl` is written by `make conformance RECORD=1`, media elided; `hand-made.jsonl` beside
//! it holds statuses those servers did not give.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use ahwatch::config::{Config, Judging, Overrides, RawConfig};
use ahwatch::encode::{Clip, ClipSet};
use ahwatch::judge::panel::{Due, Panel};
use ahwatch::judge::{Answer, Vote};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use serde_json::Value;
use tokio::time::Instant;

fn exchanges(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/endpoint").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Serves one exchange, whatever it is asked.
async fn serve(exchange: &Value) -> String {
    let body = exchange["body"].as_str().map_or_else(|| exchange["body"].to_string(), str::to_owned);
    let status = u16::try_from(exchange["status"].as_u64().unwrap()).unwrap();
    let headers: BTreeMap<String, String> = serde_json::from_value(exchange["headers"].clone()).unwrap();
    let app = Router::new().fallback(move || {
        let mut reply = Response::builder().status(status);
        for (key, value) in &headers {
            reply = reply.header(key, value);
        }
        std::future::ready(reply.body(Body::from(body.clone())).unwrap())
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

/// The client's vote, asking as it was asked when this was recorded.
async fn vote(exchange: &Value) -> Vote {
    let url = serve(exchange).await;
    let request = &exchange["request"];
    let (constrain, score) = (!request["structured_outputs"].is_null(), request["logprobs"] == true);
    // What is tried again would be tried until the deadline; how often is chance, and not shown.
    let tried_again = exchange["status"].as_u64().is_some_and(|status| status == 429 || status >= 500);
    let deadline = if tried_again { 1000 } else { 30_000 };
    let table = format!(
        "[[judge]]\nname = \"v1\"\nbase_url = \"{url}\"\nmodel = \"m\"\ndeadline_ms = {deadline}\nconstrain = {constrain}\nscore = {score}\n"
    );
    let raw = RawConfig::parse(&table, Path::new("test.toml"));
    let Judging::Panel(judges) = Config::build(raw, Overrides::default(), &|_| None).unwrap().judging else {
        panic!("no judge")
    };
    let clip = Clip::new(Some(Bytes::from_static(b"mp4 bytes")), Some(Bytes::from_static(b"wav bytes")));
    let mut clips = ClipSet::new();
    clips.insert(786_432, Arc::new(clip));
    Panel::new(&judges).unwrap().judge(&clips, &[], Due::After(Instant::now())).await.remove(0)
}

fn told(vote: &Vote) -> String {
    let score = vote.score.map_or_else(String::new, |score| format!(", P(Yes) {:.4}", score.p_yes));
    match &vote.answer {
        Answer::Present => format!("PRESENT{score}"),
        Answer::Absent => format!("ABSENT{score}"),
        Answer::NotAsked => "not asked".to_owned(),
        Answer::Abstained(why) => {
            let detail = why.detail.split("; ").next().unwrap_or_default();
            assert!(why.detail.len() < 400 && !why.detail.contains("/9j/"), "{}", why.detail);
            format!("{}: {detail}", why.reason.as_str())
        }
    }
}

async fn outcomes(file: &str) -> String {
    let mut outcomes = String::new();
    for exchange in exchanges(file) {
        let vote = vote(&exchange).await;
        let (name, server) = (exchange["name"].as_str().unwrap(), exchange["server"].as_str().unwrap());
        writeln!(outcomes, "{} {name} [{server}]: {}", exchange["status"], told(&vote)).unwrap();
    }
    outcomes
}

/// vLLM 0.32.0 and ms-swift 4.6.0 with tiny random models: votes come from constrained answers alone.
#[tokio::test]
async fn what_real_servers_answered_is_understood() {
    insta::assert_snapshot!(outcomes("conformance.jsonl").await);
}

#[tokio::test]
async fn what_they_never_answered_is_understood() {
    let outcomes = outcomes("hand-made.jsonl").await;
    assert!(!outcomes.contains("PRESENT") && !outcomes.contains("ABSENT"), "{outcomes}");
    insta::assert_snapshot!(outcomes);
}

#[test]
fn fixtures_say_where_they_are_from_and_hold_no_media() {
    let real = |server: &str| server.starts_with("vLLM ") || server.starts_with("swift deploy ");
    for exchange in exchanges("conformance.jsonl") {
        assert!(real(exchange["server"].as_str().unwrap()), "{}", exchange["name"]);
        assert!(exchange.to_string().len() < 100_000, "{} is long", exchange["name"]);
    }
    for exchange in exchanges("hand-made.jsonl") {
        assert_eq!(exchange["server"], "hand-made", "{}", exchange["name"]);
    }
}
