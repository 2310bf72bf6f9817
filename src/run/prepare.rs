//! From the configuration to what a source runs with.

use crate::config::{Config, Input, SourceConfig};
use crate::source::{Description, Location, Microphone, SourceError, Spec};
use crate::time::MediaTime;
use crate::window::Cutting;

/// A full window closes at the latest when one stream is this far past its end, and the other is not there.
const STALL: MediaTime = MediaTime::from_millis(2000);
/// In a file the streams may be stored further apart than a camera would send them.
const STALL_IN_A_FILE: MediaTime = MediaTime::from_millis(20_000);

/// A configured source as it is run; its pipeline is built once on the way, so that a mistake is found now.
pub(super) fn spec(source: &SourceConfig, config: &Config) -> Result<Spec, SourceError> {
    let location = match &source.input {
        Input::File(path) => Location::File(path.clone()),
        Input::Webcam(device, microphone) => {
            Location::Webcam { device: device.clone(), microphone: microphone.clone() }
        }
        Input::Mic(device) => Location::Mic(device.clone()),
        Input::Test(microphone) => Location::Test { microphone: microphone.clone() },
        Input::Rtsp(url) => {
            let url = url::Url::parse(url.expose()).map_err(|e| SourceError::Media {
                location: source.input.shown(),
                reason: format!("is no address: {e}"),
            })?;
            Location::Rtsp(url)
        }
    };
    let mut description = match &source.pipeline {
        Some(path) => Description::from_file(path)?,
        None => crate::source::description(&location, config.assets.as_deref())?,
    };
    if *location.microphone() == Microphone::Off {
        description.audio = None;
    }
    description.check()?;
    Ok(Spec { name: source.name.to_string(), location, description, realtime: source.realtime, once: source.once })
}

/// How a source is cut.
pub(super) fn cutting(spec: &Spec, config: &Config) -> Cutting {
    Cutting {
        window: config.window.window,
        hop: config.window.hop,
        stall: if spec.is_live() { STALL } else { STALL_IN_A_FILE },
        live: spec.is_live(),
        session_gap: MediaTime::from_duration(config.session.session_gap),
        max_session: config.session.max_session.filter(|_| spec.is_live()),
    }
}
