//! `ahwatch bah report`: the same numbers as a page, or as tables for a paper.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::score::{Runs, print};
use crate::bah::report::{Markup, csv, html, tables};
use crate::bah::score::Scored;
use crate::cli::Exit;

/// Which runs, and as what.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    runs: Runs,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Html)]
    format: Format,
    /// Where to [default: stdout].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One page that works offline, with curves and each video's timeline.
    Html,
    /// Tables in Markdown.
    Md,
    /// Every metric a line, as fractions.
    Csv,
    /// Tables in LaTeX, with booktabs' rules.
    Latex,
}

pub(super) fn run(options: &Options) -> Exit {
    if options.format == Format::Html && options.out.is_none() && std::io::stdout().is_terminal() {
        eprintln!("a page is nothing for a terminal: name a file with --out report.html, or redirect the output");
        return Exit::Refused;
    }
    let (runs, between) = match options.runs.score() {
        Ok(scored) => scored,
        Err(error) => {
            eprintln!("{error}");
            return Exit::Refused;
        }
    };
    let scores = || runs.iter().map(|(scored, _)| scored.clone()).collect::<Vec<Scored>>();
    let text = match options.format {
        Format::Html => html(&runs, &between),
        Format::Md => tables(&scores(), &between, Markup::Markdown),
        Format::Latex => tables(&scores(), &between, Markup::Latex),
        Format::Csv => match csv(&scores()) {
            Ok(text) => text,
            Err(error) => {
                eprintln!("the table cannot be written: {error}");
                return Exit::Failed;
            }
        },
    };
    print(text.as_bytes(), options.out.as_deref())
}
