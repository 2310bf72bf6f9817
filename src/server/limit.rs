//! How often one address may ask.

use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, header};
use axum::middleware::Next;
use axum::response::IntoResponse as _;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tower_governor::GovernorError;
use tower_governor::key_extractor::KeyExtractor;

use super::MOST_BODY;
use super::auth::told_by_proxy;
use super::connection::SLOWEST;
use super::problem::Problem;

/// Of a body that is too large, so much is read and thrown away, for so long.
const MOST_DRAINED: usize = 16 * 1024 * 1024;
const DRAIN: std::time::Duration = std::time::Duration::from_secs(2);

/// Counts requests by the address they come from.
#[derive(Clone, Copy, Debug)]
pub struct ByAddress {
    /// A proxy tells it.
    pub behind_proxy: bool,
}

impl KeyExtractor for ByAddress {
    type Key = IpAddr;

    fn extract<T>(&self, request: &Request<T>) -> Result<IpAddr, GovernorError> {
        let told = if self.behind_proxy { told_by_proxy(request.headers()) } else { None };
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        told.or(peer).ok_or(GovernorError::UnableToExtractKey)
    }
}

/// Takes the body of a request off the line before anything else is done. What does not come whole in [`SLOWEST`] is refused, so that
/// nobody holds a connection by sending a byte now and then; so is what is too large. That is taken off as well, as far as that
/// goes quickly: who is still sending when the connection is closed may never see the answer.
pub async fn take_body(request: Request<Body>, next: Next) -> Response<Body> {
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let (parts, body) = request.into_parts();
    if length.is_none_or(|length| length <= MOST_BODY) {
        return match tokio::time::timeout(SLOWEST, Limited::new(body, MOST_BODY).collect()).await {
            Ok(Ok(whole)) => next.run(Request::from_parts(parts, Body::from(whole.to_bytes()))).await,
            Ok(Err(error)) if error.is::<LengthLimitError>() => too_large(),
            Ok(Err(_)) => Problem::malformed("the body broke off; send the request again").into_response(),
            Err(_) => {
                let what = format!("the body did not come within {} s; send the request again", SLOWEST.as_secs());
                Problem::slow(what).into_response()
            }
        };
    }
    let mut body = body.into_data_stream();
    let drain = async {
        let mut taken = 0;
        while taken <= MOST_DRAINED
            && let Some(Ok(chunk)) = body.next().await
        {
            taken += chunk.len();
        }
    };
    let _ = tokio::time::timeout(DRAIN, drain).await;
    too_large()
}

fn too_large() -> Response<Body> {
    Problem::too_large(format!("a body has at most {MOST_BODY} bytes")).into_response()
}

/// The refusal.
#[must_use]
#[allow(clippy::needless_pass_by_value, reason = "the layer gives it away")]
pub fn too_fast(error: GovernorError) -> Response<Body> {
    match error {
        GovernorError::TooManyRequests { wait_time, .. } => {
            let what = "too many requests from this address ([server] requests_per_second)";
            Problem::too_many(what).after(wait_time.max(1)).into_response()
        }
        GovernorError::UnableToExtractKey | GovernorError::Other { .. } => {
            Problem::internal("where the request comes from is not known").into_response()
        }
    }
}
