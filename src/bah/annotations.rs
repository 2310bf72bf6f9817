//! `video_annotation_transcript.yaml`, a video at a time: some 100 MB and a million labels of single frames.

use std::path::Path;

use super::yaml::{Node, Scalar, Yaml};
use super::{BahError, VideoPath};
use crate::judge::Label;
use crate::time::MediaTime;

/// No video has as many frames; a number beyond is a mistake, not a reason to ask for memory.
const MOST_FRAMES: usize = 10_000_000;

/// Where A/H was annotated, as written: it may be reversed, empty or outside the video.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Its begin, in the video's own time.
    pub start: MediaTime,
    /// Its end.
    pub end: MediaTime,
}

/// What is known of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameLabel {
    /// The frame is not listed.
    Unlisted,
    /// 0.
    Absent,
    /// 1.
    Present,
}

/// What the annotator said of a video. The transcript and the cues are passed over.
#[derive(Clone, Debug, PartialEq)]
pub struct Annotation {
    /// The video.
    pub path: VideoPath,
    /// Line of the file where it begins.
    pub line: usize,
    /// `global_ah`: Present for 1, Absent for 0. None: not said.
    pub label: Option<Label>,
    /// `time_detailed_ah`, in the file's order.
    pub intervals: Vec<Interval>,
    /// `fr_detailed_ah`: first and last frame of each interval. May be empty although there are intervals.
    pub frame_ranges: Vec<(u64, u64)>,
    /// `frame_annotation`, by frame number.
    pub frames: Vec<FrameLabel>,
    /// Entries of `frame_annotation` that name another video.
    pub foreign_frames: u64,
}

/// Reads the file; `each` gets every video, in the file's order. Memory for one video at a time.
///
/// # Errors
/// The file cannot be read, is no YAML, or holds what it should not; names line and column. What `each` was given before stays.
pub fn read_annotations(file: &Path, mut each: impl FnMut(Annotation)) -> Result<(), BahError> {
    let (mut yaml, filled) = Yaml::open(file)?;
    if !filled {
        return Ok(());
    }
    while let Some(key) = yaml.key()? {
        let path = VideoPath::parse(&key).map_err(|reason| yaml.wrong(reason))?;
        each(read_one(&mut yaml, path)?);
    }
    Ok(())
}

fn read_one(yaml: &mut Yaml, path: VideoPath) -> Result<Annotation, BahError> {
    let mut found = Annotation {
        path,
        line: yaml.line(),
        label: None,
        intervals: Vec::new(),
        frame_ranges: Vec::new(),
        frames: Vec::new(),
        foreign_frames: 0,
    };
    if yaml.next()? != Node::Map {
        return Err(yaml.wrong("a video's entry must be a mapping"));
    }
    while let Some(key) = yaml.key()? {
        match key.as_str() {
            "global_ah" => found.label = label(yaml, "global_ah")?,
            "time_detailed_ah" if yaml.list("time_detailed_ah")? => {
                while let Some((start, end)) = yaml.pair("time_detailed_ah")? {
                    let (start, end) = (time(yaml, &start)?, time(yaml, &end)?);
                    found.intervals.push(Interval { start, end });
                }
            }
            "fr_detailed_ah" if yaml.list("fr_detailed_ah")? => {
                while let Some((first, last)) = yaml.pair("fr_detailed_ah")? {
                    let range = first.text.parse().ok().zip(last.text.parse().ok());
                    found.frame_ranges.push(range.ok_or_else(|| yaml.wrong("frame numbers must be whole numbers"))?);
                }
            }
            "frame_annotation" if yaml.list("frame_annotation")? => {
                while let Some((name, label)) = yaml.pair("frame_annotation")? {
                    frame(yaml, &mut found, &name.text, &label)?;
                }
            }
            "time_detailed_ah" | "fr_detailed_ah" | "frame_annotation" => {} // null stands there
            _ => yaml.skip()?,
        }
    }
    Ok(found)
}

fn label(yaml: &mut Yaml, what: &str) -> Result<Option<Label>, BahError> {
    let scalar = yaml.scalar(what)?;
    match scalar.text.as_str() {
        "0" => Ok(Some(Label::Absent)),
        "1" => Ok(Some(Label::Present)),
        _ if scalar.is_null() => Ok(None),
        other => Err(yaml.wrong(format!("{what} is {:?}; it must be 0 or 1", shortened(other)))),
    }
}

fn frame(yaml: &Yaml, found: &mut Annotation, name: &str, label: &Scalar) -> Result<(), BahError> {
    let label = match label.text.as_str() {
        "0" => FrameLabel::Absent,
        "1" => FrameLabel::Present,
        other => return Err(yaml.wrong(format!("a frame's label is {:?}; it must be 0 or 1", shortened(other)))),
    };
    let Some((video, frame)) = name.rsplit_once('/') else {
        return Err(yaml.wrong(format!("{:?} is no `VIDEO/frame-N.jpg`", shortened(name))));
    };
    if video != found.path.as_str() {
        found.foreign_frames += 1;
        return Ok(());
    }
    let number: Option<usize> =
        frame.strip_prefix("frame-").and_then(|f| f.strip_suffix(".jpg")).and_then(|n| n.parse().ok());
    let Some(number) = number.filter(|n| *n < MOST_FRAMES) else {
        return Err(yaml.wrong(format!("{:?} is no `frame-N.jpg`", shortened(frame))));
    };
    if found.frames.len() <= number {
        found.frames.resize(number + 1, FrameLabel::Unlisted);
    }
    found.frames[number] = label;
    Ok(())
}

/// `00:00:01.721`, or a number of seconds.
fn time(yaml: &Yaml, scalar: &Scalar) -> Result<MediaTime, BahError> {
    parse_time(&scalar.text).ok_or_else(|| {
        yaml.wrong(format!(
            "{:?} is no time; write hours:minutes:seconds, e.g. '00:00:01.721'",
            shortened(&scalar.text)
        ))
    })
}

/// Exact to the digits that are written, up to nanoseconds.
fn parse_time(text: &str) -> Option<MediaTime> {
    let mut nanos: i64 = 0;
    let parts: Vec<&str> = text.trim().split(':').collect();
    let (last, before) = parts.split_last().filter(|(_, before)| before.len() <= 2)?;
    for part in before {
        let value: i64 = digits(part)?;
        nanos = nanos.checked_mul(60)?.checked_add(value)?;
    }
    let (whole, fraction) = last.split_once('.').unwrap_or((last, "0"));
    nanos = nanos.checked_mul(60)?.checked_add(digits(whole)?)?.checked_mul(1_000_000_000)?;
    let fraction: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    Some(MediaTime::from_nanos(nanos.checked_add(digits(&fraction)?)?))
}

fn digits(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.len() <= 12 && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Vec<Annotation>, BahError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut all = Vec::new();
        read_annotations(file.path(), |a| all.push(a)).map(|()| all)
    }

    const VIDEO: &str = "Videos/90001/Visite_1/90001_Question_3_2024-11-05_14-58-50_Video.mp4";

    fn entry(body: &str) -> Vec<u8> {
        format!("{VIDEO}:\n{body}").into_bytes()
    }

    #[test]
    fn both_styles_of_the_releases_are_read() {
        let flow = format!(
            "  all_cues:\n  - {{audio: null, body: [a, b], facial: null}}\n  annotator_id: XX\n  certainty_ah: [1]\n  \
             fr_detailed_ah: [[51, 95]]\n  frame_annotation:\n  - [{VIDEO}/frame-0.jpg, 0]\n  - [{VIDEO}/frame-1.jpg,\n    1]\n  \
             global_ah: 1\n  time_detailed_ah:\n  - ['00:00:01.721', '00:00:04.410']\n  transcript:\n    chunks:\n    \
             - language: english\n      text: ' well, é'\n      timestamp: !!python/tuple [0.0, null]\n    text: ' …'\n"
        );
        let block = format!(
            "  fr_detailed_ah:\n  - - 51\n    - 95\n  frame_annotation:\n  - - {VIDEO}/frame-0.jpg\n    - 0\n  - - {VIDEO}/frame-1.jpg\n    \
             - 1\n  global_ah: 1\n  time_detailed_ah:\n  - - '00:00:01.721'\n    - '00:00:04.410'\n  transcript:\n    chunks:\n    \
             - timestamp: !!python/tuple\n      - 0.0\n      - 12.0\n"
        );
        for text in [flow, block] {
            let all = read(&entry(&text)).unwrap();
            let one = &all[0];
            assert_eq!((all.len(), one.label, one.line), (1, Some(Label::Present), 1));
            let interval = Interval { start: MediaTime::from_millis(1721), end: MediaTime::from_millis(4410) };
            assert_eq!(one.intervals, [interval]);
            assert_eq!(one.frame_ranges, [(51, 95)]);
            assert_eq!(one.frames, [FrameLabel::Absent, FrameLabel::Present]);
        }
        assert_eq!(read(b"").unwrap(), []);
        let nulls = read(&entry("  global_ah: null\n  time_detailed_ah: null\n  frame_annotation: []\n")).unwrap();
        assert_eq!((nulls[0].label, nulls[0].intervals.len()), (None, 0));
    }

    #[test]
    fn times_are_exact_and_anything_else_is_refused() {
        let millis = |text| parse_time(text).map(|t| t.as_nanos() / 1_000_000);
        assert_eq!(millis("00:00:01.721"), Some(1721));
        assert_eq!(millis("01:02:03"), Some(3_723_000));
        assert_eq!(millis("2:03.5"), Some(123_500));
        assert_eq!(millis("4.41"), Some(4410));
        assert_eq!(parse_time("0.1234567891").map(MediaTime::as_nanos), Some(123_456_789));
        for text in ["", "-1", "1:2:3:4", "a", "1.2.3", "1,5", "99999999999999999", "nan", "00:00:-1"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_line_and_column() {
        for (body, says) in [
            ("  notes: [1\n  x: y\n", ":3:4: is no YAML"),
            ("  global_ah: 2\n", ":2:14: global_ah is \"2\"; it must be 0 or 1"),
            ("  transcript: !!python/object:os.system x\n", "python/object:os.system is not known"),
            ("  transcript: {a: [!secret x]}\n", "!secret is not known"),
            ("  time_detailed_ah: [['x', '00:00:01']]\n", "\"x\" is no time"),
            ("  time_detailed_ah: [['00:00:01']]\n", "single value"),
            ("  time_detailed_ah: [['00:00:01', '00:00:02', '00:00:03']]\n", "must be a pair"),
            ("  time_detailed_ah: 3\n", "must be a list"),
            ("  frame_annotation: [[frame-0.jpg, 1]]\n", "is no `VIDEO/frame-N.jpg`"),
            ("  fr_detailed_ah: [[1.5, 2]]\n", "whole numbers"),
            ("  time_detailed_ah: &a [['00:00:01', '00:00:02']]\n  fr_detailed_ah: *a\n", "alias"),
        ] {
            let message = read(&entry(body)).unwrap_err().to_string();
            assert!(message.contains(says), "{body}: {message}");
        }
        let frames = format!("  frame_annotation: [[{VIDEO}/frame-99999999999.jpg, 1]]\n");
        assert!(read(&entry(&frames)).unwrap_err().to_string().contains("is no `frame-N.jpg`"));
        let message = read(b"../up.mp4:\n  global_ah: 1\n").unwrap_err().to_string();
        assert!(message.contains(":1:1: ") && message.contains("leads out"), "{message}");
        let message = read(b"Videos/a.mp4:\n  text: \xff\xfe\n").unwrap_err().to_string();
        assert!(message.contains("UTF-8"), "{message}");
        assert!(read(b"- a\n- b\n").unwrap_err().to_string().contains("one mapping"));
        assert!(read(b"just text").unwrap_err().to_string().contains("one mapping"));
    }

    #[test]
    fn characters_that_lie_across_two_blocks_are_read_whole() {
        for pad in 0..4 {
            let text = format!("  transcript: '{}{}'\n  global_ah: 1\n", "x".repeat(pad), "é…".repeat(40_000));
            assert_eq!(read(&entry(&text)).unwrap()[0].label, Some(Label::Present));
        }
    }
}
