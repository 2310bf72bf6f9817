//! A decoded picture as it leaves the source: plain planes, nothing copied.

use bytes::Bytes;

/// Which weights make luma from red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matrix {
    /// ITU-R BT.601: SD cameras, JPEG.
    Bt601,
    /// ITU-R BT.709: HD.
    Bt709,
    /// ITU-R BT.2020: UHD.
    Bt2020,
}

/// A picture in 8-bit planar YCbCr 4:2:0 (I420) with square pixels. The bytes are the decoder's own, shared, not copied.
#[derive(Clone)]
pub struct Image {
    /// All three planes.
    pub data: Bytes,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Bytes from row to row, of luma, blue and red difference.
    pub strides: [usize; 3],
    /// Where each plane begins in `data`.
    pub offsets: [usize; 3],
    /// Colour weights.
    pub matrix: Matrix,
    /// Luma 0 to 255 rather than 16 to 235.
    pub full_range: bool,
}

impl Image {
    /// The first `length` bytes of a plane's row; zeros beyond the data (a broken decoder's, never a panic).
    pub(crate) fn row(&self, plane: usize, row: usize, length: usize) -> &[u8] {
        let start = self.offsets[plane] + row * self.strides[plane];
        self.data.get(start..start + length).unwrap_or(&[])
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({}x{}, {:?})", self.width, self.height, self.matrix)
    }
}
