//! What `ahwatch watch` says when judges cease to answer and answer again.

use std::time::Duration;

use serde_json::{Value, json};

use crate::kit::behaviour::Mode;
use crate::kit::endpoint::{Endpoint, Judge};
use crate::kit::media::Recipe;
use crate::kit::run::{Run, Running, ahwatch};
use crate::watch_file::LIMIT;

/// Watches a recording of ten minutes; what is asked takes its time, so that it does not end before the test does.
fn watch(dir: &tempfile::TempDir, judges: &[(&str, &[&str])], more: &[&str]) -> Run {
    let table = |(name, urls): &(&str, &[&str])| {
        format!(
            "[[judge]]\nname = \"{name}\"\nmodel = \"{name}\"\nbase_urls = {}\napi_key_env = \"AH_TEST_KEY\"\n",
            json!(urls)
        )
    };
    let recording = Recipe::new(600.0).fps((5, 1)).make();
    let text = format!("[[source]]\npath = \"{}\"\n", recording.display());
    let path = dir.path().join("ahwatch.toml");
    std::fs::write(&path, text + &judges.iter().map(table).collect::<String>()).unwrap();
    let args = ["watch", "--json", "--config", path.to_str().unwrap()];
    ahwatch(args.iter().chain(more)).env("AH_TEST_KEY", "hunter2-of-the-test")
}

const SLOW: Mode = Mode::Delay(Duration::from_millis(100));

fn changes(events: &[Value]) -> Vec<(String, String)> {
    let word = |event: &Value, key: &str| event["data"][key].as_str().unwrap().to_owned();
    let changed = events.iter().filter(|event| event["type"] == "ah.judge.changed.v1");
    changed.map(|event| (word(event, "judge"), word(event, "state"))).collect()
}

fn wait_for_change(run: &mut Running, judge: &str, state: &str) -> String {
    let wanted = |e: &Value| e["data"]["judge"] == judge && e["data"]["state"] == state;
    run.wait_for(LIMIT, state, wanted)["data"]["detail"].as_str().unwrap().to_owned()
}

fn wait_for_votes(run: &mut Running, enough: usize) {
    let voted = |run: &Running| {
        let events = run.events();
        let last = events.iter().rev().filter(|e| e["type"] == "ah.window.judged.v1").take(1);
        let votes = last.flat_map(|e| e["data"]["votes"].as_array().unwrap().clone());
        (votes.filter(|vote| vote["abstention"].is_null()).count() == enough).then_some(())
    };
    run.wait_until(LIMIT, "votes", voted);
}

#[test]
fn a_judge_that_ceases_to_answer_is_failing_until_one_of_its_base_urls_answers() {
    let start = |model: &str| Endpoint::start([(model, Judge::default())]);
    let (one, two, other) =
        (start("v1"), start("v1"), Endpoint::start([("v2", Judge::default()), ("v3", Judge::default())]));
    for endpoint in [&one, &two, &other] {
        endpoint.set(SLOW);
    }
    let (a, b, c) = (one.base_url(), two.base_url(), other.base_url());
    let dir = tempfile::tempdir().unwrap();
    let mut run = watch(&dir, &[("v1", &[&a, &b]), ("v2", &[&c]), ("v3", &[&c])], &["--no-canary"]).start();
    wait_for_votes(&mut run, 3);
    // One of two is away: nobody has to know.
    let port = one.port();
    drop(one);
    run.wait_until(LIMIT, "its circuit", |run| {
        run.stderr().contains(&format!(":{port}/v1 does not answer")).then_some(())
    });
    assert_eq!(changes(&run.events()), []);
    drop(two);
    let why = wait_for_change(&mut run, "v1", "failing");
    let named = [a, b].iter().all(|url| why.contains(url.trim_start_matches("http://").trim_end_matches("/v1")));
    assert!(named && why.contains("refused") && why.ends_with("asked again once a second"), "{why}");
    let again = Endpoint::at(port, [("v1", Judge::default())]);
    again.set(SLOW);
    let back = wait_for_change(&mut run, "v1", "healthy");
    assert!(back.starts_with("it answers again, after "), "{back}");
    wait_for_votes(&mut run, 3);
    run.signal("INT");
    let events = run.finish(LIMIT).expect_code(0).events();
    assert_eq!(changes(&events), [("v1".into(), "failing".into()), ("v1".into(), "healthy".into())]);
    let changed: Vec<&Value> = events.iter().filter(|event| event["type"] == "ah.judge.changed.v1").collect();
    assert!(changed.iter().all(|event| event["source"] == "/ahwatch" && event["data"]["proof"] == "not_checked"));
    assert_ne!(changed[0]["id"], changed[1]["id"]);
    drop(again);
}

#[test]
fn a_judge_that_was_unproven_is_unproven_again_and_no_credential_is_told() {
    let endpoint = Endpoint::start([("v1", Judge::default())]);
    endpoint.set_senses("v1", crate::kit::senses::Senses { tells: false, ..Default::default() });
    endpoint.set(SLOW);
    let url = endpoint.base_url();
    let dir = tempfile::tempdir().unwrap();
    let mut run = watch(&dir, &[("v1", &[&url])], &[]).start();
    wait_for_votes(&mut run, 1);
    // An error that echoes the key.
    let body = json!({"error": {"message": "as the test asked, with hunter2-of-the-test"}}).to_string();
    endpoint.set(Mode::Status(500, vec![("content-type".into(), "application/json".into())], body));
    let why = wait_for_change(&mut run, "v1", "failing");
    assert!(why.contains("as the test asked"), "{why}");
    endpoint.set(SLOW);
    run.wait_until(LIMIT, "the judge is back", |run| (changes(&run.events()).len() == 3).then_some(()));
    run.signal("INT");
    let run = run.finish(LIMIT).expect_code(0);
    assert_eq!(changes(&run.events()), ["unproven", "failing", "unproven"].map(|state| ("v1".into(), state.into())));
    assert!(!run.stdout.contains("hunter2") && !run.stderr.contains("hunter2"));
}
