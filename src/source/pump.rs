//! Plays a [`Feed`]: what is pushed goes into a pipeline's `appsrc` elements, and comes out as every source's frames.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, select};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;

use super::coded::begins_anew;
use super::diagnose::diagnose;
use super::pipeline::{Connection, Shared, connect};
use super::pushed::{Codec, Common, Feed, Pushed};
use super::{Description, Finish, Incoming, Loss, Retry, SourceError, Spec};
use crate::time::{MediaTime, monotonic};
use crate::window::{Stream, Streams};

/// Encoded units of a stream that may wait for their decoder: about three seconds of pictures.
const DECODER_BEHIND: u64 = 96;
/// How often a connection's state is looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long a connection may take to be taken down before its end is told all the same.
const CLOSING: Duration = Duration::from_secs(1);

/// What runs, or is to be run: which streams somebody joined with.
#[derive(Clone, Copy)]
struct Began {
    video: Option<Codec>,
    audio: Option<Codec>,
}

/// How a connection ended.
enum Ended {
    Stopped,
    /// All senders are gone.
    Finished,
    Lost(String),
    /// Somebody joined anew.
    Replaced(Began),
    /// GStreamer failed on it.
    Failed(String),
}

/// What an appsrc is told of it.
fn format(codec: Codec) -> gst::Caps {
    match codec {
        Codec::H264 => {
            gst::Caps::builder("video/x-h264").field("stream-format", "byte-stream").field("alignment", "au").build()
        }
        Codec::Vp8 => gst::Caps::builder("video/x-vp8").build(),
        // Opus packets say themselves what they hold; 48 kHz is the clock of all of them (RFC 7587).
        Codec::Opus => gst::Caps::builder("audio/x-opus")
            .field("rate", 48_000i32)
            .field("channels", 2i32)
            .field("channel-mapping-family", 0i32)
            .build(),
    }
}

/// Plays what is pushed until all senders are gone or the source is stopped.
pub(super) fn play(spec: &Spec, feed: &Feed, retry: &Retry, shared: &Arc<Shared>) -> Finish {
    feed.common.ended.store(false, Ordering::SeqCst);
    let finish = connections(spec, feed, retry, shared);
    feed.common.ended.store(true, Ordering::SeqCst);
    // What still waits belongs to nobody.
    while feed.places.try_recv().is_ok() {}
    finish
}

fn connections(spec: &Spec, feed: &Feed, retry: &Retry, shared: &Arc<Shared>) -> Finish {
    let finish = |complete, error| Finish { complete, missing: MediaTime::ZERO, error };
    let (mut next, mut failures) = (None, 0u32);
    loop {
        let began = match next.take().map_or_else(|| beginning(feed, &shared.stop), Ok) {
            Ok(began) => began,
            Err(finished) => return finish(finished, None),
        };
        let mut own = spec.clone();
        own.description.video = own.description.video.filter(|_| began.video.is_some());
        own.description.audio = own.description.audio.filter(|_| began.audio.is_some());
        let pumped = connect(&own, shared).and_then(|connection| {
            let pump = Pump::new(&connection, &own.description, began);
            let ended = pump.map(|pump| pump.run(spec, feed, retry, shared));
            connection.close(shared).wait(CLOSING);
            ended
        });
        let ended = match pumped {
            Ok(ended) => ended,
            Err(error @ (SourceError::Gstreamer(_) | SourceError::Description { .. })) => {
                return finish(false, Some(error));
            }
            Err(error) => Ended::Failed(error.to_string()),
        };
        if shared.silent_for().is_some() {
            failures = 0;
        }
        let mut wait = Duration::ZERO;
        let reason = match ended {
            Ended::Stopped => return finish(false, None),
            Ended::Finished => return finish(true, None),
            Ended::Lost(reason) => reason,
            Ended::Replaced(began) => {
                (next, failures) = (Some(began), 0);
                "the participant joined anew".to_owned()
            }
            Ended::Failed(reason) => {
                // The same connection again, from the next picture that a decoder can begin with.
                next = Some(began);
                wait = retry.wait(failures);
                failures = failures.saturating_add(1);
                reason
            }
        };
        if !shared.say(Incoming::Lost(Loss { reason, auth_failed: false }))
            || shared.stop.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected)
        {
            return finish(false, None);
        }
    }
}

/// Waits for somebody to join. None comes: whether all senders are gone, or the source was stopped.
fn beginning(feed: &Feed, stop: &Receiver<Infallible>) -> Result<Began, bool> {
    loop {
        select! {
            recv(feed.places) -> place => match place {
                Ok((Pushed::Began { video, audio }, _)) if video.is_some() || audio.is_some() => {
                    return Ok(Began { video, audio });
                }
                // Media of somebody who is gone already.
                Ok(_) => {}
                Err(_) => return Err(true),
            },
            recv(stop) -> _ => return Err(false),
        }
    }
}

/// One connection: what is pushed goes into its pipeline.
struct Pump<'a> {
    connection: &'a Connection,
    codecs: Began,
    video: Option<app::AppSrc>,
    audio: Option<app::AppSrc>,
    /// No picture can be decoded until one comes that a decoder can begin with.
    awaits_key: bool,
    /// Nothing has come for long, which was said.
    away: bool,
    /// Of which streams something came; None once it was said that nothing came of one.
    came: Option<Streams>,
}

impl<'a> Pump<'a> {
    fn new(connection: &'a Connection, description: &Description, codecs: Began) -> Result<Self, SourceError> {
        let input = |name: &str, codec: Option<Codec>| {
            let Some(codec) = codec else { return Ok(None) };
            let input = description.element(connection.pipeline.upcast_ref(), name)?.downcast::<app::AppSrc>();
            let input = input.map_err(|_| SourceError::Gstreamer(format!("{name} is no appsrc")))?;
            input.set_caps(Some(&format(codec)));
            Ok(Some(input))
        };
        let (video, audio) = (input("videoin", codecs.video)?, input("audioin", codecs.audio)?);
        connection.pipeline.connect_deep_element_added(|_, _, element| {
            // What a decoder had to make up for missing data is no picture.
            if element.has_property_with_type("output-corrupt", bool::static_type()) {
                element.set_property("output-corrupt", false);
            }
        });
        Ok(Self { connection, codecs, video, audio, awaits_key: true, away: false, came: Some(Streams::default()) })
    }

    fn run(mut self, spec: &Spec, feed: &Feed, retry: &Retry, shared: &Shared) -> Ended {
        let began = monotonic();
        loop {
            select! {
                recv(feed.places) -> place => match place {
                    Ok((Pushed::Media { stream, time, data, follows }, before)) => {
                        shared.refused.fetch_add(before, Ordering::Relaxed);
                        self.unit(stream, time, data, follows && before == 0, &feed.common, shared);
                    }
                    Ok((Pushed::Began { video, audio }, _)) if video.is_some() || audio.is_some() => {
                        self.drain();
                        return Ended::Replaced(Began { video, audio });
                    }
                    Ok((Pushed::Began { .. }, _)) => {}
                    Ok((Pushed::Gone(reason), _)) => {
                        self.drain();
                        return Ended::Lost(reason);
                    }
                    Err(_) => {
                        self.drain();
                        return Ended::Finished;
                    }
                },
                recv(shared.stop) -> _ => return Ended::Stopped,
                default(TICK) => {}
            }
            if let Some(reason) = self.failure(spec) {
                return Ended::Failed(reason);
            }
            if began.elapsed() > retry.first_frame {
                self.miss(&shared.name);
            }
            let silent = shared.silent_for();
            let reason = match silent {
                Some(silent) if silent > retry.silence => format!("no media for {:.1} s", silent.as_secs_f64()),
                None if began.elapsed() > retry.first_frame => {
                    format!("no media within {} s of joining", retry.first_frame.as_secs())
                }
                _ => {
                    self.away = false;
                    continue;
                }
            };
            // The connection stays: whoever pushes says when it is over.
            if !std::mem::replace(&mut self.away, true)
                && !shared.say(Incoming::Lost(Loss { reason, auth_failed: false }))
            {
                return Ended::Stopped;
            }
        }
    }

    fn unit(&mut self, stream: Stream, time: MediaTime, data: Bytes, follows: bool, common: &Common, shared: &Shared) {
        let (input, codec) = match stream {
            Stream::Video => (&self.video, self.codecs.video),
            Stream::Audio => (&self.audio, self.codecs.audio),
        };
        let (Some(input), Some(codec)) = (input, codec) else { return };
        if let Some(came) = &mut self.came {
            came.set(stream);
        }
        if stream == Stream::Video {
            self.awaits_key |= !follows;
            if self.awaits_key && !begins_anew(codec, &data) {
                common.needs_key.store(true, Ordering::Relaxed);
                return;
            }
            common.needs_key.store(false, Ordering::Relaxed);
        }
        let behind = input.property::<u64>("current-level-buffers") >= DECODER_BEHIND;
        let Ok(nanos) = u64::try_from(time.as_nanos()) else { return };
        if behind {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            self.awaits_key |= stream == Stream::Video;
            return;
        }
        let mut unit = gst::Buffer::from_slice(data);
        if let Some(unit) = unit.get_mut() {
            unit.set_pts(gst::ClockTime::from_nseconds(nanos));
        }
        // Fails only while the pipeline goes down, which its bus tells.
        let pushed = input.push_buffer(unit).is_ok();
        if stream == Stream::Video {
            self.awaits_key = !pushed;
        }
    }

    /// Says once that nothing comes of one stream, while the other does.
    fn miss(&mut self, source: &str) {
        let Some(came) = self.came.take() else { return };
        for (stream, offered) in [(Stream::Audio, self.audio.is_some()), (Stream::Video, self.video.is_some())] {
            if offered && !came.of(stream) && (came.audio || came.video) {
                tracing::warn!(source, ?stream, "it was offered and nothing of it comes; windows without it are lost");
            }
        }
    }

    /// Lets what was pushed come out.
    fn drain(&self) {
        for input in [&self.video, &self.audio].into_iter().flatten() {
            let _ = input.end_of_stream();
        }
        let patience = gst::ClockTime::from_nseconds(u64::try_from(CLOSING.as_nanos()).unwrap_or(u64::MAX));
        let _ = self.connection.bus.timed_pop_filtered(patience, &[gst::MessageType::Eos, gst::MessageType::Error]);
    }

    fn failure(&self, spec: &Spec) -> Option<String> {
        // Asked for before the messages are, so that none of a failed start is missed.
        let refused = self.connection.starting.as_ref().and_then(super::state::Change::result) == Some(false);
        while let Some(message) = self.connection.bus.pop() {
            if let gst::MessageView::Error(error) = message.view() {
                return Some(diagnose(&spec.location, error).reason);
            }
        }
        refused.then(|| "GStreamer did not start".into())
    }
}
