//! The command line: what it says, what it refuses before anything runs, and what an event looks like.

use std::path::Path;

use serde_json::Value;

use crate::kit::endpoint::{Endpoint, Judge};
use crate::kit::media::Recipe;
use crate::kit::run::{Finished, ahwatch};
use crate::watch_file::{LIMIT, labels};

fn sample() -> String {
    format!("{}/examples/media/interview.mp4", env!("CARGO_MANIFEST_DIR"))
}

fn run<const N: usize>(args: [&str; N]) -> Finished {
    ahwatch(args).finish(LIMIT)
}

#[test]
fn help_says_what_there_is() {
    for (name, args) in [
        ("help", vec!["--help"]),
        ("help_watch", vec!["watch", "--help"]),
        ("help_config", vec!["config", "--help"]),
        ("help_bah", vec!["bah", "--help"]),
        ("help_journal", vec!["journal", "--help"]),
        ("help_replay", vec!["replay", "--help"]),
        ("help_serve", vec!["serve", "--help"]),
        ("help_token", vec!["token", "create", "--help"]),
    ] {
        let help = ahwatch(args).finish(LIMIT).expect_code(0).stdout;
        insta::assert_snapshot!(name, help);
    }
}

/// Runs `watch` with a panel file of this text and gives the message it is refused with.
fn refused(panel: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("panel.toml");
    std::fs::write(&file, panel).unwrap();
    let source = sample();
    let args = ["watch", &source, "--panel", file.to_str().unwrap()];
    let run = run(args).expect_code(2);
    assert!(run.stdout.is_empty(), "{}", run.stdout);
    assert!(run.stderr.contains("panel.toml"), "{}", run.stderr);
    run.stderr
}

fn judge(name: &str, more: &str) -> String {
    format!("[[judge]]\nname = \"{name}\"\nmodel = \"m\"\nbase_url = \"http://127.0.0.1:1/v1\"\n{more}\n")
}

#[test]
fn a_wrong_panel_is_refused_before_anything_runs_with_everything_that_is_wrong() {
    let says = |text: &str, words: &[&str]| {
        let message = refused(text);
        assert!(words.iter().all(|word| message.contains(word)), "{words:?} in {message}");
    };
    says(&(judge("a", "") + &judge("b", "")), &["even"]);
    says(&(judge("a", "") + &judge("a", "") + &judge("c", "")), &["a", "name"]);
    says(&judge("a", "treshold = 1"), &["treshold"]);
    says(&judge("a", "prompt = \"no-such\""), &["no-such", "trained"]);
    says(&judge("a", "prompt = \"no/such.txt\""), &["no/such.txt"]);
    says(&judge("a", "api_key_env = \"AHWATCH_NO_SUCH_KEY\""), &["AHWATCH_NO_SUCH_KEY"]);
    says(&judge("a", "").replace("127.0.0.1:1", "gpu.example"), &["allow_http"]);
    says(&judge("a", "").replace("http://127", "http://u:hunter2@127"), &["base_url"]);
    says("[[judge]\n", &["line 1"]);
    // All at once.
    says(&(judge("a", "treshold = 1") + &judge("a", "prompt = \"no-such\"")), &["treshold", "no-such", "even"]);
    assert!(!refused(&judge("a", "").replace("http://127", "http://u:hunter2@127")).contains("hunter2"));
    let both = run(["watch", &sample(), "--rule", "max_of_vote", "--early-stop"]).expect_code(2);
    assert!(both.stderr.contains("early-stop") && both.stderr.contains("max_of_vote"), "{}", both.stderr);
}

#[test]
fn bad_usage_is_refused_with_code_2() {
    assert!(run(["watch"]).expect_code(2).stderr.contains("nothing to watch"));
    assert!(run(["watch", "x.mp4", "--hop-secs", "6"]).expect_code(2).stderr.contains("hop"));
    assert!(
        run(["watch", "x.mp4", "--panel", "/no/such/panel.toml"]).expect_code(2).stderr.contains("/no/such/panel.toml")
    );
    assert!(run(["watch", "x.mp4", "--config", "/no/such.toml"]).expect_code(2).stderr.contains("/no/such.toml"));
    run(["wacht"]).expect_code(2);
}

#[test]
fn a_pipeline_of_ones_own_is_checked_and_used() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("my.gst");
    std::fs::write(&file, "[video]\nnosuchelement ! appsink name=video\n").unwrap();
    let says = run(["watch", &sample(), "--pipeline", file.to_str().unwrap()]).expect_code(2).stderr;
    assert!(says.contains("my.gst") && says.contains("nosuchelement"), "{says}");

    // Sound only, and the sample is then a recording without pictures.
    std::fs::write(
        &file,
        "[source]\nfilesrc name=in ! decodebin name=out\n[audio]\naudioconvert ! audioresample \
         ! audio/x-raw,format=S16LE,rate=16000,channels=1,layout=interleaved ! appsink name=audio\n",
    )
    .unwrap();
    let run = run(["watch", &sample(), "--pipeline", file.to_str().unwrap()]).expect_code(0);
    assert_eq!(labels(&run.events()).len(), 10);
    assert!(run.stderr.contains("no pictures"), "{}", run.stderr);
}

#[test]
fn a_missing_library_and_a_wrong_model_are_told_with_the_remedy() {
    let no_library = ahwatch(["watch", &sample()]).env("ORT_DYLIB_PATH", "/nope/libonnxruntime.so").finish(LIMIT);
    let says = no_library.expect_code(2).stderr;
    assert!(says.contains("/nope/libonnxruntime.so") && says.contains("make setup"), "{says}");

    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("models")).unwrap();
    std::fs::write(dir.path().join("models/blazeface_short.onnx"), "not a model").unwrap();
    let says = run(["watch", &sample(), "--assets", dir.path().to_str().unwrap()]).expect_code(2).stderr;
    assert!(says.contains("blazeface_short.onnx") && says.contains("sha256"), "{says}");
}

#[test]
fn config_check_and_schema() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ahwatch.toml");
    let text = format!("[session]\nrule = \"max_of_vote\"\n[[source]]\npath = \"{}\"\n", sample());
    std::fs::write(&file, &text).unwrap();
    let says = run(["config", "check", file.to_str().unwrap()]).expect_code(0).stdout;
    assert!(says.contains("1 source"), "{says}");
    let schema: Value = serde_json::from_str(&run(["config", "schema"]).expect_code(0).stdout).unwrap();
    let typed: Value = serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
    jsonschema::validate(&schema, &typed).unwrap();

    std::fs::write(&file, "[session]\nrule = \"sometimes\"\nmin_coverage = 3\n").unwrap();
    let says = run(["config", "check", file.to_str().unwrap()]).expect_code(2).stderr;
    assert!(says.contains("rule") && says.contains("min_coverage"), "{says}");
}

#[test]
fn config_check_tells_what_serve_would_refuse_and_serve_what_it_does_without_a_controller() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ahwatch.toml");
    let path = file.to_str().unwrap();
    let source = format!("[[source]]\nname = \"desk\"\npath = \"{}\"\n", sample());
    let server = "[server]\nlisten = \"127.0.0.1:0\"\nmedia_listen = \"127.0.0.1:0\"\n";
    let controller = "[controller]\nname = \"Test clinic\"\ncontact = \"privacy@example.org\"\n";
    for table in [server, controller] {
        std::fs::write(&file, format!("{table}{source}")).unwrap();
        let checked = run(["config", "check", path]).expect_code(2).stderr;
        let served = run(["serve", "--config", path]).expect_code(2).stderr;
        let words = "\"desk\": has no purpose and consent";
        let line = checked.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{checked}"));
        assert!(served.contains(line), "{served}");
        std::fs::write(&file, format!("{table}{source}purpose = \"research\"\nconsent = \"folder 3\"\n")).unwrap();
        run(["config", "check", path]).expect_code(0);
    }
    // For `watch` it is in order without.
    std::fs::write(&file, &source).unwrap();
    run(["config", "check", path]).expect_code(0);

    for (text, warns) in [(server.to_owned(), true), (format!("{server}{controller}"), false)] {
        std::fs::write(&file, text + "[journal]\npath = \"journal.db\"\n").unwrap();
        let mut serving = ahwatch(["serve", "--config", path]).start();
        serving.wait_until(LIMIT, "it to listen", |run| run.stderr().contains("listening on").then_some(()));
        serving.signal("TERM");
        let said = serving.finish(LIMIT).expect_code(0).stderr;
        assert_eq!(said.contains("refused until [controller]"), warns, "{said}");
    }
}

/// An event without what differs from run to run.
fn steady(mut event: Value) -> Value {
    for key in ["id", "subject", "time"] {
        event[key] = "-".into();
    }
    event["data"]["session"] = "-".into();
    if let Some(votes) = event["data"]["votes"].as_array_mut() {
        for vote in votes {
            vote["latency_ms"] = "-".into();
            vote["base_url"] = "-".into();
        }
    }
    if event["type"] == "ah.session.ended.v1" {
        event["data"]["judges"][0]["usage"]["waited_secs"] = "-".into();
    }
    // Another release of ONNX Runtime may hear a code's tones a little differently.
    if let Some(flags) = event.pointer_mut("/data/quality/flags") {
        flags["speech_secs"] = "-".into();
    }
    event
}

#[test]
fn the_events_of_a_recording() {
    let path = Recipe::new(12.0).plant(&[1]).make();
    let endpoint = Endpoint::start([("v1", Judge::default())]);
    let dir = tempfile::tempdir().unwrap();
    let panel = crate::watch_file::panel(dir.path(), &endpoint.base_url(), &["v1"], "max_in_flight = 1\nscore = true");
    let config = dir.path().join("ahwatch.toml");
    std::fs::write(&config, format!("[[source]]\nname = \"desk\"\npath = \"{}\"\n", path.display())).unwrap();
    let args = ["watch", "--config", config.to_str().unwrap(), "--panel", panel.to_str().unwrap()];
    let mut events: Vec<Value> = ahwatch(args).finish(LIMIT).expect_code(0).events().into_iter().map(steady).collect();
    // The tail is known before the last window is judged, or after: any order but that of time is luck.
    let start = |e: &Value| e["data"]["span"]["start_secs"].as_f64().unwrap();
    events.sort_by(|a, b| start(a).total_cmp(&start(b)).then_with(|| a["type"].as_str().cmp(&b["type"].as_str())));
    insta::assert_json_snapshot!("events", events);
}

#[test]
fn the_embedded_index_finds_the_hesitant_passages_of_the_sample_and_never_speaks_of_ambivalence() {
    let run = run(["watch", &sample()]).expect_code(0);
    let truth: Value =
        serde_json::from_str(&std::fs::read_to_string(Path::new(&sample()).with_extension("json")).unwrap()).unwrap();
    let passages = truth["spans"].as_array().expect("spans of the sample");
    for (start, label) in labels(&run.events()) {
        let middle = start + 2.5;
        let passage =
            passages.iter().find(|p| p["start_s"].as_f64() <= Some(middle) && Some(middle) < p["end_s"].as_f64());
        let hesitant = passage.expect("every second is in a passage")["kind"] == "hesitant";
        assert_eq!(label == "present", hesitant, "at {start} s");
    }
    for event in run.events() {
        let text = event.to_string().to_lowercase();
        assert!(!text.contains("ambivalen") && !text.contains("a/h"), "{event:#}");
        if event["type"] == "ah.window.judged.v1" {
            assert_eq!((&event["data"]["kind"], &event["data"]["calibrated"]), (&"heuristic".into(), &false.into()));
        }
    }
    assert!(run.stderr.contains("no panel is configured"), "{}", run.stderr);
}

#[test]
fn a_closed_output_ends_the_watch_with_code_1() {
    let line = format!("{} watch {} | head -n 1; exit ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_ahwatch"), sample());
    let run = crate::kit::run::Run::program("bash", ["-c", &line]).finish(LIMIT);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
}

#[test]
fn plain_lines_are_printed_wherever_they_go() {
    let plain = run(["watch", "--plain", &sample()]).expect_code(0).stdout;
    assert!(!plain.lines().any(|line| line.starts_with('{')) && plain.contains("present"), "{plain}");
    assert!(run(["watch", &sample()]).expect_code(0).stdout.lines().all(|line| line.starts_with('{')));
    let report = run(["watch", "--plain", "--gate-report", &sample()]).expect_code(0).stdout;
    assert!(report.contains("windows skipped"), "{report}");
}

#[test]
fn who_does_not_answer_is_named_where_nothing_could_be_judged() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("panel.toml");
    std::fs::write(&file, judge("deaf", "")).unwrap();
    let run = run(["watch", &sample(), "--panel", file.to_str().unwrap()]).expect_code(1);
    assert!(run.stderr.contains("deaf abstained, "), "{}", run.stderr);
    let canary = run.stderr.lines().find(|line| line.contains("no answer to the canary")).unwrap();
    assert!(canary.contains("start its server or correct base_url") && !canary.contains("flagged"), "{canary}");
}

#[test]
fn a_token_says_which_journal_it_is_of_and_when_that_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let create = |name: &str| {
        let run = ahwatch(["token", "create", name, "--role", "viewer"]).dir(dir.path()).finish(LIMIT).expect_code(0);
        assert_eq!(run.stdout.lines().count(), 1, "{}", run.stdout);
        assert!(run.stderr.contains(dir.path().join("ahwatch.db").to_str().unwrap()), "{}", run.stderr);
        run.stderr.contains("which is new")
    };
    assert_eq!([create("a"), create("b")], [true, false]);
}

#[test]
fn a_configuration_is_checked_under_either_name() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.toml");
    std::fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    let same = [run(["config", "check", file]), run(["config", "check", "--config", file])];
    assert!(same.iter().all(|run| run.code == Some(0) && run.stdout.contains("in order")), "{}", same[1].stderr);
    run(["config", "check"]).expect_code(2);
    run(["config", "check", file, "--config", file]).expect_code(2);
}
