//! Metrics of a binary task whose answers may be missing. Pure: cases go in, numbers come out.
//!
//! The positive class is "A/H". An abstention is never a "No": every metric is given with abstentions counted as wrong
//! answers, and again over the answered cases alone ([`Abstentions`]). Definitions are scikit-learn's, with its
//! `zero_division=0`; the stepwise average precision is the one of BAH's own `bah_metrics.py`.
//!
//! - `precision`: average precision and the precision-recall curve.
//! - `bootstrap`: intervals by drawing whole participants.
//! - `agreement`: `McNemar`'s test, kappa, and what a vote of independent judges would reach.

mod agreement;
mod bootstrap;
mod precision;

pub use agreement::{Independent, McNemar, Pair, independent_vote, mcnemar, pair};
pub use bootstrap::{Bootstrap, Interval, Intervals};
pub use precision::{AveragePrecision, CurvePoint, average_precision, curve};

use serde::Serialize;

/// One thing to be judged, its truth, and what was said of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// Whether A/H is there.
    pub truth: bool,
    /// What was said; None: nothing.
    pub answer: Option<bool>,
    /// P(Yes), where known.
    pub score: Option<f64>,
    /// Whose it is: a participant's number from 0. The bootstrap draws participants.
    pub participant: usize,
}

/// What an abstention counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Abstentions {
    /// A wrong answer: of a positive case a "No", of a negative one a "Yes".
    CountedWrong,
    /// Nothing: the case is left out.
    LeftOut,
}

impl Abstentions {
    /// Both.
    pub const ALL: [Self; 2] = [Self::CountedWrong, Self::LeftOut];

    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CountedWrong => "counted as wrong",
            Self::LeftOut => "left out",
        }
    }
}

/// How often what was said met what is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// Positive, and said so.
    pub true_positive: u64,
    /// Positive, called negative.
    pub false_negative: u64,
    /// Positive, and nothing was said.
    pub abstained_positive: u64,
    /// Negative, called positive.
    pub false_positive: u64,
    /// Negative, and said so.
    pub true_negative: u64,
    /// Negative, and nothing was said.
    pub abstained_negative: u64,
}

impl Confusion {
    /// Counts cases.
    #[must_use]
    pub fn of(cases: &[Case]) -> Self {
        let mut confusion = Self::default();
        for case in cases {
            confusion.add(case.truth, case.answer, 1);
        }
        confusion
    }

    /// Counts one more case, `times` over.
    pub fn add(&mut self, truth: bool, answer: Option<bool>, times: u64) {
        *match (truth, answer) {
            (true, Some(true)) => &mut self.true_positive,
            (true, Some(false)) => &mut self.false_negative,
            (true, None) => &mut self.abstained_positive,
            (false, Some(true)) => &mut self.false_positive,
            (false, Some(false)) => &mut self.true_negative,
            (false, None) => &mut self.abstained_negative,
        } += times;
    }

    /// This and `times` times another.
    #[must_use]
    pub const fn plus(self, other: Self, times: u64) -> Self {
        Self {
            true_positive: self.true_positive + times * other.true_positive,
            false_negative: self.false_negative + times * other.false_negative,
            abstained_positive: self.abstained_positive + times * other.abstained_positive,
            false_positive: self.false_positive + times * other.false_positive,
            true_negative: self.true_negative + times * other.true_negative,
            abstained_negative: self.abstained_negative + times * other.abstained_negative,
        }
    }

    /// Positive cases.
    #[must_use]
    pub const fn positives(&self) -> u64 {
        self.true_positive + self.false_negative + self.abstained_positive
    }

    /// Negative cases.
    #[must_use]
    pub const fn negatives(&self) -> u64 {
        self.false_positive + self.true_negative + self.abstained_negative
    }

    /// Cases of which nothing was said.
    #[must_use]
    pub const fn abstained(&self) -> u64 {
        self.abstained_positive + self.abstained_negative
    }

    /// Rows of the truth (negative, positive), columns of what was said (negative, positive, nothing), each row divided by
    /// its sum. A row without cases is all zero.
    #[must_use]
    pub fn by_row(&self) -> [[f64; 3]; 2] {
        let row = |parts: [u64; 3]| {
            let sum: u64 = parts.iter().sum();
            parts.map(|part| ratio(part, sum))
        };
        [
            row([self.true_negative, self.false_positive, self.abstained_negative]),
            row([self.false_negative, self.true_positive, self.abstained_positive]),
        ]
    }

    /// The metrics; None where no case is left.
    #[must_use]
    pub fn rates(&self, abstentions: Abstentions) -> Option<Rates> {
        let (no, yes) = match abstentions {
            Abstentions::CountedWrong => (self.abstained_positive, self.abstained_negative),
            Abstentions::LeftOut => (0, 0),
        };
        let (tp, fn_) = (self.true_positive, self.false_negative + no);
        let (fp, tn) = (self.false_positive + yes, self.true_negative);
        let n = tp + fn_ + fp + tn;
        let (f1, f1_negative) = (ratio(2 * tp, 2 * tp + fp + fn_), ratio(2 * tn, 2 * tn + fp + fn_));
        let (positive, negative) = (ratio(tp + fn_, n), ratio(fp + tn, n));
        (n > 0).then_some(Rates {
            n,
            accuracy: ratio(tp + tn, n),
            precision: ratio(tp, tp + fp),
            recall: ratio(tp, tp + fn_),
            f1,
            f1_negative,
            macro_f1: f64::midpoint(f1, f1_negative),
            weighted_f1: positive * f1 + negative * f1_negative,
        })
    }
}

/// `part / whole`, 0 where there is no whole (scikit-learn's `zero_division=0`).
#[allow(clippy::cast_precision_loss, reason = "counts of cases, far below 2^52")]
fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The metrics of one confusion matrix, as fractions. A quotient of zero cases is 0.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rates {
    /// Cases counted.
    pub n: u64,
    /// Right answers over cases.
    pub accuracy: f64,
    /// Of the positive class: true positives over all that were called positive.
    pub precision: f64,
    /// Of the positive class: true positives over all positives.
    pub recall: f64,
    /// Of the positive class: harmonic mean of precision and recall.
    pub f1: f64,
    /// The same of the negative class.
    pub f1_negative: f64,
    /// Mean of the two, each class alike.
    pub macro_f1: f64,
    /// Mean of the two, weighted by how many cases each class has.
    pub weighted_f1: f64,
}

/// A metric by its name; the order of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// [`Rates::accuracy`].
    Accuracy,
    /// [`Rates::precision`].
    Precision,
    /// [`Rates::recall`].
    Recall,
    /// [`Rates::f1`].
    F1,
    /// [`Rates::f1_negative`].
    F1Negative,
    /// [`Rates::macro_f1`].
    MacroF1,
    /// [`Rates::weighted_f1`].
    WeightedF1,
    /// [`AveragePrecision::bah`].
    ApBah,
    /// [`AveragePrecision::exact`].
    ApExact,
}

impl Metric {
    /// All, in the order of tables.
    pub const ALL: [Self; 9] = [
        Self::Accuracy,
        Self::Precision,
        Self::Recall,
        Self::F1,
        Self::F1Negative,
        Self::MacroF1,
        Self::WeightedF1,
        Self::ApBah,
        Self::ApExact,
    ];

    /// The heading of its column.
    #[must_use]
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::F1 => "F1",
            Self::F1Negative => "F1 neg.",
            Self::MacroF1 => "macro-F1",
            Self::WeightedF1 => "weighted F1",
            Self::ApBah => "AP (BAH)",
            Self::ApExact => "AP (exact)",
        }
    }

    /// Its value; None where it is not defined.
    #[must_use]
    pub fn value(self, rates: Option<&Rates>, ap: Option<&AveragePrecision>) -> Option<f64> {
        match self {
            Self::Accuracy => rates.map(|r| r.accuracy),
            Self::Precision => rates.map(|r| r.precision),
            Self::Recall => rates.map(|r| r.recall),
            Self::F1 => rates.map(|r| r.f1),
            Self::F1Negative => rates.map(|r| r.f1_negative),
            Self::MacroF1 => rates.map(|r| r.macro_f1),
            Self::WeightedF1 => rates.map(|r| r.weighted_f1),
            Self::ApBah => ap.map(|ap| ap.bah),
            Self::ApExact => ap.map(|ap| ap.exact),
        }
    }
}

#[cfg(test)]
mod tests;
