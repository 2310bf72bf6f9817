//! Sessions: listed, and looked at.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::auth::Caller;
use super::problem::{Asked, Named, Problem, ProblemBody};
use super::view::{OwnSession, SessionView, parsed};
use super::{Service, hold};
use crate::alert::journal::{JournalError, Reader, Role, SessionFilter, SessionRow, SessionState};

/// Most sessions of one answer.
const PAGE: usize = 200;

/// Which sessions.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Only those in this state.
    #[param(inline)]
    state: Option<StateWanted>,
    /// Most of them, at most 200.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// Those after this id, which is `next` of the answer before.
    after: Option<String>,
}

/// A session's state.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "as SessionState")]
pub enum StateWanted {
    AwaitingConsent,
    AwaitingMedia,
    Live,
    Away,
    Paused,
    Ended,
    Withdrawn,
    Interrupted,
}

impl From<StateWanted> for SessionState {
    fn from(state: StateWanted) -> Self {
        match state {
            StateWanted::AwaitingConsent => Self::AwaitingConsent,
            StateWanted::AwaitingMedia => Self::AwaitingMedia,
            StateWanted::Live => Self::Live,
            StateWanted::Away => Self::Away,
            StateWanted::Paused => Self::Paused,
            StateWanted::Ended => Self::Ended,
            StateWanted::Withdrawn => Self::Withdrawn,
            StateWanted::Interrupted => Self::Interrupted,
        }
    }
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
        let live = hold(&self.live);
        let away = live.away(&row.source).map(str::to_owned);
        let id = row.id.clone();
        SessionView::new(row, live.session(&id), away.as_deref(), ended, alerts)
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
    let state = which.state.map(SessionState::from);
    let limit = which.limit.unwrap_or(50);
    if !(1..=PAGE).contains(&limit) {
        return Err(Problem::malformed(format!("limit is 1 to {PAGE}")));
    }
    // A running session's state is known here, not there.
    let found = service.read(move |reader| {
        let rows = reader.sessions(SessionFilter::default(), which.after.as_deref(), PAGE.max(limit))?;
        rows.into_iter().map(|row| books_of(&reader, row)).collect::<Result<Vec<_>, _>>()
    });
    let mut views: Vec<_> =
        found.await?.into_iter().map(|(row, ended, alerts)| service.shown(row, ended, alerts)).collect();
    let whole = views.len();
    let last = views.last().map(|view| view.id.clone());
    views.retain(|view| state.is_none_or(|state| view.state == state.as_str()));
    let next = if views.len() > limit {
        views.truncate(limit);
        views.last().map(|view| view.id.clone())
    } else {
        last.filter(|_| whole >= PAGE)
    };
    service.audit_read(&caller, "listed sessions", None).await;
    Ok(Json(Sessions { sessions: views, next }))
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
        Role::Participant => serde_json::to_value(OwnSession::from(view)),
        Role::Viewer | Role::Operator | Role::Admin => serde_json::to_value(view),
    };
    value.map(Json).map_err(|error| Problem::internal(format!("the session could not be written: {error}")))
}
