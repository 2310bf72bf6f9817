//! `ahwatch doctor` before the real servers.

use std::time::Duration;

use serde_json::Value;

use super::bench::Bench;
use crate::kit::run::ahwatch;

/// Twenty-five requests, on a shared machine.
const LIMIT: Duration = Duration::from_secs(600);

/// Exit code, and status and finding of each check of the judge.
fn doctor(bench: &Bench, more: &str) -> (Option<i32>, impl Fn(&str) -> String + use<>) {
    let file = bench.rig.scratch().join("doctor.toml");
    let judge = format!("[[judge]]\nname = \"tiny\"\nmodel = \"base\"\nbase_url = \"{}\"\n", bench.server().base_url());
    std::fs::write(&file, format!("{judge}time_scale = 1.0\ndeadline_ms = 120000\n{more}"))
        .expect("scratch is writable");
    let run = ahwatch(["doctor", "--json", "--panel", file.to_str().expect("a path")]).finish(LIMIT);
    let checks: Vec<Value> = run.events().into_iter().filter(|check| check["group"] == "judge tiny").collect();
    let of = move |what: &str| {
        let found = checks.iter().find(|check| check["check"] == what);
        found.map_or_else(|| "no such check".to_owned(), |check| format!("{}: {}", check["status"], check["finding"]))
    };
    (run.code, of)
}

/// The tiny model is noise, and yet its log-odds depend on all it is given.
pub fn proven(bench: &mut Bench) {
    let (code, of) = doctor(bench, "constrain = true\nscore = true\n");
    bench.equal("doctor: exit code", &Some(0), &code);
    for what in ["hears", "sees", "hears past 30 s"] {
        let found = of(what);
        bench.check(&format!("doctor: {what}"), "ok", &found, found.starts_with("\"ok\""));
    }
    bench.equal("doctor: proof", &"\"ok\": \"proven\"".to_owned(), &of("proof"));
    let server = of("server");
    bench.check("doctor: server", "its version", &server, server.contains("vLLM 0."));
}

/// `swift deploy` gives the most likely tokens only, and a random model's labels are not among them.
pub fn unproven(bench: &mut Bench) {
    let (_, of) = doctor(bench, "");
    bench.equal("doctor: proof", &"\"warning\": \"unproven\"".to_owned(), &of("proof"));
}
