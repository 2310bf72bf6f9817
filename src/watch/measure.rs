//! Windows on their way past the local models: one source's after the other, in order, on threads that all sources share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use crate::config::GateConfig;
use crate::gate::{Decision, Flags, Gate, Measurer};
use crate::judge::Vote;
use crate::judge::cues::CueJudge;
use crate::stage::{Stage, Stages};
use crate::time::monotonic;
use crate::window::Window;

/// Where a source hands in its windows.
#[derive(Clone, Debug)]
pub struct Desk(mpsc::Sender<Job>);

/// The other end, shared by the threads that measure.
pub type Jobs = Arc<Mutex<mpsc::Receiver<Job>>>;

/// A window to measure, with the state of its source, which goes with it and comes back.
#[derive(Debug)]
pub struct Job {
    station: Station,
    /// Held by its source. Gone once that is withdrawn.
    window: Weak<Window>,
    done: oneshot::Sender<(Station, Found)>,
}

/// A desk, for as many windows as may lie on it at once; sources wait for a place.
#[must_use]
pub fn desk(places: usize) -> (Desk, Jobs) {
    let (sender, receiver) = mpsc::channel(places);
    (Desk(sender), Arc::new(Mutex::new(receiver)))
}

/// Measures what is handed in until no desk is left. Blocks: give it a thread.
pub fn work(jobs: &Mutex<mpsc::Receiver<Job>>, mut measurer: Option<Measurer>) {
    loop {
        // Held while waiting: of several threads one waits here and the others for it.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(Job { mut station, window, done }) = job else { return };
        let Some(window) = window.upgrade() else { continue };
        let found = station.look(measurer.as_mut(), &window);
        drop(window);
        // Nobody waits for it when its source was given up.
        let _ = done.send((station, found));
    }
}

/// What goes from window to window of one source.
#[derive(Debug)]
pub struct Station {
    gate: Gate,
    cues: Option<CueJudge>,
    stages: Stages,
}

/// What was found in a window.
#[derive(Debug)]
pub struct Found {
    /// What is odd about it.
    pub flags: Flags,
    /// What the gate says.
    pub decision: Decision,
    /// Of the embedded cue index.
    pub vote: Option<Vote>,
}

impl Station {
    pub(super) fn new(source: &str, gate: GateConfig, cues: Option<CueJudge>, stages: Stages) -> Self {
        Self { gate: Gate::new(source, gate), cues, stages }
    }

    fn look(&mut self, measurer: Option<&mut Measurer>, window: &Window) -> Found {
        let began = monotonic();
        let checked = self.gate.check(measurer, window);
        // The index hears skipped windows as well: what it knows of the speaker goes on.
        let vote = self.cues.as_mut().map(|cues| match &checked.measures {
            Ok(measures) => cues.judge_measured(window, measures),
            Err(error) => cues.unmeasured(error),
        });
        self.stages.took(Stage::Measure, began.elapsed());
        Found { flags: checked.flags, decision: checked.decision, vote }
    }
}

/// Windows of one source that may wait to be measured before the oldest is let go: 15 s at the usual hop.
const MOST_WAITING: usize = 3;

/// A window that is to be measured.
#[derive(Debug)]
pub(super) struct Queued {
    pub window: Arc<Window>,
    /// When the frame that completed it arrived.
    pub at: Instant,
    /// Where its flags are awaited, if that is all that is wanted of it.
    pub flags: Option<oneshot::Sender<Flags>>,
}

/// One source's windows before the desk.
#[derive(Debug)]
pub(super) struct Measuring {
    desk: Desk,
    /// At home, or lent with a window; gone if the thread that had it broke off.
    station: Option<Station>,
    away: Option<(Queued, oneshot::Receiver<(Station, Found)>)>,
    queue: VecDeque<Queued>,
}

impl Measuring {
    pub fn new(desk: Desk, station: Station) -> Self {
        Self { desk, station: Some(station), away: None, queue: VecDeque::new() }
    }

    pub fn is_idle(&self) -> bool {
        self.away.is_none() && self.queue.is_empty()
    }

    /// Queues a window. `live`: returns the oldest when too many wait.
    pub fn push(&mut self, queued: Queued, live: bool) -> Option<Queued> {
        self.queue.push_back(queued);
        if live && self.queue.len() > MOST_WAITING { self.queue.pop_front() } else { None }
    }

    /// The next window that was measured and is wanted back, or None where only its flags were wanted: then, too, it may be idle now,
    /// which somebody may wait for. None for what was found: it could not be measured, because a measuring thread broke off.
    /// Pending while there is none. May be dropped and called again at any time.
    pub async fn next(&mut self) -> Option<(Queued, Option<Found>)> {
        loop {
            if let Some((_, found)) = &mut self.away {
                let found = found.await;
                let Some((mut queued, _)) = self.away.take() else { continue };
                let found = found.ok().map(|(station, found)| {
                    self.station = Some(station);
                    found
                });
                let Some(flags) = queued.flags.take() else { return Some((queued, found)) };
                if let Some(found) = found {
                    let _ = flags.send(found.flags);
                }
                return None;
            }
            if self.queue.is_empty() {
                return std::future::pending().await;
            }
            let place = self.desk.0.reserve().await;
            let Some(queued) = self.queue.pop_front() else { continue };
            let (Ok(place), Some(station)) = (place, self.station.take()) else {
                return queued.flags.is_none().then_some((queued, None));
            };
            let (done, found) = oneshot::channel();
            place.send(Job { station, window: Arc::downgrade(&queued.window), done });
            self.away = Some((queued, found));
        }
    }
}
