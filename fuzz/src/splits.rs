//! A split file: each line of it is a video with its label, or is refused by its number; none leads out of the dataset.

use ahwatch::bah::{BahError, read_split};
use ahwatch::judge::Label;

/// The file's bytes.
pub fn run(data: &[u8]) {
    let lines = match read_split(&super::file("split.txt", data)) {
        Ok(lines) => lines,
        Err(BahError::Malformed { line, what, .. }) => {
            let many = data.split(|byte| *byte == b'\n').count();
            assert!((1..=many).contains(&line) && !what.is_empty(), "{line} of {many}: {what}");
            return;
        }
        Err(error) => panic!("the file is there: {error}"),
    };
    let text = std::str::from_utf8(data).expect("what was read is text");
    let filled = text.split('\n').filter(|line| !line.trim_start_matches('\u{feff}').trim().is_empty()).count();
    assert_eq!(lines.len(), filled, "a line is a video, or an error");
    let mut again = String::new();
    for line in &lines {
        let path = line.path.as_str();
        assert!(
            path.rsplit('.').next() == Some("mp4") && !path.starts_with('/') && !path.contains(['\\', ',', '\0']),
            "{path}"
        );
        assert!(!path.split('/').any(|part| matches!(part, "" | "." | "..")), "{path}");
        assert_ne!(line.label, Label::Undecided);
        again += &format!("{path},{},\n", u8::from(line.label == Label::Present));
    }
    // A byte-order mark is taken off each line, but only one.
    if lines.iter().any(|line| line.path.as_str().starts_with('\u{feff}')) {
        return;
    }
    let read = read_split(&super::file("again.txt", again.as_bytes())).expect("it was read before");
    let of = |lines: &[ahwatch::bah::SplitLine]| {
        lines.iter().map(|line| (line.path.clone(), line.label)).collect::<Vec<_>>()
    };
    assert_eq!(of(&lines), of(&read));
}
