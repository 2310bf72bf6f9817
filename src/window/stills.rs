//! The pictures of one continuity: which to keep while they pass (rule 2), without holding more than one undecided.

use std::collections::VecDeque;

use super::Still;
use crate::time::MediaTime;

/// Turns a picture into the JPEG that is held. None: it could not be, and counts as not delivered.
pub type Keep<R> = Box<dyn FnMut(MediaTime, &R) -> Option<Still> + Send>;

/// One picture is kept of each such stretch, besides the ten of full windows, for a partial window to choose from.
const CELL: MediaTime = MediaTime::from_millis(200);

/// How many picture distances the frame period is estimated from.
const DISTANCES: usize = 64;

/// Keeps the pictures nearest to the targets of open windows, and one each 200 ms.
pub(super) struct Stills<R> {
    keep: Keep<R>,
    kept: VecDeque<Still>,
    /// The newest picture, undecided until the next one comes.
    newest: Option<(MediaTime, R)>,
    distances: VecDeque<MediaTime>,
    last_cell: Option<i64>,
}

impl<R> Stills<R> {
    pub fn new(keep: Keep<R>) -> Self {
        Self { keep, kept: VecDeque::new(), newest: None, distances: VecDeque::new(), last_cell: None }
    }

    /// Gives the way of keeping on to the next continuity.
    pub fn into_keep(self) -> Keep<R> {
        self.keep
    }

    /// Time of the newest picture.
    pub fn newest(&self) -> Option<MediaTime> {
        self.newest.as_ref().map(|(time, _)| *time)
    }

    /// Frame period from the distances seen: their mean without outliers (over 1.5 times the median, a missing picture).
    /// From timestamps alone, since a container's nominal rate and a stream's may differ for the same media (rule 7).
    pub fn period(&self) -> Option<MediaTime> {
        let mut sorted: Vec<_> = self.distances.iter().copied().collect();
        sorted.sort_unstable();
        let median = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
        let regular: Vec<_> = sorted.into_iter().filter(|d| *d <= median.scale(3, 2)).collect();
        let sum: i64 = regular.iter().map(|d| d.as_nanos()).sum();
        Some(MediaTime::from_nanos(sum).scale(1, i64::try_from(regular.len()).unwrap_or(1)))
    }

    /// Takes the next picture (later than all before). `targets` are those not yet passed by an earlier picture, up to
    /// `time`; `first` says that it begins a window; `covered` tells whether a target lies in the given stretch.
    pub fn push(
        &mut self,
        time: MediaTime,
        raw: R,
        targets: &[MediaTime],
        first: bool,
        covered: impl Fn(MediaTime, MediaTime) -> bool,
    ) {
        let mut keep_this = first;
        if let Some((before, _)) = &self.newest {
            let before = *before;
            self.distances.push_back(time - before);
            if self.distances.len() > DISTANCES {
                self.distances.pop_front();
            }
            let is_nearer_before = |t: &MediaTime| (*t - before).abs() <= (time - *t).abs();
            if targets.iter().any(is_nearer_before) {
                self.keep_newest();
            }
            keep_this |= !targets.iter().all(is_nearer_before);
        }
        let cell = time.as_nanos().div_euclid(CELL.as_nanos());
        if self.last_cell != Some(cell) {
            self.last_cell = Some(cell);
            let from = MediaTime::from_nanos(cell * CELL.as_nanos());
            keep_this |= !covered(from, from + CELL);
        }
        self.newest = Some((time, raw));
        if keep_this {
            self.keep_newest();
        }
    }

    /// Keeps the newest picture, once.
    pub fn keep_newest(&mut self) {
        if let Some((time, raw)) = &self.newest
            && self.kept.back().is_none_or(|last| last.time < *time)
        {
            self.kept.extend((self.keep)(*time, raw));
        }
    }

    /// The kept picture nearest to `target` among those in `[from, to)`; the earlier one of two equally near.
    pub fn nearest(&self, target: MediaTime, from: MediaTime, to: MediaTime) -> Option<&Still> {
        self.kept.iter().filter(|s| from <= s.time && s.time < to).min_by_key(|s| (s.time - target).abs())
    }

    /// Forgets kept pictures before `time`.
    pub fn discard_before(&mut self, time: MediaTime) {
        while self.kept.front().is_some_and(|s| s.time < time) {
            self.kept.pop_front();
        }
    }
}
