//! Judges that do not hear or see, under `ahwatch watch`: found out before anything is judged, and while it runs.

use std::path::PathBuf;

use serde_json::Value;

use crate::kit::endpoint::{Counts, Endpoint, Judge, Senses};
use crate::kit::media::Recipe;
use crate::kit::run::{Finished, ahwatch};
use crate::watch_file::{LIMIT, ended, labels, lost_windows, panel, three};

/// Runs `watch` on ten seconds, the second window planted.
fn watch(endpoint: &Endpoint, models: &[&str], more: &[&str], code: i32) -> Finished {
    let path = Recipe::new(10.0).plant(&[1]).make();
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), models, "");
    let args = ["watch", path.to_str().unwrap(), "--panel", panel.to_str().unwrap()];
    ahwatch(args.iter().chain(more)).finish(LIMIT).expect_code(code)
}

/// What the session's start says of each judge.
fn proofs(run: &Finished) -> Vec<String> {
    let started = &run.events_of("ah.session.started.v1")[0]["data"]["judges"];
    started.as_array().unwrap().iter().map(|judge| judge["proof"].as_str().unwrap().to_owned()).collect()
}

fn changed(run: &Finished) -> Vec<(String, String, String)> {
    let word = |event: &Value, key: &str| event["data"][key].as_str().unwrap().to_owned();
    let events = run.events_of("ah.judge.changed.v1");
    assert!(events.iter().all(|event| event["source"] == "/ahwatch" && event.get("subject").is_none()));
    events.iter().map(|event| (word(event, "judge"), word(event, "state"), word(event, "proof"))).collect()
}

fn flags(run: &Finished, judge: &str) -> Vec<Value> {
    let judged = run.events_of("ah.window.judged.v1");
    let votes = judged.iter().flat_map(|event| event["data"]["votes"].as_array().unwrap());
    votes.filter(|vote| vote["judge"] == judge).map(|vote| vote["flag"].clone()).collect()
}

#[test]
fn a_panel_that_hears_and_sees_is_proven_and_judges_as_ever() {
    let (endpoint, models) = three();
    let run = watch(&endpoint, &models, &[], 0);
    assert_eq!(proofs(&run), ["proven", "proven", "proven"]);
    assert_eq!(changed(&run), []);
    assert_eq!(labels(&run.events()), [(0.0, "absent".to_owned()), (5.0, "present".to_owned())]);
    assert_eq!(flags(&run, "v2"), [Value::Null, Value::Null]);
    // Five clips, five times, for each.
    assert_eq!(endpoint.canaries(), 75);
}

#[test]
fn judges_that_leave_a_channel_out_are_set_aside_and_stay_in_the_denominator() {
    let whole = Senses::default();
    let faulty = [
        ("f1", Senses { hears: false, ..whole }, "failed: deaf"),
        ("f2", Senses { sees: false, ..whole }, "failed: blind"),
        ("f3", Senses { past_30_secs: false, ..whole }, "failed: truncates"),
        // Its noise is larger than what it hears.
        ("f4", Senses { noise: 3.0, ..whole }, "failed: deaf"),
        // It gives no log-probabilities, but its counts give it away.
        ("f5", Senses { hears: false, tells: false, counts: Counts::Total, ..whole }, "failed: deaf"),
        ("f6", Senses { sees: false, tells: false, counts: Counts::Channels, ..whole }, "failed: blind"),
    ];
    let fine = ["v1", "v2", "v3", "v4", "v5", "v6", "v7"];
    let models: Vec<&str> = fine.into_iter().chain(faulty.map(|(model, ..)| model)).collect();
    let endpoint = Endpoint::start(models.iter().map(|model| (*model, Judge::default())));
    for (model, senses, _) in faulty {
        endpoint.set_senses(model, senses);
    }
    let run = watch(&endpoint, &models, &[], 0);
    assert_eq!(proofs(&run)[..7], ["proven"; 7]);
    assert_eq!(proofs(&run)[7..], faulty.map(|(.., proof)| proof));
    assert_eq!(changed(&run), faulty.map(|(model, _, proof)| (model.into(), "set_aside".into(), proof.into())));
    for (model, _, proof) in faulty {
        assert!(run.stderr.contains(&format!("judge {model} is {proof}")), "{}", run.stderr);
    }
    // Seven of thirteen are a majority still.
    assert_eq!(labels(&run.events()), [(0.0, "absent".to_owned()), (5.0, "present".to_owned())]);
    for event in run.events_of("ah.window.judged.v1") {
        let vote = &event["data"]["votes"][7]["abstention"];
        assert_eq!((&vote["reason"], &vote["detail"]), (&"set_aside".into(), &"failed: deaf".into()));
    }
    assert_eq!(ended(&run.events())["judges"][8]["abstained"]["set_aside"], 2);
    for request in endpoint.requests().iter().filter(|request| request.model.starts_with('f')) {
        let clip = request.clip.as_ref().unwrap();
        assert!(clip.pictures.iter().all(|picture| picture.code.is_none()), "{} got a window", request.model);
    }
}

#[test]
fn when_most_judges_fail_nothing_is_called_anything() {
    let (endpoint, models) = three();
    for model in ["v1", "v3"] {
        endpoint.set_senses(model, Senses { sees: false, ..Senses::default() });
    }
    let run = watch(&endpoint, &models, &[], 0);
    assert!(run.stderr.contains("2 of 3 judges are set aside"), "{}", run.stderr);
    assert_eq!(labels(&run.events()), [(0.0, "undecided".to_owned()), (5.0, "undecided".to_owned())]);

    endpoint.set_senses("v2", Senses { hears: false, ..Senses::default() });
    let run = watch(&endpoint, &models, &[], 1);
    assert_eq!(lost_windows(&run.events()).len(), 2);
    assert!(run.stderr.contains("nothing could be judged"), "{}", run.stderr);
}

#[test]
fn a_degraded_judge_votes_where_that_is_allowed_with_a_flag_on_every_vote() {
    let (endpoint, models) = three();
    endpoint.set_senses("v2", Senses { hears: false, ..Senses::default() });
    let run = watch(&endpoint, &models, &["--allow-degraded"], 0);
    assert_eq!(proofs(&run)[1], "failed: deaf");
    assert_eq!(changed(&run), [("v2".into(), "degraded".into(), "failed: deaf".into())]);
    assert_eq!(flags(&run, "v2"), ["degraded", "degraded"]);
    assert_eq!(flags(&run, "v1"), [Value::Null, Value::Null]);
}

#[test]
fn a_server_without_log_odds_is_unproven_and_votes_flagged() {
    let (endpoint, models) = three();
    endpoint.set_senses("v2", Senses { tells: false, ..Senses::default() });
    let run = watch(&endpoint, &models, &[], 0);
    assert_eq!(proofs(&run), ["proven", "unproven", "proven"]);
    assert_eq!(changed(&run), [("v2".into(), "unproven".into(), "unproven".into())]);
    assert_eq!(flags(&run, "v2"), ["unproven", "unproven"]);
    assert_eq!(labels(&run.events()), [(0.0, "absent".to_owned()), (5.0, "present".to_owned())]);
}

#[test]
fn without_the_canary_nobody_is_asked_which_every_session_says() {
    let (endpoint, models) = three();
    endpoint.set_senses("v2", Senses { hears: false, ..Senses::default() });
    let run = watch(&endpoint, &models, &["--no-canary"], 0);
    assert_eq!(proofs(&run), ["not_checked"; 3]);
    assert_eq!(endpoint.canaries(), 0);
    assert_eq!(flags(&run, "v2"), [Value::Null, Value::Null]);
}

#[test]
fn an_endpoint_that_is_away_at_the_start_leaves_its_judge_unproven_and_the_watch_goes_on() {
    let path = Recipe::new(10.0).plant(&[1]).make();
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), "http://127.0.0.1:1/v1", &["v1"], "deadline_ms = 500");
    let args = ["watch", path.to_str().unwrap(), "--panel", panel.to_str().unwrap()];
    let run = ahwatch(args).finish(LIMIT).expect_code(1);
    assert_eq!(proofs(&run), ["unproven"]);
    assert!(run.stderr.contains("cannot connect to 127.0.0.1:1"), "{}", run.stderr);
}

/// A configuration that watches a live test picture with one judge, and its fingerprint saved by `doctor`.
struct Scene {
    endpoint: Endpoint,
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let endpoint = Endpoint::start([("v1", Judge::default())]);
        let scene = Self { endpoint, dir: tempfile::tempdir().unwrap() };
        scene.write("v1");
        let saved =
            ahwatch(["doctor", "--config", &scene.path("ahwatch.toml"), "--save", &scene.path("panel.fp.toml")]);
        saved.finish(LIMIT).expect_code(0);
        scene
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn write(&self, judge: &str) {
        self.write_with(judge, "");
    }

    /// With these keys of the judge as well.
    fn write_with(&self, judge: &str, more: &str) {
        let text = format!(
            "[panel]\nfingerprint_secs = 1\n[[source]]\nurl = \"test:\"\n[[judge]]\nname = \"{judge}\"\nmodel = \"v1\"\nbase_url = \"{}\"\n{more}",
            self.endpoint.base_url()
        );
        std::fs::write(self.path("ahwatch.toml"), text).unwrap();
    }

    fn watch(&self) -> crate::kit::run::Run {
        ahwatch([
            "watch",
            "--json",
            "--config",
            &self.path("ahwatch.toml"),
            "--fingerprint",
            &self.path("panel.fp.toml"),
        ])
    }
}

#[test]
fn a_judge_that_drifts_while_running_is_set_aside_and_comes_back() {
    let scene = Scene::new();
    let mut run = scene.watch().start();
    let started = run.wait_for_type(LIMIT, "ah.session.started.v1");
    assert_eq!(started["data"]["judges"][0]["proof"], "proven");
    scene.endpoint.set_senses("v1", Senses { shift: 1.0, ..Senses::default() });
    let change = run.wait_for_type(LIMIT, "ah.judge.changed.v1");
    assert_eq!((&change["data"]["state"], &change["data"]["proof"]), (&"set_aside".into(), &"failed: changed".into()));
    run.wait_for(LIMIT, "a window nobody judged", |event| {
        event.pointer("/data/votes/0/abstention/reason") == Some(&"set_aside".into())
    });
    scene.endpoint.set_senses("v1", Senses::default());
    run.wait_for(LIMIT, "the judge is back", |event| event["data"]["state"] == "healthy");
    run.signal("INT");
    run.finish(LIMIT).expect_code(0);
}

/// The panel of the session that runs, and the panel of those to come.
#[test]
fn a_judge_that_drifts_after_a_reload_is_set_aside_also_in_the_session_that_runs() {
    let scene = Scene::new();
    let mut run = scene.watch().start();
    run.wait_for_type(LIMIT, "ah.session.started.v1");
    scene.write_with("v1", "deadline_ms = 9000\n");
    run.wait_until(LIMIT, "a reload", |run| run.stderr().contains("was read again: 1 sources go on").then_some(()));
    scene.endpoint.set_senses("v1", Senses { shift: 1.0, ..Senses::default() });
    for earlier in [true, false] {
        run.wait_for(LIMIT, "each panel's change", |event| {
            let detail = event.pointer("/data/detail").and_then(Value::as_str).unwrap_or_default();
            event["data"]["proof"] == "failed: changed" && detail.contains("an earlier configuration") == earlier
        });
    }
    run.wait_for(LIMIT, "a window nobody judged", |event| {
        event.pointer("/data/votes/0/abstention/reason") == Some(&"set_aside".into())
    });
    run.signal("INT");
    let run = run.finish(LIMIT).expect_code(0);
    assert_eq!(run.events_of("ah.session.started.v1").len(), 1);
}

#[test]
fn a_judge_that_is_not_as_its_fingerprint_at_the_start_is_set_aside() {
    let scene = Scene::new();
    // Within the tolerance of 0.25 first.
    for (shift, proof) in [(0.2, "proven"), (-0.4, "failed: changed")] {
        scene.endpoint.set_senses("v1", Senses { shift, ..Senses::default() });
        let mut run = scene.watch().start();
        let started = run.wait_for_type(LIMIT, "ah.session.started.v1");
        assert_eq!(started["data"]["judges"][0]["proof"], proof, "{}", run.stderr());
    }
}

#[test]
fn a_fingerprint_of_another_panel_is_refused_in_one_message() {
    let scene = Scene::new();
    scene.write("v2");
    let told = scene.watch().finish(LIMIT).expect_code(2).stderr;
    for words in ["panel.fp.toml", "fingerprint of another panel", "no judge v2", "a judge v1", "doctor --save"] {
        assert!(told.contains(words), "{words} in {told}");
    }
    assert_eq!(told.matches("panel.fp.toml").count(), 1, "{told}");
    scene.write("v1");
    let file = PathBuf::from(scene.path("panel.fp.toml"));
    let text = std::fs::read_to_string(&file).unwrap();
    let hash = text.lines().find(|line| line.starts_with("sha256")).unwrap();
    std::fs::write(&file, text.replace(hash, "sha256 = \"00\"")).unwrap();
    let told = scene.watch().finish(LIMIT).expect_code(2).stderr;
    assert!(told.contains("panel.fp.toml") && told.contains("was another") && told.contains("--save"), "{told}");
    std::fs::write(&file, "[[judge]]\n").unwrap();
    assert!(scene.watch().finish(LIMIT).expect_code(2).stderr.contains("is no fingerprint"));
}
