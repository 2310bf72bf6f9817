//! The scorecard: what was expected, what was measured, whether it is so.

use std::fmt::{Debug, Display, Write as _};

use comfy_table::{Table, presets};

/// What came of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Ok,
    Wrong,
    /// Measured and stated; nothing is expected.
    Stated,
}

impl Mark {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Wrong => "WRONG",
            Self::Stated => "-",
        }
    }
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

    /// As a page of the documentation, a table a server. `when` is the day, `versions` what ran.
    pub fn page(&self, when: &str, versions: &str) -> String {
        let mut text = format!(
            "# What `make conformance` said\n\nWritten by `make conformance RECORD=1`, which keeps a run from start to end in which all is as expected. \
             {when}: {versions}. {} rows.\n\nWhat each topic proves, and what none can (a GPU, real weights, accuracy), is in \
             [tests/conformance](../tests/conformance/README.md). `-` is measured and stated; nothing is expected of it.\n",
            self.rows.len()
        );
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let mut on = "";
        for (mark, [server, topic, what, expected, measured]) in &self.rows {
            if on != server {
                let _ = write!(text, "\n## {server}\n\n| check | expected | measured | |\n|---|---|---|---|\n");
                on = server;
            }
            let (what, expected, measured) = (cell(what), cell(expected), cell(measured));
            let _ = writeln!(text, "| {topic}: {what} | {expected} | {measured} | {} |", mark.word());
        }
        text
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
            table.add_row([on, &format!("{topic}: {what}"), expected, measured, mark.word()]);
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
        let page = card.page("2026-01-02", "vLLM 1");
        assert!(page.contains("## vllm\n") && page.contains("| tokens: audio | 65 | 66 | WRONG |"), "{page}");
        assert!(page.contains("2026-01-02: vLLM 1. 3 rows") && page.matches("## ").count() == 2, "{page}");
    }
}
