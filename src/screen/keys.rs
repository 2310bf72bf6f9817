//! What is looked at, and the keys that change it.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::State;
use super::window::Key;

/// What the screen shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Page {
    /// All sources.
    #[default]
    Sources,
    /// The selected one.
    Details,
    /// The keys and letters.
    Help,
}

/// How the state is looked at.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The time on the screen's clock.
    pub now: Duration,
    /// With colours.
    pub colour: bool,
    /// A stop was asked for.
    pub stopping: bool,
    /// The newest log lines.
    pub log: Vec<String>,
    /// Which page.
    pub page: Page,
    /// Which source, by its place.
    pub selected: usize,
    /// Which of its windows; None: the newest, whichever that is.
    pub window: Option<Key>,
    /// Which page help was asked for on.
    pub before_help: Page,
}

/// What a key asks of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing beyond another look.
    Look,
    /// To stop, as by Ctrl-C.
    Stop,
    /// To draw everything anew: something else wrote on the terminal.
    Redraw,
}

/// Windows that a page key moves by.
const PAGE: usize = 10;

impl View {
    /// Takes a key.
    pub fn key(&mut self, key: KeyEvent, state: &State) -> Asked {
        if key.kind == KeyEventKind::Release {
            return Asked::Look;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Asked::Stop,
            KeyCode::Char('l') if control => return Asked::Redraw,
            KeyCode::Char(_) if control => {}
            KeyCode::Char('q') => return Asked::Stop,
            _ if self.page == Page::Help => self.page = self.before_help,
            KeyCode::Char('?') => (self.before_help, self.page) = (self.page, Page::Help),
            KeyCode::Char(digit @ '1'..='9') => {
                let at = digit as usize - '1' as usize;
                if at < state.sources().len() {
                    self.select(at);
                    self.page = Page::Details;
                }
            }
            code if self.page == Page::Details => self.in_details(code, state),
            code => self.in_sources(code, state),
        }
        Asked::Look
    }

    fn in_sources(&mut self, code: KeyCode, state: &State) {
        let last = state.sources().len().saturating_sub(1);
        match code {
            KeyCode::Up | KeyCode::Char('k') => self.select(self.selected.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.select((self.selected + 1).min(last)),
            KeyCode::PageUp => self.select(self.selected.saturating_sub(PAGE)),
            KeyCode::PageDown => self.select((self.selected + PAGE).min(last)),
            KeyCode::Home | KeyCode::Char('g') => self.select(0),
            KeyCode::End | KeyCode::Char('G') => self.select(last),
            KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') if !state.sources().is_empty() => {
                self.page = Page::Details;
            }
            _ => {}
        }
    }

    fn in_details(&mut self, code: KeyCode, state: &State) {
        let sources = state.sources().len().max(1);
        match code {
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left | KeyCode::Char('h') => self.page = Page::Sources,
            KeyCode::Tab | KeyCode::Char('n') => self.select((self.selected + 1) % sources),
            KeyCode::BackTab | KeyCode::Char('p') => self.select((self.selected + sources - 1) % sources),
            KeyCode::Down | KeyCode::Char('j') => self.look_back(state, |at| at + 1),
            KeyCode::Up | KeyCode::Char('k') => self.look_back(state, |at| at.saturating_sub(1)),
            KeyCode::PageDown => self.look_back(state, |at| at + PAGE),
            KeyCode::PageUp => self.look_back(state, |at| at.saturating_sub(PAGE)),
            KeyCode::Home | KeyCode::Char('g') => self.window = None,
            KeyCode::End | KeyCode::Char('G') => self.look_back(state, |_| usize::MAX),
            _ => {}
        }
    }

    fn select(&mut self, source: usize) {
        (self.selected, self.window) = (source, None);
    }

    /// Where the window that is looked at stands, counted back from the newest.
    #[must_use]
    pub fn back(&self, state: &State) -> usize {
        let (Some(source), Some(key)) = (state.sources().get(self.selected), self.window) else { return 0 };
        // One that is no longer kept was the oldest.
        source.rows().iter().rev().position(|row| row.key() <= key).unwrap_or(source.rows().len().saturating_sub(1))
    }

    fn look_back(&mut self, state: &State, to: impl Fn(usize) -> usize) {
        let Some(source) = state.sources().get(self.selected) else { return };
        let at = to(self.back(state)).min(source.rows().len().saturating_sub(1));
        // The newest is followed as windows come.
        self.window = if at == 0 { None } else { source.rows().iter().rev().nth(at).map(super::window::Row::key) };
    }
}
