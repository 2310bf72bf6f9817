//! Small recordings with what the gate looks for: faces, a voice, darkness, silence. Nothing is planted in them.

use std::path::{Path, PathBuf};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::media::run_to_end;

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A recording of these two descriptions of sources, made anew. One name, one caller at a time.
///
/// # Panics
/// When GStreamer cannot make it, with its reason.
pub fn made(name: &str, video: &str, audio: &str) -> PathBuf {
    gst::init().expect("GStreamer");
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scenes");
    std::fs::create_dir_all(&dir).expect("target/tmp is writable");
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("main").replace("::", "-");
    let path = dir.join(format!("{name}-{test}.mp4"));
    let text = format!(
        "mp4mux name=mux ! filesink name=out \
         {video} ! videoconvert ! video/x-raw,format=I420 ! x264enc key-int-max=50 bframes=0 threads=1 ! h264parse ! queue ! mux. \
         {audio} ! audioconvert ! audioresample ! audio/x-raw,rate=48000 ! avenc_aac ! aacparse ! queue max-size-time=0 ! mux."
    );
    let bin = gst::parse::launch(&text).expect("recorder").downcast::<gst::Pipeline>().expect("a pipeline");
    bin.by_name("out").expect("sink").set_property("location", path.to_str().expect("UTF-8"));
    run_to_end(&bin);
    path
}

/// A test picture, such as `black` or `ball`, of so many frames at 25 a second.
pub fn test_picture(pattern: &str, frames: u32) -> String {
    format!("videotestsrc pattern={pattern} num-buffers={frames} ! video/x-raw,width=320,height=240,framerate=25/1")
}

/// A test sound, such as `silence`, of so many seconds.
pub fn test_sound(wave: &str, secs: f64) -> String {
    let blocks = (secs * 50.0) as u32;
    format!("audiotestsrc wave={wave} num-buffers={blocks} samplesperbuffer=960 ! audio/x-raw,rate=48000,channels=1")
}

/// The fixture's face, once or several times side by side.
pub fn faces(number: u32, frames: u32) -> String {
    let face = fixture("face.jpg");
    let still = |branch: u32| {
        format!(
            "filesrc location={face} ! jpegdec ! videoconvert ! videoscale ! video/x-raw,width=320,height=240,pixel-aspect-ratio=1/1 \
             ! imagefreeze num-buffers={frames} ! video/x-raw,framerate=25/1 ! row.sink_{branch} "
        )
    };
    let branches: Vec<String> = (0..number).map(still).collect();
    let places: Vec<String> = (0..number).map(|i| format!("sink_{i}::xpos={}", i * 320)).collect();
    format!("{} compositor name=row {}", branches.join(" "), places.join(" "))
}

/// Three seconds of synthetic speech.
pub fn speech() -> String {
    format!("filesrc location={} ! wavparse", fixture("speech.wav"))
}
