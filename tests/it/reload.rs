//! The configuration read again while the program runs: at SIGHUP, and when its file changes.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::books::books_are_exact;
use crate::kit::run::{Running, ahwatch};
use crate::watch_file::LIMIT;

struct Scene {
    file: PathBuf,
    run: Running,
    _dir: tempfile::TempDir,
}

/// Puts a whole new file in the place of the old one, as editors do.
fn write(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, file).unwrap();
}

impl Scene {
    fn start(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ahwatch.toml");
        write(&file, config);
        let run = ahwatch(["watch", "--config", file.to_str().unwrap()]).start();
        Self { file, run, _dir: dir }
    }

    fn wait_for(&mut self, kind: &str, source: &str) -> Value {
        let source = format!("/ahwatch/{source}");
        self.run.wait_for(LIMIT, kind, |event| event["type"] == kind && event["source"] == source)
    }

    fn told(&mut self, words: &str) {
        self.run.wait_until(LIMIT, words, |run| run.stderr().contains(words).then_some(()));
    }

    fn count(&self, kind: &str, source: &str) -> usize {
        let source = format!("/ahwatch/{source}");
        self.run.events().iter().filter(|event| event["type"] == kind && event["source"] == source).count()
    }
}

fn test_sources(names: &[&str]) -> String {
    let table = |name: &&str| format!("[[source]]\nname = \"{name}\"\nurl = \"test:\"\n");
    names.iter().map(table).collect()
}

const STARTED: &str = "ah.session.started.v1";
const ENDED: &str = "ah.session.ended.v1";

#[test]
fn sources_come_and_go_and_the_others_do_not_notice() {
    let mut scene = Scene::start(&test_sources(&["kept", "going"]));
    scene.wait_for(STARTED, "kept");
    scene.wait_for(STARTED, "going");
    // Noticed without being told.
    write(&scene.file, &test_sources(&["kept", "coming"]));
    scene.wait_for(STARTED, "coming");
    scene.wait_for(ENDED, "going");
    scene.told("added: coming; removed: going; 1 sources go on");
    // Another source under a name that runs takes its place when that has ended.
    write(
        &scene.file,
        &(test_sources(&["kept"]) + "[[source]]\nname = \"coming\"\nurl = \"test:\"\nno_audio = true\n"),
    );
    scene.wait_for(ENDED, "coming");
    scene.run.wait_until(LIMIT, "the same name again", |run| {
        let started = |event: &&Value| event["type"] == STARTED && event["source"] == "/ahwatch/coming";
        (run.events().iter().filter(started).count() == 2).then_some(())
    });
    assert_eq!((scene.count(STARTED, "kept"), scene.count(ENDED, "kept")), (1, 0));
    scene.run.signal("INT");
    let run = scene.run.finish(LIMIT).expect_code(0);
    let events = run.events();
    for name in ["kept", "going"] {
        let of = |event: &&Value| event["source"] == format!("/ahwatch/{name}");
        books_are_exact(&events.iter().filter(of).cloned().collect::<Vec<_>>());
    }
    assert_eq!(run.events_of(ENDED).len(), 4);
}

#[test]
fn a_bad_file_changes_nothing_and_says_all_that_is_wrong() {
    let good = test_sources(&["kept"]);
    let mut scene = Scene::start(&good);
    scene.wait_for(STARTED, "kept");
    write(&scene.file, &(test_sources(&["kept", "new"]) + "[window]\nhop_secs = 9.0\n[sessions]\n"));
    scene.told("not taken; nothing changes");
    for words in ["hop_secs", "sessions"] {
        scene.told(words);
    }
    std::fs::remove_file(&scene.file).unwrap();
    scene.told("cannot be read");
    // A file that does not change is read again when asked.
    write(&scene.file, &good);
    scene.run.signal("HUP");
    scene.told("1 sources go on");
    assert_eq!((scene.count(STARTED, "kept"), scene.count(STARTED, "new")), (1, 0));
    scene.run.signal("TERM");
    scene.run.finish(LIMIT).expect_code(0);
}

#[test]
fn what_was_not_taken_is_tried_again_at_a_hangup_though_its_file_says_what_it_said() {
    let good = test_sources(&["kept"]);
    let mut scene = Scene::start(&good);
    scene.wait_for(STARTED, "kept");
    let pipeline = scene.file.with_file_name("own.gst");
    let shipped = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/test.gst")).unwrap();
    std::fs::write(&pipeline, shipped.replace("appsink", "apsink")).unwrap();
    write(
        &scene.file,
        &(good + "[[source]]\nname = \"new\"\nurl = \"test:\"\npipeline = \"" + pipeline.to_str().unwrap() + "\"\n"),
    );
    scene.told("not taken; nothing changes");
    std::fs::write(&pipeline, shipped).unwrap();
    scene.run.signal("HUP");
    scene.wait_for(STARTED, "new");
    scene.told("added: new; 1 sources go on");
    assert_eq!((scene.count(STARTED, "kept"), scene.count(ENDED, "kept")), (1, 0));
    scene.run.signal("TERM");
    scene.run.finish(LIMIT).expect_code(0);
}

#[test]
fn a_running_session_keeps_what_it_began_with_and_the_next_has_the_new() {
    let config = |rule: &str, hop: &str| {
        let session = format!("[session]\nrule = \"{rule}\"\nmax_session_secs = 12.0\n[window]\nhop_secs = {hop}\n");
        session + &test_sources(&["a"])
    };
    let mut scene = Scene::start(&config("vote_of_max", "5.0"));
    let first = scene.wait_for(STARTED, "a")["data"]["session"].clone();
    write(&scene.file, &config("max_of_vote", "2.5"));
    scene.told("1 sources go on");
    let ended = scene.wait_for(ENDED, "a");
    assert_eq!((&ended["data"]["session"], &ended["data"]["rule"]), (&first, &"vote_of_max".into()), "{ended:#}");
    let next = scene
        .run
        .wait_for(LIMIT, "the next session's end", |event| event["type"] == ENDED && event["data"]["session"] != first);
    assert_eq!(next["data"]["rule"], "max_of_vote");
    scene.run.signal("INT");
    let run = scene.run.finish(LIMIT).expect_code(0);
    let starts = |session: &Value| -> Vec<String> {
        let window = |event: &&Value| {
            event["data"]["session"] == *session && !event["data"]["window"].is_null() && event["type"] != STARTED
        };
        run.events()
            .iter()
            .filter(window)
            .filter(|event| event["type"].as_str().is_some_and(|kind| kind.starts_with("ah.window.")))
            .map(|event| event["data"]["span"]["start_secs"].to_string())
            .collect()
    };
    assert!(!starts(&first).contains(&"2.5".to_owned()), "{:?}", starts(&first));
    assert!(starts(&next["data"]["session"]).contains(&"2.5".to_owned()), "{:?}", starts(&next["data"]["session"]));
}

#[test]
fn a_hangup_without_any_file_ends_the_run_with_its_books() {
    let mut run = ahwatch(["watch", "test:"]).start();
    run.wait_for_type(LIMIT, STARTED);
    run.signal("HUP");
    let run = run.finish(LIMIT).expect_code(0);
    books_are_exact(&run.events());
}
