//! Sessions: listed, and looked at.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::problem::{Asked, Named, Problem, ProblemBody};
use super::view::{SessionView, parsed, state_of};
use super::{Service, hold};
use crate::alert::journal::{JournalError, Reader, Role, SessionRow, SessionState};

/// Most sessions of one answer.
const PAGE: usize = 200;

/// Which sessions.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Only those in this state.
    #[param(inline)]
    state: Option<SessionState>,
    /// Most of them, at most 200.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// Those after this id, which is `next` of the answer before.
    after: Option<String>,
}

/// Sessions, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sessions {
    sessions: Vec<SessionView>,
    /// `after` for the rest; null where there is none.
    next: Option<String>,
}

impl Service {
    /// A session as it is now.
    pub(super) async fn view(&self, id: &str) -> Result<SessionView, Problem> {
        let name = id.to_owned();
        let found =
            self.read(move |reader| reader.session(&name)?.map(|row| books_of(&reader, row)).transpose()).await?;
        let Some((row, ended, alerts)) = found else {
            return Err(Problem::not_found("there is no such session"));
        };
        Ok(self.shown(row, ended, alerts))
    }

    fn shown(&self, row: SessionRow, ended: Option<Value>, alerts: u64) -> SessionView {
        SessionView::new(row, &hold(&self.live), ended, alerts)
    }

    /// A session is over: what was kept for it goes.
    pub(super) async fn closed(&self, id: &str) {
        let open = hold(&self.open).remove(id);
        if let (Some(_), Some(whip)) = (open.as_ref().and_then(|open| open.feed.as_ref()), &self.whip) {
            whip.close_session(id).await;
        }
        if let Some(open) = open {
            hold(&self.live).gone(&open.source);
        }
    }
}

/// The `data` of a session's end, and how many alerts it had.
fn books_of(reader: &Reader, row: SessionRow) -> Result<(SessionRow, Option<Value>, u64), JournalError> {
    let ended = reader.last_event(&row.id, &["ah.session.ended.v1"])?;
    let ended = ended.and_then(|(_, json)| parsed(&json)).map(|mut event| event["data"].take());
    let alerts = reader.count_alerts(&row.id)?;
    Ok((row, ended, alerts))
}

/// Sessions, newest first.
#[utoipa::path(get, path = "/v1/sessions", params(Which), responses(
    (status = 200, body = Sessions),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Asked(which): Asked<Which>,
) -> Result<Json<Sessions>, Problem> {
    caller.needs(Role::Viewer)?;
    let limit = which.limit.unwrap_or(50);
    if !(1..=PAGE).contains(&limit) {
        return Err(Problem::malformed(format!("limit is 1 to {PAGE}")));
    }
    // A running session's state is known here, not in the journal: of one state, a page is looked through.
    let most = if which.state.is_some() { PAGE } else { limit + 1 };
    let after = which.after;
    let mut rows = service.read(move |reader| reader.sessions(after.as_deref(), most)).await?;
    let last = rows.last().filter(|_| rows.len() == PAGE).map(|row| row.id.clone());
    if let Some(state) = which.state {
        let live = hold(&service.live);
        rows.retain(|row| state_of(row, &live) == state);
    }
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = if more { rows.last().map(|row| row.id.clone()) } else { last.filter(|_| which.state.is_some()) };
    let found =
        service.read(move |reader| rows.into_iter().map(|row| books_of(&reader, row)).collect::<Result<Vec<_>, _>>());
    let sessions = found.await?.into_iter().map(|(row, ended, alerts)| service.shown(row, ended, alerts)).collect();
    service.audit_read(&caller, "listed sessions", None).await;
    Ok(Json(Sessions { sessions, next }))
}

/// One session. Its participant sees how it stands, and nothing that was concluded.
#[utoipa::path(get, path = "/v1/sessions/{id}", params(("id" = String, Path)), responses(
    (status = 200, body = SessionView),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn one(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<Json<Value>, Problem> {
    caller.of_session(&id, Role::Viewer)?;
    let view = service.view(&id).await?;
    service.audit_read(&caller, "looked at the session", Some(&id)).await;
    seen_by(&caller, view)
}

/// A session as who asks may see it.
pub(super) fn seen_by(caller: &Caller, view: SessionView) -> Result<Json<Value>, Problem> {
    let value = match caller.role {
        Role::Participant => serde_json::to_value(view.own),
        Role::Viewer | Role::Operator | Role::Admin => serde_json::to_value(view),
    };
    value.map(Json).map_err(|error| Problem::internal(format!("the session could not be written: {error}")))
}
