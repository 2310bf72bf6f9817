//! Notices that files have changed.

use std::path::PathBuf;
use std::time::SystemTime;

/// What tells that a file is another than before. None: it is not there.
type Stamp = Vec<Option<(SystemTime, u64)>>;

/// Files that are looked at again and again. A change counts once it has stood still from one look to the next, so that none
/// is read half-written.
#[derive(Debug)]
pub struct FileWatch {
    files: Vec<PathBuf>,
    known: Stamp,
    seen: Stamp,
}

impl FileWatch {
    /// These, as they are now.
    #[must_use]
    pub fn new(files: Vec<PathBuf>) -> Self {
        let now = stamp(&files);
        Self { files, known: now.clone(), seen: now }
    }

    /// Looks. Whether they have changed since they were last said to have, or [`taken`](Self::taken).
    pub fn changed(&mut self) -> bool {
        let now = stamp(&self.files);
        let changed = now != self.known && now == self.seen;
        self.seen = now;
        if changed {
            self.taken();
        }
        changed
    }

    /// They were read as they stood at the last look.
    pub fn taken(&mut self) {
        self.known.clone_from(&self.seen);
    }
}

fn stamp(files: &[PathBuf]) -> Stamp {
    files
        .iter()
        .map(|file| std::fs::metadata(file).ok().and_then(|meta| Some((meta.modified().ok()?, meta.len()))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_and_only_when_it_stands_still() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        let mut watched = FileWatch::new(vec![file.clone()]);
        assert!(!watched.changed(), "it is not there, as before");
        std::fs::write(&file, "a").unwrap();
        assert!(!watched.changed(), "it may still be written");
        std::fs::write(&file, "ab").unwrap();
        assert!(!watched.changed(), "it was");
        assert!(watched.changed());
        assert!(!watched.changed());
        std::fs::remove_file(&file).unwrap();
        assert!(!watched.changed());
        assert!(watched.changed());
    }
}
