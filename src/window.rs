//! Cutting: frames in, windows out.

use bytes::Bytes;

use crate::judge::WindowId;
use crate::time::{MediaTime, Span};

/// Sound everywhere in this program: 16 kHz, mono, signed 16-bit (what Qwen3-Omni's audio tower takes).
pub const SAMPLE_RATE: u32 = 16_000;

/// One kept picture, as the JPEG that goes into the clip: full-range BT.601 4:2:0, even width and height.
#[derive(Clone, PartialEq, Eq)]
pub struct Still {
    /// Media time in the continuity.
    pub time: MediaTime,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// A baseline JPEG file.
    pub jpeg: Bytes,
}

impl std::fmt::Debug for Still {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Still({:?}, {}x{}, {} bytes)", self.time, self.width, self.height, self.jpeg.len())
    }
}

/// A span of synchronised sound and pictures, ready to be encoded for a judge.
#[derive(Clone)]
pub struct Window {
    /// Which window of the session.
    pub id: WindowId,
    /// Its span in the time of its continuity.
    pub media: Span,
    /// Its span in session time.
    pub span: Span,
    /// Whether it is `window_secs` long; else it is a kept partial.
    pub full: bool,
    /// The ten pictures of rule 2 (fewer for a partial window; one may occur twice). Empty: the source has no video.
    pub pictures: Vec<Still>,
    /// How many pictures the source delivered in this span.
    pub pictures_seen: u32,
    /// How many it should have delivered at its frame period.
    pub pictures_expected: u32,
    /// 16 kHz mono, exactly the window's length; holes are zeros. None: the source has no audio.
    pub sound: Option<Vec<i16>>,
    /// How much of `sound` is filled-in silence.
    pub sound_missing: MediaTime,
    /// Frames refused at the bridge into the cutter within this span, because it was full.
    pub refused: u32,
    /// Media time of the window's first sound minus that of its first picture; None without both.
    pub audio_offset: Option<MediaTime>,
}

impl std::fmt::Debug for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Window({:?}, {:?}, {} pictures)", self.id, self.span, self.pictures.len())
    }
}
