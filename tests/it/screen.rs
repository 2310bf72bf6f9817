//! The live screen, on a terminal: shown, looked through, left; and when it is not shown.

use serde_json::Value;

use crate::kit::endpoint::{Endpoint, Judge, Mode};
use crate::kit::media::Recipe;
use crate::kit::tty::Tty;
use crate::watch_file::LIMIT;

const AHWATCH: &str = env!("CARGO_BIN_EXE_ahwatch");
const SAMPLE: &str = "examples/media/interview.mp4";
/// What a terminal is told when the screen apart from the scrollback is left.
const LEFT: &str = "\u{1b}[?1049l";

/// A camera that nobody is, with a password.
fn nobody() -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("rtsp://u:hunter2@127.0.0.1:{port}/none")
}

/// The line of the screen that has this in it.
fn line<'a>(text: &'a str, what: &str) -> &'a str {
    text.lines().find(|line| line.contains(what)).unwrap_or_default()
}

#[test]
fn the_screen_shows_every_source_and_q_ends_it_and_leaves_the_books() {
    let camera = nobody();
    let args = ["watch", "--judge", "cues", "--realtime", SAMPLE, "test:", &camera];
    let mut tty = Tty::start(AHWATCH, &args, &[], 120, 30);
    let lives = |text: &str| line(text, "interview").contains("live") && line(text, "test").contains("live");
    tty.wait_for(LIMIT, "both sources live", lives);
    tty.wait_for(LIMIT, "the camera away, and its warning", |text| {
        line(text, "127.0.0.1").contains("away") && text.contains("source lost")
    });
    assert!(tty.text().contains("not calibrated, no measure of A/H"), "{}", tty.text());
    assert_eq!(tty.is_taken(), (true, true));
    assert!(tty.is_coloured());
    // The test source has no speech: nobody can say anything about it, which is no "absent".
    tty.wait_for(LIMIT, "a window of each", |text| {
        line(text, "test").contains('x')
            && [" A\u{b7}", " P\u{b7}"].iter().any(|cell| line(text, "interview").contains(cell))
    });

    tty.press("\r");
    tty.wait_for(LIMIT, "details", |text| text.contains("windows, newest first; 1 of") && text.contains("books"));
    tty.press("\t");
    tty.wait_for(LIMIT, "details of the next", |text| text.contains("insufficient_evidence"));
    tty.press("\u{1b}");
    tty.wait_for(LIMIT, "the sources again", |text| text.contains("last 24 windows"));
    tty.press("\u{c}");
    // Sizes that terminals do report on the way to another.
    tty.resize(0, 0);
    tty.resize(1, 1);
    tty.resize(80, 24);
    let small = tty.wait_for(LIMIT, "another size", |text| {
        line(text, "ahwatch").trim_end().chars().count() <= 80 && text.contains("q quit") && text.contains("V M")
    });
    assert!(small.lines().count() <= 24, "{small}");

    tty.press("q");
    assert_eq!(tty.finish(LIMIT), 0, "{}", tty.text());
    assert_eq!(tty.is_taken(), (false, false));
    let bytes = tty.bytes();
    let (during, after) = bytes.rsplit_once(LEFT).expect("the screen is left");
    assert!(!during.contains("session of "), "lines while the screen is up");
    for wanted in ["source lost", "Judged ", "judge", "not a diagnosis"] {
        assert!(after.contains(wanted), "{wanted} in {after}");
    }
    assert_eq!(after.matches("\u{2502} judged").count(), 2, "the books of both sessions: {after}");
    assert!(!bytes.contains("hunter2"));
}

#[test]
fn a_recording_that_ends_closes_the_screen() {
    let mut tty = Tty::start(AHWATCH, &["watch", "--judge", "cues", SAMPLE], &[("NO_COLOR", "1")], 80, 24);
    tty.wait_for(LIMIT, "the screen without colour", |text| line(text, "interview").contains('A'));
    assert!(!tty.is_coloured());
    assert_eq!(tty.finish(LIMIT), 0);
    assert_eq!(tty.is_taken(), (false, false));
    assert!(tty.bytes().rsplit_once(LEFT).is_some_and(|(_, after)| after.contains("Hesitation cues present")));
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_gives_the_terminal_back() {
    let endpoint = Endpoint::start([("v1", Judge::default())]);
    endpoint.set(Mode::Slow);
    let dir = tempfile::tempdir().unwrap();
    let panel = crate::watch_file::panel(dir.path(), &endpoint.base_url(), &["v1"], "");
    let recording = Recipe::new(12.0).make();
    let args = ["watch", recording.to_str().unwrap(), "--panel", panel.to_str().unwrap()];
    let mut tty = Tty::start(AHWATCH, &args, &[], 80, 24);
    endpoint.wait_for(LIMIT, |requests| !requests.is_empty());
    tty.wait_for(LIMIT, "the screen", |text| text.contains("a person has to decide"));
    tty.press("\u{3}");
    tty.wait_for(LIMIT, "what a stop means", |text| text.contains("Ctrl-C again ends at once"));
    tty.press("\u{3}");
    assert_eq!(tty.finish(LIMIT), 130);
    assert_eq!(tty.is_taken(), (false, false));
    endpoint.release();
}

#[test]
fn a_terminal_that_stalls_delays_no_window_and_no_end() {
    let endpoint = Endpoint::start([("v1", Judge::default())]);
    endpoint.set(Mode::Text("<answer>No</answer>".to_owned()));
    let dir = tempfile::tempdir().unwrap();
    let panel = crate::watch_file::panel(dir.path(), &endpoint.base_url(), &["v1"], "");
    let args = ["watch", "test:", "--panel", panel.to_str().unwrap(), "--window-secs", "1", "--hop-secs", "1"];
    for code in [1, 130] {
        let mut tty = Tty::start(AHWATCH, &args, &[], 200, 60);
        tty.wait_for(LIMIT, "the screen", |text| line(text, "test").contains("live"));
        endpoint.forget();
        let gate = tty.gate();
        let held = gate.lock().unwrap();
        // Each has the whole screen drawn anew: soon no more fits between the program and its terminal.
        crate::kit::wait_until(LIMIT, "windows of a stalled terminal", || {
            tty.press("\u{c}");
            std::thread::sleep(std::time::Duration::from_millis(50));
            (endpoint.requests().len() >= 8).then_some(())
        });
        tty.press("q");
        let again = if code == 130 { "q" } else { "" };
        assert_eq!(tty.end(std::time::Duration::from_secs(15), again), code);
        drop(held);
    }
}

#[test]
fn where_no_screen_is_wanted_or_possible_there_are_lines() {
    for (args, env) in [(vec!["--plain"], ("TERM", "xterm")), (vec![], ("TERM", "dumb")), (vec![], ("TERM", ""))] {
        let args = [vec!["watch", "--judge", "cues", SAMPLE], args].concat();
        let mut tty = Tty::start(AHWATCH, &args, &[env], 200, 50);
        assert_eq!(tty.finish(LIMIT), 0);
        let bytes = tty.bytes();
        assert!(bytes.contains("session of interview") && bytes.contains("00:00.0"), "{bytes}");
        assert!(!bytes.contains("\u{1b}[?1049h"), "{args:?} {env:?}");
    }
    // Piped, with the keyboard and the log on a terminal.
    let piped = format!("exec {AHWATCH} watch --judge cues {SAMPLE} | cat");
    let mut tty = Tty::start("bash", &["-c", &piped], &[], 200, 50);
    assert_eq!(tty.finish(LIMIT), 0);
    let bytes = tty.bytes();
    let events: Vec<Value> = bytes.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(events.len() > 10 && events.iter().all(|event| event["specversion"] == "1.0"), "{bytes}");
    assert!(!bytes.contains("\u{1b}[?1049h"));
}
