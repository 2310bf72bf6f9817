//! Browsers that join: how many participants two cores carry without a dropped window.
//!
//! The watching runs in a process of its own, with a WHIP port, a source for each participant and the test endpoint for a panel;
//! the scripted browsers run here, on the same cores, with media that was encoded before. Of each codec there are more and more
//! participants until a window is dropped or lost; `PARTICIPANTS=vp8:24` measures that row alone.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahwatch::alert::event::CloudEvent;
use ahwatch::config::{Config, Input, Overrides, RawConfig, SourceConfig};
use ahwatch::run::{run, whip};
use ahwatch::source::pushed;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::kit::encoded::{Coding, units};
use super::kit::endpoint::{Endpoint, Judge};
use super::kit::peer::{Browser, Offering, Script};
use super::process;
use super::recordings::VGA;
use super::table::print;

/// Before anything is measured, all have joined and sent two windows.
const SETTLE: Duration = Duration::from_secs(12);
/// How long is measured.
const MEASURE: Duration = Duration::from_secs(30);

/// The recording as a browser's encoders would have made it; made by ffmpeg when first asked for.
fn recording(coding: Coding) -> PathBuf {
    let from = VGA.path();
    let to = from.with_extension(format!("{coding:?}.mkv"));
    if !to.exists() {
        let codec = match coding {
            Coding::H264 => "-c:v copy",
            Coding::Vp8 => "-c:v libvpx -deadline realtime -cpu-used 8 -g 50 -b:v 1M",
        };
        let part = to.with_extension("part.mkv");
        let text = format!("-v error -y -i {} {codec} -c:a libopus -b:a 32k -ac 2 {}", from.display(), part.display());
        let made = Command::new("ffmpeg").args(text.split_whitespace()).status().expect("ffmpeg");
        assert!(made.success(), "ffmpeg {text}");
        std::fs::rename(part, &to).expect("target/tmp is writable");
    }
    to
}

/// The process that watches.
struct Watching {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _endpoint: Endpoint,
}

impl Watching {
    fn start(participants: usize) -> Self {
        let endpoint = Endpoint::start([("planted", Judge::default())]);
        let mut child = Command::new(std::env::current_exe().expect("own path"))
            .args([process::CHILD, "whip", &participants.to_string(), &endpoint.base_url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("own program starts");
        let (input, output) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        Self { child, input, output: BufReader::new(output), _endpoint: endpoint }
    }

    fn ask(&mut self, question: &Value) -> Value {
        writeln!(self.input, "{question}").expect("it listens");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("it answered {line}"))
    }
}

/// So many participants, one row after the other.
const STEPS: [usize; 10] = [4, 8, 12, 16, 20, 24, 28, 32, 40, 48];

/// How many fit.
pub fn participants() {
    let wanted = std::env::var("PARTICIPANTS").ok();
    let wanted = wanted.as_deref().and_then(|row| row.split_once(':'));
    let mut rows = Vec::new();
    for (coding, name) in [(Coding::H264, "h264"), (Coding::Vp8, "vp8")] {
        let steps = match wanted {
            Some((codec, number)) if codec == name => vec![number.parse().expect("a number of participants")],
            Some(_) => Vec::new(),
            None => STEPS.to_vec(),
        };
        for participants in steps {
            let (row, whole) = measure(coding, participants);
            println!("{row:?}");
            rows.push(row);
            if !whole {
                break;
            }
        }
    }
    table(&rows);
}

/// One row, and whether no window was dropped or lost.
fn measure(coding: Coding, participants: usize) -> (Vec<String>, bool) {
    let media = units(&recording(coding), coding);
    let mut watching = Watching::start(participants);
    let browsers: Vec<Browser> = (0..participants)
        .map(|number| {
            let offering = Offering::new(coding);
            let answer = watching.ask(&json!({"join": number, "sdp": offering.sdp}));
            offering.play(answer["sdp"].as_str().expect("an answer"), Script::new(media.clone()))
        })
        .collect();
    std::thread::sleep(SETTLE);
    let pid = watching.child.id();
    let before = watching.ask(&json!({"report": true}));
    let (clock, cpu, own) = (Instant::now(), process::cpu(&pid.to_string()), process::own_cpu());
    std::thread::sleep(MEASURE);
    let elapsed = clock.elapsed().as_secs_f64();
    let cores = (process::cpu(&pid.to_string()) - cpu) / elapsed;
    let beside = (process::own_cpu() - own) / elapsed;
    let after = watching.ask(&json!({"report": true}));
    let (rss, _) = process::memory(pid);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let count = |key: &str| after[key].as_u64().unwrap_or(0) - before[key].as_u64().unwrap_or(0);
    let of = |key: &str| count(key).to_string();
    let row = vec![
        format!("{coding:?}"),
        participants.to_string(),
        format!("{cores:.2}"),
        format!("{:.3}", cores / participants as f64),
        format!("{beside:.2}"),
        format!("{rss:.0}"),
        process::threads(pid).to_string(),
        of("judged"),
        of("dropped"),
        of("lost"),
        of("unfed"),
        of("refused"),
        of("losses"),
        load.split(' ').next().unwrap_or_default().to_owned(),
    ];
    drop(browsers);
    let _ = watching.child.kill();
    let _ = watching.child.wait();
    (row, count("dropped") + count("lost") == 0)
}

fn table(rows: &[Vec<String>]) {
    let title = format!(
        "Participants by WHIP, {} with Opus, panel of one test endpoint, no gate, {} s after {} s. Browsers and endpoint share the machine",
        VGA.name,
        MEASURE.as_secs(),
        SETTLE.as_secs()
    );
    let head = [
        "codec",
        "participants",
        "cores",
        "a participant",
        "cores of the browsers",
        "RSS MiB",
        "threads",
        "windows judged",
        "dropped",
        "lost",
        "units refused by the feed",
        "frames missing in windows for want of time",
        "losses on the network",
        "load average at the end",
    ];
    print(&title, &head, rows);
}

/// The process that watches: offers and questions come in as lines of JSON, answers go out.
pub fn child(participants: &str, base_url: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let table = format!("[[judge]]\nname = \"one\"\nbase_url = \"{base_url}\"\nmodel = \"planted\"\n");
        let raw = RawConfig::parse(&table, "bench.toml".as_ref());
        let overrides = Overrides { no_canary: true, ..Overrides::default() };
        let mut config = Config::build(raw, overrides, &|_| None).expect("a configuration");
        let feeds: Vec<_> = (0..participants.parse().expect("a number")).map(|n: usize| pushed(&n.to_string())).collect();
        config.sources = feeds
            .iter()
            .map(|(_, feed)| SourceConfig::added(feed.name().into(), Input::Pushed(feed.clone())))
            .collect();
        let whip = whip("127.0.0.1:0".parse().expect("an address"), &[]).await.expect("a port");
        let (sender, mut events) = mpsc::channel(1024);
        let counts = Arc::new(std::sync::Mutex::new([0u64; 4]));
        let counted = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                let event = serde_json::to_value(CloudEvent::from(&event)).expect("JSON");
                let mut counts = counted.lock().expect("no panic");
                let window = !event["data"]["window"].is_null();
                let places = ["ah.window.judged.v1", "ah.window.dropped.v1", "ah.window.lost.v1"];
                if let Some(place) = places.iter().position(|kind| event["type"] == *kind).filter(|_| window) {
                    counts[place] += 1;
                }
                counts[3] += event["data"]["quality"]["refused_frames"].as_u64().unwrap_or(0);
            }
        });
        let (_running, stop) = oneshot::channel::<()>();
        tokio::spawn(async move { run(&config, sender, async { _ = stop.await }).await });
        let mut lines = std::io::stdin().lines();
        while let Some(Ok(line)) = lines.next() {
            let question: Value = serde_json::from_str(&line).expect("JSON");
            let answer = match question["join"].as_u64() {
                Some(number) => {
                    let (feed, sdp) = (feeds[number as usize].0.clone(), question["sdp"].as_str().expect("SDP"));
                    let answer = whip.offer(number.to_string().into(), sdp, feed).await.expect("is taken");
                    json!({"sdp": answer.sdp})
                }
                None => {
                    let counts = *counts.lock().expect("no panic");
                    let stats = whip.stats();
                    json!({"judged": counts[0], "dropped": counts[1], "lost": counts[2], "unfed": stats.refused, "refused": counts[3], "losses": stats.losses})
                }
            };
            println!("{answer}");
        }
    });
}
