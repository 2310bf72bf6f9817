//! How judges agree, whether one is better than another, and what a vote gains over them.

use serde::Serialize;

use super::Case;

/// Two systems on the same cases, told apart by `McNemar`'s exact test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct McNemar {
    /// Cases only the first got right. An abstention is not right.
    pub only_first: u64,
    /// Cases only the second got right.
    pub only_second: u64,
    /// Two-sided probability of so uneven a split if both were equally good; 1 without any difference.
    pub p: f64,
}

/// `McNemar`'s test on cases in the same order.
#[must_use]
pub fn mcnemar(first: &[Case], second: &[Case]) -> McNemar {
    let right = |case: &Case| case.answer == Some(case.truth);
    let count = |wanted: (bool, bool)| first.iter().zip(second).filter(|(a, b)| (right(a), right(b)) == wanted).count();
    let (b, c) = (count((true, false)) as u64, count((false, true)) as u64);
    McNemar { only_first: b, only_second: c, p: two_sided(b, c) }
}

/// Twice the tail of a fair coin, at most 1.
#[allow(clippy::cast_precision_loss, reason = "counts of cases, far below 2^52")]
pub(super) fn two_sided(b: u64, c: u64) -> f64 {
    let (n, least) = (b + c, b.min(c));
    // log of C(n, k) / 2^n, from k = 0 on.
    let mut log = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = log.exp();
    for k in 1..=least {
        log += ((n - k + 1) as f64).ln() - (k as f64).ln();
        tail += log.exp();
    }
    (2.0 * tail).min(1.0)
}

/// How far two judges say the same, right or wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// Cases both answered.
    pub both_answered: u64,
    /// Share of those with the same answer; None without any.
    pub agreement: Option<f64>,
    /// Cohen's kappa on those: agreement beyond chance; None where chance alone gives 1.
    pub kappa: Option<f64>,
}

/// Agreement on cases in the same order.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "counts of cases, far below 2^52")]
pub fn pair(first: &[Case], second: &[Case]) -> Pair {
    let answers: Vec<_> = first.iter().zip(second).filter_map(|(a, b)| Some((a.answer?, b.answer?))).collect();
    let n = answers.len() as f64;
    if answers.is_empty() {
        return Pair { both_answered: 0, agreement: None, kappa: None };
    }
    let share = |wanted: &dyn Fn(&(bool, bool)) -> bool| answers.iter().filter(|a| wanted(a)).count() as f64 / n;
    let agreement = share(&|(a, b)| a == b);
    let (yes_a, yes_b) = (share(&|(a, _)| *a), share(&|(_, b)| *b));
    let chance = yes_a * yes_b + (1.0 - yes_a) * (1.0 - yes_b);
    let kappa = (chance < 1.0).then(|| (agreement - chance) / (1.0 - chance));
    Pair { both_answered: answers.len() as u64, agreement: Some(agreement), kappa }
}

/// What a majority vote would reach if its judges erred independently of each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Independent {
    /// Errors independent over all cases: only each judge's accuracy counts.
    pub accuracy: f64,
    /// Errors independent among the positives and among the negatives: each judge's recall and specificity count.
    pub accuracy_by_class: f64,
}

/// From each judge's cases. An abstention is an error. None without cases.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "counts of cases, far below 2^52")]
pub fn independent_vote(judges: &[&[Case]]) -> Option<Independent> {
    let right = |wanted: Option<bool>| -> Option<f64> {
        let mut shares = Vec::new();
        for cases in judges {
            let (mut n, mut right) = (0_u64, 0_u64);
            for case in cases.iter().filter(|case| wanted.is_none_or(|truth| case.truth == truth)) {
                n += 1;
                right += u64::from(case.answer == Some(case.truth));
            }
            shares.push((n > 0).then(|| right as f64 / n as f64)?);
        }
        Some(majority_right(&shares))
    };
    let first = judges.first()?;
    let positive = first.iter().filter(|case| case.truth).count() as f64 / first.len() as f64;
    let part = |share: f64, truth| if share > 0.0 { right(Some(truth)).map(|p| p * share) } else { Some(0.0) };
    Some(Independent {
        accuracy: right(None)?,
        accuracy_by_class: part(positive, true)? + part(1.0 - positive, false)?,
    })
}

/// The chance that more than half of independent judges are right.
fn majority_right(right: &[f64]) -> f64 {
    let mut chance = vec![1.0];
    for p in right {
        let mut next = vec![0.0; chance.len() + 1];
        for (k, c) in chance.iter().enumerate() {
            next[k] += c * (1.0 - p);
            next[k + 1] += c * p;
        }
        chance = next;
    }
    chance.iter().enumerate().filter(|(k, _)| 2 * k > right.len()).map(|(_, c)| c).sum()
}
