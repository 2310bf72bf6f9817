//! The service: an HTTP API, the participant's page, the dashboard, live events, metrics.
//!
//! Handlers decide who may ask (`auth`), ask the watch ([`Control`]) and the journal, and answer; what went wrong is a
//! [`problem::Problem`]. Nothing here decides about windows, and nobody who reads here can delay one.
//!
//! - `auth`: tokens and roles. [`problem`]: refusals. [`view`], [`live`]: a session as it is shown.
//! - `create`: a session is made; `room`: if there is room for it. `sessions`: listed. `acts`: paused, ended, withdrawn. `consent`: the participant's part. `records`: windows, alerts, audit.
//! - `detached`: what is begun is finished. `stream`: events as they happen. `status`: health, judges. `sinks`: receivers, dead letters. [`metrics`]. `pages`: the files of `web/`.
//! - [`whip`]: WebRTC. `media`: its HTTP part (RFC 9725). [`connection`], [`tls`]: below HTTP.

#![allow(unused_qualifications, reason = "utoipa's macros write paths in full")]

mod acts;
mod auth;
pub mod connection;
mod consent;
mod create;
mod detached;
pub mod limit;
pub mod live;
mod media;
pub mod metrics;
mod pages;
pub mod problem;
mod records;
mod room;
mod sessions;
mod sinks;
mod status;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod view;
pub mod whip;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use serde_json::Value;
use tokio::sync::{broadcast, mpsc, watch};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::alert::journal::{Audit, Journal, Reader, SessionState, Told};
use crate::alert::{Event, EventKind};
use crate::config::Config;
use crate::run::Control;
use crate::stage::{Stage, Stages};
use crate::time::{monotonic, wall};
use auth::Caller;
use create::Open;
use live::Live;
use metrics::{Metrics, Snapshot};
use problem::Problem;
use whip::Whip;

/// No body of a request is larger, bytes.
const MOST_BODY: usize = 256 * 1024;
/// Events that a slow reader of the stream may be behind before it is cut; it resumes by id.
const BEHIND: usize = 1024;
/// Who reads the same again within this is on the audit once.
const AGAIN: Duration = Duration::from_secs(60);
/// What the sources of the API are called in metrics.
const ADDED: &str = "added";

/// Who read what of which session.
type ReadBy = (String, &'static str, Option<String>);

/// What all handlers share.
pub struct Service {
    /// As it was at the start.
    config: Arc<Config>,
    /// Where browsers reach the service.
    public_url: String,
    control: Control,
    journal: Journal,
    whip: Option<Whip>,
    live: Mutex<Live>,
    /// Sessions that were made by the API and are not over.
    open: Mutex<BTreeMap<Arc<str>, Open>>,
    told: broadcast::Sender<Arc<Told>>,
    /// Nothing more will be told.
    over: watch::Sender<bool>,
    metrics: Metrics,
    stages: Stages,
    /// Events that wait to be told.
    untold: OnceLock<mpsc::WeakSender<Event>>,
    streams: Arc<AtomicUsize>,
    /// Each request that may change something has a receiver of it.
    acting: watch::Sender<()>,
    /// Who read what, and is on the audit with it, since when.
    read: Mutex<BTreeMap<ReadBy, Instant>>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

/// A lock that a panic elsewhere does not take along: what it guards is changed in single steps.
fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Service {
    /// A service over a watch and a journal, which browsers reach at `public_url`. `whip` is None where no browser can join.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        public_url: String,
        control: Control,
        journal: Journal,
        whip: Option<Whip>,
    ) -> Self {
        let (told, _) = broadcast::channel(BEHIND);
        let metrics = Metrics::new();
        Self {
            config,
            public_url,
            control,
            journal,
            whip,
            live: Mutex::default(),
            open: Mutex::default(),
            told,
            over: watch::Sender::new(false),
            stages: metrics.stages(),
            metrics,
            untold: OnceLock::new(),
            streams: Arc::default(),
            acting: watch::Sender::new(()),
            read: Mutex::default(),
        }
    }

    /// Takes events of the watch: into the journal first, then to everybody who listens.
    pub async fn tell(&self, events: Vec<Event>) {
        for event in &events {
            if let EventKind::SessionStarted(settings) = &event.kind {
                self.register(event, settings);
            }
        }
        let began = monotonic();
        let told = self.journal.record(events).await;
        self.stages.took(Stage::Journal, began.elapsed());
        for told in told {
            hold(&self.live).apply(&told);
            self.metrics.count(&told, self.metric_name(&told.event.source));
            if let (EventKind::SessionEnded(_) | EventKind::SessionWithdrawn(_), Some(id)) =
                (&told.event.kind, &told.event.session)
            {
                self.closed(id).await;
            }
            // Nobody may listen.
            let _ = self.told.send(Arc::new(told));
        }
    }

    /// Who counts how long stages take.
    #[must_use]
    pub fn stages(&self) -> Stages {
        self.stages.clone()
    }

    /// Says where events wait until [`Service::tell`] is told them; how many is a metric.
    pub fn watch_queue(&self, events: &mpsc::Sender<Event>) {
        let _ = self.untold.set(events.downgrade());
    }

    /// Where events wait to be told. None: nothing more is told.
    fn queue(&self) -> Option<mpsc::Sender<Event>> {
        self.untold.get().and_then(mpsc::WeakSender::upgrade)
    }

    /// Everything was told: event streams end, once they have sent it.
    pub fn end_streams(&self) {
        self.over.send_replace(true);
    }

    /// Ends sessions that nobody began while their link was valid.
    pub async fn tidy(&self, now: jiff::Timestamp) {
        let config = self.config();
        let old = now.checked_sub(config.server.join_for).unwrap_or(jiff::Timestamp::MIN);
        let stale: Vec<Arc<str>> = {
            let live = hold(&self.live);
            let open = hold(&self.open);
            let waits = open.iter().filter(|(id, open)| open.created < old && live.session(id).is_none());
            waits.map(|(id, _)| Arc::clone(id)).collect()
        };
        for id in stale {
            tracing::info!(session = %id, "nobody joined while the link was valid; it is ended");
            if let Err(problem) = self.close_unbegun(&id).await {
                tracing::warn!(session = %id, "not ended: {problem:?}");
            }
        }
    }

    /// What a source is called in metrics: a configured one by its name, all others alike, so that they stay few.
    fn metric_name<'a>(&self, source: &'a str) -> &'a str {
        if self.config().sources.iter().any(|known| &*known.name == source) { source } else { ADDED }
    }

    /// What metrics say of now.
    fn snapshot(&self, outbox: &[crate::alert::journal::SinkState]) -> Snapshot {
        let (live, open) = (hold(&self.live), hold(&self.open));
        let mut sessions: BTreeMap<&'static str, i64> = BTreeMap::new();
        let (mut judged, mut elapsed) = (0.0, 0.0);
        for (_, running) in live.sessions() {
            *sessions.entry(running.state().as_str()).or_default() += 1;
            let books = running.summary();
            judged += books.coverage.judged().as_secs_f64();
            elapsed += books.elapsed.as_secs_f64();
        }
        for (_, open) in open.iter().filter(|(id, _)| live.session(id).is_none()) {
            let state =
                if open.waiting.is_some() { SessionState::AwaitingConsent } else { SessionState::AwaitingMedia };
            *sessions.entry(state.as_str()).or_default() += 1;
        }
        let running =
            |source: &str| live.sessions().any(|(_, r)| &*r.source == source && r.state() != SessionState::Away);
        let config = self.config();
        let configured = config.sources.iter().map(|source| (source.name.to_string(), running(&source.name)));
        let added = open.values().map(|open| (ADDED.to_owned(), running(&open.source)));
        let panel = self.control.panel().borrow().clone();
        let judges = panel.iter().flat_map(|panel| {
            let proofs = panel.proofs();
            panel.judges().iter().zip(proofs).map(|(j, proof)| (j.config().name.to_string(), !panel.sets_aside(proof)))
        });
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let untold = self.queue().map_or(0, |queue| count((queue.max_capacity() - queue.capacity()) as u64));
        Snapshot {
            sources: configured.chain(added).collect(),
            sessions: sessions.into_iter().collect(),
            sinks: outbox.iter().map(|sink| (sink.sink.clone(), count(sink.pending), count(sink.dead))).collect(),
            streams: i64::try_from(self.streams.load(std::sync::atomic::Ordering::Relaxed)).unwrap_or(i64::MAX),
            journal_writable: !self.journal.is_failing(),
            peers: self.whip.as_ref().map_or(0, |whip| i64::try_from(whip.stats().peers).unwrap_or(i64::MAX)),
            queues: [("events", untold), ("journal", count(self.journal.unwritten().0 as u64))],
            judges: judges.collect(),
            coverage: (elapsed > 0.0).then(|| judged / elapsed),
        }
    }

    /// The configuration in force.
    fn config(&self) -> Arc<Config> {
        self.control.config().unwrap_or_else(|| Arc::clone(&self.config))
    }

    fn behind_proxy(&self) -> bool {
        self.config.server.behind_proxy
    }

    /// Asks the journal, which is blocking work.
    async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(Reader) -> Result<T, crate::alert::journal::JournalError> + Send + 'static,
    ) -> Result<T, Problem> {
        let reader = self.journal.reader();
        match crate::run::blocking(move || ask(reader)).await {
            Some(found) => Ok(found?),
            None => Err(Problem::internal("a question to the journal broke off; the log says why")),
        }
    }

    /// Notes that somebody reads something. Pages ask again and again: the same within a minute is one row.
    async fn audit_read(&self, caller: &Caller, action: &'static str, session: Option<&str>) {
        let now = monotonic();
        let known = {
            let mut read = hold(&self.read);
            read.retain(|_, since| now.duration_since(*since) < AGAIN);
            let key = (caller.name.clone(), action, session.map(str::to_owned));
            let known = read.contains_key(&key);
            read.entry(key).or_insert(now);
            known
        };
        if !known {
            self.audit(caller, action, session).await;
        }
    }

    /// Notes who did what to a session. The journal keeps it in order with everything else.
    async fn audit(&self, caller: &Caller, action: &str, session: Option<&str>) {
        let audit = Audit {
            at: wall(),
            who: caller.who(),
            action: action.to_owned(),
            session: session.map(str::to_owned),
            address: Some(caller.address.to_string()),
        };
        self.journal.audit(audit).await;
    }
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "ahwatch",
        description = "Sessions, windows and alerts of a streaming detector of Ambivalence/Hesitancy. Advisory, not a diagnosis. \
            Events are CloudEvents 1.0; their `data` has JSON Schemas of its own."
    ),
    components(schemas(problem::ProblemBody, records::Format)),
    security(("token" = []))
)]
struct Document;

fn api() -> OpenApiRouter<Arc<Service>> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(create::create, sessions::list))
        .routes(routes!(sessions::one))
        .routes(routes!(acts::pause))
        .routes(routes!(acts::resume))
        .routes(routes!(acts::end))
        .routes(routes!(acts::withdraw))
        .routes(routes!(acts::receipt))
        .routes(routes!(consent::give))
        .routes(routes!(consent::page))
        .routes(routes!(records::windows))
        .routes(routes!(records::session_alerts))
        .routes(routes!(records::alerts))
        .routes(routes!(records::feedback))
        .routes(routes!(records::audit))
        .routes(routes!(stream::of_session))
        .routes(routes!(stream::of_all))
        .routes(routes!(status::judges))
        .routes(routes!(sinks::list))
        .routes(routes!(sinks::forget))
        .routes(routes!(sinks::dead_letters))
        .routes(routes!(sinks::resend))
        .routes(routes!(status::version))
        .routes(routes!(status::me))
        .routes(routes!(status::livez))
        .routes(routes!(status::readyz))
        .routes(routes!(status::metrics))
}

/// The `OpenAPI` document of the API.
#[must_use]
pub fn document() -> Value {
    finished(api().into_openapi())
}

fn finished(mut document: OpenApi) -> Value {
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    if let Some(components) = &mut document.components {
        components.add_security_scheme("token", scheme);
    }
    let mut document = serde_json::to_value(document).unwrap_or_default();
    // The macros leave it out of an enum's variants, where serde refuses unknown fields as it does elsewhere.
    let source = document.pointer_mut("/components/schemas/SourceWanted/oneOf").and_then(Value::as_array_mut);
    for variant in source.into_iter().flatten() {
        variant["additionalProperties"] = Value::Bool(false);
    }
    document
}

/// Everything the service answers to.
pub fn router(service: Arc<Service>) -> Router {
    let (api, document) = api().split_for_parts();
    let detach = axum::middleware::from_fn_with_state(Arc::clone(&service), detached::detach);
    let document: Arc<str> = finished(document).to_string().into();
    api.route(
        "/v1/openapi.json",
        axum::routing::get(move |caller: Caller| {
            let answer = status::openapi(&caller, &document);
            async move { answer }
        }),
    )
    .merge(media::routes())
    .merge(pages::routes())
    .fallback(|method: Method, uri: Uri| async move {
        Problem::not_found(format!("nothing answers to {method} {}", without_token(uri.path())))
    })
    .method_not_allowed_fallback(|method: Method| async move {
        Problem::method(format!("this address does not take {method}; /v1/openapi.json says what it takes"))
    })
    .with_state(service)
    .layer(detach)
    .layer(axum::middleware::from_fn(limit::take_body))
    .layer(CatchPanicLayer::custom(|_| {
        axum::response::IntoResponse::into_response(Problem::internal("the request broke off; the log says why"))
    }))
    .layer(fixed(header::CONTENT_SECURITY_POLICY, POLICY))
    .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
    .layer(fixed(header::REFERRER_POLICY, "no-referrer"))
    .layer(fixed(HeaderName::from_static("permissions-policy"), "camera=(self), microphone=(self), geolocation=()"))
    .layer(SetResponseHeaderLayer::if_not_present(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
}

/// Pages run nothing but our files, load nothing from elsewhere, and stand in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

fn fixed(name: HeaderName, value: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value))
}

/// A path for people: a participant's link holds a token.
fn without_token(path: &str) -> &str {
    if path.starts_with("/join/") { "/join/***" } else { path }
}
