//! The split files: `path,label,transcript` a line, the transcript unquoted and full of commas.

use std::io::{BufRead as _, BufReader};
use std::path::Path;

use super::{BahError, VideoPath};
use crate::judge::Label;

/// A part of the dataset. No participant is in two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Split {
    /// For training.
    Train,
    /// For choosing.
    Val,
    /// For testing.
    Test,
}

impl Split {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// `train`, `val` or `test`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }

    /// `train.txt` and so on.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Train => "train.txt",
            Self::Val => "val.txt",
            Self::Test => "test.txt",
        }
    }
}

/// A line of a split file. The transcript is not kept: nothing here reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitLine {
    /// Line of the file, from 1.
    pub line: usize,
    /// The video.
    pub path: VideoPath,
    /// Present for 1, Absent for 0.
    pub label: Label,
}

/// Reads a split file.
///
/// # Errors
/// It cannot be read, or a line is not `path.mp4,0|1,transcript`; names the line.
pub fn read_split(file: &Path) -> Result<Vec<SplitLine>, BahError> {
    let opened = std::fs::File::open(file).map_err(|e| BahError::unreadable(file, &e))?;
    let mut lines = Vec::new();
    for (line, bytes) in (1..).zip(BufReader::new(opened).split(b'\n')) {
        let bytes = bytes.map_err(|e| BahError::unreadable(file, &e))?;
        let wrong = |what: String| BahError::Malformed { file: file.to_owned(), line, column: None, what };
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong("is not UTF-8 text".into()))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_end_matches('\r');
        if text.trim().is_empty() {
            continue;
        }
        let (path, label) = parse(text).map_err(wrong)?;
        lines.push(SplitLine { line, path, label });
    }
    Ok(lines)
}

/// The path ends at the first `.mp4,`; the label is one digit.
fn parse(text: &str) -> Result<(VideoPath, Label), String> {
    let at = text.find(".mp4,").ok_or("has no `.mp4,`; a line is `path.mp4,label,transcript`")?;
    let (path, rest) = text.split_at(at + 4);
    if path.contains(',') {
        return Err("has no `.mp4,` right after its path; a line is `path.mp4,label,transcript`".into());
    }
    let path = VideoPath::parse(path)?;
    // The comma was found.
    let label = rest[1..].split(',').next().unwrap_or_default().trim();
    match label {
        "0" => Ok((path, Label::Absent)),
        "1" => Ok((path, Label::Present)),
        _ => {
            let shown: String = label.chars().take(20).collect();
            Err(format!("the label after the path is {shown:?}; it must be 0 or 1"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<SplitLine>, BahError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read_split(file.path())
    }

    #[test]
    fn commas_and_mp4s_of_the_transcript_are_no_matter() {
        let lines =
            read("\u{feff}Videos/1/a b.mp4,1,well, I saw x.mp4, 0,\r\n\nVideos/2/c.mp4,0,\nVideos/2/d.mp4,0").unwrap();
        let seen: Vec<_> = lines.iter().map(|l| (l.line, l.path.as_str(), l.label)).collect();
        assert_eq!(
            seen,
            [
                (1, "Videos/1/a b.mp4", Label::Present),
                (3, "Videos/2/c.mp4", Label::Absent),
                (4, "Videos/2/d.mp4", Label::Absent)
            ]
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, says) in [
            ("a.mp4,1,x\nb.avi,0,x", ":2: has no `.mp4,`"),
            ("a.mkv,0,I saw b.mp4, once", "no `.mp4,` right after its path"),
            ("a.mp4,2,x", ":1: the label after the path is \"2\""),
            ("a.mp4,10,x", "0 or 1"),
            ("../a.mp4,1,x", "leads out"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
    }
}
