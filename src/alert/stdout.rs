//! Events on a stream of text: one JSON object a line, or lines and a final table for people.
//!
//! Every function returns what writing returned: on a closed pipe that is an error for the caller to end on, never a panic.

use std::fmt::Write as _;
use std::io::{self, Write};

use comfy_table::{CellAlignment, Table, presets};

use super::event::alerts::{cue_line, text as alert_text};
use super::event::session::saturation_text;
use super::event::{CloudEvent, without_credentials};
use super::{
    Actor, AlertAbout, Event, EventKind, JudgeState, JudgedWindow, LostTime, SourceState, UnjudgedWindow, advisory,
    clock,
};
use crate::judge::proof::Proof;
use crate::judge::{Answer, DropReason, Label, LostReason, SkipReason, Vote};
use crate::session::{Account, ClosedBy, JudgeSummary, SessionKind, SessionSettings, Summary};
use crate::time::{MediaTime, Span};

/// How lines for people look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Colour labels and alerts with ANSI escapes. Every line says the same without.
    pub colour: bool,
    /// Begin each line with the source's name, where several are watched.
    pub name_source: bool,
}

/// Writes the event as one line of JSON and flushes it.
///
/// # Errors
/// Whatever writing returns.
pub fn json_line(out: &mut impl Write, event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(&CloudEvent::from(event))?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

/// Writes the event as lines for a person and flushes them; the session's end with its table.
///
/// # Errors
/// Whatever writing returns.
pub fn readable(out: &mut impl Write, event: &Event, style: Style) -> io::Result<()> {
    let mut text = String::new();
    if style.name_source && !event.source.is_empty() {
        let _ = write!(text, "{}  ", printable(&without_credentials(&event.source)));
    }
    text += &line(event, style);
    text.push('\n');
    if let EventKind::SessionEnded(summary) = &event.kind {
        text += &summary_table(summary);
    }
    out.write_all(text.as_bytes())?;
    out.flush()
}

pub(crate) fn line(event: &Event, style: Style) -> String {
    let at = span(event.span);
    match &event.kind {
        EventKind::SessionStarted(settings) => {
            let who = match settings.kind {
                SessionKind::Panel => format!("panel {}, rule {}", panel(settings), settings.rule),
                SessionKind::Heuristic => "hesitation-cue index (heuristic, not calibrated)".to_owned(),
            };
            format!("session of {}: {who}", printable(&without_credentials(&event.source)))
        }
        EventKind::WindowJudged(judged) => format!("{at}  {}", judged_line(judged, style)),
        EventKind::WindowSkipped(_, reason) => format!("{at}  {}", word("skipped", &skip_reason(reason), "")),
        EventKind::WindowDropped(_, reason) => format!("{at}  {}", word("dropped", drop_reason(*reason), "")),
        EventKind::WindowLost(window, reason) => format!("{at}  {}", lost_line(window, *reason)),
        EventKind::SessionPaused(by) => format!("{at}  paused by {}", actor(*by)),
        EventKind::SessionResumed(by) => format!("{at}  resumed by {}", actor(*by)),
        EventKind::SessionWithdrawn(by) => {
            format!("{at}  withdrawn by {}; everything of the session is deleted", actor(*by))
        }
        EventKind::AlertRaised(alert) => {
            let text = paint(style, "1;31", &format!("ALERT: {}", alert_text(event.span, alert)));
            // The whole advisory once a session and at its end; each episode gets its first words.
            match alert.about {
                AlertAbout::Session => format!("{text}\n       {}", advisory(alert.kind)),
                AlertAbout::Episode(_) => format!("{text} (advisory, not a diagnosis)"),
            }
        }
        EventKind::EpisodeOpened(_, episode) => {
            let held = if episode.alerted { "" } else { " (no alert: the last one was too recent)" };
            format!("{at}  episode {} opened{held}", episode.number)
        }
        EventKind::EpisodeClosed(_, episode, by) => {
            let by = match by {
                ClosedBy::Clear => "",
                ClosedBy::SessionEnd => " by the session's end",
            };
            format!("{at}  episode {} closed{by}; present windows: {}", episode.number, episode.present_windows)
        }
        EventKind::SourceLost(state, detail) => {
            let doing = match state {
                SourceState::Retrying => "trying again",
                SourceState::AuthFailed => "credentials refused, trying again once a minute",
            };
            format!("source lost: {}; {doing}", printable(detail))
        }
        EventKind::SourceRestored(after) => format!("source restored after {:.1} s", after.as_secs_f64()),
        EventKind::JudgeChanged(change) => {
            let state = match change.state {
                JudgeState::Healthy => "answers",
                JudgeState::Failing => "does not answer",
                JudgeState::SetAside => "is set aside",
                JudgeState::Degraded => "votes degraded",
                JudgeState::Unproven => "votes unproven",
            };
            format!("judge {} {state}: {}: {}", change.judge, change.proof, printable(&change.detail))
        }
        EventKind::SessionEnded(summary) => summary.verdict(),
    }
}

/// The judges, with what is known of those that are not proven.
fn panel(settings: &SessionSettings) -> String {
    let judge = |(n, name): (usize, &std::sync::Arc<str>)| match settings.proofs.get(n) {
        None | Some(Proof::Proven) => name.to_string(),
        Some(Proof::NotChecked) => format!("{name} (not checked)"),
        Some(proof) => format!("{name} ({proof})"),
    };
    settings.judges.iter().enumerate().map(judge).collect::<Vec<_>>().join(", ")
}

/// `present    v1 Yes .83 | v2 No .12 | v3 – deadline   1.2 s`
fn judged_line(judged: &JudgedWindow, style: Style) -> String {
    let label = format!("{:<9}", judged.label.as_str());
    let label = match judged.label {
        Label::Present => paint(style, "1;31", &label),
        Label::Absent => paint(style, "32", &label),
        Label::Undecided => paint(style, "33", &label),
    };
    let said = votes(&judged.votes);
    let latency = judged.votes.iter().map(|vote| vote.latency).max().unwrap_or_default();
    let partial = if judged.quality.is_some_and(|quality| !quality.full) { "  partial" } else { "" };
    let odd = judged.quality.and_then(|quality| quality.flags).map_or_else(Vec::new, |flags| flags.words());
    let odd = if odd.is_empty() { String::new() } else { format!("  [{}]", odd.join(", ")) };
    format!("{label}  {said}  {:.1} s{partial}{odd}", latency.as_secs_f64())
}

fn votes(votes: &[Vote]) -> String {
    votes.iter().map(vote).collect::<Vec<_>>().join(" | ")
}

pub(crate) fn vote(vote: &Vote) -> String {
    let (answer, detail) = match (&vote.answer, &vote.cues) {
        (Answer::Abstained(why), _) => ("\u{2013}", format!(" {}", why.reason.as_str())),
        (Answer::NotAsked, _) => ("\u{2013}", " not asked".to_owned()),
        (Answer::Present | Answer::Absent, Some(cues)) => {
            ("index", format!(" {} {}", hundredths(cues.index), cue_line(cues)))
        }
        (answer, None) => {
            let word = if *answer == Answer::Present { "Yes" } else { "No" };
            (word, vote.score.map_or_else(String::new, |score| format!(" {}", hundredths(score.p_yes))))
        }
    };
    let flag = vote.flag.map_or_else(String::new, |flag| format!(" ({})", flag.as_str()));
    format!("{} {answer}{}{flag}", vote.judge, detail.trim_end())
}

/// `.83`, and `1.0` for what rounds to it.
pub(crate) fn hundredths(value: f64) -> String {
    let text = format!("{value:.2}");
    text.strip_prefix('0').map_or_else(|| text.get(..3).unwrap_or(&text).to_owned(), str::to_owned)
}

fn lost_line(window: &UnjudgedWindow, reason: LostTime) -> String {
    match reason {
        LostTime::Tail => word("tail", "too short for a window", ""),
        LostTime::Lost(LostReason::Outage) => word("lost", "source away", ""),
        LostTime::Lost(LostReason::MissingMedia) => word("lost", "media missing", ""),
        LostTime::Lost(LostReason::AllAbstained) => word("lost", "nobody answered", &votes(&window.votes)),
    }
}

fn word(outcome: &str, reason: &str, detail: &str) -> String {
    let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
    format!("{outcome:<9}  {}{detail}", printable(reason))
}

pub(crate) fn skip_reason(reason: &SkipReason) -> String {
    match reason {
        SkipReason::Gate(skip) => skip.to_string(),
        SkipReason::EarlyStop => "early stop: every judge said present".to_owned(),
        SkipReason::Paused => "paused".to_owned(),
    }
}

pub(crate) fn drop_reason(reason: DropReason) -> &'static str {
    match reason {
        DropReason::Overload => "overload: newer windows were waiting",
        DropReason::Shutdown => "session ended before it was judged",
    }
}

fn actor(actor: Actor) -> &'static str {
    match actor {
        Actor::Participant => "the participant",
        Actor::Operator => "an operator",
    }
}

pub(crate) fn span(span: Span) -> String {
    format!("{}\u{2013}{}", clock(span.start()), clock(span.end()))
}

fn paint(style: Style, code: &str, text: &str) -> String {
    if style.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// Text from outside, without what could move a terminal's cursor or begin a line.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The books of a session for a terminal: what became of its time, then its judges, then what there is to be wary of.
#[must_use]
pub fn summary_table(summary: &Summary) -> String {
    let mut text = format!("{}\n{}\n", time_table(summary), judge_table(summary));
    if summary.judges.iter().any(|judge| judge.usage.requests > 0) {
        let _ = writeln!(text, "{}", usage_table(summary));
    }
    let alarms = match (summary.alarms, summary.alarms_per_hour()) {
        (Some(alarms), Some(rate)) => {
            format!(
                "episodes: {}, with an alert: {}, alarms per judged hour: {rate:.1}",
                alarms.episodes, alarms.alerts
            )
        }
        (Some(alarms), None) => format!("episodes: {}", alarms.episodes),
        (None, _) => "episodes are not reported under early stop".to_owned(),
    };
    let _ = writeln!(text, "{alarms}");
    if let Some(hint) = saturation_text(summary) {
        let _ = writeln!(text, "{hint}");
    }
    let _ = writeln!(text, "{}", advisory(summary.kind));
    text
}

fn time_table(summary: &Summary) -> Table {
    let books = &summary.coverage;
    let mut table = plain(&["time", "", "share"]);
    row(&mut table, "session", summary.elapsed, summary.elapsed);
    let mut class = |name: &str, total: MediaTime, parts: &[(&str, Account)]| {
        row(&mut table, name, total, summary.elapsed);
        for (part, account) in parts {
            let time = books.of(*account);
            if time > MediaTime::ZERO {
                row(&mut table, &format!("  {part}"), time, summary.elapsed);
            }
        }
    };
    let (present, absent, undecided) = (Account::Present, Account::Absent, Account::Undecided);
    class("judged", books.judged(), &[("present", present), ("absent", absent), ("undecided", undecided)]);
    let skipped =
        [("gate", Account::SkippedGate), ("early stop", Account::SkippedEarlyStop), ("paused", Account::SkippedPaused)];
    class("skipped", books.skipped(), &skipped);
    class(
        "dropped",
        books.dropped(),
        &[("overload", Account::DroppedOverload), ("shutdown", Account::DroppedShutdown)],
    );
    let lost = [
        ("media missing", Account::LostMissingMedia),
        ("nobody answered", Account::LostAllAbstained),
        ("source away", Account::LostOutage),
    ];
    class("lost", books.lost(), &lost);
    class("tail", books.tail(), &[]);
    table
}

fn row(table: &mut Table, name: &str, time: MediaTime, of: MediaTime) {
    let share = if of > MediaTime::ZERO { 100.0 * time.as_secs_f64() / of.as_secs_f64() } else { 0.0 };
    table.add_row([name.to_owned(), format!("{:.3} s", time.as_secs_f64()), format!("{share:.1} %")]);
}

fn judge_table(summary: &Summary) -> Table {
    let mut table = plain(&["judge", "session max", "present", "absent", "abstained", "covered"]);
    for judge in &summary.judges {
        let covered = format!("{:.3} s", judge.covered.as_secs_f64());
        let (present, absent) = (judge.present.to_string(), judge.absent.to_string());
        table.add_row([&*judge.judge, judge.max.as_str(), &*present, &*absent, &*abstained(judge), &*covered]);
    }
    table
}

/// What asking took. A dash is what no server told.
fn usage_table(summary: &Summary) -> Table {
    let mut table =
        plain(&["judge", "requests", "retries", "waited", "prompt tokens", "of sound", "of pictures", "answer tokens"]);
    let told = |tokens: Option<u64>| tokens.map_or_else(|| "\u{2013}".to_owned(), |tokens| tokens.to_string());
    for judge in &summary.judges {
        let usage = &judge.usage;
        let any = |tokens: u64| told((usage.counted > 0).then_some(tokens));
        table.add_row([
            judge.judge.to_string(),
            usage.requests.to_string(),
            usage.retries.to_string(),
            format!("{:.1} s", usage.waited.as_secs_f64()),
            any(usage.prompt),
            told(usage.audio),
            told(usage.video),
            any(usage.completion),
        ]);
    }
    table
}

fn abstained(judge: &JudgeSummary) -> String {
    let mut parts: Vec<String> =
        judge.abstained.iter().map(|(reason, count)| format!("{count} {}", reason.as_str())).collect();
    if judge.not_asked > 0 {
        parts.push(format!("{} not asked", judge.not_asked));
    }
    if parts.is_empty() { "0".to_owned() } else { parts.join(", ") }
}

/// A table without width, colour or terminal detection: the same wherever it goes.
fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).force_no_tty().set_header(header.iter().copied());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests;
