//! Measures what the gate costs: CPU time of the whole process a window of 5 s, ten pictures of 640x480 with a face, and speech.
//!
//! `cargo bench --bench gate`. One thread does all of it, as the measuring thread does for all sources. Linux only, as it reads `/proc`.

use std::time::Duration;

use ahwatch::config::GateConfig;
use ahwatch::gate::{Gate, Measurer, Models};
use ahwatch::judge::WindowId;
use ahwatch::time::{MediaTime, Span, monotonic};
use ahwatch::window::{Still, Window};
use anyhow::Context as _;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;

const WINDOW: MediaTime = MediaTime::from_millis(5000);
/// Ticks of `/proc/self/stat` are 10 ms, so each measure takes at least a few hundred of them.
const LEAST: Duration = Duration::from_secs(4);
/// Share of a core that a stream's gate may take.
const TARGET_PERCENT: f64 = 5.0;

fn main() -> anyhow::Result<()> {
    let picture = picture(640, 480)?;
    let wav = std::fs::read(fixture("speech.wav"))?;
    let speech = wav[44..].chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]]));
    let sound: Vec<i16> = speech.cycle().take(80_000).collect();
    let models = Models::load(None)?;
    println!("{:<34} {:>14} {:>12}", "gate, one thread, 640x480", "CPU a window", "of a core");
    let mut whole = 0.0;
    for (name, pictures, hears, measures) in [
        ("speech, faces and flags", 10, true, true),
        ("speech and its flags", 0, true, true),
        ("faces and their flags", 10, false, true),
        ("flags without ONNX Runtime", 10, true, false),
    ] {
        let mut measurer = if measures { Some(Measurer::new(&models)?) } else { None };
        let mut gate = Gate::new("bench", GateConfig::default());
        let mut index = 0;
        let mut next = || {
            let window = window(index, &picture, pictures, hears.then(|| sound.clone()));
            index += 1;
            gate.check(measurer.as_mut(), &window)
        };
        let found = next();
        anyhow::ensure!(!measures || found.measures.is_ok(), "{:?}", found.measures);
        if let Some(faces) = found.evidence.faces {
            anyhow::ensure!(faces.with_face == 10, "the pictures show a face, and {faces:?} was found");
        }
        let (begun, before, mut windows) = (monotonic(), cpu_secs()?, 0.0);
        while begun.elapsed() < LEAST {
            next();
            windows += 1.0;
        }
        let each = (cpu_secs()? - before) / windows;
        let percent = 100.0 * each / WINDOW.as_secs_f64();
        whole = f64::max(whole, percent);
        println!("{name:<34} {:>11.2} ms {percent:>10.2} %", 1e3 * each);
    }
    let verdict = if whole <= TARGET_PERCENT { "met" } else { "MISSED" };
    println!("target {TARGET_PERCENT} % of a core a stream: {verdict}");
    Ok(())
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// User and system time of this process, seconds.
fn cpu_secs() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').context("a name in /proc/self/stat")?.1;
    let ticks = |field: usize| -> anyhow::Result<f64> {
        Ok(after_name.split_whitespace().nth(field).context("times in /proc/self/stat")?.parse()?)
    };
    // The 14th and 15th field; 100 ticks a second on every Linux that Rust runs on.
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

/// The fixture's face as a held picture of this size.
fn picture(width: u32, height: u32) -> anyhow::Result<Vec<u8>> {
    gst::init()?;
    let face = fixture("face.jpg");
    let text = format!(
        "filesrc location={face} ! jpegdec ! videoconvert ! videoscale ! video/x-raw,format=I420,width={width},height={height} \
         ! jpegenc quality=85 ! appsink name=out sync=false"
    );
    let pipeline = gst::parse::launch(&text)?.downcast::<gst::Pipeline>().ok().context("a pipeline")?;
    let out = pipeline.by_name("out").and_downcast::<AppSink>().context("its end")?;
    pipeline.set_state(gst::State::Playing)?;
    let jpeg = out.pull_sample()?.buffer_owned().context("a picture")?;
    let jpeg = jpeg.map_readable()?.to_vec();
    pipeline.set_state(gst::State::Null)?;
    Ok(jpeg)
}

fn window(index: u32, jpeg: &[u8], pictures: i64, sound: Option<Vec<i16>>) -> Window {
    let start = WINDOW.scale(i64::from(index), 1);
    let span = Span::new(start, start + WINDOW);
    let still =
        |k: i64| Still { time: start + WINDOW.scale(k, 10), width: 640, height: 480, jpeg: jpeg.to_vec().into() };
    Window {
        id: WindowId { continuity: 0, index },
        media: span,
        span,
        full: true,
        pictures: (0..pictures).map(still).collect(),
        pictures_seen: 125,
        pictures_expected: 125,
        sound,
        sound_missing: MediaTime::ZERO,
        refused: 0,
        audio_offset: Some(MediaTime::ZERO),
        alignment: None,
    }
}
