//! The cutting thread of a source: its frames become windows.

#![allow(clippy::disallowed_methods, reason = "part of run.rs")]

use std::convert::Infallible;
use std::time::Instant;

use crossbeam_channel::Receiver;

use super::jobs::play;
use crate::encode::StillEncoder;
use crate::source::{Finish, Image, Incoming, Loss, Retry, Spec};
use crate::time::{MediaTime, monotonic};
use crate::window::{Cut, Cutting, Keep, Timeline};

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
    /// Pictures; None: as before.
    pub stills: Option<StillEncoder>,
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
    cut_anew(spec, retry, cutting, stills, || None, stop, tell);
}

/// [`cut`], where `replan` is asked, many times a second, whether the sessions from the next on are cut in another way.
pub fn cut_anew(
    spec: &Spec,
    retry: &Retry,
    cutting: Cutting,
    stills: StillEncoder,
    mut replan: impl FnMut() -> Option<Replan>,
    stop: &Receiver<Infallible>,
    mut tell: impl FnMut(FromSource) -> bool,
) {
    let began = monotonic();
    let mut timeline = Timeline::new(cutting, keep(&spec.name, stills));
    let (mut out, mut lost, mut finish) = (Vec::new(), false, None);
    let played = play(spec, retry, stop, |message| {
        if let Some(Replan { cutting, stills }) = replan() {
            timeline.replan(cutting, stills.map(|stills| keep(&spec.name, stills)));
        }
        let (mut also, mut at) = (None, None);
        match message {
            Some(Incoming::Streams(streams)) => timeline.streams(streams),
            Some(Incoming::Frame { frame, arrival, refused }) => {
                if std::mem::take(&mut lost) && !tell(FromSource::Restored) {
                    return false;
                }
                timeline.frame(frame, since(began, arrival), refused, &mut out);
                at = Some(arrival);
            }
            Some(Incoming::StreamEnded(stream)) if !spec.is_live() => {
                timeline.stream_ended(stream, since(began, monotonic()), &mut out);
            }
            Some(Incoming::StreamEnded(_)) => {} // a live one is gone as a whole, which is said next
            Some(Incoming::Lost(loss)) => {
                timeline.disconnected(&mut out);
                lost = true;
                also = Some(FromSource::Lost(loss));
            }
            Some(Incoming::Finished(end)) => {
                timeline.finish(end.complete, end.missing, &mut out);
                finish = Some(end);
            }
            None => timeline.idle(since(began, monotonic()), &mut out),
        }
        let at = at.unwrap_or_else(monotonic);
        out.drain(..).map(|cut| FromSource::Cut(cut, at)).chain(also).all(&mut tell) && finish.is_none()
    });
    if let Err(error) = played {
        tracing::error!(source = spec.name, %error, "no thread for the source");
    }
    if let Some(finish) = finish {
        tell(FromSource::Finished(finish));
    }
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
