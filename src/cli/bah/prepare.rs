//! `ahwatch bah prepare`.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::super::Exit;
use super::{behind_a_bar, default_jobs};
use crate::bah::prepare::{Outcome, PrepareError, Preparing, Rows, prepare, read_prompt};
use crate::bah::{Dataset, Split};
use crate::time::MediaTime;

/// What to prepare.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "a flag each on the command line")]
pub struct Options {
    /// The dataset's folder. Its files are only read.
    root: PathBuf,
    /// Where clips, rows and the manifest go. A second run goes on where the first ended.
    out: PathBuf,
    /// Which videos; those of test are cut whole.
    #[arg(long, value_enum)]
    split: Split,
    /// The folder with train.txt, val.txt and test.txt, if it is none of the releases' own.
    #[arg(long, value_name = "DIR")]
    splits: Option<PathBuf>,
    /// Videos at once; default: one more than cores, so that none is idle while a video begins or ends.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Leave out participants whose "Use in challenges" is No.
    #[arg(long)]
    for_challenge: bool,
    /// What is asked in a row: `trained`, `definitions`, or a text file with <video> and <audio> in it.
    #[arg(long, value_name = "NAME", default_value = "trained")]
    prompt: String,
    /// Seed of the rows' order.
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// Rows for GRPO: the answer is `solution`.
    #[arg(long)]
    grpo: bool,
    /// Rows with `video` and `audio`, as the released ones, rather than `videos` and `audios`.
    #[arg(long)]
    legacy_keys: bool,
    /// Paths in rows start at the rows' folder; default: absolute.
    #[arg(long)]
    relative: bool,
    /// One JSON object about the outcome; default when stdout is no terminal.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Exit {
    let prompt = match read_prompt(&options.prompt) {
        Ok(prompt) => prompt,
        Err(problem) => {
            eprintln!("--prompt: {problem}");
            return Exit::Refused;
        }
    };
    let dataset = match Dataset::read(&options.root, options.splits.as_deref()) {
        Ok(dataset) => dataset,
        Err(error) => {
            eprintln!("{error}");
            return Exit::Refused;
        }
    };
    let preparing = Preparing {
        out: options.out.clone(),
        split: options.split,
        jobs: options.jobs.map_or_else(|| default_jobs() + 1, usize::from),
        for_challenge: options.for_challenge,
        rows: Rows { prompt, grpo: options.grpo, legacy_keys: options.legacy_keys },
        seed: options.seed,
        relative: options.relative,
    };
    let outcome = match behind_a_bar("videos", move |stop, tell| prepare(&dataset, &preparing, stop, tell)) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => {
            eprintln!("{error}");
            return if matches!(error, PrepareError::Output(_)) { Exit::Failed } else { Exit::Refused };
        }
        Err(exit) => return exit,
    };
    for (video, reason) in &outcome.failed {
        eprintln!("{video}: {reason}");
    }
    if outcome.stopped {
        eprintln!("stopped: rows and manifest are written by the run that ends; the same command goes on from here");
    }
    let json = options.json || !std::io::stdout().is_terminal();
    let text = if json { line(&outcome) } else { shown(&outcome) };
    let written = std::io::stdout().write_all(text.as_bytes());
    let failed = written.is_err() || outcome.stopped || !outcome.failed.is_empty();
    if failed { Exit::Failed } else { Exit::Done }
}

fn shown(outcome: &Outcome) -> String {
    let [yes, no] = outcome.clips;
    let mut text = format!("{} clips, {yes} Yes and {no} No", yes + no);
    let _ = writeln!(text, ", of {} videos ({} done before)", outcome.prepared, outcome.resumed);
    let share = |time: MediaTime| 100.0 * time.as_secs_f64() / outcome.length.as_secs_f64().max(1e-9);
    let names = ["in clips", "rests shorter than 3 s", "outside of the annotated intervals"];
    for (name, time) in names.into_iter().zip(outcome.usage) {
        let _ = writeln!(text, "{time:>14} {:5.1} %  {name}", share(time), time = time.to_string());
    }
    if outcome.left_out > 0 {
        let _ = writeln!(text, "{} videos left out: not for use in challenges", outcome.left_out);
    }
    if !outcome.failed.is_empty() {
        let _ = writeln!(text, "{} videos could not be prepared", outcome.failed.len());
    }
    text
}

fn line(outcome: &Outcome) -> String {
    let [clips, tails, outside] = outcome.usage.map(MediaTime::as_secs_f64);
    let failed: Vec<_> = outcome.failed.iter().map(|(v, r)| json!({"video": v.as_str(), "reason": r})).collect();
    let line = json!({
        "videos": outcome.videos,
        "prepared": outcome.prepared,
        "left_out": outcome.left_out,
        "resumed": outcome.resumed,
        "failed": failed,
        "clips": {"yes": outcome.clips[0], "no": outcome.clips[1]},
        "secs": {"media": outcome.length.as_secs_f64(), "clips": clips, "tails": tails, "outside_intervals": outside},
        "stopped": outcome.stopped,
    });
    format!("{line}\n")
}
