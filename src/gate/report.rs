//! What each requirement would have skipped of a recording: to choose from that, not from belief. Pure.

use super::decide::{Decision, Evidence, decide};
use crate::config::GateRequire;
use crate::time::{MediaTime, Span};

/// Counts a recording's windows under every requirement.
#[derive(Clone, Debug)]
pub struct Report {
    windows: u32,
    covered: Covered,
    rows: [Tally; GateRequire::ALL.len()],
}

/// One requirement's account.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// The requirement.
    pub require: GateRequire,
    /// Windows it would have skipped: each is a request less for every judge.
    pub windows_skipped: u32,
    /// Windows that pass because what it requires could not be measured.
    pub windows_unknown: u32,
    /// Time it would have left unjudged. Where windows overlap, time in one that passes is judged.
    pub skipped: MediaTime,
    /// The same as a share of the windows' time, 0 to 1; 0 where there is none.
    pub share: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    skipped: u32,
    unknown: u32,
    passed: Covered,
}

/// Length of the union of spans that come in the order of their starts.
#[derive(Clone, Copy, Debug, Default)]
struct Covered {
    until: MediaTime,
    length: MediaTime,
}

impl Covered {
    fn add(&mut self, span: Span) {
        let from = span.start().max(self.until);
        if span.end() > from {
            self.length += span.end() - from;
            self.until = span.end();
        }
    }
}

impl Default for Report {
    fn default() -> Self {
        Self { windows: 0, covered: Covered::default(), rows: [Tally::default(); GateRequire::ALL.len()] }
    }
}

impl Report {
    /// Adds the recording's next window: its span in session time and what was found in it.
    pub fn add(&mut self, span: Span, evidence: &Evidence) {
        self.windows += 1;
        self.covered.add(span);
        for (require, tally) in GateRequire::ALL.into_iter().zip(&mut self.rows) {
            match decide(require, evidence) {
                Decision::Skip(_) => {
                    tally.skipped += 1;
                    continue;
                }
                Decision::Unknown => tally.unknown += 1,
                Decision::Pass => {}
            }
            tally.passed.add(span);
        }
    }

    /// Windows so far.
    #[must_use]
    pub const fn windows(&self) -> u32 {
        self.windows
    }

    /// Time in them, each second once.
    #[must_use]
    pub const fn time(&self) -> MediaTime {
        self.covered.length
    }

    /// One row for each requirement but `none`, which skips nothing.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let total = self.covered.length;
        let row = |(require, tally): (GateRequire, &Tally)| {
            let skipped = total - tally.passed.length;
            let share = if total > MediaTime::ZERO { skipped.as_secs_f64() / total.as_secs_f64() } else { 0.0 };
            Row { require, windows_skipped: tally.skipped, windows_unknown: tally.unknown, skipped, share }
        };
        GateRequire::ALL.into_iter().zip(&self.rows).filter(|(r, _)| *r != GateRequire::None).map(row).collect()
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gate::decide::{FacesFound, SpeechFound};

    fn span(start: i64, end: i64) -> Span {
        Span::new(MediaTime::from_millis(start), MediaTime::from_millis(end))
    }

    fn evidence(speech: Option<bool>, face: Option<bool>) -> Evidence {
        Evidence {
            speech: speech.map(|enough| SpeechFound {
                heard: if enough { MediaTime::MAX } else { MediaTime::ZERO },
                needed: MediaTime::from_millis(250),
            }),
            faces: face.map(|enough| FacesFound { with_face: enough.into(), pictures: 10, needed: 1, largest: None }),
        }
    }

    #[test]
    fn overlapped_time_is_skipped_only_where_no_window_passes() {
        let mut report = Report::default();
        for (start, speech) in [(0, true), (2500, false), (5000, false), (7500, true), (10_000, false)] {
            report.add(span(start, start + 5000), &evidence(Some(speech), None));
        }
        let rows = report.rows();
        assert_eq!((report.windows(), report.time()), (5, MediaTime::from_millis(15_000)));
        assert_eq!((rows[0].require, rows[0].windows_skipped), (GateRequire::Speech, 3));
        // 5 to 7.5 s and 12.5 to 15 s.
        assert_eq!((rows[0].skipped, rows[0].share), (MediaTime::from_millis(5000), 1.0 / 3.0));
        assert_eq!((rows[1].windows_skipped, rows[1].windows_unknown), (0, 5));
        assert_eq!(Report::default().rows()[3].share, 0.0);
    }

    proptest! {
        #[test]
        fn the_strictest_skips_most_and_none_skips_more_than_there_is(
            found in prop::collection::vec(any::<(Option<bool>, Option<bool>)>(), 0..20),
        ) {
            let mut report = Report::default();
            for (start, (speech, face)) in (0..).step_by(5000).zip(&found) {
                report.add(span(start, start + 5000), &evidence(*speech, *face));
            }
            let rows = report.rows();
            let skipped = |require| rows.iter().find(|row| row.require == require).unwrap().windows_skipped;
            prop_assert!(skipped(GateRequire::SpeechOrFace) <= skipped(GateRequire::Speech).min(skipped(GateRequire::Face)));
            prop_assert!(skipped(GateRequire::SpeechAndFace) >= skipped(GateRequire::Speech).max(skipped(GateRequire::Face)));
            for row in &rows {
                prop_assert!(row.windows_skipped + row.windows_unknown <= report.windows());
                prop_assert_eq!(row.skipped, MediaTime::from_millis(5000 * i64::from(row.windows_skipped)));
            }
        }
    }
}
