//! A look at a recording's headers before GStreamer gets them: what only costs time and memory is refused at once.
//!
//! `qtdemux` reads a whole `moov` into memory and takes quadratic time over its tracks, `matroskademux` the same over its own.
//! Anything that is no such container, or is damaged, passes: to say so is GStreamer's work.

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};

/// Tracks of a recording, of any kind.
const MOST_TRACKS: usize = 64;
/// Bytes of an MP4's `moov`: that of a day at 30 pictures a second has some 40 MB.
const LARGEST_MOOV: u64 = 64 << 20;

/// None: nothing speaks against playing it, or it cannot be told. Else what does, in one line.
#[must_use]
pub fn excess(file: File) -> Option<String> {
    let length = file.metadata().ok()?.len();
    let mut input = Input { file: BufReader::new(file), at: 0 };
    let mut magic = [0; 8];
    input.read(&mut magic)?;
    input.go(0)?;
    let tracks = match magic {
        [0x1A, 0x45, 0xDF, 0xA3, ..] => matroska(&mut input, length)?,
        [.., b'f', b't', b'y', b'p'] | [.., b'm', b'o', b'o', b'v'] | [.., b'm', b'd', b'a', b't'] => {
            match movie(&mut input, length)? {
                Movie::Tracks(tracks) => tracks,
                Movie::TooLarge(size) => {
                    return Some(format!("its index (moov) has {size} bytes; at most {LARGEST_MOOV} are read"));
                }
            }
        }
        _ => return None,
    };
    (tracks > MOST_TRACKS).then(|| format!("it has more than {MOST_TRACKS} tracks"))
}

enum Movie {
    Tracks(usize),
    TooLarge(u64),
}

/// ISO/IEC 14496-12, 4.2: a box is its size, its type, its content.
fn movie(input: &mut Input, length: u64) -> Option<Movie> {
    let (mut at, mut end, mut tracks) = (0, length, 0);
    while at + 8 <= end && tracks <= MOST_TRACKS {
        input.go(at)?;
        let mut head = [0; 8];
        input.read(&mut head)?;
        let (mut size, mut content) = (u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]])), at + 8);
        if size == 1 {
            let mut long = [0; 8];
            input.read(&mut long)?;
            (size, content) = (u64::from_be_bytes(long), at + 16);
        } else if size == 0 {
            size = end - at;
        }
        if size < content - at {
            break;
        }
        match &head[4..] {
            b"moov" if size > LARGEST_MOOV => return Some(Movie::TooLarge(size)),
            b"moov" => {
                (at, end) = (content, end.min(at.saturating_add(size)));
                continue;
            }
            b"trak" => tracks += 1,
            _ => {}
        }
        at = at.saturating_add(size);
    }
    Some(Movie::Tracks(tracks))
}

const SEGMENT: u64 = 0x1853_8067;
const TRACKS: u64 = 0x1654_AE6B;
const CLUSTER: u64 = 0x1F43_B675;
const TRACK_ENTRY: u64 = 0xAE;

/// RFC 8794, 4 to 6: an element is its ID, its size, its content. What stands behind the first cluster is not looked at.
fn matroska(input: &mut Input, length: u64) -> Option<usize> {
    let (mut end, mut tracks) = (length, 0);
    while input.at < end && tracks <= MOST_TRACKS {
        let Some((id, _)) = input.number(true) else { break };
        let Some((size, unknown)) = input.number(false) else { break };
        match id {
            TRACKS if !unknown => end = end.min(input.at.saturating_add(size)),
            SEGMENT | TRACKS => {}
            CLUSTER => break,
            _ if unknown => break,
            id => {
                tracks += usize::from(id == TRACK_ENTRY);
                input.go(input.at.saturating_add(size))?;
            }
        }
    }
    Some(tracks)
}

struct Input {
    file: BufReader<File>,
    at: u64,
}

impl Input {
    fn read(&mut self, to: &mut [u8]) -> Option<()> {
        self.file.read_exact(to).ok()?;
        self.at += to.len() as u64;
        Some(())
    }

    fn go(&mut self, to: u64) -> Option<()> {
        let by = i64::try_from(to).ok()?.checked_sub(i64::try_from(self.at).ok()?)?;
        // Relative: keeps what was read ahead.
        self.file.seek_relative(by).or_else(|_| self.file.seek(SeekFrom::Start(to)).map(drop)).ok()?;
        self.at = to;
        Some(())
    }

    /// A number of variable length, with its marker bit kept for an ID; and whether it means "unknown".
    fn number(&mut self, keep_marker: bool) -> Option<(u64, bool)> {
        let mut bytes = [0; 8];
        self.read(&mut bytes[..1])?;
        let length = bytes[0].leading_zeros() as usize + 1;
        if length > 8 {
            return None;
        }
        self.read(&mut bytes[1..length])?;
        let number = bytes[..length].iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        let value = number & !(1 << (7 * length));
        Some((if keep_marker { number } else { value }, value == (1 << (7 * length)) - 1))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn said(bytes: &[u8]) -> Option<String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        excess(file)
    }

    fn of(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
        let size = u32::try_from(content.len() + 8).unwrap();
        [&size.to_be_bytes()[..], &kind, content].concat()
    }

    #[test]
    fn too_many_tracks_and_too_large_an_index_are_said_and_the_usual_passes() {
        let movie = |tracks: usize| {
            let moov = [of(*b"mvhd", &[0; 100]), of(*b"trak", &[0; 30]).repeat(tracks)].concat();
            [of(*b"ftyp", b"isom\0\0\0\0"), of(*b"mdat", &[0; 5000]), of(*b"moov", &moov)].concat()
        };
        assert_eq!(said(&movie(64)), None);
        assert!(said(&movie(1_000_000)).unwrap().contains("more than 64 tracks"));
        let huge =
            [of(*b"ftyp", b"isom\0\0\0\0"), [&1u32.to_be_bytes()[..], b"moov", &(4u64 << 30).to_be_bytes()].concat()];
        assert!(said(&huge.concat()).unwrap().contains("4294967296 bytes"));

        let element =
            |id: &[u8], content: &[u8]| [id, &(content.len() as u64 | 1 << 56).to_be_bytes(), content].concat();
        let matroska = |tracks: usize| {
            let tracks = element(&[0x16, 0x54, 0xAE, 0x6B], &element(&[0xAE], &[0xD7, 0x81, 1]).repeat(tracks));
            let segment = [element(&[0xEC], &[0; 9000]), tracks, element(&[0x1F, 0x43, 0xB6, 0x75], &[])].concat();
            [element(&[0x1A, 0x45, 0xDF, 0xA3], &[]), element(&[0x18, 0x53, 0x80, 0x67], &segment)].concat()
        };
        assert_eq!(said(&matroska(64)), None);
        assert!(said(&matroska(1_000_000)).unwrap().contains("tracks"));
    }

    #[test]
    fn what_is_cut_off_or_no_container_passes() {
        for bytes in
            [&b""[..], b"\0\0\0\x08moov", b"\0\0\0\x02ftyp", b"RIFF0000WAVE", b"\x1A\x45\xDF\xA3\x01", b"\0\0\0\0mdat1"]
        {
            assert_eq!(said(bytes), None, "{bytes:?}");
        }
    }
}
