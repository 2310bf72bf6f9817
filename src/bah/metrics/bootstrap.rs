//! Intervals by the bootstrap over participants.
//!
//! A participant's answers depend on each other, so whole participants are drawn, with replacement, as many as there are.
//! Every system is measured on the same draws. An interval goes from the 2.5th to the 97.5th percentile (linear between
//! order statistics, numpy's default). The generator is PCG32, which is the same everywhere and for ever.

use std::collections::BTreeMap;

use rand::Rng as _;
use rand_pcg::Pcg32;
use serde::Serialize;

use super::precision::Ranked;
use super::{Abstentions, Case, Confusion, Metric};

/// PCG's usual stream.
const STREAM: u64 = 0xa02_bdbf_7bb3_c0a7;

/// How intervals are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bootstrap {
    /// Draws; 0: no intervals.
    pub draws: u32,
    /// Seed of the generator.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { draws: 10_000, seed: 42 }
    }
}

/// 95 % of the draws lie in here.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// 2.5th percentile.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
}

/// Intervals of one system, by metric; a metric that was defined in no draw is missing.
pub type Intervals = BTreeMap<Metric, Interval>;

/// What of a system is weighed anew in every draw.
struct Weighed {
    /// By participant.
    counts: Vec<Confusion>,
    ranked: Option<Ranked>,
    abstentions: Abstentions,
    values: BTreeMap<Metric, Vec<f64>>,
}

impl Bootstrap {
    /// Intervals of all systems under both ways to count abstentions, in [`Abstentions::ALL`]'s order. Participants are
    /// numbered from 0 to below `participants`; with fewer than two there is nothing to draw.
    #[must_use]
    pub fn intervals(&self, systems: &[&[Case]], participants: usize) -> Vec<[Intervals; 2]> {
        let mut weighed: Vec<Weighed> = Vec::new();
        for cases in systems {
            for abstentions in Abstentions::ALL {
                let mut counts = vec![Confusion::default(); participants];
                for case in *cases {
                    if let Some(count) = counts.get_mut(case.participant) {
                        count.add(case.truth, case.answer, 1);
                    }
                }
                let ranked = Ranked::new(cases, abstentions);
                weighed.push(Weighed { counts, ranked, abstentions, values: BTreeMap::new() });
            }
        }
        let mut generator = Pcg32::new(self.seed, STREAM);
        let draws = if participants < 2 { 0 } else { self.draws };
        for _ in 0..draws {
            let mut times = vec![0_u64; participants];
            for _ in 0..participants {
                times[below(&mut generator, participants)] += 1;
            }
            for system in &mut weighed {
                system.draw(&times);
            }
        }
        let mut intervals = weighed.into_iter().map(|system| {
            let interval = |(metric, mut values): (Metric, Vec<f64>)| {
                values.sort_by(f64::total_cmp);
                (metric, Interval { low: percentile(&values, 0.025), high: percentile(&values, 0.975) })
            };
            system.values.into_iter().map(interval).collect::<Intervals>()
        });
        std::iter::from_fn(|| Some([intervals.next()?, intervals.next()?])).collect()
    }
}

impl Weighed {
    fn draw(&mut self, times: &[u64]) {
        let mut sum = Confusion::default();
        for (count, times) in self.counts.iter().zip(times) {
            sum = sum.plus(*count, *times);
        }
        let rates = sum.rates(self.abstentions);
        let ap = self.ranked.as_ref().and_then(|ranked| {
            ranked.average_precision(|participant| times.get(participant).copied().unwrap_or_default())
        });
        for metric in Metric::ALL {
            if let Some(value) = metric.value(rates.as_ref(), ap.as_ref()) {
                self.values.entry(metric).or_default().push(value);
            }
        }
    }
}

/// A number below `n`, by the high half of a product: the same in any language.
#[allow(clippy::cast_possible_truncation, reason = "the high half of a 32-bit number times n is below n")]
fn below(generator: &mut Pcg32, n: usize) -> usize {
    ((u64::from(generator.next_u32()) * n as u64) >> 32) as usize
}

/// Of sorted values, at least one.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index into the values, found as numpy finds it"
)]
fn percentile(values: &[f64], share: f64) -> f64 {
    let at = share * (values.len() - 1) as f64;
    let (below, above) = (at.floor() as usize, at.ceil() as usize);
    values[below] + (values[above] - values[below]) * (at - at.floor())
}
