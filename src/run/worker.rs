//! The process that decodes one source, and the relay that leads it to its camera.

#![allow(clippy::disallowed_methods, reason = "part of run.rs")]

use std::convert::Infallible;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, copy};
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
/// Where one direction has ended, the other has so long for its last words. A camera that hangs has none, and never closes.
const LAST_WORDS: Duration = Duration::from_secs(1);
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
    });
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

async fn connection(worker: TcpStream, camera: Arc<Spec>, trouble: Arc<Mutex<Option<String>>>) {
    let connected = timeout(CONNECTING, reach(&camera)).await;
    let say = |reason| *trouble.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    let reason = match connected {
        Ok(Ok(camera)) => {
            say(None);
            join(worker, camera).await;
            return;
        }
        Ok(Err(reason)) => reason,
        Err(_) => format!("the camera does not answer within {} s", CONNECTING.as_secs()),
    };
    say(Some(reason));
}

/// Copies both ways until either has ended, and a moment longer; then both connections are closed. One that goes away is told by the
/// end of the other.
async fn join(mut worker: TcpStream, mut camera: TcpStream) {
    let (mut from_worker, mut to_worker) = worker.split();
    let (mut from_camera, mut to_camera) = camera.split();
    let there = async {
        let _ = copy(&mut from_worker, &mut to_camera).await;
        let _ = to_camera.shutdown().await;
    };
    let back = async {
        let _ = copy(&mut from_camera, &mut to_worker).await;
        let _ = to_worker.shutdown().await;
    };
    tokio::pin!(there, back);
    tokio::select! {
        () = &mut there => drop(timeout(LAST_WORDS, back).await),
        () = &mut back => drop(timeout(LAST_WORDS, there).await),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::source::Description;
    use crate::time::monotonic;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn a_camera_that_accepts_and_hangs_does_not_use_the_relay_up() {
        let camera = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("rtsp://{}/live", camera.local_addr().unwrap());
        let location = Location::Rtsp(url::Url::parse(&url).unwrap());
        let spec = Spec::once("hangs", location, Description::shipped("rtsp.gst", None).unwrap());
        let open = open(&spec).unwrap().unwrap();
        let ask = || {
            let mut worker = std::net::TcpStream::connect(("127.0.0.1", open.relay.port)).unwrap();
            worker.set_read_timeout(Some(LIMIT)).unwrap();
            worker.write_all(b"OPTIONS").unwrap();
            worker
        };
        camera.set_nonblocking(true).unwrap();
        let accept = || {
            let began = monotonic();
            while began.elapsed() < LIMIT {
                if let Ok((connection, _)) = camera.accept() {
                    connection.set_read_timeout(Some(LIMIT)).unwrap();
                    return connection;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            panic!("the relay does not connect any more");
        };
        // It accepts, says nothing and closes nothing; who asked gives up.
        let mut hung = Vec::new();
        for _ in 0..=MOST_CONNECTIONS {
            drop(ask());
            hung.push(accept());
        }
        // It works again; its last word arrives.
        let mut worker = ask();
        let mut works = accept();
        let mut words = [0; 7];
        works.read_exact(&mut words).unwrap();
        assert_eq!(&words, b"OPTIONS");
        works.write_all(b"200 OK").unwrap();
        drop(works);
        let mut answer = String::new();
        worker.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "200 OK");
        drop(hung);
    }
}
