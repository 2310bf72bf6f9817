//! Pictures and sound made on demand, pushed into a pipeline's `appsrc` elements.

use std::collections::BTreeMap;
use std::ops::Range;

use gstreamer as gst;
use gstreamer_app as gst_app;

use super::{codes, tones};

/// Rate the made sound has.
pub const MADE_RATE: u32 = 48_000;
/// Samples by which `avenc_aac ! mp4mux` delays sound; fed ahead by as much, so that planted media is in step.
pub const ENCODER_DELAY: u64 = 1024;
/// Length of the windows that marks are planted in.
pub const WINDOW_SECS: f64 = 5.0;

/// Which marks which five-second windows of the source carry.
pub type Marks = BTreeMap<u64, u8>;

/// A jump of timestamps: media from source time `at` on is stamped `by` seconds later (or, negative, earlier).
#[derive(Clone, Copy, Debug)]
pub struct Jump {
    /// Source time of the jump, seconds.
    pub at: f64,
    /// By how much, seconds.
    pub by: f64,
}

/// One stream of a source: which source seconds it covers, less its holes.
#[derive(Clone, Debug, Default)]
pub struct Cover {
    /// Seconds covered.
    pub span: Range<f64>,
    /// Seconds missing inside.
    pub holes: Vec<Range<f64>>,
}

impl Cover {
    fn has(&self, secs: f64) -> bool {
        const EPS: f64 = 1e-6;
        let inside = |r: &Range<f64>| secs >= r.start - EPS && secs < r.end - EPS;
        inside(&self.span) && !self.holes.iter().any(inside)
    }
}

/// Mark 0 where one of the spans is.
fn within(spans: &[Range<f64>], secs: f64) -> u8 {
    u8::from(spans.iter().any(|span| span.contains(&secs)))
}

/// How source time becomes a timestamp.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Source time that is stamped 0.
    pub origin: f64,
    /// A jump, if any.
    pub jump: Option<Jump>,
}

impl Stamp {
    fn nanos(self, secs: f64) -> gst::ClockTime {
        let jumped = self.jump.filter(|jump| secs >= jump.at - 1e-6).map_or(0.0, |jump| jump.by);
        gst::ClockTime::from_nseconds(((secs - self.origin + jumped) * 1e9).round().max(0.0) as u64)
    }
}

/// What the pictures are.
#[derive(Clone, Debug)]
pub struct Pictures {
    /// Pixels a row, even.
    pub width: u32,
    /// Rows, even.
    pub height: u32,
    /// Frames a second, as a fraction.
    pub fps: (u32, u32),
    /// Seconds covered.
    pub cover: Cover,
    /// Marks by window.
    pub marks: Marks,
    /// Seconds that carry mark 0 besides.
    pub spans: Vec<Range<f64>>,
    /// Which of so many frames in a row are there, over and over: a variable rate. Empty: all.
    pub rhythm: &'static [bool],
}

impl Pictures {
    /// Source time of frame `n`, seconds.
    pub fn secs(&self, n: u64) -> f64 {
        n as f64 * f64::from(self.fps.1) / f64::from(self.fps.0)
    }

    /// First frame at or after `secs`.
    pub fn first_at(&self, secs: f64) -> u64 {
        (secs * f64::from(self.fps.0) / f64::from(self.fps.1) - 1e-6).ceil().max(0.0) as u64
    }

    /// Caps of the raw pictures.
    pub fn caps(&self) -> gst::Caps {
        gst::Caps::builder("video/x-raw")
            .field("format", "I420")
            .field("width", self.width as i32)
            .field("height", self.height as i32)
            .field("framerate", gst::Fraction::new(self.fps.0 as i32, self.fps.1 as i32))
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1))
            .build()
    }

    fn is_there(&self, n: u64) -> bool {
        self.rhythm.is_empty() || self.rhythm[n as usize % self.rhythm.len()]
    }

    /// Frame `n` as I420 bytes.
    fn paint(&self, n: u64) -> Vec<u8> {
        let (width, height) = (self.width as usize, self.height as usize);
        let stride = width.next_multiple_of(4);
        let chroma_stride = (width / 2).next_multiple_of(4);
        let mut bytes = vec![128; stride * height + 2 * chroma_stride * (height / 2)];
        let window = ((self.secs(n) + 1e-6) / WINDOW_SECS) as u64;
        let marks = self.marks.get(&window).copied().unwrap_or(0) | within(&self.spans, self.secs(n) + 1e-6);
        codes::paint(&mut bytes, stride, width, height, codes::FrameCode { frame: n as u32, marks });
        // Colour that turns slowly in the lower half.
        let (quarter, plane) = (height / 4, chroma_stride * (height / 2));
        let luma = stride * height;
        bytes[luma + quarter * chroma_stride..luma + plane].fill(96 + (n % 64) as u8);
        bytes[luma + plane + quarter * chroma_stride..].fill(160 - (n % 64) as u8);
        bytes
    }

    /// Makes `src` give these pictures from source time `stamp.origin` on, one for each request.
    pub fn feed(&self, src: &gst_app::AppSrc, stamp: Stamp) {
        src.set_caps(Some(&self.caps()));
        src.set_format(gst::Format::Time);
        let this = self.clone();
        let mut next = this.first_at(this.cover.span.start.max(stamp.origin));
        let give = move |src: &gst_app::AppSrc, _: u32| {
            while this.secs(next) < this.cover.span.end - 1e-6
                && !(this.cover.has(this.secs(next)) && this.is_there(next))
            {
                next += 1;
            }
            if this.secs(next) >= this.cover.span.end - 1e-6 {
                let _ = src.end_of_stream();
                return;
            }
            let frame = buffer(this.paint(next), stamp.nanos(this.secs(next)), this.secs(1));
            let _ = src.push_buffer(frame);
            next += 1;
        };
        src.set_callbacks(gst_app::AppSrcCallbacks::builder().need_data(give).build());
    }
}

/// What the sound is.
#[derive(Clone, Debug)]
pub struct Sound {
    /// Seconds covered.
    pub cover: Cover,
    /// Marks by window.
    pub marks: Marks,
    /// Seconds that carry mark 0 besides: the blocks whose middles lie there.
    pub spans: Vec<Range<f64>>,
    /// Seconds by which what is heard lags behind what is seen.
    pub lag: f64,
    /// Samples fed ahead, to make up for the encoder's delay.
    pub ahead: u64,
}

impl Sound {
    /// Caps of the raw sound.
    pub fn caps() -> gst::Caps {
        gst::Caps::builder("audio/x-raw")
            .field("format", "S16LE")
            .field("layout", "interleaved")
            .field("rate", MADE_RATE as i32)
            .field("channels", 1)
            .build()
    }

    /// Makes `src` give this sound from source time `stamp.origin` on, 20 ms for each request.
    pub fn feed(&self, src: &gst_app::AppSrc, stamp: Stamp) {
        const STEP: u64 = MADE_RATE as u64 / 50;
        src.set_caps(Some(&Self::caps()));
        src.set_format(gst::Format::Time);
        let this = self.clone();
        let rate = f64::from(MADE_RATE);
        let mut next = (this.cover.span.start.max(stamp.origin) * rate).round() as u64;
        let end = (this.cover.span.end * rate).round().min(1e15) as u64;
        let give = move |src: &gst_app::AppSrc, _: u32| {
            while next < end && !this.cover.has(next as f64 / rate) {
                next += STEP;
            }
            if next >= end {
                let _ = src.end_of_stream();
                return;
            }
            let count = STEP.min(end - next);
            let content = next as i64 + this.ahead as i64 - (this.lag * rate).round() as i64;
            let per_window = tones::BLOCKS_PER_SEC * WINDOW_SECS as u64;
            let marks = |block: u64| {
                let middle = (block as f64 + 0.5) / tones::BLOCKS_PER_SEC as f64;
                this.marks.get(&(block / per_window)).copied().unwrap_or(0) | within(&this.spans, middle)
            };
            let made = tones::sound(MADE_RATE, content.max(0) as u64, count as usize, marks);
            let bytes = made.iter().flat_map(|x| x.to_le_bytes()).collect();
            let _ = src.push_buffer(buffer(bytes, stamp.nanos(next as f64 / rate), count as f64 / rate));
            next += count;
        };
        src.set_callbacks(gst_app::AppSrcCallbacks::builder().need_data(give).build());
    }
}

fn buffer(bytes: Vec<u8>, at: gst::ClockTime, secs: f64) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(bytes);
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(at);
        buffer.set_duration(gst::ClockTime::from_nseconds((secs * 1e9).round() as u64));
    }
    buffer
}
