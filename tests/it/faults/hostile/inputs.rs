//! Inputs made hostile: the same for the same seed, for ever.

use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

/// The generator of a seed.
pub fn dice(seed: u64) -> Pcg64 {
    Pcg64::seed_from_u64(seed)
}

/// Spoils a few bytes or stretches. What is spoilt is somewhere in `from..`, where an input has its structure.
pub fn spoil(bytes: &mut Vec<u8>, from: usize, dice: &mut Pcg64) {
    for _ in 0..dice.random_range(1..=8) {
        if bytes.len() < from + 8 {
            return;
        }
        let at = dice.random_range(from..bytes.len() - 4);
        match dice.random_range(0..8) {
            0..=2 => bytes[at] ^= 1 << dice.random_range(0..8),
            3 => bytes[at] = dice.random(),
            4 => {
                let extreme = [0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x0100_0000u32];
                bytes[at..at + 4].copy_from_slice(&extreme[dice.random_range(0..extreme.len())].to_be_bytes());
            }
            5 => {
                let end = (at + dice.random_range(1..200)).min(bytes.len());
                bytes.drain(at..end);
            }
            6 => {
                let end = (at + dice.random_range(1..200)).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let end = (at + dice.random_range(1..64)).min(bytes.len());
                dice.fill_bytes(&mut bytes[at..end]);
            }
        }
    }
    if dice.random_range(0..12) == 0 {
        bytes.truncate(dice.random_range(from..=bytes.len()));
    }
}

/// A box of an MP4.
pub fn of(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
    let size = u32::try_from(content.len() + 8).expect("small");
    [&size.to_be_bytes()[..], &kind, content].concat()
}

/// An element of a Matroska file.
pub fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    [id, &(content.len() as u64 | 1 << 56).to_be_bytes(), content].concat()
}

/// An MP4 with an index of this size that is nothing but zeros; the file has holes.
pub fn huge_index(path: &std::path::Path, size: u64) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).expect("a file");
    file.write_all(
        &[of(*b"ftyp", b"isom\0\0\0\0"), [&1u32.to_be_bytes()[..], b"moov", &size.to_be_bytes()].concat()].concat(),
    )
    .expect("disk");
    file.set_len(size + 16).expect("a file with holes");
}

/// An MP4 of so many tracks.
pub fn movie_of_tracks(tracks: usize) -> Vec<u8> {
    let moov = [of(*b"mvhd", &[0; 100]), of(*b"trak", &[]).repeat(tracks)].concat();
    [of(*b"ftyp", b"isom\0\0\0\0"), of(*b"mdat", &[0; 5000]), of(*b"moov", &moov)].concat()
}

/// A Matroska file of these tracks, and one block of the first.
pub fn matroska(entry: &[u8], tracks: usize, block: &[u8]) -> Vec<u8> {
    let tracks = element(&[0x16, 0x54, 0xAE, 0x6B], &element(&[0xAE], entry).repeat(tracks));
    let block = element(&[0xA3], &[&[0x81, 0, 0, 0x80], block].concat());
    let cluster = element(&[0x1F, 0x43, 0xB6, 0x75], &[element(&[0xE7], &[0]), block].concat());
    let segment = [tracks, cluster].concat();
    let head = element(&[0x42, 0x82], b"matroska");
    [element(&[0x1A, 0x45, 0xDF, 0xA3], &head), element(&[0x18, 0x53, 0x80, 0x67], &segment)].concat()
}

/// A track of Motion JPEG that says its pictures are small.
pub fn small_jpeg_track() -> Vec<u8> {
    let size = [element(&[0xB0], &[1, 64]), element(&[0xBA], &[0, 240])].concat();
    let kind = [element(&[0xD7], &[1]), element(&[0x73, 0xC5], &[1]), element(&[0x83], &[1])].concat();
    [kind, element(&[0x86], b"V_MJPEG"), element(&[0xE0], &size)].concat()
}

/// A JPEG that says it has this size.
pub fn resized(jpeg: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = jpeg.to_vec();
    let frame = jpeg.windows(2).position(|two| two == [0xFF, 0xC0] || two == [0xFF, 0xC2]).expect("a frame header");
    jpeg[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    jpeg[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    jpeg
}

/// An H.264 stream in Annex B whose parameter set says pictures of this many macroblocks, and slices of noise.
pub fn huge_h264(macroblocks: u32) -> Vec<u8> {
    let mut bits = Vec::new();
    let mut put = |value: u32| {
        // Exp-Golomb, H.264 9.1.
        let length = 32 - (value + 1).leading_zeros();
        bits.extend(std::iter::repeat_n(false, length as usize - 1));
        bits.extend((0..length).rev().map(|bit| (value + 1) >> bit & 1 == 1));
    };
    for value in [0, 0, 2, 1] {
        put(value); // id, frame numbers, picture order, references
    }
    let mut sps = bits.clone();
    sps.push(false); // no gaps
    bits.clear();
    let mut put = |value: u32| {
        let length = 32 - (value + 1).leading_zeros();
        bits.extend(std::iter::repeat_n(false, length as usize - 1));
        bits.extend((0..length).rev().map(|bit| (value + 1) >> bit & 1 == 1));
    };
    put(macroblocks - 1);
    put(macroblocks - 1);
    sps.extend(&bits);
    sps.extend([true, true, false, false, true]); // frames only, direct inference, no cropping, no VUI, stop
    sps.resize(sps.len().div_ceil(8) * 8, false);
    let sps: Vec<u8> = sps.chunks(8).map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect();
    let start = [0, 0, 0, 1];
    let mut stream = [&start[..], &[0x67, 66, 0xC0, 62], &sps, &start, &[0x68, 0xCE, 0x38, 0x80]].concat();
    let mut dice = dice(264);
    for _ in 0..20 {
        let mut slice = vec![0; 3000];
        dice.fill_bytes(&mut slice);
        for byte in &mut slice {
            *byte |= 1; // no start code in it
        }
        stream.extend([&start[..], &[0x65, 0x88, 0x84], &slice].concat());
    }
    stream
}
