//! The test endpoint: a judge made of a decoder. **A stand-in**: it reads codes, it judges nobody.
//!
//! Real HTTP on loopback, speaking `/v1/models` and `/v1/chat/completions`. It decodes the MP4 and the WAV it is sent,
//! reads the frame codes and the tone codes, and says Yes only for what was planted in both (or as its [`Judge`] says).
//! What it saw is kept for the test to look at, and it can be made to fail in the ways servers fail.

use std::collections::{BTreeMap, HashMap};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

pub use super::behaviour::{Judge, Mode, Needs};
use super::clip::{self, Clip};
use super::senses;
pub use super::senses::{Counts, Senses};

/// One request to `/v1/chat/completions`.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its `model`.
    pub model: String,
    /// When it had arrived whole.
    pub arrived: Instant,
    /// Its headers; `authorization` as it was.
    pub headers: BTreeMap<String, String>,
    /// Its JSON, media elided to `<N bytes>`.
    pub json: Value,
    /// What its media held; `None` when it was refused before decoding.
    pub clip: Option<Clip>,
    /// Status it was answered with; `None` while it waits.
    pub status: Option<u16>,
    /// The answer given, or why there was none.
    pub answer: String,
}

struct Shared {
    judges: Mutex<BTreeMap<String, Judge>>,
    modes: Mutex<HashMap<String, Mode>>,
    senses: Mutex<HashMap<String, Senses>>,
    canaries: AtomicU64,
    version: Mutex<Option<String>>,
    key: Mutex<Option<String>>,
    seen: Mutex<Vec<Seen>>,
    given: Mutex<BTreeMap<(String, u16, String), u64>>,
    in_flight: watch::Sender<(usize, usize)>,
    released: watch::Sender<u64>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A running test endpoint; stops when dropped.
pub struct Endpoint {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Endpoint {
    /// Starts one on a free port, with one judge a model.
    pub fn start<'a>(judges: impl IntoIterator<Item = (&'a str, Judge)>) -> Self {
        Self::at(0, judges)
    }

    /// Starts one on `port` of loopback (0: a free one).
    pub fn at<'a>(port: u16, judges: impl IntoIterator<Item = (&'a str, Judge)>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("loopback port");
        listener.set_nonblocking(true).expect("non-blocking");
        let address = listener.local_addr().expect("address");
        let shared = Arc::new(Shared {
            judges: Mutex::new(judges.into_iter().map(|(model, judge)| (model.to_owned(), judge)).collect()),
            modes: Mutex::default(),
            senses: Mutex::default(),
            canaries: AtomicU64::new(0),
            version: Mutex::default(),
            key: Mutex::default(),
            seen: Mutex::default(),
            given: Mutex::default(),
            in_flight: watch::channel((0, 0)).0,
            released: watch::channel(0).0,
        });
        let (stop, stopped) = oneshot::channel();
        let routes = Router::new()
            .route("/v1/models", get(models))
            .route("/version", get(version))
            .route("/v1/chat/completions", post(chat))
            .layer(DefaultBodyLimit::max(64 << 20))
            .with_state(Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("listener");
                tokio::select! {
                    served = axum::serve(listener, routes) => served.expect("server"),
                    _ = stopped => (),
                }
            });
            runtime.shutdown_timeout(Duration::from_millis(200)); // open connections are dropped
        });
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens, as `base_url` wants it.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on every model behaves so.
    pub fn set(&self, mode: Mode) {
        let mut modes = locked(&self.shared.modes);
        modes.clear();
        modes.insert(String::new(), mode);
    }

    /// From now on this model behaves so.
    pub fn set_model(&self, model: &str, mode: Mode) {
        locked(&self.shared.modes).insert(model.to_owned(), mode);
    }

    /// From now on this model answers the canary so. By default it hears and sees.
    pub fn set_senses(&self, model: &str, senses: Senses) {
        locked(&self.shared.senses).insert(model.to_owned(), senses);
    }

    /// From now on it says of itself that it is vLLM of this version.
    pub fn set_version(&self, version: &str) {
        *locked(&self.shared.version) = Some(version.to_owned());
    }

    /// Canary requests so far. They are not among [`Endpoint::requests`], and no [`Mode`] holds for them.
    pub fn canaries(&self) -> u64 {
        self.shared.canaries.load(Ordering::SeqCst)
    }

    /// From now on only requests with this bearer key are served.
    pub fn require_key(&self, key: &str) {
        *locked(&self.shared.key) = Some(key.to_owned());
    }

    /// Requests held by [`Mode::Slow`] so far are answered.
    pub fn release(&self) {
        self.shared.released.send_modify(|count| *count += 1);
    }

    /// Everything it was asked, in order of arrival.
    pub fn requests(&self) -> Vec<Seen> {
        locked(&self.shared.seen).clone()
    }

    /// How many answers it has given, forgotten or not, by model, status and text.
    pub fn given(&self) -> BTreeMap<(String, u16, String), u64> {
        locked(&self.shared.given).clone()
    }

    /// Forgets what it was asked.
    pub fn forget(&self) {
        locked(&self.shared.seen).clear();
    }

    /// Most requests it has had in hand at once.
    pub fn peak_in_flight(&self) -> usize {
        self.shared.in_flight.borrow().1
    }

    /// Requests it has in hand: neither answered nor with their connection gone.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.borrow().0
    }

    /// Waits until `enough` holds of the requests, and returns them.
    ///
    /// # Panics
    /// At the limit.
    pub fn wait_for(&self, limit: Duration, enough: impl Fn(&[Seen]) -> bool) -> Vec<Seen> {
        super::wait_until(limit, "requests at the test endpoint", || {
            let seen = self.requests();
            enough(&seen).then_some(seen)
        })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn unauthorized(shared: &Shared, headers: &HeaderMap) -> Option<Response> {
    let key = locked(&shared.key).clone()?;
    let given = headers.get("authorization").and_then(|value| value.to_str().ok());
    let refused = given != Some(&format!("Bearer {key}"));
    refused.then(|| (StatusCode::UNAUTHORIZED, axum::Json(json!({"error": "Unauthorized"}))).into_response())
}

async fn models(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if let Some(refused) = unauthorized(&shared, &headers) {
        return refused;
    }
    let owner = if locked(&shared.version).is_some() { "vllm" } else { "test stand-in" };
    let data: Vec<_> =
        locked(&shared.judges).keys().map(|model| json!({"id": model, "object": "model", "owned_by": owner})).collect();
    axum::Json(json!({"object": "list", "data": data})).into_response()
}

/// Counts a request as in hand until it is answered or its connection is gone.
struct InHand<'a>(&'a Shared);

impl<'a> InHand<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.in_flight.send_modify(|(now, peak)| {
            *now += 1;
            *peak = (*peak).max(*now);
        });
        Self(shared)
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.in_flight.send_modify(|(now, _)| *now -= 1);
    }
}

async fn version(State(shared): State<Arc<Shared>>) -> Response {
    match locked(&shared.version).clone() {
        Some(version) => axum::Json(json!({"version": version})).into_response(),
        None => (StatusCode::NOT_FOUND, axum::Json(json!({"detail": "Not Found"}))).into_response(),
    }
}

/// A canary request, answered from what its clip holds.
fn canary(shared: &Shared, headers: &HeaderMap, model: &str, request: &Value) -> Response {
    if let Some(refused) = unauthorized(shared, headers) {
        return refused;
    }
    let nth = shared.canaries.fetch_add(1, Ordering::SeqCst);
    if !locked(&shared.judges).contains_key(model) {
        return unknown(shared, model).0;
    }
    let senses = locked(&shared.senses).get(model).copied().unwrap_or_default();
    match senses::sense(request) {
        Ok(sensed) => axum::Json(senses.reply(model, &sensed, nth)).into_response(),
        Err(message) => refused(StatusCode::BAD_REQUEST, "BadRequestError", &message).0,
    }
}

async fn chat(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let arrived = Instant::now();
    let request: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let model = request["model"].as_str().unwrap_or_default().to_owned();
    if senses::is_canary(&request) {
        return canary(&shared, &headers, &model, &request);
    }
    let _in_hand = InHand::new(&shared);
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let number = {
        let mut seen = locked(&shared.seen);
        seen.push(Seen {
            model: model.clone(),
            arrived,
            headers: headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            json: clip::elided(&request),
            clip: None,
            status: None,
            answer: String::new(),
        });
        seen.len() - 1
    };
    let note = |change: &dyn Fn(&mut Seen)| {
        if let Some(seen) = locked(&shared.seen).get_mut(number) {
            change(seen);
        }
    };
    let (response, answer) = match unauthorized(&shared, &headers) {
        Some(refused) => (refused, "unauthorized".to_owned()),
        None => answer(&shared, &model, request, &note).await,
    };
    *locked(&shared.given).entry((model, response.status().as_u16(), answer.clone())).or_default() += 1;
    note(&|seen| {
        seen.status = Some(response.status().as_u16());
        seen.answer.clone_from(&answer);
    });
    response
}

/// The mode this request meets; counts down [`Mode::Times`].
fn mode_of(shared: &Shared, model: &str) -> Mode {
    let mut by_model = locked(&shared.modes);
    let key = if by_model.contains_key(model) { model } else { "" };
    let Some(mode) = by_model.get_mut(key) else { return Mode::Ok };
    let now = match mode {
        Mode::Times(0, _) => Mode::Ok,
        Mode::Times(left, inner) => {
            *left -= 1;
            (**inner).clone()
        }
        other => other.clone(),
    };
    drop(by_model);
    now
}

fn refused(code: StatusCode, kind: &str, message: &str) -> (Response, String) {
    let body = json!({"error": {"message": message, "type": kind, "param": null, "code": code.as_u16()}});
    ((code, axum::Json(body)).into_response(), message.to_owned())
}

fn unknown(shared: &Shared, model: &str) -> (Response, String) {
    let valid = locked(&shared.judges).keys().cloned().collect::<Vec<_>>().join(", ");
    refused(
        StatusCode::NOT_FOUND,
        "NotFoundError",
        &format!("The model `{model}` does not exist. Valid aliases: {valid}."),
    )
}

/// Changes what is kept of the request at hand.
type Note<'a> = dyn Fn(&dyn Fn(&mut Seen)) + Sync + 'a;

async fn answer(shared: &Shared, model: &str, request: Value, note: &Note<'_>) -> (Response, String) {
    let Some(judge) = locked(&shared.judges).get(model).cloned() else { return unknown(shared, model) };
    let mode = mode_of(shared, model);
    if let Mode::Status(code, headers, body) = mode {
        let mut response = Response::builder().status(code);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        return (response.body(Body::from(body)).expect("the test's own response"), format!("status {code}"));
    }
    if matches!(mode, Mode::Html) {
        let page = axum::response::Html("<html><body><h1>502 Bad Gateway</h1></body></html>");
        return (page.into_response(), "html".into());
    }
    if matches!(mode, Mode::Blind) {
        let reply = super::reply::Reply::new(model, false, judge.p_yes);
        return (axum::Json(reply.body(&request)).into_response(), reply.text);
    }
    let (parts, request) = (request.clone(), request);
    let decoded =
        tokio::task::spawn_blocking(move || clip::decode(&parts)).await.unwrap_or_else(|error| Err(error.to_string()));
    let clip = match decoded {
        Ok(clip) => clip,
        Err(message) => return refused(StatusCode::BAD_REQUEST, "BadRequestError", &message),
    };
    let yes = judge.says_yes(&clip);
    note(&move |seen| seen.clip = Some(clip.clone()));
    let mut reply = super::reply::Reply::new(model, yes, judge.p_yes);
    reply.tells = locked(&shared.senses).get(model).is_none_or(|senses| senses.tells);
    match mode {
        Mode::Delay(time) => tokio::time::sleep(time).await,
        Mode::Slow => {
            let mut released = shared.released.subscribe();
            let _ = released.changed().await;
        }
        Mode::Text(text) => reply.text = text,
        Mode::Truncated => {
            reply.text.truncate(9);
            reply.finish = "length";
        }
        Mode::Abort => reply.finish = "abort",
        Mode::CutBody => {
            let half = reply.body(&request).to_string();
            let half = Bytes::from(half[..half.len() / 2].to_owned());
            let parts = futures_util::stream::iter([Ok(half), Err(std::io::Error::other("cut by the test"))]);
            let response =
                Response::builder().header("content-type", "application/json").header("content-length", "4096");
            return (response.body(Body::from_stream(parts)).expect("the test's own response"), "cut".into());
        }
        _ => (),
    }
    (axum::Json(reply.body(&request)).into_response(), reply.text)
}

/// Serves a test endpoint for a person to try things with, until the process is ended.
pub fn serve_forever(port: u16) -> ! {
    let names = ["planted", "planted-pictures", "planted-sound", "planted-2", "planted-3"];
    let needs = |needs| Judge { needs, ..Judge::default() };
    let judges = [Judge::default(), needs(Needs::Pictures), needs(Needs::Sound), Judge::mark(1), Judge::mark(2)];
    let endpoint = Endpoint::at(port, names.into_iter().zip(judges));
    println!("TEST STAND-IN, NOT A JUDGE: it reads codes planted by the test kit and knows nothing of people.");
    println!("base_url = \"{}\"   models: {}", endpoint.base_url(), names.join(", "));
    let mut told = 0;
    loop {
        let seen = endpoint.wait_for(Duration::MAX, |seen| seen.len() > told && seen[told].status.is_some());
        let (request, clip) = (&seen[told], seen[told].clip.clone().unwrap_or_default());
        let frames: Vec<_> = clip.pictures.iter().map(|picture| picture.code.map(|code| code.frame)).collect();
        println!(
            "{}: {:?} {}; frames {frames:?}, {} samples from source second {:?}",
            request.model,
            request.status,
            request.answer,
            clip.samples(),
            clip.sound_secs_at(0)
        );
        told += 1;
    }
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
