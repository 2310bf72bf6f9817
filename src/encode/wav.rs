//! The clip's sound: a RIFF WAVE file of 16 kHz mono 16-bit PCM.

use bytes::{BufMut, Bytes};

use crate::window::SAMPLE_RATE;

/// The WAV file of these values: 16 kHz mono.
#[must_use]
pub fn write(pcm: &[i16]) -> Bytes {
    let bytes = u32::try_from(pcm.len() * 2).unwrap_or(u32::MAX);
    let mut out = Vec::with_capacity(44 + pcm.len() * 2);
    out.put_slice(b"RIFF");
    out.put_u32_le(36 + bytes);
    out.put_slice(b"WAVEfmt ");
    out.put_u32_le(16);
    out.put_u16_le(1); // PCM
    out.put_u16_le(1); // mono
    out.put_u32_le(SAMPLE_RATE);
    out.put_u32_le(SAMPLE_RATE * 2);
    out.put_u16_le(2);
    out.put_u16_le(16);
    out.put_slice(b"data");
    out.put_u32_le(bytes);
    for value in pcm {
        out.put_i16_le(*value);
    }
    out.into()
}
