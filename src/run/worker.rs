//! The process that decodes one source, and the relay that leads it to its camera.

#![allow(clippy::disallowed_methods, reason = "part of run.rs")]

use std::convert::Infallible;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::jobs::play;
use crate::isolate::{Relay, SandboxError, Task, enter, write, write_ready};
use crate::source::locate::whereabouts;
use crate::source::{Incoming, Location, SourceError, Spec};

/// A worker does not begin. Its supervisor says that it ended; this says why.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// What it was told makes no sense: it was started by hand.
    #[error("no task on standard input; this command is for ahwatch itself")]
    Task,
    /// GStreamer, or the pipeline.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The sandbox cannot be set up.
    #[error("the process cannot be confined: {0}")]
    Sandbox(#[from] SandboxError),
    /// The system refuses a thread, or its own standard output.
    #[error(transparent)]
    System(#[from] std::io::Error),
}

/// The longest task: its pipeline's text may be the user's own.
const LONGEST_TASK: u64 = 1 << 20;
/// How long a camera may take to accept a connection. Less than a worker waits for its first frame, which then has the reason to tell.
const CONNECTING: Duration = Duration::from_secs(8);
/// Where no connection can be accepted, the next is tried after this.
const TIRED: Duration = Duration::from_millis(100);
/// Connections of one source at a time: `rtspsrc` has one, and the one before it may still be closing.
const MOST_CONNECTIONS: usize = 4;

/// The worker: reads its task, gives up what it does not need, plays the source, and says all on its standard output.
///
/// # Errors
/// The task makes no sense, GStreamer is not there, or the sandbox cannot be set up.
pub fn decode() -> Result<(), WorkerError> {
    let mut task = Vec::new();
    std::io::stdin().take(LONGEST_TASK).read_to_end(&mut task)?;
    let task: Task = serde_json::from_slice(&task).map_err(|_| WorkerError::Task)?;
    let (file, port) = (task.file().cloned(), task.port());
    let (spec, retry) = task.spec().ok_or(WorkerError::Task)?;
    // All code that may be needed is loaded, while files can be opened.
    crate::source::load()?;
    spec.description.check()?;
    let held = enter(file.as_deref(), port)?;
    // Not std's own stdout, which looks for lines; and by `write`, since a recording's worker may not even `send`.
    let mut out = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    write_ready(&mut out, held)?;
    let (_running, stop) = crossbeam_channel::bounded::<Infallible>(0);
    play(&spec, &retry, &stop, |message| {
        let heard = write(&mut out, message.as_ref()).is_ok();
        heard && !matches!(message, Some(Incoming::Finished(_)))
    })?;
    Ok(())
}

/// A relay while it is needed.
pub(super) struct Open {
    pub relay: Relay,
    _running: oneshot::Sender<Infallible>,
}

/// Opens a relay to a camera: a port of loopback, all connections to which lead there. Bytes are copied, not looked at. None: the
/// source is no camera.
///
/// # Errors
/// The system gives no port or no thread.
pub(super) fn open(spec: &Spec) -> std::io::Result<Option<Open>> {
    let Location::Rtsp(url) = &spec.location else { return Ok(None) };
    if url.host().is_none() {
        return Ok(None);
    }
    let camera = Arc::new(spec.clone());
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let relay = Relay { port: listener.local_addr()?.port(), trouble: Arc::default() };
    let (running, ended) = oneshot::channel::<Infallible>();
    let trouble = Arc::clone(&relay.trouble);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("rel:{}", spec.name)).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = ended => {}
                () = lead(listener, camera, &trouble) => {}
            }
        });
        // A name that is being looked up is not waited for.
        runtime.shutdown_background();
    })?;
    Ok(Some(Open { relay, _running: running }))
}

/// Connects to the camera.
async fn reach(camera: &Arc<Spec>) -> Result<TcpStream, String> {
    let failed = |error: std::io::Error| format!("the camera cannot be reached: {error}");
    let asked = Arc::clone(camera);
    let at = super::blocking(move || whereabouts(&asked)).await;
    let Some(Location::Rtsp(url)) = at.transpose()? else { return Err("its address is none".to_owned()) };
    let host = match url.host() {
        Some(url::Host::Ipv6(address)) => address.to_string(),
        Some(host) => host.to_string(),
        None => String::new(),
    };
    TcpStream::connect((host, url.port().unwrap_or(554))).await.map_err(failed)
}

async fn lead(listener: std::net::TcpListener, camera: Arc<Spec>, trouble: &Arc<Mutex<Option<String>>>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => {
                let Ok((worker, _)) = accepted else {
                    // No descriptor is left, most likely: it may be a while.
                    sleep(TIRED).await;
                    continue;
                };
                connections.spawn(connection(worker, Arc::clone(&camera), Arc::clone(trouble)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(mut worker: TcpStream, camera: Arc<Spec>, trouble: Arc<Mutex<Option<String>>>) {
    let connected = timeout(CONNECTING, reach(&camera)).await;
    let say = |reason| *trouble.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    let reason = match connected {
        Ok(Ok(mut camera)) => {
            say(None);
            // One that goes away is told by the end of the other.
            let _ = copy_bidirectional(&mut worker, &mut camera).await;
            return;
        }
        Ok(Err(reason)) => reason,
        Err(_) => format!("the camera does not answer within {} s", CONNECTING.as_secs()),
    };
    say(Some(reason));
}
