//! One source: its windows with their votes, its books, what else happened.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::State;
use super::draw::{Canvas, phase};
use super::keys::View;
use super::paint::Paint;
use super::source::Source;
use super::text::{brief_media, fit, fit_end, latency, padded, percent, right, wrapped};
use super::window::{Cell, Row};
use crate::alert::clock;
use crate::alert::stdout::span;
use crate::session::{Account, Summary};
use crate::time::MediaTime;

/// Columns of the books.
const BOOKS: usize = 34;

/// Draws the selected source.
pub(super) fn details(state: &State, view: &View, paint: Paint, page: &mut Canvas) {
    let Some(source) = state.sources().get(view.selected) else { return };
    let books = source.books();
    head(source, books.as_ref(), view, paint, page);
    let free = page.free();
    // The windows come first; what is said of one of them, and the books beside the events, take a share of a tall screen.
    let chosen = if free > 8 { (free / 4).clamp(3, 8) } else { 0 };
    let lower = if free > 12 { (free * 2 / 5).min(14) } else { 0 };
    windows(state, source, view, paint, page, free - chosen - lower);
    if chosen > 0 {
        one_window(state, source, view, paint, page, chosen);
    }
    if lower > 0 {
        let books_too = page.columns >= BOOKS + 20;
        let width = if books_too { BOOKS } else { 0 };
        page.halves(
            width,
            |left, beside| books_lines(books.as_ref(), beside && books_too, paint, left),
            |right| events(source, paint, right),
        );
    }
}

fn head(source: &Source, books: Option<&Summary>, view: &View, paint: Paint, page: &mut Canvas) {
    let columns = page.columns;
    let stands = phase(&source.phase, columns / 2, view.now);
    let name = fit_end(&source.shown, columns.saturating_sub(stands.chars().count() + 3));
    page.top(Line::from(vec![
        Span::styled(name, paint.heading()),
        Span::raw("   "),
        Span::styled(stands, paint.phase(&source.phase)),
    ]));
    let Some(books) = books else {
        page.top("no session yet");
        return;
    };
    let label = |word: &'static str, label| {
        let cell = Cell::from(label);
        [Span::raw(format!("   {word} ")), Span::styled(cell.word(), paint.cell(cell))]
    };
    let covered = format!(
        "session {}   judged {} of {} ({})",
        brief_media(source.session_time(books, view.now)),
        clock(books.coverage.judged()),
        clock(books.elapsed - books.coverage.tail()),
        percent(books.coverage_ratio())
    );
    let mut spans = vec![Span::raw(covered)];
    spans.extend(label("vote_of_max", books.labels.vote_of_max));
    spans.extend(label("max_of_vote", books.labels.max_of_vote));
    if let Some(episode) = source.episode {
        spans.push(Span::raw(format!("   episode {} since {}", episode.number, clock(episode.span.start()))));
    }
    // On a narrow screen the labels get a line of their own.
    let at = if spans.iter().map(Span::width).sum::<usize>() > columns { 1 } else { spans.len() };
    let rest = spans.split_off(at);
    page.top(Line::from(spans));
    if !rest.is_empty() {
        page.top(Line::from(rest));
    }
}

fn windows(state: &State, source: &Source, view: &View, paint: Paint, page: &mut Canvas, lines: usize) {
    let (rows, back) = (source.rows(), view.back(state));
    let room = lines.saturating_sub(2);
    page.top("");
    let count = if rows.is_empty() {
        "no window yet".to_owned()
    } else {
        format!("windows, newest first; {} of {}", back + 1, rows.len())
    };
    page.top(Line::styled(count, paint.heading()));
    let first = back.saturating_sub(room.saturating_sub(1));
    for n in 0..room {
        match rows.iter().rev().nth(first + n) {
            Some(row) => page.top(window_line(row, first + n == back, paint, page.columns)),
            None => page.top(""),
        }
    }
}

fn window_line(row: &Row, chosen: bool, paint: Paint, columns: usize) -> Line<'static> {
    let mark = if chosen { "\u{25b8} " } else { "  " };
    let slow = row.latency.map(latency).unwrap_or_default();
    let odd = if row.odd.is_empty() { String::new() } else { format!("[{}]", row.odd.join(", ")) };
    let texts = [row.reason.clone(), row.votes.join(" | "), odd];
    let text = texts.iter().filter(|text| !text.is_empty()).map(String::as_str).collect::<Vec<_>>().join("  ");
    let style = if chosen { paint.heading() } else { Style::new() };
    let spans = vec![
        Span::styled(format!("{mark}{} ", padded(&span(row.span), 15)), style),
        Span::styled(row.cell.letter().to_string(), paint.cell(row.cell)),
        Span::raw(format!(" {} {}  ", padded(row.cell.word(), 9), right(&slow, 5))),
    ];
    let used: usize = spans.iter().map(Span::width).sum();
    let text = Span::raw(fit(&text, columns.saturating_sub(used)));
    Line::from([spans, vec![text]].concat())
}

/// All that is known of the chosen window.
fn one_window(state: &State, source: &Source, view: &View, paint: Paint, page: &mut Canvas, lines: usize) {
    page.top("");
    let Some(row) = source.rows().iter().rev().nth(view.back(state)) else {
        (1..lines).for_each(|_| page.top(""));
        return;
    };
    let at = row.window.map_or_else(
        || "outside windows".to_owned(),
        |id| format!("window {} of continuity {}", id.index, id.continuity),
    );
    let at = format!("{at}, {}: {}", span(row.span), row.cell.word());
    let mut texts = vec![row.reason.clone(), row.votes.join(" | ")];
    texts.extend(row.abstentions.iter().cloned());
    let about = [row.odd.join(", "), row.complete.clone()];
    texts.push(about.iter().filter(|text| !text.is_empty()).map(String::as_str).collect::<Vec<_>>().join("; "));
    page.top(Line::styled(fit(&at, page.columns), paint.heading()));
    let texts: Vec<String> = texts
        .iter()
        .filter(|text| !text.is_empty())
        .flat_map(|text| wrapped(text, page.columns.saturating_sub(2)))
        .collect();
    for n in 0..lines - 2 {
        // Where there is more, its last line says so.
        let more = n + 1 == lines - 2 && texts.len() > lines - 2;
        match texts.get(n) {
            Some(text) if more => page.top(format!("  {}\u{2026}", fit(text, page.columns.saturating_sub(3)))),
            Some(text) => page.top(format!("  {text}")),
            None => page.top(""),
        }
    }
}

fn books_lines(books: Option<&Summary>, beside: bool, paint: Paint, page: &mut Canvas) {
    if !beside {
        return;
    }
    page.top("");
    page.top(Line::styled("books", paint.heading()));
    let Some(books) = books else { return };
    let share = |time: MediaTime| {
        if books.elapsed > MediaTime::ZERO { time.as_secs_f64() / books.elapsed.as_secs_f64() } else { 0.0 }
    };
    let line = |name: &str, time: MediaTime| {
        format!("  {} {} {}", padded(name, 15), right(&clock(time), 9), right(&percent(share(time)), 5))
    };
    let mut lines: Vec<String> = Account::ALL
        .iter()
        .filter(|account| books.coverage.of(**account) > MediaTime::ZERO)
        .map(|account| line(account_word(*account), books.coverage.of(*account)))
        .collect();
    // What is under way is on no account yet.
    lines.push(line("told so far", books.elapsed));
    if lines.len() > page.free() {
        let told = &books.coverage;
        let classes = [
            ("judged", told.judged()),
            ("skipped", told.skipped()),
            ("dropped", told.dropped()),
            ("lost", told.lost()),
            ("tail", told.tail()),
        ];
        lines = classes.map(|(name, time)| line(name, time)).to_vec();
    }
    for line in lines {
        page.top(line);
    }
}

const fn account_word(account: Account) -> &'static str {
    match account {
        Account::Present => "present",
        Account::Absent => "absent",
        Account::Undecided => "undecided",
        Account::SkippedGate => "skipped: gate",
        Account::SkippedEarlyStop => "skipped: early",
        Account::SkippedPaused => "skipped: pause",
        Account::DroppedOverload => "dropped: load",
        Account::DroppedShutdown => "dropped: stop",
        Account::LostMissingMedia => "lost: media",
        Account::LostAllAbstained => "lost: no answer",
        Account::LostOutage => "lost: away",
        Account::Tail => "tail",
    }
}

fn events(source: &Source, paint: Paint, page: &mut Canvas) {
    page.top("");
    page.top(Line::styled("events, newest first", paint.heading()));
    for note in source.notes().rev().take(page.free()) {
        page.top(fit(note, page.columns));
    }
}
