//! How the service stands: alive, ready, its judges, its version, its metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::Service;
use super::auth::Caller;
use super::problem::{Problem, ProblemBody};
use crate::alert::event::alerts::JudgeWord;
use crate::alert::event::proof::ProofWord;
use crate::alert::journal::Role;
use crate::config::redact::redact_url;
use crate::judge::panel::Panel;
use crate::judge::proof::Proof;

/// Whether the process runs.
#[utoipa::path(get, path = "/livez", security(()), responses((status = 200, body = String)))]
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// Whether the service does what it is for.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ready {
    ready: bool,
    /// Why not; empty where it is.
    reasons: Vec<String>,
}

/// Whether sessions can be judged: the judges were examined, and a majority of the panel hears and sees, or is not known not
/// to. The journal is not looked at; `ahwatch_journal_writable` of the metrics says whether it takes events.
#[utoipa::path(get, path = "/readyz", responses(
    (status = 200, body = Ready), (status = 503, body = Ready),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn readyz(State(service): State<Arc<Service>>, caller: Caller) -> Result<Response, Problem> {
    caller.needs(Role::Viewer)?;
    let reasons = service.not_ready();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((status, Json(Ready { ready: reasons.is_empty(), reasons })).into_response())
}

impl Service {
    /// Why nothing can be judged now; empty: it can.
    pub(super) fn not_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if !self.control.has_begun() {
            reasons.push("the judges are being examined; see the log".to_owned());
        }
        if let Some(panel) = self.control.panel().borrow().as_ref() {
            let (failed, all) = (failed(panel), panel.judges().len());
            if 2 * failed >= all {
                reasons.push(format!("{failed} of {all} judges failed: no window can be called present or absent"));
            }
        }
        reasons
    }
}

/// How many judges were found deaf, blind or changed.
fn failed(panel: &Panel) -> usize {
    panel.proofs().iter().filter(|proof| matches!(proof, Proof::Failed(_))).count()
}

/// A judge, as the doctor found it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Judge")]
pub struct JudgeView {
    /// Its name in the panel.
    name: String,
    /// The model or adapter that is asked for.
    model: String,
    /// Where it is asked, without credentials.
    base_urls: Vec<String>,
    /// Whether it was seen to hear and see: `proven`, `unproven`, `not_checked`, or how it failed.
    #[schema(value_type = String)]
    proof: ProofWord,
    /// It failed, and is not asked; it stays in the denominator.
    set_aside: bool,
    /// What `ah.judge.changed.v1` last said of it: `healthy`, `failing` (no `base_url` of it answers), `set_aside`, `degraded`,
    /// `unproven`; null: nothing since the start.
    #[schema(value_type = Option<String>)]
    state: Option<JudgeWord>,
    /// One line on why.
    detail: Option<String>,
}

/// The judges.
#[derive(Debug, Serialize, ToSchema)]
pub struct Judges {
    /// Empty: the embedded hesitation-cue index judges.
    judges: Vec<JudgeView>,
    /// `panel` or `heuristic`.
    judgement: &'static str,
}

/// The judges, and whether they hear and see.
#[utoipa::path(get, path = "/v1/judges", responses(
    (status = 200, body = Judges),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn judges(State(service): State<Arc<Service>>, caller: Caller) -> Result<Json<Judges>, Problem> {
    caller.needs(Role::Viewer)?;
    let panel = service.control.panel().borrow().clone();
    let Some(panel) = panel else { return Ok(Json(Judges { judges: Vec::new(), judgement: "heuristic" })) };
    let live = super::hold(&service.live);
    let judges = panel.judges().iter().zip(panel.proofs()).map(|(judge, proof)| {
        let config = judge.config();
        let said = live.judge(&config.name);
        JudgeView {
            state: said.map(|change| change.state.into()),
            detail: said.map(|change| change.detail.clone()),
            name: config.name.to_string(),
            model: config.model.clone(),
            base_urls: config.base_urls.iter().map(|url| redact_url(url.as_str())).collect(),
            proof: proof.into(),
            set_aside: panel.sets_aside(proof),
        }
    });
    Ok(Json(Judges { judges: judges.collect(), judgement: "panel" }))
}

/// What runs.
#[derive(Debug, Serialize, ToSchema)]
pub struct Version {
    /// `ahwatch`.
    name: &'static str,
    /// Its release.
    #[serde(rename = "version")]
    release: &'static str,
    /// The event types that it sends.
    events: Vec<&'static str>,
}

/// The version.
#[utoipa::path(get, path = "/v1/version", responses(
    (status = 200, body = Version),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn version(_caller: Caller) -> Json<Version> {
    let events = crate::alert::event::TYPES.to_vec();
    Json(Version { name: "ahwatch", release: env!("CARGO_PKG_VERSION"), events })
}

/// Whose token it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Me {
    /// Its name.
    name: String,
    /// `participant`, `viewer`, `operator` or `admin`.
    role: String,
    /// The one session of a participant.
    session: Option<String>,
}

/// Who asks.
#[utoipa::path(get, path = "/v1/me", responses(
    (status = 200, body = Me),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn me(caller: Caller) -> Json<Me> {
    Json(Me { name: caller.name, role: caller.role.to_string(), session: caller.session })
}

/// Metrics, for Prometheus.
#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, content_type = "application/openmetrics-text", body = String),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn metrics(State(service): State<Arc<Service>>, caller: Caller) -> Result<Response, Problem> {
    caller.needs(Role::Viewer)?;
    let outbox = service.read(|reader| reader.outbox()).await.unwrap_or_default();
    let text = service.metrics.text(&service.snapshot(&outbox));
    Ok(([(header::CONTENT_TYPE, super::metrics::CONTENT_TYPE)], text).into_response())
}

/// The API's own description. Not in itself.
pub(super) fn openapi(_caller: &Caller, document: &str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document.to_owned()).into_response()
}
