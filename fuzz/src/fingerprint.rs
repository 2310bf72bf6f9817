//! A fingerprint file: refused in one line, or what it says can be compared with and is read again as the same.

use ahwatch::config::fingerprint::{read, text};

/// The file's bytes.
pub fn run(data: &[u8]) {
    let fingerprint = match read(&super::file("fingerprint.toml", data)) {
        Ok(fingerprint) => fingerprint,
        Err(why) => {
            assert!(!why.is_empty() && !why.contains('\n'), "{why}");
            return;
        }
    };
    for clip in fingerprint.judges.iter().flat_map(|judge| &judge.clips) {
        // Whatever a judge answers, the difference is a number: nothing passes for being none.
        assert!((clip.log_odds - 1.0).is_finite() && clip.spread.is_finite() && clip.spread >= 0.0, "{clip:?}");
    }
    let again = read(&super::file("again.toml", text(&fingerprint).as_bytes())).expect("what is written is read");
    assert_eq!(again, fingerprint);
}
