//! The HTTP part of WHIP (RFC 9725): a browser offers, is answered, adds to its offer, goes.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post};

use super::auth::Caller;
use super::problem::{Named, Problem};
use super::whip::{Whip, WhipError};
use super::{Service, hold};
use crate::alert::journal::Role;

/// What a PATCH carries (RFC 8840).
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

pub(super) fn routes() -> Router<Arc<Service>> {
    Router::new().route("/whip/{session}", post(offer)).route("/whip/{session}/{resource}", delete(leave).patch(add))
}

impl From<WhipError> for Problem {
    fn from(error: WhipError) -> Self {
        let text = error.to_string();
        match error.status() {
            400 => Self::malformed(text),
            404 => Self::not_found(text),
            409 => Self::conflict(text),
            412 => Self::precondition(text),
            428 => Self::unconditional(text),
            413 => Self::too_large(text),
            415 => Self::media_type(text),
            422 => Self::invalid(text),
            _ => Self::unavailable(text).after(5),
        }
    }
}

/// A browser offers its camera and microphone. Nothing is taken before its participant has consented.
async fn offer(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named(id): Named<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    caller.of_session(&id, Role::Operator)?;
    let whip = service.whip()?;
    let offer = text_of(&headers, body, "application/sdp")?;
    let feed = {
        let open = hold(&service.open);
        let Some(session) = open.get(id.as_str()) else {
            return Err(Problem::conflict("the session is over, or there is none; ask for a new link"));
        };
        let Some(feed) = &session.feed else {
            return Err(Problem::conflict("this session's media does not come from a browser"));
        };
        if session.waiting.is_some() {
            return Err(Problem::forbidden("the participant has not consented: no media is taken before that"));
        }
        feed.clone()
    };
    let answer = whip.offer(id.as_str().into(), &offer, feed).await?;
    // The session may have ended meanwhile.
    if !hold(&service.open).contains_key(id.as_str()) {
        whip.close_session(&id).await;
        return Err(Problem::conflict("the session is over; ask for a new link"));
    }
    service.audit(&caller, "connected a browser", Some(&id)).await;
    let mut response = (StatusCode::CREATED, answer.sdp).into_response();
    let given = response.headers_mut();
    given.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/sdp"));
    put(given, header::LOCATION, &format!("/whip/{id}/{}", answer.resource));
    put(given, header::ETAG, &answer.etag);
    given.insert(HeaderName::from_static("accept-patch"), HeaderValue::from_static(FRAGMENT));
    for server in &service.config().server.ice_servers {
        if let Ok(link) = HeaderValue::from_str(&format!("<{server}>; rel=\"ice-server\"")) {
            given.append(header::LINK, link);
        }
    }
    Ok(response)
}

/// A browser adds ICE candidates (trickle).
async fn add(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named((id, resource)): Named<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Problem> {
    caller.of_session(&id, Role::Operator)?;
    let fragment = text_of(&headers, body, FRAGMENT)?;
    let whip = service.whip_of(&id, &resource).await?;
    let if_match = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok());
    whip.patch(&resource, &fragment, if_match).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A browser goes.
async fn leave(
    State(service): State<Arc<Service>>,
    caller: Caller,
    Named((id, resource)): Named<(String, String)>,
) -> Result<StatusCode, Problem> {
    caller.of_session(&id, Role::Operator)?;
    let whip = service.whip_of(&id, &resource).await?;
    whip.close(&resource).await;
    service.audit(&caller, "disconnected a browser", Some(&id)).await;
    Ok(StatusCode::OK)
}

impl Service {
    fn whip(&self) -> Result<Whip, Problem> {
        self.whip.clone().ok_or_else(|| Problem::unavailable("no browser can join: the service takes no WebRTC media"))
    }

    async fn whip_of(&self, session: &str, resource: &str) -> Result<Whip, Problem> {
        let whip = self.whip()?;
        if whip.belongs(resource, session).await {
            return Ok(whip);
        }
        Err(Problem::not_found("there is no such connection, or it is gone"))
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The body, where it is text of this type.
fn text_of(headers: &HeaderMap, body: Result<Bytes, BytesRejection>, kind: &str) -> Result<String, Problem> {
    let told = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if told.split(';').next().unwrap_or_default().trim() != kind {
        return Err(Problem::media_type(format!("send it with content-type: {kind}")));
    }
    String::from_utf8(body?.to_vec()).map_err(|_| Problem::malformed("the body is not UTF-8"))
}
