//! Planted recordings, in every shape the tests need, made by GStreamer when first asked for.
//!
//! Files are kept under `target/tmp` by recipe and by the text of the kit itself, so they are made once.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::feed::{Cover, ENCODER_DELAY, Jump, Marks, Pictures, Sound, Stamp};

/// What holds the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// `.mp4`
    Mp4,
    /// `.mkv`
    Mkv,
    /// `.ts`, the one that can jump backwards
    Ts,
}

/// A recording to be made. Start from [`Recipe::new`]; setters take and return it.
#[derive(Clone, Debug)]
pub struct Recipe {
    pictures: Option<Pictures>,
    sound: Option<Sound>,
    container: Container,
    key_interval: u32,
    b_frames: u32,
    jump: Option<Jump>,
    encoder: Option<&'static str>,
    sound_encoder: &'static str,
    turned: bool,
}

impl Recipe {
    /// `secs` seconds of 320x240 at 25 frames a second with sound, in MP4, nothing planted.
    pub fn new(secs: f64) -> Self {
        let cover = Cover { span: 0.0..secs, holes: Vec::new() };
        let pictures = Pictures {
            width: 320,
            height: 240,
            fps: (25, 1),
            cover: cover.clone(),
            marks: Marks::new(),
            spans: Vec::new(),
            rhythm: &[],
        };
        let sound = Sound { cover, marks: Marks::new(), spans: Vec::new(), lag: 0.0, ahead: ENCODER_DELAY };
        Self {
            pictures: Some(pictures),
            sound: Some(sound),
            container: Container::Mp4,
            key_interval: 50,
            b_frames: 0,
            jump: None,
            encoder: None,
            sound_encoder: "avenc_aac bitrate=64000 ! aacparse",
            turned: false,
        }
    }

    fn edit(mut self, pictures: impl FnOnce(&mut Pictures), sound: impl FnOnce(&mut Sound)) -> Self {
        self.pictures.as_mut().map(pictures);
        self.sound.as_mut().map(sound);
        self
    }

    /// Picture size, even numbers.
    pub fn size(self, width: u32, height: u32) -> Self {
        self.edit(|p| (p.width, p.height) = (width, height), |_| ())
    }

    /// Frame rate as a fraction, `(30_000, 1001)`.
    pub fn fps(self, fps: (u32, u32)) -> Self {
        self.edit(|p| p.fps = fps, |_| ())
    }

    /// Plants mark 0, "Present", in pictures and sound of these windows.
    pub fn plant(self, windows: &[u64]) -> Self {
        self.plant_pictures(windows, 1).plant_sound(windows, 1)
    }

    /// Plants marks (four bits) in the pictures of these windows.
    pub fn plant_pictures(self, windows: &[u64], marks: u8) -> Self {
        self.edit(|p| windows.iter().for_each(|w| *p.marks.entry(*w).or_default() |= marks), |_| ())
    }

    /// Plants marks (four bits) in the sound of these windows.
    pub fn plant_sound(self, windows: &[u64], marks: u8) -> Self {
        self.edit(|_| (), |s| windows.iter().for_each(|w| *s.marks.entry(*w).or_default() |= marks))
    }

    /// Plants mark 0 in pictures and sound of these source seconds.
    pub fn plant_spans(self, spans: &[Range<f64>]) -> Self {
        self.edit(|p| p.spans.extend_from_slice(spans), |s| s.spans.extend_from_slice(spans))
    }

    /// No pictures.
    pub fn without_pictures(mut self) -> Self {
        self.pictures = None;
        self
    }

    /// No sound.
    pub fn without_sound(mut self) -> Self {
        self.sound = None;
        self
    }

    /// Source seconds that pictures cover: a late or early end of the video stream.
    pub fn pictures_cover(self, span: Range<f64>) -> Self {
        self.edit(|p| p.cover.span = span, |_| ())
    }

    /// Source seconds that sound covers.
    pub fn sound_covers(self, span: Range<f64>) -> Self {
        self.edit(|_| (), |s| s.cover.span = span)
    }

    /// Frames missing from this stretch.
    pub fn pictures_hole(self, hole: Range<f64>) -> Self {
        self.edit(|p| p.cover.holes.push(hole), |_| ())
    }

    /// Sound missing from this stretch.
    pub fn sound_hole(self, hole: Range<f64>) -> Self {
        self.edit(|_| (), |s| s.cover.holes.push(hole))
    }

    /// What is heard lags what is seen by so many seconds (the timestamps do not say so).
    pub fn sound_lag(self, secs: f64) -> Self {
        self.edit(|_| (), |s| s.lag = secs)
    }

    /// Container.
    pub fn container(mut self, container: Container) -> Self {
        self.container = container;
        self
    }

    /// Frames from key frame to key frame.
    pub fn key_interval(mut self, frames: u32) -> Self {
        self.key_interval = frames;
        self
    }

    /// B-frames between references.
    pub fn b_frames(mut self, frames: u32) -> Self {
        self.b_frames = frames;
        self
    }

    /// Timestamps jump by `by` seconds at source time `at`: forwards in MP4 and MKV, backwards in MKV (`at` on a key
    /// frame, and `-by < at`), either way in TS (whose demuxer smooths the jump to under half a second).
    pub fn jump(mut self, at: f64, by: f64) -> Self {
        self.jump = Some(Jump { at, by });
        self
    }

    /// Frames of a variable rate: which of so many in a row are there.
    pub fn rhythm(self, rhythm: &'static [bool]) -> Self {
        self.edit(|p| p.rhythm = rhythm, |_| ())
    }

    /// What the pictures go through instead of the H.264 encoder and its parser.
    pub fn encoded_by(mut self, encoder: &'static str) -> Self {
        self.encoder = Some(encoder);
        self
    }

    /// What the sound goes through instead of the AAC encoder and its parser.
    pub fn sound_encoded_by(mut self, encoder: &'static str) -> Self {
        self.sound_encoder = encoder;
        self
    }

    /// An MP4 of pictures stored a quarter turn anticlockwise, with the header that says to turn them back: as a telephone does.
    pub fn turned(mut self) -> Self {
        self.turned = true;
        self
    }

    /// The pictures, for a live source of the same kind.
    pub fn pictures(&self) -> Option<&Pictures> {
        self.pictures.as_ref()
    }

    /// The sound, for a live source of the same kind.
    pub fn sound(&self) -> Option<&Sound> {
        self.sound.as_ref()
    }

    /// The encoder and what follows, up to the muxer or payloader; H.264 unless told otherwise.
    pub fn video_encoder(&self) -> String {
        if let Some(encoder) = self.encoder {
            return encoder.to_owned();
        }
        let turn = if self.turned { "videoflip video-direction=90l ! " } else { "" };
        format!(
            "{turn}x264enc speed-preset=veryfast pass=quant quantizer=23 threads=1 key-int-max={} bframes={} ! h264parse",
            self.key_interval, self.b_frames
        )
    }

    /// The recording; made when first asked for.
    ///
    /// # Panics
    /// When GStreamer cannot make it, with its reason.
    pub fn make(&self) -> PathBuf {
        let extension = match self.container {
            Container::Mp4 => "mp4",
            Container::Mkv => "mkv",
            Container::Ts => "ts",
        };
        kept(&self, extension, |path| match (self.container, self.jump) {
            (Container::Ts, Some(jump)) => {
                // Two programmes end to end, each with its own clock, as a recorder restarted by its camera writes.
                let (before, after) = (self.between(0.0..jump.at), self.between(jump.at..f64::MAX));
                before.encode(path, Stamp { origin: -30.0, jump: None });
                let second = path.with_extension("second");
                after.encode(&second, Stamp { origin: -30.0 - jump.by, jump: None });
                let mut whole = std::fs::read(path).expect("first half");
                whole.extend(std::fs::read(&second).expect("second half"));
                std::fs::write(path, whole).expect("target/tmp is writable");
                std::fs::remove_file(&second).expect("second half");
            }
            (Container::Mkv, Some(jump)) if jump.by < 0.0 => {
                self.encode(path, Stamp { origin: 0.0, jump: None });
                let mut bytes = std::fs::read(path).expect("recording");
                shift_clusters(&mut bytes, jump);
                std::fs::write(path, bytes).expect("target/tmp is writable");
            }
            (_, jump) => {
                self.encode(path, Stamp { origin: 0.0, jump });
                if self.turned {
                    let mut bytes = std::fs::read(path).expect("recording");
                    turn_back(&mut bytes);
                    std::fs::write(path, bytes).expect("target/tmp is writable");
                }
            }
        })
    }

    /// The same, of these source seconds only.
    fn between(&self, span: Range<f64>) -> Self {
        let clip = |cover: &mut Cover| {
            cover.span = cover.span.start.max(span.start)..cover.span.end.min(span.end);
        };
        self.clone().edit(|p| clip(&mut p.cover), |s| clip(&mut s.cover))
    }

    fn encode(&self, path: &Path, stamp: Stamp) {
        let mux = match self.container {
            Container::Mp4 => "mp4mux",
            Container::Mkv => "matroskamux",
            Container::Ts => "mpegtsmux",
        };
        let mut text = format!("{mux} name=mux ! filesink name=out");
        if self.pictures.is_some() {
            text += &format!(" appsrc name=pictures ! {} ! queue max-size-time=0 ! mux.", self.video_encoder());
        }
        if self.sound.is_some() {
            text +=
                &format!(" appsrc name=sound ! audioconvert ! {} ! queue max-size-time=0 ! mux.", self.sound_encoder);
        }
        let bin = gst::parse::launch(&text).expect("recorder").downcast::<gst::Pipeline>().expect("a pipeline");
        bin.by_name("out").expect("sink").set_property("location", path.to_str().expect("UTF-8"));
        let source = |name| bin.by_name(name).and_downcast::<gst_app::AppSrc>();
        if let (Some(pictures), Some(src)) = (&self.pictures, source("pictures")) {
            pictures.feed(&src, stamp);
        }
        if let (Some(sound), Some(src)) = (&self.sound, source("sound")) {
            sound.feed(&src, stamp);
        }
        run_to_end(&bin);
    }
}

/// Rewrites the times of a Matroska file's clusters from `jump.at` on.
fn shift_clusters(bytes: &mut [u8], jump: Jump) {
    const CLUSTER: [u8; 4] = [0x1F, 0x43, 0xB6, 0x75];
    const TIME: u8 = 0xE7;
    let found: Vec<usize> = (0..bytes.len() - 24).filter(|at| bytes[*at..*at + 4] == CLUSTER).collect();
    for at in found {
        let size_length = bytes[at + 4].leading_zeros() as usize + 1;
        let (tag, length) = (at + 4 + size_length, usize::from(bytes[at + 5 + size_length] & 0x7F));
        if bytes[tag] != TIME || length == 0 || length > 8 {
            continue; // an index entry, not a cluster
        }
        let time = &mut bytes[tag + 2..tag + 2 + length];
        let millis = time.iter().fold(0i64, |millis, byte| millis << 8 | i64::from(*byte));
        if millis as f64 >= jump.at * 1e3 - 60.0 {
            let moved = (millis + (jump.by * 1e3) as i64).to_be_bytes();
            time.copy_from_slice(&moved[8 - length..]);
        }
    }
}

/// Writes "a quarter turn clockwise" into the header of an MP4's first track (ISO/IEC 14496-12, 8.3.2: `a b u c d v x y w`).
fn turn_back(mp4: &mut [u8]) {
    const MATRIX: usize = 4 + 4 + 5 * 4 + 8 + 4 * 2; // after the box's type
    let at = mp4.windows(4).position(|four| four == b"tkhd").expect("a track header") + MATRIX;
    let height = i32::from_be_bytes(mp4[at + 40..at + 44].try_into().expect("four bytes"));
    let one = 1 << 16;
    for (place, value) in [0, one, 0, -one, 0, 0, height, 0, 1 << 30].iter().enumerate() {
        mp4[at + 4 * place..][..4].copy_from_slice(&i32::to_be_bytes(*value));
    }
}

/// Plays a pipeline to its end.
///
/// # Panics
/// On its error, or after a minute.
pub fn run_to_end(pipeline: &gst::Pipeline) {
    pipeline.set_state(gst::State::Playing).expect("pipeline starts");
    let bus = pipeline.bus().expect("bus");
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds);
    pipeline.set_state(gst::State::Null).expect("pipeline stops");
    match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => (),
        Some(gst::MessageView::Error(error)) => panic!("pipeline: {} ({:?})", error.error(), error.debug()),
        _ => panic!("pipeline did not end within a minute"),
    }
}

/// Where made things are kept: `target/tmp`, which an example has none of.
pub fn store() -> PathBuf {
    option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// The file `make` writes for `recipe`, from the store if it is there. Concurrent calls for one recipe make it once.
fn kept(recipe: &impl Debug, extension: &str, make: impl FnOnce(&Path)) -> PathBuf {
    static MADE: LazyLock<Mutex<HashMap<u64, Arc<Mutex<()>>>>> = LazyLock::new(Mutex::default);
    gst::init().expect("GStreamer");
    let mut hasher = DefaultHasher::new();
    let kit = [include_str!("codes.rs"), include_str!("tones.rs"), include_str!("feed.rs"), include_str!("media.rs")];
    (kit, format!("{recipe:?}"), extension).hash(&mut hasher);
    let key = hasher.finish();
    let lock = Arc::clone(MADE.lock().expect("no recipe panicked").entry(key).or_default());
    let _making = lock.lock().expect("this recipe failed before");
    let store = store().join("planted");
    let path = store.join(format!("{key:016x}.{extension}"));
    if !path.exists() {
        std::fs::create_dir_all(&store).expect("target/tmp is writable");
        let part = store.join(format!("{key:016x}.{}.part", std::process::id()));
        make(&part);
        std::fs::rename(&part, &path).expect("target/tmp is writable");
    }
    path
}

/// A copy of `path` cut off after `share` (0 to 1) of its bytes.
pub fn truncated(path: &Path, share: f64) -> PathBuf {
    kept(&("truncated", path, share), "mp4", |to| {
        let bytes = std::fs::read(path).expect("recording");
        std::fs::write(to, &bytes[..(bytes.len() as f64 * share) as usize]).expect("target/tmp is writable");
    })
}

/// A file of no bytes, named `.mp4`.
pub fn empty_file() -> PathBuf {
    kept(&"empty", "mp4", |to| std::fs::write(to, b"").expect("target/tmp is writable"))
}

/// A file of prose, named `.mp4`.
pub fn not_media() -> PathBuf {
    kept(&"prose", "mp4", |to| {
        std::fs::write(to, "This is not a recording, whatever its name says.\n".repeat(200))
            .expect("target/tmp is writable");
    })
}

/// A sound container with neither pictures nor sound: an MP4 of one text track.
pub fn only_text() -> PathBuf {
    kept(&"text", "mp4", |to| {
        let text = "appsrc name=text format=time caps=text/x-raw,format=utf8 ! mux.subtitle_0 mp4mux name=mux ! filesink name=out";
        let bin = gst::parse::launch(text).expect("recorder").downcast::<gst::Pipeline>().expect("a pipeline");
        bin.by_name("out").expect("sink").set_property("location", to.to_str().expect("UTF-8"));
        let src = bin.by_name("text").and_downcast::<gst_app::AppSrc>().expect("appsrc");
        for second in 0..8 {
            let mut line = gst::Buffer::from_slice(format!("line {second}"));
            let line_mut = line.get_mut().expect("new");
            line_mut.set_pts(gst::ClockTime::from_seconds(second));
            line_mut.set_duration(gst::ClockTime::SECOND);
            src.push_buffer(line).expect("room");
        }
        src.end_of_stream().expect("end");
        run_to_end(&bin);
    })
}

#[cfg(test)]
#[path = "media_tests.rs"]
mod tests;
