//! The sound of one continuity: placed by its timestamps into a ring, holes filled with silence and counted.

use std::collections::VecDeque;

use ringbuf::LocalRb;
use ringbuf::storage::Heap;
use ringbuf::traits::Observer;

use super::SAMPLE_RATE;
use crate::time::MediaTime;

/// A block this near to where the last one ended continues it: timestamps are rounded on their way, sound is not cut for that.
const JITTER: i64 = SAMPLE_RATE as i64 / 1000;

/// Ring of 16 kHz mono sound, addressed by absolute index from second 0 of the continuity.
pub(super) struct SoundRing {
    ring: LocalRb<Heap<i16>>,
    /// Absolute index of the oldest value held.
    start: i64,
    /// Filled-in stretches `[from, to)`, in order.
    holes: VecDeque<(i64, i64)>,
    /// Stretches that really arrived, in order: where the first begins tells the offset to the pictures.
    first_real: Option<i64>,
}

impl SoundRing {
    /// A ring that holds at least `capacity` of sound.
    pub fn new(capacity: MediaTime) -> Self {
        let values = usize::try_from(index_at(capacity)).unwrap_or(0).max(1);
        Self { ring: LocalRb::new(values), start: 0, holes: VecDeque::new(), first_real: None }
    }

    /// Absolute index after the newest value.
    pub fn head(&self) -> i64 {
        self.start + i64::try_from(self.ring.occupied_len()).unwrap_or(i64::MAX)
    }

    /// Media time after the newest value.
    pub fn end(&self) -> MediaTime {
        time_of(self.head())
    }

    /// Where the first value that arrived belongs; None before any did.
    pub fn first_arrived(&self) -> Option<MediaTime> {
        self.first_real.map(time_of)
    }

    /// Brings the head to where a block at `time` begins: fills a hole, or says how many values of the block are already there.
    ///
    /// Returns the number of leading values of the block to leave out, and how many zeros are still to be pushed first
    /// (the caller pushes them in pieces, since windows may have to be closed on the way).
    pub fn place(&self, time: MediaTime) -> (usize, i64) {
        let at = index_at(time);
        let ahead = at - self.head();
        if self.head() == 0 && at <= 0 {
            // Sound from before second 0 is cut to the value.
            (usize::try_from(-at).unwrap_or(0), 0)
        } else if ahead.abs() <= JITTER {
            (0, 0)
        } else if ahead > 0 {
            (0, ahead)
        } else {
            (usize::try_from(-ahead).unwrap_or(0), 0)
        }
    }

    /// Appends what arrived.
    pub fn push(&mut self, pcm: &[i16]) {
        if !pcm.is_empty() && self.first_real.is_none() {
            self.first_real = Some(self.head());
        }
        self.make_room(pcm.len());
        self.ring.push_slice(pcm);
    }

    /// Appends `count` zeros as a hole.
    pub fn push_hole(&mut self, count: usize) {
        let (from, to) = (self.head(), self.head() + i64::try_from(count).unwrap_or(0));
        match self.holes.back_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => self.holes.push_back((from, to)),
        }
        self.make_room(count);
        self.ring.push_iter(std::iter::repeat_n(0, count));
    }

    /// The ring is sized so that closing windows always makes room; this guards against a window that never closes.
    fn make_room(&mut self, count: usize) {
        let vacant = self.ring.vacant_len();
        if vacant < count {
            let freed = self.ring.skip(count - vacant);
            self.start += i64::try_from(freed).unwrap_or(0);
        }
    }

    /// Copies `[from, from + length)` (zeros where nothing arrived) and says how many of them are filled in.
    pub fn copy(&mut self, from: i64, length: usize) -> (Vec<i16>, i64) {
        let mut pcm = vec![0; length];
        let to = from + i64::try_from(length).unwrap_or(0);
        let (have_from, have_to) = (from.max(self.start), to.min(self.head()));
        if have_to > have_from {
            let skip = usize::try_from(have_from - self.start).unwrap_or(0);
            let count = usize::try_from(have_to - have_from).unwrap_or(0);
            let target = usize::try_from(have_from - from).unwrap_or(0);
            let (older, newer) = self.ring.as_slices();
            let held = older.iter().chain(newer).skip(skip);
            pcm[target..target + count].iter_mut().zip(held).for_each(|(into, value)| *into = *value);
        }
        let absent = i64::try_from(length).unwrap_or(0) - (have_to - have_from).max(0);
        let filled: i64 = self.holes.iter().map(|&(a, b)| (b.min(have_to) - a.max(have_from)).max(0)).sum();
        (pcm, absent + filled)
    }

    /// First value at or after `from` that arrived, if any did up to `to`.
    pub fn first_arrived_in(&self, from: i64, to: i64) -> Option<i64> {
        let mut at = from.max(self.first_real?).max(self.start);
        for &(a, b) in &self.holes {
            if a <= at && at < b {
                at = b;
            }
        }
        (at < to.min(self.head())).then_some(at)
    }

    /// Forgets everything before `index`.
    pub fn discard_before(&mut self, index: i64) {
        if index > self.start {
            let freed = self.ring.skip(usize::try_from(index - self.start).unwrap_or(0));
            self.start += i64::try_from(freed).unwrap_or(0);
        }
        while self.holes.front().is_some_and(|&(_, to)| to <= self.start) {
            self.holes.pop_front();
        }
    }
}

/// Nearest value to a time.
pub(super) fn index_at(time: MediaTime) -> i64 {
    time.scale(i64::from(SAMPLE_RATE), 1_000_000_000).as_nanos()
}

/// Time of a value.
pub(super) fn time_of(index: i64) -> MediaTime {
    MediaTime::from_nanos(index).scale(1_000_000_000, i64::from(SAMPLE_RATE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_is_silence_and_is_counted() {
        let mut ring = SoundRing::new(MediaTime::from_millis(1000));
        ring.push(&[7; 1600]);
        let (skip, zeros) = ring.place(MediaTime::from_millis(150));
        assert_eq!((skip, zeros), (0, 800));
        ring.push_hole(800);
        ring.push(&[9; 1600]);
        let (pcm, missing) = ring.copy(1500, 1000);
        assert_eq!(missing, 800);
        assert!(
            pcm[..100].iter().all(|&v| v == 7)
                && pcm[100..900].iter().all(|&v| v == 0)
                && pcm[900..].iter().all(|&v| v == 9)
        );
    }

    #[test]
    fn what_overlaps_is_left_out_and_jitter_is_ignored() {
        let mut ring = SoundRing::new(MediaTime::from_millis(1000));
        ring.push(&[7; 1600]);
        assert_eq!(ring.place(MediaTime::from_millis(90)), (160, 0));
        assert_eq!(ring.place(MediaTime::from_nanos(100_300_000)), (0, 0));
    }

    #[test]
    fn sound_before_second_zero_is_cut_to_the_value() {
        let ring = SoundRing::new(MediaTime::from_millis(1000));
        assert_eq!(ring.place(MediaTime::from_millis(-10)), (160, 0));
    }
}
