//! A set of instants as disjoint, merged ranges, with its exact length.

use std::collections::BTreeMap;

use crate::time::{MediaTime, Span};

/// The union of the spans added so far. Ranges that touch are one, and what lies before the floor is only a length, so
/// memory does not grow with time.
#[derive(Clone, Debug, Default)]
pub(super) struct Ranges {
    /// start -> end, disjoint and not touching.
    open: BTreeMap<MediaTime, MediaTime>,
    /// Nothing is added before this.
    floor: MediaTime,
    length: MediaTime,
}

impl Ranges {
    /// Length of the union.
    pub(super) fn length(&self) -> MediaTime {
        self.length
    }

    /// Adds a span; what lies before the floor is ignored.
    pub(super) fn add(&mut self, span: Span) {
        let (mut start, mut end) = (span.start().max(self.floor), span.end());
        if end <= start {
            return;
        }
        self.length += end - start;
        // Everything that touches [start, end] begins at or before `end`; from the last backwards until one ends before.
        while let Some((&s, &e)) = self.open.range(..=end).next_back() {
            if e < start {
                break;
            }
            self.open.remove(&s);
            self.length -= e.min(end) - s.max(start);
            (start, end) = (start.min(s), end.max(e));
        }
        self.open.insert(start, end);
    }

    /// Nothing before `floor` will be added any more.
    pub(super) fn settle(&mut self, floor: MediaTime) {
        self.floor = self.floor.max(floor);
        while let Some(first) = self.open.first_entry() {
            if *first.get() >= self.floor {
                break;
            }
            first.remove();
        }
    }

    /// How many ranges are held.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        self.open.len()
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
        #[test]
        fn the_length_is_that_of_the_union(spans in prop::collection::vec((0_i64..60, 0_i64..12), 0..30)) {
            let mut ranges = Ranges::default();
            let mut cells = [false; 80];
            for (start, length) in spans {
                ranges.add(span(start, start + length));
                (start..start + length).for_each(|cell| cells[usize::try_from(cell).unwrap()] = true);
                let expected = i64::try_from(cells.iter().filter(|c| **c).count()).unwrap();
                prop_assert_eq!(ranges.length().as_nanos(), expected);
                let runs = cells.windows(2).filter(|w| !w[0] && w[1]).count() + usize::from(cells[0]);
                prop_assert_eq!(ranges.footprint(), runs);
            }
        }
    }

    #[test]
    fn settled_time_keeps_its_length_and_counts_once() {
        let mut ranges = Ranges::default();
        ranges.add(span(0, 5));
        ranges.add(span(10, 15));
        ranges.settle(MediaTime::from_nanos(12));
        ranges.add(span(3, 13));
        ranges.add(span(14, 20));
        assert_eq!(ranges.length(), MediaTime::from_nanos(5 + 5 + 5));
        assert_eq!(ranges.footprint(), 1);
    }
}
