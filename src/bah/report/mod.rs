//! Scores for people: tables as text, Markdown, LaTeX and CSV, and one HTML page that works offline.
//!
//! - [`table`]: a table, and its forms. `sections`: which tables there are; findings stand above them.
//! - `csv`: every metric, a line each, as fractions.
//! - `html`: the page; `chart`: its curves; `timeline`: its videos.

mod chart;
mod csv;
mod html;
mod sections;
pub mod table;
mod timeline;

use super::score::{Between, Scored};

pub use csv::csv;
pub use html::html;
pub use sections::{Section, sections};

/// What tables are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Markup {
    /// For a terminal.
    Text,
    /// GitHub's Markdown.
    Markdown,
    /// `tabular`s with booktabs' rules.
    Latex,
}

/// All tables of these runs.
#[must_use]
pub fn tables(runs: &[Scored], between: &[Between], markup: Markup) -> String {
    let mut text = String::new();
    for scored in runs {
        for section in sections(scored) {
            text += &section.render(markup);
        }
    }
    if let Some(section) = sections::comparison(between) {
        text += &section.render(markup);
    }
    text
}

#[cfg(test)]
mod tests;
