//! Events as they happen: server-sent events (WHATWG HTML, 9.2).
//!
//! An event's `id` is its number in the journal. Who comes back with `Last-Event-ID` gets everything after it from the
//! journal, then what happens. Who reads too slowly is cut, and comes back that way: nobody who reads delays a window, and
//! what waits for a reader is bounded. Who reads nothing at all is cut by `connection`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::sse::{Event as Sent, KeepAlive, Sse};
use futures_util::Stream;
use serde::Deserialize;
use tokio::sync::{broadcast, watch};
use utoipa::IntoParams;

use super::Service;
use super::auth::Caller;
use super::problem::{Asked, Named, Problem, ProblemBody};
use super::view::parsed;
use crate::alert::event::type_of;
use crate::alert::journal::{Role, Told};

/// A comment is sent after so long without an event, so that nobody on the way closes the connection.
const QUIET: Duration = Duration::from_secs(15);
/// Events that are read from the journal at once.
const PAGE: usize = 256;

/// Where to begin.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Since {
    /// After the event of this number, as the header `Last-Event-ID`; 0: from the first that is kept. Default: from now on.
    after: Option<u64>,
}

/// A session's events, from now on or from where the reader was.
#[utoipa::path(get, path = "/v1/sessions/{id}/events", params(("id" = String, Path), Since), responses(
    (status = 200, content_type = "text/event-stream", body = String),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn of_session(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(id): Named<String>,
    Asked(since): Asked<Since>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, Problem> {
    caller.needs(Role::Viewer)?;
    service.exists(&id).await?;
    service.audit(&caller, "follows the events", Some(&id)).await;
    let stream = begin(service, Some(id.into()), &since, &headers)?;
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(QUIET)))
}

/// The events of all sessions, sources and judges.
#[utoipa::path(get, path = "/v1/events", params(Since), responses(
    (status = 200, content_type = "text/event-stream", body = String),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn of_all(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Asked(since): Asked<Since>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>>>, Problem> {
    caller.needs(Role::Viewer)?;
    service.audit(&caller, "follows all events", None).await;
    let stream = begin(service, None, &since, &headers)?;
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(QUIET)))
}

/// One reader.
struct Reading {
    service: Arc<Service>,
    session: Option<Arc<str>>,
    told: broadcast::Receiver<Arc<Told>>,
    over: watch::Receiver<bool>,
    /// The number of the last event that was sent.
    last: u64,
    /// The journal has been read up to where the live events begin.
    caught_up: bool,
    /// Read from the journal, not sent yet.
    page: VecDeque<(u64, Arc<str>)>,
    _counted: Counted,
}

/// A reader among those that are counted.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(of: &Arc<AtomicUsize>) -> Self {
        of.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(of))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// After which event a reader goes on: the header's, which a browser sends by itself, before the query's. None: from now on.
///
/// # Errors
/// The header is no number, or the number is beyond any event's.
pub fn resume(header: Option<&HeaderValue>, query: Option<u64>) -> Result<Option<u64>, Problem> {
    let after = match header.map(|value| value.to_str().ok().and_then(|id| id.trim().parse().ok())) {
        Some(Some(id)) => Some(id),
        Some(None) => return Err(Problem::malformed("Last-Event-ID is the number of an event of this stream")),
        None => query,
    };
    if after.is_some_and(|after| i64::try_from(after).is_err()) {
        return Err(Problem::malformed("there is no event of this number"));
    }
    Ok(after)
}

fn begin(
    service: Arc<Service>,
    session: Option<Arc<str>>,
    since: &Since,
    headers: &HeaderMap,
) -> Result<impl Stream<Item = Result<Sent, Infallible>> + use<>, Problem> {
    let after = resume(headers.get("last-event-id"), since.after)?;
    // Listening begins before the journal is read: nothing falls between the two.
    let told = service.told.subscribe();
    let (over, counted) = (service.over.subscribe(), Counted::new(&service.streams));
    let reading = Reading {
        service,
        session,
        told,
        over,
        last: after.unwrap_or(0),
        caught_up: after.is_none(),
        page: VecDeque::new(),
        _counted: counted,
    };
    Ok(futures_util::stream::unfold(reading, |mut reading| async move {
        let sent = reading.next().await?;
        Some((Ok(sent), reading))
    }))
}

impl Reading {
    /// None: the reader is cut, or the service ends.
    async fn next(&mut self) -> Option<Sent> {
        loop {
            if let Some((seq, json)) = self.page.pop_front() {
                self.last = seq;
                let kind =
                    parsed(&json).and_then(|event| event["type"].as_str().map(str::to_owned)).unwrap_or_default();
                return Some(Sent::default().id(seq.to_string()).event(kind).data(&*json));
            }
            if !self.caught_up {
                let (session, last) = (self.session.clone(), self.last);
                let read =
                    self.service.read(move |reader| reader.events_after(session.as_deref(), last, &[], PAGE)).await;
                let page = read.inspect_err(|problem| tracing::warn!("a reader of events is cut: {problem:?}")).ok()?;
                self.caught_up = page.len() < PAGE;
                self.page = page.into();
                continue;
            }
            let told = tokio::select! {
                biased;
                told = self.told.recv() => told.ok()?,
                _ = self.over.wait_for(|over| *over) => return None,
            };
            let wanted = self.session.is_none() || told.event.session == self.session;
            // What the journal gave already is not sent twice.
            if wanted && told.seq > self.last {
                self.last = told.seq;
                let sent = Sent::default().id(told.seq.to_string()).event(type_of(&told.event.kind));
                return Some(sent.data(&*told.json));
            }
        }
    }
}
