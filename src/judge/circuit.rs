//! Whether a `base_url` is asked at all: a circuit breaker. Pure, times are passed in.
//!
//! Five failures in a row, or ten of the last twenty, open the circuit. Open, one light request a second (a *canary*) finds out
//! whether somebody is there again; if so, one real request is let through on trial, and its answer closes the circuit. The
//! canary alone does not, since a server whose engine is dead may still list its models.
//!
//! Only what says that nobody is there counts as a failure: no connection, a broken one, no reply in time, a status of 500 or
//! more. Any other reply, be it a refusal, shows that the `base_url` is there, and no judge's wrong key or model name stops another.
//! Nor does a model that answers with 500 while another on the same server answers well.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open a circuit.
const IN_A_ROW: u32 = 5;
/// How many of the last outcomes are looked at, and how many failures among them open a circuit.
const RECENT: (u32, u32) = (20, 10);
/// For so long a judge's last answer speaks for the server, whatever happens to other judges there.
const SPEAKS_FOR: Duration = Duration::from_secs(30);
/// From one canary to the next.
pub const CANARY_EVERY: Duration = Duration::from_secs(1);

/// The circuit of one `base_url`.
#[derive(Clone, Debug, Default)]
pub struct Circuit {
    state: State,
    /// One bit an outcome, the newest lowest; 1 is a failure.
    recent: u32,
    in_a_row: u32,
    /// When it was last opened, put on trial or closed. What was sent before says nothing of the server there is now.
    changed: Option<Instant>,
    answered: Option<Instant>,
    /// The judges whose last request was answered well, and when.
    well: BTreeMap<Arc<str>, Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open {
        since: Instant,
        next_canary: Instant,
    },
    Trial {
        since: Instant,
        busy: bool,
    },
}

/// Whether a request may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Granted,
    /// Another is on trial; wait for what comes of it.
    OnTrial,
    /// The circuit is open.
    Refused,
}

/// What came of a request, as far as the `base_url` is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It replied.
    Alive,
    /// It did not.
    Dead,
    /// It replied with a status of 500 or more. That counts unless the last request of another judge was answered well.
    Erring,
    /// It said nothing until the time was up. That may be load, so it counts only if nothing else was answered meanwhile.
    Silent,
    /// Neither: the request was cancelled, or what replied may be something else on the way.
    Unknown,
}

/// What an outcome did to the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing that anybody waits for.
    None,
    /// It opened.
    Opened,
    /// It closed.
    Closed,
    /// The trial has ended without a result; another may begin.
    TrialFree,
}

impl Circuit {
    /// Asks for leave to send a request. Whoever has it tells what came of it by [`Circuit::outcome`].
    pub const fn admit(&mut self) -> Admission {
        match &mut self.state {
            State::Closed => Admission::Granted,
            State::Open { .. } => Admission::Refused,
            State::Trial { busy: true, .. } => Admission::OnTrial,
            State::Trial { busy, .. } => {
                *busy = true;
                Admission::Granted
            }
        }
    }

    /// Whether no request would be let through.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Since when nothing was answered, if it is open or on trial.
    #[must_use]
    pub const fn since(&self) -> Option<Instant> {
        match self.state {
            State::Closed => None,
            State::Open { since, .. } | State::Trial { since, .. } => Some(since),
        }
    }

    /// When the next canary is due, if it is open.
    #[must_use]
    pub const fn next_canary(&self) -> Option<Instant> {
        match self.state {
            State::Open { next_canary, .. } => Some(next_canary),
            _ => None,
        }
    }

    /// Whether to send a canary now. Who is told yes sends it; the next is due a second later.
    pub fn take_canary(&mut self, now: Instant) -> bool {
        match &mut self.state {
            State::Open { next_canary, .. } if *next_canary <= now => {
                *next_canary = now + CANARY_EVERY;
                true
            }
            _ => false,
        }
    }

    /// A canary was answered: one request may be tried. True: that is news.
    pub fn canary_answered(&mut self, now: Instant) -> bool {
        let State::Open { since, .. } = self.state else { return false };
        self.state = State::Trial { since, busy: false };
        self.changed = Some(now);
        true
    }

    /// What came of an admitted request of this judge that was sent at `sent`.
    pub fn outcome(&mut self, judge: &Arc<str>, health: Health, sent: Instant, now: Instant) -> Change {
        match health {
            Health::Alive => drop(self.well.insert(Arc::clone(judge), now)),
            Health::Unknown => {}
            Health::Dead | Health::Erring | Health::Silent => drop(self.well.remove(judge)),
        }
        let others = health == Health::Erring && self.well.values().any(|answered| now - *answered < SPEAKS_FOR);
        let outdated = self.changed.is_some_and(|changed| sent < changed);
        let load = health == Health::Silent && self.answered.is_some_and(|answered| sent <= answered);
        match health {
            Health::Alive => self.alive(now),
            Health::Dead | Health::Erring | Health::Silent if !outdated && !load && !others => self.dead(now),
            _ => match &mut self.state {
                State::Trial { busy, .. } if !outdated => {
                    *busy = false;
                    Change::TrialFree
                }
                _ => Change::None,
            },
        }
    }

    fn alive(&mut self, now: Instant) -> Change {
        self.answered = Some(now);
        self.in_a_row = 0;
        if self.state == State::Closed {
            self.recent = shifted(self.recent, 0);
            return Change::None;
        }
        self.state = State::Closed;
        self.recent = 0;
        self.changed = Some(now);
        Change::Closed
    }

    fn dead(&mut self, now: Instant) -> Change {
        let since = match self.state {
            State::Open { .. } => return Change::None,
            State::Trial { since, .. } => since,
            State::Closed => {
                self.recent = shifted(self.recent, 1);
                self.in_a_row += 1;
                if self.in_a_row < IN_A_ROW && self.recent.count_ones() < RECENT.1 {
                    return Change::None;
                }
                now
            }
        };
        self.state = State::Open { since, next_canary: now + CANARY_EVERY };
        self.changed = Some(now);
        Change::Opened
    }
}

const fn shifted(recent: u32, bit: u32) -> u32 {
    (recent << 1 | bit) & ((1 << RECENT.0) - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn v1() -> Arc<str> {
        "v1".into()
    }

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    /// A circuit that five failures opened at this moment.
    fn opened(now: Instant) -> Circuit {
        let mut circuit = Circuit::default();
        for _ in 0..IN_A_ROW {
            assert_eq!(circuit.admit(), Admission::Granted);
            circuit.outcome(&v1(), Health::Dead, now, now);
        }
        assert!(circuit.is_open());
        circuit
    }

    #[test]
    fn a_canary_a_second_then_a_trial_whose_answer_closes() {
        let start = Instant::now();
        let mut circuit = opened(start);
        assert_eq!(circuit.admit(), Admission::Refused);
        let sent = (0..5000).filter(|ms| circuit.take_canary(after(start, *ms))).collect::<Vec<_>>();
        assert_eq!(sent, [1000, 2000, 3000, 4000]);
        let now = after(start, 4001);
        assert!(circuit.canary_answered(now));
        assert_eq!((circuit.admit(), circuit.admit()), (Admission::Granted, Admission::OnTrial));
        assert_eq!(circuit.clone().outcome(&v1(), Health::Dead, now, after(start, 4100)), Change::Opened);
        assert_eq!(circuit.clone().outcome(&v1(), Health::Unknown, now, after(start, 4100)), Change::TrialFree);
        assert_eq!(circuit.outcome(&v1(), Health::Alive, now, after(start, 4100)), Change::Closed);
        assert_eq!((circuit.admit(), circuit.since()), (Admission::Granted, None));
    }

    #[test]
    fn what_was_sent_before_a_change_does_not_reopen_but_its_answer_closes() {
        let start = Instant::now();
        let mut circuit = opened(after(start, 100));
        assert!(circuit.take_canary(after(start, 1200)) && circuit.canary_answered(after(start, 1300)));
        assert_eq!(circuit.admit(), Admission::Granted);
        // A request from before the outage times out now: the trial goes on.
        assert_eq!(circuit.outcome(&v1(), Health::Silent, start, after(start, 1400)), Change::None);
        assert_eq!(circuit.admit(), Admission::OnTrial);
        assert_eq!(circuit.outcome(&v1(), Health::Alive, start, after(start, 1500)), Change::Closed);
    }

    #[test]
    fn silence_under_load_is_no_failure() {
        let start = Instant::now();
        let mut circuit = Circuit::default();
        for n in 0..100 {
            circuit.outcome(&v1(), Health::Alive, after(start, n * 10), after(start, n * 10 + 5));
            circuit.outcome(&v1(), Health::Silent, after(start, n * 10), after(start, n * 10 + 6));
        }
        assert!(!circuit.is_open());
    }

    #[test]
    fn a_model_that_errs_beside_one_that_answers_stops_nobody() {
        let (start, v2) = (Instant::now(), Arc::from("v2"));
        let mut circuit = Circuit::default();
        for n in 0..100 {
            let now = after(start, n * 100);
            circuit.outcome(&v2, Health::Erring, now, now);
            if n % 20 == 0 {
                circuit.outcome(&v1(), Health::Alive, now, now);
            }
        }
        assert!(!circuit.is_open());
        // The other errs as well: that is the server.
        let now = after(start, 10_000);
        for _ in 0..5 {
            circuit.outcome(&v1(), Health::Erring, now, now);
        }
        assert!(circuit.is_open());
    }

    proptest! {
        /// The circuit opens exactly when the rule says so, over any outcomes of a closed one.
        #[test]
        fn five_in_a_row_or_half_of_twenty_open_it(dead in prop::collection::vec(any::<bool>(), 0..200)) {
            let (start, mut circuit, mut last) = (Instant::now(), Circuit::default(), VecDeque::new());
            for (n, dead) in dead.into_iter().enumerate() {
                let now = after(start, n as u64);
                last.push_front(dead);
                last.truncate(20);
                let health = if dead { Health::Dead } else { Health::Alive };
                let change = circuit.outcome(&v1(), health, now, now);
                let row = last.iter().take_while(|dead| **dead).count();
                let opens = row >= 5 || last.iter().filter(|dead| **dead).count() >= 10;
                prop_assert_eq!(change == Change::Opened, opens);
                if opens {
                    break;
                }
            }
        }

        /// Whatever happens: never two trials at once, never two canaries within a second, no request while open; and from any
        /// state an answered canary and an answered request lead back to closed.
        #[test]
        fn no_order_of_events_breaks_it(events in prop::collection::vec((0_u8..9, 0_u64..700), 0..300)) {
            let (mut now, mut circuit) = (Instant::now(), Circuit::default());
            let (mut under_way, mut canary): (Vec<(Instant, bool)>, Option<Instant>) = (Vec::new(), None);
            for (what, millis) in events {
                now = after(now, millis);
                match what {
                    0..=2 => {
                        let open = circuit.is_open();
                        let trial = !open && circuit.since().is_some();
                        if circuit.admit() == Admission::Granted {
                            prop_assert!(!open);
                            prop_assert!(!trial || !under_way.iter().any(|(_, trial)| *trial));
                            under_way.push((now, trial));
                        }
                    }
                    3 => {
                        if circuit.take_canary(now) {
                            prop_assert!(canary.is_none_or(|last| now - last >= CANARY_EVERY));
                            canary = Some(now);
                            if millis % 2 == 0 {
                                circuit.canary_answered(now);
                            }
                        }
                    }
                    _ if under_way.is_empty() => {}
                    _ => {
                        let (sent, _) = under_way.remove(usize::try_from(millis).unwrap() % under_way.len());
                        let health = [Health::Alive, Health::Dead, Health::Erring, Health::Silent, Health::Unknown][usize::from(what) - 4];
                        if circuit.outcome(&v1(), health, sent, now) != Change::None {
                            // A change makes all that is under way outdated, or ends the one trial.
                            for (_, trial) in &mut under_way {
                                *trial = false;
                            }
                        }
                    }
                }
            }
            for (sent, _) in under_way {
                circuit.outcome(&v1(), Health::Unknown, sent, now);
            }
            now = after(now, 2000);
            if circuit.is_open() {
                prop_assert!(circuit.take_canary(now) && circuit.canary_answered(now));
            }
            prop_assert_eq!(circuit.admit(), Admission::Granted);
            circuit.outcome(&v1(), Health::Alive, now, now);
            prop_assert!(circuit.since().is_none());
        }
    }
}
