//! The built-in clips, encoded as windows are. The files and how they were made: `models/canary/`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::CanaryClip;
use crate::config::ClipCodec;
use crate::digest::sha256;
use crate::encode::{Clip, ClipSet, EncodeError, clips};
use crate::judge::WindowId;
use crate::time::{MediaTime, Span};
use crate::window::{SAMPLE_RATE, Still, Window};

const PICTURES: [&[u8]; 10] = [
    include_bytes!("../../../models/canary/picture-0.jpg"),
    include_bytes!("../../../models/canary/picture-1.jpg"),
    include_bytes!("../../../models/canary/picture-2.jpg"),
    include_bytes!("../../../models/canary/picture-3.jpg"),
    include_bytes!("../../../models/canary/picture-4.jpg"),
    include_bytes!("../../../models/canary/picture-5.jpg"),
    include_bytes!("../../../models/canary/picture-6.jpg"),
    include_bytes!("../../../models/canary/picture-7.jpg"),
    include_bytes!("../../../models/canary/picture-8.jpg"),
    include_bytes!("../../../models/canary/picture-9.jpg"),
];
/// The one picture of the clips that stand still.
const STILL: usize = 3;
const PICTURE_SIZE: (u32, u32) = (320, 240);
/// 3 s of 16 kHz mono speech.
const SPEECH: &[u8] = include_bytes!("../../../models/canary/speech.wav");
/// Of `ffmpeg`'s plain WAV.
const WAV_HEADER: usize = 44;

const SHORT_SECS: u32 = 5;
const LONG_SECS: u32 = 35;

/// All built-in clips, for every picture size that some judge wants.
#[derive(Debug)]
pub struct Clips {
    sets: BTreeMap<CanaryClip, ClipSet>,
}

impl Clips {
    /// Encodes them for each of `sizes` (`max_pixels`), as windows are. Blocking; some milliseconds.
    ///
    /// # Errors
    /// As [`clips`].
    pub fn build(codec: ClipCodec, sizes: &BTreeSet<u32>) -> Result<Self, EncodeError> {
        use CanaryClip::{Long, LongSpeech, Moving, Speech, Still};
        let mut sets = BTreeMap::new();
        for clip in [Still, Speech, Moving, Long, LongSpeech] {
            let (secs, speech_at) = match clip {
                Still | Moving => (SHORT_SECS, None),
                Speech => (SHORT_SECS, Some(1)),
                Long => (LONG_SECS, None),
                LongSpeech => (LONG_SECS, Some(31)),
            };
            let window = window(clip == Moving, secs, speech_at);
            sets.insert(clip, clips(&window, codec, sizes)?);
        }
        Ok(Self { sets })
    }

    /// The clip for a judge of this `max_pixels`, one of the sizes it was built for.
    #[must_use]
    pub fn get(&self, clip: CanaryClip, max_pixels: u32) -> Option<&Arc<Clip>> {
        self.sets.get(&clip)?.get(max_pixels)
    }
}

/// SHA-256 of a clip's files, hexadecimal: of the MP4, then the WAV.
#[must_use]
pub fn hash(clip: &Clip) -> String {
    sha256([clip.video(), clip.audio()].into_iter().flatten())
}

fn window(moving: bool, secs: u32, speech_at: Option<u32>) -> Window {
    let span = Span::new(MediaTime::ZERO, MediaTime::from_millis(1000 * i64::from(secs)));
    let still = |n: usize| Still {
        time: MediaTime::from_millis(500 * i64::try_from(n).unwrap_or_default()),
        width: PICTURE_SIZE.0,
        height: PICTURE_SIZE.1,
        jpeg: Bytes::from_static(PICTURES[if moving { n } else { STILL }]),
    };
    Window {
        id: WindowId { continuity: 0, index: 0 },
        media: span,
        span,
        full: true,
        pictures: (0..PICTURES.len()).map(still).collect(),
        pictures_seen: 10,
        pictures_expected: 10,
        sound: Some(sound(secs, speech_at)),
        sound_missing: MediaTime::ZERO,
        refused: 0,
        audio_offset: Some(MediaTime::ZERO),
        alignment: None,
    }
}

/// Silence of so many seconds, with the speech from second `speech_at` on.
fn sound(secs: u32, speech_at: Option<u32>) -> Vec<i16> {
    let at = |secs: u32| (secs * SAMPLE_RATE) as usize;
    let mut pcm = vec![0; at(secs)];
    if let Some(from) = speech_at {
        let speech = SPEECH[WAV_HEADER..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
        pcm.iter_mut().skip(at(from)).zip(speech).for_each(|(value, spoken)| *value = spoken);
    }
    pcm
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built() -> Clips {
        Clips::build(ClipCodec::Jpeg, &BTreeSet::from([786_432])).unwrap()
    }

    #[test]
    fn a_pair_differs_in_one_channel_only() {
        let clips = built();
        let clip = |name| clips.get(name, 786_432).unwrap();
        for (pair, video) in [
            (super::super::Pair::Sound, false),
            (super::super::Pair::Pictures, true),
            (super::super::Pair::LongSound, false),
        ] {
            let (a, b) = pair.clips();
            let (a, b) = (clip(a), clip(b));
            assert_eq!((a.video() == b.video(), a.audio() == b.audio()), (!video, video), "{pair:?}");
            // What only counts tokens finds no difference.
            assert_eq!(a.audio().map(Bytes::len), b.audio().map(Bytes::len));
        }
    }

    #[test]
    fn what_a_server_that_cuts_at_30_seconds_keeps_of_the_long_sounds_is_equal() {
        let (without, with) = (sound(LONG_SECS, None), sound(LONG_SECS, Some(31)));
        let thirty = 30 * SAMPLE_RATE as usize;
        assert_eq!(without[..thirty], with[..thirty]);
        assert!(with[thirty..].iter().any(|value| value.unsigned_abs() > 3000), "it is loud after that");
        assert_eq!(with.len(), 35 * SAMPLE_RATE as usize);
    }

    #[test]
    fn the_speech_is_the_file_whole() {
        assert_eq!((SPEECH.len() - WAV_HEADER) / 2, 48_000);
        assert_eq!(&SPEECH[36..40], b"data");
        assert!(sound(SHORT_SECS, Some(1))[64_000..].iter().all(|value| *value == 0));
    }

    #[test]
    fn the_same_clips_have_the_same_hash_and_others_another() {
        let (first, second) = (built(), built());
        let hash = |clips: &Clips, name| hash(clips.get(name, 786_432).unwrap());
        assert_eq!(hash(&first, CanaryClip::Still), hash(&second, CanaryClip::Still));
        assert_ne!(hash(&first, CanaryClip::Still), hash(&first, CanaryClip::Speech));
        assert_ne!(hash(&first, CanaryClip::Still), hash(&first, CanaryClip::Moving));
    }
}
