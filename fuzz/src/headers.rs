//! A recording's headers: looked at without reading much or going round in circles, and refused only for what is in them.

use ahwatch::source::headers::excess;

/// The file's bytes.
pub fn run(data: &[u8]) {
    let open = || std::fs::File::open(super::file("recording", data)).expect("it was just written");
    let told = excess(open());
    assert_eq!(told, excess(open()), "it is told the same of the same");
    let Some(why) = told else { return };
    assert!(!why.is_empty() && !why.contains('\n'), "{why}");
    // An index that is too large is promised by eight bytes; 65 tracks have to be there.
    let tracks = data.windows(4).filter(|four| *four == b"trak").count();
    let entries = data.split(|byte| *byte == 0xAE).count() - 1;
    assert!(why.contains("moov") || tracks > 64 || entries > 64, "{why}: {tracks} trak, {entries} TrackEntry");
}
