//! Average precision of the positive class, and the curve it is the area of.

use serde::Serialize;

use super::{Abstentions, Case};

/// Steps of BAH's thresholds: 0.000, 0.001, …, 0.999.
const STEPS: usize = 1000;

/// Average precision by two definitions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AveragePrecision {
    /// Cases that went in.
    pub n: u64,
    /// BAH's own (`bah_metrics.py`): the area under precision over recall at the thresholds 0.000 to 0.999 in steps of 0.001, by
    /// trapezia; a threshold that nothing reaches has precision 0. What lies right of recall at 0.999 is not counted.
    pub bah: f64,
    /// Every score a threshold, by steps: the sum of (recall gained) x precision, as scikit-learn's `average_precision_score`.
    pub exact: f64,
}

/// A point of a precision-recall curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CurvePoint {
    /// Cases scored at least this are called positive.
    pub threshold: f64,
    /// Fraction.
    pub recall: f64,
    /// Fraction.
    pub precision: f64,
}

/// A score as it counts. A case without one is, as wrong, a positive that no threshold finds or a negative that every one does.
fn counted(case: &Case, abstentions: Abstentions) -> Option<f64> {
    match (case.score, abstentions) {
        (Some(score), _) => Some(score),
        (None, Abstentions::LeftOut) => None,
        (None, Abstentions::CountedWrong) => Some(if case.truth { f64::NEG_INFINITY } else { f64::INFINITY }),
    }
}

/// Cases ready to be weighed again and again: sorted once by score.
#[derive(Clone, Debug)]
pub(super) struct Ranked {
    /// Best score first.
    cases: Vec<RankedCase>,
}

#[derive(Clone, Copy, Debug)]
struct RankedCase {
    score: f64,
    /// How many of BAH's thresholds it reaches: those of index below this.
    reaches: usize,
    truth: bool,
    participant: usize,
}

impl Ranked {
    /// None if no case has a score.
    pub(super) fn new(cases: &[Case], abstentions: Abstentions) -> Option<Self> {
        cases.iter().any(|case| case.score.is_some()).then(|| {
            let ranked = |case: &Case| {
                let score = counted(case, abstentions)?;
                Some(RankedCase { score, reaches: reaches(score), truth: case.truth, participant: case.participant })
            };
            let mut cases: Vec<_> = cases.iter().filter_map(ranked).collect();
            cases.sort_by(|a, b| b.score.total_cmp(&a.score));
            Self { cases }
        })
    }

    /// With each participant's cases counted so many times. None if no positive is among them.
    pub(super) fn average_precision(&self, times: impl Fn(usize) -> u64) -> Option<AveragePrecision> {
        let (mut positives, mut n) = (0, 0);
        for case in &self.cases {
            let weight = times(case.participant);
            n += weight;
            positives += if case.truth { weight } else { 0 };
        }
        (positives > 0).then(|| AveragePrecision {
            n,
            bah: self.stepwise(positives, &times),
            exact: self.exact(positives, &times),
        })
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of cases, far below 2^52")]
    fn exact(&self, positives: u64, times: &impl Fn(usize) -> u64) -> f64 {
        let (mut found, mut called, mut area, mut recall) = (0, 0, 0.0, 0.0);
        let mut cases = self.cases.iter().peekable();
        while let Some(case) = cases.next() {
            let weight = times(case.participant);
            called += weight;
            found += if case.truth { weight } else { 0 };
            // Equal scores are one threshold; nobody reaches minus infinity by a threshold.
            let last_of_score = cases.peek().is_none_or(|next| next.score < case.score);
            if last_of_score && called > 0 && case.score > f64::NEG_INFINITY {
                let now = found as f64 / positives as f64;
                area += (now - recall) * (found as f64 / called as f64);
                recall = now;
            }
        }
        area
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of cases, far below 2^52")]
    fn stepwise(&self, positives: u64, times: &impl Fn(usize) -> u64) -> f64 {
        let mut at = self.cases.iter().rev().peekable();
        let (mut found, mut called) = (0, 0);
        for case in &self.cases {
            let weight = times(case.participant);
            called += weight;
            found += if case.truth { weight } else { 0 };
        }
        let (mut area, mut before) = (0.0, None);
        for step in 0..STEPS {
            while let Some(case) = at.next_if(|case| case.reaches <= step) {
                let weight = times(case.participant);
                called -= weight;
                found -= if case.truth { weight } else { 0 };
            }
            let precision = if called == 0 { 0.0 } else { found as f64 / called as f64 };
            let recall = found as f64 / positives as f64;
            if let Some((last_recall, last_precision)) = before {
                area += (last_recall - recall) * f64::midpoint(last_precision, precision);
            }
            before = Some((recall, precision));
        }
        area
    }
}

/// The thresholds are `i * 0.001` in binary floating point, as numpy's `arange` makes them.
#[allow(clippy::cast_precision_loss, reason = "up to 1000")]
fn threshold(step: usize) -> f64 {
    step as f64 * 0.001
}

fn reaches(score: f64) -> usize {
    // They rise with the step, so that halving finds the first beyond the score.
    let (mut low, mut high) = (0, STEPS);
    while low < high {
        let middle = usize::midpoint(low, high);
        if threshold(middle) <= score {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Average precision. None if no case has a score, or none of those counted is positive.
#[must_use]
pub fn average_precision(cases: &[Case], abstentions: Abstentions) -> Option<AveragePrecision> {
    Ranked::new(cases, abstentions)?.average_precision(|_| 1)
}

/// The precision-recall curve over every score that occurs, from the highest threshold down, of the cases that have one.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "counts of cases, far below 2^52")]
pub fn curve(cases: &[Case]) -> Vec<CurvePoint> {
    let Some(ranked) = Ranked::new(cases, Abstentions::LeftOut) else { return Vec::new() };
    let positives = ranked.cases.iter().filter(|case| case.truth).count();
    let (mut found, mut points) = (0, Vec::new());
    for (called, case) in (1..).zip(&ranked.cases) {
        found += usize::from(case.truth);
        let point = CurvePoint {
            threshold: case.score,
            recall: if positives == 0 { 0.0 } else { found as f64 / positives as f64 },
            precision: f64::from(u32::try_from(found).unwrap_or(u32::MAX)) / f64::from(called),
        };
        if points.last().is_some_and(|last: &CurvePoint| last.threshold <= case.score) {
            points.pop();
        }
        points.push(point);
    }
    points
}
