//! The service's topology: the watch, the journal and its sinks, the HTTP server, WebRTC, and what keeps them in order.
//!
//! ```text
//! watch ── events, bounded ──▶ hub: journal, then ──▶ broadcast ──▶ readers of event streams
//!                                        └──▶ outbox ──▶ a task per sink
//! HTTP ── commands ──▶ watch
//! ```
//!
//! Shutdown: first no request is taken any more and browsers are let go, then the watch ends as it always does, then the hub
//! has everything in the journal, then the journal is closed. What sinks have not taken stays in the journal.

#![allow(clippy::disallowed_methods, reason = "part of run.rs")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;

use super::{Outcome, RunError, control, run_controlled};
use crate::config::Config;
use crate::server::{Service, by_address, router, too_fast};

/// Events that may wait for the journal.
const WAITING: usize = 1024;
/// Events that the journal takes at once.
const AT_ONCE: usize = 64;
/// Open requests have so long after a stop; event streams end at once.
const LAST_REQUESTS: Duration = Duration::from_secs(3);
/// Between two looks at sessions that nobody began, and at limits of addresses that are quiet.
const TIDY: Duration = Duration::from_secs(30);

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("{0} cannot be listened on: {1}; is another process there, or the address not this machine's?")]
    Listen(SocketAddr, std::io::Error),
    /// The certificate cannot be used.
    #[error("[server] tls_cert, tls_key: {0}; give a certificate chain and its key in PEM")]
    Certificate(std::io::Error),
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] crate::alert::journal::JournalError),
    /// A sink cannot be set up.
    #[error("{0}")]
    Sink(String),
    /// The watch cannot begin.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Serves until `stop` resolves. `anew`: configurations to go on with, as for [`run_anew`](super::run_anew). `listening` is told
/// the address of the API once it answers.
///
/// # Errors
/// Something that is needed before anything runs is not there.
pub async fn serve(
    config: Config,
    mut anew: mpsc::Receiver<Config>,
    listening: oneshot::Sender<SocketAddr>,
    stop: impl Future<Output = ()>,
) -> Result<Outcome, ServeError> {
    let server = config.server.clone();
    let listener = std::net::TcpListener::bind(server.listen).map_err(|error| ServeError::Listen(server.listen, error))?;
    listener.set_nonblocking(true).map_err(|error| ServeError::Listen(server.listen, error))?;
    let address = listener.local_addr().map_err(|error| ServeError::Listen(server.listen, error))?;
    let tls = match &server.tls {
        Some((cert, key)) => Some(RustlsConfig::from_pem_file(cert, key).await.map_err(ServeError::Certificate)?),
        None => None,
    };
    let whip = super::whip::whip(server.media_listen, server.media_addresses.clone())
        .await
        .map_err(|error| ServeError::Listen(server.media_listen, error))?;
    let journal = super::journal::journal(&config.journal)?;
    let (current, configs) = watch::channel(Arc::new(config.clone()));
    let (control, commands) = control::control();
    let (begun, watching) = watch::channel(false);
    let service = Arc::new(Service::new(configs, control, journal.clone(), Some(whip.clone()), watching));

    let mut tasks = JoinSet::new();
    let sinks = super::sinks::sinks(&config.sinks, &journal).map_err(ServeError::Sink)?;
    let (events, told) = mpsc::channel(WAITING);
    let hub = tokio::spawn(hub(told, Arc::clone(&service)));
    let handle = Handle::new();
    tasks.spawn(listen(listener, tls, handle.clone(), Arc::clone(&service), server.requests_per_second, server.behind_proxy));
    tasks.spawn(tidy(Arc::clone(&service)));
    let _ = listening.send(address);

    // The pages read the same configuration as the watch.
    let (pass, passed) = mpsc::channel(1);
    tasks.spawn(async move {
        while let Some(config) = anew.recv().await {
            current.send_replace(Arc::new(config.clone()));
            if pass.send(config).await.is_err() {
                return;
            }
        }
    });
    let (halt, halted) = oneshot::channel::<()>();
    let stopping = {
        let handle = handle.clone();
        async move {
            stop.await;
            // Nothing new comes in from here on.
            handle.graceful_shutdown(Some(LAST_REQUESTS));
            whip.close_all().await;
            let _ = halt.send(());
        }
    };
    tasks.spawn({
        let control = service.control().clone();
        async move {
            // The first command is obeyed when the judges were examined and the configured sources are there.
            control.begun().await;
            begun.send_replace(true);
            std::future::pending().await
        }
    });
    let watch = run_controlled(&config, passed, commands, events, async {
        let _ = halted.await;
    });
    let (outcome, ()) = tokio::join!(watch, async {
        tokio::select! {
            () = stopping => {}
            // A watch that ends by itself did not begin.
            () = handle.wait_ended() => {}
        }
    });
    let _ = hub.await;
    drop(tasks);
    sinks.stop().await;
    journal.close().await;
    Ok(outcome?)
}

/// Hands events on to the service, in order, until the watch has ended.
async fn hub(mut told: mpsc::Receiver<crate::alert::Event>, service: Arc<Service>) {
    let mut batch = Vec::with_capacity(AT_ONCE);
    while told.recv_many(&mut batch, AT_ONCE).await > 0 {
        service.tell(std::mem::take(&mut batch)).await;
    }
}
