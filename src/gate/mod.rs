//! Measures a window cheaply and locally: where is speech, where are faces. Flags what is odd about it, and decides
//! whether it is put to the panel at all.
//!
//! - [`models`]: the models' bytes, checked. - [`onnx`]: the runtime; the only file that knows it.
//! - [`speech`]: Silero VAD over a continuity's sound.
//! - [`faces`]: `BlazeFace` on a window's pictures. - `picture`: those, decoded.
//! - [`decide`]: measures to Pass or Skip; pure. - [`flags`]: what is odd about a window; pure.
//! - `check`: a [`Gate`] does all of it for one source. - [`report`]: what each requirement would have skipped.
//!
//! A [`Gate`] belongs to one source and sees its windows in order. A [`Measurer`] holds the models, and serves many gates.

mod check;
pub mod decide;
pub mod faces;
pub mod flags;
pub mod models;
pub mod onnx;
mod picture;
pub mod report;
pub mod speech;

pub use check::{Checked, Gate};
pub use decide::{Decision, Evidence, GateSkip};
pub use faces::{Face, FaceError};
pub use flags::Flags;
pub use models::{ModelError, Models};
pub use onnx::{NO_TELEMETRY, RunError, load_library, telemetry_is_off};
pub use picture::{Luma, lumas};
pub use speech::Speech;

use crate::time::MediaTime;
use crate::window::Window;
use picture::Picture;

/// What the local models found in a window.
#[derive(Clone, Debug, PartialEq)]
pub struct Measures {
    /// Probability of speech every 32 ms. None: the window has no sound.
    pub speech: Option<Speech>,
    /// One for each of the window's pictures, in their order. Empty: it has none.
    pub pictures: Vec<PictureFaces>,
}

/// The faces of one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct PictureFaces {
    /// Media time of the picture, in its continuity.
    pub time: MediaTime,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Those of a score of at least [`faces::FLOOR`], most certain first; empty where there is none.
    pub faces: Vec<Face>,
}

/// A window could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// There is no ONNX Runtime, and nothing configured needs it.
    #[error("ONNX Runtime is not there")]
    NoLibrary,
    /// A model failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A picture could not be looked at.
    #[error("picture at {time}: {source}")]
    Picture {
        /// Its media time.
        time: MediaTime,
        /// Why not.
        source: FaceError,
    },
}

/// Both models, loaded. What goes from window to window of one source is in its [`Gate`], so that any number of sources
/// can share one measurer: two models of their own cost each source 11 MiB more (docs/figures.md).
#[derive(Debug)]
pub struct Measurer {
    speech: onnx::SpeechModel,
    faces: faces::Detector,
}

impl Measurer {
    /// Opens ONNX Runtime and loads both models, one thread each (about 30 ms).
    ///
    /// # Errors
    /// The library is missing or unusable, or a model is.
    pub fn new(models: &Models) -> Result<Self, ModelError> {
        Ok(Self { speech: onnx::SpeechModel::new(models)?, faces: faces::Detector::new(models)? })
    }

    /// Measures the next window of the source that `listener` belongs to; `seen` gets each picture once, decoded. The
    /// listener's state is carried over from the window before, and starts anew with another continuity, after a hole
    /// between windows, and when windows go backwards. Overlapping windows are measured as if they did not.
    fn measure(
        &mut self,
        listener: &mut speech::Listener,
        window: &Window,
        mut seen: impl FnMut(&Picture),
    ) -> Result<Measures, MeasureError> {
        let speech = match &window.sound {
            Some(sound) => {
                Some(listener.measure(&mut self.speech, window.id.continuity, window.media.start(), sound)?)
            }
            None => None,
        };
        let mut pictures: Vec<PictureFaces> = Vec::with_capacity(window.pictures.len());
        for still in &window.pictures {
            // A picture may be taken twice where frames were missing.
            let faces = match pictures.last().filter(|last| last.time == still.time) {
                Some(last) => last.faces.clone(),
                None => {
                    let picture = Picture::decode(&still.jpeg).map_err(|error| error.at(still.time))?;
                    seen(&picture);
                    self.faces.detect(&picture)?
                }
            };
            pictures.push(PictureFaces { time: still.time, width: still.width, height: still.height, faces });
        }
        Ok(Measures { speech, pictures })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// See `tests/fixtures/README.md`.
    pub(crate) const FACE_JPEG: &[u8] = include_bytes!("../../tests/fixtures/face.jpg");
    const SPEECH_WAV: &[u8] = include_bytes!("../../tests/fixtures/speech.wav");

    pub(crate) fn detector_models() -> Models {
        Models::load(None).unwrap()
    }

    /// Three seconds of synthetic speech, 16 kHz.
    pub(crate) fn speech_wav() -> Vec<i16> {
        SPEECH_WAV[44..].chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect()
    }
}
