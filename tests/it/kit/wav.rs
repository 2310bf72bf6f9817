//! A strict reader of the WAV files a judge is sent.

/// A WAV file's format and samples.
#[derive(Clone, Debug, Default)]
pub struct Wav {
    /// Samples a second.
    pub rate: u32,
    /// Channels.
    pub channels: u16,
    /// The samples, interleaved.
    pub samples: Vec<i16>,
}

fn number(bytes: &[u8], at: usize, length: usize) -> Result<usize, String> {
    let field = bytes.get(at..at + length).ok_or("cut off in a header")?;
    Ok(field.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte)))
}

/// Reads 16-bit PCM; every size in the headers must be right.
///
/// # Errors
/// Says what is wrong.
pub fn read(bytes: &[u8]) -> Result<Wav, String> {
    if bytes.get(..4) != Some(b"RIFF") || bytes.get(8..12) != Some(b"WAVE") {
        return Err("no RIFF/WAVE header".into());
    }
    if number(bytes, 4, 4)? + 8 != bytes.len() {
        return Err(format!("RIFF size {} for {} bytes", number(bytes, 4, 4)?, bytes.len()));
    }
    let (mut wav, mut at) = (Wav::default(), 12);
    while at < bytes.len() {
        let (id, size) = (bytes.get(at..at + 4).ok_or("cut off in a chunk")?, number(bytes, at + 4, 4)?);
        let body = bytes.get(at + 8..at + 8 + size).ok_or("a chunk is longer than the file")?;
        if id == b"fmt " {
            if (number(body, 0, 2)?, number(body, 14, 2)?) != (1, 16) {
                return Err("not 16-bit PCM".into());
            }
            (wav.channels, wav.rate) = (number(body, 2, 2)? as u16, number(body, 4, 4)? as u32);
        } else if id == b"data" {
            wav.samples = body.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        }
        at += 8 + size + size % 2;
    }
    if wav.rate == 0 { Err("no fmt chunk".into()) } else { Ok(wav) }
}

/// Writes 16 kHz mono.
pub fn write(samples: &[i16]) -> Vec<u8> {
    let length = samples.len() as u32 * 2;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + length).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(16_000u32.to_le_bytes());
    bytes.extend(32_000u32.to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend(length.to_le_bytes());
    bytes.extend(samples.iter().flat_map(|x| x.to_le_bytes()));
    bytes
}

#[test]
fn a_wav_round_trips_and_a_damaged_one_is_refused() {
    let bytes = write(&[1, -2, 3]);
    let wav = read(&bytes).expect("valid");
    assert_eq!((wav.rate, wav.channels, wav.samples), (16_000, 1, vec![1, -2, 3]));
    assert!(read(&bytes[..bytes.len() - 1]).is_err());
    assert!(read(b"RIFX").is_err());
}
