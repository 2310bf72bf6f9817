//! BAH's annotations (YAML): refused with a place, or read to what, written down again, is read as the same.

use std::fmt::Write as _;

use ahwatch::bah::{Annotation, BahError, FrameLabel, read_annotations};
use ahwatch::judge::Label;
use ahwatch::time::MediaTime;

/// The file's bytes.
pub fn run(data: &[u8]) {
    let mut all = Vec::new();
    let read = read(data, &mut all);
    if let Err(error) = &read {
        let text = error.to_string();
        let BahError::Malformed { line, what, .. } = error else { panic!("the file is there: {text}") };
        assert!(*line >= 1 && !what.is_empty(), "{text}");
        assert!(text.chars().count() < 2000, "a message is short: {text}");
        return;
    }
    for one in &all {
        assert!(!one.path.as_str().split('/').any(|part| matches!(part, "" | "." | "..")), "{}", one.path);
        assert!(one.line >= 1);
    }
    // A few thousand frames show as much as ten million. A key of YAML's has at most 1024 characters.
    let is_plain = |one: &Annotation| {
        let path = one.path.as_str();
        one.frames.len() <= 5000 && path.len() <= 500 && !path.contains(char::is_control)
    };
    if !all.iter().all(is_plain) {
        return;
    }
    let text: String = all.iter().map(written).collect();
    let mut again = Vec::new();
    self::read(text.as_bytes(), &mut again).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(all.len(), again.len());
    for (one, other) in all.iter().zip(&again) {
        let of = |one: &Annotation| (one.label, one.intervals.clone(), one.frame_ranges.clone(), one.frames.clone());
        assert_eq!((&one.path, of(one)), (&other.path, of(other)), "{text}");
    }
}

fn read(data: &[u8], all: &mut Vec<Annotation>) -> Result<(), BahError> {
    read_annotations(&super::file("annotations.yaml", data), |one| all.push(one))
}

/// As YAML, names as JSON writes them, which YAML reads.
fn written(one: &Annotation) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut text = format!("{}:\n", quoted(one.path.as_str()));
    let label = match one.label {
        Some(Label::Present) => "1",
        Some(_) => "0",
        None => "null",
    };
    let _ = writeln!(text, "  global_ah: {label}");
    let pairs = |pairs: Vec<String>| format!("[{}]\n", pairs.join(", "));
    let time = |time: MediaTime| {
        let nanos = time.as_nanos();
        format!("'{}.{:09}'", nanos / 1_000_000_000, nanos % 1_000_000_000)
    };
    let times = one.intervals.iter().map(|at| format!("[{}, {}]", time(at.start), time(at.end))).collect();
    let ranges = one.frame_ranges.iter().map(|(first, last)| format!("[{first}, {last}]")).collect();
    let frames = one.frames.iter().enumerate().filter_map(|(n, label)| {
        let label = match label {
            FrameLabel::Unlisted => return None,
            FrameLabel::Absent => 0,
            FrameLabel::Present => 1,
        };
        Some(format!("[{}, {label}]", quoted(&format!("{}/frame-{n}.jpg", one.path))))
    });
    let _ = write!(text, "  time_detailed_ah: {}", pairs(times));
    let _ = write!(text, "  fr_detailed_ah: {}", pairs(ranges));
    let _ = write!(text, "  frame_annotation: {}", pairs(frames.collect()));
    text
}
