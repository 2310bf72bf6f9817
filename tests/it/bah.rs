//! `ahwatch bah` on the invented dataset, as a user runs it.

mod canary;
pub mod eval;
mod inspect;
pub mod prepare;
mod train;

use std::path::Path;

use crate::kit::bah::dataset;

/// A copy of the dataset with links for its videos: its text files may be changed.
fn copy() -> tempfile::TempDir {
    fn over(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
            if from.is_dir() {
                over(&from, &to);
            } else if from.extension().is_some_and(|e| e == "mp4") {
                std::fs::hard_link(&from, &to).unwrap();
            } else {
                std::fs::copy(&from, &to).unwrap();
            }
        }
    }
    let dir = tempfile::tempdir_in(dataset().parent().unwrap()).unwrap();
    over(&dataset(), dir.path());
    dir
}

/// Replaces text in a file of a copied dataset.
fn edit(root: &Path, file: &str, from: &str, to: &str) {
    let path = root.join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{file} has no {from}");
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Puts this in place of a video; the dataset itself keeps its own.
fn replace(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}
