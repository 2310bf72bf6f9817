//! A journal whose disk is full, or refuses.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::after::{After, peak_mib};
use super::case::Case;
use super::rig::{LIMIT, MEMORY, judge};
use super::secrets::Secrets;
use crate::journal::SECRET;
use crate::journal::receiver::Receiver;
use crate::kit::endpoint::{Endpoint, Judge, Needs};
use crate::kit::media::Recipe;
use crate::kit::rtsp::{Camera, Show};
use crate::kit::run::{Run, program};
use crate::kit::service::{Reader, Service};
use crate::kit::wait_until;

const OWN: &str = "AHWATCH_TEST_OWN_MOUNTS";

/// Where the journal is, and how its disk becomes full.
enum Disk {
    /// A small file system of its own, in a mount namespace of this test's own.
    Small(PathBuf),
    /// No namespace here: the kernel lets none of the program's files grow.
    Limited(tempfile::TempDir),
}

impl Disk {
    fn path(&self) -> &Path {
        match self {
            Self::Small(path) => path,
            Self::Limited(dir) => dir.path(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Small(_) => "a file system of 3 MiB, filled",
            Self::Limited(_) => "RLIMIT_FSIZE (no mount namespace here)",
        }
    }

    /// Fills it: nothing is left.
    fn fill(&self, service: &Service) {
        match self {
            Self::Small(path) => {
                let mut rest = std::fs::File::create(path.join("filler")).unwrap();
                for size in [65_536, 4096, 512, 1] {
                    while std::io::Write::write_all(&mut rest, &vec![0; size]).is_ok() {}
                }
            }
            Self::Limited(_) => limit(service, "0:unlimited"),
        }
    }

    /// There is room again.
    fn clear(&self, service: &Service) {
        match self {
            Self::Small(path) => std::fs::remove_file(path.join("filler")).unwrap(),
            Self::Limited(_) => limit(service, "unlimited:unlimited"),
        }
    }
}

fn limit(service: &Service, sizes: &str) {
    let id = service.run.id().to_string();
    let set = Command::new("prlimit").args(["--pid", &id, &format!("--fsize={sizes}")]).status();
    assert!(set.unwrap().success(), "prlimit of util-linux is missing");
}

/// The service on a camera, with a webhook for its alerts, and a reader of all it says.
struct Rig {
    service: Service,
    token: String,
    session: String,
    reader: Reader,
}

fn start(dir: &Path, endpoint: &Endpoint, camera: &str, receiver: &Receiver) -> Rig {
    let text = format!(
        "[panel]\ncanary = false\n[window]\nwindow_secs = 1.0\nhop_secs = 0.5\n\
         [session]\ncooldown_secs = 0\nclear_windows = 1\n{}{}events = [\"alert\", \"window\"]\n",
        judge("v1", &endpoint.base_url(), ""),
        receiver.sink("desk"),
    );
    // A file that may not grow is an error to be told, and no signal that ends the program.
    let ahwatch = program();
    let program = ["-c", "trap '' XFSZ; exec \"$@\"", "sh", &ahwatch];
    let run = |args: [&str; 3]| Secrets::plant(Run::program("sh", program.iter().chain(&args))).env("HOOK", SECRET);
    let service = Service::start_by(dir, &text, run);
    let token = service.token("op", "admin");
    let mut wanted = crate::serve::camera(camera);
    wanted["source"]["name"] = json!("room");
    let session = crate::serve::made(&service, &token, &wanted);
    let reader = service.follow("/v1/events?after=0", &token);
    reader.wait_for("an alert that is kept", |told| durable(&told.data) == Some(true));
    Rig { service, token, session, reader }
}

/// What an alert says of itself; other events say nothing of it.
fn durable(event: &Value) -> Option<bool> {
    event["data"]["durable"].as_bool()
}

impl Rig {
    /// Waits for more alerts that say that they stand in the journal, or that they do not.
    fn wait_for(&self, is_durable: bool, more: usize) {
        let from = self.reader.told().len();
        wait_until(LIMIT, "alerts", || {
            let told = self.reader.told();
            (told[from..].iter().filter(|told| durable(&told.data) == Some(is_durable)).count() >= more).then_some(())
        });
    }

    /// From when the disk was well to when the journal is written again; the next alert says so too.
    fn heals(&self, well: Instant) -> Duration {
        wait_until(LIMIT, "the journal to be written", || {
            let metrics = self.service.get("/metrics", &self.token).ok().text;
            metrics.contains("ahwatch_journal_writable 1\n").then_some(())
        });
        let healed = well.elapsed();
        self.wait_for(true, 1);
        healed
    }

    /// Everything that was told stands in the journal, and reached its receiver.
    fn end(self, case: &mut Case, endpoint: &Endpoint, receiver: &Receiver) {
        let Self { service, token, session, reader } = self;
        service.post(&format!("/v1/sessions/{session}/end"), &token, &json!({})).ok();
        reader.wait_for("the end", |told| told.kind == "ah.session.ended.v1");
        let judges = [endpoint];
        let after = After::serve(&service, &token, &judges);
        let kept: Vec<&str> = after.events.iter().map(|event| event["id"].as_str().unwrap()).collect();
        let told = reader.told();
        let missing = told.iter().filter(|told| !kept.contains(&told.data["id"].as_str().unwrap())).count();
        case.exactly(
            &format!("of {} events that were told, not in the journal afterwards", told.len()),
            0,
            missing as u64,
        );
        let wanted = |kind: &str| kind.starts_with("ah.window.") || kind.starts_with("ah.alert.");
        let wanted: Vec<_> = told
            .iter()
            .filter(|told| wanted(&told.kind))
            .map(|told| told.data["id"].as_str().unwrap().to_owned())
            .collect();
        wait_until(LIMIT, "the receiver to have all", || {
            let taken = receiver.taken();
            wanted.iter().all(|id| taken.contains(id)).then_some(())
        });
        case.row("events at the webhook", "all", &format!("all {}", wanted.len()), true);
        let memory = Some((peak_mib(&service.run), MEMORY));
        After { memory, whole: &["room"], ..after }.check(case);
        service.stop().expect_code(0);
    }
}

fn rig_parts() -> (tokio::runtime::Runtime, Endpoint, Camera) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // An episode each three seconds: as long shown as not, so that there are windows of either kind alone.
    let spans: Vec<_> = (0..400).map(|n| f64::from(n) * 3.0..f64::from(n) * 3.0 + 1.5).collect();
    let recipe = Recipe::new(3600.0).size(320, 240).fps((10, 1)).plant_spans(&spans);
    (
        runtime,
        Endpoint::start([("v1", Judge { needs: Needs::Pictures, ..Judge::default() })]),
        Camera::start(Show::live(&recipe)),
    )
}

/// Runs this test again in a mount namespace of its own, where everybody may mount. False: there is none to be had here.
fn in_own_namespace(test: &str) -> bool {
    let unshare =
        |args: &[&str]| Command::new("unshare").args(["--map-root-user", "--mount"]).args(args).env(OWN, "1").status();
    if !unshare(&["sh", "-c", "mount -t tmpfs none /mnt"]).is_ok_and(|status| status.success()) {
        return false;
    }
    let own = std::env::current_exe().unwrap();
    let ran = unshare(&[own.to_str().unwrap(), test, "--exact", "--include-ignored", "--nocapture"]);
    assert!(ran.unwrap().success(), "in a mount namespace of its own: see above");
    true
}

#[test]
#[ignore = "make faults"]
fn case_18_disk_full() {
    let own = std::env::var_os(OWN).is_some();
    if !own && in_own_namespace("faults::disk::case_18_disk_full") {
        return;
    }
    let mut case = Case::begin("18", "disk full");
    let dir = tempfile::tempdir().unwrap();
    let disk = if own {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "none"]).arg(dir.path()).status();
        assert!(mounted.unwrap().success());
        Disk::Small(dir.path().to_owned())
    } else {
        Disk::Limited(tempfile::tempdir().unwrap())
    };
    let (runtime, endpoint, camera) = rig_parts();
    let receiver = runtime.block_on(Receiver::start(|_| 200));
    let rig = start(disk.path(), &endpoint, &camera.url("/live"), &receiver);
    let began = Instant::now();
    disk.fill(&rig.service);
    rig.wait_for(false, 1);
    let what = format!("{}: said as durable: false", disk.name());
    case.within(&what, Duration::from_secs(10), began.elapsed());
    // New sessions are refused in words; those that run go on.
    rig.wait_for(false, 5);
    let refused = rig.service.post("/v1/sessions", &rig.token, &crate::serve::camera("test:"));
    case.exactly("a new session meanwhile: status", 503, refused.status.into());
    disk.clear(&rig.service);
    let healed = rig.heals(Instant::now());
    case.within("durable again, once there is room", Duration::from_secs(5), healed);
    rig.end(&mut case, &endpoint, &receiver);
    case.end();
    if own {
        // Before the folder is removed.
        assert!(Command::new("umount").arg("-l").arg(dir.path()).status().unwrap().success());
    }
}

/// strace on the running service, which makes calls of the journal fail; they are well again when it is gone.
struct Injected(std::process::Child);

impl Injected {
    fn attach(service: &Service, inject: &str) -> Self {
        let id = service.run.id().to_string();
        let inject = format!("inject=pwrite64,fdatasync,fsync,ftruncate:{inject}");
        let args =
            ["-f", "-q", "-p", &id, "-e", "trace=pwrite64,fdatasync,fsync,ftruncate", "-e", &inject, "-o", "/dev/null"];
        let strace = Command::new("strace").args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let strace = strace.expect("strace is missing: scripts/setup.sh --test brings it");
        // Of the process as a whole, not of its threads.
        wait_until(Duration::from_secs(10), "strace to be attached (may it trace this process?)", || {
            let tasks = std::fs::read_dir(format!("/proc/{id}/task")).unwrap().flatten();
            let traced = |task: std::fs::DirEntry| {
                let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
                status.contains("TracerPid:") && !status.contains("TracerPid:\t0\n")
            };
            tasks.into_iter().all(traced).then_some(())
        });
        Self(strace)
    }

    /// Gone without a trace; the moment.
    fn end(mut self) -> Instant {
        assert!(Command::new("kill").arg(self.0.id().to_string()).status().unwrap().success());
        self.0.wait().unwrap();
        Instant::now()
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "make faults"]
fn case_18_io_errors() {
    let mut case = Case::begin("18", "I/O errors on the journal (strace injection: EIO)");
    let dir = tempfile::tempdir().unwrap();
    let (runtime, endpoint, camera) = rig_parts();
    let receiver = runtime.block_on(Receiver::start(|_| 200));
    let rig = start(dir.path(), &endpoint, &camera.url("/live"), &receiver);
    for (name, inject) in [("every write and sync", "error=EIO"), ("every third", "error=EIO:when=1+3")] {
        let injected = Injected::attach(&rig.service, inject);
        let began = Instant::now();
        rig.wait_for(false, 1);
        case.within(&format!("{name}: said as durable: false"), Duration::from_secs(10), began.elapsed());
        rig.wait_for(false, 2);
        let healed = rig.heals(injected.end());
        case.within(&format!("{name}: durable again afterwards"), Duration::from_secs(5), healed);
    }
    rig.end(&mut case, &endpoint, &receiver);
    case.end();
}
