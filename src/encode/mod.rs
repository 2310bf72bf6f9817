//! Encoding: a [`Window`] goes in, [`Clip`]s come out, one per picture size that a judge of the panel wants.
//!
//! A clip's pictures are a 2-fps MP4 and its sound is a separate 16 kHz WAV, because ten pictures chosen as training
//! chooses them, at 2 fps, are the only form that vLLM and ms-swift read alike.
//!
//! - `still`: a picked picture to the JPEG that is held; `colour`: into JFIF's colours before that.
//! - `movie`: every picture of a span, for training data.
//! - `transcode`: held JPEGs to another size, or to H.264. `mp4`, `wav`: the files.

mod clip;
mod colour;
mod movie;
mod mp4;
mod still;
mod transcode;
mod wav;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;

use crate::config::ClipCodec;
use crate::window::{Still, Window};

pub use clip::{Clip, ClipSet};
pub use movie::MovieWriter;
pub use still::StillEncoder;
pub use wav::write as wav;

/// Why a picture or a clip could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A GStreamer element that encoding needs is not installed.
    #[error("GStreamer has no element to encode with ({0}); install gstreamer1.0-plugins-good, -bad and -ugly")]
    Missing(String),
    /// The pipeline could not be started.
    #[error("the encoding pipeline did not start")]
    Pipeline,
    /// A picture without area.
    #[error("a picture of no size cannot be encoded")]
    Empty,
    /// The JPEG encoder refused a picture.
    #[error("a picture could not be encoded as JPEG")]
    Jpeg,
    /// Held pictures could not be encoded for a clip.
    #[error("the pictures of a window could not be encoded: {0}")]
    Transcode(String),
    /// A clip of training data could not be encoded or written.
    #[error("{file}: could not be written: {reason}")]
    Movie {
        /// The file.
        file: String,
        /// GStreamer's or the system's word.
        reason: String,
    },
}

/// The clips of a window: one for each of `sizes` (the `max_pixels` that judges ask for). Blocking; some milliseconds.
///
/// # Errors
/// The pictures could not be scaled or encoded.
pub fn clips(window: &Window, codec: ClipCodec, sizes: &BTreeSet<u32>) -> Result<ClipSet, EncodeError> {
    let wav = window.sound.as_deref().map(wav::write);
    let mut set = ClipSet::new();
    let mut made: Vec<((u32, u32), Arc<Clip>)> = Vec::new();
    for &max_pixels in sizes {
        let target = window.pictures.first().and_then(|p| fit(p.width, p.height, max_pixels)).unwrap_or_default();
        // Judges whose limits do not bite share one clip.
        if let Some((_, clip)) = made.iter().find(|(size, _)| *size == target) {
            set.insert(max_pixels, Arc::clone(clip));
            continue;
        }
        let video = if window.pictures.is_empty() { None } else { Some(video(&window.pictures, target, codec)?) };
        let clip = Arc::new(Clip::new(video, wav.clone()));
        set.insert(max_pixels, Arc::clone(&clip));
        made.push((target, clip));
    }
    Ok(set)
}

fn video(stills: &[Still], (width, height): (u32, u32), codec: ClipCodec) -> Result<Bytes, EncodeError> {
    let as_held = stills.iter().all(|s| (s.width, s.height) == (width, height));
    match codec {
        ClipCodec::Jpeg if as_held => {
            let pictures: Vec<_> = stills.iter().map(|s| s.jpeg.clone()).collect();
            Ok(mp4::write(&mp4::Track::Jpeg, width, height, &pictures))
        }
        ClipCodec::Jpeg => {
            let (pictures, _) = transcode::run(stills, width, height, codec)?;
            Ok(mp4::write(&mp4::Track::Jpeg, width, height, &pictures))
        }
        ClipCodec::H264 => {
            let (pictures, avcc) = transcode::run(stills, width, height, codec)?;
            let avcc = avcc.ok_or_else(|| EncodeError::Transcode("no H.264 parameters".into()))?;
            Ok(mp4::write(&mp4::Track::H264(avcc), width, height, &pictures))
        }
    }
}

/// The largest even size of at most `max_pixels` with the picture's shape, no larger than the picture. None: no area.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the picture's own size")]
pub fn fit(width: u32, height: u32, max_pixels: u32) -> Option<(u32, u32)> {
    if width == 0 || height == 0 || max_pixels < 4 {
        return None;
    }
    let area = f64::from(width) * f64::from(height);
    let factor = (f64::from(max_pixels) / area).sqrt().min(1.0);
    let even = |side: u32| ((f64::from(side) * factor) as u32 / 2 * 2).max(2);
    Some((even(width), even(height)))
}

/// A pipeline from its description.
fn parse(description: &str) -> Result<gst::Pipeline, EncodeError> {
    gst::init().map_err(|e| EncodeError::Missing(e.to_string()))?;
    let pipeline = gst::parse::launch(description).map_err(|e| EncodeError::Missing(e.message().to_owned()))?;
    pipeline.downcast::<gst::Pipeline>().map_err(|_| EncodeError::Pipeline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_fitted_size_is_even_small_enough_and_has_the_shape(width in 16u32..8000, height in 16u32..8000, max in 4096u32..2_000_000) {
            let (w, h) = fit(width, height, max).unwrap();
            prop_assert!(w % 2 == 0 && h % 2 == 0 && w <= width && h <= height);
            prop_assert!(u64::from(w) * u64::from(h) <= u64::from(max).max(4));
            if w > 64 && h > 64 {
                let (shape, was) = (f64::from(w) / f64::from(h), f64::from(width) / f64::from(height));
                prop_assert!((shape / was - 1.0).abs() < 0.07);
            }
        }
    }

    #[test]
    fn vga_stays_and_hd_shrinks_to_the_models_limit() {
        assert_eq!(fit(640, 480, 786_432), Some((640, 480)));
        assert_eq!(fit(1280, 720, 786_432), Some((1182, 664)));
        assert_eq!(fit(641, 479, 786_432), Some((640, 478)));
    }
}
