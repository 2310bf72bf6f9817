//! Votes to a label. Pure, and the only place where anything is counted into a majority.
//!
//! The denominator is always the size of the panel: a judge that abstained, was not asked or was set aside stays in it, so
//! that fewer answers can make a window Undecided but never turn it.

use std::sync::Arc;

use super::{Answer, Label, Vote};
use crate::time::MediaTime;

/// Present iff `2 * yes > panel`, Absent iff `2 * no > panel`, else Undecided.
#[must_use]
pub const fn majority(panel: usize, yes: usize, no: usize) -> Label {
    if 2 * yes > panel {
        Label::Present
    } else if 2 * no > panel {
        Label::Absent
    } else {
        Label::Undecided
    }
}

/// What the votes on one window come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tally {
    /// At least one judge said Present or Absent; the window's label.
    Judged(Label),
    /// Every judge of the panel was left out by early stop.
    NotAsked,
    /// Somebody was asked and nobody answered.
    AllAbstained,
}

/// The vote that counts for `judge`: its first in the list. Votes of judges outside the panel are never looked up.
#[must_use]
pub fn vote_of<'a>(judge: &str, votes: &'a [Vote]) -> Option<&'a Vote> {
    votes.iter().find(|vote| &*vote.judge == judge)
}

/// Counts the votes of `panel` on one window. A judge without a vote counts as one that did not answer.
#[must_use]
pub fn tally(panel: &[Arc<str>], votes: &[Vote]) -> Tally {
    let (mut yes, mut no, mut not_asked) = (0, 0, 0);
    for judge in panel {
        match vote_of(judge, votes).map(|vote| &vote.answer) {
            Some(Answer::Present) => yes += 1,
            Some(Answer::Absent) => no += 1,
            Some(Answer::NotAsked) => not_asked += 1,
            Some(Answer::Abstained(_)) | None => {}
        }
    }
    if yes + no > 0 {
        Tally::Judged(majority(panel.len(), yes, no))
    } else if not_asked == panel.len() && not_asked > 0 {
        Tally::NotAsked
    } else {
        Tally::AllAbstained
    }
}

/// A share between 0 and 1 in billionths, so that "at least 0.8 of it" is decided without rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    /// From a fraction; clamped to 0..=1, not-a-number becomes 1 (which asks for the most).
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=1e9 before the cast")]
    pub fn new(fraction: f64) -> Self {
        let fraction = if fraction.is_nan() { 1.0 } else { fraction.clamp(0.0, 1.0) };
        Self((fraction * 1e9).round() as u32)
    }

    /// Whether `part` is something, and at least this share of `whole`.
    #[must_use]
    pub fn is_met(self, part: MediaTime, whole: MediaTime) -> bool {
        part > MediaTime::ZERO
            && i128::from(part.as_nanos()) * 1_000_000_000 >= i128::from(whole.as_nanos()) * i128::from(self.0)
    }
}

/// A maximum over time (rule 4): Present after any Present; Absent if there is none and what was Absent or voted on covers
/// enough of `countable` (the session without tail); else Undecided.
#[must_use]
pub fn max_over_time(any_present: bool, covered: MediaTime, countable: MediaTime, min_coverage: Share) -> Label {
    if any_present {
        Label::Present
    } else if min_coverage.is_met(covered, countable) {
        Label::Absent
    } else {
        Label::Undecided
    }
}

/// `vote_of_max` (the paper's Eq. 2 then Eq. 3): the majority of the judges' session maxima, one for each judge of the panel.
#[must_use]
pub fn vote_of_max(maxima: impl IntoIterator<Item = Label>) -> Label {
    let (mut panel, mut yes, mut no) = (0, 0, 0);
    for label in maxima {
        panel += 1;
        match label {
            Label::Present => yes += 1,
            Label::Absent => no += 1,
            Label::Undecided => {}
        }
    }
    majority(panel, yes, no)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::judge::{Abstention, AbstentionReason};

    fn vote(judge: usize, answer: Answer) -> Vote {
        Vote { attempts: 1, ..Vote::new(format!("v{judge}").into(), answer) }
    }

    fn abstained() -> Answer {
        Answer::Abstained(Abstention { reason: AbstentionReason::Deadline, detail: String::new() })
    }

    fn answers() -> impl Strategy<Value = Vec<Answer>> {
        let one = prop_oneof![Just(Answer::Present), Just(Answer::Absent), Just(abstained()), Just(Answer::NotAsked)];
        (0_usize..5).prop_flat_map(move |half| prop::collection::vec(one.clone(), 2 * half + 1))
    }

    fn count(answers: &[Answer]) -> (Vec<Arc<str>>, Tally) {
        let panel: Vec<Arc<str>> = (0..answers.len()).map(|n| format!("v{n}").into()).collect();
        let votes: Vec<Vote> = answers.iter().enumerate().map(|(n, answer)| vote(n, answer.clone())).collect();
        let tally = tally(&panel, &votes);
        (panel, tally)
    }

    proptest! {
        #[test]
        fn a_label_needs_more_than_half_of_the_whole_panel(answers in answers()) {
            let yes = answers.iter().filter(|a| **a == Answer::Present).count();
            let no = answers.iter().filter(|a| **a == Answer::Absent).count();
            match count(&answers).1 {
                Tally::Judged(Label::Present) => prop_assert!(2 * yes > answers.len()),
                Tally::Judged(Label::Absent) => prop_assert!(2 * no > answers.len()),
                Tally::Judged(Label::Undecided) => prop_assert!(yes + no > 0 && 2 * yes.max(no) < answers.len()),
                Tally::NotAsked => prop_assert!(answers.iter().all(|a| *a == Answer::NotAsked)),
                Tally::AllAbstained => prop_assert!(yes + no == 0 && answers.contains(&abstained())),
            }
        }

        #[test]
        fn silencing_a_judge_never_makes_a_label(answers in answers(), which in any::<prop::sample::Index>()) {
            let before = count(&answers).1;
            let mut silenced = answers.clone();
            silenced[which.index(answers.len())] = abstained();
            let after = count(&silenced).1;
            prop_assert!(after == before || !matches!(after, Tally::Judged(Label::Present | Label::Absent)), "{before:?} {after:?}");
        }

        #[test]
        fn strangers_repetition_and_order_change_nothing(answers in answers(), seed in any::<u64>()) {
            let (panel, expected) = count(&answers);
            let mut votes: Vec<Vote> = answers.iter().enumerate().map(|(n, answer)| vote(n, answer.clone())).collect();
            votes.extend(votes.clone());
            votes.extend((100..110).map(|n| vote(n, Answer::Present)));
            let turn = usize::try_from(seed % votes.len() as u64).unwrap();
            votes.rotate_left(turn);
            prop_assert_eq!(tally(&panel, &votes), expected);
        }

        #[test]
        fn a_share_is_met_exactly(parts in 0_i64..=100, unit in 1_i64..1_000_000_007) {
            let (part, whole) = (MediaTime::from_nanos(parts * unit), MediaTime::from_nanos(100 * unit));
            prop_assert_eq!(Share::new(0.8).is_met(part, whole), parts >= 80);
        }
    }

    #[test]
    fn a_missing_vote_is_no_no() {
        let panel: Vec<Arc<str>> = vec!["v0".into(), "v1".into(), "v2".into()];
        assert_eq!(tally(&panel, &[vote(0, Answer::Absent)]), Tally::Judged(Label::Undecided));
        assert_eq!(tally(&panel, &[]), Tally::AllAbstained);
        assert_eq!(tally(&panel, &[vote(0, Answer::NotAsked)]), Tally::AllAbstained);
    }

    #[test]
    fn nothing_judged_is_never_absent() {
        assert_eq!(max_over_time(false, MediaTime::ZERO, MediaTime::ZERO, Share::new(0.0)), Label::Undecided);
    }

    #[test]
    fn an_even_panel_that_is_split_decides_nothing() {
        assert_eq!(vote_of_max([Label::Present, Label::Absent]), Label::Undecided);
        assert_eq!(vote_of_max([Label::Present, Label::Present, Label::Absent]), Label::Present);
        assert_eq!(vote_of_max([Label::Absent, Label::Undecided, Label::Absent]), Label::Absent);
        assert_eq!(vote_of_max([]), Label::Undecided);
    }
}
