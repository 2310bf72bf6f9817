//! A held picture, decoded once for whoever looks at it: the face model, and the flags that need no model.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "pixels: small, whole and not negative where it matters"
)]

use jpeg_decoder::{Decoder, PixelFormat};

use super::faces::{FaceError, Point};
use super::onnx::FACE_SIDE;
use crate::window::Window;

/// The most pixels a picture may have after scaling; far above the clip's own limit, so only a forged header meets it.
const MAX_BYTES: usize = 64 << 20;

/// Where a picture lies in the model's input: input = picture * scale + offset.
pub(super) struct Place {
    pub(super) scale: f32,
    offset: Point,
}

impl Place {
    pub(super) fn back(&self, at: Point) -> Point {
        [(at[0] - self.offset[0]) / self.scale, (at[1] - self.offset[1]) / self.scale]
    }
}

/// A decoded picture, already scaled down by the decoder (1, 1/2, 1/4 or 1/8).
pub(super) struct Picture {
    rgb: Vec<u8>,
    width: usize,
    height: usize,
    /// Of the picture as it was before.
    full: [f32; 2],
}

impl Picture {
    pub(super) fn decode(jpeg: &[u8]) -> Result<Self, FaceError> {
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
    pub(super) fn letterbox(&self) -> (Vec<f32>, Place) {
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

    /// Its brightness, coarse.
    pub(super) fn luma(&self) -> Luma {
        let mut sums = vec![(0u32, 0u32); COLUMNS * ROWS];
        for (y, row) in self.rgb.chunks_exact(self.width * 3).take(self.height).enumerate() {
            let first = y * ROWS / self.height * COLUMNS;
            for (x, rgb) in row.chunks_exact(3).enumerate() {
                let (sum, count) = &mut sums[first + x * COLUMNS / self.width];
                // BT.601, in 256ths.
                *sum += 77 * u32::from(rgb[0]) + 150 * u32::from(rgb[1]) + 29 * u32::from(rgb[2]);
                *count += 1;
            }
        }
        // A picture smaller than the grid leaves cells empty.
        let mean = |&(sum, count): &(u32, u32)| (count > 0).then(|| sum as f32 / count as f32 / 256.0);
        Luma(sums.iter().filter_map(mean).collect())
    }
}

/// Cells of a [`Luma`] across and down: fine enough that a mouth is a cell or more, coarse enough that a camera's noise is
/// averaged away.
const COLUMNS: usize = 64;
const ROWS: usize = 48;

/// Mean brightness of each of 64 x 48 cells of a picture, 0 to 255.
#[derive(Clone, Debug, PartialEq)]
pub struct Luma(Vec<f32>);

impl Luma {
    /// From cells, row by row, 0 to 255.
    #[must_use]
    pub fn new(cells: Vec<f32>) -> Self {
        Self(cells)
    }

    /// Mean absolute difference of the cells, 0 to 255. None: the pictures are not of one size.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<f32> {
        let cells = self.0.len();
        let sum: f32 = self.0.iter().zip(&other.0).map(|(a, b)| (a - b).abs()).sum();
        (cells == other.0.len() && cells > 0).then(|| sum / cells as f32)
    }

    /// Share of the cells that are at most this bright, 0 to 1.
    #[must_use]
    pub fn share_up_to(&self, brightness: f32) -> f32 {
        let dark = self.0.iter().filter(|cell| **cell <= brightness).count();
        dark as f32 / self.0.len().max(1) as f32
    }
}

/// Brightness of a window's pictures, each once, in their order; those that cannot be read are left out.
#[must_use]
pub fn lumas(window: &Window) -> Vec<Luma> {
    let mut last = None;
    let distinct = window.pictures.iter().filter(|still| last.replace(still.time) != Some(still.time));
    distinct.filter_map(|still| Picture::decode(&still.jpeg).ok()).map(|picture| picture.luma()).collect()
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;
    use crate::gate::tests::FACE_JPEG;

    #[test]
    fn what_is_no_jpeg_is_an_error() {
        for bytes in [&b""[..], b"not a picture", &FACE_JPEG[..100]] {
            assert!(matches!(Picture::decode(bytes), Err(FaceError::Jpeg(_))));
        }
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

    #[test]
    fn luma_is_the_mean_of_its_cells() {
        let mut rgb = vec![0; 128 * 96 * 3];
        rgb[..128 * 48 * 3].fill(255);
        let picture = Picture { rgb, width: 128, height: 96, full: [128.0, 96.0] };
        let luma = picture.luma();
        assert_eq!(luma.0.len(), COLUMNS * ROWS);
        assert_eq!((luma.share_up_to(10.0), luma.share_up_to(255.0)), (0.5, 1.0));
        let white = Picture { rgb: vec![255; 128 * 96 * 3], ..picture };
        assert_eq!(white.luma().difference(&luma), Some(127.5));
        assert_eq!(white.luma().difference(&Luma::new(vec![0.0])), None);
        let tiny = Picture { rgb: vec![9; 12], width: 2, height: 2, full: [2.0, 2.0] };
        assert_eq!(tiny.luma(), Luma::new(vec![9.0; 4]));
    }
}
