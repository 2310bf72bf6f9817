//! One window on the screen: a cell of its source's line, and a row of its details.

use std::time::Duration;

use super::text::clean;
use crate::alert::stdout::{drop_reason, skip_reason, vote};
use crate::alert::{Event, EventKind, LostTime, WindowQuality};
use crate::judge::{Answer, Label, LostReason, Vote, WindowId};
use crate::time::{MediaTime, Span};

/// What became of a window. Each has a letter of its own, so that none needs its colour to be told from the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Judged Present.
    Present,
    /// Judged Absent.
    Absent,
    /// Judged, without a majority.
    Undecided,
    /// Left out by choice.
    Skipped,
    /// Left out for want of time.
    Dropped,
    /// Could not be judged.
    Lost,
    /// The rest of a continuity; on the books, and no window.
    Tail,
}

impl Cell {
    /// Those that windows have, in the order of the legend.
    pub const SHOWN: [Self; 6] =
        [Self::Present, Self::Absent, Self::Undecided, Self::Skipped, Self::Dropped, Self::Lost];

    /// Its letter: capitals were judged, the others were not.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Present => 'P',
            Self::Absent => 'A',
            Self::Undecided => 'U',
            Self::Skipped => 's',
            Self::Dropped => 'd',
            Self::Lost => 'x',
            Self::Tail => 't',
        }
    }

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Undecided => "undecided",
            Self::Skipped => "skipped",
            Self::Dropped => "dropped",
            Self::Lost => "lost",
            Self::Tail => "tail",
        }
    }
}

impl From<Label> for Cell {
    fn from(label: Label) -> Self {
        match label {
            Label::Present => Self::Present,
            Label::Absent => Self::Absent,
            Label::Undecided => Self::Undecided,
        }
    }
}

/// A window, or a stretch outside windows, with what was said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Which window; None: time outside windows.
    pub window: Option<WindowId>,
    /// Its span in session time.
    pub span: Span,
    /// What became of it.
    pub cell: Cell,
    /// Why it was not judged; empty if it was.
    pub reason: String,
    /// What each judge said, in a few words.
    pub votes: Vec<String>,
    /// Why a judge abstained, in a sentence, for those that did.
    pub abstentions: Vec<String>,
    /// What is odd about the window.
    pub odd: Vec<String>,
    /// How complete it was, in words.
    pub complete: String,
    /// The slowest judge's time; None if no judge was asked.
    pub latency: Option<Duration>,
}

/// What tells rows apart, in their order.
pub type Key = (MediaTime, Option<WindowId>);

impl Row {
    /// Of an event about a window or a stretch of time; None of any other.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let none: &[Vote] = &[];
        let (window, cell, reason, votes, quality) = match &event.kind {
            EventKind::WindowJudged(judged) => {
                (Some(judged.window), judged.label.into(), String::new(), &*judged.votes, judged.quality)
            }
            EventKind::WindowSkipped(of, reason) => (of.window, Cell::Skipped, skip_reason(reason), none, of.quality),
            EventKind::WindowDropped(of, reason) => {
                (of.window, Cell::Dropped, drop_reason(*reason).to_owned(), none, of.quality)
            }
            EventKind::WindowLost(of, LostTime::Lost(reason)) => {
                (of.window, Cell::Lost, lost_reason(*reason).to_owned(), &*of.votes, of.quality)
            }
            EventKind::WindowLost(of, LostTime::Tail) => (of.window, Cell::Tail, String::new(), none, of.quality),
            _ => return None,
        };
        let sentence = |vote: &Vote| match &vote.answer {
            Answer::Abstained(why) if !why.detail.is_empty() => Some(clean(&format!("{}: {}", vote.judge, why.detail))),
            _ => None,
        };
        let mut odd = quality.and_then(|quality| quality.flags).map_or_else(Vec::new, |flags| flags.words());
        if quality.is_some_and(|quality| !quality.full) {
            odd.insert(0, "partial".to_owned());
        }
        Some(Self {
            window,
            span: event.span,
            cell,
            reason: clean(&reason),
            votes: votes.iter().map(|of| clean(&vote(of))).collect(),
            abstentions: votes.iter().filter_map(sentence).collect(),
            odd,
            complete: quality.map_or_else(String::new, complete),
            latency: votes.iter().filter(|vote| vote.answer != Answer::NotAsked).map(|vote| vote.latency).max(),
        })
    }

    /// Its place among the others.
    #[must_use]
    pub fn key(&self) -> Key {
        (self.span.start(), self.window)
    }
}

const fn lost_reason(reason: LostReason) -> &'static str {
    match reason {
        LostReason::Outage => "source away",
        LostReason::MissingMedia => "media missing",
        LostReason::AllAbstained => "nobody answered",
    }
}

/// `pictures 124 of 125, 0.020 s of sound missing`
fn complete(quality: WindowQuality) -> String {
    let pictures = format!("pictures {} of {}", quality.pictures_seen, quality.pictures_expected);
    let sound = match quality.sound_missing {
        None => "no sound".to_owned(),
        Some(MediaTime::ZERO) => "all of the sound".to_owned(),
        Some(missing) => format!("{missing} of sound missing"),
    };
    let refused = if quality.refused > 0 { format!(", {} frames refused", quality.refused) } else { String::new() };
    format!("{pictures}, {sound}{refused}")
}
