//! The cutting thread of a source: its frames become windows.

#![allow(clippy::disallowed_methods, reason = "part of run.rs")]

use std::convert::Infallible;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use crate::encode::StillEncoder;
use crate::source::{Finish, Image, Incoming, Loss, Retry, Spec, supervise};
use crate::time::{MediaTime, monotonic};
use crate::window::{Cut, Cutting, Keep, Timeline};

/// Frames that may wait between a source's threads and its cutter: about a second of both streams.
pub(super) const FRAMES: usize = 64;

/// What a source's cutting thread says, in order.
#[derive(Debug)]
pub enum FromSource {
    /// Something was cut: by the frame that arrived at this moment, or for want of one.
    Cut(Cut, Instant),
    /// A live source went away, or is not there yet.
    Lost(Loss),
    /// It is back (or there for the first time after having been reported as lost).
    Restored,
    /// Nothing more will come.
    Finished(Finish),
}

/// How the next session of a source is cut, where that differs from the one before.
pub struct Replan {
    /// Windows.
    pub cutting: Cutting,
    /// Pictures.
    pub stills: StillEncoder,
}

/// Runs a source and cuts it, until its end or until `stop` is disconnected. Blocks: give it a thread; the source has its own.
///
/// `tell` gets everything in order; when it answers false, nobody listens any more and the source is stopped.
pub fn cut(
    spec: &Spec,
    retry: &Retry,
    cutting: Cutting,
    stills: StillEncoder,
    stop: &Receiver<Infallible>,
    tell: impl FnMut(FromSource) -> bool,
) {
    cut_anew(spec, retry, Replan { cutting, stills }, || None, stop, tell);
}

/// [`cut`], where `replan` is asked, many times a second, whether the sessions from the next on are cut in another way.
pub fn cut_anew(
    spec: &Spec,
    retry: &Retry,
    first: Replan,
    mut replan: impl FnMut() -> Option<Replan>,
    stop: &Receiver<Infallible>,
    mut tell: impl FnMut(FromSource) -> bool,
) {
    let (frames, incoming) = bounded(FRAMES);
    // The source stops when the program does, or when this function returns.
    let (own_stop, source_stop) = bounded::<Infallible>(0);
    let mut own_stop = Some(own_stop);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(format!("src:{}", spec.name));
        let spawned = thread.spawn_scoped(scope, move || supervise(spec, retry, frames, source_stop));
        if let Err(error) = spawned {
            tracing::error!(source = spec.name, %error, "no thread for the source");
            return;
        }
        let began = monotonic();
        let mut timeline = Timeline::new(first.cutting, keep(&spec.name, first.stills));
        let (mut out, mut lost) = (Vec::new(), false);
        let mut finish = None;
        while finish.is_none() {
            if own_stop.is_some() && stop.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected) {
                own_stop = None;
            }
            if let Some(Replan { cutting, stills }) = replan() {
                timeline.replan(cutting, keep(&spec.name, stills));
            }
            let (mut also, mut at) = (None, None);
            match incoming.recv_timeout(Duration::from_millis(100)) {
                Ok(Incoming::Streams(streams)) => timeline.streams(streams),
                Ok(Incoming::Frame { frame, arrival, refused }) => {
                    if std::mem::take(&mut lost) && !tell(FromSource::Restored) {
                        break;
                    }
                    timeline.frame(frame, since(began, arrival), refused, &mut out);
                    at = Some(arrival);
                }
                Ok(Incoming::StreamEnded(stream)) if !spec.is_live() => {
                    timeline.stream_ended(stream, since(began, monotonic()), &mut out);
                }
                Ok(Incoming::StreamEnded(_)) => {} // a live one is gone as a whole, which is said next
                Ok(Incoming::Lost(loss)) => {
                    timeline.disconnected(&mut out);
                    lost = true;
                    also = Some(FromSource::Lost(loss));
                }
                Ok(Incoming::Finished(end)) => {
                    timeline.finish(end.complete, end.missing, &mut out);
                    finish = Some(end);
                }
                Err(RecvTimeoutError::Timeout) => timeline.idle(since(began, monotonic()), &mut out),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let at = at.unwrap_or_else(monotonic);
            if !out.drain(..).map(|c| FromSource::Cut(c, at)).chain(also).all(&mut tell) {
                break;
            }
        }
        drop((own_stop, incoming));
        if let Some(finish) = finish {
            tell(FromSource::Finished(finish));
        }
    });
}

fn keep(source: &str, mut stills: StillEncoder) -> Keep<Image> {
    let source = source.to_owned();
    Box::new(move |time, image| {
        let encoded = stills.encode(time, image);
        encoded.inspect_err(|error| tracing::warn!(source, %error, "a picture was left out")).ok()
    })
}

fn since(began: Instant, now: Instant) -> MediaTime {
    MediaTime::from_duration(now.saturating_duration_since(began))
}
