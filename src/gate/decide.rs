//! What a window showed, against what it must show: Pass, or Skip with the numbers behind it. Pure.
//!
//! A window is skipped only when the measures say that it lacks what is required. What could not be measured (the source
//! has no sound, or no pictures; the speech may have been in sound that is missing; a model failed) is neither there nor missing: a requirement that hangs on it lets the
//! window pass.

use std::fmt;

use super::{Face, Measures, PictureFaces};
use crate::config::{GateConfig, GateRequire};
use crate::time::MediaTime;

/// What the gate goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// None: not known.
    pub speech: Option<SpeechFound>,
    /// None: not known.
    pub faces: Option<FacesFound>,
}

/// How much speech was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpeechFound {
    /// Time in which the probability of speech was at least `speech_threshold`.
    pub heard: MediaTime,
    /// `min_speech_secs`.
    pub needed: MediaTime,
}

/// In how many pictures a face was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FacesFound {
    /// Pictures with a face that counts: of `face_threshold` and `min_face_pixels`.
    pub with_face: u32,
    /// Pictures looked at.
    pub pictures: u32,
    /// `min_face_pictures`, or all of them where the window has fewer.
    pub needed: u32,
    /// Width of the largest face, in pixels of its picture, whether it counts or not; None: no face of `face_threshold`.
    pub largest: Option<u32>,
}

impl SpeechFound {
    /// Whether it is enough.
    #[must_use]
    pub fn enough(&self) -> bool {
        self.heard >= self.needed
    }
}

impl FacesFound {
    /// Whether they are enough.
    #[must_use]
    pub const fn enough(&self) -> bool {
        self.with_face >= self.needed
    }
}

impl Evidence {
    /// Of a window's measures. Of its sound, so much was `missing`: nobody knows whether there was speech in that.
    #[must_use]
    pub fn of(measures: &Measures, missing: MediaTime, config: &GateConfig) -> Self {
        let found = |heard| SpeechFound { heard, needed: config.min_speech };
        let speech = measures.speech.as_ref().map(|speech| speech.time_from(config.speech_threshold));
        let speech = speech.filter(|heard| found(*heard).enough() || !found(*heard + missing).enough()).map(found);
        let pictures = count(measures.pictures.len());
        let faces = (pictures > 0).then(|| FacesFound {
            with_face: count(measures.pictures.iter().filter(|picture| shows_face(picture, config)).count()),
            pictures,
            needed: config.min_face_pictures.min(pictures),
            largest: largest(&measures.pictures, config.face_threshold).map(|(_, face)| pixels(face.width)),
        });
        Self { speech, faces }
    }
}

fn shows_face(picture: &PictureFaces, config: &GateConfig) -> bool {
    picture.faces.iter().any(|face| {
        face.score >= config.face_threshold
            && face.width_at_320(picture.width, picture.height) >= config.min_face_pixels
    })
}

/// The widest face of at least this score, and its picture.
pub(super) fn largest(pictures: &[PictureFaces], threshold: f32) -> Option<(&PictureFaces, &Face)> {
    let all = pictures.iter().flat_map(|picture| picture.faces.iter().map(move |face| (picture, face)));
    all.filter(|(_, face)| face.score >= threshold).max_by(|(_, a), (_, b)| a.width.total_cmp(&b.width))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "float to int casts saturate")]
pub(super) fn pixels(length: f32) -> u32 {
    length.round() as u32
}

pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// What becomes of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is judged.
    Pass,
    /// It is judged, because whether it has what is required is not known.
    Unknown,
    /// It is not judged.
    Skip(GateSkip),
}

/// What was required and what was found instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateSkip {
    /// The requirement.
    pub require: GateRequire,
    /// What there was.
    pub evidence: Evidence,
}

/// One line for a person, with the numbers.
impl fmt::Display for GateSkip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gate {}: ", self.require.as_str())?;
        let speech = self.evidence.speech.filter(|_| self.require.needs_speech());
        let faces = self.evidence.faces.filter(|_| self.require.needs_face());
        if let Some(SpeechFound { heard, needed }) = speech {
            write!(f, "{:.2} s of speech, {:.2} s needed", heard.as_secs_f64(), needed.as_secs_f64())?;
        }
        if speech.is_some() && faces.is_some() {
            f.write_str("; ")?;
        }
        if let Some(FacesFound { with_face, pictures, needed, .. }) = faces {
            write!(f, "a face in {with_face} of {pictures} pictures, {needed} needed")?;
        }
        Ok(())
    }
}

/// Holds the evidence against a requirement, in three-valued logic: what is not known makes neither a skip nor, where
/// something known decides already, a difference.
#[must_use]
pub fn decide(require: GateRequire, evidence: &Evidence) -> Decision {
    let speech = evidence.speech.map(|found| found.enough());
    let face = evidence.faces.map(|found| found.enough());
    let met = match require {
        GateRequire::None => Some(true),
        GateRequire::Speech => speech,
        GateRequire::Face => face,
        GateRequire::SpeechOrFace => match (speech, face) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        GateRequire::SpeechAndFace => match (speech, face) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        },
    };
    match met {
        Some(true) => Decision::Pass,
        None => Decision::Unknown,
        Some(false) => Decision::Skip(GateSkip { require, evidence: *evidence }),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gate::Speech;

    /// A face of this score and width, at the left edge.
    pub(crate) fn face(score: f32, width: f32) -> Face {
        let middle = [width / 2.0, 50.0];
        Face {
            score,
            x: 0.0,
            y: 0.0,
            width,
            height: width,
            right_eye: middle,
            left_eye: middle,
            nose: middle,
            mouth: middle,
            right_ear: middle,
            left_ear: middle,
        }
    }

    /// Pictures of 640x480 with these faces.
    pub(crate) fn pictures(faces: &[&[Face]]) -> Vec<PictureFaces> {
        let picture =
            |faces: &&[Face]| PictureFaces { time: MediaTime::ZERO, width: 640, height: 480, faces: faces.to_vec() };
        faces.iter().map(picture).collect()
    }

    fn evidence(speech: Option<bool>, face: Option<bool>) -> Evidence {
        let speech = speech.map(|enough| SpeechFound {
            heard: MediaTime::from_millis(if enough { 300 } else { 100 }),
            needed: MediaTime::from_millis(250),
        });
        let faces = face.map(|enough| FacesFound {
            with_face: u32::from(enough),
            pictures: 10,
            needed: 1,
            largest: enough.then_some(90),
        });
        Evidence { speech, faces }
    }

    fn skips(require: GateRequire, speech: Option<bool>, face: Option<bool>) -> bool {
        matches!(decide(require, &evidence(speech, face)), Decision::Skip(_))
    }

    #[test]
    fn what_is_not_known_is_never_a_skip_by_itself() {
        for require in GateRequire::ALL {
            assert!(!skips(require, None, None), "{require:?}");
        }
        assert!(!skips(GateRequire::Speech, None, Some(false)) && !skips(GateRequire::Face, Some(false), None));
        assert!(!skips(GateRequire::SpeechOrFace, None, Some(false)));
        // Of two that must both be there, one that is missing decides.
        assert!(skips(GateRequire::SpeechAndFace, None, Some(false)));
        assert_eq!(decide(GateRequire::SpeechAndFace, &evidence(None, Some(true))), Decision::Unknown);
        assert_eq!(decide(GateRequire::SpeechOrFace, &evidence(None, Some(true))), Decision::Pass);
    }

    proptest! {
        /// More found never turns a pass into a skip, and learning what was unknown never contradicts a decision.
        #[test]
        fn the_gate_is_monotone(speech in any::<Option<bool>>(), face in any::<Option<bool>>(), also in any::<(bool, bool)>()) {
            for require in GateRequire::ALL {
                let before = decide(require, &evidence(speech, face));
                let known = (speech.or(Some(also.0)), face.or(Some(also.1)));
                let after = decide(require, &evidence(known.0, known.1));
                prop_assert_ne!(&after, &Decision::Unknown);
                match before {
                    Decision::Pass => prop_assert_eq!(after, Decision::Pass),
                    Decision::Skip(_) => prop_assert!(matches!(after, Decision::Skip(_))),
                    Decision::Unknown => {}
                }
                if !skips(require, known.0, known.1) {
                    prop_assert!(!skips(require, Some(true), known.1) && !skips(require, known.0, Some(true)));
                }
            }
        }

        /// "or" skips what both skip, "and" what either does.
        #[test]
        fn the_combinations_follow_from_the_parts(speech: bool, face: bool) {
            let skip = |require| skips(require, Some(speech), Some(face));
            let (by_speech, by_face) = (skip(GateRequire::Speech), skip(GateRequire::Face));
            prop_assert_eq!(skip(GateRequire::SpeechOrFace), by_speech && by_face);
            prop_assert_eq!(skip(GateRequire::SpeechAndFace), by_speech || by_face);
            prop_assert!(!skip(GateRequire::None));
        }
    }

    #[test]
    fn evidence_counts_by_the_thresholds() {
        let config = GateConfig { min_face_pictures: 3, ..GateConfig::default() };
        // 62 pixels of 640 are 31 of 320.
        let measures = Measures {
            speech: Some(Speech { lead: 0, probabilities: vec![0.49, 0.5, 0.9] }),
            pictures: pictures(&[&[face(0.71, 100.0)], &[face(0.69, 200.0), face(0.9, 61.0)], &[]]),
        };
        let found = Evidence::of(&measures, MediaTime::ZERO, &config);
        let needed = MediaTime::from_millis(250);
        assert_eq!(found.speech, Some(SpeechFound { heard: MediaTime::from_millis(64), needed }));
        assert_eq!(found.faces, Some(FacesFound { with_face: 1, pictures: 3, needed: 3, largest: Some(100) }));
        let short = Measures { speech: None, pictures: pictures(&[&[]]) };
        let short = Evidence::of(&short, MediaTime::ZERO, &config);
        assert_eq!((short.speech, short.faces.unwrap().needed), (None, 1));
        assert_eq!(
            Evidence::of(&Measures { speech: None, pictures: Vec::new() }, MediaTime::ZERO, &config),
            Evidence::default()
        );
    }

    #[test]
    fn speech_that_may_lie_in_missing_sound_is_not_known() {
        let config = GateConfig { min_speech: MediaTime::from_millis(250), ..GateConfig::default() };
        let found = |steps: usize, missing| {
            let speech = Some(Speech { lead: 0, probabilities: vec![0.9; steps] });
            let measures = Measures { speech, pictures: Vec::new() };
            Evidence::of(&measures, MediaTime::from_millis(missing), &config).speech.map(|speech| speech.enough())
        };
        // Five steps are 160 ms.
        assert_eq!([0, 89, 90, 2500].map(|missing| found(5, missing)), [Some(false), Some(false), None, None]);
        // What was heard was heard.
        assert_eq!(found(8, 2500), Some(true));
        assert_eq!([0, 249, 250].map(|missing| found(0, missing)), [Some(false), Some(false), None]);
    }

    #[test]
    fn a_skip_says_its_numbers() {
        let said = |require| match decide(require, &evidence(Some(false), Some(false))) {
            Decision::Skip(skip) => skip.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(said(GateRequire::Speech), "gate speech: 0.10 s of speech, 0.25 s needed");
        assert_eq!(said(GateRequire::Face), "gate face: a face in 0 of 10 pictures, 1 needed");
        assert_eq!(
            said(GateRequire::SpeechOrFace),
            "gate speech-or-face: 0.10 s of speech, 0.25 s needed; a face in 0 of 10 pictures, 1 needed"
        );
    }
}
