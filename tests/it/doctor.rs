//! `ahwatch doctor`, as a user runs it.

use std::path::Path;

use serde_json::Value;

use crate::kit::endpoint::{Counts, Endpoint, Judge, Mode, Senses};
use crate::kit::run::{Finished, ahwatch};
use crate::watch_file::{LIMIT, panel, three};

/// Runs it with a panel file of these judges.
fn doctor(endpoint: &Endpoint, models: &[&str], table: &str, more: &[&str], code: i32) -> Finished {
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), models, table);
    ahwatch(["doctor", "--panel", panel.to_str().unwrap()].iter().chain(more)).finish(LIMIT).expect_code(code)
}

/// The finding of a check, its status before it.
fn check(run: &Finished, group: &str, what: &str) -> String {
    let of = |check: &Value| format!("{}: {}", check["status"].as_str().unwrap(), check["finding"].as_str().unwrap());
    let checks = run.events();
    let found: Vec<_> =
        checks.iter().filter(|check| check["group"] == group && check["check"] == what).map(of).collect();
    assert_eq!(found.len(), 1, "{group}, {what}: {found:?} in {}", run.stdout);
    found.into_iter().next().unwrap()
}

#[test]
fn this_machine_is_in_order_without_any_panel() {
    let run = ahwatch(["doctor", "--json"]).finish(LIMIT).expect_code(0);
    assert!(check(&run, "GStreamer", "gstreamer1.0-plugins-base").starts_with("ok: appsrc, appsink, decodebin"));
    assert_eq!(check(&run, "local models", "hashes"), "ok: as in their manifest");
    let text = ahwatch(["doctor"]).finish(LIMIT).expect_code(0).stdout;
    assert!(text.contains("gstreamer1.0-libav") && text.contains("0 failed"), "{text}");

    let run =
        ahwatch(["doctor", "--json"]).env("ORT_DYLIB_PATH", "/nope/libonnxruntime.so").finish(LIMIT).expect_code(1);
    assert!(
        check(&run, "local models", "ONNX Runtime").starts_with("failed: no ONNX Runtime library"),
        "{}",
        run.stdout
    );
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("models")).unwrap();
    std::fs::write(dir.path().join("models/blazeface_short.onnx"), "not a model").unwrap();
    let run = ahwatch(["doctor", "--json", "--assets", dir.path().to_str().unwrap()]).finish(LIMIT).expect_code(1);
    assert!(check(&run, "local models", "hashes").contains("sha256"));
}

#[test]
fn a_good_panel_passes_and_the_table_says_of_what() {
    let endpoint = Endpoint::start([("v1", Judge::default())]);
    endpoint.set_version("0.32.0");
    endpoint.set_senses("v1", Senses { counts: Counts::Channels, ..Senses::default() });
    let run = doctor(&endpoint, &["v1"], "score = true\ndeadline_ms = 120000", &[], 0);
    // Without what differs from machine to machine and from run to run.
    let judge = run.stdout.lines().skip_while(|line| !line.contains("judge v1")).map(|line| {
        let line = line.replace(&endpoint.port().to_string(), "PORT");
        let took = line.find(" after ").map(|at| (at + 7, line[at..].find(" s").map_or(line.len(), |end| at + end)));
        let line = took.map_or(line.clone(), |(from, to)| format!("{}N{}", &line[..from], &line[to..]));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    });
    let shown: Vec<String> = judge.filter(|line| line.starts_with('│')).collect();
    insta::assert_snapshot!(shown.join("\n"));
    assert!(run.stderr.contains("judge v1: the canary") && run.stderr.contains("judge v1: done"), "{}", run.stderr);
}

#[test]
fn judges_that_leave_a_channel_out_fail_with_what_was_measured() {
    let (endpoint, models) = three();
    endpoint.set_senses("v1", Senses { hears: false, ..Senses::default() });
    endpoint.set_senses("v2", Senses { sees: false, ..Senses::default() });
    endpoint.set_senses("v3", Senses { past_30_secs: false, ..Senses::default() });
    let run = doctor(&endpoint, &models, "", &["--json"], 1);
    let same = "log-odds differ by 0.0000 at a spread of 0.0000, which is no difference";
    for (judge, what, proof) in [
        ("judge v1", "hears", "failed: deaf"),
        ("judge v2", "sees", "failed: blind"),
        ("judge v3", "hears past 30 s", "failed: truncates"),
    ] {
        assert_eq!(check(&run, judge, what), format!("failed: {same}"));
        assert_eq!(check(&run, judge, "proof"), format!("failed: {proof}"));
    }
    assert!(check(&run, "judge v1", "sees").starts_with("ok: log-odds differ by 0.7000"));
    assert!(check(&run, "judge v3", "hears").starts_with("ok: "));
}

#[test]
fn a_server_without_log_odds_is_a_warning() {
    let endpoint = Endpoint::start([("v1", Judge::default())]);
    endpoint.set_senses("v1", Senses { tells: false, ..Senses::default() });
    let run = doctor(&endpoint, &["v1"], "", &["--json"], 0);
    assert_eq!(check(&run, "judge v1", "hears"), "warning: cannot be told: the server gives no log-probabilities");
    assert_eq!(check(&run, "judge v1", "proof"), "warning: unproven");
}

#[test]
fn what_is_wrong_with_an_endpoint_is_told_with_the_remedy_and_without_the_key() {
    let endpoint = Endpoint::start([("v1", Judge::default())]);
    let away = endpoint.base_url().replace(&endpoint.port().to_string(), "1");
    let dir = tempfile::tempdir().unwrap();
    let file = panel(dir.path(), &away, &["v1"], "");
    let run = ahwatch(["doctor", "--json", "--panel", file.to_str().unwrap()]).finish(LIMIT).expect_code(1);
    assert!(check(&run, "judge v1", "reachable").contains("cannot connect to 127.0.0.1:1"), "{}", run.stdout);

    let run = doctor(&endpoint, &["v9"], "", &["--json"], 1);
    assert_eq!(check(&run, "judge v9", "model"), "failed: v9 is not among the models listed: v1");

    endpoint.set_version("0.13.0");
    let run = doctor(&endpoint, &["v1"], "", &["--json"], 0);
    assert!(check(&run, "judge v1", "server").starts_with("warning: vLLM 0.13.0"), "{}", run.stdout);
    assert!(run.stdout.contains("CVE-2026-22778") && run.stdout.contains("0.14.1"), "{}", run.stdout);

    endpoint.set(Mode::Text("I would rather not say".into()));
    let run = doctor(&endpoint, &["v1"], "", &["--json"], 0);
    assert!(check(&run, "judge v1", "answer").contains("unparsable"), "{}", run.stdout);
    endpoint.set(Mode::status(501));
    let run = doctor(&endpoint, &["v1"], "", &["--json"], 1);
    assert!(check(&run, "judge v1", "answer").starts_with("failed: server_error"), "{}", run.stdout);

    endpoint.require_key("sk-right");
    let run = doctor(&endpoint, &["v1"], "", &["--json"], 1);
    assert_eq!(check(&run, "judge v1", "key"), "failed: a key is wanted");
    let file = panel(dir.path(), &endpoint.base_url(), &["v1"], "api_key_env = \"AHWATCH_TEST_KEY\"");
    let asked = ahwatch(["doctor", "--json", "--panel", file.to_str().unwrap()]).env("AHWATCH_TEST_KEY", "sk-wrong");
    let run = asked.finish(LIMIT).expect_code(1);
    assert_eq!(check(&run, "judge v1", "key"), "failed: the key is refused");
    assert!(run.stdout.contains("AHWATCH_TEST_KEY"), "{}", run.stdout);
    assert!(!run.stdout.contains("sk-") && !run.stderr.contains("sk-"), "{}{}", run.stdout, run.stderr);
}

#[test]
fn every_replica_is_examined_and_one_that_is_deaf_or_another_checkpoint_is_found() {
    let good = Endpoint::start([("v1", Judge::default())]);
    let other = Endpoint::start([("v1", Judge::default())]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("panel.toml");
    let urls = format!("[\"{}\", \"{}\"]", good.base_url(), other.base_url());
    std::fs::write(&file, format!("[[judge]]\nname = \"v1\"\nmodel = \"v1\"\nbase_urls = {urls}\n")).unwrap();
    let doctor =
        |code| ahwatch(["doctor", "--json", "--panel", file.to_str().unwrap()]).finish(LIMIT).expect_code(code);
    doctor(0);
    assert_eq!((good.canaries(), other.canaries()), (25, 25));
    other.set_senses("v1", Senses { hears: false, ..Senses::default() });
    let run = doctor(1);
    assert_eq!(check(&run, "judge v1", "proof"), "failed: failed: deaf");
    let deaf = run.events().into_iter().find(|check| check["check"] == "hears" && check["status"] == "failed").unwrap();
    assert!(deaf["finding"].as_str().unwrap().contains(&other.base_url()), "{deaf}");
    other.set_senses("v1", Senses { shift: 1.5, ..Senses::default() });
    assert!(check(&doctor(1), "judge v1", "replicas").contains("1.500 apart"));
}

#[test]
fn a_wrong_configuration_and_a_missing_element_are_rows_of_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ahwatch.toml");
    let doctor = |text: &str, code| {
        std::fs::write(&file, text).unwrap();
        ahwatch(["doctor", "--json", "--config", file.to_str().unwrap()]).finish(LIMIT).expect_code(code)
    };
    let run = doctor("[session]\nrule = \"sometimes\"\n", 1);
    assert!(check(&run, "configuration", "values").contains("rule"), "{}", run.stdout);
    let pipeline = dir.path().join("my.gst");
    std::fs::write(&pipeline, "[video]\nnosuchelement ! appsink name=video\n").unwrap();
    std::fs::write(dir.path().join("a.mp4"), "").unwrap();
    let run = doctor("[[source]]\nname = \"desk\"\npath = \"a.mp4\"\npipeline = \"my.gst\"\n", 1);
    assert!(check(&run, "configuration", "source desk").contains("nosuchelement"), "{}", run.stdout);
    assert_eq!(
        check(&doctor("[[source]]\nname = \"t\"\nurl = \"test:\"\n", 0), "configuration", "source t"),
        "ok: its pipeline can be built"
    );
    ahwatch(["doctor", "--config", "/no/such.toml"]).finish(LIMIT).expect_code(2);
    ahwatch(["doctor", "--save", "x.toml"]).finish(LIMIT).expect_code(2);
}

#[test]
fn a_fingerprint_is_saved_of_a_panel_that_is_in_order_and_compared() {
    let (endpoint, models) = three();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("fp.toml");
    let name = file.to_str().unwrap();
    endpoint.set_senses("v3", Senses { hears: false, ..Senses::default() });
    let run = doctor(&endpoint, &models, "", &["--json", "--save", name], 1);
    assert!(check(&run, "fingerprint", name).contains("not saved"), "{}", run.stdout);
    assert!(!Path::new(&file).exists());

    endpoint.set_senses("v3", Senses { tells: false, ..Senses::default() });
    let run = doctor(&endpoint, &models, "", &["--json", "--save", name], 0);
    assert!(check(&run, "fingerprint", name).starts_with("warning: saved without log-odds of v3"), "{}", run.stdout);
    let saved: toml::Table = std::fs::read_to_string(&file).unwrap().parse().unwrap();
    let clips = |judge: usize| saved["judge"][judge].get("clip").map_or(0, |clips| clips.as_array().unwrap().len());
    assert_eq!((clips(0), clips(2)), (3, 0));
    assert!((saved["judge"][0]["clip"][0]["log_odds"].as_float().unwrap() - 0.3).abs() < 1e-9);

    endpoint.set_senses("v2", Senses { shift: -0.7, ..Senses::default() });
    let run = doctor(&endpoint, &models, "", &["--json", "--fingerprint", name], 1);
    assert!(check(&run, "judge v1", "fingerprint").starts_with("ok: "), "{}", run.stdout);
    assert!(check(&run, "judge v2", "fingerprint").contains("off by 0.7000"), "{}", run.stdout);
    assert!(check(&run, "judge v3", "fingerprint").starts_with("warning: "), "{}", run.stdout);
    let run = doctor(&endpoint, &["v1"], "", &["--json", "--fingerprint", name], 1);
    assert!(
        check(&run, "configuration", "values").contains("fingerprint of another panel: it has a judge v2"),
        "{}",
        run.stdout
    );
}

#[test]
fn the_fingerprint_of_the_file_may_be_saved_anew_and_is_compared_without_the_canary() {
    let endpoint = Endpoint::start([("v1", Judge::default())]);
    let dir = tempfile::tempdir().unwrap();
    let table = std::fs::read_to_string(panel(dir.path(), &endpoint.base_url(), &["v1"], "")).unwrap();
    let file = dir.path().join("ahwatch.toml");
    std::fs::write(&file, format!("{table}\n[panel]\nfingerprint = \"fp.toml\"\ncanary = false\n")).unwrap();
    let (config, saved) = (file.to_str().unwrap(), dir.path().join("fp.toml"));
    let doctor = |more: &[&str], code| {
        ahwatch(["doctor", "--json", "--config", config].iter().chain(more)).finish(LIMIT).expect_code(code)
    };
    assert!(check(&doctor(&[], 1), "configuration", "values").contains("doctor --save"));
    // Without the canary nobody knows whether the judge is worth saving.
    let name = saved.to_str().unwrap();
    assert!(check(&doctor(&["--save", name], 1), "fingerprint", name).contains("not saved"));
    std::fs::write(&file, format!("{table}\n[panel]\nfingerprint = \"fp.toml\"\n")).unwrap();
    assert_eq!(check(&doctor(&["--save", name], 0), "fingerprint", name), "ok: saved");
    std::fs::write(&file, format!("{table}\n[panel]\nfingerprint = \"fp.toml\"\ncanary = false\n")).unwrap();
    assert!(check(&doctor(&[], 0), "judge v1", "fingerprint").starts_with("ok: as on"));
    endpoint.set_senses("v1", Senses { shift: -0.7, ..Senses::default() });
    assert!(check(&doctor(&[], 1), "judge v1", "fingerprint").contains("off by 0.7000"));
}

#[test]
fn an_address_without_its_end_is_said_to_be_that() {
    let endpoint = Endpoint::start([("v1", Judge::default())]);
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), endpoint.base_url().trim_end_matches("/v1"), &["v1"], "");
    let run = ahwatch(["doctor", "--json", "--panel", panel.to_str().unwrap()]).finish(LIMIT).expect_code(1);
    for what in ["answer", "canary"] {
        let found = run.events().into_iter().find(|check| check["group"] == "judge v1" && check["check"] == what);
        let remedy = found.unwrap()["remedy"].as_str().unwrap().to_owned();
        assert!(remedy.contains("correct base_url (it usually ends in /v1)"), "{what}: {remedy}");
    }
}
