//! Many cameras in one process: what each costs, how evenly their windows come, how soon they are all there, and whether one in
//! trouble disturbs the others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;

use super::kit::endpoint::{Endpoint, Judge};
use super::kit::proxy::{Mode, Proxy};
use super::kit::rtsp::{Camera, Show};
use super::kit::run::{Running, ahwatch};
use super::live::write_panel;
use super::process;
use super::recordings::{FLOOD, QVGA15, Recording, TINY, VGA15};
use super::table::{Repeats, print};

/// Before anything is measured, all cameras have come up and sent a few windows.
const SETTLE: Duration = Duration::from_secs(12);
/// How long is measured.
const MEASURE: Duration = Duration::from_secs(31);
const WINDOW_MS: f64 = 5000.0;

/// The program on cameras, judged by a test endpoint in this process.
struct Scene {
    program: Running,
    began: Instant,
    _endpoint: Endpoint,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn start(urls: &[String]) -> Self {
        let endpoint = Endpoint::start([("planted", Judge::default())]);
        let folder = tempfile::tempdir().expect("a folder");
        let panel = folder.path().join("panel.toml");
        write_panel(&panel, &endpoint.base_url());
        let sources = urls.iter().enumerate().map(|(i, url)| format!("[[source]]\nname = \"{i}\"\nurl = \"{url}\"\n"));
        let config = folder.path().join("many.toml");
        std::fs::write(&config, sources.collect::<String>()).expect("the folder is writable");
        let (panel, config) = (panel.to_str().expect("UTF-8"), config.to_str().expect("UTF-8"));
        let args = ["watch", "--json", "--no-canary", "--log", "ahwatch=debug", "--log-format", "json"];
        let program = ahwatch(args.into_iter().chain(["--panel", panel, "--config", config])).start();
        Self { program, began: Instant::now(), _endpoint: endpoint, _folder: folder }
    }

    fn wait(&mut self, time: Duration) {
        let began = Instant::now();
        self.program.wait_until(time * 2, "time", |_| (began.elapsed() >= time).then_some(()));
    }

    fn count(&self, kind: &str) -> usize {
        self.program.events().iter().filter(|event| event["type"] == kind).count()
    }

    /// How far the distance of two windows of a source is from 5 s, in milliseconds, for windows completed since `since`, over the
    /// sources that `wanted` takes.
    fn unevenness(&self, since: Timestamp, wanted: impl Fn(usize) -> bool) -> Repeats {
        let mut arrivals: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        let lines = self.program.stderr();
        for line in lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let fields = &line["fields"];
            let after = fields["after_ms"].as_f64().filter(|_| fields["message"] == "asking the panel");
            let source = fields["source"].as_str().and_then(|name| name.parse().ok());
            let at = line["timestamp"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
            if let (Some(after), Some(source), Some(at)) = (after, source, at)
                && wanted(source)
                && at > since
            {
                arrivals.entry(source).or_default().push(at.duration_since(since).as_secs_f64() * 1e3 - after);
            }
        }
        let distances = |times: &Vec<f64>| times.windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
        arrivals.values().flat_map(distances).map(|ms| (ms - WINDOW_MS).abs()).collect()
    }

    fn lost_windows(&self) -> usize {
        let window = |event: &&Value| !event["data"]["window"].is_null();
        let events = self.program.events();
        let of = |kind: &str| events.iter().filter(|event| event["type"] == kind).filter(window).count();
        of("ah.window.dropped.v1") + of("ah.window.lost.v1")
    }

    fn refused_frames(&self) -> u64 {
        self.program.events().iter().filter_map(|event| event["data"]["quality"]["refused_frames"].as_u64()).sum()
    }
}

fn camera(recording: &Recording) -> Camera {
    Camera::start(Show::File { path: recording.path(), pictures: true, sound: true })
}

/// Cost and cadence at 640x480.
pub fn vga() {
    sizing(&VGA15, &[1, 2, 4, 8, 16]);
}

/// The same at 320x240.
pub fn qvga() {
    sizing(&QVGA15, &[1, 8, 16, 32]);
}

fn sizing(recording: &Recording, sizes: &[usize]) {
    let mut rows = Vec::new();
    for &streams in sizes {
        let camera = camera(recording);
        let mut scene = Scene::start(&vec![camera.url("/live"); streams]);
        scene.wait(SETTLE);
        let pid = scene.program.id();
        let (since, clock, cpu) = (Timestamp::now(), Instant::now(), process::cpu(&pid.to_string()));
        scene.wait(MEASURE);
        let cores = (process::cpu(&pid.to_string()) - cpu) / clock.elapsed().as_secs_f64();
        let uneven = scene.unevenness(since, |_| true);
        let (rss, _) = process::memory(pid);
        let of = |share| format!("{:.1}", uneven.quantile(share));
        rows.push(vec![
            streams.to_string(),
            format!("{cores:.2}"),
            format!("{:.3}", cores / streams as f64),
            format!("{rss:.0}"),
            process::threads(pid).to_string(),
            uneven.count().to_string(),
            of(0.5),
            of(0.99),
            of(1.0),
            scene.lost_windows().to_string(),
            scene.refused_frames().to_string(),
        ]);
        scene.program.signal("INT");
    }
    let title = format!(
        "`ahwatch watch` on RTSP cameras, {}, panel of one test endpoint, no gate, {} s after {} s; unevenness: how far windows of a \
         source are from 5 s apart. Server and endpoint share the machine",
        recording.name,
        MEASURE.as_secs(),
        SETTLE.as_secs()
    );
    let head = [
        "sources",
        "cores",
        "a source",
        "RSS MiB",
        "threads",
        "n",
        "uneven p50 ms",
        "p99",
        "max",
        "windows dropped or lost",
        "frames refused",
    ];
    print(&title, &head, &rows);
}

/// How soon 64 cameras are there.
pub fn start() {
    let mut rows = Vec::new();
    for limit in [usize::MAX, 8] {
        let camera = camera(&TINY);
        let network = if limit == usize::MAX { Proxy::to(camera.port()) } else { Proxy::limited(camera.port(), limit) };
        let url = format!("rtsp://127.0.0.1:{}/live", network.port());
        let mut scene = Scene::start(&vec![url; 64]);
        let began = scene.began;
        let mut half = None;
        while scene.count("ah.session.started.v1") < 64 && began.elapsed() < Duration::from_secs(60) {
            if half.is_none() && scene.count("ah.session.started.v1") >= 32 {
                half = Some(began.elapsed());
            }
            scene.wait(Duration::from_millis(100));
        }
        let took = began.elapsed();
        rows.push(vec![
            if limit == usize::MAX { "any number".to_owned() } else { limit.to_string() },
            format!("{:.1}", half.unwrap_or(took).as_secs_f64()),
            format!("{:.1}", took.as_secs_f64()),
            network.connections().to_string(),
        ]);
        scene.program.signal("INT");
    }
    let title = format!(
        "64 RTSP cameras of one server, {}, started at once, until the first picture of each; target 15 s at 8 connections a second",
        TINY.name
    );
    print(&title, &["connections taken a second", "32 live after s", "64 live after s", "connections tried"], &rows);
}

/// Whether one camera in trouble disturbs four others.
pub fn isolation() {
    let mut rows = Vec::new();
    for trouble in ["none", "cut and stalled, every 5 s", "320x240 at 240 pictures a second"] {
        let (steady, shaky) = (camera(&VGA15), camera(if trouble.starts_with("320") { &FLOOD } else { &VGA15 }));
        let network = Proxy::to(shaky.port());
        let mut urls = vec![steady.url("/live"); 4];
        urls.push(format!("rtsp://127.0.0.1:{}/live", network.port()));
        let mut scene = Scene::start(&urls);
        scene.wait(SETTLE);
        let (since, clock) = (Timestamp::now(), Instant::now());
        while clock.elapsed() < MEASURE {
            if trouble.starts_with("cut") {
                for mode in [Mode::Cut, Mode::Pass, Mode::Stall, Mode::Pass] {
                    network.set(mode);
                    scene.wait(Duration::from_secs(5));
                }
            } else {
                scene.wait(MEASURE);
            }
        }
        let uneven = scene.unevenness(since, |source| source < 4);
        let of = |share| format!("{:.1}", uneven.quantile(share));
        rows.push(vec![trouble.to_owned(), uneven.count().to_string(), of(0.5), of(0.99), of(1.0)]);
        scene.program.signal("INT");
    }
    let title = format!(
        "Unevenness of the windows of four RTSP cameras, {}, beside a fifth in trouble; target p99 20 ms",
        VGA15.name
    );
    print(&title, &["the fifth", "n", "p50 ms", "p99 ms", "max ms"], &rows);
}
