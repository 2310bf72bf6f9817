//! A clip: a window as MP4 and WAV, and their base64 as it goes over the wire.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

/// A window's media as one kind of judge takes them. Encoded once, shared by all judges that want the same.
#[derive(Clone, Default)]
pub struct Clip {
    video: Option<Part>,
    audio: Option<Part>,
}

/// One file of a clip, and the same as base64.
#[derive(Clone)]
struct Part {
    file: Bytes,
    base64: Bytes,
}

impl Part {
    fn new(file: Bytes) -> Self {
        let base64 = Bytes::from(STANDARD.encode(&file));
        Self { file, base64 }
    }
}

impl Clip {
    /// From a 2-fps MP4 of the window's pictures and a 16 kHz mono WAV of its sound; None where the window has none.
    ///
    /// The base64 is computed here, once, so build clips where blocking work is allowed (about 1 ms per MB).
    #[must_use]
    pub fn new(video: Option<Bytes>, audio: Option<Bytes>) -> Self {
        Self { video: video.map(Part::new), audio: audio.map(Part::new) }
    }

    /// The MP4.
    #[must_use]
    pub fn video(&self) -> Option<&Bytes> {
        self.video.as_ref().map(|part| &part.file)
    }

    /// The WAV.
    #[must_use]
    pub fn audio(&self) -> Option<&Bytes> {
        self.audio.as_ref().map(|part| &part.file)
    }

    /// The MP4 in standard base64 with padding (ASCII).
    #[must_use]
    pub fn video_base64(&self) -> Option<&Bytes> {
        self.video.as_ref().map(|part| &part.base64)
    }

    /// The WAV in standard base64 with padding (ASCII).
    #[must_use]
    pub fn audio_base64(&self) -> Option<&Bytes> {
        self.audio.as_ref().map(|part| &part.base64)
    }
}

impl fmt::Debug for Clip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = |part: &Option<Part>| part.as_ref().map(|part| part.file.len());
        write!(f, "Clip(video {:?} bytes, audio {:?} bytes)", bytes(&self.video), bytes(&self.audio))
    }
}

/// The clips of one window, by the picture size limit (`max_pixels`) they were encoded for.
#[derive(Clone, Debug, Default)]
pub struct ClipSet {
    clips: BTreeMap<u32, Arc<Clip>>,
}

impl ClipSet {
    /// No clip yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { clips: BTreeMap::new() }
    }

    /// Adds the clip encoded for pictures of at most `max_pixels` pixels.
    pub fn insert(&mut self, max_pixels: u32, clip: Arc<Clip>) {
        self.clips.insert(max_pixels, clip);
    }

    /// The clip encoded for `max_pixels`.
    #[must_use]
    pub fn get(&self, max_pixels: u32) -> Option<&Arc<Clip>> {
        self.clips.get(&max_pixels)
    }

    /// The clip for a judge of this `max_pixels`; for one that only listens any will do, as sound is the same in all sizes.
    #[must_use]
    pub fn fitting(&self, max_pixels: u32, sees: bool) -> Option<&Arc<Clip>> {
        self.get(max_pixels).or_else(|| if sees { None } else { self.any() })
    }

    /// Any of them.
    #[must_use]
    pub fn any(&self) -> Option<&Arc<Clip>> {
        self.clips.values().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_no_media() {
        let clip = Clip::new(Some(Bytes::from_static(b"moovmoov")), None);
        let mut set = ClipSet::new();
        set.insert(1, Arc::new(clip));
        assert_eq!(format!("{set:?}"), "ClipSet { clips: {1: Clip(video Some(8) bytes, audio None bytes)} }");
    }
}
