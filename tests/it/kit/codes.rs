//! The picture code: a frame number and four marks, as big black and white cells in the upper half of a picture.
//!
//! Eight columns by four rows: two reference cells (white, black), 18 bits of frame number, 4 marks, 8 bits of CRC.
//! Only luma is used and the threshold is taken from the reference cells, so that limited and full range, JPEG, H.264
//! and scaling down to 80x60 leave it readable. The lower half is a moving background, so that an encoder has work to do.

const COLUMNS: usize = 8;
const ROWS: usize = 4;
const WHITE: u8 = 215;
const BLACK: u8 = 40;
/// Less contrast than this between the reference cells is not a code.
const MIN_CONTRAST: i32 = 60;

/// Largest frame number that fits.
pub const MAX_FRAME: u32 = (1 << 18) - 1;

/// What a picture carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameCode {
    /// Number of the frame in its source, from 0.
    pub frame: u32,
    /// Four bits; bit 0 is "Present" by convention.
    pub marks: u8,
}

/// One picture's luma plane, borrowed.
#[derive(Clone, Copy)]
pub struct Luma<'a> {
    /// Rows, each `stride` bytes long.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// CRC-8, polynomial 0x07, seeded so that nothing-at-all is not valid.
pub fn crc8(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0x5A, |crc, byte| {
        (0..8).fold(crc ^ byte, |c: u8, _| if c & 0x80 == 0 { c << 1 } else { (c << 1) ^ 0x07 })
    })
}

fn pack(code: FrameCode) -> u32 {
    let payload = (code.frame & MAX_FRAME) << 4 | u32::from(code.marks & 15);
    payload << 8 | u32::from(crc8(&payload.to_be_bytes()))
}

fn unpack(bits: u32) -> Option<FrameCode> {
    let payload = bits >> 8;
    (crc8(&payload.to_be_bytes()) == bits as u8).then_some(FrameCode { frame: payload >> 4, marks: payload as u8 & 15 })
}

/// Pixel edges of cell `(column, row)`: x0, x1, y0, y1.
fn cell(width: usize, height: usize, index: usize) -> (usize, usize, usize, usize) {
    let (column, row) = (index % COLUMNS, index / COLUMNS);
    let half = height / 2;
    (width * column / COLUMNS, width * (column + 1) / COLUMNS, half * row / ROWS, half * (row + 1) / ROWS)
}

/// Paints `code` and the background of its frame into a luma plane.
pub fn paint(luma: &mut [u8], stride: usize, width: usize, height: usize, code: FrameCode) {
    let bits = pack(code) << 2 | 0b10; // the two lowest: white, black
    for index in 0..COLUMNS * ROWS {
        let value = if bits >> (index ^ 1) & 1 == 1 { WHITE } else { BLACK };
        let (x0, x1, y0, y1) = cell(width, height, index);
        for y in y0..y1 {
            luma[y * stride + x0..y * stride + x1].fill(value);
        }
    }
    // A soft texture that moves two pixels a frame.
    let shift = code.frame as usize * 2 % 256;
    let wave: Vec<u8> = (0..width + 256).map(|x| 128u8.saturating_add_signed(triangle(x) - 32)).collect();
    for y in height / 2..height {
        let from = (shift + y) % 256;
        luma[y * stride..y * stride + width].copy_from_slice(&wave[from..from + width]);
    }
}

/// A triangle wave of period 64 and height 64.
fn triangle(x: usize) -> i8 {
    let phase = (x % 64) as i8;
    if phase < 32 { phase * 2 } else { (63 - phase) * 2 }
}

/// Reads a picture; `None` when it carries no valid code.
pub fn read(luma: Luma<'_>) -> Option<FrameCode> {
    let mean = |index: usize| {
        let (x0, x1, y0, y1) = cell(luma.width, luma.height, index);
        let (dx, dy) = ((x1 - x0) / 4, (y1 - y0) / 4);
        let (mut sum, mut count) = (0i32, 0i32);
        for y in y0 + dy..y1 - dy {
            for value in &luma.data[y * luma.stride + x0 + dx..y * luma.stride + x1 - dx] {
                sum += i32::from(*value);
                count += 1;
            }
        }
        sum / count.max(1)
    };
    if luma.width < COLUMNS * 4 || luma.height < ROWS * 8 {
        return None;
    }
    let (white, black) = (mean(0), mean(1));
    if white - black < MIN_CONTRAST {
        return None;
    }
    let threshold = i32::midpoint(white, black);
    let bits = (0..COLUMNS * ROWS).fold(0u32, |bits, index| bits | u32::from(mean(index) > threshold) << (index ^ 1));
    unpack(bits >> 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn painted(width: usize, height: usize, code: FrameCode) -> Vec<u8> {
        let mut luma = vec![0; width * height];
        paint(&mut luma, width, width, height, code);
        luma
    }

    proptest! {
        #[test]
        fn every_code_is_read_back(frame in 0..=MAX_FRAME, marks in 0u8..16, width in 40usize..400, height in 40usize..300,
                                   gain in 0.6f32..1.0, lift in 0f32..30.0) {
            let code = FrameCode { frame, marks };
            let mut luma = painted(width, height, code);
            for value in &mut luma {
                *value = (f32::from(*value) * gain + lift) as u8;
            }
            prop_assert_eq!(read(Luma { data: &luma, stride: width, width, height }), Some(code));
        }

        #[test]
        fn noise_is_seldom_a_code(seed in prop::collection::vec(any::<u8>(), 32)) {
            // Random cells pass the CRC once in 256 at most and are refused when the reference cells do not differ.
            let mut luma = vec![128u8; 80 * 64];
            for (index, value) in seed.iter().enumerate() {
                let (x0, x1, y0, y1) = cell(80, 64, index);
                for y in y0..y1 {
                    luma[y * 80 + x0..y * 80 + x1].fill(120 + value % 16);
                }
            }
            prop_assert_eq!(read(Luma { data: &luma, stride: 80, width: 80, height: 64 }), None);
        }
    }

    #[test]
    fn flat_pictures_carry_nothing() {
        for value in [0, 16, 128, 255] {
            assert_eq!(read(Luma { data: &vec![value; 320 * 240], stride: 320, width: 320, height: 240 }), None);
        }
    }
}
