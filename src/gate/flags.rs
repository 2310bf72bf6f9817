//! What is odd about a window, gate or not: said in its event, and decides nothing. Pure.
//!
//! The panel judges the whole picture and the whole sound. A second face, or a voice without a face in view, means that
//! what it says may be about somebody else.

use super::decide::{count, largest, pixels};
use super::{Luma, Measures};
use crate::config::GateConfig;
use crate::time::MediaTime;

/// Sound whose root mean square is below this is silent: -60 dB of full scale. Speech at a microphone is 20 to 40 dB
/// louder, the noise of a muted line less. Chosen, not fitted.
pub const SILENT_RMS: f64 = 32.768;
/// An amplitude from here on is at the end of its scale; 32,767 is the last.
pub const FULL_SCALE: u16 = 32_760;
/// Sound is clipped when at least one amplitude in so many is at the end of its scale. A single peak that just reaches it
/// is not heard; a tenth of a percent is a distorted voice. Chosen, not fitted.
pub const CLIPPED_ONE_IN: usize = 1_000;
/// The picture is frozen when no two consecutive pictures of a window differ by this much on average, of 255. A stream that
/// hangs repeats itself exactly and is encoded to the same bytes; what a camera sees, even of a still room, is noisier by
/// its noise, unless an encoder has removed it. Chosen, not fitted.
pub const FROZEN_DIFFERENCE: f32 = 0.2;
/// A place is black up to this brightness, of 255, and a picture is when this share of its places is: the defaults of ffmpeg's
/// `blackdetect` (`pixel_black_th` 0.10, `picture_black_ratio_th` 0.98).
pub const BLACK_BRIGHTNESS: f32 = 25.5;
/// See [`BLACK_BRIGHTNESS`].
pub const BLACK_SHARE: f32 = 0.98;

/// What there is to know about a window before trusting a verdict on it. None: could not be told, for want of sound, of
/// pictures or of the models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// How long there is speech, anybody's.
    pub speech: Option<MediaTime>,
    /// The faces.
    pub faces: Option<FaceFlags>,
    /// Enough speech for the gate, and no face in any picture.
    pub voice_without_face: Option<bool>,
    /// The sound is below [`SILENT_RMS`].
    pub silent: Option<bool>,
    /// The sound is at the end of its scale too often ([`CLIPPED_ONE_IN`]).
    pub clipped: Option<bool>,
    /// All pictures are the same ([`FROZEN_DIFFERENCE`]).
    pub frozen: Option<bool>,
    /// All pictures are black ([`BLACK_BRIGHTNESS`]).
    pub black: Option<bool>,
}

/// The faces of a window, those of at least `face_threshold`, of whatever size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaceFlags {
    /// Median of the pictures' numbers of faces; of an even number of pictures the upper one.
    pub median: u32,
    /// The most in one picture.
    pub most: u32,
    /// Width of the widest, in pixels of its picture. None: there is none.
    pub largest: Option<u32>,
    /// Even the widest is under `min_face_pixels`: smaller than the detector can be trusted with, so that its numbers
    /// are chance.
    pub small: bool,
}

impl FaceFlags {
    /// Whether some picture shows more than one.
    #[must_use]
    pub const fn second(&self) -> bool {
        self.most > 1
    }
}

impl Flags {
    /// Of a window's sound, of the brightness of its pictures (each once, in order), and of its measures, if any.
    #[must_use]
    pub fn of(sound: Option<&[i16]>, lumas: &[Luma], measures: Option<&Measures>, config: &GateConfig) -> Self {
        let speech = measures.and_then(|m| m.speech.as_ref()).map(|speech| speech.time_from(config.speech_threshold));
        let faces = measures.and_then(|measures| faces(measures, config));
        Self {
            speech,
            faces,
            voice_without_face: speech.zip(faces).map(|(speech, faces)| speech >= config.min_speech && faces.most == 0),
            silent: sound.and_then(silent),
            clipped: sound.and_then(clipped),
            frozen: frozen(lumas),
            black: black(lumas),
        }
    }

    /// Those worth a person's attention, a few words each.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(faces) = self.faces.filter(FaceFlags::second) {
            words.push(format!("{} faces", faces.most));
        }
        let said = [
            (self.voice_without_face, "voice without a face"),
            (self.faces.map(|faces| faces.small), "small face"),
            (self.silent, "silent"),
            (self.clipped, "clipped sound"),
            (self.black, "black picture"),
            // A black picture is frozen as well, which is no news.
            (self.frozen.map(|frozen| frozen && self.black != Some(true)), "frozen picture"),
        ];
        words.extend(said.iter().filter(|(flag, _)| *flag == Some(true)).map(|(_, word)| (*word).to_owned()));
        words
    }
}

fn faces(measures: &Measures, config: &GateConfig) -> Option<FaceFlags> {
    let threshold = config.face_threshold;
    let number = |faces: &[super::Face]| count(faces.iter().filter(|face| face.score >= threshold).count());
    let mut numbers: Vec<u32> = measures.pictures.iter().map(|picture| number(&picture.faces)).collect();
    numbers.sort_unstable();
    let (median, most) = (*numbers.get(numbers.len() / 2)?, *numbers.last()?);
    let widest = largest(&measures.pictures, threshold);
    let small = |(picture, face): (&super::PictureFaces, &super::Face)| {
        face.width_at_320(picture.width, picture.height) < config.min_face_pixels
    };
    Some(FaceFlags {
        median,
        most,
        largest: widest.map(|(_, face)| pixels(face.width)),
        small: widest.is_some_and(small),
    })
}

#[allow(clippy::cast_precision_loss, reason = "windows are short")]
fn silent(sound: &[i16]) -> Option<bool> {
    let energy: u64 = sound.iter().map(|x| u64::from(x.unsigned_abs()).pow(2)).sum();
    (!sound.is_empty()).then(|| (energy as f64 / sound.len() as f64).sqrt() < SILENT_RMS)
}

fn clipped(sound: &[i16]) -> Option<bool> {
    let at_the_end = sound.iter().filter(|x| x.unsigned_abs() >= FULL_SCALE).count();
    (!sound.is_empty()).then(|| at_the_end * CLIPPED_ONE_IN >= sound.len())
}

fn frozen(lumas: &[Luma]) -> Option<bool> {
    let same = |pair: &[Luma]| pair[0].difference(&pair[1]).is_some_and(|difference| difference < FROZEN_DIFFERENCE);
    (lumas.len() > 1).then(|| lumas.windows(2).all(same))
}

fn black(lumas: &[Luma]) -> Option<bool> {
    let black = |luma: &Luma| luma.share_up_to(BLACK_BRIGHTNESS) >= BLACK_SHARE;
    (!lumas.is_empty()).then(|| lumas.iter().all(black))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gate::Speech;
    use crate::gate::decide::tests::{face, pictures};

    fn luma(value: f32) -> Luma {
        Luma::new(vec![value; 12])
    }

    fn of(measures: &Measures) -> Flags {
        Flags::of(None, &[], Some(measures), &GateConfig::default())
    }

    #[test]
    fn faces_are_counted_by_median_and_most() {
        let one = face(0.9, 100.0);
        let other = face(0.8, 60.0);
        let measures = Measures {
            speech: Some(Speech { lead: 0, probabilities: vec![0.9; 10] }),
            pictures: pictures(&[&[one], &[one, other, face(0.69, 300.0)], &[one], &[]]),
        };
        let flags = of(&measures);
        assert_eq!(flags.faces, Some(FaceFlags { median: 1, most: 2, largest: Some(100), small: false }));
        assert_eq!((flags.speech, flags.voice_without_face), (Some(MediaTime::from_millis(320)), Some(false)));
        assert_eq!(flags.words(), ["2 faces"]);

        let alone = of(&Measures { pictures: pictures(&[&[], &[]]), ..measures.clone() });
        assert_eq!(alone.faces, Some(FaceFlags::default()));
        assert_eq!(alone.words(), ["voice without a face"]);
        // 62 pixels of 640 are 31 of 320.
        let small = of(&Measures { pictures: pictures(&[&[face(0.9, 61.0)], &[]]), ..measures.clone() });
        assert!(small.faces.unwrap().small && small.words() == ["small face"]);
        // Without pictures nobody knows whether there is a face.
        let heard = of(&Measures { pictures: Vec::new(), ..measures });
        assert_eq!((heard.faces, heard.voice_without_face), (None, None));
    }

    #[test]
    fn without_measures_the_pure_flags_remain() {
        let flags = Flags::of(Some(&[0; 100]), &[luma(3.0), luma(3.0)], None, &GateConfig::default());
        assert_eq!((flags.speech, flags.faces, flags.voice_without_face), (None, None, None));
        assert_eq!(flags.words(), ["silent", "black picture"]);
        assert_eq!((flags.frozen, flags.clipped), (Some(true), Some(false)));
        assert_eq!(Flags::of(None, &[], None, &GateConfig::default()), Flags::default());
    }

    #[test]
    fn pictures_are_frozen_or_black_at_their_thresholds() {
        assert_eq!(frozen(&[luma(100.0)]), None);
        assert_eq!(frozen(&[luma(100.0), luma(100.1), luma(100.0)]), Some(true));
        assert_eq!(frozen(&[luma(100.0), luma(100.0), luma(100.3)]), Some(false));
        assert_eq!(frozen(&[luma(100.0), Luma::new(vec![100.0; 4])]), Some(false));
        assert_eq!((black(&[luma(25.0), luma(0.0)]), black(&[luma(25.0), luma(26.0)])), (Some(true), Some(false)));
        // A face lit by a screen in a dark room is no black picture.
        let lit = |cells: usize| Luma::new((0..100).map(|i| if i < cells { 200.0 } else { 5.0 }).collect());
        assert_eq!((black(&[lit(2)]), black(&[lit(3)])), (Some(true), Some(false)));
    }

    #[test]
    fn sound_is_silent_or_clipped_at_its_thresholds() {
        assert_eq!((silent(&[32; 100]), silent(&[33; 100]), silent(&[])), (Some(true), Some(false), None));
        let mut sound = vec![0; 2_000];
        sound[7] = i16::MIN;
        assert_eq!(clipped(&sound), Some(false));
        sound[8] = i16::MAX;
        assert_eq!((clipped(&sound), clipped(&[])), (Some(true), None));
    }

    proptest! {
        #[test]
        fn louder_is_never_more_silent_nor_less_clipped(sound in prop::collection::vec(any::<i16>(), 1..200), by in 1i16..4) {
            let louder: Vec<i16> = sound.iter().map(|x| x.saturating_mul(by)).collect();
            prop_assert!(silent(&louder) <= silent(&sound));
            prop_assert!(clipped(&louder) >= clipped(&sound));
        }

        #[test]
        fn any_measures_give_flags_that_agree(scores in prop::collection::vec(prop::collection::vec(0.5f32..1.0, 0..4), 0..12)) {
            let faces: Vec<Vec<_>> = scores.iter().map(|p| p.iter().map(|s| face(*s, 100.0)).collect()).collect();
            let faces: Vec<&[_]> = faces.iter().map(Vec::as_slice).collect();
            let flags = of(&Measures { speech: None, pictures: pictures(&faces) });
            prop_assert_eq!(flags.faces.is_none(), scores.is_empty());
            if let Some(faces) = flags.faces {
                prop_assert!(faces.median <= faces.most);
                prop_assert_eq!(faces.largest.is_some(), faces.most > 0);
            }
        }
    }
}
