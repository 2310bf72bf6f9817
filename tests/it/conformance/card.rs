//! The scorecard: what was expected, what was measured, whether it is so.

use std::fmt::{Debug, Display};

use comfy_table::{Table, presets};

/// What came of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Ok,
    Wrong,
    /// Measured and stated; nothing is expected.
    Stated,
}

/// All rows so far.
#[derive(Default)]
pub struct Card {
    rows: Vec<(Mark, [String; 5])>,
}

impl Card {
    /// A row of a topic on a server.
    pub fn push(&mut self, on: &str, topic: &str, what: &str, expected: Option<&str>, measured: &str, ok: bool) {
        let mark = match (expected, ok) {
            (None, true) => Mark::Stated,
            (Some(_), true) => Mark::Ok,
            (_, false) => Mark::Wrong,
        };
        let word = if mark == Mark::Wrong { "WRONG" } else { "ok" };
        println!("  {word:5} {topic}: {what}: {measured}");
        let cells = [on, topic, what, expected.unwrap_or("stated"), measured];
        self.rows.push((mark, cells.map(str::to_owned)));
    }

    /// How many are not as expected.
    pub fn wrong(&self) -> usize {
        self.rows.iter().filter(|(mark, _)| *mark == Mark::Wrong).count()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }
}

impl Display for Card {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut table = Table::new();
        table
            .load_style(presets::ASCII_MARKDOWN)
            .force_no_tty()
            .set_header(["server", "check", "expected", "measured", "ok"]);
        for (mark, [on, topic, what, expected, measured]) in &self.rows {
            let word = match mark {
                Mark::Ok => "ok",
                Mark::Wrong => "WRONG",
                Mark::Stated => "-",
            };
            table.add_row([on, &format!("{topic}: {what}"), expected, measured, word]);
        }
        write!(f, "{table}")
    }
}

/// A value as the card shows it.
pub fn shown(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    if text.chars().count() <= 160 { text } else { format!("{}…", text.chars().take(160).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_counted_and_shown() {
        let mut card = Card::default();
        card.push("vllm", "tokens", "video", Some("1500"), "1500", true);
        card.push("vllm", "tokens", "audio", Some("65"), "66", false);
        card.push("swift", "time_scale", "tail", None, "0.1", true);
        assert_eq!((card.len(), card.wrong()), (3, 1));
        let text = card.to_string();
        assert!(text.contains("| 66 ") && text.contains("WRONG") && text.contains("stated"), "{text}");
    }
}
