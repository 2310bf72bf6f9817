//! Where faces are: `BlazeFace` (short range) on single pictures.
//!
//! It was made for a face within 2 m of a camera, and misses faces under about a tenth of the picture's width.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "pixels: small, whole and not negative where it matters"
)]

use jpeg_decoder::{Decoder, PixelFormat};

use super::models::{ModelError, Models};
use super::onnx::{FACE_ANCHORS, FACE_NUMBERS, FACE_SIDE, FaceModel, RunError};
use super::{MeasureError, MediaTime};

/// Scores below are no face: the model gave a cat 0.57.
pub const THRESHOLD: f32 = 0.70;
/// Of two boxes that share more than this (intersection over union), the less certain is dropped. `MediaPipe`'s value.
const OVERLAP: f32 = 0.3;
/// The most pixels a picture may have after scaling; far above the clip's own limit, so only a forged header meets it.
const MAX_BYTES: usize = 64 << 20;

/// A point of a picture, in its pixels, x to the right and y down; may lie outside of it.
pub type Point = [f32; 2];

/// One face, in pixels of the picture. Left and right are the person's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Face {
    /// 0.70 to 1.
    pub score: f32,
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width; the box reaches from the brows to the chin.
    pub width: f32,
    /// Height.
    pub height: f32,
    /// Right eye.
    pub right_eye: Point,
    /// Left eye.
    pub left_eye: Point,
    /// Tip of the nose.
    pub nose: Point,
    /// Centre of the mouth.
    pub mouth: Point,
    /// Right ear, at its front edge; a guess when hidden.
    pub right_ear: Point,
    /// Left ear, at its front edge; a guess when hidden.
    pub left_ear: Point,
}

impl Face {
    /// How far the head is turned to a side: 0 facing the camera, 1 when the nose reaches an ear's edge, positive
    /// towards the person's left. The nose's place between the ears along the line of the eyes, so that a tilted head
    /// counts as facing. None when the points make no face.
    #[must_use]
    pub fn turn(&self) -> Option<f32> {
        let along = [self.left_eye[0] - self.right_eye[0], self.left_eye[1] - self.right_eye[1]];
        let length = along[0].hypot(along[1]);
        let to = |ear: Point| ((ear[0] - self.nose[0]) * along[0] + (ear[1] - self.nose[1]) * along[1]) / length;
        let (left, right) = (to(self.left_ear), -to(self.right_ear));
        let ears = left + right;
        (length > 0.0 && ears > 0.0).then(|| ((right - left) / ears).clamp(-1.0, 1.0))
    }

    fn shared(&self, other: &Self) -> f32 {
        let overlap = |a: f32, a_len: f32, b: f32, b_len: f32| ((a + a_len).min(b + b_len) - a.max(b)).max(0.0);
        let both =
            overlap(self.x, self.width, other.x, other.width) * overlap(self.y, self.height, other.y, other.height);
        both / (self.width * self.height + other.width * other.height - both).max(f32::EPSILON)
    }
}

/// A picture could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum FaceError {
    /// Not a JPEG this program reads.
    #[error("not a readable JPEG ({0})")]
    Jpeg(String),
    /// The model failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl FaceError {
    pub(super) fn at(self, time: MediaTime) -> MeasureError {
        match self {
            Self::Run(error) => error.into(),
            source @ Self::Jpeg(_) => MeasureError::Picture { time, source },
        }
    }
}

/// The model with its anchors.
#[derive(Debug)]
pub(super) struct Detector {
    model: FaceModel,
    anchors: Vec<Point>,
}

impl Detector {
    pub(super) fn new(models: &Models) -> Result<Self, ModelError> {
        Ok(Self { model: FaceModel::new(models)?, anchors: anchors() })
    }

    pub(super) fn detect(&mut self, jpeg: &[u8]) -> Result<Vec<Face>, FaceError> {
        let picture = Picture::decode(jpeg)?;
        let (input, place) = picture.letterbox();
        let (numbers, scores) = self.model.run(&input)?;
        let mut faces: Vec<Face> = scores
            .iter()
            .zip(numbers.chunks_exact(FACE_NUMBERS))
            .zip(&self.anchors)
            .filter_map(|((score, numbers), anchor)| {
                let score = 1.0 / (1.0 + (-score.clamp(-100.0, 100.0)).exp());
                (score >= THRESHOLD).then(|| face(score, numbers, *anchor, &place))
            })
            .collect();
        // A stable sort: equal scores keep the anchors' order, so the result never depends on chance.
        faces.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut kept: Vec<Face> = Vec::new();
        for face in faces {
            if kept.iter().all(|other| other.shared(&face) <= OVERLAP) {
                kept.push(face);
            }
        }
        Ok(kept)
    }
}

/// Centres of the 896 anchors in pixels of the input: two on each cell of a 16 x 16 grid, then six on each of 8 x 8
/// (`MediaPipe`'s `face_detection_short_range`: strides 8, 16, 16, 16).
fn anchors() -> Vec<Point> {
    let grid = |cells: u16, each: usize| {
        let side = FACE_SIDE as f32 / f32::from(cells);
        let centre = move |i: u16| (f32::from(i) + 0.5) * side;
        (0..cells).flat_map(move |y| (0..cells).flat_map(move |x| std::iter::repeat_n([centre(x), centre(y)], each)))
    };
    let all: Vec<Point> = grid(16, 2).chain(grid(8, 6)).collect();
    debug_assert_eq!(all.len(), FACE_ANCHORS, "as many anchors as the model has outputs");
    all
}

fn face(score: f32, numbers: &[f32], anchor: Point, place: &Place) -> Face {
    let point = |i: usize| place.back([numbers[i] + anchor[0], numbers[i + 1] + anchor[1]]);
    let centre = point(0);
    let (width, height) = (numbers[2] / place.scale, numbers[3] / place.scale);
    Face {
        score,
        x: centre[0] - width / 2.0,
        y: centre[1] - height / 2.0,
        width,
        height,
        right_eye: point(4),
        left_eye: point(6),
        nose: point(8),
        mouth: point(10),
        right_ear: point(12),
        left_ear: point(14),
    }
}

/// Where a picture lies in the model's input: input = picture * scale + offset.
struct Place {
    scale: f32,
    offset: Point,
}

impl Place {
    fn back(&self, at: Point) -> Point {
        [(at[0] - self.offset[0]) / self.scale, (at[1] - self.offset[1]) / self.scale]
    }
}

/// A decoded picture, already scaled down by the decoder (1, 1/2, 1/4 or 1/8).
struct Picture {
    rgb: Vec<u8>,
    width: usize,
    height: usize,
    /// Of the picture as it was before.
    full: [f32; 2],
}

impl Picture {
    fn decode(jpeg: &[u8]) -> Result<Self, FaceError> {
        let bad = |error: jpeg_decoder::Error| FaceError::Jpeg(error.to_string());
        let mut decoder = Decoder::new(jpeg);
        decoder.set_max_decoding_buffer_size(MAX_BYTES);
        decoder.read_info().map_err(bad)?;
        let info = decoder.info().ok_or_else(|| FaceError::Jpeg("no header".to_owned()))?;
        let side = FACE_SIDE as u16;
        let (width, height) = decoder.scale(side, side).map_err(bad)?;
        let pixels = decoder.decode().map_err(bad)?;
        let rgb = match info.pixel_format {
            PixelFormat::RGB24 => pixels,
            PixelFormat::L8 => pixels.iter().flat_map(|grey| [*grey; 3]).collect(),
            other => return Err(FaceError::Jpeg(format!("pixels are {other:?}"))),
        };
        let (width, height) = (usize::from(width), usize::from(height));
        if width == 0 || height == 0 || rgb.len() < width * height * 3 {
            return Err(FaceError::Jpeg("too few pixels".to_owned()));
        }
        Ok(Self { rgb, width, height, full: [f32::from(info.width), f32::from(info.height)] })
    }

    /// The whole picture in the middle of the model's square, its shape kept, black around it (-1).
    fn letterbox(&self) -> (Vec<f32>, Place) {
        const SIDE: f32 = FACE_SIDE as f32;
        let scale = (SIDE / self.full[0]).min(SIDE / self.full[1]);
        let offset = self.full.map(|length| (SIDE - length * scale) / 2.0);
        let place = Place { scale, offset };
        let mut planes = vec![-1.0; 3 * FACE_SIDE * FACE_SIDE];
        // Pixels of this picture per pixel of the full one.
        let shrunk = [self.width as f32 / self.full[0], self.height as f32 / self.full[1]];
        let tap = |axis: usize, i: usize, last: usize| {
            let full = (i as f32 + 0.5 - offset[axis]) / scale;
            (0.0..self.full[axis]).contains(&full).then(|| {
                let at = (full * shrunk[axis] - 0.5).clamp(0.0, last as f32);
                let low = at as usize;
                (low, (low + 1).min(last), at - low as f32)
            })
        };
        let columns: Vec<_> = (0..FACE_SIDE).map(|x| tap(0, x, self.width - 1)).collect();
        for y in 0..FACE_SIDE {
            let Some((top, bottom, fy)) = tap(1, y, self.height - 1) else { continue };
            for (x, column) in columns.iter().enumerate() {
                let Some((left, right, fx)) = *column else { continue };
                for plane in 0..3 {
                    let pixel = |x: usize, y: usize| f32::from(self.rgb[(y * self.width + x) * 3 + plane]);
                    let upper = pixel(left, top) * (1.0 - fx) + pixel(right, top) * fx;
                    let lower = pixel(left, bottom) * (1.0 - fx) + pixel(right, bottom) * fx;
                    let value = upper * (1.0 - fy) + lower * fy;
                    planes[(plane * FACE_SIDE + y) * FACE_SIDE + x] = value / 127.5 - 1.0;
                }
            }
        }
        (planes, place)
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;
    use crate::gate::tests::{FACE_JPEG, detector_models};

    #[test]
    fn the_face_of_the_fixture_is_found_where_it_is() {
        let mut detector = Detector::new(&detector_models()).unwrap();
        let faces = detector.detect(FACE_JPEG).unwrap();
        assert_eq!(faces.len(), 1, "{faces:?}");
        let face = faces[0];
        assert!(face.score > 0.9);
        // The pupils, read off the picture by eye.
        for (point, [x, y]) in [(face.right_eye, [141.0, 91.0]), (face.left_eye, [182.0, 93.0])] {
            assert!((point[0] - x).hypot(point[1] - y) < 5.0, "{point:?} is not near {x}, {y}");
        }
        assert!(face.right_eye[0] < face.nose[0] && face.nose[0] < face.left_eye[0]);
        assert!(face.nose[1] < face.mouth[1]);
        assert!(face.turn().unwrap().abs() < 0.4);
    }

    #[test]
    fn what_is_no_jpeg_is_an_error() {
        let mut detector = Detector::new(&detector_models()).unwrap();
        for bytes in [&b""[..], b"not a picture", &FACE_JPEG[..100]] {
            assert!(matches!(detector.detect(bytes), Err(FaceError::Jpeg(_))));
        }
    }

    fn facing(nose: f32) -> Face {
        Face {
            score: 1.0,
            x: 0.0,
            y: 0.0,
            width: 100.0,
            height: 100.0,
            right_eye: [30.0, 40.0],
            left_eye: [70.0, 40.0],
            nose: [nose, 60.0],
            mouth: [50.0, 80.0],
            right_ear: [0.0, 50.0],
            left_ear: [100.0, 50.0],
        }
    }

    #[test]
    fn turn_is_the_noses_place_between_the_ears() {
        assert_eq!(facing(50.0).turn(), Some(0.0));
        assert_eq!(facing(75.0).turn(), Some(0.5));
        assert_eq!(facing(25.0).turn(), Some(-0.5));
        assert_eq!(Face { left_eye: [30.0, 40.0], ..facing(50.0) }.turn(), None);
    }

    #[test]
    fn a_wide_picture_lies_in_the_middle() {
        let picture = Picture { rgb: vec![255; 256 * 128 * 3], width: 256, height: 128, full: [512.0, 256.0] };
        let (planes, place) = picture.letterbox();
        assert!((place.scale - 0.25).abs() < 1e-6);
        let row = |y: usize| planes[y * FACE_SIDE];
        assert!(row(31) < -0.99 && row(32) > 0.99 && row(95) > 0.99 && row(96) < -0.99);
        assert_eq!(place.back([0.0, 32.0]), [0.0, 0.0]);
    }
}
