//! What goes into the journal and what comes out of it, beside events.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::alert::{Actor, Event};
use crate::session::Rule;

/// An event with its place in the journal.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its number: strictly increasing over the life of the file.
    pub seq: u64,
    /// The event.
    pub event: Event,
    /// The same as a `CloudEvent`; an alert's says `durable`.
    pub json: Arc<str>,
    /// Whether it stands in the journal. False: the disk refused or stalled; it is kept in memory until that heals.
    pub durable: bool,
}

/// Why the journal cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be opened.
    #[error("journal {path}: {what}")]
    Open {
        /// The file.
        path: String,
        /// Why, with the remedy.
        what: String,
    },
    /// The disk refuses or stalls.
    #[error("the journal cannot be written at present ({0}); free space or look at its disk")]
    Unavailable(String),
    /// There is no such thing.
    #[error("there is no {0}")]
    NotFound(String),
    /// There is one already.
    #[error("there is already {0}")]
    Exists(String),
    /// The journal is being closed.
    #[error("the journal is closed")]
    Closed,
    /// `SQLite` says no.
    #[error("journal: {0}")]
    Sqlite(#[from] rusqlite::Error),
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word of the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The one of this word, if there is one.
            #[must_use]
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == word)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// How a session stands, as seen from outside.
    SessionState {
        /// Made, and nobody has consented.
        AwaitingConsent => "awaiting_consent",
        /// Consented, and no media has come.
        AwaitingMedia => "awaiting_media",
        /// Being watched.
        Live => "live",
        /// Its source is lost.
        Away => "away",
        /// Paused.
        Paused => "paused",
        /// Over.
        Ended => "ended",
        /// Consent was withdrawn; nothing of it is kept.
        Withdrawn => "withdrawn",
        /// The service died while it ran.
        Interrupted => "interrupted",
    }
}

impl SessionState {
    /// Whether nothing more can come of it.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Withdrawn | Self::Interrupted)
    }
}

words! {
    /// What a token allows. Each includes those before it.
    Role {
        /// The own session only.
        Participant => "participant",
        /// To read.
        Viewer => "viewer",
        /// To act.
        Operator => "operator",
        /// Everything.
        Admin => "admin",
    }
}

words! {
    /// What somebody made of an alert.
    FeedbackVerdict {
        /// It was right.
        Confirmed => "confirmed",
        /// It was wrong.
        Dismissed => "dismissed",
        /// Not decided.
        Open => "open",
    }
}

words! {
    /// What became of an event at a sink.
    DeliveryState {
        /// Waiting, or being tried again.
        Pending => "pending",
        /// Taken.
        Delivered => "delivered",
        /// Given up; may be sent again by hand.
        Dead => "dead",
    }
}

/// A session that was made by the API.
#[derive(Clone, Debug, PartialEq)]
pub struct NewSession {
    /// Its id, a UUID of version 7.
    pub id: Arc<str>,
    /// Its source's name.
    pub source: Arc<str>,
    /// What kind of source: `webrtc`, `url`.
    pub kind: String,
    /// How it begins: awaiting consent, or media.
    pub state: SessionState,
    /// What it is for.
    pub purpose: String,
    /// What allows a purpose that is otherwise refused; JSON.
    pub basis: Option<serde_json::Value>,
    /// Consent that was given beforehand.
    pub consent: Option<ConsentRecord>,
    /// Name of the token that made it.
    pub created_by: String,
    /// When.
    pub created: Timestamp,
    /// The rule it will go by.
    pub rule: Rule,
    /// What else its maker wants to find again, such as the language; JSON.
    pub detail: Option<serde_json::Value>,
}

/// Somebody agreed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConsentRecord {
    /// When.
    pub at: Timestamp,
    /// Who: `participant`, or `operator` for one that was given elsewhere.
    #[serde(with = "actor")]
    pub by: Actor,
    /// Which text was shown.
    pub text_version: Option<String>,
    /// In which language.
    pub language: Option<String>,
    /// Where a consent that was given elsewhere is kept.
    pub reference: Option<String>,
}

mod actor {
    //! [`Actor`] as its word.
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::alert::Actor;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub fn serialize<S: Serializer>(actor: &Actor, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(match actor {
            Actor::Participant => "participant",
            Actor::Operator => "operator",
        })
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Actor, D::Error> {
        match String::deserialize(from)?.as_str() {
            "participant" => Ok(Actor::Participant),
            "operator" => Ok(Actor::Operator),
            other => Err(D::Error::custom(format!("{other} is nobody"))),
        }
    }
}

/// A session as the journal has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(missing_docs, reason = "as in NewSession")]
pub struct SessionRow {
    pub id: String,
    pub source: String,
    /// `webrtc`, `url`; `configured` for a session of a `[[source]]`.
    pub kind: String,
    pub state: SessionState,
    pub purpose: Option<String>,
    pub basis: Option<serde_json::Value>,
    pub consent: Option<ConsentRecord>,
    pub created_by: Option<String>,
    pub created: Timestamp,
    /// Its first frame.
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    pub rule: Option<String>,
    /// `panel` or `heuristic`, once it has begun.
    pub judgement: Option<String>,
    pub detail: Option<serde_json::Value>,
}

/// What somebody made of an alert.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Feedback {
    /// What.
    pub verdict: FeedbackVerdict,
    /// In words.
    pub note: String,
    /// Who: a token's name.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// What became of an event at one sink.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Delivery {
    /// The sink's name.
    pub sink: String,
    /// What became of it.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// When that was last known.
    pub at: Timestamp,
    /// Why it was not taken, without credentials.
    pub detail: Option<String>,
}

/// An alert with what became of it.
#[derive(Clone, Debug)]
pub struct AlertRow {
    /// Its number in the journal.
    pub seq: u64,
    /// The `CloudEvent`.
    pub json: Arc<str>,
    /// What somebody made of it.
    pub feedback: Option<Feedback>,
    /// What became of it at each sink that wants it.
    pub deliveries: Vec<Delivery>,
}

/// Somebody looked at or did something.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audit {
    /// When.
    pub at: Timestamp,
    /// Name and role of the token.
    pub who: String,
    /// What, such as `GET /v1/sessions/{id}`.
    pub action: String,
    /// To which session.
    pub session: Option<String>,
    /// From where.
    pub address: Option<String>,
}

/// What is left of a session whose consent was withdrawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// Its own id.
    pub id: String,
    /// The session.
    pub session: String,
    /// When.
    pub at: Timestamp,
    /// Windows of any outcome that were deleted.
    pub windows_deleted: u64,
    /// Alerts that were deleted.
    pub alerts_deleted: u64,
    /// Deliveries that had not happened and now will not.
    pub pending_deleted: u64,
    /// Sinks that had, or may have had, something of it, and are told of the withdrawal.
    pub receivers_told: Vec<String>,
}

/// Who a token stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Its name, unique.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// The one session of a participant.
    pub session: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is none.
    pub expires: Option<Timestamp>,
}

/// How a sink stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SinkState {
    /// Its name.
    pub sink: String,
    /// Events that wait for it.
    pub pending: u64,
    /// Events it never took.
    pub dead: u64,
    /// Since when the oldest of those that wait does.
    pub oldest: Option<Timestamp>,
}

/// Something that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// The event's number in the journal.
    pub seq: u64,
    /// The event's id.
    pub event: String,
    /// Its session.
    pub session: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up.
    pub at: Timestamp,
    /// Why it was not taken.
    pub detail: Option<String>,
}
