//! The clip's MP4: a few pictures, two a second, nothing else. ISO/IEC 14496-12.
//!
//! Written by hand because it is fourteen fixed boxes, and because the same pictures must give the same bytes: the media
//! hash of a clip names it in offline records and in servers' media caches. (GStreamer's qtmux writes the time of day.)

use bytes::{BufMut, Bytes};

/// Units a second of the clip's timeline; each picture lasts half of it.
const TIMESCALE: u32 = 1000;
const PICTURE: u32 = 500;

/// How the pictures are compressed.
pub(super) enum Track {
    /// Each picture is a JPEG file.
    Jpeg,
    /// Each is one H.264 access unit with length prefixes; the first is a key frame. Holds the avcC record.
    H264(Bytes),
}

fn boxed(kind: [u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = 8 + parts.iter().map(|p| p.len()).sum::<usize>();
    let mut out = Vec::with_capacity(length);
    out.put_u32(size(length));
    out.put_slice(&kind);
    for part in parts {
        out.put_slice(part);
    }
    out
}

/// Sizes here are of clips: far below 4 GiB, and a longer one would be refused by every server.
fn size(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Big-endian 32-bit words.
fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_be_bytes()).collect()
}

const UNITY: [u32; 9] = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];

fn sample_entry(track: &Track, width: u16, height: u16) -> Vec<u8> {
    let mut entry = vec![0, 0, 0, 0, 0, 0, 0, 1];
    entry.put_bytes(0, 16);
    entry.put_u16(width);
    entry.put_u16(height);
    entry.put_u32(0x0048_0000); // 72 dpi
    entry.put_u32(0x0048_0000);
    entry.put_u32(0);
    entry.put_u16(1); // pictures an access unit
    entry.put_bytes(0, 32); // compressor name
    entry.put_u16(24); // depth
    entry.put_u16(0xffff);
    match track {
        Track::Jpeg => boxed(*b"jpeg", &[&entry]),
        Track::H264(avcc) => boxed(*b"avc1", &[&entry, &boxed(*b"avcC", &[avcc])]),
    }
}

/// The file: `pictures` in order, each shown for half a second.
pub(super) fn write(track: &Track, width: u32, height: u32, pictures: &[Bytes]) -> Bytes {
    let (w, h) = (u16::try_from(width).unwrap_or(u16::MAX), u16::try_from(height).unwrap_or(u16::MAX));
    let count = size(pictures.len());
    let duration = count * PICTURE;
    let brand: &[u8; 4] = if matches!(track, Track::Jpeg) { b"qt  " } else { b"isom" };
    let ftyp = boxed(*b"ftyp", &[brand, &words(&[512]), brand, b"iso2", b"mp41"]);

    let mvhd = boxed(
        *b"mvhd",
        &[
            &words(&[0, 0, 0, TIMESCALE, duration, 0x0001_0000, 0x0100_0000, 0, 0]),
            &words(&UNITY),
            &[0; 24],
            &words(&[2]),
        ],
    );
    let tkhd = boxed(
        *b"tkhd",
        &[&words(&[3, 0, 0, 1, 0, duration, 0, 0, 0, 0]), &words(&UNITY), &words(&[width << 16, height << 16])],
    );
    let mdhd = boxed(*b"mdhd", &[&words(&[0, 0, 0, TIMESCALE, duration, 0x55c4_0000])]);
    let hdlr = boxed(*b"hdlr", &[&words(&[0, 0]), b"vide", &[0; 12], b"video\0"]);
    let vmhd = boxed(*b"vmhd", &[&words(&[1, 0, 0])]);
    let dinf = boxed(*b"dinf", &[&boxed(*b"dref", &[&words(&[0, 1]), &boxed(*b"url ", &[&words(&[1])])])]);
    let stsd = boxed(*b"stsd", &[&words(&[0, 1]), &sample_entry(track, w, h)]);
    let stts = boxed(*b"stts", &[&words(&[0, 1, count, PICTURE])]);
    let stss = match track {
        Track::Jpeg => Vec::new(), // every picture stands alone
        Track::H264(_) => boxed(*b"stss", &[&words(&[0, 1, 1])]),
    };
    let stsc = boxed(*b"stsc", &[&words(&[0, 1, 1, count, 1])]);
    let sizes: Vec<u32> = pictures.iter().map(|p| size(p.len())).collect();
    let stsz = boxed(*b"stsz", &[&words(&[0, 0, count]), &words(&sizes)]);
    let moov = |offset: u32| {
        let stco = boxed(*b"stco", &[&words(&[0, 1, offset])]);
        let stbl = boxed(*b"stbl", &[&stsd, &stts, &stss, &stsc, &stsz, &stco]);
        let mdia = boxed(*b"mdia", &[&mdhd, &hdlr, &boxed(*b"minf", &[&vmhd, &dinf, &stbl])]);
        boxed(*b"moov", &[&mvhd, &boxed(*b"trak", &[&tkhd, &mdia])])
    };
    let media: usize = pictures.iter().map(Bytes::len).sum();
    let head = ftyp.len() + moov(0).len() + 8;
    let mut out = Vec::with_capacity(head + media);
    out.put_slice(&ftyp);
    out.put_slice(&moov(size(head)));
    out.put_u32(size(media + 8));
    out.put_slice(b"mdat");
    for picture in pictures {
        out.put_slice(picture);
    }
    out.into()
}
