//! Processes, and what they cost.

use std::process::Command;

/// First argument of a process that one of the benches starts.
pub const CHILD: &str = "--child";

/// Runs a part of a bench in a process of its own and returns the numbers it prints.
pub fn child(args: &[&str]) -> Vec<f64> {
    let program = std::env::current_exe().expect("own path");
    let out = Command::new(program).arg(CHILD).args(args).output().expect("own program starts");
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{args:?}: {}{text}", String::from_utf8_lossy(&out.stderr));
    let last = text.lines().next_back().unwrap_or_default();
    last.split(' ').map(|n| n.parse().unwrap_or_else(|_| panic!("{args:?} printed {text}"))).collect()
}

/// CPU seconds (user + system) of a process so far, its ended threads included. In steps of 10 ms.
pub fn cpu(pid: &str) -> f64 {
    const TICKS: f64 = 100.0; // USER_HZ, which Linux fixes
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("/proc");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |n: usize| fields.get(n).and_then(|f| f.parse::<f64>().ok()).expect("stat");
    (field(11) + field(12)) / TICKS
}

/// Own CPU seconds so far.
pub fn own_cpu() -> f64 {
    cpu("self")
}

/// Memory of a process in MiB: resident, and proportional (shared pages divided among their users).
pub fn memory(pid: u32) -> (f64, f64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps_rollup");
    let mib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
    };
    (mib("Rss:"), mib("Pss:"))
}

/// Threads of a process.
pub fn threads(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
}

/// The machine, and how busy it is.
pub fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    gstreamer::init().expect("GStreamer");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    format!("{cpus} cores, {}, {}, load at start {load}", std::env::consts::ARCH, gstreamer::version_string())
}
