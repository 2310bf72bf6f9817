//! How BAH names a video: `Videos/<participant>/Visite_<n>/<participant>_Question_<q>_<date>_<time>_Video[-HOST].mp4`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A video's path below the dataset's folder, as its files write it: the video's name everywhere. It never leaves that folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VideoPath(Arc<str>);

impl VideoPath {
    /// Reads one.
    ///
    /// # Errors
    /// It is absolute, climbs out of its folder, or is not of an `.mp4` file; says which.
    pub fn parse(text: &str) -> Result<Self, String> {
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']);
        if !text.split('/').all(plain) {
            let shown = shortened(text);
            return Err(format!(
                "{shown:?} leads out of the dataset's folder; a path must be relative and without `..`"
            ));
        }
        if text.rsplit('/').next().and_then(|name| name.strip_suffix(".mp4")).is_none_or(str::is_empty) {
            return Err(format!("{:?} is not the path of an .mp4 file", shortened(text)));
        }
        Ok(Self(text.into()))
    }

    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The file below `root`.
    #[must_use]
    pub fn below(&self, root: &Path) -> PathBuf {
        root.join(&*self.0)
    }

    /// Where the file leads by a link, if that is outside of `root`. One that is not there leads nowhere.
    #[must_use]
    pub fn leads_out(&self, root: &Path) -> Option<PathBuf> {
        let file = std::fs::canonicalize(self.below(root)).ok()?;
        (!file.starts_with(std::fs::canonicalize(root).ok()?)).then_some(file)
    }

    /// The file's name without `.mp4`: what clips are named after.
    #[must_use]
    pub fn stem(&self) -> &str {
        let name = self.0.rsplit('/').next().unwrap_or(&self.0);
        name.strip_suffix(".mp4").unwrap_or(name)
    }

    /// Who talks: the folder under `Videos/`, else what the file's name begins with.
    #[must_use]
    pub fn participant(&self) -> &str {
        let folder = self.0.strip_prefix("Videos/").and_then(|rest| rest.split_once('/'));
        folder.map_or_else(|| self.stem().split('_').next().unwrap_or_default(), |(participant, _)| participant)
    }

    /// Which of the seven questions is answered; None: the name does not say.
    #[must_use]
    pub fn question(&self) -> Option<u32> {
        let digits = self.stem().split("_Question_").nth(1)?;
        digits.split('_').next()?.parse().ok()
    }
}

/// A path for a message: a file that is none may hold anything in its place.
fn shortened(text: &str) -> String {
    if text.chars().count() <= 200 { text.to_owned() } else { text.chars().take(199).chain(['…']).collect() }
}

impl fmt::Display for VideoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for VideoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_who_answers_what() {
        let path =
            VideoPath::parse("Videos/90001/Visite_1/90001_Question_3_2024-11-05 14-58-50_Video-HOST.mp4").unwrap();
        assert_eq!(path.stem(), "90001_Question_3_2024-11-05 14-58-50_Video-HOST");
        assert_eq!((path.participant(), path.question()), ("90001", Some(3)));
        let other = VideoPath::parse("90002_x.mp4").unwrap();
        assert_eq!((other.participant(), other.question()), ("90002", None));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_may_lead_about_in_the_dataset_and_not_out_of_it() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("bah"), dir.path().join("other"));
        std::fs::create_dir_all(root.join("Videos")).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(root.join("Videos/a.mp4"), "").unwrap();
        std::fs::write(outside.join("b.mp4"), "").unwrap();
        symlink("a.mp4", root.join("Videos/inside.mp4")).unwrap();
        symlink(outside.join("b.mp4"), root.join("Videos/out.mp4")).unwrap();
        symlink(&outside, root.join("Videos/folder")).unwrap();
        symlink(outside.join("nothing.mp4"), root.join("Videos/dangling.mp4")).unwrap();
        // The dataset's folder may itself be a link.
        symlink(&root, dir.path().join("link")).unwrap();
        for root in [root, dir.path().join("link")] {
            let out = |path: &str| VideoPath::parse(path).unwrap().leads_out(&root).is_some();
            let paths = ["a", "inside", "dangling", "out", "folder/b"].map(|name| out(&format!("Videos/{name}.mp4")));
            assert_eq!(paths, [false, false, false, true, true]);
        }
    }

    #[test]
    fn a_path_that_climbs_is_refused() {
        for text in [
            "/etc/x.mp4",
            "../x.mp4",
            "Videos/../../x.mp4",
            "Videos//x.mp4",
            "./x.mp4",
            "a\\..\\x.mp4",
            ".mp4",
            "x.avi",
        ] {
            assert!(VideoPath::parse(text).is_err(), "{text}");
        }
    }
}
