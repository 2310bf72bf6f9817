//! Every GStreamer element that this program uses by name, and the Debian package that has it.

use gstreamer as gst;

use super::SourceError;

/// What an element is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Recordings and clips: nothing goes without it.
    Always,
    /// Clips in H.264.
    H264Clips,
    /// Clips of `bah prepare`, in H.264 and AAC.
    Prepare,
    /// RTSP cameras.
    Rtsp,
    /// Webcams by `Video4Linux`.
    V4l2,
    /// Webcams and microphones by `PipeWire`.
    PipeWire,
    /// Microphones by `PulseAudio`'s protocol.
    Pulse,
    /// Microphones by ALSA.
    Alsa,
    /// The source `test:`.
    Test,
    /// Decoding what most cameras and phones record: it is found by its kind, not by name.
    Decoding,
}

impl Use {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "everything",
            Self::H264Clips => "clip_codec = \"h264\"",
            Self::Prepare => "bah prepare",
            Self::Rtsp => "RTSP cameras",
            Self::V4l2 => "webcams by Video4Linux",
            Self::PipeWire => "webcams and microphones by PipeWire",
            Self::Pulse => "microphones by PulseAudio",
            Self::Alsa => "microphones by ALSA",
            Self::Test => "test:",
            Self::Decoding => "usual recordings and cameras",
        }
    }
}

/// An element by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// GStreamer's name of it.
    pub name: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
    /// What for.
    pub used_for: Use,
}

const CORE: &str = "libgstreamer1.0-0";
const BASE: &str = "gstreamer1.0-plugins-base";
const GOOD: &str = "gstreamer1.0-plugins-good";
const BAD: &str = "gstreamer1.0-plugins-bad";
const UGLY: &str = "gstreamer1.0-plugins-ugly";
const LIBAV: &str = "gstreamer1.0-libav";

const fn element(name: &'static str, package: &'static str, used_for: Use) -> Element {
    Element { name, package, used_for }
}

/// All of them, by package.
pub const ELEMENTS: [Element; 37] = [
    element("filesrc", CORE, Use::Always),
    element("capsfilter", CORE, Use::Always),
    element("appsrc", BASE, Use::Always),
    element("appsink", BASE, Use::Always),
    element("decodebin", BASE, Use::Always),
    element("videoconvert", BASE, Use::Always),
    element("videoscale", BASE, Use::Always),
    element("audioconvert", BASE, Use::Always),
    element("audioresample", BASE, Use::Always),
    element("videotestsrc", BASE, Use::Test),
    element("audiotestsrc", BASE, Use::Test),
    element("videoflip", GOOD, Use::Always),
    element("jpegenc", GOOD, Use::Always),
    element("jpegdec", GOOD, Use::Always),
    element("qtdemux", GOOD, Use::Decoding),
    element("matroskademux", GOOD, Use::Decoding),
    element("rtspsrc", GOOD, Use::Rtsp),
    element("rtph264depay", GOOD, Use::Rtsp),
    element("rtph265depay", GOOD, Use::Rtsp),
    element("rtpmp4gdepay", GOOD, Use::Rtsp),
    element("v4l2src", GOOD, Use::V4l2),
    element("aacparse", GOOD, Use::Decoding),
    element("h264parse", BAD, Use::Decoding),
    element("h265parse", BAD, Use::Decoding),
    element("x264enc", UGLY, Use::H264Clips),
    element("avdec_h264", LIBAV, Use::Decoding),
    element("avdec_h265", LIBAV, Use::Decoding),
    element("avdec_aac", LIBAV, Use::Decoding),
    element("pulsesrc", "gstreamer1.0-pulseaudio", Use::Pulse),
    element("pipewiresrc", "gstreamer1.0-pipewire", Use::PipeWire),
    element("alsasrc", "gstreamer1.0-alsa", Use::Alsa),
    element("vp8dec", GOOD, Use::Decoding),
    element("opusdec", BASE, Use::Decoding),
    element("queue", CORE, Use::Prepare),
    element("filesink", CORE, Use::Prepare),
    element("mp4mux", GOOD, Use::Prepare),
    element("avenc_aac", LIBAV, Use::Prepare),
];

impl Element {
    /// Whether it is there.
    #[must_use]
    pub fn installed(&self) -> bool {
        gst::ElementFactory::find(self.name).is_some()
    }
}

/// GStreamer's version, such as `1.22.0`.
///
/// # Errors
/// GStreamer itself is not there.
pub fn version() -> Result<String, SourceError> {
    super::pipeline::init()?;
    let (major, minor, micro, _) = gst::version();
    Ok(format!("{major}.{minor}.{micro}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;
    use std::process::Command;

    use gstreamer::prelude::*;

    use super::*;

    fn listed() -> BTreeSet<&'static str> {
        ELEMENTS.iter().map(|element| element.name).collect()
    }

    /// The text of every file of a folder whose name ends so.
    fn texts(folder: &str, end: &str) -> Vec<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        files.filter(|f| f.to_string_lossy().ends_with(end)).map(|f| std::fs::read_to_string(f).unwrap()).collect()
    }

    #[test]
    fn every_element_of_a_pipeline_is_listed() {
        super::super::pipeline::init().unwrap();
        let mut found = BTreeSet::new();
        for text in texts("pipelines", ".gst") {
            let code: Vec<_> = text.lines().filter(|line| !line.starts_with(['#', '['])).collect();
            for stage in code.join(" ").split('!') {
                // Two parts of a file may meet here: each word that is no property may begin one.
                let words = stage.split_whitespace().filter(|word| !word.contains(['=', '/', ',']));
                found.extend(words.map(str::to_owned));
            }
        }
        assert!(found.len() > 15, "{found:?}");
        let missing: Vec<_> = found.iter().filter(|name| !listed().contains(name.as_str())).collect();
        assert!(missing.is_empty(), "not listed: {missing:?}");

        // What is encoded with stands in strings of the code; a word there that is an element is one of these.
        let mut used = BTreeSet::new();
        for text in texts("src/encode", ".rs") {
            let code = text.split("#[cfg(test)]").next().unwrap().to_owned();
            for string in code.split('"').skip(1).step_by(2) {
                // "speed" is of x264enc's `speed-preset`, "pipeline" a word of messages.
                let words = string.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                let words = words.filter(|word| !["speed", "pipeline"].contains(word));
                used.extend(words.filter(|w| gst::ElementFactory::find(w).is_some()).map(str::to_owned));
            }
        }
        assert!(used.contains("jpegenc") && used.contains("x264enc"), "{used:?}");
        let missing: Vec<_> = used.iter().filter(|name| !listed().contains(name.as_str())).collect();
        assert!(missing.is_empty(), "not listed: {missing:?}");
        // And nothing is listed as used by name that is not.
        let idle = ELEMENTS.iter().filter(|element| {
            let by_kind = element.used_for == Use::Decoding || element.name.starts_with("rtp");
            !by_kind && !found.contains(element.name) && !used.contains(element.name)
        });
        assert_eq!(idle.map(|element| element.name).collect::<Vec<_>>(), Vec::<&str>::new());
    }

    #[test]
    fn each_package_is_the_one_that_has_the_element_and_setup_installs_it() {
        super::super::pipeline::init().unwrap();
        let setup = texts("scripts", "setup.sh").remove(0);
        for element in ELEMENTS {
            let installed = setup.contains(element.package) || element.package == CORE;
            assert!(installed, "scripts/setup.sh installs no {}", element.package);
            let plugin = gst::ElementFactory::find(element.name).and_then(|factory| factory.plugin());
            let Some(file) = plugin.and_then(|plugin| plugin.filename()) else { continue };
            // No Debian, or GStreamer from elsewhere: nothing to compare with.
            let Ok(owner) = Command::new("dpkg-query").arg("-S").arg(&file).output() else { continue };
            let owner = String::from_utf8_lossy(&owner.stdout).into_owned();
            let owner = owner.split(':').next().unwrap_or_default();
            assert!(owner.is_empty() || owner == element.package, "{} is in {owner}", element.name);
        }
    }
}
