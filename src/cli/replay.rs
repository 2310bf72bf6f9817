//! `ahwatch replay`: a recorded session decided anew.

use std::io::Write as _;

use clap::Args;
use comfy_table::{Table, presets};

use super::Exit;
use super::journal::{Located, Trouble, exit};
use super::watch::RuleName;
use crate::alert::clock;
use crate::alert::journal::Reader;
use crate::alert::journal::rebuild::Recorded;
use crate::alert::journal::replay::{Changes, Difference, Side, replay};
use crate::config::Rule;
use crate::time::MediaTime;

/// Which session, and what is to be different.
#[derive(Debug, Args)]
pub struct Options {
    /// The session's id.
    session: String,
    #[command(flatten)]
    file: Located,
    /// Which rule is the session's label.
    #[arg(long, value_enum)]
    rule: Option<RuleName>,
    /// Present windows in a row that open an episode.
    #[arg(long, value_name = "N")]
    open_windows: Option<u32>,
    /// Absent windows in a row that close one.
    #[arg(long, value_name = "N")]
    clear_windows: Option<u32>,
    /// No further episode alert within this of the last one, seconds.
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    cooldown_secs: Option<f64>,
    /// Share of the session that must be judged before anything is Absent.
    #[arg(long, value_name = "SHARE")]
    min_coverage: Option<f64>,
    /// P(Yes) from which a vote is Present, 0 to 1, of every judge.
    #[arg(long, value_name = "P", value_parser = probability)]
    threshold: Option<f64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let secs: f64 = text.parse().map_err(|_| "give seconds".to_owned())?;
    if (0.0..=3.2e9).contains(&secs) { Ok(secs) } else { Err("give 0 seconds or more".to_owned()) }
}

fn probability(text: &str) -> Result<f64, String> {
    let p: f64 = text.parse().map_err(|_| "give a number from 0 to 1".to_owned())?;
    if p > 0.0 && p < 1.0 { Ok(p) } else { Err("give more than 0 and less than 1".to_owned()) }
}

pub(super) fn run(options: &Options) -> Exit {
    exit(decide(options))
}

fn decide(options: &Options) -> Result<Exit, Trouble> {
    let reader = Reader::open(&options.file.config().map_err(Trouble::Refused)?.path)?;
    let id = &options.session;
    let Some(_) = reader.session(id)? else {
        return Err(Trouble::Refused(format!("there is no session {id} in the journal")));
    };
    let events = reader.events_after(Some(id), 0, &[], usize::MAX)?;
    let recorded = Recorded::read(events.iter().map(|(_, json)| &**json))
        .map_err(|error| Trouble::Refused(format!("session {id}: {error}")))?;
    let changes = Changes {
        rule: options.rule.map(|rule| Rule::from(rule).into()),
        open_windows: options.open_windows,
        clear_windows: options.clear_windows,
        cooldown_secs: options.cooldown_secs,
        min_coverage: options.min_coverage,
        threshold: options.threshold,
    };
    let difference = replay(&recorded, &changes).map_err(|problems| {
        Trouble::Refused(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    let text =
        if options.json { serde_json::to_string(&difference).unwrap_or_default() + "\n" } else { table(&difference) };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(Exit::Done)
}

fn table(difference: &Difference) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).force_no_tty().set_header(["", "as it was", "anew", ""]);
    let (before, after) = (rows(&difference.before), rows(&difference.after));
    for ((name, was), (_, is)) in before.into_iter().zip(after) {
        let mark = if was == is { "" } else { "differs" };
        table.add_row([name, was, is, mark.to_owned()]);
    }
    let mut text = format!("session {} of {}\n{table}\n", difference.session, difference.source);
    for note in &difference.notes {
        text = text + "note: " + note + "\n";
    }
    text
}

fn rows(side: &Side) -> Vec<(String, String)> {
    let at = |secs: f64| clock(MediaTime::from_secs_f64(secs));
    let list = |times: Vec<String>| if times.is_empty() { "none".to_owned() } else { times.join("\n") };
    let settings = &side.settings;
    let mut rows = vec![
        ("rule".to_owned(), settings.rule.as_str().to_owned()),
        ("open_windows".to_owned(), settings.open_windows.to_string()),
        ("clear_windows".to_owned(), settings.clear_windows.to_string()),
        ("cooldown_secs".to_owned(), settings.cooldown_secs.to_string()),
        ("min_coverage".to_owned(), settings.min_coverage.to_string()),
        ("threshold".to_owned(), settings.threshold.map_or_else(|| "as it was".to_owned(), |p| p.to_string())),
        ("label".to_owned(), side.label.as_str().to_owned()),
        ("vote_of_max".to_owned(), side.vote_of_max.as_str().to_owned()),
        ("max_of_vote".to_owned(), side.max_of_vote.as_str().to_owned()),
    ];
    rows.extend(side.maxima.iter().map(|(judge, max)| (format!("max of {judge}"), max.as_str().to_owned())));
    rows.extend([
        ("windows present".to_owned(), side.windows_present.to_string()),
        ("windows absent".to_owned(), side.windows_absent.to_string()),
        ("windows undecided".to_owned(), side.windows_undecided.to_string()),
        ("windows lost".to_owned(), side.windows_lost.to_string()),
        ("judged".to_owned(), at(side.judged_secs)),
        ("session alert".to_owned(), side.session_alert_secs.map_or_else(|| "none".to_owned(), at)),
        (
            "episodes".to_owned(),
            list(side.episodes.iter().map(|(start, end)| format!("{}\u{2013}{}", at(*start), at(*end))).collect()),
        ),
        ("episode alerts".to_owned(), list(side.episode_alerts_secs.iter().map(|secs| at(*secs)).collect())),
        (
            "alarms per hour".to_owned(),
            side.alarms_per_hour.map_or_else(|| "none".to_owned(), |rate| format!("{rate:.1}")),
        ),
    ]);
    rows
}
