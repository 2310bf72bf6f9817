//! CPU of a recording decoded and cut into windows, against its plain decoding.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ahwatch::config::defaults;
use ahwatch::encode::{StillEncoder, fit};
use ahwatch::run::{FromSource, cut};
use ahwatch::source::{Description, Image, Incoming, Location, Retry, Spec, supervise};
use ahwatch::time::MediaTime;
use ahwatch::window::{Cut, Cutting, Still, Timeline, Window};
use crossbeam_channel::bounded;

use super::codecs::{packed, through};
use super::process::{child as run_child, own_cpu};
use super::recordings::{HD, SECS, VGA};
use super::table::{Repeats, print};

const REPEATS: usize = 5;
/// Windows of a recording.
const WINDOWS: usize = 12;
const ROUNDS: usize = 60;
const VARIANTS: [(&str, &str); 4] = [
    ("plain", "avdec_h264 max-threads=1 alone"),
    ("pictures-left", "video cut, no picture kept"),
    ("silent", "video cut, pictures kept as JPEG"),
    ("whole", "everything"),
];

/// The table of both recordings.
pub fn run() {
    for recording in [VGA, HD] {
        let path = recording.path();
        let path = path.to_str().expect("UTF-8");
        let mut measured: Vec<Vec<f64>> = vec![Vec::new(); VARIANTS.len()];
        // In turns, so that what else the machine does falls on all alike.
        for _ in 0..REPEATS {
            for ((variant, _), into) in VARIANTS.iter().zip(&mut measured) {
                into.push(run_child(&["cost", variant, path])[0]);
            }
        }
        let measured: Vec<Repeats> = measured.into_iter().map(Repeats::from_iter).collect();
        let plain = measured[0].median();
        let rows: Vec<Vec<String>> = VARIANTS
            .iter()
            .zip(&measured)
            .map(|((_, what), cpu)| {
                let per_second = cpu.median() / SECS;
                vec![(*what).into(), cpu.shown(2), format!("{per_second:.4}"), format!("{:.3}", cpu.median() / plain)]
            })
            .collect();
        let title = format!("Cutting a recording: {}, 60 s, H.264 + AAC, {REPEATS} runs each", recording.name);
        print(
            &title,
            &["variant", "CPU s, median (range)", "CPU s a second of media", "of plain (target 1.25)"],
            &rows,
        );
        let between = |more: usize, less: usize| (measured[more].median() - measured[less].median()) / plain;
        let rows = vec![
            vec!["decoding".into(), "1.000".into()],
            vec!["carrying and choosing frames".into(), format!("{:.3}", between(1, 0))],
            vec!["keeping pictures (colour, scale, JPEG)".into(), format!("{:.3}", between(2, 1))],
            vec!["sound, beside pictures".into(), format!("{:.3}", between(3, 2))],
        ];
        print("Where it goes, by differences of medians", &["part", "of plain"], &rows);
        let numbers = run_child(&["cost", "still", path]);
        let rows: Vec<Vec<String>> =
            ["kept: colour, scale, JPEG", "scale and JPEG", "JPEG alone, at the picture's own size"]
                .iter()
                .zip(&numbers)
                .map(|(what, ms)| vec![(*what).into(), format!("{ms:.2}")])
                .collect();
        let title = format!("One picture, {} encoded; {:.0} are kept of 60 s", 10 * ROUNDS, numbers[3]);
        print(&title, &["work", "CPU ms"], &rows);
    }
}

/// One variant; prints CPU seconds.
pub fn child(variant: &str, path: &Path) {
    gstreamer::init().expect("GStreamer");
    let began = own_cpu();
    match variant {
        "still" => return still(path),
        "plain" => plain(path),
        "pictures-left" => drop(cut_keeping(path, &silent(), |_, _| None)),
        "silent" => drop(windows(path, &silent())),
        _ => drop(windows(path, &shipped())),
    }
    println!("{:.3}", own_cpu() - began);
}

fn plain(path: &Path) {
    use gstreamer::prelude::*;
    let text = "filesrc name=in ! qtdemux ! h264parse ! avdec_h264 max-threads=1 ! fakesink sync=false";
    let bin = gstreamer::parse::launch(text).expect("pipeline").downcast::<gstreamer::Pipeline>().expect("pipeline");
    bin.by_name("in").expect("source").set_property("location", path.to_str().expect("UTF-8"));
    bin.set_state(gstreamer::State::Playing).expect("starts");
    let kinds = [gstreamer::MessageType::Eos, gstreamer::MessageType::Error];
    let end = bin.bus().expect("bus").timed_pop_filtered(gstreamer::ClockTime::NONE, &kinds);
    assert!(matches!(end.as_ref().map(|e| e.view()), Some(gstreamer::MessageView::Eos(_))), "did not decode");
    bin.set_state(gstreamer::State::Null).expect("stops");
}

/// Prints CPU milliseconds a picture, of three kinds of work, and how many pictures are kept.
fn still(path: &Path) {
    let kept: Arc<Mutex<(Vec<Image>, usize)>> = Arc::default();
    let keep = Arc::clone(&kept);
    cut_keeping(path, &silent(), move |_, image| {
        let mut kept = keep.lock().expect("not poisoned");
        if kept.0.len() < 10 {
            kept.0.push(Image { matrix: image.matrix, ..packed(image) });
        }
        kept.1 += 1;
        None
    });
    let (images, count) = std::mem::take(&mut *kept.lock().expect("not poisoned"));
    let mut encoder = StillEncoder::new(defaults::MAX_PIXELS, defaults::JPEG_QUALITY).expect("encoder");
    let each = |work: &mut dyn FnMut()| {
        let began = own_cpu();
        work();
        (own_cpu() - began) * 1e3 / (10 * ROUNDS) as f64
    };
    let whole = each(&mut || {
        for image in (0..ROUNDS).flat_map(|_| &images) {
            encoder.encode(MediaTime::ZERO, image).expect("picture");
        }
    });
    let planes: Vec<_> = (0..ROUNDS).flat_map(|_| &images).map(|image| image.data.clone()).collect();
    let (width, height) = (images[0].width, images[0].height);
    let (to_width, to_height) = fit(width, height, defaults::MAX_PIXELS).expect("area");
    let through_jpeg = |scale: &str| {
        let text = format!(
            "appsrc name=in format=time caps=video/x-raw,format=I420,width={width},height={height},framerate=2/1,colorimetry=1:4:0:0 \
             ! {scale} jpegenc quality={} ! appsink name=out sync=false",
            defaults::JPEG_QUALITY
        );
        each(&mut || drop(through(&text, &planes, |_| ())))
    };
    let scaled =
        through_jpeg(&format!("videoscale add-borders=false ! video/x-raw,width={to_width},height={to_height} !"));
    let own = through_jpeg("");
    println!("{whole:.3} {scaled:.3} {own:.3} {count}");
}

/// The pipeline that the program uses.
pub fn shipped() -> Description {
    Description::shipped("file.gst", None).expect("shipped")
}

fn silent() -> Description {
    Description { audio: None, ..shipped() }
}

fn spec(path: &Path, description: &Description) -> Spec {
    Spec::once("bench", Location::File(path.to_owned()), description.clone())
}

/// What the program does of a recording, up to the judging: its windows.
pub fn windows(path: &Path, description: &Description) -> Vec<Window> {
    let stills = StillEncoder::new(defaults::MAX_PIXELS, defaults::JPEG_QUALITY).expect("encoder");
    let (_running, stop) = bounded::<Infallible>(0);
    let mut windows = Vec::new();
    cut(&spec(path, description), &Retry::default(), Cutting::RECORDING, stills, &stop, |message| {
        if let FromSource::Cut(Cut::Window(window), _) = message {
            windows.push(*window);
        }
        true
    });
    assert_eq!(windows.len(), WINDOWS, "windows");
    windows
}

/// The same with another way of keeping pictures; the windows that have any.
pub fn cut_keeping(
    path: &Path,
    description: &Description,
    keep: impl FnMut(MediaTime, &Image) -> Option<Still> + Send + 'static,
) -> Vec<Window> {
    let (frames, incoming) = bounded(64);
    let (_running, stop) = bounded::<Infallible>(0);
    let spec = spec(path, description);
    std::thread::scope(|scope| {
        scope.spawn(|| supervise(&spec, &Retry::default(), frames, stop));
        let (mut timeline, mut out) = (Timeline::new(Cutting::RECORDING, Box::new(keep)), Vec::new());
        let mut windows = Vec::new();
        for message in incoming {
            match message {
                Incoming::Streams(streams) => timeline.streams(streams),
                Incoming::Frame { frame, .. } => timeline.frame(frame, MediaTime::ZERO, 0, &mut out),
                Incoming::StreamEnded(stream) => timeline.stream_ended(stream, MediaTime::ZERO, &mut out),
                Incoming::Finished(end) => timeline.finish(end.complete, end.missing, &mut out),
                Incoming::Lost(_) => {}
            }
            windows.extend(out.drain(..).filter_map(|cut| match cut {
                Cut::Window(window) => Some(*window),
                _ => None,
            }));
        }
        windows
    })
}
