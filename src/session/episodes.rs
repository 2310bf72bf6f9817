//! Episodes (rule 9): runs of Present windows, in window order. Fed by `order`.

use crate::judge::Label;
use crate::time::{MediaTime, Span};

/// Why an episode closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// Enough Absent windows in a row.
    Clear,
    /// The session ended.
    SessionEnd,
}

/// A stretch of a session in which A/H (or hesitation cues) keeps showing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Episode {
    /// Counts from 1 in a session.
    pub number: u32,
    /// From the first Present window's start to the last Present window's end so far.
    pub span: Span,
    /// Present windows in it so far.
    pub present_windows: u32,
    /// Whether an alert was sent for it; no, where the last one was too recent.
    pub alerted: bool,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Opened(Episode),
    Closed(Episode, ClosedBy),
}

/// The state machine. Undecided, skipped, dropped and lost windows are simply not put to it.
#[derive(Clone, Debug)]
pub(super) struct Episodes {
    open_windows: u32,
    clear_windows: u32,
    cooldown: MediaTime,
    /// Present windows in a row, while none is open: how many, and their joint span.
    rising: Option<(u32, Span)>,
    /// The open one, and Absent windows in a row since its last Present one.
    open: Option<(Episode, u32)>,
    opened: u32,
    last_sent: Option<MediaTime>,
    sent: u32,
}

impl Episodes {
    pub(super) fn new(open_windows: u32, clear_windows: u32, cooldown: MediaTime) -> Self {
        Self {
            open_windows: open_windows.max(1),
            clear_windows: clear_windows.max(1),
            cooldown,
            rising: None,
            open: None,
            opened: 0,
            last_sent: None,
            sent: 0,
        }
    }

    /// How many were opened, and for how many an alert was sent.
    pub(super) fn counts(&self) -> (u32, u32) {
        (self.opened, self.sent)
    }

    /// The next judged window in window order.
    pub(super) fn window(&mut self, span: Span, label: Label) -> Option<Step> {
        match (label, &mut self.open) {
            (Label::Undecided, _) => None,
            (Label::Present, Some((episode, absent))) => {
                *absent = 0;
                episode.present_windows += 1;
                episode.span = Span::new(episode.span.start(), episode.span.end().max(span.end()));
                None
            }
            (Label::Present, None) => {
                let (count, run) =
                    self.rising.map_or((1, span), |(n, run)| (n + 1, Span::new(run.start(), span.end())));
                if count < self.open_windows {
                    self.rising = Some((count, run));
                    return None;
                }
                self.rising = None;
                self.opened += 1;
                // Measured between the windows that opened them: their starts lie on the grid.
                let alerted = self.last_sent.is_none_or(|last| span.start() - last >= self.cooldown);
                if alerted {
                    self.last_sent = Some(span.start());
                    self.sent += 1;
                }
                let episode = Episode { number: self.opened, span: run, present_windows: count, alerted };
                self.open = Some((episode, 0));
                Some(Step::Opened(episode))
            }
            (Label::Absent, Some((episode, absent))) => {
                *absent += 1;
                if *absent < self.clear_windows {
                    return None;
                }
                let episode = *episode;
                self.open = None;
                Some(Step::Closed(episode, ClosedBy::Clear))
            }
            (Label::Absent, None) => {
                self.rising = None;
                None
            }
        }
    }

    /// The session ended.
    pub(super) fn end(&mut self) -> Option<Step> {
        self.rising = None;
        self.open.take().map(|(episode, _)| Step::Closed(episode, ClosedBy::SessionEnd))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One window a letter, five seconds each: P, A, U. Gives `+n` for opened with alert, `(+n)` without, `-n` for closed.
    fn run(letters: &str, open_windows: u32, clear_windows: u32, cooldown_secs: i64) -> String {
        let mut episodes = Episodes::new(open_windows, clear_windows, MediaTime::from_millis(cooldown_secs * 1000));
        let mut steps = Vec::new();
        for (n, letter) in (0..).zip(letters.chars()) {
            let label = match letter {
                'P' => Label::Present,
                'A' => Label::Absent,
                _ => Label::Undecided,
            };
            let span = Span::new(MediaTime::from_millis(n * 5000), MediaTime::from_millis(n * 5000 + 5000));
            steps.extend(episodes.window(span, label).map(|step| (n, step)));
        }
        steps.extend(episodes.end().map(|step| (-1, step)));
        let words = steps.iter().map(|(n, step)| match step {
            Step::Opened(episode) if episode.alerted => format!("{n}:+{}", episode.number),
            Step::Opened(episode) => format!("{n}:(+{})", episode.number),
            Step::Closed(e, by) => {
                let (from, to) = (e.span.start().as_secs_f64(), e.span.end().as_secs_f64());
                format!("{n}:-{}[{from}-{to} {}x {by:?}]", e.number, e.present_windows)
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn defaults_open_at_one_and_close_at_two() {
        assert_eq!(run("APAPAAP", 1, 2, 0), "1:+1 5:-1[5-20 2x Clear] 6:+2 -1:-2[30-35 1x SessionEnd]");
    }

    #[test]
    fn undecided_windows_neither_break_a_row_nor_count_in_it() {
        assert_eq!(run("PUPAUUA", 2, 2, 0), "2:+1 6:-1[0-15 2x Clear]");
        assert_eq!(run("UUU", 1, 1, 0), "");
    }

    #[test]
    fn an_absent_window_breaks_a_row_of_present_ones() {
        assert_eq!(run("PAPAPA", 2, 1, 0), "");
        assert_eq!(run("PAPP", 2, 1, 0), "3:+1 -1:-1[10-20 2x SessionEnd]");
    }

    #[test]
    fn the_cooldown_counts_from_the_last_alert_sent() {
        // Openings at 0, 10, 20, 30, 40 s. Were unsent ones counted, nothing after the first would ever be sent.
        let text = run("PAPAPAPAP", 1, 1, 20);
        let opened: Vec<&str> = text.split(' ').filter(|word| word.contains('+')).collect();
        assert_eq!(opened, ["0:+1", "2:(+2)", "4:+3", "6:(+4)", "8:+5"]);
    }
}
