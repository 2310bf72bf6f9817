//! A table, and its forms. Fractions become per cent here, and nowhere else.

use comfy_table::{CellAlignment, ContentArrangement};

use super::Markup;
use crate::bah::metrics::Interval;

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A count.
    Count(u64),
    /// A fraction, shown in per cent with one decimal; None: not defined.
    Percent(Option<f64>, Option<Interval>),
    /// A number with so many decimals; None: not defined.
    Number(Option<f64>, usize),
    /// A probability of chance.
    P(f64),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl Cell {
    /// As it is read.
    #[must_use]
    pub fn plain(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) => count.to_string(),
            Self::Percent(None, _) | Self::Number(None, _) => "–".into(),
            Self::Percent(Some(value), None) => format!("{:.1}", 100.0 * value),
            Self::Percent(Some(value), Some(interval)) => {
                format!("{:.1} [{:.1}, {:.1}]", 100.0 * value, 100.0 * interval.low, 100.0 * interval.high)
            }
            Self::Number(Some(value), decimals) => format!("{value:.decimals$}"),
            Self::P(p) if *p < 0.001 => "< 0.001".into(),
            Self::P(p) => format!("{p:.3}"),
        }
    }

    const fn is_text(&self) -> bool {
        matches!(self, Self::Text(_))
    }
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Headings of its columns.
    pub head: Vec<String>,
    /// Its rows, each as long as the head.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// With these headings, and no row yet.
    #[must_use]
    pub fn new<'a>(head: impl IntoIterator<Item = &'a str>) -> Self {
        Self { head: head.into_iter().map(str::to_owned).collect(), rows: Vec::new() }
    }

    /// One more row.
    pub fn push(&mut self, row: impl IntoIterator<Item = Cell>) {
        self.rows.push(row.into_iter().collect());
    }

    /// Whether a column holds words, and so begins at its left.
    #[must_use]
    pub fn is_text(&self, column: usize) -> bool {
        self.rows.iter().any(|row| row.get(column).is_some_and(Cell::is_text))
    }

    /// In one of the forms.
    #[must_use]
    pub fn render(&self, markup: Markup) -> String {
        match markup {
            Markup::Text => self.text(),
            Markup::Markdown => self.markdown(),
            Markup::Latex => self.latex(),
        }
    }

    fn text(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::UTF8_FULL_CONDENSED).force_no_tty();
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(&self.head);
        for row in &self.rows {
            table.add_row(row.iter().map(Cell::plain));
        }
        for (column, shown) in table.column_iter_mut().enumerate() {
            if !self.is_text(column) {
                shown.set_cell_alignment(CellAlignment::Right);
            }
        }
        format!("{table}\n")
    }

    fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = line(self.head.iter().map(|head| markdown(head)).collect());
        let rules = (0..self.head.len()).map(|column| if self.is_text(column) { "---" } else { "---:" }.to_owned());
        text += &line(rules.collect());
        for row in &self.rows {
            text += &line(row.iter().map(|cell| markdown(&cell.plain())).collect());
        }
        text
    }

    fn latex(&self) -> String {
        let columns: String = (0..self.head.len()).map(|column| if self.is_text(column) { 'l' } else { 'r' }).collect();
        let line = |cells: Vec<String>| format!("{} \\\\\n", cells.join(" & "));
        let mut text = format!("\\begin{{tabular}}{{{columns}}}\n\\toprule\n");
        text += &line(self.head.iter().map(|head| latex(head)).collect());
        text += "\\midrule\n";
        for row in &self.rows {
            text += &line(row.iter().map(|cell| latex(&cell.plain())).collect());
        }
        text + "\\bottomrule\n\\end{tabular}\n"
    }
}

/// Text as Markdown would show it in a cell.
#[must_use]
pub fn markdown(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '|' | '`' | '*' | '_' | '<' | '\\' => escaped.extend(['\\', c]),
            '\n' | '\r' => escaped.push(' '),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Text as LaTeX would set it.
#[must_use]
pub fn latex(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => escaped.extend(['\\', c]),
            '~' => escaped += "\\textasciitilde{}",
            '^' => escaped += "\\textasciicircum{}",
            '\\' => escaped += "\\textbackslash{}",
            '<' => escaped += "$<$",
            '>' => escaped += "$>$",
            '–' => escaped += "--",
            '\n' | '\r' => escaped.push(' '),
            _ => escaped.push(c),
        }
    }
    escaped
}
