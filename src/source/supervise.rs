//! Runs a source to its end. A live one has no end: it is reconnected for ever, with full-jitter backoff.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use gstreamer as gst;
use gstreamer::prelude::*;
use rand::RngExt as _;

use super::diagnose::{DISTRUSTED, Failure, diagnose};
use super::leash::STRAYED;
use super::pipeline::{Connection, SOUND_BRANCH, Shared, connect};
use super::state::Change;
use super::{Finish, Incoming, Location, Loss, SourceError, Spec};
use crate::time::{MediaTime, backoff, monotonic};

/// Pictures may come with one timestamp for so long.
const STOOD: Duration = Duration::from_secs(1);

/// How a lost camera is retried.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// The first wait is at most this long; each next at most twice as long.
    pub first: Duration,
    /// No wait is longer.
    pub longest: Duration,
    /// After 401 or 403 the next try is this much later, so that no account gets locked.
    pub refused: Duration,
    /// A camera that sends no frame for so long is lost.
    pub silence: Duration,
    /// So long may it take to the first frame (some cameras send a key frame only every few seconds).
    pub first_frame: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            longest: Duration::from_secs(10),
            refused: Duration::from_secs(60),
            silence: Duration::from_secs(3),
            first_frame: Duration::from_secs(10),
        }
    }
}

impl Retry {
    /// Full jitter, and never none at all.
    pub(crate) fn wait(&self, tries: u32) -> Duration {
        backoff(self.first, self.longest, tries, rand::rng().random_range(0.05..=1.0))
    }
}

/// How long a connection may take to be taken down before its end is told all the same.
const CLOSING: Duration = Duration::from_millis(1000);

/// How one connection ended.
enum Ended {
    Stopped,
    EndOfStream,
    Failed {
        reason: String,
        auth: bool,
    },
    /// Nothing here decodes its sound.
    SoundUndecodable {
        reason: String,
    },
}

/// Runs a source until its end or until `stop` is disconnected; everything it has to say goes to `sender`, and the last is
/// [`Incoming::Finished`]. Blocks: give it a thread.
pub fn supervise(spec: &Spec, retry: &Retry, sender: Sender<Incoming>, stop: Receiver<std::convert::Infallible>) {
    let shared = Shared::new(&spec.name, spec.is_live(), sender, stop);
    let finish = match &spec.location {
        Location::File(path) => match std::fs::File::open(path).and_then(|f| f.metadata()) {
            Ok(meta) if meta.is_file() && meta.len() == 0 => {
                failed(SourceError::Media { location: spec.location.to_string(), reason: "the file is empty".into() })
            }
            Ok(meta) if meta.is_dir() => failed(SourceError::Unreadable {
                location: spec.location.to_string(),
                reason: "it is a folder; name a recording in it".into(),
            }),
            Ok(_) => match std::fs::File::open(path).ok().and_then(super::headers::excess) {
                Some(reason) => failed(SourceError::Media { location: spec.location.to_string(), reason }),
                None => recording(spec, retry, &shared),
            },
            Err(error) => {
                failed(SourceError::Unreadable { location: spec.location.to_string(), reason: error.to_string() })
            }
        },
        Location::Pushed(feed) => super::pump::play(spec, feed, retry, &shared),
        _ => live(spec, retry, &shared),
    };
    // Without it the cutter would not close its last window. It takes everything up to this or goes away, so that this
    // wait ends, also after a stop.
    let _ = shared.sender.send(Incoming::Finished(finish));
}

fn failed(error: SourceError) -> Finish {
    Finish::incomplete(Some(error))
}

fn recording(spec: &Spec, retry: &Retry, shared: &Arc<Shared>) -> Finish {
    let location = || spec.location.to_string();
    let connection = match connect(spec, shared) {
        Ok(connection) => connection,
        Err(error) => return failed(error),
    };
    let ended = watch(&connection, spec, retry, shared);
    let (joined, pipeline) = (connection.joined.load(Ordering::SeqCst), connection.pipeline.clone());
    // The header's length, unless the container has none. Headers are rounded and streams differ: a second is no loss.
    let declared = pipeline.query_duration::<gst::ClockTime>();
    let declared = MediaTime::from_nanos(declared.and_then(|d| i64::try_from(d.nseconds()).ok()).unwrap_or(0));
    connection.close(shared).wait(CLOSING);
    match ended {
        Ended::Stopped => Finish::incomplete(None),
        Ended::Failed { reason, .. } | Ended::SoundUndecodable { reason } => {
            failed(SourceError::Media { location: location(), reason })
        }
        Ended::EndOfStream if !joined => failed(SourceError::Nothing { location: location() }),
        Ended::EndOfStream => {
            let end = shared.end();
            if declared - end > MediaTime::from_millis(1000) {
                let error = Some(SourceError::Truncated { location: location(), end, declared });
                return Finish { complete: false, missing: declared - end, error };
            }
            Finish { complete: true, missing: MediaTime::ZERO, error: None }
        }
    }
}

fn live(spec: &Spec, retry: &Retry, shared: &Arc<Shared>) -> Finish {
    let (mut tries, mut reached) = (0, false);
    // Without its sound, once it is known that nothing here decodes that; until the camera is lost, and may come back another.
    let mut deaf: Option<Spec> = None;
    if shared.stop.recv_timeout(spec.delay) == Err(RecvTimeoutError::Disconnected) {
        return Finish::incomplete(None);
    }
    loop {
        let mut closing = None;
        let ended = match connect(deaf.as_ref().unwrap_or(spec), shared) {
            Ok(connection) => {
                let ended = watch(&connection, spec, retry, shared);
                let close = connection.close(shared);
                close.wait(CLOSING);
                closing = Some(close);
                ended
            }
            Err(error @ (SourceError::Gstreamer(_) | SourceError::Description { .. })) => return failed(error),
            Err(SourceError::Media { reason, .. }) => Ended::Failed { reason, auth: false },
            Err(error) => Ended::Failed { reason: error.to_string(), auth: false },
        };
        let delivered = shared.silent_for().is_some();
        reached |= delivered;
        if delivered {
            tries = 0;
        }
        let loss = match ended {
            Ended::SoundUndecodable { reason } if spec.description.video.is_some() && deaf.is_none() => {
                let mut silent = spec.clone();
                silent.description.audio = None;
                deaf = Some(silent);
                // A loss for the cutter too: what comes next has other streams.
                let loss = Loss { reason: format!("{reason}; it is watched without its sound"), auth_failed: false };
                if shared.say(Incoming::Lost(loss)) && closed(closing.as_ref(), shared) {
                    continue;
                }
                return Finish::incomplete(None);
            }
            Ended::Stopped => return Finish::incomplete(None),
            Ended::EndOfStream if spec.once && reached => {
                return Finish { complete: true, missing: MediaTime::ZERO, error: None };
            }
            Ended::EndOfStream => {
                let who = if spec.location.is_device() { "the device" } else { "the camera" };
                Loss { reason: format!("{who} ended the stream"), auth_failed: false }
            }
            Ended::Failed { reason, auth } => Loss { reason, auth_failed: auth },
            Ended::SoundUndecodable { reason } => Loss { reason, auth_failed: false },
        };
        deaf = None;
        if spec.once && !reached {
            return failed(SourceError::NeverReached { location: spec.location.to_string(), reason: loss.reason });
        }
        let wait = if loss.auth_failed { retry.refused } else { retry.wait(tries) };
        tries = tries.saturating_add(1);
        if !shared.say(Incoming::Lost(loss))
            || shared.stop.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected)
            || !closed(closing.as_ref(), shared)
        {
            return Finish::incomplete(None);
        }
    }
}

/// Waits until the connection before is gone: while a driver or a server holds it, another would only be held too. False: the
/// source was stopped meanwhile.
fn closed(closing: Option<&Change>, shared: &Shared) -> bool {
    while closing.is_some_and(|closing| !closing.wait(Duration::from_millis(100))) {
        if shared.stopped() {
            return false;
        }
    }
    true
}

/// Waits for a connection's end.
fn watch(connection: &Connection, spec: &Spec, retry: &Retry, shared: &Shared) -> Ended {
    let began = monotonic();
    let mut warned: Option<String> = None;
    let starting = || connection.starting.as_ref().and_then(Change::result);
    loop {
        if connection.strayed.load(Ordering::SeqCst) {
            return Ended::Failed { reason: STRAYED.to_owned(), auth: false };
        }
        // Asked for before the messages are, so that none of a failed start is missed.
        let refused = starting() == Some(false);
        if shared.stopped() {
            return Ended::Stopped;
        }
        if shared.live {
            if shared.stood_for() > STOOD {
                let reason = "the timestamps of its pictures stand still: its clock was set back".to_owned();
                return Ended::Failed { reason, auth: false };
            }
            match shared.silent_for() {
                Some(silent) if silent > retry.silence => {
                    return Ended::Failed {
                        reason: format!("no frame for {:.1} s", silent.as_secs_f64()),
                        auth: false,
                    };
                }
                None if began.elapsed() > retry.first_frame && starting().is_none() => {
                    let reason = format!("it does not answer: not opened within {} s", retry.first_frame.as_secs());
                    return Ended::Failed { reason, auth: false };
                }
                None if began.elapsed() > retry.first_frame => {
                    let reason = format!("no frame within {} s of connecting", retry.first_frame.as_secs());
                    return Ended::Failed { reason, auth: false };
                }
                _ => {}
            }
        }
        // decodebin can lose a demuxer's error (seen on truncated MP4s) and then waits for ever.
        // In this order: branches are joined before it is known that no more will be.
        let settled = connection.settled.load(Ordering::SeqCst);
        let joined = connection.joined.load(Ordering::SeqCst);
        if !shared.live && !joined && began.elapsed() > retry.first_frame {
            let reason =
                format!("GStreamer found no sound and no pictures in it within {} s", retry.first_frame.as_secs());
            return Ended::Failed { reason, auth: false };
        }
        if settled && !joined {
            return if shared.live {
                Ended::Failed {
                    reason: "the camera has neither sound nor pictures that GStreamer can decode".into(),
                    auth: false,
                }
            } else {
                Ended::EndOfStream
            };
        }
        let Some(message) = connection.bus.timed_pop(gst::ClockTime::from_mseconds(50)) else {
            if refused {
                return Ended::Failed { reason: "GStreamer did not start".into(), auth: false };
            }
            continue;
        };
        match message.view() {
            gst::MessageView::Eos(_) => {
                return match warned {
                    Some(reason) if shared.live => Ended::Failed { reason, auth: false },
                    _ => Ended::EndOfStream,
                };
            }
            gst::MessageView::Error(error) => {
                if connection.strayed.load(Ordering::SeqCst) {
                    return Ended::Failed { reason: STRAYED.to_owned(), auth: false };
                }
                if connection.distrusted.load(Ordering::SeqCst) {
                    return Ended::Failed { reason: DISTRUSTED.to_owned(), auth: false };
                }
                let Failure { reason, auth } = diagnose(&spec.location, error);
                let is_sound = error.src().is_some_and(|at| at.path_string().contains(SOUND_BRANCH));
                let unknown = error.error().matches(gst::StreamError::CodecNotFound)
                    || error.error().matches(gst::CoreError::MissingPlugin);
                if is_sound && unknown {
                    return Ended::SoundUndecodable { reason };
                }
                return Ended::Failed { reason, auth };
            }
            // Over TCP a vanished server is this warning, then an end of stream. Decoders warn too, of spoilt pictures.
            gst::MessageView::Warning(warning) if warning.error().is::<gst::ResourceError>() => {
                warned = Some(crate::config::redact::redact_text(warning.error().message()));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Description;
    use crate::window::Stream;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the test is both ends of the channel")]
    fn the_end_is_told_even_when_a_stop_meets_a_full_channel() {
        let spec = Spec::once(
            "a",
            Location::File("/does/not/exist.mp4".into()),
            Description::shipped("file.gst", None).unwrap(),
        );
        let (sender, incoming) = crossbeam_channel::bounded(1);
        sender.send(Incoming::StreamEnded(Stream::Audio)).unwrap();
        let (running, stop) = crossbeam_channel::bounded(0);
        drop(running);
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new();
            thread.spawn_scoped(scope, || supervise(&spec, &Retry::default(), sender, stop)).unwrap();
            std::thread::sleep(Duration::from_millis(500)); // the cutter has no time yet
            assert!(matches!(incoming.recv(), Ok(Incoming::StreamEnded(_))));
            assert!(matches!(incoming.recv(), Ok(Incoming::Finished(_))));
        });
    }
}
