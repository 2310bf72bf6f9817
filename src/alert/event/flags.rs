//! What the gate found in a window, in `data` of the window events.

use schemars::JsonSchema;
use serde::Serialize;

use super::secs;
use crate::gate::flags::FaceFlags;
use crate::gate::{Flags, GateSkip};

/// What is odd about a window. It decides nothing; the panel judges the whole picture and sound. Null: could not be told, for
/// want of sound, of pictures, or of ONNX Runtime. Thresholds are those of the configuration's `[gate]` and of README.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct FlagsSeen {
    /// Seconds of speech, anybody's.
    speech_secs: Option<f64>,
    /// Number of faces: the median over the pictures, the upper one of two.
    faces: Option<u32>,
    /// The most faces in one picture.
    faces_max: Option<u32>,
    /// Width of the widest face, in pixels of its picture; also null where there is no face.
    largest_face_pixels: Option<u32>,
    /// Some picture shows more than one face.
    second_face: Option<bool>,
    /// Even the widest face is smaller than the detector can be trusted with.
    small_face: Option<bool>,
    /// There is speech, and no face in any picture.
    voice_without_face: Option<bool>,
    /// The sound is silent.
    silent: Option<bool>,
    /// The sound is clipped.
    clipped_sound: Option<bool>,
    /// All pictures are the same.
    frozen_picture: Option<bool>,
    /// All pictures are black.
    black_picture: Option<bool>,
}

impl From<Flags> for FlagsSeen {
    fn from(flags: Flags) -> Self {
        let faces = flags.faces.as_ref();
        Self {
            speech_secs: flags.speech.map(secs),
            faces: faces.map(|faces| faces.median),
            faces_max: faces.map(|faces| faces.most),
            largest_face_pixels: faces.and_then(|faces| faces.largest),
            second_face: faces.map(FaceFlags::second),
            small_face: faces.map(|faces| faces.small),
            voice_without_face: flags.voice_without_face,
            silent: flags.silent,
            clipped_sound: flags.clipped,
            frozen_picture: flags.frozen,
            black_picture: flags.black,
        }
    }
}

/// The numbers behind a window that the gate skipped. Null: not known, and no reason for the skip.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct GateNumbers {
    /// What was required, such as `speech-and-face`.
    require: String,
    /// Seconds of speech found.
    speech_secs: Option<f64>,
    /// Seconds of speech needed.
    min_speech_secs: Option<f64>,
    /// Pictures with a face that counts.
    pictures_with_face: Option<u32>,
    /// Pictures looked at.
    pictures: Option<u32>,
    /// Pictures with a face needed.
    min_face_pictures: Option<u32>,
    /// Width of the widest face, whether it counts or not, in pixels of its picture; also null where there is none.
    largest_face_pixels: Option<u32>,
}

impl From<&GateSkip> for GateNumbers {
    fn from(skip: &GateSkip) -> Self {
        let (speech, faces) = (skip.evidence.speech, skip.evidence.faces);
        Self {
            require: skip.require.as_str().to_owned(),
            speech_secs: speech.map(|found| secs(found.heard)),
            min_speech_secs: speech.map(|found| secs(found.needed)),
            pictures_with_face: faces.map(|found| found.with_face),
            pictures: faces.map(|found| found.pictures),
            min_face_pictures: faces.map(|found| found.needed),
            largest_face_pixels: faces.and_then(|found| found.largest),
        }
    }
}
