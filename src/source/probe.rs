//! What a recording's headers say, without playing it.

use std::path::Path;

use gstreamer as gst;
use gstreamer_pbutils as pbutils;

use super::SourceError;
use crate::time::MediaTime;

/// How long looking at one recording may take.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(15);

/// What a recording's headers say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probe {
    /// Its length, as its container gives it; None: not said.
    pub duration: Option<MediaTime>,
    /// It holds pictures that GStreamer can decode.
    pub video: bool,
    /// It holds sound that GStreamer can decode.
    pub audio: bool,
}

/// Reads the headers of a recording and decodes its first picture. Blocking.
///
/// # Errors
/// It cannot be read, or GStreamer can make nothing of it.
pub fn probe(path: &Path) -> Result<Probe, SourceError> {
    super::pipeline::init()?;
    let location = path.display().to_string();
    let media = |reason: String| SourceError::Media { location: location.clone(), reason };
    let unreadable =
        |error: std::io::Error| SourceError::Unreadable { location: location.clone(), reason: error.to_string() };
    let absolute = std::path::absolute(path).map_err(unreadable)?;
    if std::fs::File::open(&absolute).and_then(|f| f.metadata()).map_err(unreadable)?.len() == 0 {
        return Err(media("the file is empty".into()));
    }
    let uri = gst::glib::filename_to_uri(&absolute, None).map_err(|e| media(e.to_string()))?;
    let discoverer = pbutils::Discoverer::new(PATIENCE).map_err(|e| SourceError::Gstreamer(e.to_string()))?;
    let info = discoverer.discover_uri(&uri).map_err(|e| media(e.to_string()))?;
    match info.result() {
        pbutils::DiscovererResult::Ok => {}
        pbutils::DiscovererResult::Timeout => return Err(media("nothing was found in it within 15 s".into())),
        other => return Err(media(format!("GStreamer can make nothing of it ({other:?})"))),
    }
    let duration = info.duration().and_then(|d| i64::try_from(d.nseconds()).ok()).map(MediaTime::from_nanos);
    let (video, audio) = (!info.video_streams().is_empty(), !info.audio_streams().is_empty());
    if !video && !audio {
        return Err(SourceError::Nothing { location });
    }
    Ok(Probe { duration, video, audio })
}
