//! A picture that was picked becomes the JPEG that is held, and that the clip is made of.

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;

use super::colour::to_jfif;
use super::{EncodeError, fit};
use crate::source::Image;
use crate::time::MediaTime;
use crate::window::Still;

/// How long one picture may take before the encoder counts as broken.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// Encodes pictures one after another; one per source, in its cutting thread.
pub struct StillEncoder {
    max_pixels: u32,
    pipeline: gst::Pipeline,
    input: app::AppSrc,
    output: app::AppSink,
    size: gst::Element,
    /// What the pipeline is set up for: incoming and outgoing size.
    shape: Option<[u32; 4]>,
}

impl StillEncoder {
    /// JPEGs of `quality` (1 to 100) and at most `max_pixels`.
    ///
    /// # Errors
    /// A GStreamer element is missing or does not start; the message names it.
    pub fn new(max_pixels: u32, quality: u8) -> Result<Self, EncodeError> {
        let pipeline = super::parse(&format!(
            "appsrc name=in format=time ! videoscale name=scale add-borders=false ! capsfilter name=size \
             ! jpegenc name=jpeg quality={quality} ! appsink name=out sync=false"
        ))?;
        let element = |name: &str| pipeline.by_name(name).ok_or(EncodeError::Pipeline);
        let input = element("in")?.downcast::<app::AppSrc>().map_err(|_| EncodeError::Pipeline)?;
        let output = element("out")?.downcast::<app::AppSink>().map_err(|_| EncodeError::Pipeline)?;
        let size = element("size")?;
        pipeline.set_state(gst::State::Playing).map_err(|_| EncodeError::Pipeline)?;
        Ok(Self { max_pixels, pipeline, input, output, size, shape: None })
    }

    /// Encodes one picture, keeping its shape, in even sizes.
    ///
    /// # Errors
    /// The picture has no area, or the encoder refused it.
    pub fn encode(&mut self, time: MediaTime, image: &Image) -> Result<Still, EncodeError> {
        let (width, height) = fit(image.width, image.height, self.max_pixels).ok_or(EncodeError::Empty)?;
        let shape = [image.width, image.height, width, height];
        if self.shape != Some(shape) {
            let caps = |w: u32, h: u32| -> Result<gst::Caps, EncodeError> {
                Ok(gst::Caps::builder("video/x-raw")
                    .field("format", "I420")
                    .field("width", i32::try_from(w).map_err(|_| EncodeError::Empty)?)
                    .field("height", i32::try_from(h).map_err(|_| EncodeError::Empty)?)
                    .field("framerate", gst::Fraction::new(0, 1))
                    .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
                    .field("colorimetry", "1:4:0:0")
                    .build())
            };
            self.size.set_property("caps", caps(width, height)?);
            self.input.set_caps(Some(&caps(image.width, image.height)?));
            self.shape = Some(shape);
        }
        let planes = pad_rows(to_jfif(image), image.width as usize, image.height as usize);
        let mut payload = gst::Buffer::from_mut_slice(planes);
        if let Some(payload) = payload.get_mut() {
            payload.set_pts(gst::ClockTime::ZERO);
        }
        self.input.push_buffer(payload).map_err(|_| EncodeError::Jpeg)?;
        let jpeg = self.output.try_pull_sample(PATIENCE).ok_or(EncodeError::Jpeg)?;
        let jpeg = jpeg.buffer_owned().and_then(|b| b.into_mapped_buffer_readable().ok()).ok_or(EncodeError::Jpeg)?;
        Ok(Still { time, width, height, jpeg: Bytes::copy_from_slice(&jpeg) })
    }
}

/// GStreamer's I420 has rows of a multiple of four bytes (`GST_ROUND_UP_4`), and even planes; most pictures do already.
fn pad_rows(planes: Vec<u8>, width: usize, height: usize) -> Vec<u8> {
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    if width.is_multiple_of(8) && height.is_multiple_of(2) {
        return planes;
    }
    let round4 = |n: usize| n.next_multiple_of(4);
    let chroma_stride = round4(half_width);
    let mut out = Vec::with_capacity(round4(width) * (height + 1) + 2 * chroma_stride * half_height);
    let mut copy = |from: &[u8], row: usize, stride: usize, rows: usize| {
        for line in from.chunks_exact(row) {
            out.extend_from_slice(line);
            out.resize(out.len() + stride - row, 128);
        }
        out.resize(out.len() + stride * (rows - from.len() / row), 128);
    };
    let (luma, chroma) = planes.split_at(width * height);
    let (blue, red) = chroma.split_at(half_width * half_height);
    copy(luma, width, round4(width), height.next_multiple_of(2));
    copy(blue, half_width, chroma_stride, half_height);
    copy(red, half_width, chroma_stride, half_height);
    out
}

impl Drop for StillEncoder {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
