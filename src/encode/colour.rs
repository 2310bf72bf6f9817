//! From the camera's colours to JPEG's (JFIF: full-range BT.601), on the few pictures that are kept.
//!
//! Video is mostly limited-range (luma 16 to 235) BT.601 or BT.709; a decoder takes the planes inside a JPEG as full-range
//! BT.601 whatever they were, so writing them unchanged would show the model a flat, slightly green person.

use crate::source::{Image, Matrix};

/// Fixed-point one.
const ONE: i32 = 1 << 14;

/// What turns one colour space's planes into JFIF's: `y' = y*gain + yb*cb + yr*cr`, and so on, on centred values.
///
/// Coefficients and values are 16-bit, products 32-bit: processors multiply those many at a time.
#[derive(Debug, PartialEq)]
struct Conversion {
    luma_offset: i16,
    gain: i16,
    luma_from: [i16; 2],
    blue_from: [i16; 2],
    red_from: [i16; 2],
}

impl Conversion {
    fn of(matrix: Matrix, full_range: bool) -> Self {
        let (kr, kb) = match matrix {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
            Matrix::Bt2020 => (0.2627, 0.0593),
        };
        let kg = 1.0 - kr - kb;
        // RGB of a pure blue-difference and of a pure red-difference signal (ITU-R BT.601-7, 2.5).
        let blue = [0.0, -2.0 * kb * (1.0 - kb) / kg, 2.0 * (1.0 - kb)];
        let red = [2.0 * (1.0 - kr), -2.0 * kr * (1.0 - kr) / kg, 0.0];
        let to_jfif = |[r, g, b]: [f64; 3]| {
            let y = 0.299 * r + 0.587 * g + 0.114 * b;
            [y, (b - y) / 1.772, (r - y) / 1.402]
        };
        let (from_blue, from_red) = (to_jfif(blue), to_jfif(red));
        let (luma_gain, chroma_gain) = if full_range { (1.0, 1.0) } else { (255.0 / 219.0, 255.0 / 224.0) };
        let pair = |i: usize| [fixed(from_blue[i] * chroma_gain), fixed(from_red[i] * chroma_gain)];
        Self {
            luma_offset: if full_range { 0 } else { 16 },
            gain: fixed(luma_gain),
            luma_from: pair(0),
            blue_from: pair(1),
            red_from: pair(2),
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "coefficients are below 2")]
fn fixed(value: f64) -> i16 {
    (value * f64::from(ONE)).round() as i16
}

/// The product of two 16-bit values.
fn times(a: i16, b: i16) -> i32 {
    i32::from(a) * i32::from(b)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=255")]
fn byte(value: i32) -> u8 {
    ((value + ONE / 2) >> 14).clamp(0, 255) as u8
}

/// The picture's three planes without padding, in JFIF's colours: `width * height` luma, then two quarter planes
/// (odd sizes round up).
pub(super) fn to_jfif(image: &Image) -> Vec<u8> {
    let (width, height) = (image.width as usize, image.height as usize);
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    let c = Conversion::of(image.matrix, image.full_range);
    let mut out = vec![0u8; width * height + 2 * half_width * half_height];
    let (luma, chroma) = out.split_at_mut(width * height);
    let (blue, red) = chroma.split_at_mut(half_width * half_height);
    // What the chroma of a row adds to the luma below it; all zero when only the range differs.
    let mut added = vec![0i32; 2 * half_width];
    for row in 0..half_height {
        let (cb, cr) = (image.row(1, row, half_width), image.row(2, row, half_width));
        let into = row * half_width..(row + 1) * half_width;
        let chroma = || cb.iter().zip(cr).map(|(b, r)| (i16::from(*b) - 128, i16::from(*r) - 128));
        let mixed = |from: [i16; 2], b: i16, r: i16| times(from[0], b) + times(from[1], r);
        for ((b, r), to) in chroma().zip(&mut blue[into.clone()]) {
            *to = byte(mixed(c.blue_from, b, r) + 128 * ONE);
        }
        for ((b, r), to) in chroma().zip(&mut red[into]) {
            *to = byte(mixed(c.red_from, b, r) + 128 * ONE);
        }
        if c.luma_from != [0, 0] {
            for ((b, r), add) in chroma().zip(added.chunks_exact_mut(2)) {
                add.fill(mixed(c.luma_from, b, r));
            }
        }
        for y in (2 * row)..(2 * row + 2).min(height) {
            let from = image.row(0, y, width);
            for ((to, y), add) in luma[y * width..(y + 1) * width].iter_mut().zip(from).zip(&added) {
                *to = byte(times(i16::from(*y) - c.luma_offset, c.gain) + add);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(y: u8, cb: u8, cr: u8, matrix: Matrix, full_range: bool) -> [u8; 3] {
        let mut data = vec![y; 16];
        data.extend([cb; 4]);
        data.extend([cr; 4]);
        let image = Image {
            data: data.into(),
            width: 4,
            height: 4,
            strides: [4, 2, 2],
            offsets: [0, 16, 20],
            matrix,
            full_range,
        };
        let out = to_jfif(&image);
        assert!(out[..16].iter().all(|v| *v == out[0]));
        [out[0], out[16], out[20]]
    }

    #[test]
    fn limited_range_becomes_full_range() {
        assert_eq!(flat(16, 128, 128, Matrix::Bt601, false), [0, 128, 128]);
        assert_eq!(flat(235, 128, 128, Matrix::Bt709, false), [255, 128, 128]);
        assert_eq!(flat(126, 240, 16, Matrix::Bt601, false), [128, 255, 1]);
    }

    #[test]
    fn full_range_bt601_is_left_alone() {
        for value in [0u8, 1, 77, 128, 200, 255] {
            assert_eq!(flat(value, 255 - value, value, Matrix::Bt601, true), [value, 255 - value, value]);
        }
    }

    #[test]
    fn bt709_red_becomes_jfif_red() {
        // Pure red in limited BT.709 is (63, 102, 240); in JFIF it is (76, 85, 255).
        let [y, cb, cr] = flat(63, 102, 240, Matrix::Bt709, false);
        assert!(y.abs_diff(76) <= 1 && cb.abs_diff(85) <= 1 && cr >= 254, "{y} {cb} {cr}");
    }
}
