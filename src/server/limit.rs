//! How often one address may ask.

use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use axum::response::IntoResponse as _;
use tower_governor::GovernorError;
use tower_governor::key_extractor::KeyExtractor;

use super::auth::told_by_proxy;
use super::problem::Problem;

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
