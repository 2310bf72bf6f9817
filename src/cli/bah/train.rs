//! `ahwatch bah train`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::super::Exit;
use super::progress;
use crate::bah::train::{Recipe, Trained, Training, enough, machine, other_versions, rows};

/// What to train.
#[derive(Debug, Args)]
pub struct Options {
    /// What `bah prepare` wrote: the folder with train.jsonl, or such a file.
    data: PathBuf,
    /// `v1`, `v2`, `v3` or `grpo`, or the path of a TOML file.
    #[arg(long, value_name = "NAME")]
    recipe: String,
    /// What is tuned, a model's id or folder; default: the recipe's.
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Where checkpoints go; default: DATA's folder, `runs/RECIPE`.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// ms-swift's program.
    #[arg(long, value_name = "PROGRAM", default_value = "swift")]
    swift: PathBuf,
    /// A flag over the recipe's, e.g. `--set deepspeed=zero3`; may be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Print environment and command, and run nothing.
    #[arg(long)]
    print: bool,
    /// Train without a GPU: to try a recipe on a tiny model.
    #[arg(long)]
    cpu: bool,
    /// Do not look whether the GPUs suffice.
    #[arg(long)]
    no_check: bool,
}

pub(super) fn run(options: &Options) -> Exit {
    let training = match training(options) {
        Ok(training) => training,
        Err(problem) => {
            eprintln!("{problem}");
            return Exit::Refused;
        }
    };
    if options.print {
        return match std::io::stdout().write_all(training.printed().as_bytes()) {
            Ok(()) => Exit::Done,
            Err(_) => Exit::Failed,
        };
    }
    if let Err(problem) = check(options, &training) {
        eprintln!("{problem}");
        return Exit::Refused;
    }
    let (given, shown) = (training.clone(), training.out.clone());
    let work = move |stop: &crossbeam_channel::Receiver<std::convert::Infallible>| {
        let bar = progress("steps");
        let trained = training.run(stop, |log| {
            if let Some((step, all)) = log.steps {
                bar.set_length(all);
                bar.set_position(step);
                let loss = log.loss.last_key_value().map(|(_, loss)| format!("steps, loss {loss:.4}"));
                bar.set_message(loss.unwrap_or_else(|| "steps".into()));
            }
        });
        bar.finish_and_clear();
        trained
    };
    match crate::run::interruptible(work) {
        Ok(Ok(trained)) => finished(&given, &trained),
        Ok(Err(problem)) => {
            eprintln!("{problem}");
            Exit::Failed
        }
        Err(error) => {
            eprintln!("{}: no thread could be started: {error}", shown.display());
            Exit::Failed
        }
    }
}

fn training(options: &Options) -> Result<Training, String> {
    let mut recipe = Recipe::read(&options.recipe)?;
    if options.cpu {
        recipe.on_cpu();
    }
    for flag in &options.set {
        recipe.set(flag).map_err(|problem| format!("--set: {problem}"))?;
    }
    let absolute = |path: &Path| std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()));
    let data = absolute(&options.data)?;
    let rows = if data.is_dir() { data.join("train.jsonl") } else { data };
    if !rows.is_file() {
        let remedy = "`ahwatch bah prepare ROOT DATA --split train` writes it";
        return Err(format!("{}: is not there; {remedy}", rows.display()));
    }
    let val = Some(rows.with_file_name("val.jsonl")).filter(|val| val.is_file() && *val != rows);
    let stem = Path::new(&options.recipe).file_stem().map(|s| s.to_string_lossy().into_owned());
    let name = stem.unwrap_or_else(|| options.recipe.clone());
    let out = match &options.out {
        Some(out) => absolute(out)?,
        None => rows.with_file_name("runs").join(&name),
    };
    let folder = options.model.as_deref().map(Path::new).filter(|model| model.is_dir());
    let model = match folder {
        Some(folder) => absolute(folder)?.display().to_string(),
        None => options.model.clone().unwrap_or_else(|| recipe.model.clone()),
    };
    Ok(Training { recipe, name, swift: options.swift.clone(), model, rows, val, out })
}

fn check(options: &Options, training: &Training) -> Result<(), String> {
    let machine = machine(&training.swift)?;
    if !options.cpu && !options.no_check {
        enough(&training.recipe, &training.model, &machine)?;
    }
    let grpo = training.recipe.reward;
    let mut count = rows(&training.rows, grpo)?;
    if let Some(val) = &training.val {
        count += rows(val, grpo)?;
    }
    for differs in other_versions(&training.recipe, &machine) {
        eprintln!("note: {differs}");
    }
    eprintln!(
        "{}: {count} rows; output of ms-swift: {}",
        training.recipe.about,
        training.out.join("train.log").display()
    );
    Ok(())
}

fn finished(training: &Training, trained: &Trained) -> Exit {
    let Some(checkpoint) = &trained.checkpoint else {
        let stopped = if trained.stopped { "stopped" } else { "ended" };
        eprintln!("{stopped} before any checkpoint was saved (`--set save_steps=N`)");
        return Exit::Failed;
    };
    if trained.stopped {
        eprintln!("stopped; the same command goes on from {}", checkpoint.display());
        return Exit::Failed;
    }
    let table = training.out.join("judge.toml");
    if let Err(error) = std::fs::write(&table, training.judge_table(checkpoint)) {
        eprintln!("{}: could not be written: {error}", table.display());
        return Exit::Failed;
    }
    let text = format!("{}\n{}\n{}\n", checkpoint.display(), table.display(), training.out.join("loss.svg").display());
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Done,
        Err(_) => Exit::Failed,
    }
}
