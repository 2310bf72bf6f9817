//! The encoded media of a planted recording, unit by unit: what a browser's encoders would have made.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as gst_app;

use super::media::{Container, Recipe};

/// How pictures are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Constrained Baseline, a key frame each second.
    H264,
    /// A key frame each second.
    Vp8,
}

impl Coding {
    /// The recording of `recipe` in this, with Opus, as a Matroska file.
    pub fn make(self, recipe: Recipe) -> PathBuf {
        let encoder = match self {
            Self::H264 => {
                "x264enc speed-preset=veryfast pass=quant quantizer=23 threads=1 key-int-max=25 bframes=0 \
                 ! video/x-h264,profile=constrained-baseline ! h264parse"
            }
            Self::Vp8 => "vp8enc deadline=1 cpu-used=8 target-bitrate=1000000 keyframe-max-dist=25 threads=1",
        };
        let opus = "audioresample ! opusenc bitrate=64000 frame-size=20";
        recipe.encoded_by(encoder).sound_encoded_by(opus).container(Container::Mkv).make()
    }
}

/// One encoded picture, or one packet of sound.
#[derive(Clone)]
pub struct Unit {
    /// A picture, not sound.
    pub video: bool,
    /// When it is shown or begins to sound.
    pub time: Duration,
    /// H.264 in Annex B with parameter sets before each key frame; VP8; Opus.
    pub data: Bytes,
}

/// All units of a recording made by [`Coding::make`], by time, from its first on.
pub fn units(path: &Path, coding: Coding) -> Vec<Unit> {
    gst::init().expect("GStreamer");
    let parse = match coding {
        Coding::H264 => "h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au",
        Coding::Vp8 => "video/x-vp8",
    };
    let text = format!(
        "filesrc name=in ! matroskademux name=d \
         d.video_0 ! queue max-size-time=0 max-size-bytes=0 max-size-buffers=0 ! {parse} ! appsink name=video sync=false \
         d.audio_0 ! queue max-size-time=0 max-size-bytes=0 max-size-buffers=0 ! appsink name=audio sync=false"
    );
    let pipeline = gst::parse::launch(&text).expect("demuxer").downcast::<gst::Pipeline>().expect("a pipeline");
    pipeline.by_name("in").expect("in").set_property("location", path.to_str().expect("UTF-8"));
    pipeline.set_state(gst::State::Playing).expect("plays");
    let mut units = Vec::new();
    for name in ["video", "audio"] {
        let sink = pipeline.by_name(name).and_downcast::<gst_app::AppSink>().expect("appsink");
        while let Ok(pulled) = sink.pull_sample() {
            let data = pulled.buffer_owned().expect("data");
            let segment = pulled.segment().and_then(|s| s.downcast_ref::<gst::ClockTime>()).cloned().expect("segment");
            let time = segment.to_running_time(data.pts().expect("a time"));
            let time = Duration::from_nanos(time.map_or(0, gst::ClockTime::nseconds));
            let data = Bytes::copy_from_slice(&data.map_readable().expect("readable"));
            units.push(Unit { video: name == "video", time, data });
        }
    }
    pipeline.set_state(gst::State::Null).expect("stops");
    units.sort_by_key(|unit| (unit.time, !unit.video));
    units
}
