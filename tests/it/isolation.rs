//! `isolation = "process"`: the same windows as without, and a death that is one source's.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::books::books_are_exact;
use crate::kit::media::{Recipe, not_media, only_text};
use crate::kit::process::status;
use crate::kit::rtsp::{Camera, Show};
use crate::kit::run::{Finished, Running, ahwatch};
use crate::kit::wait_until;
use crate::watch_file::{LIMIT, by_first_picture, ended, labels, linspace, lost_windows, panel, three};

fn table(name: &str, key: &str, value: &str, isolated: bool) -> String {
    let more = if isolated { "isolation = \"process\"\n" } else { "" };
    format!("[[source]]\nname = \"{name}\"\n{key} = \"{value}\"\n{more}")
}

fn start(dir: &Path, text: &str, panel: &Path, more: &[&str]) -> Running {
    let config = dir.join("isolation.toml");
    std::fs::write(&config, text).unwrap();
    let args = ["watch", "--json", "--config", config.to_str().unwrap(), "--panel", panel.to_str().unwrap()];
    // As many users do: what a process that decodes says goes into a file.
    ahwatch(args.iter().chain(more)).start()
}

fn watch(text: &str, more: &[&str]) -> (Finished, Vec<(Vec<u32>, Vec<u8>)>) {
    let (endpoint, models) = three();
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &models, "");
    let run = start(dir.path(), text, &panel, more).finish(LIMIT);
    let clips = by_first_picture(&endpoint.requests(), "v1").into_iter();
    (
        run,
        clips
            .map(|(frames, seen)| {
                (frames, seen.clip.unwrap().wav.unwrap().samples.iter().flat_map(|v| v.to_le_bytes()).collect())
            })
            .collect(),
    )
}

/// Windows with their labels and quality, without what differs from run to run.
fn windows(events: &[Value]) -> Vec<Value> {
    let judged = events.iter().filter(|event| event["type"] == "ah.window.judged.v1").map(|event| &event["data"]);
    judged.map(|data| serde_json::json!([data["span"], data["label"], data["quality"]])).collect()
}

#[test]
fn a_recording_decoded_apart_gives_the_windows_that_it_gives_in_the_program() {
    let path = Recipe::new(13.4).plant(&[1]).make();
    let path = path.to_str().unwrap();
    let (apart, clips) = watch(&table("a", "path", path, true), &[]);
    let (within, same) = watch(&table("a", "path", path, false), &[]);
    let (apart, within) = (apart.expect_code(0), within.expect_code(0));
    assert_eq!(windows(&apart.events()), windows(&within.events()));
    assert_eq!(clips, same, "pictures and sound of every clip");
    assert_eq!(labels(&apart.events()).len(), 3);
    books_are_exact(&apart.events());
}

#[test]
fn what_is_wrong_with_a_recording_is_told_in_the_same_words() {
    for path in [not_media(), only_text()] {
        let told = [true, false].map(|isolated| {
            let run = watch(&table("a", "path", path.to_str().unwrap(), isolated), &[]).0.expect_code(1);
            let line =
                run.stderr.lines().find(|line| line.contains("ERROR")).unwrap_or_else(|| panic!("{}", run.stderr));
            line.split_once("ERROR").unwrap().1.to_owned()
        });
        assert_eq!(told[0], told[1]);
    }
}

#[test]
fn a_camera_decoded_apart_is_reached_by_way_of_the_relay_only() {
    let camera = Camera::start(Show::file(&Recipe::new(11.0).plant(&[1])));
    let (run, clips) = watch(&table("a", "url", &camera.url("/live"), true), &["--once"]);
    let run = run.expect_code(0);
    assert_eq!(labels(&run.events())[..2], [(0.0, "absent".to_owned()), (5.0, "present".to_owned())]);
    assert!(lost_windows(&run.events()).is_empty());
    for (window, (frames, _)) in (0u32..2).zip(&clips) {
        assert_eq!(*frames, linspace(125 * window, 125, 10));
    }
    books_are_exact(&run.events());
}

#[test]
fn a_camera_that_is_not_there_is_told_by_its_own_reason() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (run, _) = watch(&table("a", "url", &format!("rtsp://127.0.0.1:{port}/live"), true), &["--once"]);
    let run = run.expect_code(1);
    assert!(run.stderr.contains("cannot be reached") && run.stderr.contains("refused"), "{}", run.stderr);
}

fn is_worker(id: u32) -> bool {
    std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| line.ends_with(b"worker\0"))
}

/// Processes that decode for this one.
fn workers(parent: u32) -> Vec<u32> {
    let ids =
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let its = |id: &u32| status(id, "PPid") == Some(u64::from(parent)) && is_worker(*id);
    ids.filter(its).collect()
}

#[test]
fn a_process_that_dies_is_a_loss_of_its_source_alone_and_another_takes_its_place() {
    let camera = Camera::start(Show::file(&Recipe::new(60.0).plant(&[0])));
    let (endpoint, models) = three();
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &models, "");
    let text = table("hit", "url", &camera.url("/live"), true) + &table("other", "url", &camera.url("/live"), true);
    let mut run = start(dir.path(), &text, &panel, &["--log", "ahwatch=debug"]);
    let judged = |run: &Running, source: &str, n: usize| {
        let of =
            |event: &&Value| event["type"] == "ah.window.judged.v1" && event["source"] == format!("/ahwatch/{source}");
        (run.events().iter().filter(of).count() >= n).then_some(())
    };
    run.wait_until(LIMIT, "a window of each", |run| judged(run, "hit", 1).and(judged(run, "other", 1)));
    let before = workers(run.id());
    assert_eq!(before.len(), 2, "{before:?}");
    for id in &before {
        assert_eq!(["NoNewPrivs", "Seccomp"].map(|key| status(id, key)), [Some(1), Some(2)]);
        let environment = std::fs::read(format!("/proc/{id}/environ")).unwrap();
        let inherited = environment.split(|byte| *byte == 0).any(|entry| entry.starts_with(b"PATH="));
        assert!(!inherited, "a secret could be in there");
    }
    // Which of the two is whose is not said; whoever is hit, the other loses nothing.
    let killed = before[0];
    assert!(std::process::Command::new("kill").args(["-ABRT", &killed.to_string()]).status().unwrap().success());
    let lost = run.wait_for_type(LIMIT, "ah.source.lost.v1");
    assert!(lost["data"]["detail"].as_str().unwrap().contains("killed by signal 6"), "{lost:#}");
    run.wait_for_type(LIMIT, "ah.source.restored.v1");
    let hit = lost["source"].as_str().unwrap().trim_start_matches("/ahwatch/").to_owned();
    let other = if hit == "hit" { "other" } else { "hit" };
    run.wait_until(LIMIT, "windows after it", |run| judged(run, &hit, 3).and(judged(run, other, 3)));
    let last = workers(run.id());
    assert!(last.len() == 2 && !last.contains(&killed), "{last:?}");
    run.signal("INT");
    let run = run.finish(LIMIT).expect_code(0);
    // Whoever is its parent now.
    for id in last {
        wait_until(LIMIT, "the end of a process that decoded", || (!is_worker(id)).then_some(()));
    }
    books_are_exact(&run.events());
    let of_other = |event: &&Value| event["source"] == format!("/ahwatch/{other}");
    let events = run.events();
    assert!(!events.iter().filter(of_other).any(|event| event["type"] == "ah.source.lost.v1"));
    assert!(lost_windows(&events.iter().filter(of_other).cloned().collect::<Vec<_>>()).is_empty());
    assert_eq!(run.stderr.matches("decoded in a process of its own").count(), 3, "{}", run.stderr);
}

#[test]
fn a_process_that_dies_ends_its_recording_with_what_came_before() {
    let path = Recipe::new(60.0).make();
    let (endpoint, models) = three();
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &models, "");
    let text = table("a", "path", path.to_str().unwrap(), true) + "realtime = true\n";
    let mut run = start(dir.path(), &text, &panel, &[]);
    run.wait_for_type(LIMIT, "ah.window.judged.v1");
    let worker = workers(run.id())[0];
    assert!(std::process::Command::new("kill").args(["-KILL", &worker.to_string()]).status().unwrap().success());
    let run = run.finish(LIMIT).expect_code(1);
    assert!(run.stderr.contains("was killed by signal 9"), "{}", run.stderr);
    let events = run.events();
    books_are_exact(&events);
    assert!(!ended(&events)["labels"]["vote_of_max"].is_null());
    assert!(run.took < Duration::from_secs(40), "{:?}", run.took);
}

#[test]
fn isolation_is_refused_where_it_cannot_be() {
    for (key, value) in [("url", "test:"), ("url", "rtsps://127.0.0.1/x"), ("url", "mic:")] {
        let (run, _) = watch(&table("a", key, value, true), &[]);
        let run = run.expect_code(2);
        assert!(run.stderr.contains("isolation") && run.stderr.contains("files and rtsp://"), "{}", run.stderr);
    }
}

#[test]
fn a_worker_that_people_start_says_so() {
    let run = ahwatch(["worker"]).finish(LIMIT).expect_code(1);
    assert!(run.stderr.contains("for ahwatch itself"), "{}", run.stderr);
}
