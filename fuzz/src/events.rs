//! Events of a session, as they stand in a journal: refused, or decided again, twice alike, with exact books that can be rebuilt
//! from the events which that gives.

use ahwatch::alert::event::CloudEvent;
use ahwatch::alert::journal::rebuild::Recorded;
use ahwatch::alert::journal::replay::{Changes, replay};
use ahwatch::session::Rule;
use ahwatch::time::MediaTime;

/// Events as JSON, one a line.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(recorded) = Recorded::read(text.lines().filter(|line| !line.is_empty())) else { return };
    let decided = recorded.decide(recorded.settings.clone(), None);
    let again = recorded.decide(recorded.settings.clone(), None);
    assert_eq!((&decided.summary, decided.events.len()), (&again.summary, again.events.len()));
    let (scored, votes) = recorded.scored();
    assert!(scored <= votes);
    let changes = Changes { rule: Some(Rule::VoteOfMax), threshold: Some(0.5), ..Changes::default() };
    let _ = replay(&recorded, &changes);

    // Seconds in JSON are exact to the nanosecond for a hundred days; what is nobody's session is nobody's books.
    let summary = &decided.summary;
    let is_plain = |time: MediaTime| time >= MediaTime::ZERO && time < MediaTime::from_millis(1_000_000_000);
    if !is_plain(summary.elapsed) || decided.events.iter().any(|event| !is_plain(event.span.start())) {
        return;
    }
    assert_eq!(summary.coverage.total(), summary.elapsed, "every nanosecond has one account");
    let lines: Vec<String> = decided
        .events
        .iter()
        .map(|event| serde_json::to_string(&CloudEvent::from(event)).expect("an event is JSON"))
        .collect();
    let rebuilt = Recorded::read(lines.iter().map(String::as_str)).expect("what was told can be read");
    assert_eq!(rebuilt.missing, 0);
    let rebuilt = rebuilt.decide(recorded.settings.clone(), None).summary;
    assert_eq!(
        (rebuilt.labels, rebuilt.coverage, rebuilt.windows),
        (summary.labels, summary.coverage, summary.windows)
    );
}
