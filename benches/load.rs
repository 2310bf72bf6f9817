//! What the panel does under load. `cargo bench --bench load -- NAME...` with some of `offline live crowded recovery body`.
//!
//! A seeded server in this process has so many slots and draws each request's service time evenly from half to one and a half
//! times the mean; what finds no slot waits there. Windows are real ones, cut from the sample recording at 640x480, and go through
//! the tasks that `ahwatch watch` runs: encoded, put to the panel over HTTP on loopback, judged, told as events.

#![allow(clippy::disallowed_methods, reason = "measures with threads, tasks and clocks of its own")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "counts and sums are small"
)]

#[allow(dead_code, reason = "shared with the other benches")]
mod process;
#[allow(dead_code, reason = "shared with the other benches")]
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ahwatch::alert::{Event, EventKind};
use ahwatch::config::{Config, Judging, Overrides, RawConfig, defaults};
use ahwatch::encode::{StillEncoder, clips};
use ahwatch::judge::panel::{Due, Panel};
use ahwatch::judge::{Answer, WindowId};
use ahwatch::run::{FromSource, Item, cut};
use ahwatch::source::{Description, Finish, Location, Retry, Spec};
use ahwatch::stage::Stages;
use ahwatch::time::{MediaTime, Span};
use ahwatch::watch::measure::{desk, work};
use ahwatch::watch::{Judges, Plan, Watcher, session_settings};
use ahwatch::window::{Cut, Cutting, Window};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use table::{Repeats, print};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

const SEED: u64 = 7;
const SOURCES: usize = 16;
const WINDOW: MediaTime = MediaTime::from_millis(5000);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    println!("{}", process::machine());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    let wanted = |name: &str| args.is_empty() || args.iter().any(|arg| arg == name);
    let windows = sample();
    if wanted("offline") {
        runtime.block_on(offline(&windows));
    }
    if wanted("live") {
        runtime.block_on(live(&windows, 50, None));
    }
    if wanted("crowded") {
        runtime.block_on(live(&windows, 25, Some(Duration::from_millis(200))));
    }
    if wanted("recovery") {
        runtime.block_on(recovery(&windows));
    }
    if wanted("body") {
        body(&windows);
    }
}

/// The windows of the sample recording.
fn sample() -> Vec<Window> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/media/interview.mp4");
    let spec = Spec::once("bench", Location::File(path), Description::shipped("file.gst", None).expect("shipped"));
    let stills = StillEncoder::new(defaults::MAX_PIXELS, defaults::JPEG_QUALITY).expect("encoder");
    let (_running, stop) = crossbeam_channel::bounded::<Infallible>(0);
    let mut windows = Vec::new();
    cut(&spec, &Retry::default(), Cutting::RECORDING, stills, &stop, |message| {
        if let FromSource::Cut(Cut::Window(window), _) = message {
            windows.push(*window);
        }
        true
    });
    assert_eq!(windows.len(), 10, "windows of the sample");
    windows
}

/// The same media as the `index`th window of a session.
fn relabelled(windows: &[Window], index: u32) -> Window {
    let window = &windows[index as usize % windows.len()];
    let start = MediaTime::from_millis(5000 * i64::from(index));
    let span = Span::new(start, start + WINDOW);
    let (pictures, sound) = (window.pictures.clone(), window.sound.clone());
    Window { id: WindowId { continuity: 0, index }, media: span, span, pictures, sound, ..*window }
}

/// When each request was in a slot.
type Served = Arc<Mutex<Vec<(Instant, Instant)>>>;

struct Server {
    url: String,
    served: Served,
    well: Arc<AtomicBool>,
}

impl Server {
    async fn start(slots: usize, mean: Duration) -> Self {
        let (served, well): (Served, _) = (Served::default(), Arc::new(AtomicBool::new(true)));
        let (slots, rng) = (Arc::new(Semaphore::new(slots)), Arc::new(Mutex::new(StdRng::seed_from_u64(SEED))));
        let (record, healthy, listed) = (served.clone(), well.clone(), well.clone());
        let status = |well: &AtomicBool| {
            if well.load(Ordering::SeqCst) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
        };
        let answer = move |_: axum::body::Bytes| {
            let (slots, rng, record, well) = (slots.clone(), rng.clone(), record.clone(), healthy.clone());
            async move {
                let _slot = slots.acquire_owned().await.expect("never closed");
                let began = Instant::now();
                let factor = rng.lock().expect("not poisoned").random_range(0.5..1.5);
                tokio::time::sleep(mean.mul_f64(factor)).await;
                record.lock().expect("not poisoned").push((began, Instant::now()));
                let message = json!({"message": {"content": "<answer>No</answer>"}, "finish_reason": "stop"});
                (status(&well), axum::Json(json!({"choices": [message]})))
            }
        };
        let app = Router::new()
            .route("/v1/models", get(move || async move { status(&listed) }))
            .route("/v1/chat/completions", post(answer))
            .layer(axum::extract::DefaultBodyLimit::max(64 << 20));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback port");
        let url = format!("http://{}/v1", listener.local_addr().expect("address"));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, served, well }
    }

    fn config(&self, judges: usize, more: &str) -> Config {
        let table = |n| format!("[[judge]]\nname = \"v{n}\"\nbase_url = \"{}\"\nmodel = \"m\"\n{more}\n", self.url);
        let text: String = (0..judges).map(table).collect();
        Config::build(RawConfig::parse(&text, Path::new("bench")), Overrides::default(), &|_| None).expect("valid")
    }
}

fn panel(config: &Config) -> Arc<Panel> {
    match &config.judging {
        Judging::Panel(judges) => Arc::new(Panel::new(judges).expect("set up")),
        Judging::Cues { .. } => unreachable!("a panel is configured"),
    }
}

/// A plan without gate and models; flags are of what needs none. `crowded`: this machine takes so long for those of one
/// window, one after the other.
fn plan(config: &Config, panel: &Arc<Panel>, live: bool, crowded: Option<Duration>) -> Arc<Plan> {
    let (desk, mut jobs) = desk(16);
    if let Some(pause) = crowded {
        let (late, held) = mpsc::channel(1);
        let given = std::mem::replace(&mut jobs, Arc::new(Mutex::new(held)));
        std::thread::spawn(move || {
            while let Some(job) = given.lock().expect("not poisoned").blocking_recv() {
                std::thread::sleep(pause);
                late.blocking_send(job).expect("somebody measures");
            }
        });
    }
    std::thread::spawn(move || work(&jobs, None));
    Arc::new(Plan {
        cutting: Cutting { live, ..Cutting::RECORDING },
        max_pixels: config.window.max_pixels,
        jpeg_quality: config.window.jpeg_quality,
        codec: config.window.clip_codec,
        settings: Arc::new(session_settings(config)),
        judges: Judges::Panel(Arc::clone(panel)),
        gate: config.gate,
        desk,
        stages: Stages::default(),
        care: Arc::new(()),
    })
}

async fn give(items: &mpsc::Sender<Item>, cut: Cut) {
    items.send(Item::From(FromSource::Cut(cut, Instant::now()))).await.expect("the task listens");
}

async fn finish(items: &mpsc::Sender<Item>, windows: u32) {
    give(items, Cut::ContinuityEnded { continuity: 0, windows }).await;
    give(items, Cut::SessionEnded { elapsed: MediaTime::from_millis(5000 * i64::from(windows)) }).await;
    let finish = Finish { complete: true, missing: MediaTime::ZERO, error: None };
    items.send(Item::From(FromSource::Finished(finish))).await.expect("the task listens");
}

/// One recording before a panel of one.
async fn offline(windows: &[Window]) {
    let mut rows = Vec::new();
    for slots in [1_usize, 2, 4, 8, 16, 32, 64, 128] {
        // At most 64 windows a second, so that the slots are the limit and not two cores.
        let mean = Duration::from_millis(250).max(Duration::from_micros(15_625) * slots as u32);
        let server = Server::start(slots, mean).await;
        let config = server.config(1, &format!("max_in_flight = {slots}\ndeadline_ms = 60000"));
        let plan = plan(&config, &panel(&config), false, None);
        let ((items, queue), (events, mut heard)) = (mpsc::channel(2), mpsc::channel(1024));
        let (_grace, grace) = watch::channel(None);
        let count = 32.max(slots as u32 * 8);
        let task = tokio::spawn(Watcher::new("bench", false, plan, events, grace).run(queue));
        let counting = tokio::spawn(async move {
            let mut judged = 0_u32;
            while let Some(event) = heard.recv().await {
                judged += u32::from(matches!(event.kind, EventKind::WindowJudged(_)));
            }
            judged
        });
        give(&items, Cut::SessionBegan).await;
        for index in 0..count {
            give(&items, Cut::Window(Box::new(relabelled(windows, index)))).await;
        }
        finish(&items, count).await;
        drop(items);
        task.await.expect("no panic");
        assert_eq!(counting.await.expect("no panic"), count, "a recording loses nothing");
        let served = server.served.lock().expect("not poisoned").clone();
        // From the first request to when the last began: afterwards there is nothing left to fill slots with.
        let first = served.iter().map(|(began, _)| *began).min().expect("served");
        let last = served.iter().map(|(began, _)| *began).max().expect("served");
        let busy: f64 = served.iter().map(|(began, ended)| (*ended.min(&last) - *began).as_secs_f64()).sum();
        let share = busy / (slots as f64 * (last - first).as_secs_f64());
        rows.push(vec![
            slots.to_string(),
            format!("{:.0}", mean.as_secs_f64() * 1e3),
            count.to_string(),
            format!("{:.1} %", share * 100.0),
        ]);
    }
    let title = "Offline: one recording, one judge, `max_in_flight` = slots; busy slot time over slots x time, from the first \
                 request to the start of the last (target 95 %)";
    print(title, &["slots", "mean service ms", "windows", "of capacity"], &rows);
}

/// Cameras that together send three times what the server takes, `each` so many windows. `crowded`: this machine is slower at noticing
/// flags than windows come.
async fn live(windows: &[Window], each: u32, crowded: Option<Duration>) {
    const SLOTS: usize = 8;
    const HOP: Duration = Duration::from_secs(2);
    let mean = Duration::from_secs(3);
    let server = Server::start(SLOTS, mean).await;
    let config = server.config(1, &format!("max_in_flight = {SLOTS}\ndeadline_ms = 10000"));
    let plan = plan(&config, &panel(&config), true, crowded);
    let (events, mut heard) = mpsc::channel::<Event>(4096);
    let (_grace, grace) = watch::channel(None);
    let mut rng = StdRng::seed_from_u64(SEED);
    let (ends, mut tasks) = (Arc::new(Mutex::new(BTreeMap::new())), Vec::new());
    let began = Instant::now();
    for source in 0..SOURCES {
        let name = format!("s{source:02}");
        let (items, queue) = mpsc::channel(64);
        let watcher = Watcher::new(&name, true, Arc::clone(&plan), events.clone(), grace.clone());
        tasks.push(tokio::spawn(async move { drop(watcher.run(queue).await) }));
        let phase = HOP.mul_f64(rng.random_range(0.0..1.0));
        let (ends, windows) = (Arc::clone(&ends), windows.to_vec());
        tasks.push(tokio::spawn(async move {
            give(&items, Cut::SessionBegan).await;
            for index in 0..each {
                let at = began + phase + HOP * index;
                tokio::time::sleep_until(at.into()).await;
                ends.lock().expect("not poisoned").insert((name.clone(), index), Instant::now());
                give(&items, Cut::Window(Box::new(relabelled(&windows, index)))).await;
            }
            finish(&items, each).await;
        }));
    }
    drop(events);
    let (mut ages, mut dropped, mut lost) = (Vec::new(), BTreeMap::<String, u32>::new(), 0);
    while let Some(event) = heard.recv().await {
        let source = event.source.to_string();
        match &event.kind {
            EventKind::WindowJudged(judged) => {
                let end = ends.lock().expect("not poisoned")[&(source, judged.window.index)];
                ages.push(end.elapsed().as_secs_f64());
            }
            EventKind::WindowDropped(window, _) if window.window.is_some() => *dropped.entry(source).or_default() += 1,
            EventKind::WindowLost(window, _) if window.window.is_some() => lost += 1,
            _ => {}
        }
    }
    for task in tasks {
        task.await.expect("no panic");
    }
    let served = server.served.lock().expect("not poisoned").clone();
    // While windows come, from when the slots are first full.
    let (from, to) = (began + HOP * 2, began + HOP * each);
    let inside = |at: Instant| at.clamp(from, to);
    let busy: f64 = served.iter().map(|(b, e)| (inside(*e) - inside(*b)).as_secs_f64()).sum();
    let capacity = SLOTS as f64 * (to - from).as_secs_f64();
    let judged = ages.len();
    let ages: Repeats = ages.into_iter().collect();
    let (most, least) = (dropped.values().max().copied().unwrap_or(0), dropped.values().min().copied().unwrap_or(0));
    let title = format!(
        "Live at three times the capacity: {SOURCES} sources, a window each {} s at random phase, {SLOTS} slots of {} s on average, \
         deadline 10 s, n = {} windows{}",
        HOP.as_secs(),
        mean.as_secs(),
        SOURCES as u32 * each,
        crowded.map_or(String::new(), |pause| format!(
            "; flags take this machine {} ms a window at least",
            pause.as_millis()
        ))
    );
    let row = |what: &str, target: &str, measured: String| vec![what.to_owned(), target.to_owned(), measured];
    let useful = judged as f64 / served.len() as f64;
    let rows = [
        row("goodput of capacity", "95 %", format!("{:.1} %", 100.0 * useful * busy / capacity)),
        row(
            "age of a verdict, p50 and p99",
            "p99 10 s",
            format!("{:.2} and {:.2} s", ages.median(), ages.quantile(0.99)),
        ),
        row("oldest", "", format!("{:.2} s", ages.quantile(1.0))),
        row(
            "drops a source, most over least",
            "1.1",
            format!("{most} / {least} = {:.3}", f64::from(most) / f64::from(least)),
        ),
        row("judged, dropped, lost", "", format!("{judged}, {}, {lost}", dropped.values().sum::<u32>())),
    ];
    print(&title, &["what", "target", "measured"], &rows);
}

/// How long after a server is well again a window is judged.
async fn recovery(windows: &[Window]) {
    let mut took = Vec::new();
    let mut rng = StdRng::seed_from_u64(SEED);
    for _ in 0..10 {
        let server = Server::start(8, Duration::from_millis(50)).await;
        server.well.store(false, Ordering::SeqCst);
        let config = server.config(1, "");
        let panel = panel(&config);
        let set = clips(&windows[0], config.window.clip_codec, &panel.clip_sizes()).expect("clips");
        let ask = || async { panel.judge(&set, &[], Due::After(tokio::time::Instant::now())).await.remove(0).answer };
        let outage = async {
            ask().await;
            tokio::time::sleep(Duration::from_millis(rng.random_range(1500..2500))).await;
            server.well.store(true, Ordering::SeqCst);
            let healed = Instant::now();
            while ask().await != Answer::Absent {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            healed.elapsed().as_secs_f64()
        };
        tokio::select! {
            secs = outage => took.push(secs),
            never = panel.watch() => match never {},
        }
    }
    let took: Repeats = took.into_iter().collect();
    let title =
        "From the server being well again to the first verdict (target 2 s); a window each 10 ms, service 25 to 75 ms";
    print(title, &["outages", "s, median (range)"], &[vec![took.count().to_string(), took.shown(2)]]);
}

/// CPU of a window's clip and of the bodies made of it.
fn body(windows: &[Window]) {
    const ROUNDS: usize = 40;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let server = runtime.block_on(Server::start(1, Duration::ZERO));
    let each = |work: &mut dyn FnMut(&Window)| {
        let runs: Repeats = (0..5)
            .map(|_| {
                let before = process::own_cpu();
                for window in (0..ROUNDS).flat_map(|_| windows) {
                    work(window);
                }
                (process::own_cpu() - before) * 1e3 / (ROUNDS * windows.len()) as f64
            })
            .collect();
        runs
    };
    let mut rows = Vec::new();
    let mut encoding = 0.0;
    for judges in [0, 1, 3] {
        let config = server.config(judges.max(1), "");
        let panel = panel(&config);
        let sizes: BTreeSet<u32> = panel.clip_sizes();
        let cpu = each(&mut |window| {
            let set = clips(window, config.window.clip_codec, &sizes).expect("clips");
            let clip = set.any().expect("a clip");
            for judge in panel.judges().iter().take(judges) {
                std::hint::black_box(judge.body(clip).expect("whole"));
            }
        });
        if judges == 0 {
            encoding = cpu.median();
        }
        let what =
            if judges == 0 { "clip alone, base64 included".to_owned() } else { format!("clip and {judges} bodies") };
        rows.push(vec![what, cpu.shown(2), format!("{:.2}", cpu.median() - encoding)]);
    }
    let set = clips(&windows[0], server.config(1, "").window.clip_codec, &BTreeSet::from([defaults::MAX_PIXELS]));
    let clip = Arc::clone(set.expect("clips").any().expect("a clip"));
    let media = clip.video().map_or(0, bytes::Bytes::len) + clip.audio().map_or(0, bytes::Bytes::len);
    let sent = panel(&server.config(1, "")).judges()[0].body(&clip).expect("whole").len();
    let title = format!(
        "CPU of a window at 640x480, n = 5 runs of {} windows; ms, median (range). Target 12 ms beside the clip, three judges at most \
         1.15 of one. Body over 4/3 x media: {:.4} (target 1.02, headers included in a test)",
        ROUNDS * windows.len(),
        sent as f64 / (media as f64 * 4.0 / 3.0)
    );
    print(&title, &["what", "CPU ms", "beside the clip"], &rows);
}
