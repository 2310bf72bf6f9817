//! The cutting thread of a source: its frames become windows.

#![allow(clippy::disallowed_methods, reason = "part of run.rs")]

use std::convert::Infallible;
use std::time::Instant;

use crossbeam_channel::Receiver;

use super::control::Reply;
use super::jobs::play;
use crate::alert::Actor;
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
    /// Its frames are not looked at from here on.
    Paused(Actor),
    /// They are again.
    Resumed(Actor),
    /// Nobody listens any more, or nobody is to: all that was held of it is gone.
    Released,
    /// Nothing more will come.
    Finished(Finish),
}

/// What is asked of a cutting thread while it runs.
pub(super) enum Order {
    /// Sessions from the next on are cut in another way.
    Replan(Replan),
    /// Frames are thrown away from now on.
    Pause(Actor, Reply<()>),
    /// Frames are cut again.
    Resume(Actor, Reply<()>),
    /// Everything held is thrown away, and the source ends.
    Release,
}

/// How the next session of a source is cut, where that differs from the one before.
pub(super) struct Replan {
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
    cut_by_order(spec, retry, cutting, stills, || None, stop, tell);
}

/// [`cut`], where `orders` is asked, many times a second, for something to obey.
pub(super) fn cut_by_order(
    spec: &Spec,
    retry: &Retry,
    cutting: Cutting,
    stills: StillEncoder,
    mut orders: impl FnMut() -> Option<Order>,
    stop: &Receiver<Infallible>,
    mut tell: impl FnMut(FromSource) -> bool,
) {
    let began = monotonic();
    let now = || since(began, monotonic());
    let mut timeline = Timeline::new(cutting, keep(&spec.name, stills));
    let (mut out, mut lost, mut finish) = (Vec::new(), false, None);
    play(spec, retry, stop, |message| {
        let mut listening = true;
        while listening && let Some(order) = orders() {
            match order {
                Order::Replan(Replan { cutting, stills }) => {
                    timeline.replan(cutting, stills.map(|stills| keep(&spec.name, stills)));
                }
                Order::Pause(by, done) => {
                    let changed = timeline.pause(now(), &mut out);
                    // From here on nothing is looked at; who asked need not wait until that was told to everybody.
                    let _ = done.send(Ok(()));
                    listening = out.drain(..).all(|cut| tell(FromSource::Cut(cut, monotonic())));
                    listening = listening && (!changed || tell(FromSource::Paused(by)));
                }
                Order::Resume(by, done) => {
                    let changed = timeline.resume(now());
                    let _ = done.send(Ok(()));
                    listening = !changed || tell(FromSource::Resumed(by));
                }
                Order::Release => listening = false,
            }
        }
        let (mut also, mut at) = (None, None);
        match message {
            _ if !listening => {}
            Some(Incoming::Streams(streams)) => timeline.streams(streams),
            Some(Incoming::Frame { frame, arrival, refused }) => {
                if std::mem::take(&mut lost) {
                    listening = tell(FromSource::Restored);
                }
                timeline.frame(frame, since(began, arrival), refused, &mut out);
                at = Some(arrival);
            }
            Some(Incoming::StreamEnded(stream)) if !spec.is_live() => {
                timeline.stream_ended(stream, now(), &mut out);
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
            None => timeline.idle(now(), &mut out),
        }
        let at = at.unwrap_or_else(monotonic);
        listening = listening && out.drain(..).map(|cut| FromSource::Cut(cut, at)).chain(also).all(&mut tell);
        if !listening && finish.is_none() {
            timeline.clear();
            tell(FromSource::Released);
        }
        listening && finish.is_none()
    });
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
