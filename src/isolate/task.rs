//! What a worker is told, on its standard input.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::source::{Description, Location, Retry, Spec};

/// One source to be played by a worker.
#[derive(Serialize, Deserialize)]
pub struct Task {
    name: String,
    place: Place,
    origin: String,
    parts: [Option<String>; 3],
    realtime: bool,
    once: bool,
    delay: Duration,
    /// First wait, longest wait, wait after a refusal, silence, first frame.
    retry: [Duration; 5],
}

#[derive(Serialize, Deserialize)]
enum Place {
    File(PathBuf),
    /// By way of the relay's port.
    Rtsp(String, u16),
}

impl Task {
    /// Of a recording, or of a camera that a relay leads to. None: such a source is not played apart.
    #[must_use]
    pub fn new(spec: &Spec, retry: &Retry, relay: Option<u16>) -> Option<Self> {
        let place = match (&spec.location, relay) {
            (Location::File(path), _) => Place::File(path.clone()),
            (Location::Rtsp(url), Some(port)) => {
                let mut url = url.clone();
                url.set_host(Some("127.0.0.1")).ok()?;
                url.set_port(Some(port)).ok()?;
                Place::Rtsp(url.into(), port)
            }
            _ => return None,
        };
        let Description { origin, source, video, audio } = spec.description.clone();
        Some(Self {
            name: spec.name.clone(),
            place,
            origin,
            parts: [source, video, audio],
            realtime: spec.realtime,
            once: spec.once,
            delay: spec.delay,
            retry: [retry.first, retry.longest, retry.refused, retry.silence, retry.first_frame],
        })
    }

    /// What to play, and how to try again. None: the camera's address is none.
    #[must_use]
    pub fn spec(self) -> Option<(Spec, Retry)> {
        let location = match self.place {
            Place::File(path) => Location::File(path),
            Place::Rtsp(url, _) => Location::Rtsp(url::Url::parse(&url).ok()?),
        };
        let [source, video, audio] = self.parts;
        let description = Description { origin: self.origin, source, video, audio };
        let Self { name, realtime, once, delay, .. } = self;
        let [first, longest, refused, silence, first_frame] = self.retry;
        let retry = Retry { first, longest, refused, silence, first_frame };
        Some((Spec { name, location, description, realtime, once, cameras: None, delay, isolated: false }, retry))
    }

    /// The one file it may read.
    #[must_use]
    pub const fn file(&self) -> Option<&PathBuf> {
        match &self.place {
            Place::File(path) => Some(path),
            Place::Rtsp(..) => None,
        }
    }

    /// The one port it may connect to.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        match self.place {
            Place::File(_) => None,
            Place::Rtsp(_, port) => Some(port),
        }
    }
}
