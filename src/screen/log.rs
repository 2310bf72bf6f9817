//! Log lines while the live screen is up: they would tear it, so they wait here and the newest are shown on it. Warnings
//! and errors are written to stderr once it is down.
//!
//! Logging is one for the whole process, hence the one static.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that the screen can show.
const SHOWN: usize = 100;
/// Warnings and errors that wait for the screen's end; older ones are counted.
const WAITING: usize = 1000;

#[derive(Debug)]
struct Held {
    /// The screen is up.
    up: bool,
    /// Lines are written at once as well: stderr is no terminal, and tears nothing.
    at_once: bool,
    shown: VecDeque<String>,
    waiting: VecDeque<String>,
    left_out: usize,
}

static HELD: Mutex<Held> =
    Mutex::new(Held { up: false, at_once: false, shown: VecDeque::new(), waiting: VecDeque::new(), left_out: 0 });

fn held() -> MutexGuard<'static, Held> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From here on lines are held back. `at_once`: they are written to stderr all the same, which is not this terminal.
pub fn hold(at_once: bool) {
    *held() = Held { up: true, at_once, shown: VecDeque::new(), waiting: VecDeque::new(), left_out: 0 };
}

/// Ends [`hold`] and gives the warnings and errors that have not been written yet, as text.
#[must_use]
pub fn release() -> String {
    let mut held = held();
    held.up = false;
    let left_out = match std::mem::take(&mut held.left_out) {
        0 => String::new(),
        n => format!("({n} earlier warnings are left out)\n"),
    };
    left_out + &held.waiting.drain(..).collect::<String>()
}

/// The newest lines, oldest first, cleaned for the screen.
#[must_use]
pub fn newest(lines: usize) -> Vec<String> {
    let held = held();
    held.shown.iter().skip(held.shown.len().saturating_sub(lines)).cloned().collect()
}

/// Takes a warning that is no log line, such as a panic's message. False: the screen is not up, say it otherwise.
#[must_use]
pub fn take(text: &str) -> bool {
    let mut held = held();
    held.up && held.put(text, true).is_ok()
}

impl Held {
    fn put(&mut self, text: &str, warning: bool) -> io::Result<()> {
        for line in text.lines() {
            keep(&mut self.shown, without_date(super::text::clean(line)), SHOWN);
        }
        if self.at_once {
            return io::stderr().write_all(text.as_bytes());
        }
        if warning && keep(&mut self.waiting, text.to_owned(), WAITING) {
            self.left_out += 1;
        }
        Ok(())
    }
}

/// A line that begins with RFC 3339 keeps its time of day, which is enough on a screen.
fn without_date(line: String) -> String {
    let stamp = line.split_once(' ').filter(|(stamp, _)| stamp.parse::<jiff::Timestamp>().is_ok());
    match stamp.and_then(|(stamp, rest)| Some((stamp.get(11..19)?, rest))) {
        Some((time, rest)) => format!("{time} {}", rest.trim_start()),
        None => line,
    }
}

/// Whether an older one had to go.
fn keep(lines: &mut VecDeque<String>, line: String, most: usize) -> bool {
    lines.push_back(line);
    let full = lines.len() > most;
    if full {
        lines.pop_front();
    }
    full
}

/// Where log lines go: stderr, or what is held while the screen is up.
#[derive(Clone, Copy, Debug)]
pub struct Logs;

/// One log line on its way.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    warning: bool,
}

impl MakeWriter<'_> for Logs {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line { warning: true }
    }

    fn make_writer_for(&self, meta: &Metadata<'_>) -> Line {
        Line { warning: *meta.level() <= Level::WARN }
    }
}

impl Write for Line {
    /// The whole line: the formatter writes each at once.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut held = held();
        if held.up {
            held.put(&String::from_utf8_lossy(line), self.warning)?;
        } else {
            // Written outside the lock: stderr may stall.
            drop(held);
            io::stderr().write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty(at_once: bool) -> Held {
        Held { up: true, at_once, shown: VecDeque::new(), waiting: VecDeque::new(), left_out: 0 }
    }

    #[test]
    fn lines_are_shown_and_only_warnings_wait() {
        let mut held = empty(false);
        held.put("\u{1b}[33mWARN\u{1b}[0m camera away\n", true).unwrap();
        held.put("\u{1b}[2m2026-01-02T03:04:05.678901Z\u{1b}[0m DEBUG a window\n", false).unwrap();
        assert_eq!(held.shown, ["WARN camera away", "03:04:05 DEBUG a window"]);
        assert_eq!(held.waiting, ["\u{1b}[33mWARN\u{1b}[0m camera away\n"]);
    }

    #[test]
    fn both_are_bounded_and_what_is_left_out_is_counted() {
        let mut held = empty(false);
        for n in 0..WAITING + 5 {
            held.put(&format!("{n}\n"), true).unwrap();
        }
        assert_eq!((held.shown.len(), held.waiting.len(), held.left_out), (SHOWN, WAITING, 5));
        assert_eq!(held.waiting[0], "5\n");
    }
}
