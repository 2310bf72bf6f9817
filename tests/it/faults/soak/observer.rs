//! What a process holds, second by second.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::kit::process::status;

/// A look at the program.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look {
    /// Since the first look.
    pub secs: f64,
    /// Resident, kB.
    pub held: i64,
    /// Of it anonymous, kB.
    pub own: i64,
    /// Open descriptors.
    pub descriptors: i64,
    /// Threads.
    pub threads: i64,
}

/// Looks at the program once a second.
pub struct Observer {
    looks: Arc<Mutex<Vec<Look>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Observer {
    /// Of a process.
    pub fn start(process: u32) -> Self {
        let (looks, stop): (Arc<Mutex<Vec<Look>>>, Arc<AtomicBool>) = Default::default();
        let (kept, stopped) = (Arc::clone(&looks), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let began = Instant::now();
            while !stopped.load(Ordering::SeqCst) {
                let Some(look) = look(process, began.elapsed().as_secs_f64()) else { break };
                kept.lock().unwrap().push(look);
                std::thread::sleep(Duration::from_secs(1)); // the rate of looking
            }
        });
        Self { looks, stop, thread }
    }

    /// The last look.
    pub fn last(&self) -> Look {
        self.looks.lock().unwrap().last().copied().unwrap_or_default()
    }

    /// All looks.
    pub fn finish(self) -> Vec<Look> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        let looks = self.looks.lock().unwrap();
        looks.clone()
    }
}

#[allow(clippy::cast_possible_wrap, reason = "descriptors and kB are few")]
fn look(process: u32, secs: f64) -> Option<Look> {
    let number = |key| Some(status(process, key)? as i64);
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?.count() as i64;
    let (held, own, threads) = (number("VmRSS")?, number("RssAnon")?, number("Threads")?);
    Some(Look { secs, held, own, descriptors, threads })
}

/// The median of what was seen in a stretch of time.
pub fn median(looks: &[Look], secs: std::ops::Range<f64>, of: impl Fn(&Look) -> i64) -> i64 {
    let mut seen: Vec<i64> = looks.iter().filter(|look| secs.contains(&look.secs)).map(of).collect();
    assert!(!seen.is_empty(), "nobody looked in {secs:?}");
    seen.sort_unstable();
    seen[seen.len() / 2]
}

/// The looks as a table beside the laboratory's results, for who wants to see more than medians.
pub fn keep(looks: &[Look]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("soak.csv");
    let mut text = "secs,rss_kb,anonymous_kb,descriptors,threads\n".to_owned();
    for Look { secs, held, own, descriptors, threads } in looks {
        let _ = writeln!(text, "{secs:.1},{held},{own},{descriptors},{threads}");
    }
    std::fs::write(&path, text).unwrap();
    path
}
