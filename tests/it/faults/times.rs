//! Clocks and timestamps that jump, wrap, drift and are set: cases 8, 9 and 11.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ahwatch::time::MediaTime;
use ahwatch::window::{Cut, Cutting, Frame, Still, Streams, Timeline, Window};
use serde_json::Value;

use super::after::After;
use super::cameras::{JUDGED, Scene, at, guarded, is_whole, source, told};
use super::case::Case;
use super::secrets::Secrets;
use crate::books::nanos;
use crate::kit::endpoint::Seen;
use crate::kit::interleaved::Meddler;
use crate::kit::media::Recipe;
use crate::kit::proxy::Proxy;
use crate::kit::rtsp::Show;
use crate::kit::udp::Luck;

const WINDOW_TYPES: [&str; 4] = [JUDGED, "ah.window.skipped.v1", "ah.window.dropped.v1", "ah.window.lost.v1"];

/// Moves the RTP times of both streams, in packets and in sender reports, as a camera does whose clock is set.
#[derive(Default)]
struct Jump {
    secs: i64,
}

impl Meddler for Jump {
    fn packet(&mut self, channel: u8, packet: &mut [u8]) {
        const SENDER_REPORT: u8 = 200;
        let at = if channel.is_multiple_of(2) { 4 } else { 16 };
        if packet.len() < at + 4 || !channel.is_multiple_of(2) && packet[1] != SENDER_REPORT {
            return;
        }
        let rate: i64 = if channel < 2 { 90_000 } else { 48_000 };
        let time = u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
        let moved = (i64::from(time) + self.secs * rate).rem_euclid(1 << 32);
        packet[at..at + 4].copy_from_slice(&u32::try_from(moved).unwrap().to_be_bytes());
    }
}

/// How far what is heard lies behind what is seen in a clip, seconds of the source.
fn out_of_step(seen: &Seen) -> Option<f64> {
    let clip = seen.clip.as_ref()?;
    let first = clip.pictures.first()?.code?;
    Some(clip.sound_secs_at(40_000)? - (f64::from(first.frame) / 25.0 + 2.5))
}

/// Every window of a session of a source: its number, whether it was judged, and its span in nanoseconds. And how many were told
/// more than once.
fn windows(events: &[Value], name: &str) -> (BTreeMap<(u64, u64), (bool, i64, i64)>, usize) {
    let (mut windows, mut count) = (BTreeMap::new(), 0);
    for event in events.iter().filter(|event| event["source"] == format!("/ahwatch/{name}")) {
        let (data, kind) = (&event["data"], event["type"].as_str().unwrap());
        if let (true, Some(index)) = (WINDOW_TYPES.contains(&kind), data["window"]["index"].as_u64()) {
            let place = (data["window"]["continuity"].as_u64().unwrap(), index);
            let span = (nanos(&data["span"]["start_secs"]), nanos(&data["span"]["end_secs"]));
            windows.insert(place, (kind == JUDGED, span.0, span.1));
            count += 1;
        }
    }
    let twice = count - windows.len();
    (windows, twice)
}

#[test]
#[ignore = "make faults"]
fn case_8_timestamps_jump() {
    let mut case = Case::begin("8", "RTP timestamps of a camera jump by -10 s, then by +1 h");
    let secrets = Secrets::new();
    let password = secrets.take();
    let camera = guarded(&password, Show::live(&Recipe::new(3600.0)));
    let jump = Arc::new(Mutex::new(Jump::default()));
    let network = Proxy::meddled(camera.port(), jump.clone());
    let mut scene = Scene::start(&source("jumpy", &at(network.port(), &password), ""), |run| run);
    for (number, secs) in [(0, 0), (1, -10), (2, 3590)] {
        jump.lock().unwrap().secs = secs;
        scene.wait_for(JUDGED, "jumpy", |event| {
            event["data"]["window"]["continuity"] == number && event["data"]["window"]["index"] == 1
        });
    }
    let (run, endpoint, held) = scene.end();
    let events = run.events();
    case.exactly("continuities", 3, windows(&events, "jumpy").0.keys().map(|place| place.0).max().unwrap() + 1);
    let ended = crate::watch_file::ended(&events);
    let lost = ended["coverage"]["lost"]["total_secs"].as_f64().unwrap();
    // Back: the decoder's pictures stand still, the camera is connected anew. Forward: nothing is lost but the tail of a window.
    case.row("time told as lost", "at most 2 s, for the jump back", &format!("{lost:.1} s"), lost <= 2.0);
    case.exactly("times the camera was told as lost", 1, run.events_of("ah.source.lost.v1").len() as u64);
    let (length, wall) = (ended["span"]["end_secs"].as_f64().unwrap(), run.took.as_secs_f64());
    let of_run = format!("{length:.1} s of {wall:.1} s that the program ran");
    case.row("the session's length", "within 4 s of the run", &of_run, wall - length < 4.0 && length < wall);
    let worst = endpoint.requests().iter().filter_map(out_of_step).fold(0.0, |worst: f64, secs| worst.max(secs.abs()));
    case.within("sound and pictures in a window apart", Duration::from_millis(100), Duration::from_secs_f64(worst));
    After { memory: Some((held, 300)), ..After::watch(&run, &[&endpoint]) }.check(&mut case);
    case.end();
}

/// Sees that they do wrap.
#[derive(Default)]
struct Wraps([u32; 4], [u64; 4]);
impl Meddler for Wraps {
    fn packet(&mut self, channel: u8, packet: &mut [u8]) {
        if let (0 | 2, Some(time)) = (channel, packet.get(4..8)) {
            let time = u32::from_be_bytes(time.try_into().unwrap());
            let last = std::mem::replace(&mut self.0[usize::from(channel)], time);
            self.1[usize::from(channel)] += u64::from(last > 1 << 31 && time < 1 << 31);
        }
    }
}

#[test]
#[ignore = "make faults"]
fn case_8_rtp_times_wrap() {
    let mut case = Case::begin("8", "RTP times wrap at 2^32, of pictures and of sound");
    let secrets = Secrets::new();
    let password = secrets.take();
    // Both begin seven seconds before the wrap.
    let base = |rate: u64| (1u64 << 32) - 7 * rate;
    let text = format!(
        "appsrc name=pictures is-live=true ! clocksync ! x264enc tune=zerolatency speed-preset=ultrafast pass=quant \
         quantizer=23 key-int-max=25 ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 timestamp-offset={} \
         appsrc name=sound is-live=true ! clocksync ! audioconvert ! avenc_aac bitrate=64000 ! aacparse \
         ! rtpmp4gpay name=pay1 pt=97 timestamp-offset={}",
        base(90_000),
        base(48_000)
    );
    let camera = guarded(&password, Show::described(&Recipe::new(3600.0), &text));
    let wraps = Arc::new(Mutex::new(Wraps::default()));
    let network = Proxy::meddled(camera.port(), wraps.clone());
    let mut scene = Scene::start(&source("wrapping", &at(network.port(), &password), ""), |run| run);
    scene.wait_for(JUDGED, "wrapping", |event| event["data"]["window"]["index"] == 3);
    let (run, endpoint, held) = scene.end();
    let wraps = wraps.lock().unwrap().1;
    case.exactly("wraps of the pictures' times", 1, wraps[0]);
    case.exactly("wraps of the sound's", 1, wraps[2]);
    let events = run.events();
    let (seen, _) = windows(&events, "wrapping");
    case.exactly("continuities", 1, seen.keys().map(|place| place.0).max().unwrap() + 1);
    case.exactly(
        "whole windows judged of the first four",
        4,
        seen.values().take(4).filter(|window| window.0).count() as u64,
    );
    let judged = run.events_of(JUDGED);
    let missing: Vec<i64> = judged.iter().filter(|event| is_whole(event)).map(missing_pictures).collect();
    // A picture that comes at the edge of two windows, within what its time is rounded by, may be one more of either.
    let ok = missing.iter().all(|missing| (-1..=0).contains(missing));
    case.row("pictures missing in each whole window", "0, or one more than expected", &format!("{missing:?}"), ok);
    let silent = judged.iter().map(|event| event["data"]["quality"]["sound_missing_secs"].as_f64().unwrap());
    // The first block of sound may come after the first picture.
    let silent = silent.skip(1).fold(0.0, f64::max);
    case.row("sound missing in a later window", "at most 1 ms", &format!("{:.1} ms", silent * 1e3), silent <= 0.001);
    After { whole: &["wrapping"], memory: Some((held, 300)), ..After::watch(&run, &[&endpoint]) }.check(&mut case);
    case.end();
}

fn missing_pictures(event: &Value) -> i64 {
    let count = |key: &str| event["data"]["quality"][key].as_i64().unwrap();
    count("pictures_expected") - count("pictures_seen")
}

/// The wall clock of a program, which a test sets: package libfaketime, see scripts/setup.sh.
struct Wall(std::path::PathBuf);

impl Wall {
    fn set(&self, ahead: &str) {
        let new = self.0.with_extension("new");
        std::fs::write(&new, format!("{ahead}\n")).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }
}

#[test]
#[ignore = "make faults"]
fn case_11_the_wall_clock_is_set() {
    let mut case = Case::begin("11", "the wall clock is set an hour forward, then back");
    let secrets = Secrets::new();
    let (password, dir) = (secrets.take(), tempfile::tempdir().unwrap());
    let camera = guarded(&password, Show::live(&Recipe::new(3600.0)));
    let wall = Wall(dir.path().join("time"));
    wall.set("+0");
    let mut scene = Scene::start(&source("camera", &at(camera.port(), &password), ""), |run| {
        run.with_plain_malloc()
            .env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1")
            .env("FAKETIME_TIMESTAMP_FILE", &wall.0)
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    });
    for (index, ahead) in [(0, "+3600s"), (2, "+0s"), (4, "+0s")] {
        scene.wait_for(JUDGED, "camera", |event| event["data"]["window"]["index"] == index);
        wall.set(ahead);
    }
    let times: Vec<jiff::Timestamp> = told(&scene.run, JUDGED, "camera")
        .iter()
        .map(|event| event["time"].as_str().unwrap().parse().unwrap())
        .collect();
    let steps: Vec<i64> = times.windows(2).map(|pair| (pair[1].duration_since(pair[0])).as_secs()).collect();
    let (forward, back) = (steps.iter().max().unwrap(), steps.iter().min().unwrap());
    let said = format!("from window to window the events' times go {forward} s forward and {back} s back");
    case.row("the clock was set", "by an hour, both ways", &said, *forward > 3500 && *back < -3500);
    let (run, endpoint, held) = scene.end();
    let events = run.events();
    let (seen, twice) = windows(&events, "camera");
    case.exactly("sessions", 1, run.events_of("ah.session.started.v1").len() as u64);
    case.exactly("times the camera was told as lost", 0, run.events_of("ah.source.lost.v1").len() as u64);
    let whole: Vec<_> = seen.iter().take(5).collect();
    let missed = whole.iter().zip(0i64..).filter(|(((continuity, index), (judged, from, to)), n)| {
        let place = (*continuity, i64::try_from(*index).unwrap(), *from, *to);
        !judged || place != (0, *n, n * 5_000_000_000, (n + 1) * 5_000_000_000)
    });
    case.exactly("windows missed, moved or not judged, of five", 0, missed.count() as u64);
    case.exactly("windows told twice", 0, twice as u64);
    After { whole: &["camera"], memory: Some((held, 300)), ..After::watch(&run, &[&endpoint]) }.check(&mut case);
    case.end();
}

/// Where true time is stamped by a stream's clock, seconds.
type Clock = fn(f64) -> f64;

/// Two hours of a camera whose clocks are wrong, on the program's own timeline. Pictures are 5 a second and carry their
/// number; each value of the sound is the millisecond it sounded in, modulo 30 s. Frames arrive 40 ms (sound) and 120 ms
/// (pictures) late, by up to 30 ms more, and the last half second of each minute comes all at once.
struct Drifting {
    sound: Clock,
    pictures: Clock,
    /// True seconds in which no sound is captured, which its clock does not count.
    deaf: std::ops::Range<f64>,
    luck: Luck,
}

/// A window: how far apart what is heard and seen in its middle truly are, and whether it says that it is unreliable.
struct Apart {
    secs: f64,
    told: bool,
}

const PICTURES_A_SECOND: f64 = 5.0;
const BLOCK: i64 = 1024;

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "two hours are few of anything"
)]
impl Drifting {
    fn new(sound: Clock, pictures: Clock) -> Self {
        Self { sound, pictures, deaf: 0.0..0.0, luck: Luck::new(9) }
    }

    fn play(mut self, secs: f64) -> Vec<Apart> {
        let mut timeline = Timeline::new(
            Cutting::LIVE,
            Box::new(|time, n: &u32| {
                Some(Still { time, width: 2, height: 2, jpeg: bytes::Bytes::copy_from_slice(&n.to_be_bytes()) })
            }),
        );
        timeline.streams(Streams { audio: true, video: true });
        let (mut waiting, mut cuts, mut found): (Vec<(f64, Frame<u32>)>, _, _) = (Vec::new(), Vec::new(), Vec::new());
        let (mut number, mut captured, mut newest) = (0u32, 0.0, [0.0; 2]);
        let mut until = 0.0;
        while until < secs {
            until += 0.5;
            while f64::from(number) / PICTURES_A_SECOND < until {
                let at = f64::from(number) / PICTURES_A_SECOND;
                let time = MediaTime::from_secs_f64(1.0 + (self.pictures)(at));
                newest[0] = self.arrival(at + 0.12, newest[0]);
                waiting.push((newest[0], Frame::Picture { time, image: number }));
                number += 1;
            }
            while captured < until {
                if self.deaf.contains(&captured) {
                    captured = self.deaf.end;
                }
                // A fast clock takes its values in less time.
                let rate = ((self.sound)(captured + 1e-3) - (self.sound)(captured)) / 1e-3;
                let length = BLOCK as f64 / 16e3 / if (0.9..1.1).contains(&rate) { rate } else { 1.0 };
                let value = |n: i64| ((captured + length * n as f64 / BLOCK as f64) * 1e3) as i64 % 30_000 + 1;
                let pcm = (0..BLOCK).map(|n| value(n) as i16).collect();
                let time = MediaTime::from_secs_f64(1.0 + (self.sound)(captured));
                captured += length;
                newest[1] = self.arrival(captured + 0.04, newest[1]);
                waiting.push((newest[1], Frame::Sound { time, pcm }));
            }
            waiting.sort_by(|a, b| a.0.total_cmp(&b.0));
            let arrived = waiting.partition_point(|frame| frame.0 < until);
            for (arrival, frame) in waiting.drain(..arrived) {
                timeline.frame(frame, MediaTime::from_secs_f64(arrival), 0, &mut cuts);
            }
            found.extend(
                cuts.drain(..)
                    .filter_map(|cut| if let Cut::Window(window) = cut { Some(apart(&window)) } else { None }),
            );
        }
        found
    }

    /// Nothing overtakes within a stream.
    fn arrival(&mut self, at: f64, before: f64) -> f64 {
        let jitter = (self.luck.number() % 30_000) as f64 / 1e6;
        let to_minute = 60.0 - at % 60.0;
        (at + jitter + if to_minute < 0.5 { to_minute } else { 0.0 }).max(before + 1e-6)
    }
}

#[allow(clippy::cast_precision_loss, reason = "a window is short")]
fn apart(window: &Window) -> Apart {
    let heard = window.sound.as_ref().unwrap();
    let place = (40_000..heard.len()).find(|at| heard[*at] != 0).unwrap();
    let middle = window.media.start().as_secs_f64() + place as f64 / 16e3;
    let far = |still: &&Still| (still.time.as_secs_f64() - middle).abs();
    let still = window.pictures.iter().min_by(|a, b| far(a).total_cmp(&far(b))).unwrap();
    let number = u32::from_be_bytes(still.jpeg.as_ref().try_into().unwrap());
    let shown = f64::from(number) / PICTURES_A_SECOND + middle - still.time.as_secs_f64();
    let heard = f64::from(heard[place] - 1) / 1e3;
    // The values come again after 30 s.
    let secs = (heard - shown + 15.0).rem_euclid(30.0) - 15.0;
    Apart { secs, told: window.alignment.is_some_and(|alignment| !alignment.reliable) }
}

#[test]
#[ignore = "make faults"]
fn case_9_clocks_drift_and_step() {
    const HOURS: f64 = 2.0;
    let mut case =
        Case::begin("9", "clocks of sound and pictures drift 500 ppm for 2 h (simulated); one steps by 400 ms");
    let true_time: Clock = |at| at;
    let (fast, slow): (Clock, Clock) = (|at| at * 1.0005, |at| at * 0.9995);
    let drifts = [
        ("right clocks", true_time, true_time),
        ("the sound's is fast", fast, true_time),
        ("the sound's is slow", slow, true_time),
        ("the pictures' is fast", true_time, fast),
    ];
    for (what, sound, pictures) in drifts {
        let windows = Drifting::new(sound, pictures).play(HOURS * 3600.0);
        let told = windows.iter().filter(|window| window.told).count();
        let worst = windows.iter().filter(|window| !window.told).fold(0.0, |worst: f64, w| worst.max(w.secs.abs()));
        let measured =
            format!("{:.1} ms at most; {told} of {} windows say that they are unreliable", worst * 1e3, windows.len());
        let enough = windows.len() >= 1430 && told <= windows.len() / 100;
        case.row(what, "at most 40 ms apart; at most 1 % unreliable", &measured, worst <= 0.040 && enough);
    }
    let ahead: Clock = |at| if at < 602.5 { at } else { at + 0.4 };
    let back: Clock = |at| if at < 602.5 { at } else { at - 0.4 };
    let skips: Clock = |at| if at < 602.5 { at } else { at - 0.4 };
    for (what, sound, deaf) in [
        ("the sound's clock goes 400 ms ahead", ahead, 0.0..0.0),
        ("the sound's clock goes 400 ms back", back, 0.0..0.0),
        ("400 ms of sound are not captured, nor counted", skips, 602.5..602.9),
    ] {
        let windows = Drifting { deaf, ..Drifting::new(sound, true_time) }.play(1200.0);
        let silent = windows.iter().filter(|window| !window.told);
        let worst = silent.fold(0.0, |worst: f64, window| worst.max(window.secs.abs()));
        let told = windows.iter().filter(|window| window.told).count();
        let measured = format!(
            "{told} of {} windows say that they are unreliable; the others are at most {:.1} ms apart",
            windows.len(),
            worst * 1e3
        );
        case.row(
            what,
            "unreliable, or at most 40 ms apart",
            &measured,
            worst <= 0.040 && told >= 100 && windows.len() >= 230,
        );
    }
    case.end();
}
