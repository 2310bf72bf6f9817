//! A clip of training data: every picture of a span as H.264, its sound as AAC, in an MP4 file.
//!
//! x264 with crf 18 and preset veryfast, as the published preparation, but encoded once. One thread an encoder, since several
//! clips are made at once. The bytes are not the same each time: x264's macroblock tree, which the preset has, reads memory
//! that nobody wrote (164 r3095), and the file holds the time of day.

use std::path::{Path, PathBuf};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use gstreamer_video as video;

use super::EncodeError;
use crate::source::{Image, Matrix};
use crate::time::{MediaTime, monotonic};

/// How long one picture, or the end, may take before the encoder counts as broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// Raw pictures that may wait for the encoder.
const WAITING: u64 = 6;

/// Writes one clip. Dropped before its end, it leaves no whole file; whoever gave the path removes it.
pub struct MovieWriter {
    file: PathBuf,
    pipeline: Option<Running>,
    /// The newest picture: how long it is shown is known with the next.
    held: Option<(MediaTime, Image)>,
    pictures: u32,
}

struct Running {
    pipeline: gst::Pipeline,
    bus: gst::Bus,
    video: app::AppSrc,
    audio: app::AppSrc,
    picture_bytes: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

impl MovieWriter {
    /// A clip to be written to `file`, which is replaced.
    #[must_use]
    pub fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), pipeline: None, held: None, pictures: 0 }
    }

    /// Pictures taken so far.
    #[must_use]
    pub const fn pictures(&self) -> u32 {
        self.pictures
    }

    /// Takes a picture that is shown from `time` of the clip on; times only grow. Waits for the encoder when it is behind.
    ///
    /// # Errors
    /// The encoder does not start or refuses it, or the file cannot be written.
    pub fn picture(&mut self, time: MediaTime, image: Image) -> Result<(), EncodeError> {
        self.pictures += 1;
        if let Some((before, image)) = self.held.take() {
            self.push(before, time - before, &image)?;
        }
        self.held = Some((time, image));
        Ok(())
    }

    /// Shows the newest picture once more from `time` on.
    ///
    /// # Errors
    /// As [`MovieWriter::picture`]; there was none.
    pub fn again(&mut self, time: MediaTime) -> Result<(), EncodeError> {
        let (_, image) = self.held.as_ref().ok_or(EncodeError::Empty)?;
        let image = image.clone();
        self.picture(time, image)
    }

    /// Ends the clip: its last picture is shown until `end`, its sound is this 16 kHz mono. The file is whole afterwards.
    ///
    /// # Errors
    /// There was no picture, the encoder fails, or the file cannot be written.
    pub fn finish(mut self, end: MediaTime, sound: &[i16]) -> Result<(), EncodeError> {
        let (time, image) = self.held.take().ok_or(EncodeError::Empty)?;
        self.push(time, (end - time).max(MediaTime::from_millis(1)), &image)?;
        let Some(running) = &self.pipeline else { return Err(EncodeError::Pipeline) };
        let bytes: Vec<u8> = sound.iter().flat_map(|value| value.to_le_bytes()).collect();
        if !bytes.is_empty() {
            let length = i64::try_from(sound.len()).unwrap_or(0) * 62_500;
            let block = payload(gst::Buffer::from_mut_slice(bytes), MediaTime::ZERO, MediaTime::from_nanos(length));
            running.audio.push_buffer(block).map_err(|_| running.failure("the sound was refused"))?;
        }
        let ended = running.video.end_of_stream().and_then(|_| running.audio.end_of_stream());
        ended.map_err(|_| running.failure("the end was refused"))?;
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let patience = gst::ClockTime::from_nseconds(u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX));
        match running.bus.timed_pop_filtered(patience, &kinds).as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Eos(_)) => {}
            Some(gst::MessageView::Error(error)) => return Err(self.failed(error)),
            _ => return Err(EncodeError::Movie { file: self.shown(), reason: "the encoder did not end".into() }),
        }
        self.pipeline = None;
        Ok(())
    }

    fn shown(&self) -> String {
        self.file.display().to_string()
    }

    fn failed(&self, error: &gst::message::Error) -> EncodeError {
        EncodeError::Movie { file: self.shown(), reason: error.error().message().to_owned() }
    }

    fn push(&mut self, time: MediaTime, length: MediaTime, image: &Image) -> Result<(), EncodeError> {
        let file = self.shown();
        let running = match &mut self.pipeline {
            Some(running) => running,
            empty => empty.insert(start(&self.file, image, length)?),
        };
        let picture = shared(image).ok_or(EncodeError::Empty)?;
        running.picture_bytes = picture.size() as u64;
        let began = monotonic();
        while running.video.current_level_bytes() > WAITING * running.picture_bytes {
            let waited = running.bus.timed_pop_filtered(gst::ClockTime::from_mseconds(3), &[gst::MessageType::Error]);
            if let Some(gst::MessageView::Error(error)) = waited.as_ref().map(|m| m.view()) {
                return Err(EncodeError::Movie { file, reason: error.error().message().to_owned() });
            }
            if began.elapsed() > PATIENCE {
                return Err(EncodeError::Movie { file, reason: "the encoder does not go on".into() });
            }
        }
        running
            .video
            .push_buffer(payload(picture, time, length))
            .map(drop)
            .map_err(|_| running.failure("a picture was refused"))
    }
}

impl Running {
    /// Why something was refused: the pipeline's own reason, if it gave one.
    fn failure(&self, otherwise: &str) -> EncodeError {
        let message = self.bus.pop_filtered(&[gst::MessageType::Error]);
        let reason = match message.as_ref().map(|m| m.view()) {
            Some(gst::MessageView::Error(error)) => error.error().message().to_owned(),
            _ => otherwise.to_owned(),
        };
        EncodeError::Movie { file: "a clip".into(), reason }
    }
}

fn payload(mut data: gst::Buffer, time: MediaTime, length: MediaTime) -> gst::Buffer {
    let clock = |t: MediaTime| gst::ClockTime::from_nseconds(u64::try_from(t.as_nanos()).unwrap_or(0));
    if let Some(data) = data.get_mut() {
        data.set_pts(clock(time));
        data.set_duration(clock(length));
    }
    data
}

/// The pipeline, as the first picture and how long it is shown ask for it.
fn start(file: &Path, image: &Image, period: MediaTime) -> Result<Running, EncodeError> {
    // x264 takes even sizes only.
    let (width, height) = (image.width / 2 * 2, image.height / 2 * 2);
    if width == 0 || height == 0 {
        return Err(EncodeError::Empty);
    }
    let scale = if (width, height) == (image.width, image.height) {
        String::new()
    } else {
        format!("! videoscale add-borders=false ! video/x-raw,width={width},height={height}")
    };
    // pass=qual is x264's crf; without a buffer size its default bit rate is no limit. The sound is brought to 48 kHz, where
    // the AAC encoder's delay (which GStreamer's muxer does not tell) is 21 ms rather than 64.
    let pipeline = super::parse(&format!(
        "appsrc name=video format=time max-bytes=0 {scale} \
         ! x264enc speed-preset=veryfast pass=qual quantizer=18 vbv-buf-capacity=0 threads=1 \
         ! h264parse ! queue max-size-buffers=0 max-size-bytes=0 max-size-time=0 ! mux. \
         appsrc name=audio format=time max-bytes=0 ! audioconvert ! audioresample \
         ! audio/x-raw,rate=48000,channels=1 ! avenc_aac bitrate=128000 ! aacparse \
         ! queue max-size-buffers=0 max-size-bytes=0 max-size-time=0 ! mux. \
         mp4mux name=mux ! filesink name=file"
    ))?;
    let bus = pipeline.bus().ok_or(EncodeError::Pipeline)?;
    let source = |name: &str| pipeline.by_name(name).and_downcast::<app::AppSrc>().ok_or(EncodeError::Pipeline);
    let (video, audio) = (source("video")?, source("audio")?);
    let number = |n: u32| i32::try_from(n).map_err(|_| EncodeError::Empty);
    let colours = match (image.matrix, image.full_range) {
        (Matrix::Bt709, false) => "bt709",
        (Matrix::Bt709, true) => "1:3:0:1",
        (Matrix::Bt601, false) => "bt601",
        (Matrix::Bt601, true) => "1:4:0:0",
        (Matrix::Bt2020, false) => "bt2020",
        (Matrix::Bt2020, true) => "1:6:0:7",
    };
    let (frames, secs) = rate(period);
    let pictures = gst::Caps::builder("video/x-raw")
        .field("format", "I420")
        .field("width", number(image.width)?)
        .field("height", number(image.height)?)
        .field("framerate", gst::Fraction::new(frames, secs))
        .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
        .field("colorimetry", colours)
        .build();
    video.set_caps(Some(&pictures));
    let sound = gst::Caps::builder("audio/x-raw")
        .field("format", "S16LE")
        .field("layout", "interleaved")
        .field("rate", 16_000i32)
        .field("channels", 1i32)
        .build();
    audio.set_caps(Some(&sound));
    let sink = pipeline.by_name("file").ok_or(EncodeError::Pipeline)?;
    sink.set_property("location", file.to_string_lossy().as_ref());
    let running = Running { pipeline, bus, video, audio, picture_bytes: 1 };
    if running.pipeline.set_state(gst::State::Playing).is_err() {
        return Err(running.failure("the encoder did not start"));
    }
    Ok(running)
}

/// The usual rate that is nearest to a frame period, as a fraction: what the file says of itself; the pictures keep their times.
fn rate(period: MediaTime) -> (i32, i32) {
    const USUAL: [(i32, i32); 10] =
        [(10, 1), (12, 1), (15, 1), (20, 1), (24_000, 1001), (24, 1), (25, 1), (30_000, 1001), (30, 1), (60, 1)];
    let secs = period.as_secs_f64().max(1e-3);
    let off = |(n, d): (i32, i32)| (f64::from(n) / f64::from(d) * secs).ln().abs();
    USUAL.into_iter().min_by(|a, b| off(*a).total_cmp(&off(*b))).unwrap_or((25, 1))
}

/// The picture for GStreamer, where its planes lie; nothing is copied. None: it has no area, or its planes are not whole.
fn shared(image: &Image) -> Option<gst::Buffer> {
    let (width, height) = (usize::try_from(image.width).ok()?, usize::try_from(image.height).ok()?);
    for (plane, half) in [(0, 1), (1, 2), (2, 2)] {
        let (width, last) = (width.div_ceil(half), height.div_ceil(half).checked_sub(1)?);
        if width == 0 || image.row(plane, last, width).len() != width {
            return None;
        }
    }
    let mut data = gst::Buffer::from_slice(image.data.clone());
    let [y, u, v] = image.strides.map(i32::try_from);
    let flags = video::VideoFrameFlags::empty();
    let (offsets, strides) = (&image.offsets, &[y.ok()?, u.ok()?, v.ok()?]);
    let format = video::VideoFormat::I420;
    video::VideoMeta::add_full(data.get_mut()?, flags, format, image.width, image.height, offsets, strides).ok()?;
    Some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(n: u8, width: u32, height: u32) -> Image {
        let (w, h) = (width as usize, height as usize);
        let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
        let mut data: Vec<u8> =
            (0..w * h).map(|i| u8::try_from((i / w + i % w + 3 * usize::from(n)) % 256).unwrap()).collect();
        data.extend(vec![128; 2 * cw * ch]);
        Image {
            data: data.into(),
            width,
            height,
            strides: [w, cw, cw],
            offsets: [0, w * h, w * h + cw * ch],
            matrix: Matrix::Bt601,
            full_range: false,
        }
    }

    fn write(file: &Path, width: u32, height: u32) -> Result<(), EncodeError> {
        let mut writer = MovieWriter::new(file);
        for n in 0..75u8 {
            writer.picture(MediaTime::from_millis(40 * i64::from(n)), picture(n, width, height))?;
        }
        assert_eq!(writer.pictures(), 75);
        writer.finish(MediaTime::from_millis(3000), &vec![77; 48_000])
    }

    #[test]
    fn a_clip_has_both_streams_and_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let (a, odd) = (dir.path().join("a b.mp4"), dir.path().join("odd.mp4"));
        write(&a, 64, 48).unwrap();
        write(&odd, 63, 47).unwrap();
        for file in [&a, &odd] {
            let probe = crate::source::probe(file).unwrap();
            assert!(probe.video && probe.audio);
            let length = probe.duration.unwrap();
            assert!((length - MediaTime::from_millis(3000)).abs() < MediaTime::from_millis(60), "{length}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_an_error_and_no_hang() {
        let error = write(Path::new("/dev/full"), 64, 48).unwrap_err().to_string();
        assert!(error.contains("/dev/full") || error.contains("clip"), "{error}");
        let error = write(Path::new("/no/such/folder/a.mp4"), 64, 48).unwrap_err().to_string();
        assert!(error.contains("/no/such/folder"), "{error}");
        assert!(matches!(MovieWriter::new(Path::new("x")).finish(MediaTime::ZERO, &[]), Err(EncodeError::Empty)));
    }

    #[test]
    fn rates_are_the_usual_ones() {
        assert_eq!(rate(MediaTime::from_nanos(33_366_667)), (30_000, 1001));
        assert_eq!(rate(MediaTime::from_nanos(33_333_333)), (30, 1));
        assert_eq!(rate(MediaTime::from_millis(40)), (25, 1));
    }
}
