//! The BAH dataset's way to the end: `bah prepare`, `bah train` by the real ms-swift, what came of it served by the real vLLM,
//! `bah eval` and `bah score` before that; and the fingerprint of what was trained, which is the fingerprint of what is served.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ahwatch::config::fingerprint;
use serde_json::Value;

use super::bench::Bench;
use super::rig::scratch;
use crate::kit::bah::dataset;
use crate::kit::run::{Finished, ahwatch};

/// Generous: two cores, which may have other work.
const LIMIT: Duration = Duration::from_secs(1800);
/// ms-swift and vLLM compute the same in float32.
const TOLERANCE: f64 = 1e-3;
/// What makes a recipe fit for a tiny model on a CPU: three steps of two rows, and a rate at which they show.
const SMALL: [&str; 5] = [
    "torch_dtype=float32",
    "max_steps=3",
    "per_device_train_batch_size=1",
    "gradient_accumulation_steps=2",
    "learning_rate=1e-3",
];

/// Below the scratch folder.
fn place(name: &str) -> PathBuf {
    scratch().join("bah").join(name)
}

/// Where a recipe's training goes.
fn out(recipe: &str) -> PathBuf {
    place("runs").join(recipe)
}

/// What is served of a recipe: the merged adapter, or the checkpoint itself, under the recipe's name.
pub fn weights(recipe: &str) -> String {
    place(&format!("served/{recipe}")).to_str().expect("UTF-8").to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn told(run: &Finished) -> String {
    let end =
        |text: &str| text.lines().rev().take(6).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join(" / ");
    if run.code == Some(0) { "0".to_owned() } else { format!("{:?}: {}", run.code, end(&run.stderr)) }
}

fn train(bench: &Bench, data: &Path, recipe: &str, set: &[&str]) -> Finished {
    let (model, swift) = (bench.rig.cached("models/tiny-dense"), bench.rig.cached("venv-swift/bin/swift"));
    let mut args = vec!["bah", "train", text(data), "--recipe", recipe, "--cpu", "--model", text(&model)];
    let out = out(recipe);
    args.extend(["--swift", text(&swift), "--out", text(&out)]);
    for flag in set {
        args.extend(["--set", flag]);
    }
    let mut run = ahwatch(args);
    for (name, value) in [("HF_HUB_OFFLINE", "1"), ("TRANSFORMERS_OFFLINE", "1"), ("MODELSCOPE_OFFLINE", "1")] {
        run = run.env(name, value);
    }
    run.finish(LIMIT)
}

/// Rows, three steps of v1 and v2, the merged adapter, one step of GRPO.
pub fn by_swift(bench: &mut Bench) {
    let _ = std::fs::remove_dir_all(place(""));
    std::fs::create_dir_all(place("served")).expect("scratch is writable");
    let (root, data, grpo) = (dataset(), place("data"), place("grpo"));
    let prepare = |out: &Path, more: &[&str]| {
        let args = ["bah", "prepare", text(&root), text(out)];
        ahwatch(args.into_iter().chain(more.iter().copied())).finish(LIMIT)
    };
    let done = prepare(&data, &["--split", "train"]);
    bench.equal("bah prepare: exit code", &"0".to_owned(), &told(&done));
    for recipe in ["v1", "v2"] {
        let done = train(bench, &data, recipe, &SMALL);
        bench.equal(&format!("bah train, {recipe}: exit code"), &"0".to_owned(), &told(&done));
        let log = std::fs::read_to_string(out(recipe).join("logging.jsonl")).unwrap_or_default();
        let losses: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let losses: Vec<_> = losses.iter().filter_map(|line| Some(line.get("loss")?.to_string())).collect();
        bench.check(&format!("{recipe}: losses"), "three", &losses.join(" "), losses.len() == 3);
        let judge = std::fs::read_to_string(out(recipe).join("judge.toml")).unwrap_or_default();
        let asked = judge.lines().find(|line| line.starts_with("prompt")).unwrap_or("none").to_owned();
        bench.equal(&format!("{recipe}: the judge's prompt is the rows'"), &"prompt = \"trained\"".to_owned(), &asked);
        let served = PathBuf::from(weights(recipe));
        if recipe == "v1" {
            let merged = merge(bench, &judge);
            bench.equal("v1: merged by the command that judge.toml names", &"0".to_owned(), &merged);
            std::os::unix::fs::symlink(out("v1").join("merged"), served).expect("scratch is writable");
        } else {
            std::os::unix::fs::symlink(out("v2").join("checkpoint-3"), served).expect("scratch is writable");
        }
    }
    let done = prepare(&grpo, &["--split", "val", "--grpo"]);
    bench.equal("bah prepare --grpo: exit code", &"0".to_owned(), &told(&done));
    let small = ["torch_dtype=float32", "max_steps=1", "per_device_train_batch_size=2", "num_generations=2"];
    let small: Vec<_> = small.into_iter().chain(["max_completion_length=8"]).collect();
    let done = train(bench, &grpo.join("val.jsonl"), "grpo", &small);
    bench.equal("bah train, grpo, one step: exit code", &"0".to_owned(), &told(&done));
}

/// Runs the `swift export` of a judge's table.
fn merge(bench: &Bench, judge: &str) -> String {
    let command = judge.lines().find_map(|line| line.strip_prefix("#   swift ")).unwrap_or_default();
    let done = Command::new(bench.rig.cached("venv-swift/bin/swift"))
        .args(command.split_whitespace())
        // As it is trained and served here.
        .args(["--torch_dtype", "float32"])
        .envs([("HF_HUB_OFFLINE", "1"), ("ENABLE_AUDIO_OUTPUT", "0"), ("CUDA_VISIBLE_DEVICES", "")])
        .output()
        .expect("ms-swift runs");
    let end = String::from_utf8_lossy(&done.stderr).lines().last().unwrap_or_default().to_owned();
    done.status.code().map_or(end.clone(), |code| if code == 0 { "0".to_owned() } else { format!("{code}: {end}") })
}

/// The judge's table as it was written, at this server, with further keys.
fn panel(bench: &Bench, recipe: &str, more: &str) -> PathBuf {
    let table = std::fs::read_to_string(out(recipe).join("judge.toml")).expect("bah train wrote it");
    let mut text = String::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        match line.split_once(" = ").map(|(key, _)| key) {
            Some("base_url") => writeln!(text, "base_url = \"{}\"", bench.server().base_url()),
            // The rig serves everything by this name.
            Some("model") => writeln!(text, "model = \"base\""),
            _ => writeln!(text, "{line}"),
        }
        .expect("text");
    }
    let file = place(&format!("{recipe}.toml"));
    std::fs::write(&file, format!("{text}deadline_ms = 120000\n{more}")).expect("scratch is writable");
    file
}

/// What `bah train` wrote of a recipe, for a judge of this name and the rig's model.
fn fingerprint_of(recipe: &str, judge: &str) -> PathBuf {
    let file = out(recipe).join("fingerprint.toml");
    let mut saved = fingerprint::read(&file).expect("bah train wrote it");
    let first = &mut saved.judges[0];
    (first.name, first.model) = (judge.to_owned(), "base".to_owned());
    let file = place(&format!("{recipe}.fp.toml"));
    std::fs::write(&file, fingerprint::text(&saved)).expect("scratch is writable");
    file
}

/// What is served is what was trained; it votes on the test videos, and its votes are scored.
pub fn is_served(bench: &mut Bench) {
    let recipe = if bench.on.contains("v1") { "v1" } else { "v2" };
    let other = if recipe == "v1" { "v2" } else { "v1" };
    let judges = panel(bench, recipe, "constrain = true\nscore = true\n");
    let compare = |file: &Path, tolerance: f64| {
        let config = place("config.toml");
        let table = format!("[panel]\nfingerprint = \"{}\"\nfingerprint_tolerance = {tolerance}\n", file.display());
        std::fs::write(&config, table).expect("scratch is writable");
        let args = ["doctor", "--json", "--config", text(&config), "--panel", text(&judges)];
        let run = ahwatch(args).finish(LIMIT);
        let found = run.events().into_iter().find(|check| check["check"] == "fingerprint");
        found.map_or_else(|| format!("none: {}", told(&run)), |c| format!("{}: {}", c["status"], c["finding"]))
    };
    let own = compare(&fingerprint_of(recipe, recipe), TOLERANCE);
    let what = "doctor: the served model against the fingerprint that ms-swift gave in process";
    bench.check(what, "within 0.001", &own, own.starts_with("\"ok\""));
    // The other recipe's is another model's; under its own name it would be refused before anything is asked.
    let changed = compare(&fingerprint_of(other, recipe), TOLERANCE);
    let what = format!("doctor: against the fingerprint of {other}");
    bench.check(&what, "failed", &changed, changed.starts_with("\"failed\""));

    let (root, run) = (dataset(), place(&format!("run-{recipe}")));
    let args = ["bah", "eval", text(&root), "--split", "test", "--panel", text(&judges), "--out", text(&run)];
    let done = ahwatch(args).finish(LIMIT);
    bench.equal("bah eval: exit code", &"0".to_owned(), &told(&done));
    let samples = std::fs::read_to_string(run.join("samples.jsonl")).unwrap_or_default();
    let answers: Vec<Value> = samples.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let votes = answers.iter().filter(|a| a["answer"] == "present" || a["answer"] == "absent").count();
    let all = format!("{votes} of {}", answers.len());
    bench.check("bah eval: clips of the test videos voted on", "all", &all, votes > 0 && votes == answers.len());
    let done = ahwatch(["bah", "score", text(&run), "--json", "--draws", "50"]).finish(LIMIT);
    bench.equal("bah score: exit code", &"0".to_owned(), &told(&done));
}
