//! The service's topology: the watch, the journal and its sinks, the HTTP server, WebRTC, and what keeps them in order.
//!
//! ```text
//! watch ── events, bounded ──▶ hub: journal, then ──▶ broadcast ──▶ readers of event streams
//!                                        └──▶ outbox ──▶ a task per sink
//! HTTP ── commands ──▶ watch
//! ```
//!
//! Shutdown: first no connection is taken any more and browsers are let go, then the watch ends as it always does, then the hub
//! has everything in the journal, event streams end with that, open requests are answered and what
//! was asked for is done, then the journal is closed. What sinks
//! have not taken stays in the journal.

#![allow(clippy::disallowed_methods, reason = "part of run.rs")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tower_governor::GovernorLayer;
use tower_governor::governor::GovernorConfigBuilder;

use super::{Anew, ControlError, Outcome, RunError, Sinks, control, run_controlled};
use crate::alert::journal::Journal;
use crate::config::{Config, FileWatch};
use crate::record::{Records, broken_off};
use crate::server::connection::{Acceptor, hurry};
use crate::server::limit::{ByAddress, too_fast};
use crate::server::{Service, router};
use crate::time::wall;

/// Events that may wait for the journal.
const WAITING: usize = 1024;
/// Events that the journal takes at once.
const AT_ONCE: usize = 64;
/// Open requests have so long after a stop.
const LAST_REQUESTS: Duration = Duration::from_secs(3);
/// And at least so long after the last event was told, which readers of streams still get.
const LAST_EVENTS: Duration = Duration::from_secs(1);
/// Between two looks at sessions that nobody began, and at limits of addresses that are quiet.
const TIDY: Duration = Duration::from_secs(30);
/// How often the certificate is looked at. Both of its files are usually replaced within a moment.
const LOOK: Duration = Duration::from_secs(1);
/// Seconds' worth of requests that an address may make at once.
const BURST: u32 = 10;

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("{0} cannot be listened on: {1}; is another process there, or the address not this machine's?")]
    Listen(SocketAddr, std::io::Error),
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Certificate(#[from] crate::server::tls::TlsError),
    /// The journal cannot be opened.
    #[error(transparent)]
    Journal(#[from] crate::alert::journal::JournalError),
    /// The limit of requests is none.
    #[error("[server] requests_per_second is too large for this machine; give less")]
    Limit,
    /// A sink cannot be set up.
    #[error(transparent)]
    Sink(#[from] crate::alert::sink::SinkError),
    /// The watch cannot begin.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Where the service is.
#[derive(Clone, Debug)]
pub struct Listening {
    /// The API and the pages.
    pub api: SocketAddr,
    /// The same for browsers.
    pub public_url: String,
    /// Where browsers send media, UDP.
    pub media: Vec<SocketAddr>,
}

/// Serves until `stop` resolves. `anew`: configurations to go on with, as for [`run_anew`](super::run_anew). `listening` is told
/// where it is, once it answers.
///
/// # Errors
/// Something that is needed before anything runs is not there.
pub async fn serve(
    config: Config,
    anew: mpsc::Receiver<Anew>,
    listening: oneshot::Sender<Listening>,
    stop: impl Future<Output = ()>,
) -> Result<Outcome, ServeError> {
    let server = config.server.clone();
    let listener =
        std::net::TcpListener::bind(server.listen).map_err(|error| ServeError::Listen(server.listen, error))?;
    listener.set_nonblocking(true).map_err(|error| ServeError::Listen(server.listen, error))?;
    let address = listener.local_addr().map_err(|error| ServeError::Listen(server.listen, error))?;
    let scheme = if server.tls.is_some() { "https" } else { "http" };
    let public_url = server.public_url.unwrap_or_else(|| format!("{scheme}://{address}"));
    let tls = match &server.tls {
        Some((cert, key)) => Some(crate::server::tls::read(cert, key).await?),
        None => None,
    };
    let whip = super::whip::whip(server.media_listen, &server.media_addresses)
        .await
        .map_err(|error| ServeError::Listen(server.media_listen, error))?;
    let journal = super::journal::journal(&config.journal, &config.sinks)?;
    if let Some(dir) = &config.record {
        remove_clips(&journal, dir).await;
    }
    let (control, commands) = control();
    let configs = control.configs();
    let service = Arc::new(Service::new(
        Arc::new(config.clone()),
        public_url.clone(),
        control,
        journal.clone(),
        Some(whip.clone()),
    ));

    let mut tasks = JoinSet::new();
    let sinks = Sinks::start(&journal, &config.sinks, service.stages())?;
    let sinks = tokio::spawn(sinks.follow(configs));
    let (events, told) = mpsc::channel(WAITING);
    service.watch_queue(&events);
    let hub = tokio::spawn(hub(told, Arc::clone(&service)));
    let handle = Handle::new();
    // A burst is a page with all its files, or a script that catches up.
    let a_second = server.requests_per_second;
    let limit = GovernorConfigBuilder::default()
        .period(Duration::from_secs(1) / a_second)
        .burst_size(a_second.saturating_mul(BURST))
        .key_extractor(ByAddress { behind_proxy: server.behind_proxy })
        .finish();
    let limit = Arc::new(limit.ok_or(ServeError::Limit)?);
    let app = router(Arc::clone(&service)).layer(GovernorLayer::new(Arc::clone(&limit)).error_handler(too_fast));
    if let (Some(tls), Some((cert, key))) = (&tls, &server.tls) {
        tasks.spawn(renew(tls.clone(), cert.clone(), key.clone()));
    }
    let mut answering = tokio::spawn(listen(listener, tls, handle.clone(), app));
    tasks.spawn(tidy(Arc::clone(&service), move || limit.limiter().retain_recent()));
    let _ = listening.send(Listening { api: address, public_url, media: whip.addresses().to_vec() });

    let until = OnceLock::new();
    let stopping = async {
        stop.await;
        let _ = until.set(tokio::time::Instant::now() + LAST_REQUESTS);
        // Nothing new comes in from here on.
        handle.graceful_shutdown(None);
        whip.close_all().await;
    };
    let commands = commands.timed(service.stages());
    let outcome = run_controlled(&config, anew, commands, events, stopping).await;
    // It ends with the watch, which had the last sender.
    let _ = hub.await;
    service.end_streams();
    // Said again, where the watch ended by itself.
    handle.graceful_shutdown(None);
    let soonest = tokio::time::Instant::now() + LAST_EVENTS;
    let latest = until.get().map_or(soonest, |until| soonest.max(*until));
    if tokio::time::timeout_at(latest, &mut answering).await.is_err() {
        tracing::warn!("{} connections were cut: their requests took too long", handle.connection_count());
        answering.abort();
        handle.shutdown();
    }
    // Who asked for something and went away is none of those connections.
    if tokio::time::timeout_at(latest, service.idle()).await.is_err() {
        tracing::warn!("requests of clients that are gone were cut: they took too long");
    }
    drop(tasks);
    // It followed the configuration as long as the watch did.
    if let Ok(sinks) = sinks.await {
        sinks.stop().await;
    }
    journal.close().await;
    Ok(outcome?)
}

/// Deletes the clips of sessions whose withdrawal the last run did not come to the end of.
async fn remove_clips(journal: &Journal, dir: &Path) {
    for session in journal.finished() {
        let (dir, id) = (dir.to_owned(), session.clone());
        let removed = super::blocking(move || Records::remove_from(&dir, &id)).await;
        if let Err(error) = removed.unwrap_or_else(|| Err(broken_off())) {
            let error = ControlError::NotDeleted(error.to_string().into());
            tracing::error!(session = %session, "its consent was withdrawn: {error}");
        }
    }
}

/// Answers requests until the handle says otherwise.
async fn listen(
    listener: std::net::TcpListener,
    tls: Option<RustlsConfig>,
    handle: Handle<SocketAddr>,
    app: axum::Router,
) {
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let served = match tls {
        Some(tls) => match axum_server::from_tcp_rustls(listener, tls) {
            Ok(mut server) => {
                hurry(server.http_builder());
                server.map(|tls| tls.acceptor(Acceptor)).handle(handle).serve(app).await
            }
            Err(error) => Err(error),
        },
        None => match axum_server::from_tcp(listener) {
            Ok(mut server) => {
                hurry(server.http_builder());
                server.acceptor(Acceptor).handle(handle).serve(app).await
            }
            Err(error) => Err(error),
        },
    };
    if let Err(error) = served {
        tracing::error!("the API no longer answers: {error}");
    }
}

/// Takes a renewed certificate without a restart. What cannot be used is told once and tried again, since what was wrong may be
/// mended without another change of the files (their owner, say); the one there is stays.
async fn renew(tls: RustlsConfig, cert: PathBuf, key: PathBuf) {
    let mut watched = FileWatch::new(vec![cert.clone(), key.clone()]);
    let mut ticks = tokio::time::interval(LOOK);
    let mut refused = None;
    loop {
        ticks.tick().await;
        if !watched.changed() && refused.is_none() {
            continue;
        }
        match crate::server::tls::read(&cert, &key).await {
            Ok(new) => {
                refused = None;
                tls.reload_from_config(new.get_inner());
                tracing::warn!("the certificate was read again, and holds for new connections: {}", cert.display());
            }
            Err(error) => {
                let why = error.to_string();
                if refused.as_ref() != Some(&why) {
                    tracing::error!("the certificate has changed and was not taken; the one there was stays: {why}");
                }
                refused = Some(why);
            }
        }
    }
}

/// Looks after what nobody else ends.
async fn tidy(service: Arc<Service>, forget: impl Fn()) {
    let mut ticks = tokio::time::interval(TIDY);
    loop {
        ticks.tick().await;
        service.tidy(wall()).await;
        forget();
    }
}

/// Hands events on to the service, in order, until the watch has ended.
async fn hub(mut told: mpsc::Receiver<crate::alert::Event>, service: Arc<Service>) {
    let mut batch = Vec::with_capacity(AT_ONCE);
    while told.recv_many(&mut batch, AT_ONCE).await > 0 {
        service.tell(std::mem::take(&mut batch)).await;
    }
}
