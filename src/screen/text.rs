//! Words and widths of the live screen. What comes from outside is cleaned, and cut to columns rather than to characters.

use std::time::Duration;

use ratatui::style::Style;
use ratatui::text::Span;

use crate::time::MediaTime;

/// Text from outside on one line: no control characters, no escape sequences, nothing that turns the direction of writing
/// or has no width, all of which would tear the screen.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            // A CSI sequence (colours, cursor) goes as a whole: ESC [ parameters, up to its final byte.
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                while chars.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {}
            }
            '\t' => clean.push(' '),
            c if c.is_control() || turns_or_hides(c) => clean.push('\u{fffd}'),
            c => clean.push(c),
        }
    }
    clean
}

/// Marks of direction, and characters without width that join nothing.
fn turns_or_hides(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Columns that a text takes.
#[must_use]
pub fn width(text: &str) -> usize {
    Span::raw(text).width()
}

fn graphemes(text: &str) -> Vec<String> {
    Span::raw(text).styled_graphemes(Style::default()).map(|grapheme| grapheme.symbol.to_owned()).collect()
}

/// The beginning of a text in at most so many columns; `…` says that there is more.
#[must_use]
pub fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    taken(graphemes(text).into_iter(), room).concat() + "\u{2026}"
}

/// The end of a text in at most so many columns: names and addresses differ at their ends.
#[must_use]
pub fn fit_end(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let mut end = taken(graphemes(text).into_iter().rev(), room);
    end.push("\u{2026}".to_owned());
    end.reverse();
    end.concat()
}

fn taken(graphemes: impl Iterator<Item = String>, columns: usize) -> Vec<String> {
    let mut room = columns;
    let fits = |grapheme: &String| {
        let left = room.checked_sub(width(grapheme));
        room = left.unwrap_or(0);
        left.is_some()
    };
    graphemes.take_while(fits).collect()
}

/// A text in exactly so many columns, from the left.
#[must_use]
pub fn padded(text: &str, columns: usize) -> String {
    let mut text = fit(text, columns);
    text.push_str(&" ".repeat(columns.saturating_sub(width(&text))));
    text
}

/// A text in exactly so many columns, from the right.
#[must_use]
pub fn right(text: &str, columns: usize) -> String {
    let text = fit(text, columns);
    " ".repeat(columns.saturating_sub(width(&text))) + &text
}

/// A text in lines of at most so many columns, broken between words; a word that is longer is cut.
#[must_use]
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let word = fit(word, columns);
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            *line = word;
        } else if width(line) + 1 + width(&word) <= columns {
            line.push(' ');
            line.push_str(&word);
        } else {
            lines.push(word);
        }
    }
    lines
}

/// `0:07`, `12:34`, `1:02:03`; from 100 hours on `101 h`.
#[must_use]
pub fn brief(time: Duration) -> String {
    let secs = time.as_secs();
    match (secs / 3600, secs / 60 % 60, secs % 60) {
        (0, minutes, secs) => format!("{minutes}:{secs:02}"),
        (hours @ 1..100, minutes, secs) => format!("{hours}:{minutes:02}:{secs:02}"),
        (hours, ..) => format!("{hours} h"),
    }
}

/// [`brief`], of session time.
#[must_use]
pub fn brief_media(time: MediaTime) -> String {
    brief(time.as_duration())
}

/// `0.3 s`, `12 s`.
#[must_use]
pub fn latency(time: Duration) -> String {
    let secs = time.as_secs_f64();
    if secs < 9.95 { format!("{secs:.1} s") } else { format!("{secs:.0} s") }
}

/// A share in whole percent, rounded down, so that 100 % is said of all of it only.
#[must_use]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100")]
pub fn percent(share: f64) -> String {
    format!("{} %", (share * 100.0 + 1e-9).clamp(0.0, 100.0) as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_drives_a_terminal_is_taken_out() {
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m and\u{1b}]0;title\u{7}"), "red and\u{fffd}]0;title\u{fffd}");
        assert_eq!(clean("a\nb\tc\u{202e}d\u{9b}2J"), "a\u{fffd}b c\u{fffd}d\u{fffd}2J");
        assert_eq!(clean("\u{1b}["), "");
    }

    #[test]
    fn columns_are_counted_not_characters() {
        assert_eq!(
            (width("会議室"), fit("会議室", 5), fit("会議室", 4)),
            (6, "会議\u{2026}".into(), "会\u{2026}".into())
        );
        assert_eq!(
            (fit_end("会議室", 5), fit_end("rtsp://cam/one", 8)),
            ("\u{2026}議室".into(), "\u{2026}cam/one".into())
        );
        assert_eq!((fit("abc", 0), fit_end("abc", 1)), (String::new(), "\u{2026}".into()));
    }

    #[test]
    fn times_and_shares_are_short() {
        let at = |secs| brief(Duration::from_secs(secs));
        assert_eq!([at(7), at(754), at(3_723), at(363_600)], ["0:07", "12:34", "1:02:03", "101 h"]);
        assert_eq!([percent(0.999), percent(1.0), percent(0.29), percent(f64::NAN)], ["99 %", "100 %", "29 %", "0 %"]);
        assert_eq!([latency(Duration::from_millis(9_940)), latency(Duration::from_millis(19_960))], ["9.9 s", "20 s"]);
    }

    proptest! {
        #[test]
        fn any_text_comes_out_clean_and_in_its_columns(text in any::<String>(), columns in 0_usize..40) {
            let text = clean(&text);
            prop_assert!(!text.chars().any(|c| c.is_control() || turns_or_hides(c)), "{text:?}");
            for cut in [fit(&text, columns), fit_end(&text, columns)] {
                prop_assert!(width(&cut) <= columns, "{cut:?}");
            }
            prop_assert!(wrapped(&text, columns).iter().all(|line| width(line) <= columns));
            prop_assert_eq!(width(&padded(&text, columns)), columns);
            prop_assert_eq!(width(&right(&text, columns)), columns);
        }
    }
}
