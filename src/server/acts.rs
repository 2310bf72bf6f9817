//! What is done to a session that runs: paused, resumed, ended, withdrawn.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::auth::Caller;
use super::problem::{Named, Problem, ProblemBody};
use super::sessions::seen_by;
use super::view::SessionView;
use super::{Service, hold};
use crate::alert::event::rfc3339;
use crate::alert::journal::{Receipt, Role, SessionState};
use crate::alert::{Actor, Event, EventKind};
use crate::record::{Records, broken_off};
use crate::run::ControlError;
use crate::time::wall;

/// A command's last events are waited for so long before its answer is given without them.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(2);
/// The same of a withdrawal, which is to be done within a second whatever stalls. The journal takes nothing of it after that.
const LAST_EVENTS: std::time::Duration = std::time::Duration::from_millis(500);

impl Service {
    /// The source of a session that is not over.
    async fn source_of(&self, id: &str) -> Result<Arc<str>, Problem> {
        if let Some(open) = hold(&self.open).get(id) {
            return Ok(Arc::clone(&open.source));
        }
        if let Some(running) = hold(&self.live).session(id) {
            return Ok(Arc::clone(&running.source));
        }
        let view = self.view(id).await?;
        Err(Problem::conflict(format!("the session is {}: nothing can be changed in it any more", view.own.state)))
    }

    /// Says of a session that does not run that its consent was withdrawn, in the order of all that is told: who follows events would
    /// learn it of a session that runs only.
    async fn say_withdrawn(&self, id: &str, by: Actor) -> Result<(), Problem> {
        let name = id.to_owned();
        let (row, receipt) = self.read(move |reader| Ok((reader.session(&name)?, reader.receipt(&name)?))).await?;
        let (Some(row), None, Some(queue)) = (row, receipt, self.queue()) else { return Ok(()) };
        let event = Event::withdrawal(id.into(), row.source.into(), by, wall());
        // Where nobody takes events for now, the journal says it alone.
        let said = async { Ok(_ = queue.try_send(event)) };
        self.until(id, |kind| matches!(kind, EventKind::SessionWithdrawn(_)), LAST_EVENTS, said).await
    }

    /// Deletes clips that were recorded of a session, which the watch does itself only while the session runs.
    async fn remove_clips(&self, id: &str) -> Result<(), Problem> {
        let Some(dir) = self.config().record.clone() else { return Ok(()) };
        let session = id.to_owned();
        let removed = crate::run::blocking(move || Records::remove_from(&dir, &session)).await;
        let removed = removed.unwrap_or_else(|| Err(broken_off()));
        removed.map(drop).map_err(|error| ControlError::NotDeleted(error.to_string().into()).into())
    }

    /// Stops looking, or goes on.
    async fn set_paused(&self, caller: &Caller, id: &str, pause: bool) -> Result<Json<Value>, Problem> {
        let source = self.source_of(id).await?;
        let paused = hold(&self.live).session(id).map(|running| running.state() == SessionState::Paused);
        let act = async {
            if pause {
                self.control.pause(&source, caller.actor()).await
            } else {
                self.control.resume(&source, caller.actor()).await
            }
        };
        if paused == Some(!pause) {
            let done = |kind: &EventKind| match kind {
                EventKind::SessionPaused(_) => pause,
                EventKind::SessionResumed(_) => !pause,
                _ => false,
            };
            self.until(id, done, LAST_WORDS, act).await?;
        } else {
            // It stands so already, or no frame has come yet: then there is no event.
            act.await?;
        }
        self.audit(caller, if pause { "paused the session" } else { "resumed the session" }, Some(id)).await;
        seen_by(caller, self.view(id).await?)
    }

    /// Ends a session of which nothing has come: there is nothing to judge, and no event.
    pub(super) async fn close_unbegun(&self, id: &str) -> Result<(), Problem> {
        let source = self.source_of(id).await?;
        match self.control.end(&source).await {
            Ok(()) | Err(ControlError::Unknown(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let ended = self.journal.set_state(id, SessionState::Ended, wall()).await;
        // Whatever the journal says to it, its place is free again.
        self.closed(id).await;
        Ok(ended?)
    }

    /// Does something, then waits until the session's event of this kind was told.
    async fn until<T>(
        &self,
        id: &str,
        done: impl Fn(&EventKind) -> bool,
        limit: std::time::Duration,
        act: impl Future<Output = Result<T, ControlError>>,
    ) -> Result<T, Problem> {
        let mut told = self.told.subscribe();
        let out = act.await?;
        let heard = async {
            loop {
                match told.recv().await {
                    Ok(told) if told.event.session.as_deref() == Some(id) && done(&told.event.kind) => break,
                    Ok(_) | Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => break,
                }
            }
        };
        let _ = tokio::time::timeout(limit, heard).await;
        Ok(out)
    }
}

/// Stops looking at the person; no frame is analysed until the session is resumed.
#[utoipa::path(post, path = "/v1/sessions/{id}/pause", params(("id" = String, Path)), responses(
    (status = 200, body = SessionView),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn pause(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<Json<Value>, Problem> {
    caller.of_session(&id, Role::Operator)?;
    service.set_paused(&caller, &id, true).await
}

/// Goes on after a pause.
#[utoipa::path(post, path = "/v1/sessions/{id}/resume", params(("id" = String, Path)), responses(
    (status = 200, body = SessionView),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn resume(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<Json<Value>, Problem> {
    caller.of_session(&id, Role::Operator)?;
    service.set_paused(&caller, &id, false).await
}

/// Ends a session. What is under way is still judged, for at most ten seconds.
#[utoipa::path(post, path = "/v1/sessions/{id}/end", params(("id" = String, Path)), responses(
    (status = 200, body = SessionView),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn end(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<Json<Value>, Problem> {
    caller.of_session(&id, Role::Operator)?;
    let source = service.source_of(&id).await?;
    let runs = hold(&service.live).session(&id).is_some();
    if runs {
        let ended = service.until(
            &id,
            |kind| matches!(kind, EventKind::SessionEnded(_)),
            LAST_WORDS,
            service.control.end(&source),
        );
        ended.await?;
    } else {
        service.close_unbegun(&id).await?;
    }
    service.audit(&caller, "ended the session", Some(&id)).await;
    seen_by(&caller, service.view(&id).await?)
}

/// What is left of a session whose consent was withdrawn.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Receipt")]
pub struct ReceiptView {
    /// Its own id.
    id: String,
    /// The session.
    session: String,
    /// When, RFC 3339.
    #[schema(format = DateTime)]
    at: String,
    /// Windows of any outcome that were deleted.
    windows_deleted: u64,
    /// Alerts that were deleted.
    alerts_deleted: u64,
    /// Deliveries that had not happened, and now will not.
    pending_deleted: u64,
    /// Receivers that had something of it, and are told of the withdrawal.
    receivers_told: Vec<String>,
}

impl From<Receipt> for ReceiptView {
    fn from(receipt: Receipt) -> Self {
        Self {
            id: receipt.id,
            session: receipt.session,
            at: rfc3339(receipt.at),
            windows_deleted: receipt.windows_deleted,
            alerts_deleted: receipt.alerts_deleted,
            pending_deleted: receipt.pending_deleted,
            receivers_told: receipt.receivers_told,
        }
    }
}

/// Withdraws consent: the session ends at once, and everything of it is deleted. Also of a session that is over.
#[utoipa::path(post, path = "/v1/sessions/{id}/withdraw", params(("id" = String, Path)), responses(
    (status = 200, body = ReceiptView),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn withdraw(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<Json<ReceiptView>, Problem> {
    caller.of_session(&id, Role::Operator)?;
    let source = service.source_of(&id).await;
    if source.is_err() {
        service.view(&id).await?; // that it is over is no hindrance; that there is none is
    }
    // First nothing more comes in, then what is under way is dropped, then what was kept is deleted.
    if let Some(whip) = &service.whip {
        whip.close_session(&id).await;
    }
    let runs = hold(&service.live).session(&id).is_some();
    if let Ok(source) = &source {
        let withdraw = async {
            match service.control.withdraw(source, caller.actor()).await {
                // Of clips that could not be deleted everything else is gone; they are tried again below, which says it.
                Ok(()) | Err(ControlError::Unknown(_) | ControlError::NotDeleted(_)) => Ok(()),
                Err(error) => Err(error),
            }
        };
        if runs {
            // What was told before it is in the journal by then, and is deleted with the rest.
            service.until(&id, |kind| matches!(kind, EventKind::SessionWithdrawn(_)), LAST_EVENTS, withdraw).await?;
        } else {
            withdraw.await?;
        }
    }
    if !runs {
        service.say_withdrawn(&id, caller.actor()).await?;
    }
    hold(&service.live).forget(&id);
    service.closed(&id).await;
    let removed = service.remove_clips(&id).await;
    let receipt = service.journal.withdraw(&id, caller.actor(), wall()).await?;
    service.audit(&caller, "withdrew the consent", Some(&id)).await;
    removed?;
    Ok(Json(receipt.into()))
}

/// The receipt of a withdrawal.
#[utoipa::path(get, path = "/v1/sessions/{id}/receipt", params(("id" = String, Path)), responses(
    (status = 200, body = ReceiptView),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn receipt(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(id): Named<String>,
) -> Result<Json<ReceiptView>, Problem> {
    caller.of_session(&id, Role::Viewer)?;
    service.exists(&id).await?;
    let found = service.read(move |reader| reader.receipt(&id)).await?;
    found
        .map(|receipt| Json(receipt.into()))
        .ok_or_else(|| Problem::conflict("the consent of this session was not withdrawn"))
}
