//! The client against real HTTP servers on loopback: every way an endpoint can answer, or not.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ahwatch::config::{Config, Judging, Overrides, RawConfig};
use ahwatch::encode::{Clip, ClipSet};
use ahwatch::judge::panel::{Due, Panel};
use ahwatch::judge::{AbstentionReason, Answer, Vote};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;

/// What a handler gets: the number of the request from 0, and the request.
pub struct Call {
    pub number: usize,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

pub struct Server {
    pub url: String,
    hits: Arc<AtomicUsize>,
}

impl Server {
    pub fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }
}

pub async fn serve<F>(respond: impl Fn(Call) -> F + Clone + Send + Sync + 'static) -> Server
where
    F: Future<Output = Response> + Send + 'static,
{
    let hits = Arc::new(AtomicUsize::new(0));
    let count = hits.clone();
    // Only what is posted counts: a judge may look which models there are.
    let app = Router::new().fallback(post(move |uri: Uri, headers: HeaderMap, body: Bytes| {
        respond(Call { number: count.fetch_add(1, Ordering::SeqCst), uri, headers, body })
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    Server { url, hits }
}

/// A server that writes these bytes to each request and closes.
pub async fn serve_raw(reply: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut seen = Vec::new();
            // The test clips' requests end like this.
            while !seen.ends_with(b"}") && stream.read_buf(&mut seen).await.is_ok_and(|n| n > 0) {}
            stream.write_all(reply.as_bytes()).await.ok();
        }
    });
    url
}

pub fn panel_of(tables: &str) -> Panel {
    let raw = RawConfig::parse(tables, Path::new("test.toml"));
    let env = |name: &str| (name == "TEST_KEY").then(|| "sk-secret-123".to_owned());
    match Config::build(raw, Overrides::default(), &env).unwrap().judging {
        Judging::Panel(judges) => Panel::new(&judges).unwrap(),
        Judging::Cues { .. } => panic!("no judge"),
    }
}

pub fn judge_table(name: &str, url: &str, more: &str) -> String {
    // A deadline that only matters where a test sets its own: long, so that a slow machine changes no outcome.
    let deadline = if more.contains("deadline_ms") { "" } else { "deadline_ms = 30000\n" };
    format!("[[judge]]\nname = \"{name}\"\nbase_url = \"{url}\"\nmodel = \"m\"\n{deadline}{more}\n")
}

pub fn clips() -> ClipSet {
    let mut clips = ClipSet::new();
    clips.insert(
        786_432,
        Arc::new(Clip::new(Some(Bytes::from_static(b"mp4 bytes")), Some(Bytes::from_static(b"wav bytes")))),
    );
    clips
}

pub async fn ask(url: &str, more: &str) -> Vote {
    panel_of(&judge_table("v1", url, more)).judge(&clips(), &[true], Due::After(Instant::now())).await.remove(0)
}

pub fn completion(text: &str, finish: &str) -> Response {
    json_reply(
        200,
        &json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}]}),
    )
}

pub fn json_reply(status: u16, body: &Value) -> Response {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

#[track_caller]
pub fn abstained(vote: &Vote, reason: AbstentionReason, detail: &str) {
    match &vote.answer {
        Answer::Abstained(abstention) => {
            assert_eq!(abstention.reason, reason, "{abstention:?}");
            assert!(abstention.detail.contains(detail), "{abstention:?}");
            assert!(!format!("{vote:?}").contains("sk-secret"), "{vote:?}");
        }
        other => panic!("{other:?} instead of {reason:?}"),
    }
}

#[tokio::test]
async fn an_answer_is_a_vote() {
    let server = serve(|call| async move {
        assert_eq!(call.uri.path(), "/v1/chat/completions");
        assert_eq!(call.headers["authorization"], "Bearer sk-secret-123");
        assert!(call.headers["user-agent"].to_str().unwrap().starts_with("ahwatch/"));
        assert_eq!(call.headers["content-length"].to_str().unwrap(), call.body.len().to_string());
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        let content = &body["messages"][1]["content"];
        assert_eq!(content[1]["video_url"]["url"], "data:video/mp4;base64,bXA0IGJ5dGVz");
        assert_eq!(content[3]["audio_url"]["url"], "data:audio/wav;base64,d2F2IGJ5dGVz");
        completion(if call.number == 0 { "<answer>Yes</answer>" } else { "\n<answer> no </answer>" }, "stop")
    })
    .await;
    let vote = ask(&server.url, "api_key_env = \"TEST_KEY\"").await;
    assert_eq!((&vote.answer, vote.attempts, vote.raw.as_deref()), (&Answer::Present, 1, Some("<answer>Yes</answer>")));
    assert_eq!(vote.score, None);
    assert_eq!(ask(&format!("{}/", server.url), "api_key_env = \"TEST_KEY\"").await.answer, Answer::Absent);
}

#[tokio::test]
async fn what_is_no_answer_abstains_at_once() {
    type Case = (fn() -> Response, AbstentionReason, &'static str);
    use AbstentionReason as R;
    let html = || ([("content-type", "text/html")], "<html>Sign in</html>").into_response();
    let cases: Vec<Case> = vec![
        (|| completion("maybe", "stop"), R::Unparsable, "(5 characters)"),
        (|| completion("<answer>Yes</answer>", "length"), R::Truncated, "\"length\""),
        (|| completion("<answer>Yes</answer>", "abort"), R::Truncated, "\"abort\""),
        (
            || json_reply(200, &json!({"choices": [{"message": {"content": "<answer>Yes</answer>"}}]})),
            R::Truncated,
            "none",
        ),
        (
            || json_reply(200, &json!({"choices": [{"message": {"content": null}, "finish_reason": "stop"}]})),
            R::Unparsable,
            "",
        ),
        (|| json_reply(200, &json!({"choices": []})), R::NotACompletion, "application/json"),
        (html, R::NotACompletion, "text/html, 20 bytes"),
        (|| ([("content-type", "application/json")], "{\"choices\":[{").into_response(), R::NotACompletion, ""),
        (|| json_reply(401, &json!({"error": "Unauthorized"})), R::Unauthorized, "check api_key_env"),
        (|| json_reply(403, &json!({"error": {"message": "key sk-secret-123 is blocked"}})), R::Unauthorized, "403"),
        (
            || json_reply(404, &json!({"error": {"message": "The model `m` does not exist."}})),
            R::UnknownModel,
            "The model `m`",
        ),
        (
            || json_reply(404, &json!({"detail": "Not Found"})),
            R::UnknownModel,
            "Not Found; check that base_url is right",
        ),
        (
            || json_reply(400, &json!({"message": "`m` is not in the model_list: `['base']`."})),
            R::UnknownModel,
            "model_list",
        ),
        (|| json_reply(400, &json!({"error": {"message": "no sk-secret-123"}})), R::Refused, "no ***"),
        (|| json_reply(422, &json!({"detail": [{"msg": "bad"}]})), R::Refused, "422: bad"),
        (|| json_reply(200, &json!({"junk": "x".repeat(2 << 20)})), R::NotACompletion, "more than"),
    ];
    for (respond, reason, detail) in cases {
        let server = serve(move |_| async move { respond() }).await;
        let vote = ask(&server.url, "api_key_env = \"TEST_KEY\"").await;
        abstained(&vote, reason, detail);
        assert_eq!((vote.attempts, server.hits()), (1, 1), "{reason:?}");
    }
}

#[tokio::test]
async fn a_stream_without_end_is_cut() {
    let server = serve(|_| async {
        let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 4096])));
        Response::new(Body::from_stream(endless))
    })
    .await;
    abstained(&ask(&server.url, "").await, AbstentionReason::NotACompletion, "more than");
}

#[tokio::test]
async fn passing_trouble_is_retried() {
    let server = serve(|call| async move {
        match call.number {
            0 => json_reply(500, &json!({"error": {"message": "EngineCore encountered an issue"}})),
            1 => json_reply(503, &json!({})),
            2 => ([("retry-after", "0")], "").into_response().map_status(429),
            _ => completion("<answer>No</answer>", "stop"),
        }
    })
    .await;
    let vote = ask(&server.url, "").await;
    assert_eq!((&vote.answer, vote.attempts, server.hits()), (&Answer::Absent, 4, 4));
}

pub trait MapStatus {
    fn map_status(self, status: u16) -> Response;
}

impl MapStatus for Response {
    fn map_status(mut self, status: u16) -> Response {
        *self.status_mut() = status.try_into().unwrap();
        self
    }
}

#[tokio::test]
async fn lasting_trouble_abstains_with_the_last_reason_by_the_deadline() {
    let server = serve(|_| async { json_reply(502, &json!({"error": {"message": "down"}})) }).await;
    let started = Instant::now();
    let vote = ask(&server.url, "deadline_ms = 2000").await;
    abstained(&vote, AbstentionReason::ServerError, "502: down; ");
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(vote.attempts as usize, server.hits());
}

#[tokio::test]
async fn a_server_that_asks_for_more_time_than_there_is_is_left_alone_until_then() {
    let server = serve(|_| async { ([("retry-after", "60")], "").into_response().map_status(429) }).await;
    let panel = panel_of(&judge_table("v1", &server.url, ""));
    let first = panel.judge(&clips(), &[], Due::After(Instant::now())).await;
    abstained(&first[0], AbstentionReason::RateLimited, "429; 1 requests, no time for another");
    let second = panel.judge(&clips(), &[], Due::After(Instant::now())).await;
    abstained(&second[0], AbstentionReason::RateLimited, "this judge pauses for another");
    assert_eq!((second[0].attempts, server.hits()), (0, 1));
}

#[tokio::test]
async fn a_slow_server_costs_the_deadline_and_no_more() {
    let server = serve(|_| std::future::pending()).await;
    let vote = ask(&server.url, "deadline_ms = 1000").await;
    abstained(&vote, AbstentionReason::Deadline, "no answer within 1000 ms");
    assert_eq!(vote.attempts, 1);
    // A deadline counts from the window's end, not from the asking.
    let panel = panel_of(&judge_table("v1", &server.url, "deadline_ms = 1000"));
    let past = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
    let vote = panel.judge(&clips(), &[], Due::After(past)).await.remove(0);
    abstained(&vote, AbstentionReason::Deadline, "no request was sent");
    assert_eq!((vote.attempts, server.hits()), (0, 1));
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    // Bound, so that nobody else gets the port, but not listening.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let port = socket.local_addr().unwrap().port();
    let vote = ask(&format!("http://127.0.0.1:{port}/v1"), "deadline_ms = 2000").await;
    abstained(&vote, AbstentionReason::Unreachable, &format!("cannot connect to 127.0.0.1:{port}: Connection refused"));
}

#[tokio::test]
async fn a_cut_body_is_a_broken_connection() {
    let url =
        serve_raw("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5000\r\n\r\n{\"choices\": [")
            .await;
    let vote = ask(&url, "deadline_ms = 2000").await;
    abstained(&vote, AbstentionReason::Unreachable, "the connection broke with 127.0.0.1:");
    let url = serve_raw("SSH-2.0-OpenSSH\r\n").await;
    abstained(&ask(&url, "deadline_ms = 2000").await, AbstentionReason::Unreachable, "127.0.0.1");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = serve(|_| async { completion("<answer>Yes</answer>", "stop") }).await;
    let location = format!("{}/chat/completions", target.url);
    let server = serve(move |_| {
        let location = location.clone();
        async move { ([("location", location)], "").into_response().map_status(307) }
    })
    .await;
    abstained(&ask(&server.url, "").await, AbstentionReason::Refused, "redirect");
    assert_eq!(target.hits(), 0);
}

fn scored(text: &str, decision: &str, own: f64, other: (&str, f64)) -> Response {
    let token =
        |token: &str, logprob: f64| json!({"token": token, "logprob": logprob, "bytes": null, "top_logprobs": []});
    let mut at = token(decision, own);
    at["top_logprobs"] = json!([{"token": decision, "logprob": own}, {"token": other.0, "logprob": other.1}]);
    let logprobs = json!({"content": [token("<", 0.0), token("answer", 0.0), at, token("</", 0.0)]});
    json_reply(
        200,
        &json!({"choices": [{"message": {"content": text}, "finish_reason": "stop", "logprobs": logprobs}]}),
    )
}

#[tokio::test]
async fn a_threshold_decides_by_p_yes_and_needs_it() {
    let server = serve(|call| async move {
        let body: Value = serde_json::from_slice(&call.body).unwrap();
        assert_eq!((&body["logprobs"], &body["top_logprobs"]), (&json!(true), &json!(20)));
        scored("<answer>No</answer>", ">No", 0.6_f64.ln(), (">", 0.3_f64.ln()))
    })
    .await;
    let vote = ask(&server.url, "score = true").await;
    let score = vote.score.unwrap();
    assert!((score.p_yes - 1.0 / 3.0).abs() < 1e-9 && (score.label_mass.unwrap() - 0.9).abs() < 1e-9);
    assert_eq!(vote.answer, Answer::Absent);
    assert_eq!(ask(&server.url, "score = true\nthreshold = 0.3").await.answer, Answer::Present);
    assert_eq!(ask(&server.url, "score = true\nthreshold = 0.34").await.answer, Answer::Absent);
    assert_eq!(ask(&server.url, "score = true\nconstrain = true").await.score.unwrap().label_mass, None);

    let silent = serve(|_| async { completion("<answer>Yes</answer>", "stop") }).await;
    let vote = ask(&silent.url, "score = true").await;
    assert_eq!((vote.answer, vote.score), (Answer::Present, None));
    let vote = ask(&silent.url, "score = true\nthreshold = 0.5").await;
    abstained(&vote, AbstentionReason::NoScore, "a threshold is set, but the server sent no log-probabilities");
}

#[tokio::test]
async fn https_is_set_up_with_the_systems_certificates_and_http_without() {
    let server = serve(|_| async { completion("<answer>Yes</answer>", "stop") }).await;
    // Plain http spoken where https is expected: no answer, no downgrade.
    let url = server.url.replace("http://", "https://");
    abstained(&ask(&url, "deadline_ms = 2000").await, AbstentionReason::Unreachable, "cannot connect to 127.0.0.1");
    assert_eq!(server.hits(), 0);
}

#[tokio::test]
async fn a_panel_votes_in_order_and_leaves_out_who_is_not_asked() {
    let server = serve(|_| async { completion("<answer>Yes</answer>", "stop") }).await;
    let tables = ["a", "b", "c"].map(|name| judge_table(name, &server.url, "")).concat();
    let votes = panel_of(&tables).judge(&clips(), &[true, false, true], Due::After(Instant::now())).await;
    let answers: Vec<_> = votes.iter().map(|vote| (vote.judge.as_ref(), &vote.answer)).collect();
    assert_eq!(answers, [("a", &Answer::Present), ("b", &Answer::NotAsked), ("c", &Answer::Present)]);
    assert_eq!(server.hits(), 2);
}

#[tokio::test]
async fn media_that_are_missing_cost_no_request() {
    let server = serve(|_| async { completion("<answer>Yes</answer>", "stop") }).await;
    let tables = [
        judge_table("both", &server.url, ""),
        judge_table("ears", &server.url, "accepts = [\"audio\"]\nmax_pixels = 20000"),
        judge_table("small", &server.url, "max_pixels = 20000"),
    ]
    .concat();
    let panel = panel_of(&tables);
    assert_eq!(panel.clip_sizes().into_iter().collect::<Vec<_>>(), [20_000, 786_432]);
    let mut clips = ClipSet::new();
    clips.insert(786_432, Arc::new(Clip::new(None, Some(Bytes::from_static(b"wav")))));
    let votes = panel.judge(&clips, &[], Due::After(Instant::now())).await;
    abstained(&votes[0], AbstentionReason::NoVideo, "no pictures");
    assert_eq!(votes[1].answer, Answer::Present);
    abstained(&votes[2], AbstentionReason::Encoding, "no clip");
    assert_eq!(server.hits(), 1);
}

#[tokio::test]
async fn judges_of_one_endpoint_share_its_places_and_wait_on_their_deadline() {
    let busy = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let seen = busy.clone();
    let server = serve(move |_| {
        let busy = busy.clone();
        async move {
            let now = busy.0.fetch_add(1, Ordering::SeqCst) + 1;
            busy.1.fetch_max(now, Ordering::SeqCst);
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            busy.0.fetch_sub(1, Ordering::SeqCst);
            completion("<answer>No</answer>", "stop")
        }
    })
    .await;
    let tables = ["a", "b", "c"].map(|name| judge_table(name, &server.url, "max_in_flight = 1")).concat();
    let votes = panel_of(&tables).judge(&clips(), &[], Due::After(Instant::now())).await;
    assert!(votes.iter().all(|vote| vote.answer == Answer::Absent));
    assert_eq!(seen.1.load(Ordering::SeqCst), 1);

    let stuck = serve(|_| std::future::pending()).await;
    let tables =
        ["a", "b", "c"].map(|name| judge_table(name, &stuck.url, "max_in_flight = 1\ndeadline_ms = 1500")).concat();
    let votes = panel_of(&tables).judge(&clips(), &[], Due::After(Instant::now())).await;
    let attempts: u32 = votes.iter().map(|vote| vote.attempts).sum();
    assert_eq!((attempts, stuck.hits()), (1, 1));
    for vote in &votes {
        abstained(vote, AbstentionReason::Deadline, "no answer within 1500 ms");
    }
}

/// Every exchange recorded from real servers (vLLM 0.32.0, ms-swift 4.6.0; tiny random models, so nearly all answers are
/// noise), served again byte for byte; a recorded body that is a string was cut when it was recorded.
#[tokio::test]
async fn recorded_exchanges_are_understood() {
    let recorded = include_str!("../fixtures/endpoint/recorded.jsonl");
    let mut outcomes = String::new();
    for line in recorded.lines() {
        let exchange: Value = serde_json::from_str(line).unwrap();
        let (name, server) = (exchange["name"].as_str().unwrap(), exchange["server"].as_str().unwrap());
        let status = exchange["status"].as_u64().unwrap();
        let endpoint = {
            let exchange = exchange.clone();
            serve(move |_| {
                let body = exchange["body"].as_str().map_or_else(|| exchange["body"].to_string(), str::to_owned);
                let mut reply = Response::builder().status(u16::try_from(status).unwrap());
                for (key, value) in exchange["headers"].as_object().unwrap() {
                    reply = reply.header(key, value.as_str().unwrap());
                }
                std::future::ready(reply.body(Body::from(body)).unwrap())
            })
            .await
        };
        let vote = ask(&endpoint.url, if status == 500 { "deadline_ms = 2000" } else { "" }).await;
        let outcome = match &vote.answer {
            Answer::Present => "PRESENT".to_owned(),
            Answer::Absent => "ABSENT".to_owned(),
            Answer::NotAsked => "NOT ASKED".to_owned(),
            Answer::Abstained(abstention) => {
                assert!(
                    abstention.detail.len() < 300 && !abstention.detail.contains("/9j/"),
                    "{name}: {}",
                    abstention.detail
                );
                // How many requests fit before the deadline is chance.
                let detail = abstention.detail.split(" requests, no time").next().unwrap();
                let detail = detail.rsplit_once("; ").filter(|_| status == 500).map_or(detail, |(detail, _)| detail);
                format!("{}: {detail}", abstention.reason.as_str())
            }
        };
        writeln!(outcomes, "{status} {name} [{server}]: {outcome}").unwrap();
    }
    insta::assert_snapshot!(outcomes);
}
