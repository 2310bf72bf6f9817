//! Stands between client and server: passes every request on with further fields, and keeps what was said.
//!
//! So the client's own requests are what is looked at, with its own reading of the answer beside.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Response, Uri};
use reqwest::Client;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

/// A request as it went to the server, and its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The body, media and all.
    pub request: Value,
    /// The answer's status.
    pub status: u16,
    /// The answer's headers that matter to a client.
    pub headers: Map<String, Value>,
    /// The answer's body as text.
    pub text: String,
}

impl Exchange {
    /// The answer's body; null if it is no JSON.
    pub fn body(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The first token's top log-probabilities, best first, with their tokens.
    pub fn top(&self) -> Vec<(String, f64)> {
        let body = self.body();
        let top = body["choices"][0]["logprobs"]["content"][0]["top_logprobs"].as_array().cloned().unwrap_or_default();
        let of = |t: &Value| Some((t["token"].as_str()?.to_owned(), t["logprob"].as_f64()?));
        top.iter().filter_map(of).collect()
    }

    /// A line of the fixtures: media and long lists of numbers elided.
    pub fn line(&self, name: &str, server: &str) -> String {
        let body = match self.body() {
            Value::Null => Value::from(self.text.as_str()),
            body => elided(&body),
        };
        let line = json!({
            "name": name, "server": server, "request": elided(&self.request), "status": self.status,
            "headers": self.headers, "body": body,
        });
        line.to_string()
    }
}

/// What a fixture keeps of a value.
fn elided(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() > 2000 => {
            let start: String = text.chars().take(40).collect();
            Value::from(format!("{start}...<{} chars>", text.len()))
        }
        Value::Array(items) if items.len() > 64 && items.iter().all(Value::is_number) => {
            Value::from(format!("<{} numbers>", items.len()))
        }
        Value::Array(items) => items.iter().map(elided).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), elided(value))).collect(),
        other => other.clone(),
    }
}

struct Shared {
    target: String,
    http: Client,
    extra: Mutex<Value>,
    seen: Mutex<Vec<Exchange>>,
}

/// A tap before a server, on a port of loopback for as long as the runtime lives.
pub struct Tap {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Tap {
    /// Before the server at `base_url` (which ends in `/v1`).
    pub fn before(base_url: &str, runtime: &Runtime, http: &Client) -> Self {
        let target = base_url.strip_suffix("/v1").expect("ends in /v1").to_owned();
        let shared =
            Arc::new(Shared { target, http: http.clone(), extra: Mutex::new(json!({})), seen: Mutex::default() });
        let app = Router::new().fallback(pass).layer(DefaultBodyLimit::max(64 << 20)).with_state(Arc::clone(&shared));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("loopback");
        let address = listener.local_addr().expect("address");
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { address, shared }
    }

    /// As a judge's `base_url`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// From now on every request gets these fields too; what was seen before is forgotten.
    pub fn reset(&self, extra: Value) {
        *self.shared.extra.lock().unwrap_or_else(PoisonError::into_inner) = extra;
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What was seen since.
    pub fn seen(&self) -> Vec<Exchange> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn pass(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let mut request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let extra = shared.extra.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let (Some(fields), Some(extra)) = (request.as_object_mut(), extra.as_object()) {
        fields.extend(extra.clone());
    }
    let mut onward = shared.http.post(format!("{}{uri}", shared.target)).json(&request);
    if let Some(key) = headers.get("authorization") {
        onward = onward.header("authorization", key);
    }
    let answer = match onward.send().await {
        Ok(answer) => answer,
        Err(error) => {
            let body = Body::from(format!("tap: {error}"));
            return Response::builder().status(502).body(body).expect("a response");
        }
    };
    let status = answer.status().as_u16();
    let kept = ["content-type", "retry-after", "x-request-id"];
    let value = |name: &str| Some(Value::from(answer.headers().get(name)?.to_str().ok()?));
    let headers: Map<_, _> = kept.iter().filter_map(|name| Some(((*name).to_owned(), value(name)?))).collect();
    let text = answer.text().await.unwrap_or_default();
    let exchange = Exchange { request, status, headers: headers.clone(), text: text.clone() };
    shared.seen.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
    let mut reply = Response::builder().status(status);
    for (name, value) in &headers {
        reply = reply.header(name, value.as_str().unwrap_or_default());
    }
    reply.body(Body::from(text)).expect("a response")
}
