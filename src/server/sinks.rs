//! Receivers of events: how they stand, what they never took, and what is left of those that are gone.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Service;
use super::auth::Caller;
use super::problem::{Asked, Named, Problem, ProblemBody};
use crate::alert::event::rfc3339;
use crate::alert::journal::{DeadLetter, Role, SinkState};
use crate::time::wall;

/// Most dead letters of one answer.
const PAGE: usize = 1000;

/// How a receiver of events stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Sink")]
pub struct SinkView {
    /// Its name.
    sink: String,
    /// False: it is not in the configuration any more. What waits for it waits until it is there again, or is deleted.
    configured: bool,
    /// Events that wait for it.
    pending: u64,
    /// Events that it never took, and that are no longer tried.
    dead: u64,
    /// Since when the oldest of those that wait does, RFC 3339.
    #[schema(format = DateTime)]
    oldest: Option<String>,
}

/// The receivers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sinks {
    sinks: Vec<SinkView>,
}

/// The receivers of events, and what waits for them; also those that are gone and have something left.
#[utoipa::path(get, path = "/v1/sinks", responses(
    (status = 200, body = Sinks),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn list(State(service): State<Arc<Service>>, caller: Caller) -> Result<Json<Sinks>, Problem> {
    caller.needs(Role::Viewer)?;
    let found = service.read(|reader| reader.outbox()).await?;
    let mut all: BTreeMap<String, (bool, Option<SinkState>)> =
        found.into_iter().map(|state| (state.sink.clone(), (false, Some(state)))).collect();
    for sink in &service.config().sinks {
        all.entry(sink.name.to_string()).or_default().0 = true;
    }
    let sinks = all.into_iter().map(|(sink, (configured, state))| SinkView {
        sink,
        configured,
        pending: state.as_ref().map_or(0, |state| state.pending),
        dead: state.as_ref().map_or(0, |state| state.dead),
        oldest: state.and_then(|state| state.oldest).map(rfc3339),
    });
    Ok(Json(Sinks { sinks: sinks.collect() }))
}

impl Service {
    fn has_sink(&self, name: &str) -> bool {
        self.config().sinks.iter().any(|sink| &*sink.name == name)
    }
}

/// Dead letters, oldest first; not more than a thousand.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetters {
    /// `seq`, `event` (its id), `session`, `attempts`, `at` (when it was given up), `detail` (why).
    #[schema(value_type = Vec<Object>)]
    dead_letters: Vec<DeadLetter>,
}

/// What a receiver never took.
#[utoipa::path(get, path = "/v1/sinks/{name}/dead-letters", params(("name" = String, Path)), responses(
    (status = 200, body = DeadLetters),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn dead_letters(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<Json<DeadLetters>, Problem> {
    caller.needs(Role::Viewer)?;
    let sink = name.clone();
    let letters = service.read(move |reader| reader.dead_letters(&sink, PAGE)).await?;
    if letters.is_empty() && !service.has_sink(&name) {
        return Err(Problem::not_found("there is no such sink; /v1/sinks lists them"));
    }
    service.audit_read(&caller, "read dead letters", None).await;
    Ok(Json(DeadLetters { dead_letters: letters }))
}

/// Which dead letters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Only that of the event of this id.
    event: Option<String>,
}

/// What came of sending dead letters again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Resent")]
pub struct ResentView {
    /// So many wait for the receiver again.
    resent: usize,
    /// So many dead letters are left: at most a thousand go at once. Ask again.
    left: u64,
}

/// Sends dead letters again, the oldest first, each with the id it had.
#[utoipa::path(post, path = "/v1/sinks/{name}/dead-letters/resend", params(("name" = String, Path), Which), responses(
    (status = 200, body = ResentView),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn resend(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(name): Named<String>,
    Asked(which): Asked<Which>,
) -> Result<Json<ResentView>, Problem> {
    caller.needs(Role::Operator)?;
    if !service.has_sink(&name) {
        return Err(Problem::not_found("there is no such sink in the configuration; /v1/sinks lists them"));
    }
    // On the audit before it is done: who hangs up meanwhile is there too.
    service.audit(&caller, &format!("sends dead letters to {name} again"), None).await;
    let resent = service.journal.resend(&name, which.event.as_deref(), wall()).await?;
    Ok(Json(ResentView { resent: resent.resent, left: resent.left }))
}

/// How much was deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Forgotten {
    /// Deliveries that will not happen.
    deleted: usize,
}

/// Deletes what waits for a receiver that is not in the configuration any more, and its dead letters.
#[utoipa::path(delete, path = "/v1/sinks/{name}", params(("name" = String, Path)), responses(
    (status = 200, body = Forgotten),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn forget(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(name): Named<String>,
) -> Result<Json<Forgotten>, Problem> {
    caller.needs(Role::Admin)?;
    if service.has_sink(&name) {
        return Err(Problem::conflict("this sink is in the configuration; take it out there first"));
    }
    // What nothing waits for is not on the audit either.
    let left = service.read(|reader| reader.outbox()).await?;
    if !left.iter().any(|state| state.sink == name) {
        return Err(Problem::not_found("nothing waits for a sink of this name; /v1/sinks lists them"));
    }
    service.audit(&caller, &format!("deletes what waits for {name}"), None).await;
    let deleted = service.journal.forget_sink(&name).await?;
    Ok(Json(Forgotten { deleted }))
}
