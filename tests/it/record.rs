//! What touches a disk: nothing of picture or sound, unless `--record` asks for it, and then only there. The kernel is asked,
//! by strace, not the program.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::kit::endpoint::{Endpoint, Judge};
use crate::kit::media::Recipe;
use crate::kit::rtsp::{Camera, Show};
use crate::kit::run::{Run, ahwatch};
use crate::kit::{decode, tones, wait_until, wav};
use crate::watch_file::{LIMIT, labels, panel, three};

/// Every system call by which a file can come to be, get another name, or be opened for writing, and by which a peer is reached.
const CALLS: &str = "connect,sendto,sendmsg,sendmmsg,open,openat,openat2,creat,mknod,mknodat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,truncate";

/// `ahwatch` under the eyes of the kernel, and where these are written down.
fn watched(args: &[&str], log: &Path) -> Run {
    // -D: strace is the child, so that signals reach the program itself.
    let own = ["-D", "-f", "--seccomp-bpf", "-qq", "-s", "4096", "-e", &format!("trace={CALLS}"), "-o"];
    let program = [log.to_str().unwrap(), env!("CARGO_BIN_EXE_ahwatch")];
    // As if nobody had told ONNX Runtime to be silent.
    Run::program("strace", own.iter().chain(&program).chain(args)).env("ORT_DISABLE_TELEMETRY", "0")
}

/// Addresses beyond this machine that a packet was sent to or a connection begun with, whether it came about or not.
fn reached(log: &str) -> BTreeSet<&str> {
    let addresses =
        log.lines().flat_map(|line| line.split("inet_addr(").skip(1).chain(line.split("inet_pton(").skip(1)));
    let addresses = addresses.filter_map(|rest| rest.split('"').nth(1));
    addresses.filter(|address| !address.starts_with("127.") && *address != "::1").collect()
}

/// Paths that were made, renamed or opened for writing, in what strace wrote down.
fn written(log: &str) -> BTreeSet<PathBuf> {
    let mut paths = BTreeSet::new();
    for line in log.lines().filter(|line| !line.contains(" = -1 ")) {
        let Some((call, arguments)) = line.split_once('(') else { continue };
        let call = call.rsplit(' ').next().unwrap();
        let reads = call.starts_with("open")
            && !["O_WRONLY", "O_RDWR", "O_CREAT", "O_TMPFILE", "O_TRUNC", "O_APPEND"].iter().any(|f| line.contains(f));
        if !reads && !["connect", "sendto", "sendmsg", "sendmmsg"].contains(&call) {
            paths.extend(arguments.split('"').skip(1).step_by(2).map(PathBuf::from));
        }
    }
    paths
}

/// What may be written whoever watches what: no media goes there.
fn is_harmless(path: &Path) -> bool {
    let path = path.to_str().unwrap();
    // GStreamer's list of its own plugins, made anew when they have changed.
    let registry = path.contains("/gstreamer-1.0") && !path.contains(".mp4");
    // ORC, GStreamer's compiler of inner loops, maps the machine code it makes from a file that it deletes at once.
    let code = path.contains("/orcexec.");
    // The desktop's settings, which GIO asks for a proxy: two bytes that say whether they have changed.
    let settings = path.ends_with("/dconf/user") || path.ends_with("/dconf");
    registry || code || settings || path == "/dev/null" || path.starts_with("/dev/dri/")
}

/// Runs it to its end, or, if `live`, until a window of it is done; what was written besides what is harmless.
fn what_is_written(args: &[&str], live: bool) -> (BTreeSet<PathBuf>, Vec<Value>) {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("calls");
    let mut run = watched(args, &log).start();
    if live {
        // The test picture does not speak, so the index abstains; it has been looked at all the same.
        run.wait_for(LIMIT, "a window", |event| event["data"]["window"]["index"].is_u64());
        run.signal("TERM");
    }
    let run = run.finish(LIMIT).expect_code(0);
    let whole = wait_until(Duration::from_secs(10), "strace's end", || {
        let text = std::fs::read_to_string(&log).ok()?;
        // It writes line by line, the first process' end last; -qq leaves that out, so what is asked is that it is gone.
        (!text.is_empty() && !is_open(&log)).then_some(text)
    });
    let reached = reached(&whole);
    assert!(reached.is_empty(), "{args:?} spoke to {reached:?}");
    let all = written(&whole);
    (all.into_iter().filter(|path| !is_harmless(path)).collect(), run.events())
}

/// Whether some process has this file open.
fn is_open(file: &Path) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    let descriptors = processes.flatten().filter_map(|process| std::fs::read_dir(process.path().join("fd")).ok());
    descriptors.flatten().flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target == file))
}

/// A recording, a camera and a test picture, with a panel of their own and with the embedded index.
fn each_kind_of_source(check: impl Fn(&[&str], bool)) {
    let recipe = Recipe::new(10.0).plant(&[1]);
    let camera = Camera::start(Show::file(&recipe));
    let (endpoint, models) = three();
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &models, "");
    let (file, url, panel) = (recipe.make(), camera.url("/live"), panel.to_str().unwrap());
    check(&["watch", file.to_str().unwrap(), "--panel", panel], false);
    check(&["watch", file.to_str().unwrap(), "--panel", panel, "--clip-codec", "h264"], false);
    check(&["watch", &url, "--once", "--panel", panel], false);
    check(&["watch", "test:", "--judge", "cues"], true);
}

#[test]
fn nothing_of_picture_or_sound_touches_a_disk() {
    each_kind_of_source(|args, live| {
        let (written, events) = what_is_written(args, live);
        assert!(!labels(&events).is_empty() || live);
        assert!(written.is_empty(), "{args:?} wrote {written:?}");
    });
}

#[test]
fn with_record_only_its_folder_is_written() {
    each_kind_of_source(|args, live| {
        let dir = tempfile::tempdir().unwrap();
        let records = dir.path().join("records");
        let (written, events) = what_is_written(&[args, &["--record", records.to_str().unwrap()]].concat(), live);
        assert!(written.iter().all(|path| path.starts_with(&records)), "{args:?} wrote {written:?}");
        // The watch of the kernel sees what it is to see.
        let present = labels(&events).iter().filter(|(_, label)| label == "present").count();
        let clips = written.iter().filter(|path| path.extension().is_some_and(|e| e == "mp4")).count();
        assert_eq!(clips, present, "{written:?}");
    });
}

/// The files in the only session's folder.
fn kept(records: &Path) -> Vec<PathBuf> {
    let list = |dir: &Path| std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect::<Vec<_>>();
    let sessions = list(records);
    assert_eq!(sessions.len(), 1, "{sessions:?}");
    let mut files = list(&sessions[0]);
    files.sort();
    files
}

#[test]
fn a_present_window_is_kept_as_the_judges_got_it_with_the_event_of_standard_output() {
    let recipe = Recipe::new(15.0).plant(&[1]);
    let (endpoint, models) = three();
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &models, "");
    let records = dir.path().join("records");
    let file = recipe.make();
    let args = ["watch", file.to_str().unwrap(), "--panel", panel.to_str().unwrap(), "--record"];
    let run = ahwatch(args.iter().copied().chain([records.to_str().unwrap()])).finish(LIMIT).expect_code(0);
    for word in ["RECORDING", "pictures and sound of people", records.to_str().unwrap(), "Nobody deletes"] {
        assert!(run.stderr.contains(word), "{word} in {}", run.stderr);
    }

    let files = kept(&records);
    let session = files[0].parent().unwrap().file_name().unwrap().to_str().unwrap();
    let names: Vec<_> = files.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["0-1.json", "0-1.mp4", "0-1.wav"]);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert!(files.iter().all(|file| mode(file) == 0o600) && mode(files[0].parent().unwrap()) == 0o700);

    let event = std::fs::read_to_string(&files[0]).unwrap();
    assert!(run.stdout.lines().any(|line| line == event.trim_end()), "{event}");
    let event: Value = serde_json::from_str(&event).unwrap();
    assert_eq!((event["type"].as_str(), event["subject"].as_str()), (Some("ah.window.judged.v1"), Some(session)));

    let sent = endpoint.requests().into_iter().find(|r| r.clip.as_ref().unwrap().frames()[0] == 125).unwrap();
    let sent = sent.clip.unwrap();
    assert_eq!(std::fs::read(&files[1]).unwrap().len(), sent.mp4_bytes);
    let frames: Vec<u32> = decode::file(&files[1]).unwrap().frames().into_iter().flatten().collect();
    assert_eq!(frames, sent.frames());
    let sound = wav::read(&std::fs::read(&files[2]).unwrap()).unwrap().samples;
    assert_eq!(sound, sent.wav.unwrap().samples);
    assert!(tones::read(&sound).marked(0) > 10);
}

#[test]
fn a_window_that_raises_the_sessions_alert_is_kept_although_it_is_not_present_itself() {
    let path = Recipe::new(15.0).make();
    let endpoint =
        Endpoint::start([("v1", Judge::windows(&[0])), ("v2", Judge::windows(&[1])), ("v3", Judge::windows(&[9]))]);
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &["v1", "v2", "v3"], "max_in_flight = 1");
    let records = dir.path().join("records");
    let args = ["watch", path.to_str().unwrap(), "--panel", panel.to_str().unwrap(), "--record"];
    let run = ahwatch(args.iter().copied().chain([records.to_str().unwrap()])).finish(LIMIT).expect_code(0);
    assert!(labels(&run.events()).iter().all(|(_, label)| label == "absent"));
    assert_eq!(run.events_of("ah.alert.raised.v1").len(), 1);
    assert_eq!(kept(&records)[0].file_name().unwrap(), "0-1.json");
}

#[test]
fn where_the_index_judges_the_clip_is_made_for_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let sample = format!("{}/examples/media/interview.mp4", env!("CARGO_MANIFEST_DIR"));
    let records = dir.path().to_str().unwrap();
    let run = ahwatch(["watch", &sample, "--judge", "cues", "--record", records]).finish(LIMIT).expect_code(0);
    let present = labels(&run.events()).iter().filter(|(_, label)| label == "present").count();
    let files = kept(dir.path());
    assert!(present > 0 && files.len() == 3 * present, "{present} windows, {files:?}");
    let clip = decode::file(files.iter().find(|f| f.extension().is_some_and(|e| e == "mp4")).unwrap()).unwrap();
    assert_eq!(clip.pictures.len(), 10);
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_and_one_that_breaks_costs_no_verdict() {
    let path = Recipe::new(20.0).plant(&[0, 1, 2, 3]).make();
    let (endpoint, models) = three();
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &models, "");
    let watch = |records: &Path| {
        let args = ["watch", path.to_str().unwrap(), "--panel", panel.to_str().unwrap(), "--realtime", "--record"];
        ahwatch(args.iter().copied().chain([records.to_str().unwrap()]))
    };
    let run = watch(&panel.join("below")).finish(LIMIT).expect_code(2);
    assert!(run.stderr.contains("cannot be created") && run.stderr.contains("below"), "{}", run.stderr);
    assert!(run.stdout.is_empty());

    let records = dir.path().join("records");
    let mut run = watch(&records).start();
    run.wait_for_type(LIMIT, "ah.session.started.v1");
    std::fs::remove_dir(&records).unwrap();
    std::fs::write(&records, "a file").unwrap();
    let run = run.finish(LIMIT).expect_code(0);
    assert_eq!(labels(&run.events()).len(), 4);
    let said: Vec<_> = run.stderr.lines().filter(|line| line.contains("could not be recorded")).collect();
    assert_eq!(said.len(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("failed=4"), "{}", run.stderr);
}

#[test]
fn a_folder_that_cannot_be_is_refused_and_not_announced() {
    let recording = Recipe::new(5.0).make();
    let run = ahwatch(["watch", recording.to_str().unwrap(), "--record", "/proc/x"]).finish(LIMIT).expect_code(2);
    assert!(run.stderr.contains("--record /proc/x") && !run.stderr.contains("RECORDING"), "{}", run.stderr);
}
