//! What changes something is done to its end, whether who asked for it is still there or not.
//!
//! A handler is a part of its connection, and is dropped with that when a page is closed or gives up. Half of a withdrawal, or a consent
//! after which nothing starts, is worse than an answer that nobody reads.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response};
use axum::middleware::Next;

use super::Service;

/// Runs a request that may change something apart from its connection. Those that only read are dropped with it.
pub(super) async fn detach(State(service): State<Arc<Service>>, request: Request<Body>, next: Next) -> Response<Body> {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let acting = service.acting.subscribe();
    crate::run::detached(async move {
        let answer = next.run(request).await;
        drop(acting);
        answer
    })
    .await
}

impl Service {
    /// Resolves when nothing that was asked for is under way any more, also of those who do not wait for the answer.
    pub async fn idle(&self) {
        self.acting.closed().await;
    }
}
