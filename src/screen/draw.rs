//! The sources at a glance, the judges, the log: what fits, and the most important first.

use std::time::Duration;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::State;
use super::judges::{Judge, Said};
use super::keys::{Page, View};
use super::paint::Paint;
use super::source::{CELLS, Phase, Source};
use super::text::{brief, brief_media, fit, fit_end, latency, padded, percent, right, width, wrapped};
use super::window::Cell;
use crate::alert::stdout::hundredths;
use crate::judge::Label;
use crate::session::{SessionKind, Summary};
use crate::time::MediaTime;

/// From this width on the columns have room for words.
const WIDE: usize = 136;
/// A name has so many columns at least: 80 hold a whole line.
const NAME: usize = 9;
/// What stands on the screen as long as it is up.
const STANDING_PANEL: &str = "Advisory, no diagnosis: a panel of models errs, and a person has to decide.";
const STANDING_HEURISTIC: &str = "Hesitation-cue index, not calibrated, no measure of A/H. Advisory, no diagnosis.";
const KEYS_SOURCES: &str = "\u{2191}\u{2193} select   Enter details   ? help   q quit";
const KEYS_DETAILS: &str = "\u{2191}\u{2193} windows   Tab next source   Esc back   ? help   q quit";
const KEYS_HELP: &str = "any key: back   q quit";
const STOPPING: &str = "Stopping: what is under way gets up to 10 s. q or Ctrl-C again ends at once.";
const HELP: [(&str, &str); 11] = [
    ("\u{2191} \u{2193}, k j", "select a source; in its details, a window"),
    ("PgUp PgDn, Home End", "the same, further"),
    ("Enter, 1 to 9", "details of a source"),
    ("Tab, Shift-Tab", "details of the next or the previous source"),
    ("Esc", "back"),
    ("q, Ctrl-C", "stop, with 10 s for what is under way; again: at once"),
    ("Ctrl-L", "draw everything anew"),
    ("V, M", "the session's label so far: vote_of_max, max_of_vote"),
    ("cover", "judged time over session time, the tail aside"),
    ("p50", "median time of a judge's answers; of a source's slowest ones"),
    ("episode", "since when the open one lasts, in session time"),
];

/// Draws everything. What does not fit is left out; no size is too small.
pub fn draw(state: &State, view: &View, frame: &mut Frame) {
    let area = frame.area();
    let mut page = Canvas::new(frame.buffer_mut(), area);
    let paint = Paint(view.colour);
    page.top(title(state, view, page.columns));
    page.bottom(keys(view, paint));
    let standing = match state.kind() {
        SessionKind::Panel => STANDING_PANEL,
        SessionKind::Heuristic => STANDING_HEURISTIC,
    };
    for line in wrapped(standing, page.columns).into_iter().rev() {
        page.bottom(Line::raw(line));
    }
    match page_of(state, view) {
        Page::Sources => overview(state, view, paint, &mut page),
        Page::Details => super::details::details(state, view, paint, &mut page),
        Page::Help => help(paint, &mut page),
    }
}

fn page_of(state: &State, view: &View) -> Page {
    if view.page == Page::Details && state.sources().get(view.selected).is_none() { Page::Sources } else { view.page }
}

/// Lines from the top and from the bottom, until they meet.
pub(super) struct Canvas<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    /// Its width.
    pub columns: usize,
}

impl<'a> Canvas<'a> {
    fn new(buffer: &'a mut Buffer, area: Rect) -> Self {
        Self { buffer, area, columns: area.width.into() }
    }

    /// Lines that are still free.
    pub fn free(&self) -> usize {
        self.area.height.into()
    }

    /// The next line from the top.
    pub fn top(&mut self, line: impl Into<Line<'static>>) {
        if self.area.height > 0 {
            self.buffer.set_line(self.area.x, self.area.y, &line.into(), self.area.width);
            (self.area.y, self.area.height) = (self.area.y + 1, self.area.height - 1);
        }
    }

    /// The next line from the bottom; the topmost line stays what it is.
    pub fn bottom(&mut self, line: impl Into<Line<'static>>) {
        if self.area.height > 0 {
            self.area.height -= 1;
            self.buffer.set_line(self.area.x, self.area.y + self.area.height, &line.into(), self.area.width);
        }
    }

    /// The left part of what is free as a canvas of its own, `columns` wide, and the right part after a gap of two.
    pub fn halves(&mut self, columns: usize, draw: impl FnOnce(&mut Canvas, bool), also: impl FnOnce(&mut Canvas)) {
        let left = u16::try_from(columns).unwrap_or(u16::MAX).min(self.area.width);
        let from = left.saturating_add(2).min(self.area.width);
        let area = Rect { width: left, ..self.area };
        let other = Rect { x: self.area.x + from, width: self.area.width - from, ..self.area };
        draw(&mut Canvas::new(self.buffer, area), other.width > 0);
        also(&mut Canvas::new(self.buffer, other));
        self.area.height = 0;
    }
}

fn title(state: &State, view: &View, columns: usize) -> Line<'static> {
    let sources = state.sources();
    let count = |wanted: fn(&Phase) -> bool| sources.iter().filter(|source| wanted(&source.phase)).count();
    let phases = [
        (count(|phase| *phase == Phase::Live), "live"),
        (count(|phase| matches!(phase, Phase::Away { .. })), "away"),
        (count(|phase| *phase == Phase::Ended), "ended"),
    ];
    let mut parts = vec![many(sources.len(), "source")];
    parts.extend(phases.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")));
    let alerts: u32 = sources.iter().map(|source| source.alerts).sum();
    let alerts = many(alerts as usize, "alert");
    let text = format!("ahwatch   {}   {alerts}   rule {}", parts.join(", "), state.rule());
    let up = format!("up {}", brief(view.now));
    let room = columns.saturating_sub(width(&up) + 2);
    let text = format!("{}  {up}", padded(&text, room));
    Line::styled(text, Paint(view.colour).heading())
}

fn many(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn keys(view: &View, paint: Paint) -> Line<'static> {
    match view.page {
        _ if view.stopping => Line::styled(STOPPING, paint.heading()),
        Page::Sources => Line::styled(KEYS_SOURCES, paint.quiet()),
        Page::Details => Line::styled(KEYS_DETAILS, paint.quiet()),
        Page::Help => Line::styled(KEYS_HELP, paint.quiet()),
    }
}

fn help(paint: Paint, page: &mut Canvas) {
    page.top("");
    for (key, what) in HELP {
        page.top(Line::from(vec![Span::styled(padded(key, 21), paint.heading()), Span::raw(what)]));
    }
    page.top("");
    for line in legend(false, paint, page.columns) {
        page.top(line);
    }
}

fn overview(state: &State, view: &View, paint: Paint, page: &mut Canvas) {
    let columns = Columns::of(state, page.columns);
    if page.free() > 8 {
        for line in legend(!columns.words, paint, page.columns).into_iter().rev() {
            page.bottom(line);
        }
    }
    let (free, sources, judges) = (page.free(), state.sources().len() + 1, state.judges().iter().len() + 2);
    // The sources come first, then the judges; the log gets what is left, but a few lines always, where there are any.
    let some_log = if view.log.is_empty() { 0 } else { view.log.len().min(3) + 2 };
    let judges = if free > 6 { judges.min(free / 3) } else { 0 };
    let log = if free > 12 { some_log.max((view.log.len() + 2).min(free.saturating_sub(sources + judges))) } else { 0 };
    let log = if view.log.is_empty() { 0 } else { log.min(free / 2) };
    let rows = free.saturating_sub(judges + log + 1);
    let (count, first) = (state.sources().len(), view.selected.saturating_sub(rows.saturating_sub(1)));
    let hidden = count > rows;
    page.top(columns.heading(hidden.then(|| (first + 1, (first + rows).min(count), count)), paint));
    for (n, source) in state.sources().iter().enumerate().skip(first).take(rows) {
        page.top(columns.line(source, n == view.selected, view, paint));
    }
    for line in view.log.iter().rev().take(log.saturating_sub(2)) {
        page.bottom(fit(line, page.columns));
    }
    if log > 2 {
        page.bottom(Line::styled("log", paint.heading()));
        page.bottom("");
    }
    if judges > 2 {
        page.top("");
        judge_lines(state, judges - 1, paint, page);
    }
}

fn legend(rules: bool, paint: Paint, columns: usize) -> Vec<Line<'static>> {
    let mut words: Vec<Vec<Span>> = Cell::SHOWN
        .iter()
        .map(|cell| {
            vec![Span::styled(cell.letter().to_string(), paint.cell(*cell)), Span::raw(format!(" {}", cell.word()))]
        })
        .collect();
    words.push(vec![Span::raw("\u{b7} none yet")]);
    if rules {
        words.extend([vec![Span::raw("V vote_of_max")], vec![Span::raw("M max_of_vote")]]);
    }
    let mut lines = vec![Line::default()];
    for word in words {
        let long: usize = word.iter().map(Span::width).sum();
        let Some(line) = lines.last_mut() else { break };
        if line.width() == 0 {
            line.spans.extend(word);
        } else if line.width() + 3 + long <= columns {
            line.spans.push(Span::raw("   "));
            line.spans.extend(word);
        } else {
            lines.push(Line::from(word));
        }
    }
    lines
}

/// Which columns a source's line has, and how wide they are. 0: left out.
struct Columns {
    /// There is room for words.
    words: bool,
    name: usize,
    state: usize,
    time: usize,
    cover: usize,
    labels: usize,
    episode: usize,
    cells: usize,
    latency: usize,
}

impl Columns {
    fn of(state: &State, columns: usize) -> Self {
        let words = columns >= WIDE;
        let (states, labels, episode) = if words { (24, 23, 17) } else { (11, 3, 7) };
        let mut of =
            Self { words, name: 0, state: states, time: 7, cover: 5, labels, episode, cells: CELLS, latency: 5 };
        let least = |of: &Self| {
            let fixed = [of.state, of.time, of.cover, of.labels, of.episode, of.cells, of.latency];
            2 + NAME + fixed.iter().filter(|wide| **wide > 0).map(|wide| wide + 1).sum::<usize>()
        };
        for drop in [
            (|of| of.latency = 0) as fn(&mut Self),
            |of| of.episode = 0,
            |of| of.labels = 0,
            |of| of.cover = 0,
            |of| of.time = 0,
        ] {
            if least(&of) > columns {
                drop(&mut of);
            }
        }
        of.cells = of.cells.saturating_sub(least(&of).saturating_sub(columns));
        let longest = state.sources().iter().map(|source| width(&source.shown)).max().unwrap_or(0);
        let spare = columns.saturating_sub(least(&of));
        of.name = NAME + spare.min(longest.saturating_sub(NAME));
        if words {
            // What is left tells why a source is away.
            of.state += (spare + NAME - of.name).min(40);
        }
        of
    }

    fn heading(&self, part: Option<(usize, usize, usize)>, paint: Paint) -> Line<'static> {
        let labels = if self.words { "vote_of_max max_of_vote" } else { "V M" };
        let source = part.map_or_else(|| "source".to_owned(), |(from, to, of)| format!("{from}\u{2013}{to}/{of}"));
        let columns = [
            (self.state, padded("state", self.state)),
            (self.time, right("time", self.time)),
            (self.cover, right("cover", self.cover)),
            (self.labels, padded(labels, self.labels)),
            (self.episode, padded("episode", self.episode)),
            (self.cells, padded(&format!("last {} windows", self.cells), self.cells)),
            (self.latency, right("p50", self.latency)),
        ];
        let mut text = format!("  {}", padded(&source, self.name));
        for (_, column) in columns.iter().filter(|(wide, _)| *wide > 0) {
            text += " ";
            text += column;
        }
        Line::styled(text, paint.heading())
    }

    fn line(&self, source: &Source, selected: bool, view: &View, paint: Paint) -> Line<'static> {
        let name = padded(&fit_end(&source.shown, self.name), self.name);
        let mark = if selected { "\u{25b8} " } else { "  " };
        let style = if selected { paint.heading() } else { ratatui::style::Style::new() };
        let mut spans = vec![Span::styled(format!("{mark}{name}"), style)];
        let mut column = |wide: usize, these: Vec<Span<'static>>| {
            if wide > 0 {
                spans.push(Span::raw(" "));
                spans.extend(these);
            }
        };
        let books = source.books();
        let stands = padded(&phase(&source.phase, self.state, view.now), self.state);
        column(self.state, vec![Span::styled(stands, paint.phase(&source.phase))]);
        let time = books.as_ref().map(|books| brief_media(source.session_time(books, view.now)));
        column(self.time, vec![Span::raw(right(&time.unwrap_or_default(), self.time))]);
        let told = books.as_ref().filter(|books| books.coverage.total() > MediaTime::ZERO);
        let cover = told.map(|books| percent(books.coverage_ratio()));
        column(self.cover, vec![Span::raw(right(&cover.unwrap_or_default(), self.cover))]);
        column(self.labels, self.session_labels(books.as_ref(), paint));
        let episode = source.episode.map_or_else(String::new, |episode| {
            let since = brief_media(episode.span.start());
            if self.words { format!("{} since {since}", episode.number) } else { since }
        });
        column(self.episode, vec![Span::raw(padded(&episode, self.episode))]);
        column(self.cells, cells(source, self.cells, paint));
        let slow = source.latency().map(latency).unwrap_or_default();
        column(self.latency, vec![Span::raw(right(&slow, self.latency))]);
        Line::from(spans)
    }

    fn session_labels(&self, books: Option<&Summary>, paint: Paint) -> Vec<Span<'static>> {
        let Some(labels) = books.map(|books| books.labels) else { return vec![Span::raw(" ".repeat(self.labels))] };
        let one = |label: Label| {
            let cell = Cell::from(label);
            let text = if self.words { padded(cell.word(), 11) } else { cell.letter().to_string() };
            Span::styled(text, paint.cell(cell))
        };
        vec![one(labels.vote_of_max), Span::raw(" "), one(labels.max_of_vote)]
    }
}

/// Where a source stands, in at most so many columns.
pub(super) fn phase(phase: &Phase, columns: usize, now: Duration) -> String {
    match phase {
        Phase::Waiting => "no frames".to_owned(),
        Phase::Live => "live".to_owned(),
        Phase::Paused => "paused".to_owned(),
        Phase::Ended => "ended".to_owned(),
        Phase::Withdrawn => "withdrawn".to_owned(),
        Phase::Away { denied, since, why } => {
            let word = if *denied { "denied" } else { "away" };
            let since = brief(now.saturating_sub(*since));
            let long = format!("{word} {since}: {why}");
            // The reason is for the wide screen and the details: half a reason is none.
            let short = format!("{word} {since}");
            if columns > 15 { fit(&long, columns) } else { fit(&short, columns) }
        }
    }
}

/// The last windows, oldest first, and a dot for each that is still to come.
pub(super) fn cells(source: &Source, count: usize, paint: Paint) -> Vec<Span<'static>> {
    let rows = source.rows();
    let mut spans: Vec<Span> = rows
        .iter()
        .skip(rows.len().saturating_sub(count))
        .map(|row| Span::styled(row.cell.letter().to_string(), paint.cell(row.cell)))
        .collect();
    spans.push(Span::styled("\u{b7}".repeat(count.saturating_sub(spans.len())), paint.quiet()));
    spans
}

fn judge_lines(state: &State, lines: usize, paint: Paint, page: &mut Canvas) {
    let longest = state.judges().iter().map(|judge| width(&judge.shown)).max().unwrap_or(0);
    let name = longest.clamp(10, if page.columns < WIDE { 14 } else { 30 });
    let heading = format!(
        "  {} {} {} {} {}",
        padded("judge", name),
        padded("health", 13),
        padded("last answer", 23),
        padded("abstained", 15),
        right("p50", 5)
    );
    page.top(Line::styled(heading, paint.heading()));
    let count = state.judges().iter().len();
    let shown = if count > lines - 1 { lines.saturating_sub(2) } else { count };
    for judge in state.judges().iter().take(shown) {
        page.top(judge_line(judge, state.kind(), name, paint, page.columns));
    }
    if shown < count {
        page.top(format!("  and {}", many(count - shown, "more judge")));
    }
}

fn judge_line(judge: &Judge, kind: SessionKind, name: usize, paint: Paint, columns: usize) -> Line<'static> {
    let last = match (judge.last, kind) {
        (None, _) => String::new(),
        (Some(Said::Abstained(reason)), _) => format!("\u{2013} {}", reason.as_str()),
        (Some(Said::Voted(yes, sure)), kind) => {
            let word = match kind {
                SessionKind::Heuristic => "index",
                SessionKind::Panel if yes => "Yes",
                SessionKind::Panel => "No",
            };
            format!("{word} {}", sure.map(hundredths).unwrap_or_default()).trim_end().to_owned()
        }
    };
    let abstained = judge
        .abstentions()
        .map_or_else(String::new, |share| format!("{} of {}, {}", judge.abstained, judge.asked, percent(share)));
    let health =
        Span::styled(padded(judge.health(), 13), if judge.well() { paint.phase(&Phase::Live) } else { paint.wrong() });
    let slow = judge.latency().map(latency).unwrap_or_default();
    let rest = format!(" {} {} {}", padded(&last, 23), padded(&abstained, 15), right(&slow, 5));
    let mut spans = vec![Span::raw(format!("  {} ", padded(&judge.shown, name))), health, Span::raw(rest)];
    let used: usize = spans.iter().map(Span::width).sum();
    if columns > used + 20 {
        spans.push(Span::raw(format!("  {}", fit(judge.remark(), columns - used - 2))));
    }
    Line::from(spans)
}
