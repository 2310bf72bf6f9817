//! The participant's part: what they read, and that they agree.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::auth::Caller;
use super::create::Language;
use super::problem::{Body, Named, Problem, ProblemBody};
use super::sessions::seen_by;
use super::view::OwnSession;
use super::{Service, hold, pages};
use crate::alert::Actor;
use crate::alert::journal::{ConsentRecord, Role, SessionState};
use crate::config::{Controller, Judging};
use crate::time::wall;

/// What the participant's page needs to know.
#[derive(Debug, Serialize, ToSchema)]
pub struct JoinPage {
    /// How the session stands.
    session: OwnSession,
    /// Who is answerable.
    controller: Option<Controller>,
    /// Version of the texts that are shown; consent is to this.
    text_version: String,
    /// The language that the page begins in; null: the browser's.
    language: Option<Language>,
    /// STUN servers.
    ice_servers: Vec<String>,
    /// Who judges: the judges' names; empty for the embedded index, which judges on this machine.
    judges: Vec<String>,
    /// The hosts that pictures and sound are sent to.
    endpoints: Vec<String>,
    /// How long what is kept is kept.
    keeps: Keeps,
}

/// How long what is kept is kept, days. Pictures and sound are not kept at all.
#[derive(Debug, Serialize, ToSchema)]
pub struct Keeps {
    /// Labels and times of windows.
    events_days: u32,
    /// Alerts and what was made of them.
    alerts_days: u32,
    /// Who looked at what.
    audit_days: u32,
    /// Whether clips are recorded, which is off unless the operator said `--record`.
    recorded: bool,
}

/// What a participant agrees to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// The version that was shown.
    #[schema(max_length = 64)]
    text_version: String,
    /// The language that it was shown in.
    language: Language,
}

/// What the participant's page shows before anything is asked.
#[utoipa::path(get, path = "/v1/join", responses(
    (status = 200, body = JoinPage),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn page(State(service): State<Arc<Service>>, caller: Caller) -> Result<Json<JoinPage>, Problem> {
    let Some(id) = caller.session.clone().filter(|_| caller.role == Role::Participant) else {
        return Err(Problem::forbidden("this is the participant's; their token is in the link that they got"));
    };
    let view = service.view(&id).await?;
    service.audit(&caller, "opened the participant's page", Some(&id)).await;
    let config = service.config();
    let open = hold(&service.open).get(id.as_str()).map(|open| (open.cues, open.language));
    let (cues, language) = open.unwrap_or_default();
    let (judges, mut endpoints): (Vec<_>, Vec<_>) = match &config.judging {
        Judging::Panel(judges) if !cues => (
            judges.iter().map(|judge| judge.name.to_string()).collect(),
            judges
                .iter()
                .flat_map(|judge| &judge.base_urls)
                .filter_map(|url| url.host_str().map(str::to_owned))
                .collect(),
        ),
        Judging::Panel(_) | Judging::Cues { .. } => Default::default(),
    };
    endpoints.sort();
    endpoints.dedup();
    Ok(Json(JoinPage {
        session: view.own,
        controller: config.server.controller.clone(),
        text_version: pages::text_version().to_owned(),
        language,
        ice_servers: config.server.ice_servers.clone(),
        judges,
        endpoints,
        keeps: Keeps {
            events_days: config.journal.keep_events_days,
            alerts_days: config.journal.keep_alerts_days,
            audit_days: config.journal.keep_audit_days,
            recorded: config.record.is_some(),
        },
    }))
}

/// The participant agrees; from then on their media is taken.
#[utoipa::path(post, path = "/v1/sessions/{id}/consent", params(("id" = String, Path)), request_body = Agreement, responses(
    (status = 200, body = OwnSession),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn give(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(id): Named<String>,
    Body(agreement): Body<Agreement>,
) -> Result<Json<Value>, Problem> {
    caller.of_session(&id, Role::Admin)?;
    if caller.role != Role::Participant {
        return Err(Problem::forbidden("nobody can consent for the participant"));
    }
    if agreement.text_version != pages::text_version() {
        let what = format!("the text has changed to version {}; show that one", pages::text_version());
        return Err(Problem::conflict(what));
    }
    let view = service.view(&id).await?;
    let waits = hold(&service.open).get(id.as_str()).map(|open| open.waiting.is_some());
    let asked = view.own.state == SessionState::AwaitingConsent;
    if !asked && (view.own.consent.is_none() || view.own.state.is_over()) {
        return Err(Problem::conflict(format!("the session is {}; ask for a new link", view.own.state)));
    }
    let Some(waits) = waits else {
        return Err(Problem::conflict(
            "the service was started again since, or the session is over; ask for a new link",
        ));
    };
    if asked {
        let consent = ConsentRecord {
            at: wall(),
            by: Actor::Participant,
            text_version: Some(agreement.text_version),
            language: Some(agreement.language.as_str().to_owned()),
            reference: None,
        };
        // It is written down before anything starts.
        service.journal.consent(&id, consent).await?;
    }
    if waits {
        // Also where an earlier request was refused by a disk that stalled, and its consent was written after that.
        service.audit(&caller, "consented", Some(&id)).await;
        service.start(&id).await?;
    }
    seen_by(&caller, service.view(&id).await?)
}
