//! What waits for one receiver, and what is tried next, when. Pure: times and chances are arguments.
//!
//! Events of one session go in their order: one that was not taken holds back the later ones of its session, and no
//! other's. A receiver that is away is tried by one event at a time, after a random wait (full jitter) of at most 30 s; the
//! first it takes sends all the rest. What was not taken for three days is dead.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::types::DeliveryState;
use crate::alert::event::TYPES;
use crate::time::backoff;

/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long an event is tried.
const PATIENCE: SignedDuration = SignedDuration::from_hours(72);
/// What is held in memory; the rest waits in the file.
pub(super) const MOST: usize = 4096;

/// The type of the event that says that a session was withdrawn.
const WITHDRAWN: &str = TYPES[7];

/// An event on its way to a receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its number in the journal.
    pub seq: u64,
    /// The event's id, the same at each attempt.
    pub id: Arc<str>,
    /// Its session, or None outside any.
    pub session: Option<Arc<str>>,
    /// The source's name as the event has it.
    pub source: Arc<str>,
    /// Its `CloudEvents` type.
    pub kind: Arc<str>,
    /// The `CloudEvent`.
    pub json: Arc<str>,
    /// Since when it waits.
    pub since: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
}

/// Why an event was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it says of the receiver.
    pub kind: FailureKind,
    /// One line for a person, without credentials.
    pub detail: String,
}

/// What a failure says of the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// It is away, or has trouble: another event would fare no better.
    Away,
    /// It does not take this event.
    Refused,
    /// It will never take anything again (410 Gone).
    Gone,
}

/// Something to be noted in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// Which receiver.
    pub sink: Arc<str>,
    /// Which event.
    pub seq: u64,
    /// What it is now.
    pub state: DeliveryState,
    /// How often it was tried.
    pub attempts: u32,
    /// When.
    pub at: Timestamp,
    /// Why it was not taken.
    pub detail: Option<String>,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Send this.
    Send(Item),
    /// Nothing before then.
    Wait(Timestamp),
    /// Nothing at all.
    Idle,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    /// Refusals of the first in a row.
    refusals: u32,
    /// Not before.
    retry_at: Option<Timestamp>,
    /// Counts attempts of the whole outbox; the smaller, the longer ago.
    tried: u64,
}

/// What waits for one receiver.
#[derive(Debug)]
pub struct Outbox {
    sink: Arc<str>,
    /// By session; events outside any are a session of their own.
    queues: BTreeMap<Option<Arc<str>>, Queue>,
    held: usize,
    /// More waits in the file, all of it later than what was ever here.
    spilled: bool,
    /// The greatest number that was ever here, and the greatest that was left to the file.
    seen: u64,
    left: u64,
    /// The receiver is away: failures in a row, and when it is tried again.
    away: Option<(u32, Timestamp)>,
    attempts: u64,
    in_flight: Option<(u64, Option<Arc<str>>)>,
}

impl Outbox {
    /// Of a receiver, empty; where `spilled`, what waits in the file has to be brought in.
    #[must_use]
    pub fn new(sink: Arc<str>, spilled: bool) -> Self {
        Self {
            sink,
            queues: BTreeMap::new(),
            held: 0,
            spilled,
            seen: 0,
            left: 0,
            away: None,
            attempts: 0,
            in_flight: None,
        }
    }

    /// A new event. Where memory is full it waits in the file.
    pub fn push(&mut self, item: Item) {
        if self.spilled || self.held >= MOST {
            self.spilled = true;
            self.left = self.left.max(item.seq);
        } else {
            self.seen = self.seen.max(item.seq);
            self.insert(item);
        }
    }

    /// Something that was given up, once more. What waits in the file is brought in from where it was, whatever its number.
    pub fn revive(&mut self, item: Item) {
        self.insert(item);
    }

    /// For so many there is room beside what waits.
    #[must_use]
    pub fn room(&self) -> usize {
        (2 * MOST).saturating_sub(self.held)
    }

    fn insert(&mut self, item: Item) {
        let flying = self.in_flight.as_ref().map(|(seq, _)| *seq);
        let queue = self.queues.entry(item.session.clone()).or_default();
        let later = queue.items.iter().rev().take_while(|there| there.seq > item.seq).count();
        let before = queue.items.len() - later;
        // What is being sent stays the first until it is known what came of it.
        let head = queue.items.front().filter(|there| Some(there.seq) == flying).map(|there| there.seq);
        if head == Some(item.seq) || before.checked_sub(1).is_some_and(|at| queue.items[at].seq == item.seq) {
            return;
        }
        let at = before.max(usize::from(head.is_some()));
        queue.items.insert(at, item);
        self.held += 1;
    }

    /// Whether some of what waits in the file should be brought in, and after which number it begins.
    #[must_use]
    pub fn wants_more(&self) -> Option<u64> {
        (self.spilled && self.held < MOST / 2).then_some(self.seen)
    }

    /// What waits in the file after the number that was asked for; `all`: there was no more when that was read.
    pub fn bring_in(&mut self, items: Vec<Item>, all: bool) {
        for item in items {
            self.seen = self.seen.max(item.seq);
            self.insert(item);
        }
        self.spilled = !all || self.left > self.seen;
    }

    /// What to do at `now`. Until [`Outbox::delivered`] or [`Outbox::failed`] says what came of it, nothing else is sent.
    pub fn next(&mut self, now: Timestamp) -> Next {
        if self.in_flight.is_some() || self.held == 0 {
            return Next::Idle;
        }
        if let Some((_, until)) = self.away.filter(|(_, until)| *until > now) {
            return Next::Wait(until);
        }
        let heads = || self.queues.values().filter(|queue| !queue.items.is_empty());
        let due = heads().filter(|queue| queue.retry_at.is_none_or(|at| at <= now));
        // Where the receiver is away each session has its turn, so that no single event keeps it so.
        let chosen = due.min_by_key(|queue| (queue.tried, queue.items.front().map(|item| item.seq)));
        let Some(item) = chosen.and_then(|queue| queue.items.front()).cloned() else {
            return heads().filter_map(|queue| queue.retry_at).min().map_or(Next::Idle, Next::Wait);
        };
        self.attempts += 1;
        if let Some(queue) = self.queues.get_mut(&item.session) {
            queue.tried = if self.away.is_some() { self.attempts } else { 0 };
            if let Some(first) = queue.items.front_mut() {
                first.attempts += 1;
            }
        }
        self.in_flight = Some((item.seq, item.session.clone()));
        Next::Send(Item { attempts: item.attempts + 1, ..item })
    }

    /// The event was taken.
    pub fn delivered(&mut self, seq: u64, now: Timestamp) -> Option<Done> {
        let item = self.take(seq)?;
        self.away = None;
        Some(self.done(&item, DeliveryState::Delivered, now, None))
    }

    /// The event was not taken. `chance`, 0 to 1, is how much of the longest wait is waited.
    pub fn failed(&mut self, seq: u64, failure: &Failure, now: Timestamp, chance: f64) -> Option<Done> {
        let (flying, session) = self.in_flight.take()?;
        let tried = self.attempts;
        let queue = self.queues.get_mut(&session)?;
        let item = queue.items.front().filter(|item| item.seq == seq && flying == seq)?.clone();
        let is_dead = failure.kind == FailureKind::Gone || now.duration_since(item.since) >= PATIENCE;
        match failure.kind {
            FailureKind::Away => {
                let failures = self.away.map_or(0, |(failures, _)| failures) + 1;
                self.away = Some((failures, after(now, failures, chance)));
                queue.tried = tried;
            }
            FailureKind::Refused => {
                self.away = None;
                queue.refusals += 1;
                queue.retry_at = Some(after(now, queue.refusals, chance));
            }
            FailureKind::Gone => self.away = None,
        }
        let detail = Some(failure.detail.clone());
        if !is_dead {
            return Some(self.done(&item, DeliveryState::Pending, now, detail));
        }
        self.in_flight = Some((seq, session));
        let item = self.take(seq)?;
        Some(self.done(&item, DeliveryState::Dead, now, detail))
    }

    /// Takes out everything of a session but the word that it was withdrawn. The number of events, and whether the receiver
    /// may have got any of them.
    pub fn withdraw(&mut self, session: &str) -> (usize, bool) {
        let key = Some(Arc::from(session));
        let Some(queue) = self.queues.get_mut(&key) else { return (0, false) };
        let before = queue.items.len();
        let had = queue.items.iter().any(|item| item.attempts > 0 && &*item.kind != WITHDRAWN);
        queue.items.retain(|item| &*item.kind == WITHDRAWN);
        let gone = before - queue.items.len();
        self.held -= gone;
        let flying = self.in_flight.as_ref().map(|(seq, _)| *seq);
        if gone > 0 && self.in_flight.as_ref().is_some_and(|(_, of)| *of == key) {
            let stays = queue.items.iter().any(|item| Some(item.seq) == flying);
            self.in_flight = self.in_flight.take().filter(|_| stays);
        }
        if queue.items.is_empty() {
            self.queues.remove(&key);
        }
        (gone, had)
    }

    /// Whether this event is still to be sent: not, once its session was withdrawn.
    #[must_use]
    pub fn is_in_flight(&self, seq: u64) -> bool {
        self.in_flight.as_ref().is_some_and(|(flying, _)| *flying == seq)
    }

    /// The sender is gone without having said what came of it: it may be sent again.
    pub fn let_go(&mut self) {
        self.in_flight = None;
    }

    fn take(&mut self, seq: u64) -> Option<Item> {
        let (flying, session) = self.in_flight.take()?;
        let queue = self.queues.get_mut(&session)?;
        queue.items.front().filter(|item| item.seq == seq && flying == seq)?;
        let item = queue.items.pop_front()?;
        (queue.refusals, queue.retry_at, queue.tried) = (0, None, 0);
        if queue.items.is_empty() {
            self.queues.remove(&session);
        }
        self.held -= 1;
        Some(item)
    }

    fn done(&self, item: &Item, state: DeliveryState, at: Timestamp, detail: Option<String>) -> Done {
        Done { sink: Arc::clone(&self.sink), seq: item.seq, state, attempts: item.attempts, at, detail }
    }
}

/// Full jitter: any time up to twice as long as the last, up to the longest.
fn after(now: Timestamp, failures: u32, chance: f64) -> Timestamp {
    now.saturating_add(backoff(Duration::from_secs(1), LONGEST_WAIT, failures, chance)).unwrap_or(now)
}

#[cfg(test)]
mod tests;
