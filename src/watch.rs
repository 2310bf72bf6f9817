//! One source's task: windows in, verdicts into its session, events out.
//!
//! Several windows may be before the panel at once. Of a live source at most one more waits, the newest: an older one is
//! dropped, and counted. A recording waits instead.

mod ask;
mod away;
pub mod measure;
mod plan;
mod withdraw;

use std::sync::{Arc, Weak};
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use crate::alert::{Event, EventKind, SourceState, WindowQuality};
use crate::gate::Decision;
use crate::judge::panel::Due;
use crate::judge::{DropReason, LostReason, Outcome, SkipReason, Verdict};
use crate::record::{Media, Recorder};
use crate::run::{FromSource, Item};
use crate::session::Session;
use crate::source::SourceError;
use crate::stage::Stage;
use crate::time::{MediaTime, monotonic, wall};
use crate::window::{Cut, Window};
use ask::{How, Judgement, Noticed, Turn, Waiting, dropped, judge, next_turn, quality, verdict};
use measure::{Found, Measuring, Queued};
pub use plan::{Judges, Plan, session_settings};
pub(crate) use withdraw::Withdrawal;

/// No source has more windows before the panel at once, whatever its limits.
pub(crate) const MOST_IN_FLIGHT: u32 = 144;
/// After the grace, a source that was stopped has so long to say where it ended.
const DRAIN: std::time::Duration = std::time::Duration::from_millis(300);

/// What came of a source.
#[derive(Debug, Default)]
pub struct Watched {
    /// Judged session time, over its sessions.
    pub judged: MediaTime,
    /// What went wrong with it.
    pub error: Option<SourceError>,
    /// It was withdrawn.
    pub withdrawn: bool,
}

/// The time at which what is still under way is given up; set when the program is stopped.
pub type Grace = watch::Receiver<Option<tokio::time::Instant>>;

/// The task of one source.
pub struct Watcher {
    name: Arc<str>,
    live: bool,
    /// What the next session begins with, and while there is one what it began with.
    plan: Arc<Plan>,
    events: mpsc::Sender<Event>,
    grace: Grace,
    /// Off, until it is replaced.
    pub(crate) recorder: Recorder,
    /// Of the next session; None: a new one.
    pub(crate) id: Option<Arc<str>>,
    /// None: it cannot be withdrawn.
    pub(crate) withdrawal: Option<Withdrawal>,
    /// Windows that are under way, or were.
    held: Vec<Weak<Window>>,
    /// Numbers the events outside any session.
    scope: Arc<str>,
    outside: u64,
    session: Option<Session>,
    continuity: u32,
    /// End of the session time that is known.
    now: MediaTime,
    measuring: Measuring,
    in_flight: FuturesUnordered<Judgement>,
    /// How many of those have a place before the panel.
    asked: usize,
    /// The place in line for the next, kept while windows come and go: so that all sources get the same share.
    turn: Option<Turn>,
    waiting: Option<Waiting>,
    /// The session is over once nothing of it is under way.
    ending: Option<MediaTime>,
    lost: Option<(Instant, SourceState)>,
    /// The source said that it ended, and how.
    finished: bool,
    watched: Watched,
}

impl Watcher {
    /// A task for the source of this name, whose first session begins with `plan`.
    #[must_use]
    pub fn new(name: &str, live: bool, plan: Arc<Plan>, events: mpsc::Sender<Event>, grace: Grace) -> Self {
        Self {
            name: name.into(),
            live,
            measuring: Measuring::new(plan.desk.clone(), plan.station(name)),
            plan,
            events,
            grace,
            recorder: Recorder::default(),
            id: None,
            withdrawal: None,
            held: Vec::new(),
            scope: uuid::Uuid::now_v7().to_string().into(),
            outside: 0,
            session: None,
            continuity: 0,
            now: MediaTime::ZERO,
            in_flight: FuturesUnordered::new(),
            asked: 0,
            turn: None,
            waiting: None,
            ending: None,
            lost: None,
            finished: false,
            watched: Watched::default(),
        }
    }

    /// Runs until the source has ended and everything of it is judged, or until the time in `grace` has come, or until it is
    /// withdrawn.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Item>) -> Watched {
        let one_session = self.id.is_some();
        let Some(mut withdrawal) = self.withdrawal.take() else {
            self.watch(&mut queue).await;
            return self.watched;
        };
        let by = tokio::select! {
            biased;
            by = withdrawal.asked() => by,
            () = self.watch(&mut queue) => return self.watched,
        };
        self.withdraw(by, queue, withdrawal, one_session).await
    }

    async fn watch(&mut self, queue: &mut mpsc::Receiver<Item>) {
        let (mut open, mut grace) = (true, self.grace.clone());
        loop {
            self.queue_up();
            if let (Some(elapsed), true) = (self.ending, self.is_idle()) {
                self.end_session(elapsed).await;
            }
            if !open && self.is_idle() {
                break;
            }
            let room =
                self.live || (self.waiting.is_none() && (self.measuring.is_idle() || !self.plan.measures_first()));
            let takes_more = open && self.ending.is_none() && room;
            let until = *grace.borrow();
            tokio::select! {
                Some(judged) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    self.asked -= usize::from(judged.asked);
                    self.recorder.offer(judged.media);
                    self.apply(&judged.verdict, Some(judged.quality)).await;
                }
                permit = next_turn(&mut self.turn) => self.admit(permit),
                () = self.recorder.written() => {}
                measured = self.measuring.next() => if let Some((queued, found)) = measured {
                    self.measured(queued, found).await;
                },
                item = queue.recv(), if takes_more => match item {
                    Some(item) => self.take(item).await,
                    None => {
                        open = false;
                        self.broken_off();
                    }
                },
                () = expire(until) => break,
                changed = grace.changed() => if changed.is_err() { break },
            }
        }
        // Past the grace: what is under way is cancelled; the session counts it as dropped.
        drop(std::mem::take(&mut self.in_flight));
        (self.waiting, self.turn) = (None, None);
        if open {
            self.drain(queue).await;
        }
        queue.close();
        let elapsed = self.ending.unwrap_or(self.now);
        self.end_session(elapsed).await;
    }

    /// What was cut and not taken yet belongs to the session too, its windows as dropped time.
    async fn drain(&mut self, queue: &mut mpsc::Receiver<Item>) {
        let until = tokio::time::Instant::now() + DRAIN;
        while self.ending.is_none()
            && let Ok(Some(item)) = tokio::time::timeout_at(until, queue.recv()).await
        {
            match item {
                Item::From(FromSource::Cut(Cut::Window(window), _)) => self.reach(window.span.end()),
                item => self.take(item).await,
            }
        }
    }

    async fn take(&mut self, item: Item) {
        match item {
            // It is told between two sessions, and before it nothing of the next was.
            Item::Plan(plan) => {
                self.plan = plan;
                self.turn = None;
            }
            Item::From(FromSource::Cut(cut, at)) => self.cut(cut, at).await,
            Item::From(FromSource::Lost(loss)) => self.source_lost(loss).await,
            Item::From(FromSource::Restored) => self.source_restored().await,
            Item::From(FromSource::Paused(by)) => self.note(EventKind::SessionPaused(by)).await,
            Item::From(FromSource::Resumed(by)) => self.note(EventKind::SessionResumed(by)).await,
            Item::From(FromSource::Released) => {}
            Item::From(FromSource::Finished(finish)) => {
                self.finished = true;
                if let Some(error) = finish.error {
                    tracing::error!(source = %self.name, "{error}");
                    self.watched.error = Some(error);
                }
            }
        }
    }

    /// The source is gone without a word: one of its threads panicked.
    fn broken_off(&mut self) {
        if !self.finished {
            let reason = "its thread broke off, which is a defect of this program".into();
            let error = SourceError::Media { location: self.name.to_string(), reason };
            tracing::error!(source = %self.name, "{error}");
            self.watched.error = Some(error);
        }
    }

    async fn cut(&mut self, cut: Cut, at: Instant) {
        match cut {
            Cut::SessionBegan => {
                self.now = MediaTime::ZERO;
                let id = self.id.take().unwrap_or_else(|| uuid::Uuid::now_v7().to_string().into());
                self.measuring = Measuring::new(self.plan.desk.clone(), self.plan.station(&self.name));
                let mut session = Session::new(id, Arc::clone(&self.name), self.plan.settings_now());
                let event = session.start(wall());
                self.session = Some(session);
                self.send(event).await;
            }
            Cut::ContinuityBegan { continuity, streams, .. } => {
                self.continuity = continuity;
                if continuity == 0 && !(streams.audio && streams.video) {
                    let missing = if streams.audio { "pictures" } else { "sound" };
                    tracing::warn!(source = %self.name, "this source has no {missing}; judges that need them abstain");
                }
            }
            Cut::Window(window) => self.window(window.into(), at).await,
            Cut::Unjudgeable { id, span, reason } => {
                self.reach(span.end());
                self.apply(&Verdict { window: id, span, outcome: Outcome::Lost(reason) }, None).await;
            }
            Cut::Outage(span) => {
                self.reach(span.end());
                let continuity = self.continuity;
                self.tell(|session| session.lost(continuity, span, LostReason::Outage, wall())).await;
            }
            Cut::Paused(span) => {
                self.reach(span.end());
                let continuity = self.continuity;
                self.tell(|session| session.skipped(continuity, span, SkipReason::Paused, wall())).await;
            }
            Cut::Tail(span) => {
                self.reach(span.end());
                let continuity = self.continuity;
                self.tell(|session| session.tail(continuity, span, wall())).await;
            }
            Cut::ContinuityEnded { continuity, windows } => {
                self.tell(|session| session.continuity_ended(continuity, windows, wall())).await;
            }
            Cut::SessionEnded { elapsed } => self.ending = Some(elapsed),
        }
    }

    /// A window came: to be measured, and before the panel after that or at the same time.
    async fn window(&mut self, window: Arc<Window>, at: Instant) {
        self.plan.stages.took(Stage::Cut, monotonic().saturating_duration_since(at));
        self.reach(window.span.end());
        self.held.retain(|window| window.strong_count() > 0);
        self.held.push(Arc::downgrade(&window));
        if self.plan.measures_first() {
            let older = self.measuring.push(Queued { window, at, flags: None }, self.live);
            if let Some(Queued { window, .. }) = older {
                let outcome = Outcome::Dropped(DropReason::Overload);
                let verdict = Verdict { window: window.id, span: window.span, outcome };
                self.apply(&verdict, Some(WindowQuality::from(&*window))).await;
            }
            return;
        }
        let (flags, noticed) = oneshot::channel();
        // An older one that is let go is judged without flags.
        drop(self.measuring.push(Queued { window: Arc::clone(&window), at, flags: Some(flags) }, self.live));
        self.wait(Waiting { window, at, flags: Noticed::Soon(noticed) });
    }

    /// A window was measured before it is known what becomes of it.
    async fn measured(&mut self, Queued { window, at, .. }: Queued, found: Option<Found>) {
        let Some(Found { flags, decision, vote }) = found else {
            tracing::error!(source = %self.name, "a window could not be measured: the thread broke off, which is a defect of this program");
            return match &self.plan.judges {
                Judges::Panel(_) => self.wait(Waiting { window, at, flags: Noticed::Now(None) }),
                Judges::Embedded(_) => {
                    let vote = crate::judge::cues::CueJudge::broken_off();
                    self.apply(&verdict(&window, vec![vote]), Some(quality(&window, None))).await;
                }
            };
        };
        let noticed = Some(quality(&window, Some(flags)));
        match (decision, vote) {
            (Decision::Skip(skip), _) => {
                let outcome = Outcome::Skipped(SkipReason::Gate(skip));
                self.apply(&Verdict { window: window.id, span: window.span, outcome }, noticed).await;
            }
            (_, Some(vote)) => {
                self.recorder.offer(Some(Media::Held(Arc::clone(&window), self.plan.codec)));
                self.apply(&verdict(&window, vec![vote]), noticed).await;
            }
            (_, None) => self.wait(Waiting { window, at, flags: Noticed::Now(Some(flags)) }),
        }
    }

    /// The newest window waits; one that waited is dropped for it.
    fn wait(&mut self, newest: Waiting) {
        if let Some(older) = self.waiting.replace(newest) {
            self.in_flight.push(Box::pin(dropped(older)));
        }
    }

    /// Gets in line before the panel, if a window waits.
    fn queue_up(&mut self) {
        if let (Judges::Panel(panel), Some(_), None) = (&self.plan.judges, &self.waiting, &self.turn)
            && self.asked < MOST_IN_FLIGHT as usize
        {
            self.turn = Some(Box::pin(Arc::clone(panel).turn()));
        }
    }

    /// Puts the waiting window before the panel, which is its turn.
    fn admit(&mut self, permit: OwnedSemaphorePermit) {
        self.turn = None;
        let (Judges::Panel(panel), Some(waiting)) = (&self.plan.judges, self.waiting.take()) else { return };
        let asks: Vec<bool> = match &self.session {
            Some(session) => panel.judges().iter().map(|j| session.asks(&j.config().name)).collect(),
            None => Vec::new(),
        };
        let due = if self.live { Due::After(waiting.at.into()) } else { Due::AfterSending };
        self.asked += 1;
        let (panel, source) = (Arc::clone(panel), Arc::clone(&self.name));
        let how = How { codec: self.plan.codec, asks, due, stages: self.plan.stages.clone() };
        self.in_flight.push(Box::pin(judge(panel, permit, waiting, how, source)));
    }

    /// Whether nothing of the session is under way.
    fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.waiting.is_none() && self.measuring.is_idle()
    }

    async fn apply(&mut self, verdict: &Verdict, quality: Option<WindowQuality>) {
        self.tell(|session| session.apply_window(verdict, quality, wall())).await;
    }

    async fn tell(&mut self, change: impl FnOnce(&mut Session) -> Vec<Event>) {
        let events = self.session.as_mut().map(change).unwrap_or_default();
        self.recorder.decide(&events);
        for event in events {
            self.send(event).await;
        }
    }

    async fn end_session(&mut self, elapsed: MediaTime) {
        self.ending = None;
        self.tell(|session| session.end(elapsed, wall())).await;
        self.recorder.session_ended().await;
        if let Some(session) = self.session.take() {
            self.watched.judged += session.summary().coverage.judged();
        }
    }

    /// Hands an event on. Whoever reads them may have stalled: that is waited for, but not past the grace of a stop.
    async fn send(&mut self, event: Event) {
        let mut grace = self.grace.clone();
        let too_late = async {
            loop {
                let until = *grace.borrow_and_update();
                tokio::select! {
                    () = expire(until) => break,
                    Ok(()) = grace.changed() => {}
                }
            }
        };
        // Closed only when whoever reads the events is gone, which ends the run by itself.
        tokio::select! {
            biased;
            _ = self.events.send(event) => {}
            () = too_late => {}
        }
    }

    fn reach(&mut self, time: MediaTime) {
        self.now = self.now.max(time);
    }
}

async fn expire(until: Option<tokio::time::Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
