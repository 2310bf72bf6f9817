//! A session is made: by the API, or by a configured source that began one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;
use utoipa::ToSchema;

use super::auth::Caller;
use super::problem::{Body, Problem, ProblemBody};
use super::view::SessionView;
use super::{Service, hold, room};
use crate::alert::journal::{ConsentRecord, NewSession, Role, SessionState, Token};
use crate::config::cameras::literal;
use crate::config::redact::Secret;
use crate::config::{Basis, Config, Input, Purpose, Rule, SourceConfig};
use crate::run::SessionOptions;
use crate::session::SessionSettings;
use crate::source::{FeedSender, pushed};
use crate::time::wall;

/// So long a camera's name may take to be looked up.
const RESOLVING: Duration = Duration::from_secs(5);
/// Longest note on where something is written down, characters.
const MOST_REFERENCE: usize = 500;

/// A session that was made by the API and is not over.
#[derive(Debug)]
pub(super) struct Open {
    pub source: Arc<str>,
    pub created: jiff::Timestamp,
    /// What will run once the participant has consented; None once it runs.
    pub waiting: Option<Box<(SourceConfig, SessionOptions)>>,
    /// Where a browser's media goes.
    pub feed: Option<FeedSender>,
    /// The camera, to tell whether another session has it.
    pub url: Option<Secret>,
    pub language: Option<Language>,
    /// The embedded index judges it, whatever panel is configured.
    pub cues: bool,
}

/// What a new session is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// Where its media comes from.
    pub source: SourceWanted,
    /// Who judges. Default: the configured panel, or without one the cue index.
    pub panel: Option<PanelWanted>,
    /// The rule of its label. Default: the configuration's.
    pub rule: Option<Rule>,
    /// What it is for.
    pub purpose: Purpose,
    /// The medical or safety reason that `workplace` and `education` need.
    pub basis: Option<Basis>,
    /// Consent that was given elsewhere; needed where no participant's page asks for it.
    pub consent: Option<ConsentWanted>,
    /// The participant's page begins in this language. Default: the browser's.
    pub language: Option<Language>,
}

/// Where media comes from.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum SourceWanted {
    /// A participant's browser, by WebRTC.
    Webrtc {},
    /// A camera.
    Url {
        /// `rtsp://` or `rtsps://`, perhaps with user and password, which are never shown; `test:` for a test picture.
        #[schema(max_length = 2000)]
        url: String,
        /// What events call it: letters, digits, `.`, `_`, `-`. Default: made from the session's id.
        #[schema(max_length = 64)]
        name: Option<String>,
    },
}

/// Who judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PanelWanted {
    /// The configured panel.
    Default,
    /// The embedded hesitation-cue index, which is no measure of A/H.
    Cues,
}

/// Consent that was given elsewhere.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsentWanted {
    /// Where it is kept, e.g. the number of a form.
    #[schema(min_length = 1, max_length = 500)]
    pub reference: String,
}

/// A language of the participant's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Language {
    /// English.
    En,
    /// French.
    Fr,
}

impl Language {
    /// The word of requests, texts and the journal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Fr => "fr",
        }
    }
}

/// Makes a session. One of a browser waits for its participant's consent.
#[utoipa::path(post, path = "/v1/sessions", request_body = Create, responses(
    (status = 201, body = SessionView, headers(("location" = String))),
    (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn create(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Body(wanted): Body<Create>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<SessionView>), Problem> {
    caller.needs(Role::Operator)?;
    let config = service.config();
    if let SourceWanted::Url { url, .. } = &wanted.source {
        permitted(&config, url).await?;
    }
    let id: Arc<str> = uuid::Uuid::now_v7().to_string().into();
    let (new, open) = plan(&config, &caller, &id, wanted)?;
    service.reserve(&config, &id, open)?;
    let made = service.begin(new, &caller).await;
    if made.is_err() {
        service.abandon(&id).await;
    }
    let view = made?;
    service.audit(&caller, "created the session", Some(&id)).await;
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/v1/sessions/{id}"))], Json(view)))
}

/// Refuses a camera that is not on the operator's list. It is asked again at every connection: this is for who typed it.
async fn permitted(config: &Config, typed: &str) -> Result<(), Problem> {
    // What is no address at all is refused in the words of the configuration.
    let (Some(cameras), Ok(url)) = (&config.server.cameras, Url::parse(typed)) else { return Ok(()) };
    if !url.scheme().starts_with("rtsp") {
        return Ok(());
    }
    cameras.check(&url).map_err(|refused| Problem::invalid(refused.to_string()))?;
    let host = url.host_str().unwrap_or_default();
    if literal(host).is_some() {
        return Ok(());
    }
    // A name that is not known now may be known later.
    let Ok(Ok(found)) = tokio::time::timeout(RESOLVING, tokio::net::lookup_host((host, 0))).await else {
        return Ok(());
    };
    let found: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    cameras
        .choose(host, url.scheme() == "rtsps", &found)
        .map(drop)
        .map_err(|refused| Problem::invalid(refused.to_string()))
}

/// From what is wanted to what the journal and the watch need.
fn plan(config: &Config, caller: &Caller, id: &Arc<str>, wanted: Create) -> Result<(NewSession, Open), Problem> {
    wanted.purpose.permitted(wanted.basis.as_ref()).map_err(Problem::invalid)?;
    for reference in [wanted.basis.as_ref().map(|b| &b.reference), wanted.consent.as_ref().map(|c| &c.reference)] {
        if reference.is_some_and(|text| text.trim().is_empty() || text.chars().count() > MOST_REFERENCE) {
            let what = format!("a reference has 1 to {MOST_REFERENCE} characters: where it is written down");
            return Err(Problem::invalid(what));
        }
    }
    // As the configuration refuses it: max_of_vote needs every judge's vote on every window.
    if wanted.rule == Some(Rule::MaxOfVote) && config.session.early_stop {
        let what = "the configured early_stop needs the rule vote_of_max; leave `rule` out";
        return Err(Problem::invalid(what));
    }
    let cues = wanted.panel == Some(PanelWanted::Cues);
    let now = wall();
    let (source, feed, url, consent, kind) = match wanted.source {
        SourceWanted::Webrtc {} => {
            if config.server.controller.is_none() {
                let what = "participants have to read who is answerable: write [controller] name and contact into the \
                            configuration";
                return Err(Problem::conflict(what));
            }
            if wanted.consent.is_some() {
                let what = "a participant consents on their own page; leave `consent` out";
                return Err(Problem::invalid(what));
            }
            let name = format!("join-{}", short(id));
            let (sender, feed) = pushed(&name);
            let source = SourceConfig::added(name.into(), Input::Pushed(feed));
            (source, Some(sender), None, None, "webrtc")
        }
        SourceWanted::Url { url, name } => {
            let Some(reference) = wanted.consent.map(|consent| consent.reference) else {
                let what = "nobody is watched without consent: say in consent.reference where that of the people in the \
                            picture is kept";
                return Err(Problem::invalid(what));
            };
            let name = name.unwrap_or_else(|| format!("added-{}", short(id)));
            let url = Secret::new(url);
            let source = SourceConfig::from_url(name, url.clone()).map_err(|p| Problem::invalid(p.to_string()))?;
            let source = SourceConfig { cameras: config.server.cameras.clone(), ..source };
            let consent = ConsentRecord {
                at: now,
                by: caller.actor(),
                text_version: None,
                language: None,
                reference: Some(reference),
            };
            (source, None, Some(url), Some(consent), "url")
        }
    };
    let new = NewSession {
        id: Arc::clone(id),
        source: Arc::clone(&source.name),
        kind: kind.to_owned(),
        state: if consent.is_some() { SessionState::AwaitingMedia } else { SessionState::AwaitingConsent },
        purpose: wanted.purpose.as_str().to_owned(),
        basis: wanted.basis.as_ref().and_then(|basis| serde_json::to_value(basis).ok()),
        consent,
        created_by: caller.name.clone(),
        created: now,
        rule: wanted.rule.unwrap_or(config.session.rule).into(),
        detail: Some(json!({ "language": wanted.language })),
    };
    let options = SessionOptions { id: Arc::clone(id), rule: wanted.rule, cues };
    let name = Arc::clone(&source.name);
    let waiting = Some(Box::new((source, options)));
    let open = Open { source: name, created: now, waiting, feed, url, language: wanted.language, cues };
    Ok((new, open))
}

/// The part of an id of version 7 that differs between two made at the same time.
fn short(id: &str) -> &str {
    id.get(id.len().saturating_sub(12)..).unwrap_or(id)
}

impl Service {
    /// Takes a place among the sessions that run.
    fn reserve(&self, config: &Config, id: &Arc<str>, open: Open) -> Result<(), Problem> {
        let mut all = hold(&self.open);
        let most = config.server.max_sessions;
        if all.len() >= most {
            let what =
                format!("{most} sessions run or wait, which is the limit ([server] max_sessions); end one first");
            return Err(Problem::unavailable(what).after(30));
        }
        room::for_another(all.len() + config.sources.len())?;
        let configured = |url: &Secret| {
            config.sources.iter().any(|source| matches!(&source.input, Input::Rtsp(other) if other == url))
        };
        let taken = |url: &Secret| configured(url) || all.values().any(|other| other.url.as_ref() == Some(url));
        let camera = open.url.as_ref().filter(|url| url.expose().contains("://"));
        let named = config.sources.iter().any(|source| source.name == open.source);
        if camera.is_some_and(taken) {
            return Err(Problem::conflict("this camera is watched already; end its session first"));
        }
        if named || all.values().any(|other| other.source == open.source) {
            return Err(Problem::conflict(format!(
                "a source named {:?} is there already; choose another",
                open.source
            )));
        }
        all.insert(Arc::clone(id), open);
        Ok(())
    }

    /// Writes the session down, and starts it where consent was given.
    async fn begin(&self, new: NewSession, caller: &Caller) -> Result<SessionView, Problem> {
        let (id, consented, kind) = (Arc::clone(&new.id), new.consent.is_some(), new.kind.clone());
        self.journal.create_session(new).await?;
        if consented {
            self.start(&id).await?;
        }
        let mut view = self.view(&id).await?;
        if kind == "webrtc" {
            let config = self.config();
            let expires = wall().checked_add(config.server.join_for).ok();
            let token = Token {
                name: format!("participant-{id}"),
                role: Role::Participant,
                session: Some(id.to_string()),
                created: wall(),
                expires,
            };
            let token = self.journal.new_token(token).await?;
            view.join_url = Some(format!("{}/join/{token}", self.public_url));
            view.join_token = Some(token);
            self.audit(caller, "made the participant's link", Some(&id)).await;
        }
        Ok(view)
    }

    /// Starts what waited for consent. A second call changes nothing.
    pub(super) async fn start(&self, id: &str) -> Result<(), Problem> {
        let waiting = hold(&self.open).get_mut(id).and_then(|open| open.waiting.take());
        let Some(waiting) = waiting else { return Ok(()) };
        let (source, options) = *waiting;
        let added = self.control.add(source, options).await;
        if let Err(error) = added {
            self.never_began(id).await;
            return Err(error.into());
        }
        Ok(())
    }

    /// What could not be made is over, and what of it was begun already.
    async fn abandon(&self, id: &str) {
        let runs = hold(&self.open).get(id).filter(|open| open.waiting.is_none()).map(|open| Arc::clone(&open.source));
        if let Some(source) = runs {
            // That it does not run is what is wanted.
            let _ = self.control.end(&source).await;
        }
        self.never_began(id).await;
    }

    /// It is over before it began: its place is free again, whatever the journal says.
    async fn never_began(&self, id: &str) {
        if let Err(error) = self.journal.note_state(id, SessionState::Ended, wall()) {
            tracing::warn!(session = %id, "it could not be begun, and is not noted as ended: {error}");
        }
        self.closed(id).await;
    }

    /// A session of a configured source begins: whose leave it has is in the configuration.
    pub(super) fn register(&self, event: &crate::alert::Event, settings: &SessionSettings) {
        let Some(id) = &event.session else { return };
        if hold(&self.open).contains_key(id) {
            return;
        }
        let config = self.config();
        let leave = config.sources.iter().find(|source| source.name == event.source).and_then(|s| s.leave.as_ref());
        let new = NewSession {
            id: Arc::clone(id),
            source: Arc::clone(&event.source),
            kind: "configured".to_owned(),
            state: SessionState::Live,
            purpose: leave.map_or("", |leave| leave.purpose.as_str()).to_owned(),
            basis: leave.and_then(|leave| leave.basis.as_ref()).and_then(|basis| serde_json::to_value(basis).ok()),
            consent: leave.map(|leave| ConsentRecord {
                at: event.wall,
                by: crate::alert::Actor::Operator,
                text_version: None,
                language: None,
                reference: Some(leave.consent.clone()),
            }),
            created_by: "configuration".to_owned(),
            created: event.wall,
            rule: settings.rule,
            detail: None,
        };
        // All events come by here: a disk that stalls must not hold them up.
        if let Err(error) = self.journal.note_session(new) {
            tracing::error!(source = %event.source, "whose leave its session has is not in the journal: {error}");
        }
    }
}
