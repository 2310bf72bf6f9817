//! Takes the time of day out of a written MP4, so that the same media gives the same bytes. ISO/IEC 14496-12, 8.2.2, 8.3.2, 8.4.2.

use std::fs::OpenOptions;
use std::io::{Error, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// Boxes that hold the two times right after version and flags, and those they lie in.
const TIMED: [&[u8]; 3] = [b"mvhd", b"tkhd", b"mdhd"];
const AROUND: [&[u8]; 3] = [b"moov", b"trak", b"mdia"];

/// Writes zeros over the creation and modification times.
pub(super) fn clear(path: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let end = file.metadata()?.len();
    walk(&mut file, 0, end)?;
    file.sync_all()
}

fn walk(file: &mut std::fs::File, mut at: u64, end: u64) -> std::io::Result<()> {
    while at + 8 <= end {
        file.seek(SeekFrom::Start(at))?;
        let mut head = [0; 16];
        file.read_exact(&mut head[..8])?;
        let mut size = u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
        let mut body = at + 8;
        if size == 1 {
            file.read_exact(&mut head[8..])?;
            size = head[8..].iter().fold(0, |size, byte| size << 8 | u64::from(*byte));
            body = at + 16;
        } else if size == 0 {
            size = end - at;
        }
        let next = at.saturating_add(size);
        if next <= at || next > end || body > next {
            return Err(Error::new(ErrorKind::InvalidData, "the MP4 that was written has a box of no sense"));
        }
        let kind = &head[4..8];
        if TIMED.contains(&kind) {
            let mut version = [0];
            file.seek(SeekFrom::Start(body))?;
            file.read_exact(&mut version)?;
            let zeros = [0; 16];
            file.seek(SeekFrom::Start(body + 4))?;
            file.write_all(if version[0] == 1 { &zeros } else { &zeros[..8] })?;
        } else if AROUND.contains(&kind) {
            walk(file, body, next)?;
        }
        at = next;
    }
    Ok(())
}
