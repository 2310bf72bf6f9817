//! `ahwatch doctor`.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use futures_util::future::join_all;

use super::Exit;
use super::watch::environment;
use crate::config::{Config, Judging, Overrides, RawConfig, fingerprint};
use crate::doctor::{Asking, Check, Status, ask, clips, configured, lines, machine, table};
use crate::judge::fingerprint::Fingerprint;
use crate::judge::panel::Panel;
use crate::time::wall;

/// What to look at.
#[derive(Debug, Args)]
pub struct Options {
    /// A configuration file to check, with everything it names.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file of `[[judge]]` tables: each judge is asked.
    #[arg(long, value_name = "FILE")]
    panel: Option<PathBuf>,
    /// Save how the panel answers the built-in clips, to compare with later.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Compare the panel with what was saved.
    #[arg(long, value_name = "FILE", conflicts_with = "save")]
    fingerprint: Option<PathBuf>,
    /// Do not ask the judges whether they hear and see.
    #[arg(long, conflicts_with_all = ["save", "fingerprint"])]
    no_canary: bool,
    /// Print one JSON object a line for each check.
    #[arg(long)]
    json: bool,
    /// A folder whose models/ and pipelines/ replace the embedded files.
    #[arg(long, value_name = "DIR")]
    assets: Option<PathBuf>,
}

pub(super) fn run(options: &Options) -> Exit {
    let raw = match typed(options) {
        Ok(raw) => raw,
        Err(problem) => return refuse(&problem),
    };
    let overrides = Overrides {
        assets: options.assets.clone(),
        no_canary: options.no_canary,
        fingerprint: options.fingerprint.clone(),
        ..Overrides::default()
    };
    let built = Config::build(raw, overrides, &environment);
    let config = built.as_ref().ok();
    let mut checks = machine(config, options.assets.as_deref());
    match &built {
        Ok(config) => checks.extend(configured(config)),
        Err(problems) => {
            let remedy = "correct what is named; `ahwatch config schema` has every key";
            checks.push(Check::failed("configuration", "values", problems.to_string(), remedy));
        }
    }
    match config.map(|config| (config, &config.judging)) {
        Some((config, Judging::Panel(_))) => match panel(config, options.save.as_deref()) {
            Ok(more) => checks.extend(more),
            Err(problem) => return refuse(&problem),
        },
        Some((_, Judging::Cues { .. })) if options.save.is_some() => {
            return refuse("there is no panel to save: name one with --panel FILE");
        }
        Some(_) | None => {}
    }
    print(&checks, options.json)
}

fn typed(options: &Options) -> Result<RawConfig, String> {
    let mut raw = super::typed(options.config.as_deref(), options.panel.as_deref())?;
    if options.save.is_some() {
        // Whoever saves anew does not compare with the old, which may be missing or out of date.
        raw.panel.fingerprint = None;
    }
    Ok(raw)
}

fn refuse(problem: &str) -> Exit {
    eprintln!("{problem}");
    Exit::Refused
}

fn print(checks: &[Check], json: bool) -> Exit {
    let width = std::io::stdout().is_terminal().then(|| comfy_table::Table::new().width()).flatten();
    let text = if json { lines(checks) } else { table(checks, width) };
    let written = std::io::stdout().write_all(text.as_bytes());
    let failed = checks.iter().any(|check| check.status == Status::Failed);
    if written.is_err() || failed { Exit::Failed } else { Exit::Done }
}

/// Asks all judges at once.
fn panel(config: &Config, save: Option<&Path>) -> Result<Vec<Check>, String> {
    let Judging::Panel(judges) = &config.judging else { return Ok(Vec::new()) };
    let panel = Panel::new(judges).map_err(|error| error.to_string())?;
    let clips = clips(&panel, config).map_err(|error| error.to_string())?;
    if let Some((path, fingerprint)) = &config.panel.fingerprint
        && let Some(other) = fingerprint.other_clips(judges, &clips)
    {
        return Err(format!("{}: {other}: save it again with --save FILE", path.display()));
    }
    let tell = |line: &str| eprintln!("{line}");
    let asking = Asking::new(&clips, config, &tell);
    let asking = join_all(panel.judges().iter().map(|judge| ask(judge, asking)));
    let asked = super::run_tasks(asking).map_err(|error| error.to_string())?;
    let (checks, fingerprints): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
    let mut checks: Vec<Check> = checks.into_iter().flatten().collect();
    if let Some(file) = save {
        checks.push(saved(file, fingerprints.into_iter().collect()));
    }
    Ok(checks)
}

/// Writes the fingerprint of a panel whose every judge is fit for one.
fn saved(file: &Path, judges: Option<Vec<crate::judge::fingerprint::JudgeFingerprint>>) -> Check {
    const GROUP: &str = "fingerprint";
    let what = file.display().to_string();
    let Some(judges) = judges else {
        let finding = "not saved: a judge failed, and its answers are worth nothing";
        return Check::failed(GROUP, &what, finding, "mend the judge, then save again");
    };
    let silent: Vec<_> = judges.iter().filter(|judge| judge.clips.is_empty()).map(|judge| judge.name.clone()).collect();
    let text = fingerprint::text(&Fingerprint { saved: format!("{:.0}", wall()), judges });
    if let Err(error) = std::fs::write(file, text) {
        return Check::failed(GROUP, &what, format!("cannot be written: {error}"), "name a file that can be");
    }
    if silent.is_empty() {
        return Check::ok(GROUP, &what, "saved");
    }
    let finding = format!("saved without log-odds of {}, whose server gives none", silent.join(", "));
    Check::warning(GROUP, &what, finding, "nothing of these is compared; vLLM gives log-odds")
}
