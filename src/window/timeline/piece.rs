//! What the cutter gives, as the rest of the program takes it.

use super::super::{Cut, Piece, Streams, Window};
use super::step::Step;
use crate::judge::{LostReason, WindowId};
use crate::time::MediaTime;

/// Puts a piece on session time, and holds back a window that lacks over half of a stream its source has.
pub(super) fn cut(piece: Piece, continuity: u32, start: MediaTime, streams: Streams, step: &Step) -> Cut {
    match piece {
        Piece::Tail(span) => Cut::Tail(span.shift(start)),
        Piece::Window {
            index,
            span,
            full,
            pictures_seen,
            pictures_expected,
            pictures,
            sound,
            refused,
            audio_offset,
        } => {
            let id = WindowId { continuity, index };
            let sound_missing = sound.as_ref().map_or(MediaTime::ZERO, |s| s.missing);
            let blind = streams.video && (pictures.is_empty() || 2 * pictures_seen < pictures_expected);
            let deaf = sound.is_some() && sound_missing.scale(2, 1) > span.length();
            if blind || deaf {
                return Cut::Unjudgeable { id, span: span.shift(start), reason: LostReason::MissingMedia };
            }
            Cut::Window(Box::new(Window {
                id,
                media: span,
                span: span.shift(start),
                full,
                pictures,
                pictures_seen,
                pictures_expected,
                sound: sound.map(|s| s.pcm),
                sound_missing,
                refused,
                audio_offset,
                alignment: step.of_window(start + span.start()),
            }))
        }
    }
}
