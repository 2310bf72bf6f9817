//! `ahwatch bah train`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::super::Exit;
use super::progress;
use crate::bah::train::{Asked, Machine, Recipe, Trained, Training, enough, machine, other_versions, packages, rows};

/// What to train.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
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
    /// Do not ask the trained model about the built-in clips, which loads it once more.
    #[arg(long)]
    no_fingerprint: bool,
}

pub(super) fn run(options: &Options) -> Exit {
    let mut training = match training(options) {
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
    let machine = match check(options, &mut training) {
        Ok(machine) => machine,
        Err(problem) => {
            eprintln!("{problem}");
            return Exit::Refused;
        }
    };
    let (fingerprint, shown) = (!options.no_fingerprint, training.out.clone());
    let work = move |stop: &crossbeam_channel::Receiver<std::convert::Infallible>| -> Result<_, String> {
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
        let trained = trained?;
        let Some(checkpoint) = trained.checkpoint.clone().filter(|_| !trained.stopped) else {
            return Ok((trained, Vec::new()));
        };
        let table = training.write_judge(&checkpoint)?;
        let mut written = vec![checkpoint.clone(), table, training.out.join("loss.svg")];
        if fingerprint {
            eprintln!("asking the trained model about the built-in clips");
            let file = training.fingerprint(&machine, &checkpoint, stop).map_err(|why| {
                format!("trained: {}; but there is no fingerprint of it: {why}", checkpoint.display())
            })?;
            written.push(file);
        }
        Ok((trained, written))
    };
    match crate::run::interruptible(work) {
        Ok(Ok((trained, written))) => finished(&trained, &written),
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
    let swift = options.swift.clone();
    Ok(Training { recipe, name, swift, model, rows, val, out, asked: Asked::default() })
}

/// Looks at everything that training needs, and at what the rows ask.
fn check(options: &Options, training: &mut Training) -> Result<Machine, String> {
    let machine = machine(&training.swift)?;
    if !options.cpu && !options.no_check {
        enough(&training.recipe, &training.model, &machine)?;
    }
    let grpo = training.recipe.reward;
    let mut found = rows(&training.rows, grpo)?;
    training.asked = found.asked();
    if let Some(val) = &training.val {
        found = found.and(rows(val, grpo)?);
    }
    if found.asked.len() > 1 {
        let (kinds, most) = (found.asked.len(), found.asked.get(&training.asked).copied().unwrap_or_default());
        eprintln!(
            "note: the rows ask in {kinds} ways; the judge's table will have that of {most} of {} rows",
            found.count
        );
    }
    packages(&training.recipe, &machine)?;
    let count = found.count;
    for differs in other_versions(&training.recipe, &machine) {
        eprintln!("note: {differs}");
    }
    eprintln!(
        "{}: {count} rows; output of ms-swift: {}",
        training.recipe.about,
        training.out.join("train.log").display()
    );
    Ok(machine)
}

fn finished(trained: &Trained, written: &[PathBuf]) -> Exit {
    let Some(checkpoint) = &trained.checkpoint else {
        let stopped = if trained.stopped { "stopped" } else { "ended" };
        eprintln!("{stopped} before any checkpoint was saved (`--set save_steps=N`)");
        return Exit::Failed;
    };
    if trained.stopped {
        eprintln!("stopped; the same command goes on from {}", checkpoint.display());
        return Exit::Failed;
    }
    let text: String = written.iter().flat_map(|path| [path.display().to_string(), "\n".to_owned()]).collect();
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Done,
        Err(_) => Exit::Failed,
    }
}
