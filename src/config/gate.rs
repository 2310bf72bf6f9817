//! `[gate]`: what a window must show to be judged, and from when on something counts as shown.

use schemars::JsonSchema;
use serde::Deserialize;

use super::problem::{Place, Problems};
use super::{Overrides, defaults};
use crate::gate::faces::FLOOR;
use crate::time::MediaTime;

/// `[gate]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawGate {
    /// What a window must show to be put to the panel. A window that does not is skipped, which is no "Absent". What a
    /// source cannot show (a gate on speech, and no sound) is not held against it: its windows pass.
    #[schemars(extend("default" = "none"))]
    pub require: Option<GateRequire>,
    /// Probability of speech from which 32 ms of sound count as speech, above 0, below 1. Silero VAD's own default.
    #[schemars(extend("default" = defaults::SPEECH_THRESHOLD))]
    pub speech_threshold: Option<f64>,
    /// Speech a window needs in all, seconds, above 0, at most 30. Silero VAD's own least length of speech.
    #[schemars(extend("default" = defaults::MIN_SPEECH_SECS))]
    pub min_speech_secs: Option<f64>,
    /// Score from which a face is one, 0.5 to 1. Measured here: a cat's got 0.57.
    #[schemars(extend("default" = defaults::FACE_THRESHOLD))]
    pub face_threshold: Option<f64>,
    /// Width of the smallest face that counts, in pixels of a picture whose longer side is 320 (so twice that at
    /// 640x480), 0 to 320. Measured here: smaller ones are found by chance only.
    #[schemars(extend("default" = defaults::MIN_FACE_PIXELS))]
    pub min_face_pixels: Option<f64>,
    /// Pictures of a window that must show such a face, 1 to 60; a full window of 5 s has ten.
    #[schemars(extend("default" = defaults::MIN_FACE_PICTURES))]
    pub min_face_pictures: Option<u32>,
}

/// What a window must show to be put to the panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GateRequire {
    /// Nothing: every window is.
    None,
    /// Speech.
    Speech,
    /// A face.
    Face,
    /// One of the two.
    SpeechOrFace,
    /// Both.
    SpeechAndFace,
}

impl GateRequire {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::None, Self::Speech, Self::Face, Self::SpeechOrFace, Self::SpeechAndFace];

    /// As it is typed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Speech => "speech",
            Self::Face => "face",
            Self::SpeechOrFace => "speech-or-face",
            Self::SpeechAndFace => "speech-and-face",
        }
    }

    /// Whether speech plays a part.
    #[must_use]
    pub const fn needs_speech(self) -> bool {
        matches!(self, Self::Speech | Self::SpeechOrFace | Self::SpeechAndFace)
    }

    /// Whether a face plays a part.
    #[must_use]
    pub const fn needs_face(self) -> bool {
        matches!(self, Self::Face | Self::SpeechOrFace | Self::SpeechAndFace)
    }
}

/// `[gate]` as meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateConfig {
    /// What a window must show.
    pub require: GateRequire,
    /// Probability from which sound is speech, 0 to 1.
    pub speech_threshold: f32,
    /// Speech a window needs.
    pub min_speech: MediaTime,
    /// Score from which a face is one, [`FLOOR`] to 1.
    pub face_threshold: f32,
    /// Width of the smallest face that counts, in pixels of a picture whose longer side is 320.
    pub min_face_pixels: f32,
    /// Pictures that must show such a face, at least 1.
    pub min_face_pictures: u32,
}

impl Default for GateConfig {
    fn default() -> Self {
        build(&RawGate::default(), &Overrides::default(), "", &mut Problems::default())
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the models give single precision")]
pub(super) fn build(raw: &RawGate, overrides: &Overrides, file: &str, problems: &mut Problems) -> GateConfig {
    let place = Place::new(file, "[gate]");
    let mut check = |key: &str, value: f64, good: bool, remedy: &str| {
        if !good {
            problems.push(&place, key, format!("{value} is out of range"), remedy);
        }
        value
    };
    let value = raw.speech_threshold.unwrap_or(defaults::SPEECH_THRESHOLD);
    let speech_threshold =
        check("speech_threshold", value, value > 0.0 && value < 1.0, "give more than 0 and less than 1");
    let value = raw.min_speech_secs.unwrap_or(defaults::MIN_SPEECH_SECS);
    let min_speech =
        check("min_speech_secs", value, value > 0.0 && value <= 30.0, "give more than 0 and at most 30 seconds");
    let value = raw.face_threshold.unwrap_or(defaults::FACE_THRESHOLD);
    let face_threshold = check("face_threshold", value, (f64::from(FLOOR)..=1.0).contains(&value), "give 0.5 to 1");
    let value = raw.min_face_pixels.unwrap_or(defaults::MIN_FACE_PIXELS);
    let remedy = "give 0 to 320 pixels of a picture whose longer side is 320";
    let min_face_pixels = check("min_face_pixels", value, (0.0..=320.0).contains(&value), remedy);
    let min_face_pictures = raw.min_face_pictures.unwrap_or(defaults::MIN_FACE_PICTURES);
    let value = f64::from(min_face_pictures);
    check("min_face_pictures", value, (1.0..=60.0).contains(&value), "give 1 to 60 pictures");
    GateConfig {
        require: overrides.gate.or(raw.require).unwrap_or(GateRequire::None),
        speech_threshold: speech_threshold as f32,
        min_speech: MediaTime::from_secs_f64(min_speech),
        face_threshold: face_threshold as f32,
        min_face_pixels: min_face_pixels as f32,
        min_face_pictures,
    }
}
