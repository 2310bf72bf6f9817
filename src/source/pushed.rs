//! A source whose encoded media is pushed in by somebody else: a browser's, by WHIP.
//!
//! [`pushed`] makes the two ends. The [`Feed`] is what a source is configured with; whoever has the media holds the
//! [`FeedSender`]. [`Pushed::Began`] builds a pipeline, [`Pushed::Gone`] is a loss, a further `Began` a reconnection.
//!
//! All times of a connection are on one clock; which zero it has means nothing. No unit that follows a lost one is decoded: it
//! would give a wrong picture that looks like a right one. Pictures are left out until one comes that a decoder can begin with,
//! and the sender is told that one is wanted ([`Taken::NeedsKey`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError};

use crate::time::MediaTime;
use crate::window::Stream;

/// Units that may wait for a source: about a second and a half of both streams.
const PLACES: usize = 128;
/// Beginnings and ends that find a place besides.
const MORE_PLACES: usize = 16;

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
pub(super) type Place = (Pushed, u32);

/// What both ends know.
pub(super) struct Common {
    name: Box<str>,
    /// Units that found no place since the last of their stream that did: sound, pictures.
    refused: [AtomicU32; 2],
    pub(super) needs_key: AtomicBool,
    /// Whoever played it plays it no more.
    pub(super) ended: AtomicBool,
}

/// The source's end. Clones are the same feed; one source plays it.
#[derive(Clone)]
pub struct Feed {
    pub(super) places: Receiver<Place>,
    pub(super) common: Arc<Common>,
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
