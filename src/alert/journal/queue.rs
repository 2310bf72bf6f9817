//! What callers and the writing thread share: numbers, what waits to be written, and what waits for sinks.
//!
//! Everything that is to be written is one queue, in order. What the disk refuses stays in it, bounded, until it heals.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::{Notify, oneshot};

use super::outbox::{Item, Outbox};
use super::types::{JournalError, Told};
use crate::alert::event::{CloudEvent, without_credentials};
use crate::alert::{Event, EventKind};

/// Events that may wait for a disk that refuses. Above that, alerts go on to be kept, up to twice as many, others are not.
const MOST_UNWRITTEN: usize = 20_000;

/// An event with its number.
#[derive(Debug)]
pub(super) struct Entry {
    pub seq: u64,
    pub event: Event,
    pub id: String,
    pub kind: &'static str,
    /// As it stands in the file.
    pub json: Arc<str>,
    /// As it is told where the disk refuses: another one for alerts only.
    pub undurable: Arc<str>,
    /// Who wants it.
    pub sinks: Vec<Arc<str>>,
}

impl Entry {
    pub(super) fn new<'a>(seq: u64, event: Event, routes: impl Iterator<Item = &'a Route>) -> Self {
        let cloud = CloudEvent::from(&event);
        let (id, kind) = (cloud.id.clone(), cloud.kind);
        let json = |cloud: &CloudEvent| Arc::from(serde_json::to_string(cloud).unwrap_or_default());
        let (json, undurable) = if kind == ALERT {
            (json(&cloud.clone().durable(true)), json(&cloud.durable(false)))
        } else {
            let json: Arc<str> = json(&cloud);
            (Arc::clone(&json), json)
        };
        // Who has to hear of a withdrawal is known only when it is carried out.
        let withdrawn = matches!(event.kind, EventKind::SessionWithdrawn(_));
        let wanting = routes.filter(|route| !withdrawn && route.wants(kind));
        let sinks = wanting.map(|route| Arc::clone(&route.sink)).collect();
        Self { seq, event, id, kind, json, undurable, sinks }
    }

    pub(super) fn told(&self, durable: bool) -> Told {
        let json = if durable { &self.json } else { &self.undurable };
        Told { seq: self.seq, event: self.event.clone(), json: Arc::clone(json), durable }
    }

    pub(super) fn item(&self, durable: bool) -> Item {
        Item {
            seq: self.seq,
            id: self.id.as_str().into(),
            session: self.event.session.clone(),
            source: without_credentials(&self.event.source).into(),
            kind: self.kind.into(),
            json: Arc::clone(if durable { &self.json } else { &self.undurable }),
            since: self.event.wall,
            attempts: 0,
        }
    }

    pub(super) fn is_withdrawal(&self) -> bool {
        matches!(self.event.kind, EventKind::SessionWithdrawn(_))
    }
}

/// The type of alerts.
pub(super) const ALERT: &str = "ah.alert.raised.v1";

/// Which events a sink wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The sink's name.
    pub sink: Arc<str>,
    /// Classes of events: the second word of their type, such as `alert`.
    pub classes: Vec<String>,
}

impl Route {
    fn wants(&self, kind: &str) -> bool {
        self.classes.iter().any(|class| kind.split('.').nth(1) == Some(class))
    }
}

/// Something else that is to be written, in its turn.
pub(super) trait Work: Send {
    /// Writes; may be called again where the disk refused.
    fn run(&mut self, db: &Connection) -> Result<(), JournalError>;
    /// It stands in the file.
    fn written(&mut self);
    /// It does not. True: it shall be tried again once the disk heals.
    fn failed(&mut self, error: JournalError) -> bool;
    /// Whether something was deleted that shall not be left in the write-ahead log either.
    fn folds(&self) -> bool {
        false
    }
    /// Whether somebody waits for it.
    fn matters(&self) -> bool;
}

/// One place in the queue.
pub(super) enum Job {
    /// Events that are written together.
    Events(Vec<Arc<Entry>>, Option<oneshot::Sender<bool>>),
    /// Numbers that will have no row, since memory was full.
    Hole { first: u64, last: u64, at: Timestamp },
    /// Anything else.
    Work(Box<dyn Work>),
}

impl Job {
    /// Whether it has to survive a power cut: anything somebody waits for, but windows and the like.
    pub(super) fn matters(&self) -> bool {
        match self {
            Self::Events(entries, _) => entries.iter().any(|entry| {
                let kinds = ["ah.alert.", "ah.episode.", "ah.session."];
                kinds.iter().any(|kind| entry.kind.starts_with(kind))
            }),
            Self::Hole { .. } => false,
            Self::Work(work) => work.matters(),
        }
    }
}

/// A sink's part.
#[derive(Debug)]
pub(super) struct Lane {
    pub route: Route,
    pub outbox: Outbox,
    /// There may be something to do.
    pub wake: Arc<Notify>,
}

/// All of it.
#[derive(Default)]
pub(super) struct State {
    pub next_seq: u64,
    pub jobs: VecDeque<Job>,
    /// Events that were told and do not stand in the file, by number.
    pub unwritten: BTreeMap<u64, Arc<Entry>>,
    /// Up to here, events have been handed to sinks.
    pub handed: u64,
    pub lanes: Vec<Lane>,
    /// Sessions that were withdrawn in this run, with the event that says so.
    pub withdrawn: HashMap<Arc<str>, Arc<Entry>>,
    /// The disk refuses.
    pub failing: bool,
    /// Events that could not be kept.
    pub overflowed: u64,
    pub closing: bool,
    pub closed: bool,
}

impl State {
    /// Gives events their numbers and queues them. Those of a withdrawn session are not taken.
    pub(super) fn take(&mut self, events: Vec<Event>) -> Taken {
        let mut taken = Taken { told: Vec::new(), queued: Vec::new() };
        for event in events {
            let session = event.session.clone();
            if let Some(said) = session.as_ref().and_then(|session| self.withdrawn.get(session)) {
                if matches!(event.kind, EventKind::SessionWithdrawn(_)) {
                    taken.told.push(Arc::clone(said));
                }
                continue;
            }
            let entry = self.number(event);
            if let (Some(session), EventKind::SessionWithdrawn(_)) = (session, &entry.event.kind) {
                self.withdrawn.insert(session, Arc::clone(&entry));
            }
            taken.told.push(Arc::clone(&entry));
            let most = if entry.kind == ALERT || entry.is_withdrawal() { 2 * MOST_UNWRITTEN } else { MOST_UNWRITTEN };
            if self.unwritten.len() >= most {
                self.overflowed += 1;
                self.skip(entry.seq, entry.event.wall);
                continue;
            }
            self.unwritten.insert(entry.seq, Arc::clone(&entry));
            taken.queued.push(entry);
        }
        taken
    }

    /// A number that will have no row.
    fn skip(&mut self, seq: u64, at: Timestamp) {
        match self.jobs.back_mut() {
            Some(Job::Hole { last, .. }) if *last + 1 == seq => *last = seq,
            _ => self.jobs.push_back(Job::Hole { first: seq, last: seq, at }),
        }
    }

    fn number(&mut self, event: Event) -> Arc<Entry> {
        let seq = self.next_seq;
        self.next_seq += 1;
        Arc::new(Entry::new(seq, event, self.lanes.iter().map(|lane| &lane.route)))
    }

    /// Hands all events up to `last` to their sinks, in order, those that were handed before left out.
    pub(super) fn hand(&mut self, last: u64, durable: bool) {
        if last <= self.handed {
            return;
        }
        let withdrawn = &self.withdrawn;
        let is_gone = |entry: &Entry| entry.event.session.as_ref().is_some_and(|of| withdrawn.contains_key(of));
        let entries = self.unwritten.range(self.handed + 1..=last).map(|(_, entry)| entry);
        for entry in entries.filter(|entry| !is_gone(entry)) {
            for lane in self.lanes.iter_mut().filter(|lane| entry.sinks.contains(&lane.route.sink)) {
                lane.outbox.push(entry.item(durable));
                lane.wake.notify_one();
            }
        }
        self.handed = last;
    }

    /// Whether an item is of a session that was withdrawn since, and not the word of that.
    pub(super) fn is_gone(&self, item: &Item) -> bool {
        let said = item.session.as_ref().and_then(|session| self.withdrawn.get(session));
        said.is_some_and(|said| said.seq != item.seq)
    }

    /// Takes out of memory what is there of a session; its numbers, and the sinks that may have got something.
    pub(super) fn forget(&mut self, session: &str) -> (Vec<u64>, Vec<String>) {
        let gone = |entry: &Entry| {
            entry.event.session.as_deref() == Some(session)
                && !matches!(entry.event.kind, EventKind::SessionWithdrawn(_))
        };
        let mut numbers = Vec::new();
        for job in &mut self.jobs {
            if let Job::Events(entries, _) = job {
                numbers.extend(entries.iter().filter(|entry| gone(entry)).map(|entry| entry.seq));
                entries.retain(|entry| !gone(entry));
            }
        }
        for number in &numbers {
            self.unwritten.remove(number);
        }
        let mut may_have = Vec::new();
        for lane in &mut self.lanes {
            if lane.outbox.withdraw(session).1 {
                may_have.push(lane.route.sink.to_string());
            }
            // Whoever is just sending something of it has to stop.
            lane.wake.notify_one();
        }
        (numbers, may_have)
    }
}

/// What became of events that came in.
pub(super) struct Taken {
    /// In order, what is to be told.
    pub told: Vec<Arc<Entry>>,
    /// What of it is to be written.
    pub queued: Vec<Arc<Entry>>,
}

/// [`State`], and what wakes the writer.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    pub work: Condvar,
    /// The writer has ended.
    pub ended: Notify,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until somebody calls, or this long.
    pub(super) fn sleep<'a>(&self, state: MutexGuard<'a, State>, longest: Option<Duration>) -> MutexGuard<'a, State> {
        match longest {
            None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(longest) => self.work.wait_timeout(state, longest).unwrap_or_else(PoisonError::into_inner).0,
        }
    }
}
