//! What went wrong with a request, as `application/problem+json` (RFC 9457).

use axum::Json;
use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::alert::journal::JournalError;
use crate::config::redact::redact_text;
use crate::run::ControlError;

/// A refused or failed request. Holds no credential: what could hold one is redacted when it is made.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    kind: &'static str,
    title: &'static str,
    detail: String,
    /// Seconds after which to ask again.
    retry_after: Option<u64>,
}

/// The wire form of a [`Problem`] (RFC 9457).
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(title = "Problem")]
pub struct ProblemBody {
    /// What kind of problem: a URI that never changes.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong with this request, and what to do.
    pub detail: String,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $status:ident $kind:literal $title:literal;)+) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(detail: impl AsRef<str>) -> Self {
            let detail = redact_text(detail.as_ref());
            Self { status: StatusCode::$status, kind: $kind, title: $title, detail, retry_after: None }
        })+
    };
}

impl Problem {
    kinds! {
        /// Nobody is known to ask.
        unauthorized UNAUTHORIZED "unauthorized" "A token is needed";
        /// Who asks may not.
        forbidden FORBIDDEN "forbidden" "Not allowed with this token";
        /// There is no such thing, or it may not be seen.
        not_found NOT_FOUND "not-found" "No such thing";
        /// The thing is there, and does not take that.
        method METHOD_NOT_ALLOWED "method-not-allowed" "Method not allowed";
        /// It does not go with how things stand.
        conflict CONFLICT "conflict" "It does not go with how things stand";
        /// The request cannot be read.
        malformed BAD_REQUEST "malformed" "The request cannot be read";
        /// The request can be read, and makes no sense.
        invalid UNPROCESSABLE_ENTITY "invalid" "The request makes no sense";
        /// The body is too large.
        too_large PAYLOAD_TOO_LARGE "too-large" "The body is too large";
        /// The body is of another media type.
        media_type UNSUPPORTED_MEDIA_TYPE "media-type" "Another media type is needed";
        /// It did not come to its end in time.
        slow REQUEST_TIMEOUT "slow" "The request came too slowly";
        /// It has to say what it is about (RFC 6585).
        unconditional PRECONDITION_REQUIRED "precondition-required" "A precondition is needed";
        /// A precondition failed.
        precondition PRECONDITION_FAILED "precondition" "A precondition failed";
        /// Too many requests, or sessions.
        too_many TOO_MANY_REQUESTS "too-many" "Too many";
        /// It cannot be done at present.
        unavailable SERVICE_UNAVAILABLE "unavailable" "Not possible at present";
        /// A defect of this program.
        internal INTERNAL_SERVER_ERROR "internal" "A defect of this program";
    }

    /// The same with the time after which to ask again, seconds.
    #[must_use]
    pub const fn after(mut self, secs: u64) -> Self {
        self.retry_after = Some(secs);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: format!("urn:ahwatch:problem:{}", self.kind),
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"ahwatch\""));
        }
        if let Some(secs) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        response
    }
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        match &error {
            JournalError::NotFound(_) => Self::not_found(error.to_string()),
            JournalError::Exists(_) => Self::conflict(error.to_string()),
            JournalError::Unavailable(_) | JournalError::Closed | JournalError::Open { .. } => {
                Self::unavailable(error.to_string()).after(5)
            }
            JournalError::Sqlite(_) => {
                tracing::error!("{error}");
                Self::internal("the journal could not be read; the log says why")
            }
        }
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        let text = error.to_string();
        match error {
            ControlError::Duplicate(_) => Self::conflict(text),
            ControlError::Refused(_) => Self::invalid(text),
            ControlError::Unknown(_) => Self::conflict(format!("{text}: the session is over, or has not begun")),
            ControlError::Busy(_) | ControlError::Stopping => Self::unavailable(text).after(1),
            ControlError::NotDeleted(_) => {
                tracing::error!("{text}");
                Self::internal(text)
            }
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        match rejection.status() {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::media_type("send JSON, with content-type: application/json"),
            StatusCode::UNPROCESSABLE_ENTITY => Self::invalid(inside(&rejection.body_text())),
            _ => Self::malformed(inside(&rejection.body_text())),
        }
    }
}

/// The part of axum's message that is about the body.
fn inside(message: &str) -> String {
    message.rsplit_once("target type: ").map_or(message, |(_, what)| what).to_owned()
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        Self::malformed(rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(_: PathRejection) -> Self {
        Self::not_found("the address cannot be read")
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::malformed(rejection.body_text())
    }
}

/// A JSON body. What is wrong with it is a [`Problem`].
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let Json(body) = <Json<T> as FromRequest<S>>::from_request(request, state).await?;
        Ok(Self(body))
    }
}

/// A JSON body that may be left out.
#[derive(Debug)]
pub struct MaybeBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for MaybeBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = <Json<T> as OptionalFromRequest<S>>::from_request(request, state).await?;
        Ok(Self(body.map(|Json(body)| body).unwrap_or_default()))
    }
}

/// The query of an address.
#[derive(Debug)]
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(query) = Query::<T>::from_request_parts(parts, state).await?;
        Ok(Self(query))
    }
}

/// A part of an address.
#[derive(Debug)]
pub struct Named<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(part) = Path::<T>::from_request_parts(parts, state).await?;
        Ok(Self(part))
    }
}
