//! Held JPEGs to another size or to H.264, for judges and settings that want one.

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;

use super::EncodeError;
use crate::config::ClipCodec;
use crate::window::Still;

/// How long one window may take before the encoder counts as broken.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(20);

/// Encodes the pictures at `width` x `height`; for H.264 returns the avcC record too.
pub(super) fn run(
    stills: &[Still],
    width: u32,
    height: u32,
    codec: ClipCodec,
) -> Result<(Vec<Bytes>, Option<Bytes>), EncodeError> {
    let failed = |what: &str| EncodeError::Transcode(what.to_owned());
    let tail = match codec {
        ClipCodec::Jpeg => "jpegenc quality=90".to_owned(),
        // Zero latency: without it x264 at 2 fps waits for pictures that never come. The pictures stay full-range, as in the
        // JPEGs, and the stream says so: GStreamer 1.22 does not convert where only the range differs.
        ClipCodec::H264 => format!(
            "videoconvert ! video/x-raw,format=I420,colorimetry=1:4:0:0 \
             ! x264enc tune=zerolatency speed-preset=veryfast pass=qual quantizer=18 key-int-max={} threads=1 \
             ! h264parse ! video/x-h264,stream-format=avc,alignment=au",
            stills.len().max(1)
        ),
    };
    let pipeline = super::parse(&format!(
        "appsrc name=in format=time caps=image/jpeg,framerate=2/1 ! jpegdec ! videoscale add-borders=false \
         ! video/x-raw,width={width},height={height},pixel-aspect-ratio=1/1 ! {tail} ! appsink name=out sync=false max-buffers=0"
    ))?;
    let stop = Stop(&pipeline);
    let input = pipeline.by_name("in").and_downcast::<app::AppSrc>().ok_or(EncodeError::Pipeline)?;
    let output = pipeline.by_name("out").and_downcast::<app::AppSink>().ok_or(EncodeError::Pipeline)?;
    pipeline.set_state(gst::State::Playing).map_err(|_| EncodeError::Pipeline)?;
    for (n, still) in (0u64..).zip(stills) {
        let mut payload = gst::Buffer::from_slice(still.jpeg.clone());
        if let Some(payload) = payload.get_mut() {
            payload.set_pts(gst::ClockTime::from_mseconds(500 * n));
            payload.set_duration(gst::ClockTime::from_mseconds(500));
        }
        input.push_buffer(payload).map_err(|_| failed("a picture was refused"))?;
    }
    input.end_of_stream().map_err(|_| failed("the end was refused"))?;
    let (mut pictures, mut parameters) = (Vec::with_capacity(stills.len()), None);
    for _ in stills {
        let Some(encoded) = output.try_pull_sample(PATIENCE) else { return Err(failed("a picture is missing")) };
        parameters = parameters.or_else(|| codec_data(&encoded));
        let bytes = encoded
            .buffer_owned()
            .and_then(|b| b.into_mapped_buffer_readable().ok())
            .ok_or_else(|| failed("unreadable"))?;
        pictures.push(Bytes::copy_from_slice(&bytes));
    }
    drop(stop);
    Ok((pictures, parameters))
}

fn codec_data(encoded: &gst::Sample) -> Option<Bytes> {
    let data = encoded.caps()?.structure(0)?.get::<gst::Buffer>("codec_data").ok()?;
    let data = data.into_mapped_buffer_readable().ok()?;
    Some(Bytes::copy_from_slice(&data))
}

struct Stop<'a>(&'a gst::Pipeline);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::StillEncoder;
    use crate::source::{Image, Matrix};
    use crate::time::MediaTime;

    /// A flat picture of this luma, full range.
    fn flat(luma: u8) -> Image {
        let mut data = vec![luma; 64 * 48];
        data.extend(vec![128; 2 * 32 * 24]);
        let (strides, offsets) = ([64, 32, 32], [0, 64 * 48, 64 * 48 + 32 * 24]);
        Image { data: data.into(), width: 64, height: 48, strides, offsets, matrix: Matrix::Bt601, full_range: true }
    }

    /// Luma of the first picture of an MP4 as a player sees it, brought to full range by what the stream says of itself.
    fn luma_of(mp4: &Bytes) -> f64 {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), mp4).unwrap();
        let pipeline = crate::encode::parse(
            "filesrc name=in ! qtdemux ! h264parse ! avdec_h264 ! video/x-raw,format=I420 ! appsink name=out sync=false",
        )
        .unwrap();
        pipeline.by_name("in").unwrap().set_property("location", file.path().to_str().unwrap());
        let stop = Stop(&pipeline);
        let output = pipeline.by_name("out").and_downcast::<app::AppSink>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let decoded = output.try_pull_sample(PATIENCE).unwrap();
        let info = gstreamer_video::VideoInfo::from_caps(decoded.caps().unwrap()).unwrap();
        let first = f64::from(decoded.buffer().unwrap().map_readable().unwrap()[10 * 64 + 10]);
        drop(stop);
        let full = info.colorimetry().range() == gstreamer_video::VideoColorRange::Range0_255;
        if full { first } else { (first - 16.0) * 255.0 / 219.0 }
    }

    #[test]
    fn h264_shows_the_same_light_as_the_held_jpeg() {
        for luma in [20u8, 128, 235] {
            let still = StillEncoder::new(1_000_000, 90).unwrap().encode(MediaTime::ZERO, &flat(luma)).unwrap();
            let (pictures, avcc) = run(&[still.clone(), still], 64, 48, ClipCodec::H264).unwrap();
            let mp4 = crate::encode::mp4::write(&crate::encode::mp4::Track::H264(avcc.unwrap()), 64, 48, &pictures);
            let seen = luma_of(&mp4);
            assert!((seen - f64::from(luma)).abs() < 3.0, "{luma} is seen as {seen}");
        }
    }
}
