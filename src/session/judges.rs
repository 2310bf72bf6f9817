//! What a session keeps of its judges: counts, coverage and the running max of each.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ranges::Ranges;
use super::{JudgeSummary, SessionSettings};
use crate::judge::tally::{self, Share};
use crate::judge::{AbstentionReason, Answer, Label, Usage, Vote};
use crate::time::{MediaTime, Span};

/// The panel of a session.
#[derive(Debug)]
pub(super) struct Judges {
    books: Vec<JudgeBook>,
    min_coverage: Share,
    /// Whether a judge was ever left out by early stop.
    pub(super) any_left_out: bool,
}

#[derive(Debug)]
struct JudgeBook {
    name: Arc<str>,
    present: u32,
    absent: u32,
    not_asked: u32,
    abstained: BTreeMap<AbstentionReason, u32>,
    /// Spans of windows it voted on.
    covered: Ranges,
    usage: Usage,
}

impl JudgeBook {
    fn max(&self, countable: MediaTime, min_coverage: Share) -> Label {
        tally::max_over_time(self.present > 0, self.covered.length(), countable, min_coverage)
    }
}

impl Judges {
    pub(super) fn new(settings: &SessionSettings) -> Self {
        let book = |name: &Arc<str>| JudgeBook {
            name: name.clone(),
            present: 0,
            absent: 0,
            not_asked: 0,
            abstained: BTreeMap::new(),
            covered: Ranges::default(),
            usage: Usage::default(),
        };
        Self {
            books: settings.judges.iter().map(book).collect(),
            min_coverage: Share::new(settings.min_coverage),
            any_left_out: false,
        }
    }

    /// Whether a judge's max is Present already.
    pub(super) fn is_present(&self, judge: &str) -> bool {
        self.books.iter().any(|book| &*book.name == judge && book.present > 0)
    }

    /// Counts the votes on one window.
    pub(super) fn count(&mut self, span: Span, votes: &[Vote]) {
        for book in &mut self.books {
            let vote = tally::vote_of(&book.name, votes);
            if let Some(vote) = vote {
                book.usage.add(vote);
            }
            match vote.map(|vote| &vote.answer) {
                Some(Answer::Present) => {
                    book.present += 1;
                    book.covered.add(span);
                }
                Some(Answer::Absent) => {
                    book.absent += 1;
                    book.covered.add(span);
                }
                Some(Answer::NotAsked) => {
                    book.not_asked += 1;
                    self.any_left_out = true;
                }
                Some(Answer::Abstained(abstention)) => *book.abstained.entry(abstention.reason).or_default() += 1,
                None => {}
            }
        }
    }

    /// Each judge's session max, in panel order.
    pub(super) fn maxima(&self, countable: MediaTime) -> Vec<(Arc<str>, Label)> {
        self.books.iter().map(|book| (book.name.clone(), book.max(countable, self.min_coverage))).collect()
    }

    /// The majority of the maxima.
    pub(super) fn vote_of_max(&self, countable: MediaTime) -> Label {
        tally::vote_of_max(self.books.iter().map(|book| book.max(countable, self.min_coverage)))
    }

    /// The label of windows' majorities over time.
    pub(super) fn max_of_vote(&self, any_present: bool, absent: MediaTime, countable: MediaTime) -> Label {
        // A judge left out might have turned a window to Present: without its votes nobody can call the session Absent.
        let absent = if self.any_left_out { MediaTime::ZERO } else { absent };
        tally::max_over_time(any_present, absent, countable, self.min_coverage)
    }

    pub(super) fn summaries(&self, countable: MediaTime) -> Vec<JudgeSummary> {
        let summary = |book: &JudgeBook| JudgeSummary {
            judge: book.name.clone(),
            max: book.max(countable, self.min_coverage),
            present: book.present,
            absent: book.absent,
            not_asked: book.not_asked,
            abstained: book.abstained.clone(),
            covered: book.covered.length(),
            usage: book.usage,
        };
        self.books.iter().map(summary).collect()
    }

    /// No window that starts before `horizon` will be counted any more.
    pub(super) fn settle(&mut self, horizon: MediaTime) {
        for book in &mut self.books {
            book.covered.settle(horizon);
        }
    }

    /// How many stretches are held.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        self.books.iter().map(|book| book.covered.footprint()).sum()
    }
}
