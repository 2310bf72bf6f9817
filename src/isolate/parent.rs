//! Starts the worker of a source, hands on what it says, and starts another when it dies.

use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};

use super::wire::{Said, WireError, read};
use super::{Held, Task};
use crate::source::{Finish, Incoming, Location, Loss, Retry, SourceError, Spec, say, stopped};
use crate::time::{MediaTime, monotonic};

/// A worker says something ten times a second. One that is silent for so long is killed.
const SILENCE: Duration = Duration::from_secs(10);
/// How often a wait for it looks whether the source is stopped.
const TICK: Duration = Duration::from_millis(200);
/// What a worker gets of the environment: where GStreamer and its list of elements are, and how much is logged. No secrets.
const ENVIRONMENT: [&str; 12] = [
    "HOME",
    "XDG_CACHE_HOME",
    "LD_LIBRARY_PATH",
    "GST_PLUGIN_PATH",
    "GST_PLUGIN_PATH_1_0",
    "GST_PLUGIN_SYSTEM_PATH",
    "GST_PLUGIN_SYSTEM_PATH_1_0",
    "GST_REGISTRY",
    "GST_REGISTRY_1_0",
    "GST_DEBUG",
    "RUST_LOG",
    "TZ",
];

/// The way to a camera that a worker has: it connects to a port of this machine, and somebody else to the camera.
#[derive(Clone, Debug)]
pub struct Relay {
    /// On loopback.
    pub port: u16,
    /// Why the camera could not be reached, when last tried.
    pub trouble: Arc<Mutex<Option<String>>>,
}

/// How a worker ended.
enum Ended {
    Stopped,
    Finished(Finish),
    Died(String),
}

/// As [`crate::source::supervise`], with the media decoded in a worker. Blocks: give it a thread.
pub fn supervise(
    spec: &Spec,
    retry: &Retry,
    relay: Option<&Relay>,
    sender: Sender<Incoming>,
    stop: Receiver<Infallible>,
) {
    let finish = workers(spec, retry, relay, &sender, &stop);
    // As with every source: taken, or nobody is there.
    let _ = sender.send(Incoming::Finished(finish));
    drop((sender, stop));
}

fn workers(
    spec: &Spec,
    retry: &Retry,
    relay: Option<&Relay>,
    sender: &Sender<Incoming>,
    stop: &Receiver<Infallible>,
) -> Finish {
    let location = spec.location.to_string();
    let mut tries = 0;
    loop {
        let began = monotonic();
        let reason = match worker(spec, retry, relay, sender, stop) {
            Ok(Ended::Stopped) => return Finish::incomplete(None),
            Ok(Ended::Finished(finish)) => return finish,
            Ok(Ended::Died(reason)) => reason,
            Err(error) => format!("no process to decode it in: {error}"),
        };
        let recorded = matches!(spec.location, Location::File(_));
        if recorded || spec.once {
            return Finish::incomplete(Some(SourceError::Media { location, reason }));
        }
        if began.elapsed() > retry.longest {
            tries = 0;
        }
        let wait = retry.wait(tries);
        tries = tries.saturating_add(1);
        let lost = Incoming::Lost(Loss { reason, auth_failed: false });
        if !say(sender, stop, lost) || stop.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
            return Finish::incomplete(None);
        }
    }
}

/// One worker, from its start to its end.
fn worker(
    spec: &Spec,
    retry: &Retry,
    relay: Option<&Relay>,
    sender: &Sender<Incoming>,
    stop: &Receiver<Infallible>,
) -> std::io::Result<Ended> {
    let task = Task::new(spec, retry, relay.map(|relay| relay.port));
    let task = task.ok_or_else(|| std::io::Error::other("such a source is not decoded apart"))?;
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_read_timeout(Some(TICK))?;
    let kept = ENVIRONMENT.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
    let mut child = Command::new("/proc/self/exe") // also where the file was replaced by a newer version
        .arg("worker")
        .env_clear()
        .envs(kept)
        // Each thread would reserve 64 MiB of the address space it is limited to.
        .env("MALLOC_ARENA_MAX", "2")
        .stdin(Stdio::piped())
        .stdout(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .map(Running)?;
    if let Some(mut stdin) = child.0.stdin.take() {
        // Fails when it is dead already, which is told below.
        let _ = serde_json::to_vec(&task).map_err(std::io::Error::from).and_then(|task| stdin.write_all(&task));
    }
    let mut from = Patient { stream: ours, stop: stop.clone(), heard: monotonic() };
    let (location, live) = (spec.location.to_string(), spec.is_live());
    let mut refused = 0u32;
    loop {
        let message = match read(&mut from, &location) {
            Ok(Said::Idle) => continue,
            Ok(Said::Ready(held)) => {
                ready(spec, held);
                continue;
            }
            Ok(Said::Finished(finish)) => return Ok(finished(finish, spec, relay)),
            Ok(Said::Streams(streams)) => Incoming::Streams(streams),
            Ok(Said::StreamEnded(stream)) => Incoming::StreamEnded(stream),
            Ok(Said::Lost(mut loss)) => {
                loss.reason = trouble(relay).unwrap_or(loss.reason);
                Incoming::Lost(loss)
            }
            Ok(Said::Frame(frame, before)) => {
                let message = Incoming::Frame { frame, arrival: monotonic(), refused: refused.saturating_add(before) };
                refused = 0;
                if live {
                    match sender.try_send(message) {
                        Ok(()) => {}
                        Err(TrySendError::Full(Incoming::Frame { refused: before, .. })) => {
                            refused = before.saturating_add(1);
                        }
                        Err(_) => return Ok(Ended::Stopped),
                    }
                    continue;
                }
                message
            }
            Err(WireError::Ended(_)) if stopped(stop) => return Ok(Ended::Stopped),
            Err(WireError::Ended(error)) if error.kind() == ErrorKind::TimedOut => {
                return Ok(Ended::Died(format!(
                    "the process that decodes it said nothing for {} s",
                    SILENCE.as_secs()
                )));
            }
            Err(WireError::Ended(_)) => return Ok(Ended::Died(died(child.end()))),
            Err(error) => return Ok(Ended::Died(format!("the process that decodes it was ended: {error}"))),
        };
        if !say(sender, stop, message) {
            return Ok(Ended::Stopped);
        }
    }
}

/// What comes of it that a worker says its source has ended. A camera ends by `once` only: a worker that was taken over would have it
/// looked at no more. And whatever was missing at its end, nobody knows.
fn finished(mut finish: Finish, spec: &Spec, relay: Option<&Relay>) -> Ended {
    if let Some(SourceError::NeverReached { reason, .. }) = &mut finish.error
        && let Some(trouble) = trouble(relay)
    {
        *reason = trouble;
    }
    if !spec.is_live() {
        return Ended::Finished(finish);
    }
    if spec.once {
        return Ended::Finished(Finish { missing: MediaTime::ZERO, ..finish });
    }
    let why = finish.error.map_or_else(|| "which a camera has not".to_owned(), |error| error.to_string());
    Ended::Died(format!("the process that decodes it told of an end: {why}"))
}

/// Why the relay could not reach the camera, which the worker does not know.
fn trouble(relay: Option<&Relay>) -> Option<String> {
    relay?.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn ready(spec: &Spec, held: Held) {
    match held.missing() {
        None => tracing::debug!(source = spec.name, "decoded in a process of its own"),
        Some(missing) => {
            tracing::warn!(
                source = spec.name,
                "decoded in a process of its own, which this kernel does not confine: {missing}"
            );
        }
    }
}

fn died(status: Option<ExitStatus>) -> String {
    let how = match status {
        Some(status) => match (status.signal(), status.code()) {
            (Some(signal), _) => format!("was killed by signal {signal}"),
            (_, Some(code)) => format!("ended with code {code}"),
            _ => "ended".to_owned(),
        },
        None => "ended".to_owned(),
    };
    format!("the process that decodes it {how}")
}

/// A worker; it does not outlive this.
struct Running(Child);

impl Running {
    /// How it ended. One that closed its output and still runs is killed.
    fn end(&mut self) -> Option<ExitStatus> {
        for _ in 0..20 {
            if let Ok(Some(status)) = self.0.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has nothing to save. Errors mean that it is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads from a worker; neither a stop nor its silence is waited out.
struct Patient {
    stream: UnixStream,
    stop: Receiver<Infallible>,
    heard: Instant,
}

impl Read for Patient {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.stream.read(to) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if stopped(&self.stop) {
                        return Err(ErrorKind::ConnectionAborted.into());
                    }
                    if self.heard.elapsed() > SILENCE {
                        return Err(ErrorKind::TimedOut.into());
                    }
                }
                Ok(read) => {
                    self.heard = monotonic();
                    return if stopped(&self.stop) { Err(ErrorKind::ConnectionAborted.into()) } else { Ok(read) };
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Description;

    fn spec(location: Location, once: bool) -> Spec {
        Spec { once, ..Spec::once("a", location, Description::shipped("rtsp.gst", None).unwrap()) }
    }

    #[test]
    fn a_worker_cannot_end_a_camera_nor_make_up_what_it_missed() {
        let camera = || Location::Rtsp(url::Url::parse("rtsp://cam/live").unwrap());
        let missing = MediaTime::from_millis(86_400_000);
        let nothing = || SourceError::Nothing { location: "rtsp://cam/live".into() };
        for (complete, error) in [(true, None), (false, None), (false, Some(nothing())), (true, Some(nothing()))] {
            let ended = finished(Finish { complete, missing, error }, &spec(camera(), false), None);
            assert!(matches!(ended, Ended::Died(reason) if reason.contains("told of an end")));
        }
        let ended = finished(Finish { complete: true, missing, error: None }, &spec(camera(), true), None);
        assert!(matches!(ended, Ended::Finished(Finish { complete: true, missing: MediaTime::ZERO, error: None })));

        let recording = spec(Location::File("a.mp4".into()), true);
        let ended = finished(Finish { complete: false, missing, error: None }, &recording, None);
        assert!(matches!(ended, Ended::Finished(finish) if finish.missing == missing));
    }
}
