//! `ahwatch bah train`, with a program in ms-swift's place; docs/bah.md says how the real one was tried.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::kit::run::{Run, ahwatch};

const LIMIT: Duration = Duration::from_secs(60);

/// Writes a log and a checkpoint a step, as ms-swift does; `HOLD` makes it wait after the first, with a worker beside it.
const SWIFT: &str = r"
import json, os, signal, subprocess, sys, time
args = dict(zip(sys.argv[1:], sys.argv[2:]))
out, steps = args['--output_dir'], int(args['--max_steps'])
if args.get('--learning_rate') == 'fail':
    print('CUDA out of memory, said the stand-in'); sys.exit(3)
begin = int(args.get('--resume_from_checkpoint', '-0').rsplit('-', 1)[1])
with open(out + '/args.json', 'w') as f: json.dump([sys.argv[1:], os.environ.get('FPS'), os.getcwd()], f)
for step in range(begin + 1, steps + 1):
    with open(out + '/logging.jsonl', 'a') as f:
        f.write(json.dumps({'loss': 2.0 / step, 'global_step/max_steps': f'{step}/{steps}'}) + '\n')
    os.makedirs(f'{out}/checkpoint-{step}')
    open(f'{out}/checkpoint-{step}/trainer_state.json', 'w').close()
    if os.environ.get('HOLD'):
        worker = subprocess.Popen(['sleep', '600'])
        with open(out + '/worker', 'w') as f: f.write(str(worker.pid))
        signal.pause()
";

struct Stage {
    dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("swift"), format!("#!/usr/bin/env python3\n{SWIFT}")).unwrap();
        std::fs::set_permissions(at("swift"), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::create_dir_all(at("packages/ms_swift-4.6.0.dist-info")).unwrap();
        let metadata = "Metadata-Version: 2.1\nName: ms-swift\nVersion: 4.6.0\n";
        std::fs::write(at("packages/ms_swift-4.6.0.dist-info/METADATA"), metadata).unwrap();
        std::fs::create_dir(at("data")).unwrap();
        for file in ["data/a b.mp4", "data/a b.wav"] {
            std::fs::write(at(file), "").unwrap();
        }
        let row = r#"{"messages":[{"role":"user","content":"<video> <audio>?"},{"role":"assistant","content":"<answer>No</answer>"}],"videos":["a b.mp4"],"audios":["a b.wav"]}"#;
        std::fs::write(at("data/train.jsonl"), format!("{row}\n{row}\n")).unwrap();
        Self { dir }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn train(&self, more: &[&str]) -> Run {
        self.train_with("v1", self.at("swift").to_str().unwrap(), more)
    }

    fn train_with(&self, recipe: &str, swift: &str, more: &[&str]) -> Run {
        let data = self.at("data");
        let mut args = vec!["bah", "train", data.to_str().unwrap(), "--swift", swift];
        args.extend(["--recipe", recipe, "--set", "max_steps=3", "--no-fingerprint"]);
        args.extend(more);
        ahwatch(args).env("PYTHONPATH", self.at("packages"))
    }

    fn out(&self, name: &str) -> PathBuf {
        self.at("data/runs/v1").join(name)
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn a_training_is_run_drawn_and_ends_in_a_judge() {
    let stage = Stage::new();
    let run = stage.train(&["--cpu"]).finish(LIMIT).expect_code(0);
    assert!(run.stdout.contains("checkpoint-3") && run.stdout.contains("judge.toml"), "{}", run.stdout);
    assert!(text(&stage.out("loss.svg")).starts_with("<svg"));
    let table = text(&stage.out("judge.toml"));
    assert!(table.contains("[[judge]]") && table.contains("time_scale = 1.0"), "{table}");
    // The rows ask something of their own.
    assert!(table.contains("prompt.txt") && text(&stage.out("prompt.txt")) == "<video> <audio>?\n", "{table}");
    let run = ahwatch(["config", "check", stage.out("judge.toml").to_str().unwrap()]).finish(LIMIT);
    assert!(!run.stderr.contains("judge["), "{}", run.stderr);
    let (args, fps, folder): (Vec<String>, String, PathBuf) =
        serde_json::from_str(&text(&stage.out("args.json"))).unwrap();
    assert_eq!((args[0].as_str(), fps.as_str()), ("sft", "2"));
    assert_eq!(folder.canonicalize().unwrap(), stage.at("data").canonicalize().unwrap());
    for pair in [["--tuner_type", "lora"], ["--lora_rank", "8"], ["--use_cpu", "true"], ["--max_steps", "3"]] {
        assert!(args.windows(2).any(|w| w == pair), "{pair:?} in {args:?}");
    }
}

#[test]
fn a_training_without_a_fingerprint_is_kept_and_says_why() {
    let stage = Stage::new();
    let (data, swift) = (stage.at("data"), stage.at("swift"));
    let args = ["bah", "train", data.to_str().unwrap(), "--swift", swift.to_str().unwrap(), "--recipe", "v1", "--cpu"];
    // The stand-in's Python has neither PyTorch nor ms-swift itself.
    std::fs::create_dir(stage.at("packages/torch")).unwrap();
    std::fs::write(stage.at("packages/torch/__init__.py"), "raise ImportError('no torch, said the stand-in')").unwrap();
    let run = ahwatch(args.into_iter().chain(["--set", "max_steps=1"])).env("PYTHONPATH", stage.at("packages"));
    let run = run.finish(LIMIT).expect_code(1);
    let said = &run.stderr;
    assert!(
        said.contains("checkpoint-1; but there is no fingerprint of it") && said.contains("said the stand-in"),
        "{said}"
    );
    assert!(text(&stage.out("judge.toml")).contains("[[judge]]"));
    assert!(!stage.out("fingerprint.toml").exists());
}

#[test]
fn a_stopped_training_leaves_no_process_and_goes_on_from_its_checkpoint() {
    let stage = Stage::new();
    let mut run = stage.train(&["--cpu"]).env("HOLD", "1").start();
    let worker = stage.out("worker");
    let id = run.wait_until(LIMIT, "a worker", |_| std::fs::read_to_string(&worker).ok().filter(|id| !id.is_empty()));
    run.signal("INT");
    let run = run.finish(LIMIT).expect_code(1);
    assert!(run.stderr.contains("goes on from") && run.stderr.contains("checkpoint-1"), "{}", run.stderr);
    crate::kit::wait_until(LIMIT, "the worker's end", || {
        let state = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        (state.is_empty() || state.contains(") Z ")).then_some(())
    });
    assert!(text(&stage.out("loss.svg")).starts_with("<svg"));
    let run = stage.train(&["--cpu"]).finish(LIMIT).expect_code(0);
    assert!(run.stdout.contains("checkpoint-3"), "{}", run.stdout);
    let args = text(&stage.out("args.json"));
    assert!(args.contains("--resume_from_checkpoint") && args.contains("checkpoint-1"), "{args}");
}

#[test]
fn what_is_missing_is_said_before_anything_starts() {
    let stage = Stage::new();
    let says = |run: Run, words: &[&str]| {
        let run = run.finish(LIMIT).expect_code(2);
        assert!(words.iter().all(|w| run.stderr.contains(w)), "{words:?} in {}", run.stderr);
        assert!(!stage.out("").exists());
    };
    says(stage.train(&[]), &["no GPU", "--cpu"]);
    says(
        stage.train_with("v1", "no-such-program", &["--cpu"]),
        &["no program no-such-program", "pip install ms-swift"],
    );
    says(stage.train(&["--cpu"]).env("PYTHONPATH", ""), &["is not ms-swift's program"]);
    says(stage.train_with("v7", "swift", &[]), &["v7", "v1, v2, v3, grpo"]);
    says(stage.train(&["--cpu", "--set", "x"]), &["--set", "name=value"]);
    says(stage.train_with("grpo", stage.at("swift").to_str().unwrap(), &["--cpu"]), &["prepare with --grpo"]);
    std::fs::remove_file(stage.at("data/a b.wav")).unwrap();
    says(stage.train(&["--cpu"]), &["train.jsonl:1:", "a b.wav", "bah prepare"]);
    std::fs::remove_file(stage.at("data/train.jsonl")).unwrap();
    says(stage.train(&["--cpu"]), &["train.jsonl: is not there", "bah prepare"]);
}

#[test]
fn a_training_that_fails_shows_why() {
    let stage = Stage::new();
    let run = stage.train(&["--cpu", "--set", "learning_rate=fail"]).finish(LIMIT).expect_code(1);
    assert!(run.stderr.contains("CUDA out of memory, said the stand-in"), "{}", run.stderr);
}

#[test]
fn the_printed_command_needs_neither_swift_nor_gpu() {
    let stage = Stage::new();
    let run = stage.train_with("v1", "no-such", &["--print"]).finish(LIMIT).expect_code(0);
    for line in ["FPS=2 \\", "no-such sft \\", "  --learning_rate 1e-5 \\", "  --gradient_accumulation_steps 32 \\"] {
        assert!(run.stdout.lines().any(|l| l == line), "{line} in {}", run.stdout);
    }
}
