//! What was recorded of sessions: windows, alerts and what people made of them, the audit.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::Service;
use super::auth::Caller;
use super::problem::{Asked, Body, Named, Problem, ProblemBody};
use super::view::parsed;
use crate::alert::journal::{AlertFilter, AlertRow, Audit, Feedback, FeedbackVerdict, Role};
use crate::time::wall;

/// The events that are windows.
const WINDOWS: [&str; 4] = ["ah.window.judged.v1", "ah.window.skipped.v1", "ah.window.dropped.v1", "ah.window.lost.v1"];
/// Most of one answer.
const PAGE: usize = 1000;

/// Which part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Those after this number, which is `next` of the answer before.
    after: Option<u64>,
    /// Most of them, at most 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

impl Part {
    fn bounds(&self) -> Result<(u64, usize), Problem> {
        let limit = self.limit.unwrap_or(PAGE);
        let after = self.after.unwrap_or(0);
        if !(1..=PAGE).contains(&limit) {
            return Err(Problem::malformed(format!("limit is 1 to {PAGE}")));
        }
        if i64::try_from(after).is_err() {
            return Err(Problem::malformed("after is the `next` of an answer"));
        }
        Ok((after, limit))
    }
}

/// Windows, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Windows {
    /// `CloudEvents`: judged, skipped, dropped and lost windows, and time outside windows.
    #[schema(value_type = Vec<Object>)]
    windows: Vec<Value>,
    /// `after` for the rest; null where there is none yet.
    next: Option<u64>,
}

/// The windows of a session.
#[utoipa::path(get, path = "/v1/sessions/{id}/windows", params(("id" = String, Path), Part), responses(
    (status = 200, body = Windows),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn windows(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(id): Named<String>,
    Asked(part): Asked<Part>,
) -> Result<Json<Windows>, Problem> {
    caller.needs(Role::Viewer)?;
    let (after, limit) = part.bounds()?;
    service.exists(&id).await?;
    service.audit_read(&caller, "read the windows", Some(&id)).await;
    let found = service.read(move |reader| reader.events_after(Some(&id), after, &WINDOWS, limit)).await?;
    let next = found.last().map(|(seq, _)| *seq).filter(|_| found.len() == limit);
    Ok(Json(Windows { windows: found.iter().filter_map(|(_, json)| parsed(json)).collect(), next }))
}

/// An alert with what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Alert")]
pub struct AlertView {
    /// The `CloudEvent` `ah.alert.raised.v1`.
    #[schema(value_type = Object)]
    event: Value,
    /// What somebody made of it; null: nobody did.
    #[schema(value_type = Option<Object>)]
    feedback: Option<Value>,
    /// What became of it at each receiver.
    #[schema(value_type = Vec<Object>)]
    deliveries: Vec<Value>,
}

fn alert_view(row: &AlertRow) -> Option<AlertView> {
    Some(AlertView {
        event: parsed(&row.json)?,
        feedback: row.feedback.as_ref().and_then(|feedback| serde_json::to_value(feedback).ok()),
        deliveries: row.deliveries.iter().filter_map(|delivery| serde_json::to_value(delivery).ok()).collect(),
    })
}

/// Alerts, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alerts {
    alerts: Vec<AlertView>,
    /// `after` for the rest; null where there is none yet.
    next: Option<u64>,
}

/// The alerts of a session.
#[utoipa::path(get, path = "/v1/sessions/{id}/alerts", params(("id" = String, Path), Part), responses(
    (status = 200, body = Alerts),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn session_alerts(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(id): Named<String>,
    Asked(part): Asked<Part>,
) -> Result<Json<Alerts>, Problem> {
    caller.needs(Role::Viewer)?;
    service.exists(&id).await?;
    service.audit_read(&caller, "read the alerts", Some(&id)).await;
    Ok(Json(service.alerts(Some(id), &part).await?))
}

/// Which alerts, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct WhichAlerts {
    /// Those after this number, which is `next` of the answer before.
    after: Option<u64>,
    /// Most of them, at most 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `json`, or `jsonl` for a file of one alert a line with all of them.
    format: Option<Format>,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One JSON object.
    Json,
    /// One JSON object a line.
    Jsonl,
}

/// The alerts of all sessions.
#[utoipa::path(get, path = "/v1/alerts", params(WhichAlerts), responses(
    (status = 200, content((Alerts = "application/json"), (String = "application/jsonl"))),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn alerts(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Asked(which): Asked<WhichAlerts>,
) -> Result<Response, Problem> {
    caller.needs(Role::Viewer)?;
    service.audit_read(&caller, "read all alerts", None).await;
    let mut part = Part { after: which.after, limit: which.limit };
    if which.format != Some(Format::Jsonl) {
        return Ok(Json(service.alerts(None, &part).await?).into_response());
    }
    let mut lines = String::new();
    loop {
        let Alerts { alerts, next } = service.alerts(None, &part).await?;
        for alert in &alerts {
            lines += &serde_json::to_string(alert).unwrap_or_default();
            lines.push('\n');
        }
        let (Some(next), None) = (next, which.limit) else { break };
        part.after = Some(next);
    }
    let headers = [
        (header::CONTENT_TYPE, "application/jsonl; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"alerts.jsonl\""),
    ];
    Ok((headers, lines).into_response())
}

impl Service {
    async fn alerts(&self, session: Option<String>, part: &Part) -> Result<Alerts, Problem> {
        let (after, limit) = part.bounds()?;
        let rows = self
            .read(move |reader| {
                reader.alerts(AlertFilter { session: session.as_deref(), after, limit, ..AlertFilter::default() })
            })
            .await?;
        let next = rows.last().map(|row| row.seq).filter(|_| rows.len() == limit);
        Ok(Alerts { alerts: rows.iter().filter_map(alert_view).collect(), next })
    }

    /// Refuses a session that there is not.
    pub(super) async fn exists(&self, id: &str) -> Result<(), Problem> {
        let name = id.to_owned();
        let found = self.read(move |reader| reader.session(&name)).await?;
        found.map(|_| ()).ok_or_else(|| Problem::not_found("there is no such session"))
    }
}

/// What somebody makes of an alert.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedbackWanted {
    /// Whether it was right.
    verdict: FeedbackVerdict,
    /// In words.
    #[serde(default)]
    #[schema(max_length = 4000)]
    note: String,
}

/// Says what an alert was worth. The last word on an alert counts.
#[utoipa::path(post, path = "/v1/alerts/{id}/feedback", params(("id" = String, Path)), request_body = FeedbackWanted, responses(
    (status = 204),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn feedback(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(id): Named<String>,
    Body(wanted): Body<FeedbackWanted>,
) -> Result<axum::http::StatusCode, Problem> {
    caller.needs(Role::Operator)?;
    if wanted.note.chars().count() > 4000 {
        return Err(Problem::invalid("a note has at most 4000 characters"));
    }
    let feedback = Feedback { verdict: wanted.verdict, note: wanted.note, by: caller.name.clone(), at: wall() };
    service.journal.feedback(&id, feedback).await?;
    let session = id.rsplit_once('.').map(|(session, _)| session);
    service.audit(&caller, "judged an alert", session).await;
    Ok(axum::http::StatusCode::NO_CONTENT)
}

/// Which rows of the audit.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct WhichAudit {
    /// Only those about this session.
    session: Option<String>,
    /// Those after this number, which is `next` of the answer before.
    after: Option<u64>,
    /// Most of them, at most 1000.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

/// The audit, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditRows {
    /// `at`, `who`, `action`, `session`, `address`.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Audit>,
    /// `after` for the rest; null where there is none yet.
    next: Option<u64>,
}

/// Who looked at and did what.
#[utoipa::path(get, path = "/v1/audit", params(WhichAudit), responses(
    (status = 200, body = AuditRows),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn audit(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Asked(which): Asked<WhichAudit>,
) -> Result<Json<AuditRows>, Problem> {
    caller.needs(Role::Admin)?;
    let (after, limit) = Part { after: which.after, limit: which.limit }.bounds()?;
    let found = service.read(move |reader| reader.audit(which.session.as_deref(), after, limit)).await?;
    let next = found.last().map(|(number, _)| *number).filter(|_| found.len() == limit);
    Ok(Json(AuditRows { rows: found.into_iter().map(|(_, row)| row).collect(), next }))
}
