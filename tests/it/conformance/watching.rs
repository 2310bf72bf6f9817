//! `ahwatch watch` as a user runs it, before the real servers.

use std::time::Duration;

use serde_json::Value;

use super::bench::Bench;
use super::rig::Setting;
use crate::kit::media::Recipe;
use crate::kit::run::{Run, ahwatch};

/// Generous: two cores, which may have other work.
const LIMIT: Duration = Duration::from_secs(600);

/// The program on a source, with one judge.
fn watch(bench: &Bench, source: &str, more: &str) -> Run {
    let panel = bench.rig.scratch().join("panel.toml");
    let url = bench.server().base_url();
    let text = format!("[[judge]]\nname = \"v1\"\nbase_url = \"{url}\"\nmodel = \"base\"\n{more}\n");
    std::fs::write(&panel, text).unwrap();
    ahwatch(["watch", "--json", "--panel", panel.to_str().expect("UTF-8"), source])
}

fn windows<'a>(events: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["type"] == kind && !event["data"]["votes"].is_null())
}

fn count(events: &[Value], kind: &str) -> usize {
    windows(events, kind).count()
}

const JUDGED: &str = "ah.window.judged.v1";
const LOST: &str = "ah.window.lost.v1";

/// Two full windows and a tail.
fn recording() -> String {
    Recipe::new(13.4).size(640, 480).make().to_str().expect("UTF-8").to_owned()
}

/// With `constrain`, even a random model votes on every window.
pub fn every_window_votes(bench: &mut Bench) {
    let done = watch(bench, &recording(), "constrain = true\nscore = true\ndeadline_ms = 300000").finish(LIMIT);
    let events = done.events();
    let votes: Vec<_> = windows(&events, JUDGED).map(|event| event["data"]["votes"][0]["answer"].clone()).collect();
    let voted = votes.iter().all(|vote| vote == "present" || vote == "absent");
    bench.check(
        "a file of three windows: votes",
        "3, present or absent",
        &format!("{votes:?}"),
        voted && votes.len() == 3,
    );
    let scored = windows(&events, JUDGED).filter(|event| event["data"]["votes"][0]["score"]["p_yes"].is_f64()).count();
    bench.state("P(Yes) in its events", &format!("{scored} of 3"));
    bench.equal("windows lost", &0, &count(&events, LOST));
    bench.equal("exit code", &Some(0), &done.code);
}

/// `swift deploy` ignores `constrain`; its noise is no answer, and no "No".
pub fn noise_is_abstained(bench: &mut Bench) {
    let done = watch(bench, &recording(), "constrain = true\ndeadline_ms = 300000").finish(LIMIT);
    let events = done.events();
    let reasons: Vec<_> =
        windows(&events, LOST).map(|event| event["data"]["votes"][0]["abstention"]["reason"].clone()).collect();
    let noise = reasons.iter().all(|reason| reason == "unparsable" || reason == "truncated");
    let expected = "3, unparsable or truncated";
    bench.check("a file of three windows: abstentions", expected, &format!("{reasons:?}"), noise && reasons.len() == 3);
    bench.equal("windows judged", &0, &count(&events, JUDGED));
    bench.equal("exit code, for nothing was judged", &Some(1), &done.code);
}

/// SIGKILL to the server while it is watched for: abstentions, and votes again when a server is back at its address.
pub fn a_killed_server_comes_back(bench: &mut Bench) {
    // Small pictures, so that two busy cores keep up with a live source.
    let more = "constrain = true\nmax_pixels = 65536\ndeadline_ms = 15000";
    let mut run = watch(bench, "test:", more).start();
    run.wait_for_type(LIMIT, JUDGED);
    let mut server = bench.server.take().expect("a server");
    server.kill();
    let port = server.port();
    drop(server);
    let judged = count(&run.events(), JUDGED);
    let lost = run.wait_for(LIMIT, "a window without an answer", |event| event["type"] == LOST);
    let reason = lost["data"]["votes"][0]["abstention"]["reason"].clone();
    bench.on = Setting::vllm("models/tiny-moe").fps(2).name();
    let refused = ["unreachable", "deadline", "server_error"].iter().any(|known| reason == *known);
    bench.check("after SIGKILL: the first abstention", "unreachable or late", &reason.to_string(), refused);
    // The next check's server, in the place of the killed one.
    *bench.server = Some(bench.rig.start_at(&Setting::vllm("models/tiny-moe"), port));
    let meanwhile = count(&run.events(), LOST);
    run.wait_until(LIMIT, "a vote after the server came back", |run| {
        let events = run.events();
        let last = events.iter().rfind(|event| [JUDGED, LOST].contains(&event["type"].as_str().unwrap_or_default()))?;
        (last["type"] == JUDGED && count(&events, JUDGED) > judged).then_some(())
    });
    run.signal("INT");
    let done = run.finish(LIMIT);
    let events = done.events();
    bench.state("windows abstained while it was away", &meanwhile.to_string());
    let ended = events.iter().find(|event| event["type"] == "ah.session.ended.v1").expect("the session's end");
    let secs = |kind: &str| ended["data"]["coverage"][kind]["total_secs"].as_f64().unwrap_or(f64::NAN);
    let (judged, lost) = (secs("judged"), secs("lost"));
    let measured = format!("{judged} s judged, {lost} s lost");
    bench.check("the session's books", "both above 0", &measured, judged > 0.0 && lost > 0.0);
    bench.equal("exit code, stopped by SIGINT", &Some(0), &done.code);
}
