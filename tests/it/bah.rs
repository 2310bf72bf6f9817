//! `ahwatch bah` on the invented dataset, as a user runs it.

use crate::kit::bah::{dataset, videos};

#[test]
fn the_fixture_is_whole() {
    let root = dataset();
    for video in videos() {
        assert!(root.join(&video.path).is_file(), "{}", video.path);
    }
}
