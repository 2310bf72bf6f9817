//! One source's task: windows in, verdicts into its session, events out.
//!
//! Several windows may be before the panel at once. Of a live source at most one more waits, the newest: an older one is
//! dropped, and counted. A recording waits instead.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, watch};

use crate::alert::{Event, EventKind, SourceState, WindowQuality};
use crate::config::{ClipCodec, Config, Judging};
use crate::encode::{ClipSet, clips};
use crate::judge::panel::{Due, Panel};
use crate::judge::{DropReason, LostReason, Outcome, SkipReason, Verdict, Vote};
use crate::record::{Media, Recorder};
use crate::run::{FromSource, Item, blocking};
use crate::session::{Rule, Session, SessionKind, SessionSettings};
use crate::source::{Loss, SourceError};
use crate::time::{MediaTime, Span, monotonic, wall};
use crate::window::{Cut, Window};

/// No source has more windows before the panel at once, whatever its limits.
const MOST_IN_FLIGHT: usize = 32;
/// After the grace, a source that was stopped has so long to say where it ended.
const DRAIN: std::time::Duration = std::time::Duration::from_millis(300);

/// Who judges a source's windows.
pub enum Judges {
    /// The embedded cue index, which has judged them already when they come.
    Embedded,
    /// A panel of endpoints.
    Panel(Arc<Panel>),
}

/// What came of a source.
#[derive(Debug, Default)]
pub struct Watched {
    /// Judged session time, over its sessions.
    pub judged: MediaTime,
    /// What went wrong with it.
    pub error: Option<SourceError>,
}

/// The settings that every session of this configuration begins with.
#[must_use]
pub fn session_settings(config: &Config) -> SessionSettings {
    let (judges, thresholds, kind) = match &config.judging {
        Judging::Cues { .. } => (vec![crate::judge::cues::JUDGE.into()], Vec::new(), SessionKind::Heuristic),
        Judging::Panel(judges) => (
            judges.iter().map(|j| Arc::clone(&j.name)).collect(),
            judges.iter().map(|j| j.threshold).collect(),
            SessionKind::Panel,
        ),
    };
    SessionSettings {
        judges,
        thresholds,
        rule: match config.session.rule {
            crate::config::Rule::VoteOfMax => Rule::VoteOfMax,
            crate::config::Rule::MaxOfVote => Rule::MaxOfVote,
        },
        early_stop: config.session.early_stop,
        min_coverage: config.session.min_coverage,
        open_windows: config.session.open_windows,
        clear_windows: config.session.clear_windows,
        cooldown: config.session.cooldown,
        kind,
    }
}

type Judged = (Verdict, WindowQuality, Media);

/// The time at which what is still under way is given up; set when the program is stopped.
pub type Grace = watch::Receiver<Option<tokio::time::Instant>>;

/// The task of one source.
pub struct Watcher {
    name: Arc<str>,
    live: bool,
    judges: Judges,
    codec: ClipCodec,
    settings: Arc<SessionSettings>,
    events: mpsc::Sender<Event>,
    grace: Grace,
    /// Off, until it is replaced.
    pub(crate) recorder: Recorder,
    /// Numbers the events outside any session.
    scope: Arc<str>,
    outside: u64,
    session: Option<Session>,
    continuity: u32,
    /// End of the session time that is known.
    now: MediaTime,
    in_flight: FuturesUnordered<Pin<Box<dyn Future<Output = Judged> + Send>>>,
    waiting: Option<(Box<Window>, Instant)>,
    /// The session is over once nothing of it is under way.
    ending: Option<MediaTime>,
    lost: Option<(Instant, SourceState)>,
    /// The source said that it ended, and how.
    finished: bool,
    watched: Watched,
}

impl Watcher {
    /// A task for the source of this name.
    #[must_use]
    pub fn new(
        name: &str,
        live: bool,
        judges: Judges,
        codec: ClipCodec,
        settings: Arc<SessionSettings>,
        events: mpsc::Sender<Event>,
        grace: Grace,
    ) -> Self {
        Self {
            name: name.into(),
            live,
            judges,
            codec,
            settings,
            events,
            grace,
            recorder: Recorder::default(),
            scope: uuid::Uuid::now_v7().to_string().into(),
            outside: 0,
            session: None,
            continuity: 0,
            now: MediaTime::ZERO,
            in_flight: FuturesUnordered::new(),
            waiting: None,
            ending: None,
            lost: None,
            finished: false,
            watched: Watched::default(),
        }
    }

    /// Runs until the source has ended and everything of it is judged, or until the time in `grace` has come.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Item>) -> Watched {
        let (mut open, mut grace) = (true, self.grace.clone());
        loop {
            self.admit();
            if let (Some(elapsed), true) = (self.ending, self.in_flight.is_empty() && self.waiting.is_none()) {
                self.end_session(elapsed).await;
            }
            if !open && self.in_flight.is_empty() && self.waiting.is_none() {
                break;
            }
            let takes_more = open && self.ending.is_none() && (self.live || self.waiting.is_none());
            let until = *grace.borrow();
            tokio::select! {
                Some((verdict, quality, media)) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    self.recorder.offer(media);
                    self.apply(&verdict, Some(quality)).await;
                }
                () = self.recorder.written() => {}
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
        self.waiting = None;
        if open {
            self.drain(&mut queue).await;
        }
        drop(queue);
        let elapsed = self.ending.unwrap_or(self.now);
        self.end_session(elapsed).await;
        self.watched
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
            Item::Read(window, vote) => {
                let (verdict, quality) = (verdict(&window, vec![vote]), WindowQuality::from(&*window));
                self.reach(window.span.end());
                self.recorder.offer(Media::Held(window, self.codec));
                self.apply(&verdict, Some(quality)).await;
            }
            Item::Skipped(window, skip) => {
                self.reach(window.span.end());
                let outcome = Outcome::Skipped(SkipReason::Gate(skip));
                let verdict = Verdict { window: window.id, span: window.span, outcome };
                self.apply(&verdict, Some(WindowQuality::from(&*window))).await;
            }
            Item::From(FromSource::Cut(cut, at)) => self.cut(cut, at).await,
            Item::From(FromSource::Lost(loss)) => self.source_lost(loss).await,
            Item::From(FromSource::Restored) => self.source_restored().await,
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
                let id = uuid::Uuid::now_v7().to_string().into();
                let mut session = Session::new(id, Arc::clone(&self.name), Arc::clone(&self.settings));
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
            Cut::Window(window) => {
                self.reach(window.span.end());
                if let Some((older, _)) = self.waiting.replace((window, at)) {
                    let quality = WindowQuality::from(&*older);
                    let outcome = Outcome::Dropped(DropReason::Overload);
                    self.apply(&Verdict { window: older.id, span: older.span, outcome }, Some(quality)).await;
                }
            }
            Cut::Unjudgeable { id, span, reason } => {
                self.reach(span.end());
                self.apply(&Verdict { window: id, span, outcome: Outcome::Lost(reason) }, None).await;
            }
            Cut::Outage(span) => {
                self.reach(span.end());
                let continuity = self.continuity;
                self.tell(|session| session.lost(continuity, span, LostReason::Outage, wall())).await;
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

    /// Puts the waiting window before the panel if there is room.
    fn admit(&mut self) {
        let Judges::Panel(panel) = &self.judges else { return };
        let room = panel.windows_at_once().min(MOST_IN_FLIGHT);
        if self.in_flight.len() >= room {
            return;
        }
        let Some((window, at)) = self.waiting.take() else { return };
        let asks: Vec<bool> = match &self.session {
            Some(session) => panel.judges().iter().map(|j| session.asks(&j.config().name)).collect(),
            None => Vec::new(),
        };
        let due = if self.live { Due::After(at.into()) } else { Due::AfterSending };
        let panel = Arc::clone(panel);
        self.in_flight.push(Box::pin(judge(panel, window, at, self.codec, asks, due, Arc::clone(&self.name))));
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

    async fn source_lost(&mut self, loss: Loss) {
        let state = if loss.auth_failed { SourceState::AuthFailed } else { SourceState::Retrying };
        let since = match self.lost {
            // Said once, and again when the reason is another kind.
            Some((_, said)) if said == state => {
                return tracing::debug!(source = %self.name, reason = loss.reason, "still lost");
            }
            Some((since, _)) => since,
            None => monotonic(),
        };
        tracing::warn!(source = %self.name, reason = loss.reason, "source lost");
        self.lost = Some((since, state));
        self.source_event(EventKind::SourceLost(state, loss.reason)).await;
    }

    async fn source_restored(&mut self) {
        if let Some((since, _)) = self.lost.take() {
            self.source_event(EventKind::SourceRestored(monotonic() - since)).await;
        }
    }

    async fn source_event(&mut self, kind: EventKind) {
        let event = match &mut self.session {
            Some(session) => session.note(self.continuity, Span::new(self.now, self.now), kind, wall()),
            None => {
                self.outside += 1;
                Event::outside(Arc::clone(&self.scope), self.outside, Arc::clone(&self.name), kind, wall())
            }
        };
        self.send(event).await;
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

fn verdict(window: &Window, votes: Vec<Vote>) -> Verdict {
    Verdict { window: window.id, span: window.span, outcome: Outcome::Votes(votes) }
}

/// Encodes a window, which the frame that arrived `at` completed, and puts it to the panel.
async fn judge(
    panel: Arc<Panel>,
    window: Box<Window>,
    at: Instant,
    codec: ClipCodec,
    asks: Vec<bool>,
    due: Due,
    source: Arc<str>,
) -> Judged {
    let quality = WindowQuality::from(&*window);
    let mut verdict = verdict(&window, Vec::new());
    let id = window.id;
    let anyone = asks.iter().any(|asked| *asked);
    let sizes: BTreeSet<u32> = if anyone { panel.clip_sizes() } else { BTreeSet::new() };
    let encoded = blocking(move || clips(&window, codec, &sizes)).await;
    let set = match encoded {
        Some(Ok(set)) => set,
        // Every judge then abstains with the reason "encoding".
        Some(Err(error)) => {
            tracing::error!(%source, %error, "a clip could not be built");
            ClipSet::new()
        }
        None => ClipSet::new(),
    };
    let after_ms = (monotonic() - at).as_secs_f64() * 1e3;
    tracing::debug!(%source, continuity = id.continuity, window = id.index, after_ms, "asking the panel");
    verdict.outcome = Outcome::Votes(panel.judge(&set, &asks, due).await);
    (verdict, quality, Media::sent(&set, &panel))
}

#[cfg(test)]
mod tests;
