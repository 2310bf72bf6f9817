//! What a recording or a stream holds: every picture with its code and time, every stretch of sound with its time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::codes::{self, FrameCode, Luma};

/// After so long without a stream, a file is taken to have none.
const NO_STREAMS: Duration = Duration::from_secs(5);

/// Longest a file may take to decode.
const LIMIT: Duration = Duration::from_mins(1);

/// One decoded picture.
#[derive(Clone, Debug)]
pub struct SeenPicture {
    /// Running time, seconds.
    pub secs: f64,
    /// Pixels a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Its code, when it has a valid one.
    pub code: Option<FrameCode>,
}

/// One decoded stretch of 16 kHz mono sound.
#[derive(Clone, Debug)]
pub struct SeenSound {
    /// Running time of the first sample, seconds.
    pub secs: f64,
    /// Its samples.
    pub samples: Vec<i16>,
}

/// Everything decoded.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Pictures in order of arrival.
    pub pictures: Vec<SeenPicture>,
    /// Sound in order of arrival.
    pub sound: Vec<SeenSound>,
    /// Whether the end of the stream was reached.
    pub ended: bool,
}

impl Seen {
    /// Frame numbers read, in order; `None` for a picture without a valid code.
    pub fn frames(&self) -> Vec<Option<u32>> {
        self.pictures.iter().map(|picture| picture.code.map(|code| code.frame)).collect()
    }

    /// The sound placed by its times from running time 0, silence where there is none. At most an hour.
    pub fn placed(&self) -> Vec<i16> {
        let mut placed = Vec::new();
        for block in &self.sound {
            let at = (block.secs * 16_000.0).round() as usize;
            assert!(at < 3600 * 16_000, "sound at {} s", block.secs);
            placed.resize(placed.len().max(at + block.samples.len()), 0);
            placed[at..at + block.samples.len()].copy_from_slice(&block.samples);
        }
        placed
    }

    /// The sound one after the other, times ignored.
    pub fn joined(&self) -> Vec<i16> {
        self.sound.iter().flat_map(|block| block.samples.iter().copied()).collect()
    }
}

/// Decodes a file to its end.
///
/// # Errors
/// GStreamer's message, when it cannot.
pub fn file(path: &Path) -> Result<Seen, String> {
    let path = path.canonicalize().map_err(|error| error.to_string())?;
    uri(url::Url::from_file_path(path).map_err(|()| "not a path")?.as_str(), LIMIT, |_| false)
}

/// Plays `uri` until its end, until `enough`, or until `limit`. RTSP goes over TCP.
///
/// # Errors
/// GStreamer's message, when it cannot; "time is up" at the limit.
pub fn uri(uri: &str, limit: Duration, enough: impl Fn(&Seen) -> bool) -> Result<Seen, String> {
    gst::init().map_err(|error| error.to_string())?;
    let pipeline = gst::Pipeline::new();
    let decoder = gst::ElementFactory::make("uridecodebin").property("uri", uri).build().map_err(|e| e.to_string())?;
    decoder.connect("source-setup", false, |args| {
        let source = args.get(1)?.get::<gst::Element>().ok()?;
        if source.factory()?.name() == "rtspsrc" {
            source.set_property_from_str("protocols", "tcp");
            source.set_property("latency", 200u32);
            // Times as the camera gave them; every other mode bends them by the network's first seconds.
            source.set_property_from_str("buffer-mode", "none");
        }
        None
    });
    pipeline.add(&decoder).map_err(|error| error.to_string())?;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let (weak, for_pads) = (pipeline.downgrade(), Arc::clone(&seen));
    decoder.connect_pad_added(move |_, pad| {
        if let Some(pipeline) = weak.upgrade() {
            attach(&pipeline, pad, &for_pads);
        }
    });
    let bus = pipeline.bus().ok_or("no bus")?;
    let _ = pipeline.set_state(gst::State::Playing); // a failure is on the bus
    let started = Instant::now();
    let step = Duration::from_millis(20);
    let result = loop {
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let message = bus.timed_pop_filtered(gst::ClockTime::from_nseconds(step.as_nanos() as u64), &kinds);
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => break Err(format!("{} ({:?})", error.error(), error.debug())),
            Some(_) => break Ok(true),
            None if enough(&seen.lock().expect("decoder")) => break Ok(false),
            None if started.elapsed() > limit => {
                let seen = seen.lock().expect("decoder");
                break Err(format!(
                    "time is up with {} pictures, {} blocks of sound",
                    seen.pictures.len(),
                    seen.sound.len()
                ));
            }
            // decodebin drops an error its demuxer posts while being activated: about one truncated MP4 in ten.
            None if uri.starts_with("file:") && decoder.num_src_pads() == 0 && started.elapsed() > NO_STREAMS => {
                break Err("no streams appeared".into());
            }
            None => (),
        }
    };
    let _ = pipeline.set_state(gst::State::Null);
    let mut seen = std::mem::take(&mut *seen.lock().map_err(|error| error.to_string())?);
    seen.ended = result?;
    Ok(seen)
}

/// Puts converter and appsink behind a decoded pad.
fn attach(pipeline: &gst::Pipeline, pad: &gst::Pad, seen: &Arc<Mutex<Seen>>) {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let kind = caps.structure(0).map(|s| s.name().to_string()).unwrap_or_default();
    let text = match kind.as_str() {
        "video/x-raw" => "queue ! videoconvert ! appsink name=sink sync=false caps=video/x-raw,format=I420",
        "audio/x-raw" => {
            "queue ! audioconvert ! audioresample ! appsink name=sink sync=false \
             caps=audio/x-raw,format=S16LE,rate=16000,channels=1,layout=interleaved"
        }
        _ => "fakesink",
    };
    let bin = gst::parse::bin_from_description(text, true).expect("branch");
    pipeline.add(&bin).expect("branch");
    if let Some(sink) = bin.by_name("sink").and_downcast::<gst_app::AppSink>() {
        let seen = Arc::clone(seen);
        let keep = move |sink: &gst_app::AppSink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            let mut seen = seen.lock().map_err(|_| gst::FlowError::Error)?;
            keep(&sample, &mut seen).ok_or(gst::FlowError::Error).map(|()| gst::FlowSuccess::Ok)
        };
        sink.set_callbacks(gst_app::AppSinkCallbacks::builder().new_sample(keep).build());
    }
    bin.sync_state_with_parent().expect("branch starts");
    let _ = pad.link(&bin.static_pad("sink").expect("branch has a sink"));
}

fn keep(sample: &gst::Sample, seen: &mut Seen) -> Option<()> {
    let buffer = sample.buffer()?;
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let secs = segment.to_running_time_full(buffer.pts()?)?.nseconds_signed() as f64 / 1e9;
    let map = buffer.map_readable().ok()?;
    if let Ok(info) = gstreamer_video::VideoInfo::from_caps(sample.caps()?) {
        let (width, height) = (info.width() as usize, info.height() as usize);
        let stride = usize::try_from(info.stride()[0]).ok()?;
        let code = codes::read(Luma { data: &map, stride, width, height });
        seen.pictures.push(SeenPicture { secs, width, height, code });
    } else {
        let samples = map.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        seen.sound.push(SeenSound { secs, samples });
    }
    Some(())
}

trait Signed {
    fn nseconds_signed(self) -> i64;
}

impl Signed for gst::Signed<gst::ClockTime> {
    fn nseconds_signed(self) -> i64 {
        match self {
            gst::Signed::Positive(time) => time.nseconds() as i64,
            gst::Signed::Negative(time) => -(time.nseconds() as i64),
        }
    }
}

/// How a container holds its video: what a judge's loader would see before decoding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Track {
    /// Media type, `video/x-h264` or `image/jpeg`.
    pub codec: String,
    /// Coded size.
    pub size: (i32, i32),
    /// Presentation time and duration of each coded picture, seconds.
    pub pictures: Vec<(f64, f64)>,
}

impl Track {
    /// Pictures over the time from the first to the end of the last.
    pub fn fps(&self) -> f64 {
        let spans: BTreeMap<i64, f64> = self.pictures.iter().map(|(at, d)| ((at * 1e9) as i64, *d)).collect();
        let (Some(first), Some(last)) = (spans.first_key_value(), spans.last_key_value()) else { return 0.0 };
        self.pictures.len() as f64 / ((last.0 - first.0) as f64 / 1e9 + last.1)
    }
}

/// Reads the video track of an MP4 without decoding it.
///
/// # Errors
/// GStreamer's message, when it is not an MP4 with video.
pub fn mp4_track(path: &Path) -> Result<Track, String> {
    gst::init().map_err(|error| error.to_string())?;
    let text = "filesrc name=in ! qtdemux name=d d.video_0 ! queue ! appsink name=sink sync=false";
    let bin =
        gst::parse::launch(text).map_err(|e| e.to_string())?.downcast::<gst::Pipeline>().map_err(|_| "pipeline")?;
    bin.by_name("in").ok_or("in")?.set_property("location", path.to_str().ok_or("UTF-8")?);
    let sink = bin.by_name("sink").and_downcast::<gst_app::AppSink>().ok_or("sink")?;
    let _ = bin.set_state(gst::State::Playing);
    let bus = bin.bus().ok_or("no bus")?;
    let mut track = Track::default();
    let mut waited = 0;
    let result = loop {
        if let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_mseconds(20)) {
            let caps = sample.caps().and_then(|caps| caps.structure(0));
            if let (Some(caps), Some(buffer)) = (caps, sample.buffer()) {
                track.codec = caps.name().to_string();
                track.size = (caps.get("width").unwrap_or(0), caps.get("height").unwrap_or(0));
                let secs = |time: Option<gst::ClockTime>| time.map_or(f64::NAN, |t| t.nseconds() as f64 / 1e9);
                track.pictures.push((secs(buffer.pts()), secs(buffer.duration())));
            }
        } else if sink.is_eos() {
            break Ok(());
        } else if let Some(gst::MessageView::Error(error)) =
            bus.pop_filtered(&[gst::MessageType::Error]).as_ref().map(|m| m.view())
        {
            break Err(error.error().to_string());
        } else {
            waited += 1;
            if waited > 500 {
                break Err("time is up".into());
            }
        }
    };
    let _ = bin.set_state(gst::State::Null);
    result.map(|()| track)
}
