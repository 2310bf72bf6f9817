//! Colours. Without them everything is told apart by letters and words all the same.

use ratatui::style::{Color, Modifier, Style};

use super::source::Phase;
use super::window::Cell;

/// Whether there is colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paint(pub bool);

impl Paint {
    fn coloured(self, style: Style) -> Style {
        if self.0 { style } else { Style { fg: None, bg: None, ..style } }
    }

    /// Of a window, or of a label.
    #[must_use]
    pub fn cell(self, cell: Cell) -> Style {
        let plain = Style::new();
        self.coloured(match cell {
            Cell::Present => plain.fg(Color::White).bg(Color::Red).add_modifier(Modifier::BOLD),
            Cell::Absent => plain.fg(Color::Black).bg(Color::Green),
            Cell::Undecided => plain.fg(Color::Black).bg(Color::Yellow),
            Cell::Skipped => plain.fg(Color::Blue),
            Cell::Dropped => plain.fg(Color::Magenta).add_modifier(Modifier::BOLD),
            Cell::Lost => plain.fg(Color::White).bg(Color::DarkGray),
            Cell::Tail => self.quiet(),
        })
    }

    /// Of where a source stands.
    #[must_use]
    pub fn phase(self, phase: &Phase) -> Style {
        self.coloured(match phase {
            Phase::Live => Style::new().fg(Color::Green),
            Phase::Away { .. } => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
            Phase::Waiting | Phase::Paused | Phase::Withdrawn => Style::new().fg(Color::Yellow),
            Phase::Ended => self.quiet(),
        })
    }

    /// Of what is wrong.
    #[must_use]
    pub fn wrong(self) -> Style {
        self.coloured(Style::new().fg(Color::Red))
    }

    /// Of headings.
    #[must_use]
    pub fn heading(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Of what need not be read.
    #[must_use]
    pub fn quiet(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }
}
