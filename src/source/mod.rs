//! Sources: a recording, a camera or a microphone goes in, frames come out as plain bytes with times.
//!
//! The only input code that knows GStreamer. What crosses [`Incoming`] is plain data, so that a source can later move into
//! a process of its own.
//!
//! - `description`: the pipelines as text, shipped or the user's own.
//! - `pipeline`: a description becomes a running pipeline, its frames [`Incoming`] messages.
//! - `choice`: what GStreamer may choose by itself. `headers`, `limits`: what is too much of one source.
//! - `state`: starts and stops a pipeline without being held by it. `pace`: keeps a recording's two streams together.
//! - `supervise`: runs a source to its end; a camera is reconnected for ever. `diagnose`: what GStreamer's errors mean.
//! - `locate`: which address a camera's name leads to, and as whom it is asked. `leash`: that a camera sends us nowhere else.
//! - `probe`: what a recording's headers say.
//! - `pushed`: encoded media that others push in; `pump` plays it, `coded` knows where a decoder can begin.
//! - `device`: which pipeline opens a device of this machine. `listing`: which devices there are. `elements`: what GStreamer
//!   must have.

mod choice;
mod coded;
mod description;
mod device;
mod diagnose;
mod elements;
mod goodbye;
pub mod headers;
mod image;
mod leash;
mod limits;
mod listing;
pub(crate) mod locate;
mod pace;
mod pipeline;
mod probe;
mod pump;
mod pushed;
#[cfg(feature = "rtsp-server")]
mod rtsp_server;
mod standing;
mod state;
mod supervise;

use std::convert::Infallible;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TryRecvError};

use crate::time::MediaTime;
use crate::window::{Frame, Stream, Streams};

pub(crate) use choice::load;
pub use description::Description;
pub use device::{description, missing_packages};
pub use elements::{ELEMENTS, Element, Use, version};
pub use image::{Image, Matrix};
pub use limits::LARGEST_PICTURE;
pub use listing::{Device, DeviceKind, devices};
pub use probe::{Probe, probe};
pub use pushed::{Codec, Feed, FeedSender, Pushed, Taken, pushed};
#[cfg(feature = "rtsp-server")]
pub use rtsp_server::RtspServer;
pub use supervise::{Retry, supervise};

/// Where media comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A recording on disk.
    File(PathBuf),
    /// `rtsp://` or `rtsps://`.
    Rtsp(url::Url),
    /// A camera of this machine.
    Webcam {
        /// `/dev/videoN`, or a name of `PipeWire`'s; None: the default one.
        device: Option<String>,
        /// Where its sound comes from.
        microphone: Microphone,
    },
    /// A microphone of this machine by its name; None: the default one. No pictures.
    Mic(Option<String>),
    /// A live picture and sound that need no device.
    Test {
        /// Where its sound comes from; usually its own.
        microphone: Microphone,
    },
    /// What somebody pushes in, encoded: a participant's browser.
    Pushed(Feed),
}

/// Where the sound of a source with pictures comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Microphone {
    /// A camera's: the default microphone. A test picture's: its own sound.
    Usual,
    /// The microphone of this name.
    Named(String),
    /// From nowhere.
    Off,
}

impl Location {
    /// It is, or needs, a device of this machine.
    #[must_use]
    pub const fn is_device(&self) -> bool {
        !matches!(self, Self::File(_) | Self::Rtsp(_) | Self::Pushed(_))
    }

    /// Where its sound comes from.
    #[must_use]
    pub const fn microphone(&self) -> &Microphone {
        match self {
            Self::Webcam { microphone, .. } | Self::Test { microphone } => microphone,
            Self::File(_) | Self::Rtsp(_) | Self::Mic(_) | Self::Pushed(_) => &Microphone::Usual,
        }
    }
}

/// Prints no credentials.
impl std::fmt::Debug for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// For people: the path, or the address without credentials.
impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            // Some cameras take the password in the path: `/user=admin&password=…`.
            Self::Rtsp(url) => f.write_str(&crate::config::redact::redact_text(without_credentials(url).as_str())),
            Self::Webcam { device, .. } => write!(f, "webcam:{}", device.as_deref().unwrap_or("default")),
            Self::Mic(device) => write!(f, "mic:{}", device.as_deref().unwrap_or("default")),
            Self::Test { .. } => write!(f, "test:"),
            Self::Pushed(feed) => write!(f, "pushed:{}", feed.name()),
        }
    }
}

fn without_credentials(url: &url::Url) -> url::Url {
    let mut url = url.clone();
    // Fails only for addresses that cannot hold credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url
}

/// One source, as configured.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Unique among the sources of a process.
    pub name: String,
    /// Where its media is.
    pub location: Location,
    /// The pipeline that brings it.
    pub description: Description,
    /// A recording is played at its own pace rather than as fast as it is judged.
    pub realtime: bool,
    /// A camera's first end of stream is its end; it is not reconnected.
    pub once: bool,
    /// Only these cameras may be connected to; None: the address is the owner's own.
    pub cameras: Option<std::sync::Arc<crate::config::Cameras>>,
    /// The first connection waits this long, so that many sources do not come all at once.
    pub delay: Duration,
    /// It is decoded in a process of its own.
    pub isolated: bool,
}

impl Spec {
    /// A source that is read once to its end, as fast as it is taken.
    #[must_use]
    pub fn once(name: &str, location: Location, description: Description) -> Self {
        let delay = Duration::ZERO;
        Self {
            name: name.to_owned(),
            location,
            description,
            realtime: false,
            once: true,
            cameras: None,
            delay,
            isolated: false,
        }
    }

    /// Live sources never wait for the rest of the program, and their gaps are measured by arrival.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        !matches!(self.location, Location::File(_))
    }
}

/// What a source says to the cutter, in order.
#[derive(Debug)]
pub enum Incoming {
    /// Which streams it has: after connecting, before the first frame.
    Streams(Streams),
    /// A frame.
    Frame {
        /// The picture or sound.
        frame: Frame<Image>,
        /// When it came.
        arrival: Instant,
        /// Live frames refused before it, because this channel was full.
        refused: u32,
    },
    /// One of its streams has ended.
    StreamEnded(Stream),
    /// A live source is away (or was not reached yet); it is being retried.
    Lost(Loss),
    /// Nothing more will come.
    Finished(Finish),
}

/// A live source went away or could not be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// One line for people, without credentials.
    pub reason: String,
    /// The source refuses our credentials (401, 403): it is tried at most once a minute.
    pub auth_failed: bool,
}

/// How a source ended.
#[derive(Debug)]
pub struct Finish {
    /// The end was the media's own (the end of a file; end of stream under `once`), not a stop.
    pub complete: bool,
    /// Media that should have been there but was not, at the end (a truncated recording).
    pub missing: MediaTime,
    /// What went wrong, if something did.
    pub error: Option<SourceError>,
}

impl Finish {
    /// Not the media's own end.
    pub(crate) const fn incomplete(error: Option<SourceError>) -> Self {
        Self { complete: false, missing: MediaTime::ZERO, error }
    }
}

/// Whether whoever plays a source wants no more of it.
pub(crate) fn stopped(stop: &Receiver<Infallible>) -> bool {
    stop.try_recv() == Err(TryRecvError::Disconnected)
}

/// Sends what must not be lost; waits while the channel is full, but not past a stop.
pub(crate) fn say(sender: &Sender<Incoming>, stop: &Receiver<Infallible>, mut message: Incoming) -> bool {
    loop {
        match sender.send_timeout(message, Duration::from_millis(100)) {
            Ok(()) => return true,
            Err(SendTimeoutError::Timeout(back)) if !stopped(stop) => message = back,
            Err(_) => return false,
        }
    }
}

/// Why a source gives no (more) media. Messages name the source and never hold credentials.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file is not there or may not be read.
    #[error("{location}: cannot be read: {reason}")]
    Unreadable {
        /// The file.
        location: String,
        /// The system's word.
        reason: String,
    },
    /// GStreamer could make nothing of it.
    #[error("{location}: {reason}")]
    Media {
        /// The source.
        location: String,
        /// One line.
        reason: String,
    },
    /// It holds neither sound nor pictures.
    #[error("{location}: has neither sound nor pictures that GStreamer can decode (`ffprobe` shows what it holds)")]
    Nothing {
        /// The source.
        location: String,
    },
    /// It ends before its header says.
    #[error(
        "{location}: ends at {end} although its header says {declared}: the file is truncated; what is there was used"
    )]
    Truncated {
        /// The source.
        location: String,
        /// Where the media ends.
        end: MediaTime,
        /// Where it should.
        declared: MediaTime,
    },
    /// A live source under `once` that never gave a frame.
    #[error("{location}: was never reached: {reason}")]
    NeverReached {
        /// The source.
        location: String,
        /// Why, in one line.
        reason: String,
    },
    /// A pipeline description that does not parse or lacks a part.
    #[error("{origin}: {reason}")]
    Description {
        /// The file.
        origin: String,
        /// What is wrong and what to write.
        reason: String,
    },
    /// GStreamer lacks what opens such a device.
    #[error("{location}: GStreamer has no {element}; install the package {package}, or run `make setup`")]
    Plugin {
        /// The source.
        location: String,
        /// The element.
        element: &'static str,
        /// Debian's package.
        package: &'static str,
    },
    /// GStreamer itself is not there.
    #[error("GStreamer cannot be used: {0}; `make setup` installs what ahwatch needs")]
    Gstreamer(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_location_shows_a_password_wherever_it_stands() {
        for url in
            ["rtsp://user:hunter2@h/s", "rtsp://h:554/user=admin&password=hunter2&channel=1", "rtsp://h/s?pwd=hunter2"]
        {
            let location = Location::Rtsp(url::Url::parse(url).unwrap());
            assert!(!format!("{location} {location:?}").contains("hunter2"), "{location}");
        }
    }
}
