//! A window's pictures as JPEG and as H.264, at equal likeness to the decoded source.

use std::path::Path;
use std::sync::{Arc, Mutex};

use ahwatch::config::defaults;
use ahwatch::encode::{StillEncoder, fit};
use ahwatch::source::{Image, Matrix};
use ahwatch::time::MediaTime;
use ahwatch::window::Still;
use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use gstreamer_video as video;
use gstreamer_video::prelude::*;

use super::cost::{cut_keeping, shipped};
use super::process::{child as run_child, own_cpu};
use super::recordings::{HD, VGA};
use super::table::{Repeats, print};

const REPEATS: usize = 5;
/// Quality at which pictures are held before H.264 is made of them: high enough not to be what limits it.
const HELD: u8 = 95;
const TARGETS: [&str; 2] = ["40", "45"];
/// Every second window of the recording.
const STEP: usize = 2;
const VARIANTS: [(&str, &str); 3] =
    [("h264-raw", "H.264 of raw pictures"), ("jpeg", "JPEG, as held"), ("h264", "H.264 of pictures held as JPEG 95")];

/// The table of both sizes.
pub fn run() {
    for recording in [VGA, HD] {
        let path = recording.path();
        let path = path.to_str().expect("UTF-8");
        let mut rows = Vec::new();
        let mut add = |wanted: &str, variant: &str, what: &str| {
            let numbers = run_child(&["codecs", variant, wanted, path]);
            let cpu: Repeats = numbers[3..].iter().copied().collect();
            let wanted = wanted.parse::<f64>().map_or_else(|_| "default".to_owned(), |db| format!("{db} dB"));
            let [quality, psnr, bytes] = [numbers[0], numbers[1], numbers[2]];
            rows.push(vec![
                wanted,
                what.into(),
                format!("{quality:.1}"),
                format!("{psnr:.2}"),
                format!("{:.0}", bytes / 1000.0),
                cpu.shown(1),
            ]);
            psnr
        };
        for target in TARGETS {
            // H.264's steps are the coarser ones: the others follow it.
            let reached = add(target, VARIANTS[0].0, VARIANTS[0].1);
            for (variant, what) in &VARIANTS[1..] {
                add(&format!("{reached:.2}"), variant, what);
            }
        }
        add("default", "jpeg", "JPEG, as held");
        add("default", "h264", "H.264 of pictures held as JPEG");
        let title = format!(
            "Pictures of a window: {}, 6 windows of ten pictures, PSNR of luma against the decoded source (at the sent size), \
             {REPEATS} runs of all; container and base64 left out",
            recording.name
        );
        let head = ["wanted", "codec", "quality or crf", "PSNR dB", "kB a window", "CPU ms a window, median (range)"];
        print(&title, &head, &rows);
    }
}

/// One variant; prints quality, PSNR, bytes a window, and CPU milliseconds a window of each repeat.
pub fn child(variant: &str, wanted: &str, path: &Path) {
    gst::init().expect("GStreamer");
    let data = Data::of(path);
    let encode = |quality: f64| -> Vec<Vec<Bytes>> {
        match variant {
            "jpeg" => data.jpegs(quality as u8),
            "h264" if wanted == "default" => data.h264_of_held(defaults::JPEG_QUALITY, quality),
            "h264" => data.h264_of_held(HELD, quality),
            _ => data.windows.iter().map(|raws| data.h264(Input::Raw(raws), quality)).collect(),
        }
    };
    let psnr = |quality: f64| data.psnr(&encode(quality), variant == "jpeg");
    let quality = match (wanted.parse::<f64>(), variant) {
        (Err(_), "jpeg") => f64::from(defaults::JPEG_QUALITY),
        (Err(_), _) => 18.0,
        (Ok(target), "jpeg") => nearest(&(10..=99).map(f64::from).collect::<Vec<_>>(), target, psnr),
        (Ok(target), _) => nearest(&(8..=40).rev().map(f64::from).collect::<Vec<_>>(), target, psnr),
    };
    let made = encode(quality);
    let bytes: usize = made.iter().flatten().map(Bytes::len).sum();
    print!("{quality} {:.3} {}", data.psnr(&made, variant == "jpeg"), bytes / data.windows.len());
    for _ in 0..REPEATS {
        let began = own_cpu();
        encode(quality);
        print!(" {:.3}", (own_cpu() - began) * 1e3 / data.windows.len() as f64);
    }
    println!();
}

/// The setting, of those in order of rising likeness, whose PSNR is nearest to the target.
fn nearest(settings: &[f64], target: f64, psnr: impl Fn(f64) -> f64) -> f64 {
    let at = settings.partition_point(|setting| psnr(*setting) < target);
    let near = settings[at.saturating_sub(1)..(at + 1).min(settings.len())].iter().copied();
    near.min_by(|a, b| (psnr(*a) - target).abs().total_cmp(&(psnr(*b) - target).abs())).expect("settings")
}

#[derive(Clone, Copy)]
enum Input<'a> {
    Raw(&'a [Image]),
    Jpeg(&'a [Bytes]),
}

/// The decoded pictures of each window, and their luma at the size that is sent, in JPEG's range.
struct Data {
    windows: Vec<Vec<Image>>,
    luma: Vec<Vec<Vec<u8>>>,
    size: (u32, u32),
}

impl Data {
    fn of(path: &Path) -> Self {
        let template: Arc<Mutex<Option<Image>>> = Arc::default();
        let first = Arc::clone(&template);
        let cut = cut_keeping(path, &shipped(), move |time, image| {
            let image = packed(image);
            // The planes in the place of the JPEG.
            let still = Still { time, width: image.width, height: image.height, jpeg: image.data.clone() };
            first.lock().expect("not poisoned").get_or_insert(image);
            Some(still)
        });
        let template = template.lock().expect("not poisoned").take().expect("a picture");
        let raw = |still: &Still| Image { data: still.jpeg.clone(), ..template.clone() };
        let windows: Vec<Vec<Image>> = cut.iter().step_by(STEP).map(|w| w.pictures.iter().map(raw).collect()).collect();
        let first = &windows[0][0];
        let size = fit(first.width, first.height, defaults::MAX_PIXELS).expect("area");
        let luma = windows.iter().map(|raws| raws.iter().map(|raw| luma(raw, size)).collect()).collect();
        Self { windows, luma, size }
    }

    fn jpegs(&self, quality: u8) -> Vec<Vec<Bytes>> {
        let mut encoder = StillEncoder::new(defaults::MAX_PIXELS, quality).expect("encoder");
        let mut one = |raw: &Image| encoder.encode(MediaTime::ZERO, raw).expect("picture").jpeg;
        self.windows.iter().map(|raws| raws.iter().map(&mut one).collect()).collect()
    }

    fn h264_of_held(&self, held: u8, crf: f64) -> Vec<Vec<Bytes>> {
        self.jpegs(held).iter().map(|jpegs| self.h264(Input::Jpeg(jpegs), crf)).collect()
    }

    /// As the program encodes (src/encode/transcode.rs), but for the quality.
    fn h264(&self, input: Input, crf: f64) -> Vec<Bytes> {
        let (pictures, head): (Vec<Bytes>, _) = match input {
            Input::Jpeg(jpegs) => (jpegs.to_vec(), "caps=image/jpeg,framerate=2/1 ! jpegdec".to_owned()),
            Input::Raw(raws) => (
                raws.iter().map(|raw| raw.data.clone()).collect(),
                format!(
                    "caps=video/x-raw,format=I420,width={},height={},framerate=2/1,pixel-aspect-ratio=1/1,colorimetry=bt601",
                    raws[0].width, raws[0].height
                ),
            ),
        };
        let (width, height) = self.size;
        through(
            &format!(
                "appsrc name=in format=time {head} ! videoscale add-borders=false \
                 ! video/x-raw,width={width},height={height},pixel-aspect-ratio=1/1 \
                 ! videoconvert ! video/x-raw,format=I420,colorimetry=bt601 \
                 ! x264enc tune=zerolatency speed-preset=veryfast pass=qual quantizer={crf} key-int-max={} threads=1 \
                 ! h264parse ! video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=out sync=false",
                pictures.len()
            ),
            &pictures,
            |sample| Bytes::copy_from_slice(&sample.buffer().expect("data").map_readable().expect("readable")),
        )
    }

    /// PSNR of the luma of all pictures.
    fn psnr(&self, windows: &[Vec<Bytes>], jpeg: bool) -> f64 {
        let head = if jpeg {
            "caps=image/jpeg,framerate=2/1 ! jpegdec"
        } else {
            "caps=video/x-h264,stream-format=byte-stream,alignment=au,framerate=2/1 ! h264parse ! avdec_h264 max-threads=1"
        };
        let text = format!("appsrc name=in format=time {head} ! appsink name=out sync=false");
        let (mut error, mut count) = (0u64, 0u64);
        for (pictures, truth) in windows.iter().zip(&self.luma) {
            let decoded = through(&text, pictures, decoded_luma);
            assert_eq!(decoded.len(), truth.len(), "pictures decoded");
            for (a, b) in decoded.iter().zip(truth) {
                assert_eq!(a.len(), b.len(), "picture size");
                error += a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum::<u64>();
                count += b.len() as u64;
            }
        }
        10.0 * (255.0 * 255.0 * count as f64 / error as f64).log10()
    }
}

/// Pushes pictures through a pipeline from `in` to `out`.
pub fn through<T>(text: &str, pictures: &[Bytes], read: impl Fn(&gst::Sample) -> T) -> Vec<T> {
    let bin = gst::parse::launch(text).expect("pipeline").downcast::<gst::Pipeline>().expect("pipeline");
    let input = bin.by_name("in").and_downcast::<app::AppSrc>().expect("in");
    let output = bin.by_name("out").and_downcast::<app::AppSink>().expect("out");
    bin.set_state(gst::State::Playing).expect("starts");
    for (n, picture) in (0u64..).zip(pictures) {
        let mut payload = gst::Buffer::from_slice(picture.clone());
        let fresh = payload.get_mut().expect("new");
        fresh.set_pts(gst::ClockTime::from_mseconds(500 * n));
        fresh.set_duration(gst::ClockTime::from_mseconds(500));
        input.push_buffer(payload).expect("taken");
    }
    input.end_of_stream().expect("taken");
    let out = std::iter::from_fn(|| output.pull_sample().ok()).map(|sample| read(&sample)).collect();
    bin.set_state(gst::State::Null).expect("stops");
    out
}

fn decoded_luma(sample: &gst::Sample) -> Vec<u8> {
    let info = video::VideoInfo::from_caps(sample.caps().expect("caps")).expect("video");
    let frame = video::VideoFrameRef::from_buffer_ref_readable(sample.buffer().expect("data"), &info).expect("frame");
    let (width, stride) = (info.width() as usize, frame.plane_stride()[0] as usize);
    let rows = frame.plane_data(0).expect("luma").chunks(stride).take(info.height() as usize);
    let full = info.colorimetry().range() == video::VideoColorRange::Range0_255;
    rows.flat_map(|row| &row[..width]).map(|y| if full { *y } else { full_range(*y) }).collect()
}

fn full_range(y: u8) -> u8 {
    ((f64::from(y) - 16.0) * 255.0 / 219.0).round().clamp(0.0, 255.0) as u8
}

/// A copy without padding: what the pipelines here take for I420. The sizes are multiples of eight. Its colours are read
/// as BT.601, so that its luma alone is what JPEG's luma must be like.
pub fn packed(image: &Image) -> Image {
    let (width, height) = (image.width as usize, image.height as usize);
    let mut data = Vec::with_capacity(width * height * 3 / 2);
    for (plane, (width, height)) in
        [(width, height), (width / 2, height / 2), (width / 2, height / 2)].into_iter().enumerate()
    {
        for row in 0..height {
            let from = image.offsets[plane] + row * image.strides[plane];
            data.extend_from_slice(&image.data[from..from + width]);
        }
    }
    let luma = width * height;
    Image {
        data: data.into(),
        strides: [width, width / 2, width / 2],
        offsets: [0, luma, luma * 5 / 4],
        matrix: Matrix::Bt601,
        ..image.clone()
    }
}

/// Luma in JPEG's range at the size that is sent, scaled as the program scales.
fn luma(raw: &Image, (width, height): (u32, u32)) -> Vec<u8> {
    assert!(!raw.full_range, "the recordings are limited-range");
    let full: Vec<u8> = raw.data[..(raw.width * raw.height) as usize].iter().map(|y| full_range(*y)).collect();
    if (raw.width, raw.height) == (width, height) {
        return full;
    }
    let text = format!(
        "appsrc name=in format=time caps=video/x-raw,format=GRAY8,width={},height={},framerate=2/1,colorimetry=1:4:0:0 \
         ! videoscale add-borders=false ! video/x-raw,width={width},height={height} ! appsink name=out sync=false",
        raw.width, raw.height
    );
    through(&text, &[full.into()], decoded_luma).remove(0)
}
