//! The books of a session: every nanosecond of it is exactly one [`Account`].

use std::collections::BTreeMap;

use crate::judge::{DropReason, Label, LostReason, SkipReason};
use crate::time::{MediaTime, Span};

/// What became of a stretch of a session. The order is the precedence where spans overlap: the first wins. It is fixed
/// among reasons too, so that the books do not depend on what arrives first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// Judged, and the window is Present.
    Present,
    /// Judged, and the window is Absent.
    Absent,
    /// Judged by at least one judge, without a majority.
    Undecided,
    /// Not sent: the gate found nothing worth asking about.
    SkippedGate,
    /// Not sent: every judge's session max is Present already.
    SkippedEarlyStop,
    /// Not sent: the session was paused.
    SkippedPaused,
    /// Cut and not judged: newer windows were waiting.
    DroppedOverload,
    /// Not judged, or not even cut, when the session ended.
    DroppedShutdown,
    /// Lost: under half of a stream that the source has.
    LostMissingMedia,
    /// Lost: every judge that was asked abstained.
    LostAllAbstained,
    /// Lost: the source was away.
    LostOutage,
    /// Time no window covers, at the end of a continuity.
    Tail,
}

impl Account {
    /// All of them, in order of precedence.
    pub const ALL: [Self; 12] = [
        Self::Present,
        Self::Absent,
        Self::Undecided,
        Self::SkippedGate,
        Self::SkippedEarlyStop,
        Self::SkippedPaused,
        Self::DroppedOverload,
        Self::DroppedShutdown,
        Self::LostMissingMedia,
        Self::LostAllAbstained,
        Self::LostOutage,
        Self::Tail,
    ];

    /// Of a judged window.
    #[must_use]
    pub const fn of_label(label: Label) -> Self {
        match label {
            Label::Present => Self::Present,
            Label::Absent => Self::Absent,
            Label::Undecided => Self::Undecided,
        }
    }

    /// Of skipped time.
    #[must_use]
    pub const fn of_skip(reason: &SkipReason) -> Self {
        match reason {
            SkipReason::Gate(_) => Self::SkippedGate,
            SkipReason::EarlyStop => Self::SkippedEarlyStop,
            SkipReason::Paused => Self::SkippedPaused,
        }
    }

    /// Of dropped time.
    #[must_use]
    pub const fn of_drop(reason: DropReason) -> Self {
        match reason {
            DropReason::Overload => Self::DroppedOverload,
            DropReason::Shutdown => Self::DroppedShutdown,
        }
    }

    /// Of lost time.
    #[must_use]
    pub const fn of_loss(reason: LostReason) -> Self {
        match reason {
            LostReason::Outage => Self::LostOutage,
            LostReason::MissingMedia => Self::LostMissingMedia,
            LostReason::AllAbstained => Self::LostAllAbstained,
        }
    }
}

/// Time per [`Account`]; the sums are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books([MediaTime; Account::ALL.len()]);

impl Books {
    /// Time on one account.
    #[must_use]
    pub const fn of(&self, account: Account) -> MediaTime {
        self.0[account as usize]
    }

    /// Time on several accounts.
    #[must_use]
    pub fn sum(&self, accounts: &[Account]) -> MediaTime {
        accounts.iter().fold(MediaTime::ZERO, |sum, account| sum + self.of(*account))
    }

    /// Present, Absent and Undecided: at least one judge voted.
    #[must_use]
    pub fn judged(&self) -> MediaTime {
        self.sum(&[Account::Present, Account::Absent, Account::Undecided])
    }

    /// Left out by choice.
    #[must_use]
    pub fn skipped(&self) -> MediaTime {
        self.sum(&[Account::SkippedGate, Account::SkippedEarlyStop, Account::SkippedPaused])
    }

    /// Left out for want of time.
    #[must_use]
    pub fn dropped(&self) -> MediaTime {
        self.sum(&[Account::DroppedOverload, Account::DroppedShutdown])
    }

    /// Could not be judged.
    #[must_use]
    pub fn lost(&self) -> MediaTime {
        self.sum(&[Account::LostMissingMedia, Account::LostAllAbstained, Account::LostOutage])
    }

    /// Covered by no window.
    #[must_use]
    pub const fn tail(&self) -> MediaTime {
        self.of(Account::Tail)
    }

    /// Everything on the books.
    #[must_use]
    pub fn total(&self) -> MediaTime {
        self.sum(&Account::ALL)
    }
}

/// Spans with their accounts, resolved by precedence as they come, in any order.
///
/// What is settled (nothing that could change it can come any more) is kept as sums only, so memory holds the windows in
/// flight and not the session.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    /// start -> (end, account): disjoint, neighbours that touch differ.
    open: BTreeMap<MediaTime, (MediaTime, Account)>,
    /// Everything before is on the books for good.
    settled: MediaTime,
    extent: MediaTime,
    books: Books,
}

impl Coverage {
    /// The sums so far.
    pub(super) fn books(&self) -> Books {
        self.books
    }

    /// The latest end of any span so far.
    pub(super) fn extent(&self) -> MediaTime {
        self.extent
    }

    /// Puts a span on an account, where no account of higher precedence has it.
    pub(super) fn add(&mut self, span: Span, account: Account) {
        self.extent = self.extent.max(span.end());
        let (start, end) = (span.start().max(self.settled), span.end());
        if end <= start {
            return;
        }
        self.cut_at(start);
        self.cut_at(end);
        let inside: Vec<(MediaTime, (MediaTime, Account))> =
            self.open.range(start..end).map(|(s, v)| (*s, *v)).collect();
        let mut at = start;
        for (s, (e, old)) in inside {
            self.put(at, s, account);
            self.put(s, e, old.min(account));
            at = e;
        }
        self.put(at, end, account);
        self.merge(start, end);
    }

    /// The stretches of `0..until` on no account.
    pub(super) fn gaps(&self, until: MediaTime) -> Vec<Span> {
        let mut gaps = Vec::new();
        let mut at = self.settled;
        for (&start, &(end, _)) in &self.open {
            gaps.push(Span::new(at.min(until), start.min(until)));
            at = end;
        }
        gaps.push(Span::new(at.min(until), until));
        gaps.retain(|gap| !gap.is_empty());
        gaps
    }

    /// No window that starts before `horizon` will come any more: the books up to there, or up to the first gap if that is
    /// earlier (time outside windows may be told later), are closed.
    pub(super) fn settle(&mut self, horizon: MediaTime) {
        while let Some(first) = self.open.first_entry() {
            let (start, (end, account)) = (*first.key(), *first.get());
            if start > self.settled || start >= horizon {
                return;
            }
            first.remove();
            if end > horizon {
                self.settled = horizon;
                self.open.insert(horizon, (end, account));
                return;
            }
            self.settled = end;
        }
    }

    /// How many stretches are held.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        self.open.len()
    }

    /// Writes one stretch that lies within one old stretch or one gap.
    fn put(&mut self, start: MediaTime, end: MediaTime, account: Account) {
        if end <= start {
            return;
        }
        if let Some((old_end, old)) = self.open.insert(start, (end, account)) {
            self.books.0[old as usize] -= old_end - start;
        }
        self.books.0[account as usize] += end - start;
    }

    fn cut_at(&mut self, at: MediaTime) {
        let Some((&start, &(end, account))) = self.open.range(..at).next_back() else { return };
        if end > at {
            self.open.insert(start, (at, account));
            self.open.insert(at, (end, account));
        }
    }

    /// Joins equal neighbours from the one before `start` to the one after `end`.
    fn merge(&mut self, start: MediaTime, end: MediaTime) {
        let from = self.open.range(..start).next_back().map_or(start, |(s, _)| *s);
        let touched: Vec<(MediaTime, (MediaTime, Account))> =
            self.open.range(from..=end).map(|(s, v)| (*s, *v)).collect();
        let mut last: Option<(MediaTime, (MediaTime, Account))> = None;
        for (s, (e, account)) in touched {
            if let Some((first, (joint, same))) = last
                && joint == s
                && same == account
            {
                self.open.remove(&s);
                self.open.insert(first, (e, account));
                last = Some((first, (e, account)));
            } else {
                last = Some((s, (e, account)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(start: i64, end: i64) -> Span {
        Span::new(MediaTime::from_nanos(start), MediaTime::from_nanos(end))
    }

    proptest! {
        /// Against a model of one cell a nanosecond.
        #[test]
        fn the_books_are_those_of_the_cells(spans in prop::collection::vec((0_i64..60, 0_i64..12, 0_usize..12), 0..40)) {
            let mut coverage = Coverage::default();
            let mut cells: Vec<Option<Account>> = vec![None; 80];
            for (start, length, account) in spans {
                let account = Account::ALL[account];
                coverage.add(span(start, start + length), account);
                for cell in start..start + length {
                    let cell = &mut cells[usize::try_from(cell).unwrap()];
                    *cell = Some(cell.map_or(account, |old| old.min(account)));
                }
                for account in Account::ALL {
                    let expected = i64::try_from(cells.iter().filter(|c| **c == Some(account)).count()).unwrap();
                    prop_assert_eq!(coverage.books().of(account).as_nanos(), expected);
                }
                let empty = i64::try_from(cells.iter().filter(|c| c.is_none()).count()).unwrap();
                let gaps = coverage.gaps(MediaTime::from_nanos(80));
                prop_assert_eq!(gaps.iter().map(|gap| gap.length().as_nanos()).sum::<i64>(), empty);
                let runs = cells.chunk_by(|a, b| a == b).filter(|run| run[0].is_some()).count();
                prop_assert_eq!(coverage.footprint(), runs, "neighbours are merged");
            }
        }

        /// Windows in order, half overlapping: settling after each changes no sum.
        #[test]
        fn settling_changes_no_sum(accounts in prop::collection::vec(0_usize..12, 1..60), skip in 0_usize..60) {
            let (mut plain, mut settled) = (Coverage::default(), Coverage::default());
            let mut start = 0;
            for (n, account) in accounts.into_iter().enumerate() {
                if n != skip {
                    plain.add(span(start, start + 10), Account::ALL[account]);
                    settled.add(span(start, start + 10), Account::ALL[account]);
                    settled.settle(MediaTime::from_nanos(start));
                }
                start += 5;
            }
            let until = MediaTime::from_nanos(start + 5);
            prop_assert_eq!(plain.books(), settled.books());
            prop_assert_eq!(plain.gaps(until), settled.gaps(until));
        }
    }
}
