//! A source whose encoded media is pushed in by somebody else: a browser's, by WHIP.
//!
//! [`pushed`] makes the two ends. The [`Feed`] is what a source is configured with; whoever has the media holds the
//! [`FeedSender`]. [`Pushed::Began`] builds a pipeline, [`Pushed::Gone`] is a loss, a further `Began` a reconnection.
//!
//! All times of a connection are on one clock; which zero it has means nothing. No unit that follows a lost one is decoded: it
//! would give a wrong picture that looks like a right one. Pictures are left out until one comes that a decoder can begin with,
//! and the sender is told that one is wanted ([`Taken::NeedsKey`]).

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, select};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;

use super::coded::begins_anew;
use super::diagnose::diagnose;
use super::pipeline::{Connection, Shared, connect};
use super::{Finish, Incoming, Loss, Retry, SourceError, Spec};
use crate::time::{MediaTime, monotonic};
use crate::window::Stream;

/// Units that may wait for a source: about a second and a half of both streams.
const PLACES: usize = 128;
/// Beginnings and ends that find a place besides.
const MORE_PLACES: usize = 16;
/// Encoded units of a stream that may wait for their decoder: about three seconds of pictures.
const DECODER_BEHIND: u64 = 96;
/// How often a connection's state is looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long a connection may take to be taken down before its end is told all the same.
const CLOSING: Duration = Duration::from_secs(1);

/// How pushed media is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// H.264 in Annex B, an access unit at a time.
    H264,
    /// VP8, a frame at a time.
    Vp8,
    /// Opus, a packet at a time.
    Opus,
}

impl Codec {
    /// Its usual name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::Vp8 => "VP8",
            Self::Opus => "Opus",
        }
    }

    fn format(self) -> gst::Caps {
        match self {
            Self::H264 => gst::Caps::builder("video/x-h264")
                .field("stream-format", "byte-stream")
                .field("alignment", "au")
                .build(),
            Self::Vp8 => gst::Caps::builder("video/x-vp8").build(),
            // Opus packets say themselves what they hold; 48 kHz is the clock of all of them (RFC 7587).
            Self::Opus => gst::Caps::builder("audio/x-opus")
                .field("rate", 48_000i32)
                .field("channels", 2i32)
                .field("channel-mapping-family", 0i32)
                .build(),
        }
    }
}

/// What is pushed into a source, in order.
pub enum Pushed {
    /// Somebody joined, with these streams. Media of a former connection is not wanted any more.
    Began {
        /// How pictures are encoded, if there are any.
        video: Option<Codec>,
        /// How sound is encoded, if there is any.
        audio: Option<Codec>,
    },
    /// One encoded picture, or one packet of sound.
    Media {
        /// Of which stream.
        stream: Stream,
        /// When it is shown or begins to sound, on the connection's clock; never negative.
        time: MediaTime,
        /// As it is encoded.
        data: Bytes,
        /// Nothing between it and the unit before it was lost.
        follows: bool,
    },
    /// Whoever had joined is gone: one line for people.
    Gone(String),
}

/// Prints no media.
impl std::fmt::Debug for Pushed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Began { video, audio } => write!(f, "Began({video:?}, {audio:?})"),
            Self::Media { stream, time, data, follows } => {
                write!(f, "Media({stream:?}, {time:?}, {} bytes, follows: {follows})", data.len())
            }
            Self::Gone(reason) => write!(f, "Gone({reason})"),
        }
    }
}

/// What became of a pushed unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is on its way.
    Yes,
    /// The same; and no picture can be decoded until one comes that a decoder can begin with.
    NeedsKey,
    /// There was no place; it is counted.
    Refused,
    /// The source has ended: nothing will be taken any more.
    Ended,
}

/// One place in the queue: what is pushed, and how many units of its stream found no place before it.
type Place = (Pushed, u32);

/// What both ends know.
struct Common {
    name: Box<str>,
    /// Units that found no place since the last of their stream that did: sound, pictures.
    refused: [AtomicU32; 2],
    needs_key: AtomicBool,
    /// Whoever played it plays it no more.
    ended: AtomicBool,
}

/// The source's end. Clones are the same feed; one source plays it.
#[derive(Clone)]
pub struct Feed {
    places: Receiver<Place>,
    common: Arc<Common>,
}

impl Feed {
    /// What it was called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.common.name
    }
}

/// The same feed, not the same media.
impl PartialEq for Feed {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.common, &other.common)
    }
}

impl Eq for Feed {}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Feed({})", self.common.name)
    }
}

/// The other end: whoever has the media. When the last is dropped, the source ends as a recording does.
#[derive(Clone)]
pub struct FeedSender {
    places: Sender<Place>,
    common: Arc<Common>,
}

impl std::fmt::Debug for FeedSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FeedSender({})", self.common.name)
    }
}

/// The two ends of a pushed source. `name` is for messages.
#[must_use]
pub fn pushed(name: &str) -> (FeedSender, Feed) {
    let (sender, receiver) = crossbeam_channel::bounded(PLACES + MORE_PLACES);
    let common = Arc::new(Common {
        name: name.into(),
        refused: Default::default(),
        needs_key: AtomicBool::new(false),
        ended: AtomicBool::new(false),
    });
    (FeedSender { places: sender, common: Arc::clone(&common) }, Feed { places: receiver, common })
}

impl FeedSender {
    /// Whether the source has ended, so that nothing will be taken any more.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.common.ended.load(Ordering::SeqCst)
    }

    /// Gives the source something; never waits. Media finds no place when the source is behind, and is counted; a picture after
    /// a refused one is not decoded. Beginnings and ends have places of their own.
    #[must_use = "a refused beginning or an ended source must not go unseen"]
    pub fn send(&self, pushed: Pushed) -> Taken {
        if self.is_ended() {
            return Taken::Ended;
        }
        let stream = match &pushed {
            Pushed::Media { stream, .. } => Some(*stream),
            Pushed::Began { .. } | Pushed::Gone(_) => None,
        };
        let refused = stream.map(|stream| &self.common.refused[usize::from(stream == Stream::Video)]);
        let full = refused.is_some() && self.places.len() >= PLACES;
        let before = refused.map_or(0, |refused| refused.swap(0, Ordering::Relaxed));
        let sent =
            if full { Err(TrySendError::Full((pushed, before))) } else { self.places.try_send((pushed, before)) };
        match sent {
            Ok(()) if stream == Some(Stream::Video) && self.common.needs_key.swap(false, Ordering::Relaxed) => {
                Taken::NeedsKey
            }
            Ok(()) => Taken::Yes,
            Err(TrySendError::Full(_)) => {
                if let Some(refused) = refused {
                    refused.fetch_add(before + 1, Ordering::Relaxed);
                }
                Taken::Refused
            }
            Err(TrySendError::Disconnected(_)) => Taken::Ended,
        }
    }
}

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
        let ended = match connect(&own, shared) {
            Ok(connection) => {
                let ended = Pump::new(&connection, began).and_then(|pump| Ok(pump.run(spec, feed, retry, shared)));
                connection.close(shared).wait(CLOSING);
                ended.unwrap_or_else(|error| Ended::Failed(error.to_string()))
            }
            Err(error @ (SourceError::Gstreamer(_) | SourceError::Description { .. })) => {
                return finish(false, Some(error));
            }
            Err(error) => Ended::Failed(error.to_string()),
        };
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
                failures += 1;
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
}

impl<'a> Pump<'a> {
    fn new(connection: &'a Connection, codecs: Began) -> Result<Self, SourceError> {
        let input = |name: &str, codec: Option<Codec>| {
            let Some(codec) = codec else { return Ok(None) };
            let input = connection.pipeline.by_name(name).and_downcast::<app::AppSrc>();
            let input = input.ok_or_else(|| SourceError::Description {
                origin: "pipelines/pushed.gst".into(),
                reason: format!("no appsrc is named {name}"),
            })?;
            input.set_caps(Some(&codec.format()));
            Ok(Some(input))
        };
        let (video, audio) = (input("videoin", codecs.video)?, input("audioin", codecs.audio)?);
        connection.pipeline.connect_deep_element_added(|_, _, element| {
            // What a decoder had to make up for missing data is no picture.
            if element.has_property_with_type("output-corrupt", bool::static_type()) {
                element.set_property("output-corrupt", false);
            }
            if element.factory().is_some_and(|factory| factory.name() == "vp8dec") {
                element.set_property("threads", 1u32);
            }
        });
        Ok(Self { connection, codecs, video, audio, awaits_key: true, away: false })
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

    /// Lets what was pushed come out.
    fn drain(&self) {
        for input in [&self.video, &self.audio].into_iter().flatten() {
            let _ = input.end_of_stream();
        }
        let patience = gst::ClockTime::from_nseconds(u64::try_from(CLOSING.as_nanos()).unwrap_or(u64::MAX));
        let _ = self.connection.bus.timed_pop_filtered(patience, &[gst::MessageType::Eos, gst::MessageType::Error]);
    }

    fn failure(&self, spec: &Spec) -> Option<String> {
        if self.connection.starting.as_ref().and_then(super::state::Change::result) == Some(false) {
            return Some("GStreamer did not start".into());
        }
        while let Some(message) = self.connection.bus.pop() {
            if let gst::MessageView::Error(error) = message.view() {
                return Some(diagnose(&spec.location, error).reason);
            }
        }
        None
    }
}
