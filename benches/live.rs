//! The program on cameras: memory, and latency.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::kit::endpoint::{Endpoint, Judge};
use super::kit::rtsp::{Camera, Show};
use super::kit::run::{Running, ahwatch};
use super::process;
use super::recordings::VGA;
use super::table::{Repeats, print};

/// How long the program runs before its memory is read.
const SETTLE: Duration = Duration::from_secs(30);
/// Windows whose latency is measured.
const WINDOWS: usize = 40;

/// A camera and a test endpoint in this process, the program in another.
struct Scene {
    program: Running,
    endpoint: Endpoint,
    _camera: Camera,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn start(streams: usize, hop_secs: &str) -> Self {
        let camera = Camera::start(Show::File { path: VGA.path(), pictures: true, sound: true });
        let endpoint = Endpoint::start([("planted", Judge::default())]);
        let folder = tempfile::tempdir().expect("a folder");
        let panel = folder.path().join("panel.toml");
        write_panel(&panel, &endpoint.base_url());
        let panel = panel.to_str().expect("UTF-8").to_owned();
        let url = camera.url("/live");
        let mut args: Vec<&str> =
            vec!["watch", "--json", "--no-canary", "--log", "ahwatch=debug", "--log-format", "json"];
        args.extend(["--panel", &panel, "--hop-secs", hop_secs]);
        args.extend(std::iter::repeat_n(url.as_str(), streams));
        let program = ahwatch(args).start();
        Self { program, endpoint, _camera: camera, _folder: folder }
    }
}

/// A panel of one.
pub fn write_panel(path: &Path, base_url: &str) {
    let text = format!("[[judge]]\nname = \"one\"\nbase_url = \"{base_url}\"\nmodel = \"planted\"\n");
    std::fs::write(path, text).expect("the folder is writable");
}

/// Memory of the program with one and with eight cameras.
pub fn memory() {
    let mut rows = Vec::new();
    let mut resident = Vec::new();
    for streams in [1usize, 8] {
        let mut scene = Scene::start(streams, "5.0");
        let began = Instant::now();
        scene.program.wait_until(SETTLE * 3, "a window of every camera", |run| {
            let judged = run.events().iter().filter(|event| event["type"] == "ah.window.judged.v1").count();
            (judged >= streams * 4 && began.elapsed() >= SETTLE).then_some(())
        });
        let pid = scene.program.id();
        let (rss, pss) = process::memory(pid);
        let cpu = process::cpu(&pid.to_string()) / began.elapsed().as_secs_f64();
        let events = scene.program.events();
        let lost =
            events.iter().filter(|e| e["type"] == "ah.window.dropped.v1" || e["type"] == "ah.window.lost.v1").count();
        resident.push(rss);
        rows.push(vec![
            streams.to_string(),
            format!("{rss:.1}"),
            format!("{pss:.1}"),
            process::threads(pid).to_string(),
            format!("{:.3}", cpu / streams as f64),
            lost.to_string(),
        ]);
    }
    let title = format!(
        "Memory of `ahwatch watch` on RTSP cameras, {}, panel of one, no gate, after {} s; each further stream: {:.1} MiB resident (target 16)",
        VGA.name,
        SETTLE.as_secs(),
        (resident[1] - resident[0]) / 7.0
    );
    let head = ["streams", "RSS MiB", "PSS MiB", "threads", "CPU s a second and stream", "windows dropped or lost"];
    print(&title, &head, &rows);
}

/// From the arrival of the frame that completes a window to the request.
pub fn latency() {
    let (wall, clock) = (Timestamp::now(), Instant::now());
    let mut scene = Scene::start(1, "1.0");
    let limit = Duration::from_secs(120);
    scene.program.wait_until(limit, "requests", |_| (scene.endpoint.requests().len() > WINDOWS).then_some(()));
    let log: Vec<Value> = scene.program.stderr().lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let asked: Vec<(f64, f64)> = log.iter().filter_map(|line| asked(line, wall)).take(WINDOWS).collect();
    let arrived: Vec<f64> =
        scene.endpoint.requests().iter().map(|seen| (seen.arrived - clock).as_secs_f64() * 1e3).collect();
    let sending: Repeats = asked.iter().map(|(_, after)| *after).collect();
    // One judge, one window after the other: requests are in the order of the log's lines.
    let received: Repeats = asked.iter().zip(&arrived).map(|((at, after), arrived)| arrived - (at - after)).collect();
    let row = |what: &str, ms: &Repeats| {
        let quantile = |share| format!("{:.1}", ms.quantile(share));
        vec![what.to_owned(), ms.count().to_string(), quantile(0.5), quantile(0.95), quantile(1.0)]
    };
    let rows = [row("request begun", &sending), row("request whole at the endpoint", &received)];
    let title = format!(
        "From the arrival of the decoded frame that completes a window to its request: RTSP camera, {}, a window each second; \
         target p95 60 ms",
        VGA.name
    );
    print(&title, &["until", "windows", "p50 ms", "p95 ms", "max ms"], &rows);
}

/// When the panel was asked, in milliseconds after `since`, and how long after the arrival that was.
fn asked(line: &Value, since: Timestamp) -> Option<(f64, f64)> {
    let fields = &line["fields"];
    let after = fields["after_ms"].as_f64().filter(|_| fields["message"] == "asking the panel")?;
    let at: Timestamp = line["timestamp"].as_str()?.parse().ok()?;
    Some((at.duration_since(since).as_secs_f64() * 1e3, after))
}
