use std::collections::BTreeSet;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Color;

use super::keys::Page;
use super::paint::Paint;
use super::source::{Phase, ROWS};
use super::window::Cell;
use super::*;
use crate::alert::{SourceState, UnjudgedWindow, fixtures};
use crate::judge::{Answer, DropReason, LostReason, Outcome, SkipReason, Verdict, WindowId};
use crate::session::{Account, Session, Summary};
use crate::time::{MediaTime, Span};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn panel() -> SessionSettings {
    SessionSettings { judges: vec!["v1".into(), "v2".into(), "v3".into()], ..SessionSettings::default() }
}

fn state(names: &[&str]) -> State {
    let expected: Vec<Expected> = names.iter().map(|name| Expected { name: (*name).into(), clocked: false }).collect();
    State::new(&expected, &panel())
}

fn fed(mut state: State, events: &[Event]) -> State {
    for (n, event) in events.iter().enumerate() {
        state.apply(event, secs(n as u64));
    }
    state
}

const CAMERA: &str = "rtsp://admin:hunter2@cam.example/one?token=t";

/// The session in which everything happens, up to before its end; and others beside it.
fn busy() -> State {
    let events = fixtures::panel_session();
    let end = events.iter().position(|event| matches!(event.kind, EventKind::SessionEnded(_))).unwrap();
    let state = fed(state(&[CAMERA, "interview.mp4", "会議室の録画と\u{1b}[2Jとても長い名前.mkv"]), &events[..end - 2]);
    let lost = EventKind::SourceLost(SourceState::Retrying, "no route to host".to_owned());
    let away = Event::outside("p".into(), 1, "rtsp://cam.example/two".into(), lost, fixtures::wall());
    let change = events.last().unwrap().clone();
    fed(state, &[away, change])
}

fn drawn(state: &State, view: &View, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(state, view, frame)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(state: &State, view: &View, width: u16, height: u16) -> String {
    let buffer = drawn(state, view, width, height);
    let lines: Vec<String> = (0..height)
        .map(|y| {
            let mut line = String::new();
            let mut x = 0;
            while x < width {
                let symbol = buffer[(x, y)].symbol();
                line += symbol;
                // The second column of a wide character is its own.
                x += u16::try_from(text::width(symbol)).unwrap().max(1);
            }
            line.trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

fn view() -> View {
    View { now: secs(754), colour: true, ..View::default() }
}

#[test]
fn sources_on_a_narrow_screen() {
    insta::assert_snapshot!(text(&busy(), &view(), 80, 24));
}

#[test]
fn sources_on_a_wide_screen_with_a_log() {
    let log = vec!["WARN source lost source=rtsp://cam.example/two".to_owned(), "ERROR something else".to_owned()];
    insta::assert_snapshot!(text(&busy(), &View { log, selected: 1, ..view() }, 140, 40));
}

#[test]
fn many_sources_scroll_to_the_selected_one() {
    let names: Vec<String> = (1..=40).map(|n| format!("room-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    insta::assert_snapshot!(text(&state(&names), &View { selected: 29, ..view() }, 80, 24));
}

#[test]
fn details_of_a_source_on_both_screens() {
    let view = View { page: Page::Details, ..view() };
    insta::assert_snapshot!("details_narrow", text(&busy(), &view, 80, 24));
    let mut older = view;
    for _ in 0..6 {
        older.key(KeyEvent::from(KeyCode::Down), &busy());
    }
    insta::assert_snapshot!("details_wide", text(&busy(), &older, 140, 40));
}

#[test]
fn the_cue_index_is_never_called_ah() {
    let settings =
        SessionSettings { judges: vec!["cues".into()], kind: SessionKind::Heuristic, ..SessionSettings::default() };
    let expected = Expected { name: "interview.mp4".into(), clocked: true };
    let events = fixtures::heuristic_session();
    let state = fed(State::new(&[expected], &settings), &events[..events.len() - 1]);
    let sources = text(&state, &view(), 80, 24);
    insta::assert_snapshot!(sources);
    let details = text(&state, &View { page: Page::Details, ..view() }, 140, 40);
    for page in [sources, details] {
        let said = page.replace("no measure of A/H", "");
        assert!(page.contains("not calibrated, no measure of A/H") && !said.contains("A/H"), "{page}");
    }
}

#[test]
fn help_and_a_stop_are_told() {
    let mut view = view();
    view.key(KeyEvent::from(KeyCode::Char('?')), &busy());
    view.stopping = true;
    insta::assert_snapshot!(text(&busy(), &view, 80, 24));
}

#[test]
fn without_colour_nothing_is_coloured_and_everything_is_said() {
    let colours = |buffer: &Buffer| -> BTreeSet<String> {
        buffer.content().iter().flat_map(|cell| [cell.fg, cell.bg]).map(|colour| format!("{colour:?}")).collect()
    };
    for page in [Page::Sources, Page::Details, Page::Help] {
        let (with, without) = (View { page, ..view() }, View { page, colour: false, ..view() });
        assert_eq!(colours(&drawn(&busy(), &without, 140, 40)), BTreeSet::from([format!("{:?}", Color::Reset)]));
        assert!(colours(&drawn(&busy(), &with, 140, 40)).len() > 4);
        assert_eq!(text(&busy(), &with, 140, 40), text(&busy(), &without, 140, 40));
    }
}

#[test]
fn no_two_outcomes_look_alike() {
    for (n, cell) in Cell::SHOWN.iter().enumerate() {
        for other in &Cell::SHOWN[..n] {
            assert_ne!(cell.letter(), other.letter());
            assert_ne!(Paint(true).cell(*cell), Paint(true).cell(*other), "{cell:?} and {other:?}");
        }
    }
}

#[test]
fn no_credential_and_no_escape_is_shown() {
    for page in [Page::Sources, Page::Details] {
        for selected in 0..4 {
            let text = text(&busy(), &View { page, selected, ..view() }, 140, 40);
            for secret in ["hunter2", "admin", "token", "secret words", "\u{1b}", "[2J"] {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
        }
    }
}

/// Sums, labels and alarms, which is what the screen shows.
fn told(summary: &Summary) -> (Vec<MediaTime>, crate::session::Labels, MediaTime, Option<crate::session::Alarms>) {
    let sums = Account::ALL.iter().map(|account| summary.coverage.of(*account)).collect();
    (sums, summary.labels, summary.elapsed, summary.alarms)
}

#[test]
fn the_books_are_those_of_the_session() {
    let events = fixtures::panel_session();
    let mut state = state(&[CAMERA]);
    for event in &events {
        if let EventKind::SessionEnded(summary) = &event.kind {
            let before = state.sources()[0].books().unwrap();
            for account in Account::ALL.into_iter().filter(|account| *account != Account::DroppedShutdown) {
                assert_eq!(before.coverage.of(account), summary.coverage.of(account), "{account:?}");
            }
            state.apply(event, Duration::ZERO);
            assert_eq!(state.sources()[0].books().unwrap(), **summary);
        } else {
            state.apply(event, Duration::ZERO);
        }
    }
}

fn outcome(kind: u8) -> Outcome {
    let votes = |a, b, c| {
        Outcome::Votes(vec![
            fixtures::vote("v1", a, None),
            fixtures::vote("v2", b, Some(0.3)),
            fixtures::vote("v3", c, None),
        ])
    };
    let silent = || {
        let (reason, detail) = (crate::judge::AbstentionReason::Deadline, String::new());
        Answer::Abstained(crate::judge::Abstention { reason, detail })
    };
    match kind {
        0 => votes(Answer::Present, Answer::Present, Answer::Absent),
        1 => votes(Answer::Absent, Answer::Absent, silent()),
        2 => votes(Answer::Absent, silent(), Answer::Present),
        3 => votes(silent(), silent(), silent()),
        4 => Outcome::Skipped(fixtures::gate_skip()),
        5 => Outcome::Dropped(DropReason::Overload),
        _ => Outcome::Lost(LostReason::MissingMedia),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens to windows, over continuities of any length and in any order within reach.
    #[test]
    fn at_any_time_the_books_are_those_of_the_session(
        kinds in prop::collection::vec((0_u8..7, 0_u32..40), 1..400),
    ) {
        let mut session = Session::new("s".into(), "cam".into(), Arc::new(panel()));
        let mut state = state(&["cam"]);
        state.apply(&session.start(fixtures::wall()), Duration::ZERO);
        let (mut id, mut at) = (WindowId { continuity: 0, index: 0 }, 0);
        let mut windows = Vec::new();
        for (kind, gap) in kinds {
            if gap == 0 {
                windows.push(Err((id, Span::new(MediaTime::from_millis(at), MediaTime::from_millis(at + 1_500)))));
                at += 1_500;
                id = WindowId { continuity: id.continuity + 1, index: 0 };
            }
            let span = Span::new(MediaTime::from_millis(at), MediaTime::from_millis(at + 5_000));
            windows.push(Ok((kind, Verdict { window: id, span, outcome: outcome(kind) })));
            (at, id.index) = (at + 2_500, id.index + 1);
        }
        // Answers overtake each other.
        for some in windows.chunks_mut(3) {
            some.reverse();
        }
        let wall = fixtures::wall();
        for window in windows {
            let events = match window {
                Ok((_, verdict)) => session.apply(&verdict, wall),
                Err((id, span)) => {
                    let mut events = session.lost(id.continuity, span, LostReason::Outage, wall);
                    events.extend(session.continuity_ended(id.continuity, id.index, wall));
                    events
                }
            };
            for event in &events {
                state.apply(event, Duration::ZERO);
            }
            let source = &state.sources()[0];
            prop_assert_eq!(told(&source.books().unwrap()), told(&session.summary()));
            prop_assert!(source.rows().len() <= ROWS && source.rows().iter().is_sorted_by_key(window::Row::key));
        }
    }

    /// No size, no name and no key makes it panic.
    #[test]
    fn everything_can_be_drawn_at_any_size(
        (width, height) in (0_u16..220, 0_u16..70),
        name in any::<String>(),
        keys in prop::collection::vec(prop::sample::select(vec![
            KeyCode::Up, KeyCode::Down, KeyCode::Enter, KeyCode::Esc, KeyCode::Tab, KeyCode::BackTab, KeyCode::PageDown,
            KeyCode::End, KeyCode::Home, KeyCode::Char('?'), KeyCode::Char('3'), KeyCode::Char('9'), KeyCode::Char('x'),
        ]), 0..12),
        log in prop::collection::vec(any::<String>(), 0..6),
    ) {
        let mut state = fed(busy(), &fixtures::heuristic_session());
        let lost = EventKind::SourceLost(SourceState::AuthFailed, name.clone());
        state.apply(&Event::outside("p".into(), 2, name.as_str().into(), lost, fixtures::wall()), secs(1));
        let log = log.iter().map(|line| text::clean(line)).collect();
        let mut view = View { log, ..view() };
        for key in keys {
            prop_assert_eq!(view.key(KeyEvent::from(key), &state), Asked::Look);
            drawn(&state, &view, width, height);
        }
        drawn(&State::new(&[], &panel()), &view, width, height);
    }
}

#[test]
fn keys_select_and_go_there_and_back() {
    let state = busy();
    let mut view = view();
    let mut press = |code| {
        view.key(KeyEvent::from(code), &state);
        (view.page, view.selected, view.back(&state))
    };
    assert_eq!(press(KeyCode::Up), (Page::Sources, 0, 0));
    assert_eq!(press(KeyCode::Char('j')), (Page::Sources, 1, 0));
    assert_eq!(press(KeyCode::End), (Page::Sources, 3, 0));
    assert_eq!(press(KeyCode::Down), (Page::Sources, 3, 0));
    assert_eq!(press(KeyCode::Char('9')), (Page::Sources, 3, 0), "there is no ninth source");
    assert_eq!(press(KeyCode::Char('1')), (Page::Details, 0, 0));
    assert_eq!(press(KeyCode::Down), (Page::Details, 0, 1));
    assert_eq!(press(KeyCode::PageDown), (Page::Details, 0, state.sources()[0].rows().len() - 1));
    assert_eq!(press(KeyCode::Char('?')).0, Page::Help);
    assert_eq!(press(KeyCode::Esc), (Page::Details, 0, state.sources()[0].rows().len() - 1));
    assert_eq!(press(KeyCode::Tab), (Page::Details, 1, 0));
    assert_eq!(press(KeyCode::BackTab), (Page::Details, 0, 0));
    assert_eq!(press(KeyCode::Esc), (Page::Sources, 0, 0));
    assert_eq!(view.key(KeyEvent::from(KeyCode::Char('q')), &state), Asked::Stop);
    let control = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
    assert_eq!((view.key(control('c'), &state), view.key(control('l'), &state)), (Asked::Stop, Asked::Redraw));
    assert_eq!(view.key(control('q'), &state), Asked::Look);
}

#[test]
fn an_older_window_stays_in_view_while_newer_ones_come() {
    let mut session = Session::new("s".into(), "cam".into(), Arc::new(panel()));
    let mut state = state(&["cam"]);
    let mut next = {
        let mut index = 0;
        move |state: &mut State| {
            let (start, window) = (f64::from(index) * 5.0, WindowId { continuity: 0, index });
            let verdict = Verdict { window, span: fixtures::span(start, start + 5.0), outcome: outcome(1) };
            index += 1;
            if index == 1 {
                state.apply(&session.start(fixtures::wall()), Duration::ZERO);
            }
            for event in session.apply(&verdict, fixtures::wall()) {
                state.apply(&event, Duration::ZERO);
            }
        }
    };
    (0..3).for_each(|_| next(&mut state));
    let mut view = View { page: Page::Details, ..view() };
    view.key(KeyEvent::from(KeyCode::Down), &state);
    next(&mut state);
    assert_eq!(view.back(&state), 2, "the one before the newest of three is the third of four");
    (0..ROWS).for_each(|_| next(&mut state));
    assert_eq!(view.back(&state), ROWS - 1, "it is gone, so the oldest that is kept");
    view.key(KeyEvent::from(KeyCode::Home), &state);
    next(&mut state);
    assert_eq!(view.back(&state), 0);
}

#[test]
fn what_is_not_known_yet_is_not_said() {
    let state = state(&["cam"]);
    let source = &state.sources()[0];
    assert_eq!((&source.phase, source.books(), source.latency()), (&Phase::Waiting, None, None));
    let page = text(&state, &view(), 140, 40);
    let line = page.lines().find(|line| line.contains("cam")).unwrap();
    assert!(line.contains("no frames") && !line.contains("absent") && !line.contains('%'), "{line}");
}

#[test]
fn session_time_passes_only_while_frames_come_at_the_clocks_pace() {
    let events = fixtures::heuristic_session();
    let at = |clocked, last: usize, now| {
        let expected = Expected { name: "interview.mp4".into(), clocked };
        let mut state = State::new(&[expected], &panel());
        events[..last].iter().for_each(|event| state.apply(event, secs(100)));
        let source = &state.sources()[0];
        source.session_time(&source.books().unwrap(), secs(now))
    };
    let judged = events.len() - 2;
    let session = MediaTime::from_millis(10_000);
    assert_eq!((at(true, judged, 103), at(true, judged, 142)), (session, MediaTime::from_millis(42_000)));
    assert_eq!(at(false, judged, 142), session, "a recording as fast as it can be judged");
    assert_eq!(at(true, events.len(), 142), session, "ended");
}

#[test]
fn a_source_that_is_away_says_why_and_since_when_until_it_is_back() {
    let lost = |state, why: &str| EventKind::SourceLost(state, why.to_owned());
    let event = |kind| Event::outside("p".into(), 1, "cam".into(), kind, fixtures::wall());
    let mut state = state(&["cam"]);
    state.apply(&event(lost(SourceState::Retrying, "no route to host")), secs(10));
    state.apply(&event(lost(SourceState::AuthFailed, "401")), secs(20));
    let away = Phase::Away { denied: true, since: secs(10), why: "401".to_owned() };
    assert_eq!(state.sources()[0].phase, away);
    assert!(text(&state, &View { now: secs(75), ..view() }, 80, 24).contains("denied 1:0"));
    state.apply(&event(EventKind::SourceRestored(secs(65))), secs(75));
    assert_eq!(state.sources()[0].phase, Phase::Live);
}

#[test]
fn a_withdrawn_session_leaves_nothing_on_the_screen_or_after_it() {
    let events = fixtures::panel_session();
    let state = fed(state(&[CAMERA]), &events);
    let source = &state.sources()[0];
    assert_eq!((&source.phase, source.rows().len(), source.books()), (&Phase::Withdrawn, 0, None));
    assert_eq!(source.notes().count(), 1);
    assert!(state.ends().0.is_empty());
    // A session that goes on for a moment is not kept either.
    let later = fed(state, &events[1..4]);
    assert!(later.sources()[0].rows().is_empty() && later.sources()[0].alerts <= 3);
}

#[test]
fn ends_of_sessions_are_kept_up_to_a_number() {
    let events = fixtures::heuristic_session();
    let end = events.last().unwrap();
    let state = fed(state(&["interview.mp4"]), &vec![end.clone(); ENDS + 3]);
    assert_eq!((state.ends().0.len(), state.ends().1), (ENDS, 3));
}

#[test]
fn every_outcome_outside_windows_has_its_row() {
    let none = UnjudgedWindow::default;
    let row = |kind| {
        let event = Event::outside("p".into(), 1, "cam".into(), kind, fixtures::wall());
        window::Row::of(&event).map(|row| row.cell)
    };
    let lost = crate::alert::LostTime::Lost(LostReason::Outage);
    assert_eq!(row(EventKind::WindowLost(none(), lost)), Some(Cell::Lost));
    assert_eq!(row(EventKind::WindowLost(none(), crate::alert::LostTime::Tail)), Some(Cell::Tail));
    assert_eq!(row(EventKind::WindowSkipped(none(), SkipReason::Paused)), Some(Cell::Skipped));
    assert_eq!(row(EventKind::WindowDropped(none(), DropReason::Shutdown)), Some(Cell::Dropped));
    assert_eq!(row(EventKind::SourceRestored(secs(1))), None);
}
