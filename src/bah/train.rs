//! Training by ms-swift, as a child process: a recipe becomes a command, and its log progress.
//!
//! - `recipe`: Table I as data. `preflight`: what is missing, before anything starts. `progress`: the log and its picture.
//!
//! Nothing is trained here. Several GPUs and nodes are ms-swift's own matter (`NPROC_PER_NODE`, `--set deepspeed=zero3`).

mod preflight;
mod progress;
mod recipe;

use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::time::monotonic;

pub use preflight::{Machine, enough, machine, other_versions, rows};
pub use progress::{Log, plot};
pub use recipe::{Recipe, SHIPPED};

/// How often the log is looked at.
const LOOK: Duration = Duration::from_millis(300);
/// How long a stopped training may take to end by itself.
const GRACE: Duration = Duration::from_secs(20);

/// A training to be run.
#[derive(Clone, Debug)]
pub struct Training {
    /// How.
    pub recipe: Recipe,
    /// Its name, for the judge's table.
    pub name: String,
    /// ms-swift's program.
    pub swift: PathBuf,
    /// What is tuned.
    pub model: String,
    /// Rows to train on.
    pub rows: PathBuf,
    /// Rows to validate on.
    pub val: Option<PathBuf>,
    /// Where checkpoints go.
    pub out: PathBuf,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// The newest checkpoint.
    pub checkpoint: Option<PathBuf>,
    /// It was stopped.
    pub stopped: bool,
    /// What was logged.
    pub log: Log,
}

impl Training {
    /// Arguments of `swift`, resuming from the newest checkpoint, if there is one.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let shown = |path: &Path| path.display().to_string();
        let mut all = self.recipe.command.clone();
        all.extend(["--model".to_owned(), self.model.clone(), "--dataset".to_owned(), shown(&self.rows)]);
        if let Some(val) = &self.val {
            all.extend(["--val_dataset".to_owned(), shown(val)]);
        }
        all.extend(["--system".to_owned(), self.recipe.system.clone()]);
        all.extend(["--output_dir".to_owned(), shown(&self.out), "--add_version".to_owned(), "false".to_owned()]);
        if self.recipe.reward {
            all.extend(["--external_plugins".to_owned(), shown(&self.out.join("grpo_reward.py"))]);
        }
        if let Some(checkpoint) = newest_checkpoint(&self.out) {
            all.extend(["--resume_from_checkpoint".to_owned(), shown(&checkpoint)]);
        }
        all.extend(self.recipe.arguments());
        all
    }

    /// Environment and command, to be pasted into a shell.
    #[must_use]
    pub fn printed(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.recipe.environment {
            let _ = writeln!(text, "{name}={} \\", quoted(value));
        }
        text += &quoted(&self.swift.display().to_string());
        let arguments = self.arguments();
        for (n, argument) in arguments.iter().enumerate() {
            // A flag begins a line, its value stays with it.
            let flag = argument.starts_with("--") && n >= self.recipe.command.len();
            text += if flag { " \\\n  " } else { " " };
            text += &quoted(argument);
        }
        text.push('\n');
        text
    }

    /// Runs it to its end, or until `stop` is disconnected: the child and its own children are then asked to end, and ended after a
    /// while. `tick` gets the log as it grows.
    ///
    /// # Errors
    /// It could not be started, or failed; says why, with the end of its output.
    pub fn run(&self, stop: &Receiver<Infallible>, mut tick: impl FnMut(&Log)) -> Result<Trained, String> {
        let unwritable = |path: &Path, e: std::io::Error| format!("{}: could not be written: {e}", path.display());
        std::fs::create_dir_all(&self.out).map_err(|e| unwritable(&self.out, e))?;
        if self.recipe.reward {
            let plugin = self.out.join("grpo_reward.py");
            std::fs::write(&plugin, recipe::REWARD).map_err(|e| unwritable(&plugin, e))?;
        }
        let output = self.out.join("train.log");
        let file = File::options().create(true).append(true).open(&output).map_err(|e| unwritable(&output, e))?;
        let copy = file.try_clone().map_err(|e| unwritable(&output, e))?;
        let mut command = Command::new(&self.swift);
        command.args(self.arguments()).envs(&self.recipe.environment).stdin(Stdio::null()).stdout(file).stderr(copy);
        // Relative paths in rows start at their folder. A group of its own: Ctrl-C reaches it through us alone, once.
        command
            .current_dir(self.rows.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))
            .process_group(0);
        let child = command.spawn().map_err(|e| format!("{}: cannot be run: {e}", self.swift.display()))?;
        let mut child = Group(child);
        let logging = self.out.join("logging.jsonl");
        let mut stopping = None;
        let status = loop {
            if let Some(status) = child.0.try_wait().map_err(|e| format!("the training was lost: {e}"))? {
                break status;
            }
            tick(&Log::read(&logging));
            match stopping {
                None => {
                    if stop.recv_timeout(LOOK) == Err(RecvTimeoutError::Disconnected) {
                        child.signal(Signal::INT);
                        stopping = Some(monotonic());
                    }
                }
                Some(asked) => {
                    if asked.elapsed() > GRACE {
                        child.signal(Signal::KILL);
                    }
                    // A disconnected channel waits no more.
                    let _ = crossbeam_channel::never::<()>().recv_timeout(LOOK);
                }
            }
        };
        // Workers that outlive their parent hold the GPU.
        child.signal(Signal::KILL);
        let log = Log::read(&logging);
        plot(&log, &self.out.join("loss.svg"))?;
        let checkpoint = newest_checkpoint(&self.out);
        if stopping.is_none() && !status.success() {
            return Err(format!("ms-swift failed ({status}); the end of {}:\n{}", output.display(), end_of(&output)));
        }
        Ok(Trained { checkpoint, stopped: stopping.is_some() && !status.success(), log })
    }

    /// The `[[judge]]` table for what was trained, to be put into a panel.
    #[must_use]
    pub fn judge_table(&self, checkpoint: &Path) -> String {
        let (recipe, adapter) = (&self.recipe, checkpoint.join("adapter_config.json").exists());
        let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
        let place = checkpoint.display();
        let fps = if (recipe.time_scale - 1.0).abs() < 1e-9 { " --mm-processor-kwargs '{\"fps\": 2}'" } else { "" };
        let serve = if adapter {
            format!("vllm serve {} --enable-lora --lora-modules {}={place}{fps}", self.model, self.name)
        } else {
            format!("vllm serve {place} --served-model-name {}{fps}", self.name)
        };
        let mut table = format!(
            "# Trained by recipe {}: {}.\n# What this checkpoint can do, only an evaluation of it tells. Base: {}. Checkpoint: {place}\n",
            self.name, recipe.about, self.model
        );
        for differs in &recipe.differs {
            let _ = writeln!(table, "# Differs from the published one in {differs}.");
        }
        let _ = write!(
            table,
            "# Serve it, e.g.: {serve}\n\n[[judge]]\nname = {}\nbase_url = \"http://127.0.0.1:8000/v1\"   # where it is served\nmodel = {}\n\
             system = {}\nprompt = {}\ntime_scale = {:?}\n",
            text(&self.name),
            text(&self.name),
            text(&recipe.system),
            text(&recipe.prompt),
            recipe.time_scale
        );
        table
    }
}

/// A child with its own children, ended with us.
struct Group(Child);

impl Group {
    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        // Fails when nobody of the group is left, which is what is wanted.
        let _ = id.map(|id| kill_process_group(id, signal));
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.0.wait();
    }
}

/// `checkpoint-N` with the largest N that is whole.
fn newest_checkpoint(out: &Path) -> Option<PathBuf> {
    let found = std::fs::read_dir(out).ok()?.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let step: u64 = name.strip_prefix("checkpoint-")?.parse().ok()?;
        // Written last.
        entry.path().join("trainer_state.json").is_file().then(|| (step, entry.path()))
    });
    found.max().map(|(_, path)| path)
}

fn end_of(file: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// For a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_command_survives_the_shell() {
        let mut recipe = Recipe::read("v1").unwrap();
        recipe.system = "It's \"odd\" $HOME".into();
        let training = Training {
            recipe,
            name: "v1".into(),
            swift: "printf".into(),
            model: "m x".into(),
            rows: "train.jsonl".into(),
            val: None,
            out: "/no/such".into(),
        };
        let script = training.printed().replacen("printf", "printf '%s\\n'", 1);
        let out = Command::new("sh").args(["-c", &script]).output().unwrap();
        let said = String::from_utf8(out.stdout).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines, training.arguments());
        assert!(lines.contains(&"It's \"odd\" $HOME"));
    }

    #[test]
    fn the_judge_table_is_one_that_a_panel_takes() {
        let recipe = Recipe::read("v2").unwrap();
        let training = Training {
            recipe,
            name: "v2".into(),
            swift: "swift".into(),
            model: "base".into(),
            rows: "train.jsonl".into(),
            val: None,
            out: "out".into(),
        };
        let table = training.judge_table(Path::new("/ckpt/checkpoint-3"));
        let raw = crate::config::RawConfig::parse(&table, Path::new("judge.toml"));
        let config = crate::config::Config::build(raw, crate::config::Overrides::default(), &|_| None);
        let problems = config.err().map(|p| p.to_string()).unwrap_or_default();
        assert!(!problems.contains("judge"), "{problems}\n{table}");
        assert!(table.contains("--served-model-name v2 --mm-processor-kwargs '{\"fps\": 2}'"), "{table}");
    }
}
