//! Training by ms-swift, as a child process: a recipe becomes a command, and its log progress.
//!
//! - `recipe`: Table I as data. `preflight`: what is missing, before anything starts. `progress`: the log and its picture.
//! - `fingerprint`: what the trained model says of the built-in clips, to compare with what is served.
//!
//! Nothing is trained here. Several GPUs and nodes are ms-swift's own matter (`NPROC_PER_NODE`, `--set deepspeed=zero3`).

mod fingerprint;
mod preflight;
mod progress;
mod recipe;

use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::time::monotonic;

pub use preflight::{Asked, Machine, Rows, enough, machine, other_versions, packages, rows};
pub use progress::{Log, plot};
use recipe::FINGERPRINT;
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
    /// What the rows ask: a judge is asked the same.
    pub asked: Asked,
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
        std::fs::create_dir_all(&self.out).map_err(|e| unwritable(&self.out, &e))?;
        if self.recipe.reward {
            let plugin = self.out.join("grpo_reward.py");
            write(&plugin, recipe::REWARD.as_bytes())?;
        }
        let output = self.out.join("train.log");
        let file = File::options().create(true).append(true).open(&output).map_err(|e| unwritable(&output, &e))?;
        let copy = file.try_clone().map_err(|e| unwritable(&output, &e))?;
        let mut command = Command::new(&self.swift);
        command.args(self.arguments()).envs(&self.recipe.environment).stdin(Stdio::null()).stdout(file).stderr(copy);
        // Relative paths in rows start at their folder.
        command.current_dir(self.rows.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")));
        let logging = self.out.join("logging.jsonl");
        let ended = run_group(command, &self.swift.display().to_string(), stop, || tick(&Log::read(&logging)))?;
        let log = Log::read(&logging);
        plot(&log, &self.out.join("loss.svg"))?;
        let checkpoint = newest_checkpoint(&self.out);
        if !ended.stopped && !ended.status.success() {
            let (status, end) = (ended.status, end_of(&output));
            return Err(format!("ms-swift failed ({status}); the end of {}:\n{end}", output.display()));
        }
        Ok(Trained { checkpoint, stopped: ended.stopped, log })
    }

    /// The prompt of the judge's table: a shipped one's name, else the file that the rows' question is written to.
    fn prompt(&self) -> Result<&'static str, PathBuf> {
        let ends = ['\n', '\r'];
        let question = self.asked.question.trim_end_matches(ends);
        let shipped = crate::judge::prompt::SHIPPED.iter().find(|(_, text)| text.trim_end_matches(ends) == question);
        shipped.map(|(name, _)| *name).ok_or_else(|| self.out.join("prompt.txt"))
    }

    /// Writes [`Training::judge_table`] to `judge.toml`, and the prompt beside it if none that is shipped was trained.
    ///
    /// # Errors
    /// Names the file that could not be written.
    pub fn write_judge(&self, checkpoint: &Path) -> Result<PathBuf, String> {
        if let Err(file) = self.prompt() {
            write(&file, format!("{}\n", self.asked.question).as_bytes())?;
        }
        let table = self.out.join("judge.toml");
        write(&table, self.judge_table(checkpoint).as_bytes())?;
        Ok(table)
    }

    /// The `[[judge]]` table for what was trained, to be put into a panel.
    #[must_use]
    pub fn judge_table(&self, checkpoint: &Path) -> String {
        let (recipe, adapter) = (&self.recipe, is_adapter(checkpoint));
        let text = |value: &str| toml::Value::String(value.to_owned()).to_string();
        let place = checkpoint.display();
        let system =
            self.asked.system.clone().or_else(|| recipe.flag("system")).unwrap_or_else(|| recipe.system.clone());
        let prompt = self.prompt().map_or_else(|file| file.display().to_string(), str::to_owned);
        let fps = if (recipe.time_scale - 1.0).abs() < 1e-9 { " --mm-processor-kwargs '{\"fps\": 2}'" } else { "" };
        let merged = self.out.join("merged");
        let weights = if adapter { merged.as_path() } else { checkpoint };
        let serve = format!("vllm serve {} --served-model-name {}{fps}", weights.display(), self.name);
        let mut table = format!(
            "# Trained by recipe {}: {}.\n# What this checkpoint can do, only an evaluation of it tells. Base: {}. Checkpoint: {place}\n",
            self.name, recipe.about, self.model
        );
        if adapter {
            let export = format!("--adapters {place} --merge_lora true --output_dir {}", merged.display());
            let kind = recipe.flag("model_type").map_or_else(String::new, |kind| format!(" --model_type {kind}"));
            let _ = writeln!(
                table,
                "# Merge it first, since vLLM leaves out, without a word, what of an adapter is on the tower of sound:\n#   \
                 swift export --model {}{kind} {export}",
                self.model
            );
        }
        for differs in &recipe.differs {
            let _ = writeln!(table, "# Differs from the published one in {differs}.");
        }
        let _ = write!(
            table,
            "# Serve it, with the flags of deploy/vllm: {serve}\n\n[[judge]]\nname = {}\nbase_url = \"http://127.0.0.1:8000/v1\"   # where it is served\nmodel = {}\n\
             system = {}\nprompt = {}\ntime_scale = {:?}\n",
            text(&self.name),
            text(&self.name),
            text(&system),
            text(&prompt),
            recipe.time_scale
        );
        let media: Vec<&str> =
            ["video", "audio"].into_iter().filter(|m| self.asked.question.contains(&format!("<{m}>"))).collect();
        if media.len() == 1 {
            let _ = writeln!(table, "accepts = {media:?}");
        }
        table
    }
}

/// How a child ended.
struct Ended {
    status: ExitStatus,
    /// It was asked to, and did not come to its own end before.
    stopped: bool,
}

/// Runs a command with all its children to its end, or until `stop` is disconnected; they are then asked to end, and ended
/// after a while. `tick` is called meanwhile. `name` is the program's, for messages.
fn run_group(
    mut command: Command,
    name: &str,
    stop: &Receiver<Infallible>,
    mut tick: impl FnMut(),
) -> Result<Ended, String> {
    // A group of its own: Ctrl-C reaches it through us alone, once.
    let child = command.process_group(0).spawn().map_err(|e| format!("{name}: cannot be run: {e}"))?;
    let mut child = Group(child);
    let mut stopping = None;
    let status = loop {
        if let Some(status) = child.0.try_wait().map_err(|e| format!("{name} was lost: {e}"))? {
            break status;
        }
        tick();
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
    Ok(Ended { status, stopped: stopping.is_some() && !status.success() })
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

fn unwritable(path: &Path, error: &std::io::Error) -> String {
    format!("{}: could not be written: {error}", path.display())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(path, bytes).map_err(|error| unwritable(path, &error))
}

/// Whether a checkpoint is an adapter of its base, not a whole model.
fn is_adapter(checkpoint: &Path) -> bool {
    checkpoint.join("adapter_config.json").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn training(recipe: &str, question: &str) -> Training {
        Training {
            recipe: Recipe::read(recipe).unwrap(),
            name: recipe.into(),
            swift: "printf".into(),
            model: "m x".into(),
            rows: "train.jsonl".into(),
            val: None,
            out: "/no/such".into(),
            asked: Asked { system: None, question: question.into() },
        }
    }

    #[test]
    fn a_printed_command_survives_the_shell() {
        let mut training = training("v1", "");
        training.recipe.system = "It's \"odd\" $HOME".into();
        let script = training.printed().replacen("printf", "printf '%s\\n'", 1);
        let out = Command::new("sh").args(["-c", &script]).output().unwrap();
        let said = String::from_utf8(out.stdout).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines, training.arguments());
        assert!(lines.contains(&"It's \"odd\" $HOME"));
    }

    /// What the judge's table becomes in a panel.
    fn judge(training: &Training) -> (String, crate::config::JudgeConfig) {
        use crate::config::{Config, Judging, Overrides, RawConfig};
        let table = training.judge_table(Path::new("/ckpt/checkpoint-3"));
        let raw = RawConfig::parse(&table, Path::new("judge.toml"));
        let built = Config::build(raw, Overrides::default(), &|_| None);
        let judging = built.unwrap_or_else(|problems| panic!("{problems}\n{table}")).judging;
        let Judging::Panel(mut judges) = judging else { panic!("a panel") };
        (table, judges.remove(0))
    }

    #[test]
    fn the_judge_table_asks_what_was_trained() {
        for (name, text) in crate::judge::prompt::SHIPPED {
            let (table, judge) = judge(&training("v2", text.trim_end()));
            assert_eq!((judge.prompt_name.as_str(), judge.time_scale), (name, 1.0));
            assert_eq!(judge.system, crate::config::defaults::SYSTEM);
            assert!(table.contains("--served-model-name v2 --mm-processor-kwargs '{\"fps\": 2}'"), "{table}");
        }
        let dir = tempfile::tempdir().unwrap();
        let own = |question: &str, system: Option<&str>| {
            let mut training = Training { out: dir.path().to_owned(), ..training("v2", question) };
            training.asked.system = system.map(str::to_owned);
            training.write_judge(Path::new("/ckpt/checkpoint-3")).unwrap();
            judge(&training).1
        };
        let judge = own("Of <video> with <audio>?", Some("Say so."));
        assert_eq!(judge.prompt_name, dir.path().join("prompt.txt").display().to_string());
        assert_eq!((judge.prompt.parts().len(), judge.system.as_str()), (5, "Say so."));
        let judge = own("Of <audio>?", None);
        assert!(judge.accepts.audio && !judge.accepts.video && judge.prompt.parts().len() == 3);
        let mut set = training("v2", "Of <audio> and <video>");
        set.recipe.set("system=Set so.").unwrap();
        set.out = dir.path().to_owned();
        assert!(set.judge_table(Path::new("/c")).contains("system = \"Set so.\""));
    }

    #[test]
    fn an_adapter_is_merged_before_it_is_served() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("adapter_config.json"), "{}").unwrap();
        let table = training("v1", "<video><audio>").judge_table(dir.path());
        let export =
            format!("swift export --model m x --model_type qwen3_omni_moe --adapters {}", dir.path().display());
        assert!(table.contains(&export) && table.contains("vllm serve /no/such/merged"), "{table}");
        assert!(!training("v2", "<video><audio>").judge_table(Path::new("/c")).contains("swift export"));
    }
}
