//! The pages of `web/` in a real browser. The tests themselves are in `tests/web` (node, Playwright, Debian's Chromium).

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::kit::run::{Finished, Run};

/// Oldest node that Playwright and these tests run on.
const NODE: u32 = 18;
const CHROMIUM: &str = "/usr/bin/chromium";

fn web() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web")
}

/// Why they cannot run here; `scripts/setup.sh --test` brings what is missing.
fn missing() -> Option<String> {
    let node = std::process::Command::new("node").arg("--version").output().ok();
    let version = node.and_then(|out| String::from_utf8(out.stdout).ok());
    let major = version.as_deref().and_then(|v| v.trim().strip_prefix('v')?.split('.').next()?.parse::<u32>().ok());
    if major.is_none_or(|major| major < NODE) {
        return Some(format!(
            "node is {}, and {NODE} or newer is needed",
            version.as_deref().unwrap_or("missing").trim()
        ));
    }
    if !Path::new(CHROMIUM).exists() {
        return Some(format!("{CHROMIUM} is missing"));
    }
    let packages = web().join("node_modules/playwright-core");
    (!packages.exists()).then(|| "tests/web/node_modules is missing: npm ci --prefix tests/web".to_owned())
}

/// Runs a test file; None, with the reason on stderr, where that is impossible.
fn tests(file: &str) -> Option<Finished> {
    if let Some(reason) = missing() {
        eprintln!("SKIPPED: {reason}");
        return None;
    }
    let run = Run::program("node", ["--test", "--test-reporter=tap", file]).dir(web());
    Some(run.env("AHWATCH", env!("CARGO_BIN_EXE_ahwatch")).finish(Duration::from_mins(5)))
}

/// What node says of a run, `# pass 12`, as a number.
fn count(finished: &Finished, what: &str) -> usize {
    let mut lines = finished.stdout.lines().filter_map(|line| line.split_once(what));
    lines.next_back().and_then(|(_, number)| number.trim().parse().ok()).unwrap_or_default()
}

#[track_caller]
fn pass(file: &str, at_least: usize) {
    let Some(mut finished) = tests(file) else { return };
    if finished.code != Some(0) {
        // A browser beside a machine full of other tests misses a limit now and then; twice in a row is no accident.
        eprintln!("{file} failed, and is run once more:\n{}\n{}", finished.stdout, finished.stderr);
        let Some(again) = tests(file) else { return };
        finished = again;
    }
    let finished = finished.expect_code(0);
    let passed = count(&finished, " pass ");
    assert!(passed >= at_least, "{passed} of at least {at_least} tests passed:\n{}", finished.stdout);
}

#[test]
fn what_the_pages_reckon_without_a_browser() {
    pass("model.test.mjs", 12);
}

#[test]
fn the_participants_page_in_a_browser() {
    pass("join.test.mjs", 22);
}

#[test]
fn the_dashboard_in_a_browser() {
    pass("dashboard.test.mjs", 25);
}

/// With the program itself, from joining to withdrawal.
#[test]
fn a_browser_joins_the_service_and_withdraws() {
    pass("serve.test.mjs", 1);
}

/// The stand-in of these tests says nothing that the service could not say. (`events` holds each to its schema.)
#[test]
fn the_events_of_the_stand_in_fit_the_schemas() {
    if missing().is_some_and(|reason| reason.starts_with("node is")) {
        eprintln!("SKIPPED: node is missing");
        return;
    }
    let run = Run::program("node", ["mock/by_hand.mjs", "busy", "--events"]).dir(web());
    let events = run.finish(Duration::from_secs(30)).expect_code(0).events();
    let kinds: std::collections::BTreeSet<_> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    assert!(events.len() > 100 && kinds.len() >= 10, "{} events of {kinds:?}", events.len());
}
