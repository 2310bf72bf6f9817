//! `ahwatch bah inspect`.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};

use super::super::Exit;
use super::{behind_a_bar, default_jobs};
use crate::bah::inspect::{Finding, Inspecting, Level, Report, SplitReport, inspect};

/// Findings of one kind that are shown to people.
const SHOWN: usize = 5;

/// What to inspect.
#[derive(Debug, Args)]
pub struct Options {
    /// The dataset's folder: the one that holds `Videos` and `video_annotation_transcript.yaml`.
    root: PathBuf,
    /// The folder with train.txt, val.txt and test.txt, if it is none of the releases' own.
    #[arg(long, value_name = "DIR")]
    splits: Option<PathBuf>,
    /// Read the files about the videos only, and open no video.
    #[arg(long)]
    no_media: bool,
    /// Videos opened at once; default: one a core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// One JSON object; default when stdout is no terminal.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Exit {
    let inspecting = Inspecting {
        splits: options.splits.clone(),
        media: !options.no_media,
        jobs: options.jobs.map_or_else(default_jobs, usize::from),
    };
    let root = options.root.clone();
    let report = match behind_a_bar("videos opened", move |stop, tell| inspect(&root, &inspecting, stop, tell)) {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => {
            eprintln!("{error}");
            return Exit::Refused;
        }
        Err(exit) => return exit,
    };
    let json = options.json || !std::io::stdout().is_terminal();
    let text = if json { serde_json::to_string_pretty(&report).unwrap_or_default() + "\n" } else { shown(&report) };
    let written = std::io::stdout().write_all(text.as_bytes());
    if report.stopped {
        eprintln!("stopped: not every video was opened");
    }
    if written.is_err() || report.failed() || report.stopped { Exit::Failed } else { Exit::Done }
}

fn shown(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).force_no_tty();
    table.set_header(["split", "videos", "participants", "positive", "hours", "hours of A/H", "not on disk"]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for name in ["train", "val", "test"] {
        if let Some(split) = report.splits.get(name) {
            table.add_row(row(name, split));
        }
    }
    table.add_row(row("all", &report.total));
    let release = report.release.unwrap_or("none that is known, by its numbers of videos");
    let mut text = format!("{}\nrelease: {release}; split files: {}\n{table}\n", report.root, report.splits_folder);
    if !report.not_for_challenges.is_empty() {
        let _ = writeln!(text, "not for use in challenges: participants {}", report.not_for_challenges.join(", "));
    }
    let mut rest = report.findings.as_slice();
    while let Some(first) = rest.first() {
        let same = rest.iter().take_while(|f| (f.level, f.kind) == (first.level, first.kind)).count();
        let (of_kind, others) = rest.split_at(same);
        rest = others;
        of_kind.iter().take(SHOWN).for_each(|finding| text += &line(finding));
        if same > SHOWN {
            let _ = writeln!(text, "  and {} more of kind {} (--json lists all)", same - SHOWN, first.kind);
        }
    }
    let count = |level| report.findings.iter().filter(|f| f.level == level).count();
    let _ = writeln!(text, "{} errors, {} warnings", count(Level::Error), count(Level::Warning));
    text
}

#[allow(clippy::cast_precision_loss, reason = "videos of a dataset: thousands")]
fn row(name: &str, split: &SplitReport) -> [String; 7] {
    let share = if split.videos == 0 { 0.0 } else { 100.0 * split.positive as f64 / split.videos as f64 };
    [
        name.to_owned(),
        split.videos.to_string(),
        split.participants.to_string(),
        format!("{} ({share:.1} %)", split.positive),
        split.secs.map_or_else(|| "not read".to_owned(), |secs| format!("{:.2}", secs / 3600.0)),
        format!("{:.2}", split.ah_secs / 3600.0),
        split.missing.to_string(),
    ]
}

fn line(finding: &Finding) -> String {
    let level = match finding.level {
        Level::Error => "error",
        Level::Warning => "warning",
    };
    format!("{level}: {}: {}\n", finding.about, finding.what)
}
