//! `ahwatch journal`: a look into the journal of a service, which may be running.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::Exit;
use super::watch::read;
use crate::alert::journal::verify::{Report, verify};
use crate::alert::journal::{AlertFilter, Cutoffs, JournalError, Reader, forget_sink_in, purge, resend_in};
use crate::config::JournalConfig;
use crate::time::wall;

/// Events that are read at a time.
const PAGE: usize = 1000;

/// What to do with a journal.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print events as JSON lines, oldest first: the very `CloudEvents` that were told.
    Export {
        #[command(flatten)]
        file: Located,
        /// Only of this session.
        #[arg(long, value_name = "ID")]
        session: Option<String>,
        /// Only these types, or beginnings of types, such as `ah.window.`.
        #[arg(long = "type", value_name = "TYPE")]
        types: Vec<String>,
        /// Only alerts, each with what somebody made of it and what became of it at each sink.
        #[arg(long, conflicts_with = "types")]
        alerts: bool,
    },
    /// Delete what is older than configured, as the service does once a day.
    Purge {
        #[command(flatten)]
        file: Located,
        /// Everything from before this time instead, such as 2026-01-31T00:00:00Z.
        #[arg(long, value_name = "TIME")]
        before: Option<Timestamp>,
        /// Instead, all that waits for this sink, which is not configured any more, and its dead letters. Not beside a running
        /// service, which does it by its API.
        #[arg(long, value_name = "NAME", conflicts_with = "before")]
        sink: Option<String>,
    },
    /// Let what a sink never took wait for it again; it is sent once the service runs. Not beside a running service, which does it
    /// by its API.
    Resend {
        #[command(flatten)]
        file: Located,
        /// Which sink.
        #[arg(long, value_name = "NAME")]
        sink: String,
        /// Only the event of this id.
        #[arg(long, value_name = "ID")]
        event: Option<String>,
    },
    /// Look whether everything is in order: the file, its numbers, its deliveries, and the books of each session.
    Verify {
        #[command(flatten)]
        file: Located,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// Which journal.
#[derive(Debug, Args)]
pub struct Located {
    /// The journal's file [default: what the configuration says, or ahwatch.db].
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// The configuration of the service.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Located {
    /// The journal's part of the configuration; only that is read.
    pub(super) fn config(&self) -> Result<JournalConfig, String> {
        let config = match &self.config {
            Some(file) => JournalConfig::of_file(&read(file)?, file).map_err(|problems| problems.to_string())?,
            None => JournalConfig::at(crate::config::defaults::JOURNAL.into()),
        };
        Ok(match &self.journal {
            Some(path) => JournalConfig { path: path.clone(), ..config },
            None => config,
        })
    }
}

/// A command's end, with what was wrong said.
pub(super) enum Trouble {
    /// It cannot begin.
    Refused(String),
    /// It did not come to its end.
    Failed(String),
    /// Whoever reads the output does not any more.
    Closed,
}

impl From<JournalError> for Trouble {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Open { .. } | JournalError::NotFound(_) | JournalError::Exists(_) => {
                Self::Refused(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<std::io::Error> for Trouble {
    fn from(_: std::io::Error) -> Self {
        Self::Closed
    }
}

pub(super) fn exit(result: Result<Exit, Trouble>) -> Exit {
    match result {
        Ok(exit) => exit,
        Err(Trouble::Refused(what)) => {
            eprintln!("{what}");
            Exit::Refused
        }
        Err(Trouble::Failed(what)) => {
            eprintln!("{what}");
            Exit::Failed
        }
        Err(Trouble::Closed) => Exit::Failed,
    }
}

pub(super) fn run(command: &Command) -> Exit {
    exit(match command {
        Command::Export { file, session, types, alerts } => export(file, session.as_deref(), types, *alerts),
        Command::Purge { file, sink: Some(sink), .. } => forget(file, sink),
        Command::Purge { file, before, sink: None } => delete(file, *before),
        Command::Resend { file, sink, event } => resend(file, sink, event.as_deref()),
        Command::Verify { file, json } => look(file, *json),
    })
}

fn export(file: &Located, session: Option<&str>, types: &[String], alerts: bool) -> Result<Exit, Trouble> {
    let reader = Reader::open(&file.config().map_err(Trouble::Refused)?.path)?;
    if let Some(id) = session
        && reader.session(id)?.is_none()
    {
        return Err(Trouble::Refused(format!("there is no session {id} in the journal")));
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let kinds: Vec<&str> = types.iter().map(String::as_str).collect();
    let mut after = 0;
    loop {
        if alerts {
            let page = reader.alerts(AlertFilter { session, after, limit: PAGE, ..AlertFilter::default() })?;
            let Some(last) = page.last().map(|alert| alert.seq) else { break };
            for alert in &page {
                let event: serde_json::Value = serde_json::from_str(&alert.json).unwrap_or_default();
                let (feedback, deliveries) = (&alert.feedback, &alert.deliveries);
                let line = serde_json::json!({"event": event, "feedback": feedback, "deliveries": deliveries});
                writeln!(out, "{line}")?;
            }
            after = last;
        } else {
            let page = reader.events_after(session, after, &kinds, PAGE)?;
            let Some(last) = page.last().map(|(seq, _)| *seq) else { break };
            for (_, json) in &page {
                writeln!(out, "{json}")?;
            }
            after = last;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn delete(file: &Located, before: Option<Timestamp>) -> Result<Exit, Trouble> {
    let config = file.config().map_err(Trouble::Refused)?;
    let now = wall();
    let cutoffs = before.map_or_else(|| Cutoffs::of(&config, now), Cutoffs::all);
    let purged = purge(&config.path, &cutoffs, now)?;
    let (events, sessions, audit) = (purged.events, purged.sessions, purged.audit);
    eprintln!("deleted: {events} events, {sessions} sessions, {audit} audit rows and receipts");
    Ok(Exit::Done)
}

fn forget(file: &Located, sink: &str) -> Result<Exit, Trouble> {
    let many = forget_sink_in(&file.config().map_err(Trouble::Refused)?.path, sink)?;
    eprintln!("deleted: {many} deliveries to {sink} that had not happened");
    Ok(Exit::Done)
}

fn resend(file: &Located, sink: &str, event: Option<&str>) -> Result<Exit, Trouble> {
    let resent = resend_in(&file.config().map_err(Trouble::Refused)?.path, sink, event, wall())?.resent;
    eprintln!("{resent} dead letters wait for {sink} again; they are sent once the service runs");
    Ok(Exit::Done)
}

fn look(file: &Located, json: bool) -> Result<Exit, Trouble> {
    let reader = Reader::open(&file.config().map_err(Trouble::Refused)?.path)?;
    let report = verify(&reader)?;
    let text = if json { serde_json::to_string(&report).unwrap_or_default() + "\n" } else { in_words(&report) };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if report.problems.is_empty() { Exit::Done } else { Exit::Failed })
}

fn in_words(report: &Report) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let range = report.seq.map_or_else(String::new, |(first, last)| format!(", numbered {first} to {last}"));
    let _ = writeln!(text, "events: {}{range}", report.events);
    for hole in &report.holes {
        let _ = writeln!(text, "  {} to {}: {}", hole.first, hole.last, hole.reason);
    }
    let alerts = report.alerts;
    let _ = writeln!(text, "alerts: {}, and {} that were withdrawn", alerts.there, alerts.withdrawn);
    for sink in &report.sinks {
        let _ = writeln!(
            text,
            "  {}: {} wanted = {} delivered + {} pending + {} dead; {} other events",
            sink.sink, sink.alerts, sink.delivered, sink.pending, sink.dead, sink.others
        );
    }
    let sessions = report.sessions;
    let _ = writeln!(
        text,
        "sessions: {} whose books come out again of their events, {} whose do not, {} partly gone, {} without books",
        sessions.right, sessions.wrong, sessions.partly_gone, sessions.without_books
    );
    for problem in &report.problems {
        let _ = writeln!(text, "WRONG: {problem}");
    }
    text += if report.problems.is_empty() { "in order\n" } else { "not in order\n" };
    text
}
