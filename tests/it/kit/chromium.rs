//! Debian's Chromium, headless, with a recording for a camera and a microphone.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::media::{Recipe, run_to_end};

/// A headless Chromium; killed when dropped.
pub struct Chromium(Child, #[allow(dead_code, reason = "its profile")] tempfile::TempDir);

impl Chromium {
    /// Opens a page; its camera and microphone are these recordings, over and over.
    pub fn open(url: &str, camera: &Path, microphone: &Path) -> Self {
        let profile = tempfile::tempdir().expect("a folder");
        let child = Command::new("chromium")
            .args(["--headless=new", "--no-sandbox", "--no-first-run", "--disable-gpu", "--mute-audio"])
            .args(["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"])
            .arg(format!("--use-file-for-fake-video-capture={}", camera.display()))
            .arg(format!("--use-file-for-fake-audio-capture={}", microphone.display()))
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Debian's package chromium, which `make setup-test` installs");
        Self(child, profile)
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The recording as what Chromium's fake devices read: Y4M and WAV.
pub fn devices(recipe: &Recipe) -> (PathBuf, PathBuf) {
    let recording = recipe.make();
    let (camera, microphone) = (recording.with_extension("y4m"), recording.with_extension("wav"));
    if microphone.exists() {
        return (camera, microphone);
    }
    // By way of RGB, because y4menc takes a decoder's padded rows for pictures.
    let text = "filesrc name=in ! decodebin name=d \
                d. ! queue ! videoconvert ! video/x-raw,format=RGBx ! videoconvert ! video/x-raw,format=I420 ! y4menc ! filesink name=y4m \
                d. ! queue ! audioconvert ! audioresample ! audio/x-raw,format=S16LE,rate=48000,channels=2 ! wavenc ! filesink name=wav";
    let bin = gst::parse::launch(text).expect("recorder").downcast::<gst::Pipeline>().expect("a pipeline");
    for (name, path) in [("in", &recording), ("y4m", &camera), ("wav", &microphone)] {
        bin.by_name(name).expect("named").set_property("location", path.to_str().expect("UTF-8"));
    }
    run_to_end(&bin);
    (camera, microphone)
}
