//! Case 6: media that somebody made to do harm, through the real pipelines. Whatever it is, it is one source's end.
//!
//! The mutated inputs of a kind are played in a process of their own (this test binary, started anew), several at a time and
//! beside a good live source, so that a crash is seen as one, with the seeds that were played.

mod camera;
mod inputs;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ahwatch::run::play;
use ahwatch::source::{
    Codec, Description, FeedSender, Incoming, Location, Microphone, Pushed, Retry, Spec, Taken, pushed,
};
use ahwatch::time::MediaTime;
use ahwatch::window::{Frame, Stream};
use crossbeam_channel::{Receiver, bounded};
use rand::RngExt as _;

use self::camera::HostileCamera;
use self::inputs::{dice, huge_h264, huge_index, matroska, movie_of_tracks, resized, small_jpeg_track, spoil};
use super::after::{After, peak_mib};
use super::case::Case;
use crate::kit::encoded::{Coding, Unit, units};
use crate::kit::media::Recipe;
use crate::kit::process::status;
use crate::kit::run::{Run, ahwatch};
use crate::watch_file::{LIMIT, labels, panel, three};

/// What is spoilt, and how many times: 10,000 in all.
const KINDS: [(&str, u64); 4] = [("mp4", 3000), ("h264", 3000), ("opus", 3000), ("rtp", 1000)];
const AT_A_TIME: usize = 16;
/// For all inputs of a kind: what takes so long hangs.
const HANGS: Duration = Duration::from_secs(600);
/// Nothing may take longer than GStreamer is waited for, by far.
const LONGEST: Duration = Duration::from_secs(30);
/// Kept by the process of a batch for all its thousands of inputs, beyond what it has after the first tenth: MiB.
const GROWTH: u64 = 64;

const TOLD: &str = "AHWATCH_HOSTILE";

fn retry() -> Retry {
    let quick = Duration::from_secs(2);
    Retry { silence: quick, first_frame: quick, refused: Duration::from_millis(10), ..Retry::default() }
}

fn spec(location: Location, file: &str) -> Spec {
    Spec::once("hostile", location, Description::shipped(file, None).expect("shipped"))
}

/// Everything a batch plays from.
struct Good {
    mp4: Vec<u8>,
    units: Arc<Vec<Unit>>,
    camera: HostileCamera,
    dir: PathBuf,
}

impl Good {
    fn new(dir: PathBuf) -> Self {
        let recipe = Recipe::new(1.0).size(160, 120).fps((10, 1)).key_interval(5);
        let units = Arc::new(units(&Coding::H264.make(recipe.clone()), Coding::H264));
        let mp4 = std::fs::read(recipe.make()).expect("made");
        Self { mp4, camera: HostileCamera::start(Arc::clone(&units)), units, dir }
    }

    /// Plays one; true: some of it came out.
    fn play(&self, kind: &str, seed: u64) -> bool {
        let dice = &mut dice(seed);
        match kind {
            "mp4" => {
                let mut bytes = self.mp4.clone();
                // Half of them only in the index, which mp4mux writes last.
                let index = bytes.windows(4).position(|four| four == b"moov").unwrap_or(0);
                spoil(&mut bytes, if dice.random() { index } else { 0 }, dice);
                let path = self.dir.join(format!("{seed}.mp4"));
                std::fs::write(&path, bytes).expect("disk");
                let some = frames(&spec(Location::File(path.clone()), "file.gst"));
                std::fs::remove_file(path).expect("written");
                some
            }
            "h264" | "opus" => {
                let video = kind == "h264";
                let (sender, feed) = pushed("hostile");
                let began =
                    Pushed::Began { video: video.then_some(Codec::H264), audio: (!video).then_some(Codec::Opus) };
                let units: Vec<Unit> = self.units.iter().filter(|unit| unit.video == video).cloned().collect();
                std::thread::scope(|scope| {
                    let dice = dice.clone();
                    scope.spawn(move || push(&sender, began, units, dice));
                    frames(&spec(Location::Pushed(feed), "pushed.gst"))
                })
            }
            _ => frames(&spec(Location::Rtsp(self.camera.url(seed)), "rtsp.gst")),
        }
    }
}

fn push(sender: &FeedSender, began: Pushed, units: Vec<Unit>, mut dice: rand_pcg::Pcg64) {
    assert_eq!(sender.send(began), Taken::Yes);
    for unit in units {
        let mut data = unit.data.to_vec();
        if dice.random_range(0..3) == 0 {
            spoil(&mut data, 0, &mut dice);
        }
        let stream = if unit.video { Stream::Video } else { Stream::Audio };
        let media =
            Pushed::Media { stream, time: MediaTime::from_duration(unit.time), data: data.into(), follows: true };
        if sender.send(media) == Taken::Ended {
            return;
        }
    }
}

/// Plays it to its end.
fn frames(spec: &Spec) -> bool {
    let (_running, stop) = bounded::<Infallible>(0);
    let mut some = false;
    play(spec, &retry(), &stop, |message| {
        some |= matches!(message, Some(Incoming::Frame { .. }));
        // A pushed source has no end of its own while it is tried anew.
        !matches!(message, Some(Incoming::Lost(_) | Incoming::Finished(_)))
    });
    some
}

/// A good live source: until it is stopped, none of its pictures may be missing.
fn good_source(stop: &Receiver<Infallible>) -> (u64, Vec<String>) {
    let location = Location::Test { microphone: Microphone::Usual };
    let spec = Spec { once: false, ..spec(location, "test.gst") };
    let (mut pictures, mut wrong, mut before) = (0, Vec::new(), None);
    play(&spec, &Retry::default(), stop, |message| {
        match message {
            Some(Incoming::Frame { frame: Frame::Picture { time, .. }, refused, .. }) => {
                let step = before.replace(time).map_or(MediaTime::from_millis(40), |before| time - before);
                if refused > 0 || (step - MediaTime::from_millis(40)).abs() > MediaTime::from_millis(1) {
                    wrong.push(format!("{refused} refused, then {step} to the picture at {time}"));
                }
                pictures += 1;
            }
            Some(Incoming::Lost(loss)) => wrong.push(loss.reason),
            _ => {}
        }
        true
    });
    (pictures, wrong)
}

/// What the kernel says of this process.
fn own(key: &str) -> u64 {
    status("self", key).expect("a number")
}

/// Not a test: what the case below runs in processes of their own.
#[test]
#[ignore = "is run by case_6"]
fn batch() {
    let Ok(told) = std::env::var(TOLD) else { return };
    let (kind, count) = told.split_once(' ').expect("kind and count");
    let count: u64 = count.parse().expect("a number");
    let dir = tempfile::tempdir().unwrap();
    let good = Good::new(dir.path().to_owned());
    let (next, some, longest) = (AtomicU64::new(0), AtomicUsize::new(0), Mutex::new((Duration::ZERO, 0)));
    let warm = Mutex::new(None);
    let (running, stop) = bounded::<Infallible>(0);
    let beside = std::thread::scope(|scope| {
        let beside = scope.spawn(|| good_source(&stop));
        std::thread::scope(|scope| {
            for _ in 0..AT_A_TIME {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::SeqCst);
                        if seed >= count {
                            return;
                        }
                        if seed == count / 10 {
                            *warm.lock().unwrap() = Some((own("VmRSS"), own("Threads")));
                        }
                        println!("begin {seed}");
                        let began = Instant::now();
                        some.fetch_add(usize::from(good.play(kind, seed)), Ordering::SeqCst);
                        let mut longest = longest.lock().unwrap();
                        *longest = (*longest).max((began.elapsed(), seed));
                        println!("ended {seed}");
                    }
                });
            }
        });
        drop(running);
        beside.join().unwrap()
    });
    let (memory, threads) = warm.lock().unwrap().expect("warm");
    let (longest, seed) = *longest.lock().unwrap();
    println!(
        "done some={} longest_ms={} seed={seed} memory_before={memory} memory={} threads_before={threads} threads={} good={} wrong={:?}",
        some.load(Ordering::SeqCst),
        longest.as_millis(),
        own("VmRSS"),
        own("Threads"),
        beside.0,
        beside.1
    );
}

fn played(kind: &str, count: u64, case: &mut Case) {
    let began = Instant::now();
    let this = std::env::current_exe().unwrap();
    let run = Run::program(this.to_str().unwrap(), ["--exact", "faults::hostile::batch", "--ignored", "--nocapture"]);
    let output = run.env(TOLD, format!("{kind} {count}")).env("G_DEBUG", "").finish(HANGS);
    let (text, noise) = (&output.stdout, &output.stderr);
    let seeds =
        |word: &str| text.lines().filter_map(|l| l.strip_prefix(word)?.trim().parse::<u64>().ok()).collect::<Vec<_>>();
    let (begun, ended) = (seeds("begin"), seeds("ended"));
    let open: Vec<_> = begun.iter().filter(|seed| !ended.contains(seed)).collect();
    let survived = output.code == Some(0) && open.is_empty();
    let what = format!("{kind}: the process after {count} inputs");
    let how = if survived {
        format!("lives, {} s", began.elapsed().as_secs())
    } else {
        format!("ended with {:?}, at seeds {open:?}", output.code)
    };
    case.row(&what, "lives", &how, survived);
    let Some(done) = text.lines().find_map(|line| line.strip_prefix("done ")) else {
        println!("{}", noise.lines().rev().take(20).collect::<Vec<_>>().join("\n"));
        return;
    };
    let number = |name: &str| -> u64 {
        let found = done.split_whitespace().find_map(|word| word.strip_prefix(&format!("{name}=")));
        found.and_then(|n| n.parse().ok()).expect("a number")
    };
    let wrong = done.split_once("wrong=").expect("last").1;
    case.row(
        &format!("{kind}: a good live source beside"),
        "loses nothing",
        &format!("{} pictures, wrong: {wrong}", number("good")),
        wrong == "[]" && number("good") > 0,
    );
    case.row(
        &format!("{kind}: inputs of which something came out"),
        "some",
        &number("some").to_string(),
        number("some") > 0,
    );
    case.within(
        &format!("{kind}: the longest of all, seed {}", number("seed")),
        LONGEST,
        Duration::from_millis(number("longest_ms")),
    );
    let growth = number("memory").saturating_sub(number("memory_before")) / 1024;
    case.row(
        &format!("{kind}: memory kept"),
        &format!("at most {GROWTH} MiB"),
        &format!("{growth} MiB"),
        growth <= GROWTH,
    );
    let left = number("threads").saturating_sub(number("threads_before"));
    case.row(&format!("{kind}: threads left behind"), "at most 8", &left.to_string(), left <= 8);
    println!("  {kind}: GStreamer said {} lines", noise.lines().count());
}

#[test]
#[ignore = "a case of the laboratory: make faults"]
fn case_6_ten_thousand_mutated_inputs() {
    let mut case = Case::begin("6", "mutated MP4, H.264, Opus, RTP");
    assert_eq!(KINDS.iter().map(|(_, count)| count).sum::<u64>(), 10_000);
    // For a look at a part: how many of each.
    let most = std::env::var("AHWATCH_HOSTILE_MOST").ok().and_then(|n| n.parse().ok()).unwrap_or(u64::MAX);
    for (kind, count) in KINDS {
        played(kind, count.min(most), &mut case);
    }
    case.end();
}

fn bombs(dir: &Path) -> Vec<(PathBuf, &'static str)> {
    let path = |name: &str| dir.join(name);
    let write = |name: &str, bytes: Vec<u8>| std::fs::write(path(name), bytes).expect("disk");
    huge_index(&path("index.mp4"), 4 << 30);
    write("tracks.mp4", movie_of_tracks(1_000_000));
    let sound =
        [inputs::element(&[0xD7], &[1]), inputs::element(&[0x83], &[2]), inputs::element(&[0x86], b"A_PCM/INT/LIT")]
            .concat();
    write("tracks.mkv", matroska(&sound, 1_000_000, &[]));
    let face = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/face.jpg")).expect("a fixture");
    write("picture.mkv", matroska(&small_jpeg_track(), 1, &resized(&face, 16_384, 16_384)));
    write("picture.h264", huge_h264(1024));
    let list = "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/secret.ts\n#EXT-X-ENDLIST\n";
    write("list.mp4", list.into());
    [
        ("index.mp4", "its index (moov) has"),
        ("tracks.mp4", "more than 64 tracks"),
        ("tracks.mkv", "more than 64 tracks"),
        ("picture.mkv", "16384x16384"),
        ("picture.h264", "16384x16384"),
        ("list.mp4", "a decoder is missing"),
    ]
    .map(|(name, says)| (path(name), says))
    .into()
}

#[test]
#[ignore = "a case of the laboratory: make faults"]
fn case_6_bombs() {
    let mut case = Case::begin("6", "4 GiB moov, 16k x 16k pictures, a million tracks, a playlist");
    let (endpoint, models) = three();
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &models, "");
    let bombs = bombs(dir.path());
    let good = Recipe::new(21.0).plant(&[1]).make();
    let mut text = format!("[[source]]\nname = \"good\"\npath = \"{}\"\nrealtime = true\n", good.display());
    for (n, (path, _)) in bombs.iter().enumerate() {
        text += &format!("[[source]]\nname = \"bomb-{n}\"\npath = \"{}\"\n", path.display());
    }
    let config = dir.path().join("bombs.toml");
    std::fs::write(&config, text).unwrap();
    let args = ["watch", "--json", "--config", config.to_str().unwrap(), "--panel", panel.to_str().unwrap()];
    let mut run = ahwatch(args).start();
    run.wait_until(LIMIT, "a word about each", |run| {
        (run.stderr().lines().filter(|line| line.contains("ERROR")).count() >= bombs.len()).then_some(())
    });
    let memory = peak_mib(&run);
    let run = run.finish(LIMIT);
    for (path, says) in &bombs {
        let name = path.file_name().unwrap().to_str().unwrap();
        let line = run.stderr.lines().find(|line| line.contains(name)).unwrap_or_default();
        let reason = line.rsplit_once(": ").map_or(line, |(_, reason)| reason);
        case.row(name, says, reason.split(" source=").next().unwrap_or_default(), line.contains(says));
    }
    let own: Vec<_> = run.events().into_iter().filter(|event| event["source"] == "/ahwatch/good").collect();
    let expected = [(0.0, "absent"), (5.0, "present"), (10.0, "absent"), (15.0, "absent")]
        .map(|(at, label)| (at, label.to_owned()));
    case.row("the windows of the good source", "all four", &format!("{:?}", labels(&own)), labels(&own) == expected);
    After { whole: &["good"], memory: Some((memory, 400)), ..After::watch(&run, &[&endpoint]) }.check(&mut case);
    case.end();
}
