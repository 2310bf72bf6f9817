//! Window order, restored: verdicts arrive as judges answer, episodes advance as the person speaks.

use std::collections::BTreeMap;

use crate::judge::WindowId;

/// Windows (or continuities) waited with, at most. Judges answer within their deadline, so a session in good order holds a
/// handful; this bounds memory should a window never be accounted for.
const MAX_HELD: usize = 65_536;

/// Hands each window on once, and only after every earlier window of the session.
///
/// All windows before `next` are known by that alone, so telling repetitions needs no list of the past.
#[derive(Clone, Debug)]
pub(super) struct Order<T> {
    /// The first window not yet handed on.
    next: WindowId,
    held: BTreeMap<WindowId, T>,
    /// Continuities that ended, with how many windows they had; `next.continuity` and later.
    ended: BTreeMap<u32, u32>,
}

impl<T> Default for Order<T> {
    fn default() -> Self {
        Self { next: WindowId { continuity: 0, index: 0 }, held: BTreeMap::new(), ended: BTreeMap::new() }
    }
}

impl<T> Order<T> {
    /// Whether nothing was said of this window yet.
    pub(super) fn is_new(&self, id: WindowId) -> bool {
        id >= self.next && !self.held.contains_key(&id)
    }

    /// Takes a new window; gives those whose turn it is.
    pub(super) fn push(&mut self, id: WindowId, item: T) -> Vec<(WindowId, T)> {
        self.held.insert(id, item);
        self.advance()
    }

    /// Continuity `continuity` had `windows` windows; gives those of later ones whose turn it is.
    pub(super) fn ended(&mut self, continuity: u32, windows: u32) -> Vec<(WindowId, T)> {
        if continuity >= self.next.continuity {
            self.ended.insert(continuity, windows);
        }
        self.advance()
    }

    /// Everything held, in order, past all holes.
    pub(super) fn flush(&mut self) -> Vec<(WindowId, T)> {
        std::mem::take(&mut self.held).into_iter().collect()
    }

    /// How much is held.
    #[cfg(test)]
    pub(super) fn footprint(&self) -> usize {
        self.held.len() + self.ended.len()
    }

    fn advance(&mut self) -> Vec<(WindowId, T)> {
        let mut ready = Vec::new();
        loop {
            if let Some(item) = self.held.remove(&self.next) {
                ready.push((self.next, item));
                self.next.index += 1;
            } else if self.ended.get(&self.next.continuity).is_some_and(|windows| self.next.index >= *windows) {
                self.ended.remove(&self.next.continuity);
                self.next = WindowId { continuity: self.next.continuity + 1, index: 0 };
                // Windows beyond the number told would wait for ever.
                let rest = self.held.split_off(&self.next);
                ready.extend(std::mem::replace(&mut self.held, rest));
            } else if self.held.len() > MAX_HELD || self.ended.len() > MAX_HELD {
                // Give up the missing ones: what is held goes on, they will be taken for repetitions.
                let first_held = self.held.first_key_value().map(|(id, _)| *id);
                let first_end = self.ended.keys().map(|c| WindowId { continuity: *c, index: self.ended[c] }).next();
                let Some(next) = first_held.into_iter().chain(first_end).min() else { break };
                self.next = next.max(self.next);
            } else {
                break;
            }
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(continuity: u32, index: u32) -> WindowId {
        WindowId { continuity, index }
    }

    proptest! {
        #[test]
        fn whatever_arrives_when_windows_leave_once_and_in_order(
            lengths in prop::collection::vec(0_u32..6, 1..6),
            keys in prop::collection::vec(any::<u32>(), 64),
        ) {
            let ids: Vec<WindowId> =
                (0..).zip(&lengths).flat_map(|(c, n)| (0..*n).map(move |index| id(c, index))).collect();
            // Each window twice, each end once, in any order.
            let mut arrivals: Vec<Result<WindowId, (u32, u32)>> = ids.iter().chain(&ids).map(|id| Ok(*id)).collect();
            arrivals.extend((0..).zip(&lengths).map(|(c, n)| Err((c, *n))));
            let mut order: Vec<(u32, _)> = arrivals.into_iter().enumerate().map(|(n, a)| (keys[n % keys.len()] ^ u32::try_from(n).unwrap(), a)).collect();
            order.sort_by_key(|(key, _)| *key);
            let mut under_test = Order::default();
            let mut left = Vec::new();
            for (_, arrival) in order {
                match arrival {
                    Ok(id) if under_test.is_new(id) => left.extend(under_test.push(id, ())),
                    Ok(_) => {}
                    Err((continuity, windows)) => left.extend(under_test.ended(continuity, windows)),
                }
            }
            prop_assert_eq!(left.into_iter().map(|(id, ())| id).collect::<Vec<_>>(), ids);
            prop_assert_eq!(under_test.footprint(), 0);
        }
    }

    #[test]
    fn a_window_that_never_comes_is_given_up_in_the_end() {
        let mut order = Order::default();
        let mut left = 0;
        for index in 1..=2 * u32::try_from(MAX_HELD).unwrap() {
            left += order.push(id(0, index), ()).len();
            assert!(order.footprint() <= MAX_HELD);
        }
        assert_eq!(left, 2 * MAX_HELD);
        assert!(!order.is_new(id(0, 0)), "and is not taken any more");
    }

    #[test]
    fn continuities_whose_windows_never_come_are_given_up_in_the_end() {
        let mut order: Order<()> = Order::default();
        for continuity in 0..2 * u32::try_from(MAX_HELD).unwrap() {
            assert!(order.ended(continuity, 1).is_empty());
            assert!(order.footprint() <= MAX_HELD + 1);
        }
        assert!(order.is_new(id(2 * u32::try_from(MAX_HELD).unwrap(), 0)));
    }

    #[test]
    fn holes_at_the_end_hold_nothing_back() {
        let mut order = Order::default();
        assert!(order.push(id(0, 2), 'c').is_empty());
        assert!(order.push(id(1, 0), 'd').is_empty());
        assert_eq!(order.flush(), [(id(0, 2), 'c'), (id(1, 0), 'd')]);
    }
}
