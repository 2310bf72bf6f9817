//! A session as the API shows it.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::live::{Live, Running};
use crate::alert::event::rfc3339;
use crate::alert::journal::{ConsentRecord, SessionRow, SessionState};

/// A session as its own participant sees it: how it stands, and nothing that was concluded.
#[derive(Debug, Serialize, ToSchema)]
pub struct OwnSession {
    /// Its id, a UUID of version 7.
    pub id: String,
    /// How it stands.
    pub state: SessionState,
    /// What it is for.
    pub purpose: Option<String>,
    /// Who consented, when and to what.
    #[schema(value_type = Option<Object>)]
    pub consent: Option<ConsentRecord>,
    /// RFC 3339.
    #[schema(format = DateTime)]
    pub created: String,
    /// First frame, RFC 3339; null before.
    #[schema(format = DateTime)]
    pub started: Option<String>,
    /// RFC 3339; null while it runs.
    #[schema(format = DateTime)]
    pub ended: Option<String>,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Session")]
pub struct SessionView {
    /// What its participant sees of it, too.
    #[serde(flatten)]
    pub own: OwnSession,
    /// Its source's name.
    pub source: String,
    /// `webrtc`, `url`; `configured` of a session of a `[[source]]`.
    pub kind: String,
    /// Why its source is away, in words; null where it is not.
    pub away_because: Option<String>,
    /// The medical or safety reason that some purposes need.
    #[schema(value_type = Option<Object>)]
    pub basis: Option<Value>,
    /// Name of the token that made it.
    pub created_by: Option<String>,
    /// `vote_of_max` or `max_of_vote`.
    pub rule: Option<String>,
    /// `panel` or `heuristic`; null before it began.
    pub judgement: Option<String>,
    /// The newest judged window, a `CloudEvent`.
    #[schema(value_type = Option<Object>)]
    pub last_window: Option<Value>,
    /// What opened the open episode, a `CloudEvent`.
    #[schema(value_type = Option<Object>)]
    pub open_episode: Option<Value>,
    /// Alerts raised so far.
    pub alerts: u64,
    /// What `ah.session.ended.v1` says (`labels`, `label`, `verdict`, `judges`, `elapsed_secs`, `coverage`, `coverage_ratio`, `windows`,
    /// `alarms`, `saturation`, `advisory`, …), so far or as it ended. Nothing of it before the session began.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub books: Map<String, Value>,
    /// The participant's page; in the answer to the creation of a `webrtc` session only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_url: Option<String>,
    /// The participant's token; in the answer to the creation of a `webrtc` session only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub join_token: Option<String>,
}

/// The books' fields that stand elsewhere in a session's view.
const ELSEWHERE: [&str; 6] = ["session", "source", "continuity", "span", "kind", "rule"];

/// What runs of a session that is not over.
fn running<'a>(row: &SessionRow, live: &'a Live) -> Option<&'a Running> {
    live.session(&row.id).filter(|_| !row.state.is_over())
}

/// How a session stands: as what runs of it says, else as the journal's row.
pub(super) fn state_of(row: &SessionRow, live: &Live) -> SessionState {
    let waits = matches!(row.state, SessionState::AwaitingConsent | SessionState::AwaitingMedia);
    match running(row, live) {
        Some(running) => running.state(),
        None if waits && live.away(&row.source).is_some() => SessionState::Away,
        None => row.state,
    }
}

impl SessionView {
    /// From the journal's row, with what runs of it, or with the `data` of its end.
    #[must_use]
    pub fn new(row: SessionRow, live: &Live, ended: Option<Value>, alerts: u64) -> Self {
        let state = state_of(&row, live);
        let running = running(&row, live);
        let mut books = match running.map(Running::books).or(ended) {
            Some(Value::Object(books)) if row.state != SessionState::Withdrawn => books,
            _ => Map::new(),
        };
        books.retain(|key, _| !ELSEWHERE.contains(&key.as_str()));
        let away = live.away(&row.source).filter(|_| !row.state.is_over());
        Self {
            away_because: away.map(str::to_owned),
            last_window: running.and_then(|r| r.last_window.as_deref()).and_then(parsed),
            open_episode: running.and_then(|r| r.episode.as_deref()).and_then(parsed),
            alerts: running.map_or(alerts, |r| u64::from(r.alerts)),
            own: OwnSession {
                id: row.id,
                state,
                purpose: row.purpose,
                consent: row.consent,
                created: rfc3339(row.created),
                started: row.started.map(rfc3339),
                ended: row.ended.map(rfc3339),
            },
            source: row.source,
            kind: row.kind,
            basis: row.basis,
            created_by: row.created_by,
            rule: row.rule,
            judgement: row.judgement,
            books,
            join_url: None,
            join_token: None,
        }
    }
}

/// A `CloudEvent` that was written here.
pub(super) fn parsed(json: &str) -> Option<Value> {
    serde_json::from_str(json).ok()
}
