//! The wire twin of [`Event`]: a `CloudEvents` 1.0 JSON object, the same on stdout, SSE, webhooks and MQTT.
//!
//! The schemas in `schemas/` are generated from these types by [`schemas`]; a test keeps them equal. Fields and words are
//! only ever added within a version. No media and nothing a model wrote is in any of them.

pub mod alerts;
pub mod flags;
pub mod proof;
pub mod session;
#[cfg(test)]
mod tests;
pub mod window;

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{Event, EventKind};
use crate::judge::{Label, WindowId};
use crate::session::{Labels, SessionKind};
use crate::time::{MediaTime, Span};

/// A `CloudEvents` 1.0 event in JSON format.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CloudEvent {
    /// Version of the `CloudEvents` specification.
    #[schemars(extend("const" = "1.0"))]
    pub specversion: &'static str,
    /// Unique, and the same whenever the event is delivered again: the session's id, a dot, and a count.
    pub id: String,
    /// The media source, as a URI reference: `/ahwatch/` and its percent-encoded name; `/ahwatch` where it is about none.
    #[schemars(extend("format" = "uri-reference"))]
    pub source: String,
    /// What happened, with the version of `data`.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = TYPES))]
    pub kind: &'static str,
    /// The session's id; missing outside any session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Wall time at which it was said, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub time: String,
    /// The format of `data`.
    #[schemars(extend("const" = "application/json"))]
    pub datacontenttype: &'static str,
    /// The `$id` of the JSON Schema of `data`.
    #[schemars(extend("format" = "uri"))]
    pub dataschema: String,
    /// As the schema named by `dataschema` says.
    #[schemars(with = "serde_json::Map<String, Value>")]
    pub data: Data,
}

/// The payloads, one per event type.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "each variant is the type it wraps")]
pub enum Data {
    SessionStarted(session::SessionStarted),
    WindowJudged(Box<window::WindowJudged>),
    WindowSkipped(window::WindowSkipped),
    WindowDropped(window::WindowDropped),
    WindowLost(window::WindowLost),
    SessionChanged(session::SessionChanged),
    AlertRaised(Box<alerts::AlertRaised>),
    EpisodeOpened(alerts::EpisodeOpened),
    EpisodeClosed(alerts::EpisodeClosed),
    SourceLost(alerts::SourceLost),
    SourceRestored(alerts::SourceRestored),
    JudgeChanged(alerts::JudgeChanged),
    SessionEnded(Box<session::SessionEnded>),
}

/// Every event type, in the order of a session's life.
pub const TYPES: [&str; 15] = [
    "ah.session.started.v1",
    "ah.window.judged.v1",
    "ah.window.skipped.v1",
    "ah.window.dropped.v1",
    "ah.window.lost.v1",
    "ah.session.paused.v1",
    "ah.session.resumed.v1",
    "ah.session.withdrawn.v1",
    "ah.alert.raised.v1",
    "ah.episode.opened.v1",
    "ah.episode.closed.v1",
    "ah.source.lost.v1",
    "ah.source.restored.v1",
    "ah.judge.changed.v1",
    "ah.session.ended.v1",
];

/// The `CloudEvents` type of an event.
#[must_use]
pub const fn type_of(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::SessionStarted(_) => TYPES[0],
        EventKind::WindowJudged(_) => TYPES[1],
        EventKind::WindowSkipped(..) => TYPES[2],
        EventKind::WindowDropped(..) => TYPES[3],
        EventKind::WindowLost(..) => TYPES[4],
        EventKind::SessionPaused(_) => TYPES[5],
        EventKind::SessionResumed(_) => TYPES[6],
        EventKind::SessionWithdrawn(_) => TYPES[7],
        EventKind::AlertRaised(_) => TYPES[8],
        EventKind::EpisodeOpened(..) => TYPES[9],
        EventKind::EpisodeClosed(..) => TYPES[10],
        EventKind::SourceLost(..) => TYPES[11],
        EventKind::SourceRestored(_) => TYPES[12],
        EventKind::JudgeChanged(_) => TYPES[13],
        EventKind::SessionEnded(_) => TYPES[14],
    }
}

impl From<&Event> for CloudEvent {
    fn from(event: &Event) -> Self {
        let kind = type_of(&event.kind);
        let head = Head::from(event);
        Self {
            specversion: "1.0",
            id: format!("{}.{}", event.scope, event.number),
            source: if head.source.is_empty() {
                "/ahwatch".to_owned()
            } else {
                format!("/ahwatch/{}", percent_encoded(&head.source))
            },
            kind,
            subject: head.session.clone(),
            time: rfc3339(event.wall),
            datacontenttype: "application/json",
            dataschema: schema_id(kind),
            data: data(head, event),
        }
    }
}

impl CloudEvent {
    /// The same; an alert says whether it stands in the journal.
    #[must_use]
    pub fn durable(mut self, durable: bool) -> Self {
        if let Data::AlertRaised(alert) = &mut self.data {
            alert.durable = Some(durable);
        }
        self
    }
}

fn data(head: Head, event: &Event) -> Data {
    match &event.kind {
        EventKind::SessionStarted(settings) => Data::SessionStarted(session::started(head, settings)),
        EventKind::WindowJudged(judged) => Data::WindowJudged(Box::new(window::judged(head, judged))),
        EventKind::WindowSkipped(unjudged, reason) => Data::WindowSkipped(window::skipped(head, unjudged, reason)),
        EventKind::WindowDropped(unjudged, reason) => Data::WindowDropped(window::dropped(head, unjudged, *reason)),
        EventKind::WindowLost(unjudged, reason) => Data::WindowLost(window::lost(head, unjudged, *reason)),
        EventKind::SessionPaused(by) | EventKind::SessionResumed(by) | EventKind::SessionWithdrawn(by) => {
            Data::SessionChanged(session::changed(head, *by))
        }
        EventKind::AlertRaised(alert) => Data::AlertRaised(Box::new(alerts::raised(head, event.span, alert))),
        EventKind::EpisodeOpened(kind, episode) => Data::EpisodeOpened(alerts::opened(head, *kind, episode)),
        EventKind::EpisodeClosed(kind, episode, by) => Data::EpisodeClosed(alerts::closed(head, *kind, episode, *by)),
        EventKind::SourceLost(state, detail) => Data::SourceLost(alerts::source_lost(head, *state, detail)),
        EventKind::SourceRestored(after) => Data::SourceRestored(alerts::source_restored(head, *after)),
        EventKind::JudgeChanged(change) => Data::JudgeChanged(alerts::judge_changed(head, change)),
        EventKind::SessionEnded(summary) => Data::SessionEnded(Box::new(session::ended(head, summary))),
    }
}

/// The books of a session that may still run, as its end will tell them.
#[must_use]
pub fn books(summary: &crate::session::Summary) -> Value {
    let span = Span::new(MediaTime::ZERO, summary.elapsed);
    let head = Head { session: None, source: String::new(), continuity: 0, span: span.into() };
    serde_json::to_value(session::ended(head, summary)).unwrap_or_default()
}

/// Which part of which session an event is about; in every `data`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Head {
    /// The session's id; null outside any session.
    pub session: Option<String>,
    /// The source's name, or its address without credentials; empty where it is about none.
    pub source: String,
    /// Counts from 0 in a session; a gap or a jump of the source begins the next.
    pub continuity: u32,
    /// The part of the session, in seconds from its first frame.
    pub span: SpanSecs,
}

impl From<&Event> for Head {
    fn from(event: &Event) -> Self {
        Self {
            session: event.session.as_ref().map(ToString::to_string),
            source: without_credentials(&event.source),
            continuity: event.continuity,
            span: event.span.into(),
        }
    }
}

/// A half-open span in session seconds.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct SpanSecs {
    /// First instant inside.
    pub start_secs: f64,
    /// First instant after.
    pub end_secs: f64,
}

impl From<Span> for SpanSecs {
    fn from(span: Span) -> Self {
        Self { start_secs: span.start().as_secs_f64(), end_secs: span.end().as_secs_f64() }
    }
}

/// Whether A/H (or hesitation cues, of the embedded index) shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LabelWord {
    /// Shows.
    Present,
    /// Does not show in what was judged.
    Absent,
    /// Too few votes, or too little judged, to say either.
    Undecided,
}

impl From<Label> for LabelWord {
    fn from(label: Label) -> Self {
        match label {
            Label::Present => Self::Present,
            Label::Absent => Self::Absent,
            Label::Undecided => Self::Undecided,
        }
    }
}

impl LabelWord {
    /// Yes, No, or nothing.
    #[must_use]
    pub const fn answer(self) -> Option<bool> {
        match self {
            Self::Present => Some(true),
            Self::Absent => Some(false),
            Self::Undecided => None,
        }
    }

    /// In lower case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Present => Label::Present.as_str(),
            Self::Absent => Label::Absent.as_str(),
            Self::Undecided => Label::Undecided.as_str(),
        }
    }
}

/// The session's label under both rules.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct LabelsByRule {
    /// The majority of the judges' session maxima.
    pub vote_of_max: LabelWord,
    /// The maximum of the windows' majorities.
    pub max_of_vote: LabelWord,
}

impl From<Labels> for LabelsByRule {
    fn from(labels: Labels) -> Self {
        Self { vote_of_max: labels.vote_of_max.into(), max_of_vote: labels.max_of_vote.into() }
    }
}

/// A judge's session max.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct JudgeMax {
    /// Its name in the panel.
    pub judge: String,
    /// Present after any Present vote; Absent if its own votes cover enough of the session; else undecided.
    pub max: LabelWord,
}

fn maxima(maxima: &[(std::sync::Arc<str>, Label)]) -> Vec<JudgeMax> {
    maxima.iter().map(|(judge, max)| JudgeMax { judge: judge.to_string(), max: (*max).into() }).collect()
}

/// Who judges.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// A panel of models.
    Panel,
    /// The embedded hesitation-cue index.
    Heuristic,
}

impl From<SessionKind> for Judgement {
    fn from(kind: SessionKind) -> Self {
        match kind {
            SessionKind::Panel => Self::Panel,
            SessionKind::Heuristic => Self::Heuristic,
        }
    }
}

/// Said of the embedded index only, and then always no.
const fn calibrated(kind: SessionKind) -> Option<bool> {
    match kind {
        SessionKind::Panel => None,
        SessionKind::Heuristic => Some(false),
    }
}

/// Which window of a session.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct WindowNumber {
    /// Its continuity.
    pub continuity: u32,
    /// Counts from 0 in its continuity.
    pub index: u32,
}

impl From<WindowId> for WindowNumber {
    fn from(id: WindowId) -> Self {
        Self { continuity: id.continuity, index: id.index }
    }
}

/// JSON has no infinities: they become null.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn secs(time: MediaTime) -> f64 {
    time.as_secs_f64()
}

/// RFC 3339 in milliseconds.
pub(crate) fn rfc3339(time: jiff::Timestamp) -> String {
    format!("{time:.3}")
}

fn schema_id(kind: &str) -> String {
    format!("urn:ahwatch:schema:{kind}")
}

/// An address without user, password and query (cameras take passwords there); a name unchanged.
pub(crate) fn without_credentials(source: &str) -> String {
    let Some((scheme, rest)) = source.split_once("://") else { return source.to_owned() };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    // A password may itself hold '@' or '/', where whoever typed it did not encode it. In a well-formed address the user
    // ends at the last '@' before the first '/'; in any other, everything before the last '@' goes.
    let well_formed = url::Url::parse(source).is_ok_and(|url| url.host().is_some());
    let authority = if well_formed { rest.find('/').unwrap_or(rest.len()) } else { rest.len() };
    let start = rest[..authority].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[start..])
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// The JSON Schemas: of the envelope (`cloudevent`), and of each event type's `data` under the type's name. The file of
/// each is `schemas/<name>.schema.json`.
#[must_use]
pub fn schemas() -> Vec<(&'static str, Value)> {
    let mut all = vec![("cloudevent", schema::<CloudEvent>("cloudevent"))];
    for kind in TYPES {
        let value = match kind {
            "ah.session.started.v1" => schema::<session::SessionStarted>(kind),
            "ah.window.judged.v1" => schema::<window::WindowJudged>(kind),
            "ah.window.skipped.v1" => schema::<window::WindowSkipped>(kind),
            "ah.window.dropped.v1" => schema::<window::WindowDropped>(kind),
            "ah.window.lost.v1" => schema::<window::WindowLost>(kind),
            "ah.alert.raised.v1" => schema::<alerts::AlertRaised>(kind),
            "ah.episode.opened.v1" => schema::<alerts::EpisodeOpened>(kind),
            "ah.episode.closed.v1" => schema::<alerts::EpisodeClosed>(kind),
            "ah.source.lost.v1" => schema::<alerts::SourceLost>(kind),
            "ah.source.restored.v1" => schema::<alerts::SourceRestored>(kind),
            "ah.judge.changed.v1" => schema::<alerts::JudgeChanged>(kind),
            "ah.session.ended.v1" => schema::<session::SessionEnded>(kind),
            // Paused, resumed, withdrawn.
            _ => schema::<session::SessionChanged>(kind),
        };
        all.push((kind, value));
    }
    all
}

fn schema<T: JsonSchema>(name: &str) -> Value {
    // "For serialization": what is always written is required.
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("$id".to_owned(), Value::String(schema_id(name)));
    schema.insert("title".to_owned(), Value::String(name.to_owned()));
    schema.to_value()
}
