//! How long a judge's answers take, from its place at a `base_url` to the answer. Pure.

use std::collections::VecDeque;
use std::time::Duration;

/// So many answers are remembered, and so few say nothing yet.
const REMEMBERED: usize = 20;
const LEAST: usize = 5;

/// A judge's last answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace(VecDeque<Duration>);

impl Pace {
    /// An answer took so long.
    pub fn note(&mut self, took: Duration) {
        self.0.truncate(REMEMBERED - 1);
        self.0.push_front(took);
    }

    /// Nine of ten answers took no longer; None: too few were seen.
    pub fn expected(&self) -> Option<Duration> {
        let mut sorted: Vec<Duration> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() * 9).div_ceil(10);
        sorted.get(rank.checked_sub(1)?).copied().filter(|_| sorted.len() >= LEAST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_of_ten_of_the_last_twenty() {
        let mut pace = Pace::default();
        let ms = Duration::from_millis;
        for n in 1..=4 {
            pace.note(ms(n));
            assert_eq!(pace.expected(), None);
        }
        pace.note(ms(5));
        assert_eq!(pace.expected(), Some(ms(5)));
        for n in (1..=20).rev() {
            pace.note(ms(n * 100));
        }
        assert_eq!(pace.expected(), Some(ms(1800)));
        for _ in 0..20 {
            pace.note(ms(7));
        }
        assert_eq!(pace.expected(), Some(ms(7)), "what was before is forgotten");
    }
}
