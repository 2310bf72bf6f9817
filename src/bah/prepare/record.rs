//! What is known of a prepared video, kept beside its clips: a second run does only what is left.

use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A prepared video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Hash of all that decides the clips: the source's size and time, what is cut from it, how it is encoded.
    pub key: String,
    /// The video.
    pub video: String,
    /// Length of its media, nanoseconds.
    pub length_ns: i64,
    /// Time in clips, in rests that were too short, and outside of the annotated intervals. Sums to the length.
    pub usage_ns: [i64; 3],
    /// Its clips.
    pub clips: Vec<ClipRecord>,
    /// Its time in no clip.
    pub dropped: Vec<DroppedRecord>,
}

/// A clip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClipRecord {
    /// Its file's name without extension.
    pub name: String,
    /// Number of the annotated interval, from 1.
    pub interval: Option<u32>,
    /// Begin in the video, nanoseconds.
    pub start_ns: i64,
    /// End in the video, nanoseconds.
    pub end_ns: i64,
    /// Pictures of the MP4.
    pub pictures: u32,
    /// Of them repeats of the last.
    pub repeated: u32,
    /// Silence filled in, nanoseconds.
    pub silence_ns: i64,
    /// Annotated A/H in it, nanoseconds.
    pub ah_ns: i64,
    /// The MP4.
    pub mp4: FileRecord,
    /// The WAV.
    pub wav: FileRecord,
}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Length.
    pub bytes: u64,
    /// Hash, in hexadecimal.
    pub sha256: String,
}

/// Time in no clip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DroppedRecord {
    /// Number of the annotated interval, from 1.
    pub interval: Option<u32>,
    /// Begin in the video, nanoseconds.
    pub start_ns: i64,
    /// End in the video, nanoseconds.
    pub end_ns: i64,
    /// Why.
    pub why: String,
}

impl Record {
    /// The record in a file, if it is there, was made with this key, and its clips are where they should be.
    #[must_use]
    pub fn load(file: &Path, key: &str, clips: &Path) -> Option<Self> {
        let record: Self = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
        let there = |name: &str, extension: &str, file: &FileRecord| {
            std::fs::metadata(clips.join(format!("{name}.{extension}"))).is_ok_and(|m| m.len() == file.bytes)
        };
        let whole = record.clips.iter().all(|c| there(&c.name, "mp4", &c.mp4) && there(&c.name, "wav", &c.wav));
        (whole && record.key == key).then_some(record)
    }

    /// Writes the record, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn store(&self, file: &Path) -> std::io::Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::other)?;
        write_whole(file, &text)
    }
}

/// Writes a file under a temporary name and renames it.
pub fn write_whole(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, file)).inspect_err(|_| {
        let _ = std::fs::remove_file(&part);
    })
}

/// Length and hash of a file.
pub fn hashed(file: &Path) -> std::io::Result<FileRecord> {
    let mut opened = std::fs::File::open(file)?;
    let (mut hasher, mut block, mut bytes) = (Sha256::new(), vec![0; 64 * 1024], 0);
    loop {
        let count = opened.read(&mut block)?;
        if count == 0 {
            return Ok(FileRecord { bytes, sha256: crate::digest::finish(hasher) });
        }
        bytes += count as u64;
        hasher.update(&block[..count]);
    }
}
