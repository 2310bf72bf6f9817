//! Pipelines as text: one file per kind of source, or the user's own (`--pipeline`).

use std::path::Path;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::SourceError;

/// The shipped descriptions, by file name.
const SHIPPED: [(&str, &str); 9] = [
    ("file.gst", include_str!("../../pipelines/file.gst")),
    ("mic-alsa.gst", include_str!("../../pipelines/mic-alsa.gst")),
    ("mic-pipewire.gst", include_str!("../../pipelines/mic-pipewire.gst")),
    ("mic-pulse.gst", include_str!("../../pipelines/mic-pulse.gst")),
    ("pushed.gst", include_str!("../../pipelines/pushed.gst")),
    ("rtsp.gst", include_str!("../../pipelines/rtsp.gst")),
    ("test.gst", include_str!("../../pipelines/test.gst")),
    ("webcam-pipewire.gst", include_str!("../../pipelines/webcam-pipewire.gst")),
    ("webcam-v4l2.gst", include_str!("../../pipelines/webcam-v4l2.gst")),
];

/// A pipeline in up to three parts: `[source]`, `[video]`, `[audio]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Where it was read, for messages.
    pub origin: String,
    /// Brings media; pads that appear on its element `out` (or else `in`) are joined to the branches. Without it the branches
    /// stand alone, and a device's name is set on their elements `videoin` and `audioin`.
    pub source: Option<String>,
    /// From a video pad to `appsink name=video`.
    pub video: Option<String>,
    /// From an audio pad to `appsink name=audio`.
    pub audio: Option<String>,
}

impl Description {
    /// Reads the text. Lines starting with `#` are comments.
    ///
    /// # Errors
    /// A line outside any part, an unknown part, a part twice, or no branch at all.
    pub fn read(origin: &str, text: &str) -> Result<Self, SourceError> {
        let wrong = |reason: String| SourceError::Description { origin: origin.to_owned(), reason };
        let mut parts: [Option<String>; 3] = [None, None, None];
        let mut current: Option<usize> = None;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                let at = ["source", "video", "audio"].iter().position(|p| *p == name);
                let at = at.ok_or_else(|| {
                    wrong(format!("line {number}: there is no part [{name}]; write [source], [video] or [audio]"))
                })?;
                if parts[at].replace(String::new()).is_some() {
                    return Err(wrong(format!("line {number}: a second part [{name}]")));
                }
                current = Some(at);
                continue;
            }
            let part = current.and_then(|at| parts[at].as_mut());
            let part =
                part.ok_or_else(|| wrong(format!("line {number}: begin with a part: [source], [video] or [audio]")))?;
            part.push_str(line);
            part.push(' ');
        }
        let [source, video, audio] = parts;
        if video.is_none() && audio.is_none() {
            return Err(wrong("it has neither a part [video] nor a part [audio]".into()));
        }
        Ok(Self { origin: origin.to_owned(), source, video, audio })
    }

    /// A shipped description, from `assets/pipelines` where that has one, else from the binary.
    ///
    /// # Errors
    /// The file in `assets` is wrong, or there is no shipped one of this name.
    pub fn shipped(name: &str, assets: Option<&Path>) -> Result<Self, SourceError> {
        if let Some(path) = assets.map(|a| a.join("pipelines").join(name)).filter(|p| p.exists()) {
            return Self::from_file(&path);
        }
        let text = SHIPPED.iter().find(|(n, _)| *n == name).map(|(_, text)| *text);
        let text = text.ok_or_else(|| SourceError::Description {
            origin: name.to_owned(),
            reason: "no such shipped pipeline".into(),
        })?;
        Self::read(&format!("pipelines/{name}"), text)
    }

    /// The user's own.
    ///
    /// # Errors
    /// It cannot be read, or is wrong.
    pub fn from_file(path: &Path) -> Result<Self, SourceError> {
        let origin = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::read(&origin, &text),
            Err(error) => Err(SourceError::Unreadable { location: origin, reason: error.to_string() }),
        }
    }

    /// Builds every part once, so that a mistake is found before anything runs.
    ///
    /// # Errors
    /// GStreamer does not know an element or a property; the message says which. A branch lacks its appsink.
    pub fn check(&self) -> Result<(), SourceError> {
        super::pipeline::init()?;
        if let Some(source) = &self.source {
            let bin = self.source_bin(source)?;
            if !self.element(&bin, "in")?.has_property("location") {
                return Err(self
                    .wrong("the element named in takes no `location`; without a part [source] none is needed".into()));
            }
        }
        for (name, branch) in [("video", &self.video), ("audio", &self.audio)] {
            if let Some(branch) = branch {
                let sink = self.element(&self.branch_bin(branch)?, name)?;
                if !sink.is::<gstreamer_app::AppSink>() {
                    return Err(self.wrong(format!("the element named {name} must be an appsink")));
                }
            }
        }
        Ok(())
    }

    /// The part that brings media.
    pub(super) fn source_bin(&self, part: &str) -> Result<gst::Bin, SourceError> {
        gst::parse::bin_from_description(part, false).map_err(|e| self.wrong(e.message().to_owned()))
    }

    /// A branch as a bin; behind a source, the open end of its first element becomes the bin's.
    pub(super) fn branch_bin(&self, part: &str) -> Result<gst::Bin, SourceError> {
        // Not GStreamer's own ghosting: it looks inside decodebin too, and takes a pad there that decodebin needs.
        let bin = gst::parse::bin_from_description(part, false).map_err(|e| self.wrong(e.message().to_owned()))?;
        if self.source.is_none() {
            return Ok(bin);
        }
        // A bin lists its newest element first.
        let open = bin.children().into_iter().rev().filter_map(|e| e.static_pad("sink")).find(|pad| !pad.is_linked());
        if let Some(pad) = open {
            let ghost = gst::GhostPad::builder_with_target(&pad).map(|g| g.name("sink").build());
            let added = ghost.map_err(|e| e.to_string()).and_then(|g| bin.add_pad(&g).map_err(|e| e.to_string()));
            added.map_err(|e| self.wrong(e))?;
        }
        Ok(bin)
    }

    pub(super) fn element(&self, bin: &gst::Bin, name: &str) -> Result<gst::Element, SourceError> {
        bin.by_name(name).ok_or_else(|| self.wrong(format!("no element is named {name} (write `name={name}`)")))
    }

    fn wrong(&self, reason: String) -> SourceError {
        SourceError::Description { origin: self.origin.clone(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_description_builds_and_ends_in_the_fixed_formats() {
        for (name, _) in SHIPPED {
            let description = Description::shipped(name, None).unwrap();
            description.check().unwrap();
            for (branch, end) in [
                (&description.video, "video/x-raw,format=I420,pixel-aspect-ratio=1/1 ! appsink name=video"),
                (&description.audio, "rate=16000,channels=1,layout=interleaved ! appsink name=audio"),
            ] {
                assert!(branch.as_ref().is_none_or(|branch| branch.contains(end)), "{name}");
            }
            assert_eq!(description.video.is_none(), name.starts_with("mic-"), "{name}");
            assert_eq!(description.audio.is_none(), name.starts_with("webcam-"), "{name}");
        }
    }

    #[test]
    fn shipped_means_every_file_in_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        assert_eq!(files, SHIPPED.map(|(name, _)| name));
    }

    #[test]
    fn a_mistake_is_named_with_its_place() {
        let message = |text: &str| Description::read("my.gst", text).and_then(|d| d.check()).unwrap_err().to_string();
        assert!(message("videotestsrc").contains("my.gst: line 1"));
        assert!(message("[vido]").contains("[vido]"));
        assert!(message("[source]\nfilesrc name=in").contains("neither"));
        assert!(message("[video]\nnosuchelement ! appsink name=video").contains("nosuchelement"));
        assert!(message("[video]\nvideotestsrc ! fakesink name=video").contains("appsink"));
        assert!(message("[video]\nvideotestsrc ! appsink name=wideo").contains("name=video"));
        assert!(message("[source]\nvideotestsrc name=in\n[video]\nappsink name=video").contains("location"));
    }
}
