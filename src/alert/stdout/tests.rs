use super::*;
use crate::alert::fixtures;

fn read(events: &[Event], style: Style) -> String {
    let mut out = Vec::new();
    for event in events {
        readable(&mut out, event, style).unwrap();
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn lines_of_a_panel_session() {
    insta::assert_snapshot!(read(&fixtures::panel_session(), Style::default()));
}

#[test]
fn lines_of_a_heuristic_session() {
    insta::assert_snapshot!(read(&fixtures::heuristic_session(), Style::default()));
}

#[test]
fn the_end_of_a_long_session_with_early_stop() {
    let events = fixtures::early_stop_session();
    insta::assert_snapshot!(read(&events[events.len() - 12..], Style::default()));
}

#[test]
fn json_lines_of_a_heuristic_session() {
    let mut out = Vec::new();
    for event in &fixtures::heuristic_session() {
        json_line(&mut out, event).unwrap();
    }
    insta::assert_snapshot!(String::from_utf8(out).unwrap());
}

#[test]
fn colour_only_when_asked_and_then_only_colour() {
    let events = fixtures::panel_session();
    let (plain, coloured) =
        (read(&events, Style::default()), read(&events, Style { colour: true, name_source: false }));
    assert!(!plain.contains('\u{1b}'));
    let mut stripped = coloured.clone();
    for code in ["1;31", "32", "33", "0"] {
        stripped = stripped.replace(&format!("\u{1b}[{code}m"), "");
    }
    assert_ne!(plain, coloured);
    assert_eq!(plain, stripped);
}

#[test]
fn each_line_names_its_source_where_asked() {
    let text = read(&fixtures::panel_session()[..3], Style { colour: false, name_source: true });
    assert_eq!(text.lines().filter(|line| line.starts_with("rtsp://cam.example/one  ")).count(), 3, "{text}");
}

#[test]
fn no_credential_and_no_model_text_is_shown() {
    let text = read(&fixtures::all(), Style { colour: true, name_source: true });
    for secret in ["hunter2", "admin", "token=", "secret words"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[test]
fn text_from_outside_cannot_drive_the_terminal() {
    let lost = EventKind::SourceLost(SourceState::Retrying, "\u{1b}[2J\nfake line".to_owned());
    let event = Event::outside("p".into(), 0, "c\u{7}am".into(), lost, fixtures::wall());
    let text = read(&[event], Style { colour: false, name_source: true });
    assert_eq!(text.lines().count(), 1);
    assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
}

#[test]
fn a_number_that_rounds_to_one_is_no_point_zero() {
    assert_eq!([0.834, 0.12, 0.0, 0.999, 1.0].map(hundredths), [".83", ".12", ".00", "1.0", "1.0"]);
}

/// A pipe whose reader left.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

#[test]
fn a_closed_pipe_is_an_error_to_end_on() {
    for event in fixtures::all() {
        assert_eq!(json_line(&mut Closed, &event).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(readable(&mut Closed, &event, Style::default()).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
