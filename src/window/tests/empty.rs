//! A window for the tests of other stages.

use crate::judge::WindowId;
use crate::time::{MediaTime, Span};
use crate::window::Window;

/// The `index`th window of a continuity, without any media.
pub(crate) fn empty(index: u32) -> Window {
    let start = MediaTime::from_millis(5000 * i64::from(index));
    let span = Span::new(start, start + MediaTime::from_millis(5000));
    Window {
        id: WindowId { continuity: 0, index },
        media: span,
        span,
        full: true,
        pictures: Vec::new(),
        pictures_seen: 0,
        pictures_expected: 0,
        sound: None,
        sound_missing: MediaTime::ZERO,
        refused: 0,
        audio_offset: None,
        alignment: None,
    }
}
