//! Where faces are: `BlazeFace` (short range) on single pictures.
//!
//! It was made for a face within 2 m of a camera, and misses faces under about a tenth of the picture's width.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "pixels: small, whole and not negative where it matters"
)]

use super::models::{ModelError, Models};
use super::onnx::{FACE_ANCHORS, FACE_NUMBERS, FACE_SIDE, FaceModel, RunError};
use super::picture::{Picture, Place};
use super::{MeasureError, MediaTime};

/// Scores below are no face, where nothing else is configured: the model gave a cat 0.57.
pub const THRESHOLD: f32 = 0.70;
/// The least score that is measured at all, and the lowest threshold that can be configured. Of overlapping boxes the
/// most certain is kept, so what is found from any higher score on does not depend on this.
pub const FLOOR: f32 = 0.50;
/// Of two boxes that share more than this (intersection over union), the less certain is dropped. `MediaPipe`'s value.
const OVERLAP: f32 = 0.3;
/// A point of a picture, in its pixels, x to the right and y down; may lie outside of it.
pub type Point = [f32; 2];

/// One face, in pixels of the picture. Left and right are the person's own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Face {
    /// [`FLOOR`] to 1; below the threshold in use it is no face.
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
    /// Its width in a picture of `width` x `height` pixels, if that were scaled so that its longer side has 320. The
    /// model sees every picture at 128 pixels, so what it can find goes with the picture.
    #[must_use]
    pub fn width_at_320(&self, width: u32, height: u32) -> f32 {
        self.width * 320.0 / width.max(height).max(1) as f32
    }

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
}

impl FaceError {
    pub(super) fn at(self, time: MediaTime) -> MeasureError {
        MeasureError::Picture { time, source: self }
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

    pub(super) fn detect(&mut self, picture: &Picture) -> Result<Vec<Face>, RunError> {
        let (input, place) = picture.letterbox();
        let (numbers, scores) = self.model.run(&input)?;
        let mut faces: Vec<Face> = scores
            .iter()
            .zip(numbers.chunks_exact(FACE_NUMBERS))
            .zip(&self.anchors)
            .filter_map(|((score, numbers), anchor)| {
                let score = 1.0 / (1.0 + (-score.clamp(-100.0, 100.0)).exp());
                (score >= FLOOR).then(|| face(score, numbers, *anchor, &place))
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

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;
    use crate::gate::tests::{FACE_JPEG, detector_models};

    #[test]
    fn the_face_of_the_fixture_is_found_where_it_is() {
        let mut detector = Detector::new(&detector_models()).unwrap();
        let faces = detector.detect(&Picture::decode(FACE_JPEG).unwrap()).unwrap();
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
}
