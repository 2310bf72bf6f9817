//! One person, one sitting, one running max: verdicts go in, [`Event`]s come out.
//!
//! Pure: all times are arguments. What a session says at its end is a function of the *set* of what it was told: windows
//! may come in any order, late or repeatedly, and the first outcome of a window counts. Only episodes, which are about
//! succession, wait until every earlier window is accounted for; for that the caller tells each window's outcome exactly
//! once, whatever it is, and how many windows each continuity had ([`Session::continuity_ended`]).
//!
//! - [`coverage`]: every nanosecond on exactly one account.
//! - `order`, [`episodes`]: windows back in order, and what follows from their succession.
//! - `replica`: the same books, from the events. [`settings`], [`summary`]: what a session begins with and what it ends with.

pub mod coverage;
pub mod episodes;
mod judges;
mod order;
mod ranges;
mod replica;
pub mod settings;
pub mod summary;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;

pub use coverage::{Account, Books};
pub use episodes::{ClosedBy, Episode};
pub use replica::Replica;
pub use settings::{Rule, SessionKind, SessionSettings, SettingsProblem};
pub use summary::{Alarms, JudgeSummary, Labels, Saturation, Summary, WindowCounts};

use crate::alert::{Alert, AlertAbout, Event, EventKind, JudgedWindow, LostTime, UnjudgedWindow, WindowQuality};
use crate::judge::tally::{self, Tally};
use crate::judge::{CueReading, DropReason, Label, LostReason, Outcome, SkipReason, Verdict};
use crate::judge::{Vote, WindowId};
use crate::time::{MediaTime, Span};
use coverage::Coverage;
use episodes::{Episodes, Step};
use judges::Judges;
use order::Order;

/// A session, from its beginning to its end.
#[derive(Debug)]
pub struct Session {
    id: Arc<str>,
    source: Arc<str>,
    settings: Arc<SessionSettings>,
    judges: Judges,
    coverage: Coverage,
    order: Order<Accounted>,
    episodes: Episodes,
    windows: WindowCounts,
    longest_window: MediaTime,
    alerted: bool,
    continuity: u32,
    /// No window still to come starts before this.
    horizon: MediaTime,
    next_event: u64,
    /// Set once, by `end`.
    ended_at: Option<MediaTime>,
}

/// What waits in [`Order`] for its turn.
#[derive(Debug)]
struct Accounted {
    span: Span,
    /// None: not judged.
    label: Option<Label>,
    cues: Option<CueReading>,
}

impl Session {
    /// A session of `source` (its name, or its address; credentials are removed from events), without any event yet.
    #[must_use]
    pub fn new(id: Arc<str>, source: Arc<str>, settings: Arc<SessionSettings>) -> Self {
        Self {
            id,
            source,
            judges: Judges::new(&settings),
            coverage: Coverage::default(),
            order: Order::default(),
            episodes: Episodes::new(settings.open_windows, settings.clear_windows, settings.cooldown),
            windows: WindowCounts::default(),
            longest_window: MediaTime::ZERO,
            alerted: false,
            continuity: 0,
            horizon: MediaTime::ZERO,
            next_event: 0,
            ended_at: None,
            settings,
        }
    }

    /// The session's id.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// What it began with.
    #[must_use]
    pub fn settings(&self) -> &Arc<SessionSettings> {
        &self.settings
    }

    /// The event that says it began; to be called once, before all else.
    pub fn start(&mut self, now: Timestamp) -> Event {
        let kind = EventKind::SessionStarted(self.settings.clone());
        self.note(0, Span::new(MediaTime::ZERO, MediaTime::ZERO), kind, now)
    }

    /// An event of this session that changes nothing in it: its source was lost or is back, it was paused.
    pub fn note(&mut self, continuity: u32, span: Span, kind: EventKind, now: Timestamp) -> Event {
        let number = self.next_event;
        self.next_event += 1;
        Event {
            session: Some(self.id.clone()),
            scope: self.id.clone(),
            number,
            source: self.source.clone(),
            continuity,
            span,
            wall: now,
            kind,
        }
    }

    /// Whether a judge should be asked about the next window. Only early stop says no (rule 10): once its max is Present.
    #[must_use]
    pub fn asks(&self, judge: &str) -> bool {
        !self.settings.early_stop || !self.judges.is_present(judge)
    }

    /// Takes a window's verdict. A window already accounted for changes nothing and gives no event, nor does anything
    /// after the end.
    pub fn apply(&mut self, verdict: &Verdict, now: Timestamp) -> Vec<Event> {
        self.apply_window(verdict, None, now)
    }

    /// [`Session::apply`], with how complete the window was, for its event.
    pub fn apply_window(&mut self, verdict: &Verdict, quality: Option<WindowQuality>, now: Timestamp) -> Vec<Event> {
        if self.ended_at.is_some() || !self.order.is_new(verdict.window) {
            return Vec::new();
        }
        let mut unjudged = UnjudgedWindow { window: Some(verdict.window), votes: Vec::new(), quality };
        let (account, label, kind) = match &verdict.outcome {
            Outcome::Votes(votes) => {
                self.judges.count(verdict.span, votes);
                match tally::tally(&self.settings.judges, votes) {
                    Tally::Judged(label) => (Account::of_label(label), Some(label), None),
                    Tally::NotAsked => {
                        let reason = SkipReason::EarlyStop;
                        (Account::of_skip(&reason), None, Some(EventKind::WindowSkipped(unjudged, reason)))
                    }
                    Tally::AllAbstained => {
                        unjudged.votes = self.votes_in_order(votes);
                        let reason = LostReason::AllAbstained;
                        let kind = EventKind::WindowLost(unjudged, LostTime::Lost(reason));
                        (Account::of_loss(reason), None, Some(kind))
                    }
                }
            }
            Outcome::Skipped(reason) => {
                (Account::of_skip(reason), None, Some(EventKind::WindowSkipped(unjudged, reason.clone())))
            }
            Outcome::Dropped(reason) => {
                (Account::of_drop(*reason), None, Some(EventKind::WindowDropped(unjudged, *reason)))
            }
            Outcome::Lost(reason) => {
                (Account::of_loss(*reason), None, Some(EventKind::WindowLost(unjudged, LostTime::Lost(*reason))))
            }
        };
        self.count_window(verdict, account);
        let kind = kind.unwrap_or_else(|| self.judged(verdict, label, quality));
        let mut events = vec![self.note(verdict.window.continuity, verdict.span, kind, now)];
        let cues = cues_of(&verdict.outcome);
        events.extend(self.session_alert(verdict, cues.clone(), now));
        let ready = self.order.push(verdict.window, Accounted { span: verdict.span, label, cues });
        events.extend(self.advance(ready, now));
        events
    }

    /// Time at the end of a continuity that no window covers.
    pub fn tail(&mut self, continuity: u32, span: Span, now: Timestamp) -> Vec<Event> {
        self.outside_windows(continuity, span, Account::Tail, now, |no| EventKind::WindowLost(no, LostTime::Tail))
    }

    /// Time that was lost outside any window, as between two continuities.
    pub fn lost(&mut self, continuity: u32, span: Span, reason: LostReason, now: Timestamp) -> Vec<Event> {
        let kind = |no| EventKind::WindowLost(no, LostTime::Lost(reason));
        self.outside_windows(continuity, span, Account::of_loss(reason), now, kind)
    }

    /// Time that was left out by choice outside any window, as during a pause.
    pub fn skipped(&mut self, continuity: u32, span: Span, reason: SkipReason, now: Timestamp) -> Vec<Event> {
        let account = Account::of_skip(&reason);
        self.outside_windows(continuity, span, account, now, |no| EventKind::WindowSkipped(no, reason))
    }

    /// Continuity `continuity` is over and had `windows` windows, of whatever outcome; windows of the next follow those.
    /// Every continuity is told, also one without windows.
    pub fn continuity_ended(&mut self, continuity: u32, windows: u32, now: Timestamp) -> Vec<Event> {
        let ready = self.order.ended(continuity, windows);
        self.advance(ready, now)
    }

    /// Ends the session after `elapsed`: what is on no account by then counts as dropped (shutdown), the open episode
    /// closes. A second call changes nothing.
    pub fn end(&mut self, elapsed: MediaTime, now: Timestamp) -> Vec<Event> {
        if self.ended_at.is_some() {
            return Vec::new();
        }
        let elapsed = elapsed.max(self.coverage.extent());
        let mut events = Vec::new();
        for gap in self.coverage.gaps(elapsed) {
            let kind = |no| EventKind::WindowDropped(no, DropReason::Shutdown);
            events.extend(self.outside_windows(self.continuity, gap, Account::DroppedShutdown, now, kind));
        }
        let held = self.order.flush();
        events.extend(self.advance(held, now));
        if let Some(step) = self.episodes.end() {
            events.push(self.step(self.continuity, step, now));
        }
        self.ended_at = Some(elapsed);
        let kind = EventKind::SessionEnded(Box::new(self.summary()));
        events.push(self.note(self.continuity, Span::new(MediaTime::ZERO, elapsed), kind, now));
        events
    }

    /// The books so far, or as they were closed.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let (episodes, alerts) = self.episodes.counts();
        Summary {
            kind: self.settings.kind,
            rule: self.settings.rule,
            early_stop: self.settings.early_stop,
            labels: self.labels(),
            judges: self.judges.summaries(self.countable()),
            elapsed: self.elapsed(),
            coverage: self.coverage.books(),
            windows: self.windows,
            alarms: (!self.settings.early_stop).then_some(Alarms { episodes, alerts }),
            longest_window: self.longest_window,
        }
    }

    /// The labels under both rules, so far.
    #[must_use]
    pub fn labels(&self) -> Labels {
        let (countable, absent) = (self.countable(), self.coverage.books().of(Account::Absent));
        Labels {
            vote_of_max: self.judges.vote_of_max(countable),
            max_of_vote: self.judges.max_of_vote(self.windows.present > 0, absent, countable),
        }
    }

    /// Each judge's session max so far, in panel order.
    #[must_use]
    pub fn maxima(&self) -> Vec<(Arc<str>, Label)> {
        self.judges.maxima(self.countable())
    }

    fn elapsed(&self) -> MediaTime {
        self.ended_at.unwrap_or_else(|| self.coverage.extent())
    }

    /// The session without tail, which Absent has to cover.
    fn countable(&self) -> MediaTime {
        self.elapsed() - self.coverage.books().tail()
    }

    fn count_window(&mut self, verdict: &Verdict, account: Account) {
        self.coverage.add(verdict.span, account);
        self.continuity = self.continuity.max(verdict.window.continuity);
        let windows = &mut self.windows;
        *match account {
            Account::Present => &mut windows.present,
            Account::Absent => &mut windows.absent,
            Account::Undecided => &mut windows.undecided,
            Account::SkippedGate | Account::SkippedEarlyStop | Account::SkippedPaused => &mut windows.skipped,
            Account::DroppedOverload | Account::DroppedShutdown => &mut windows.dropped,
            Account::LostMissingMedia | Account::LostAllAbstained | Account::LostOutage | Account::Tail => {
                &mut windows.lost
            }
        } += 1;
        if matches!(account, Account::Present | Account::Absent | Account::Undecided) {
            self.longest_window = self.longest_window.max(verdict.span.length());
        }
    }

    fn judged(&self, verdict: &Verdict, label: Option<Label>, quality: Option<WindowQuality>) -> EventKind {
        let votes = match &verdict.outcome {
            Outcome::Votes(votes) => self.votes_in_order(votes),
            _ => Vec::new(),
        };
        EventKind::WindowJudged(Box::new(JudgedWindow {
            window: verdict.window,
            kind: self.settings.kind,
            label: label.unwrap_or(Label::Undecided),
            votes,
            labels: self.labels(),
            maxima: self.maxima(),
            quality,
        }))
    }

    /// The votes that count, in panel order, without the models' own words.
    fn votes_in_order(&self, votes: &[Vote]) -> Vec<Vote> {
        let counted = self.settings.judges.iter().filter_map(|name| tally::vote_of(name, votes));
        counted.map(|vote| Vote { raw: None, ..vote.clone() }).collect()
    }

    fn outside_windows(
        &mut self,
        continuity: u32,
        span: Span,
        account: Account,
        now: Timestamp,
        kind: impl FnOnce(UnjudgedWindow) -> EventKind,
    ) -> Vec<Event> {
        if self.ended_at.is_some() || span.is_empty() {
            return Vec::new();
        }
        self.continuity = self.continuity.max(continuity);
        self.coverage.add(span, account);
        self.settle();
        vec![self.note(continuity, span, kind(UnjudgedWindow::default()), now)]
    }

    fn session_alert(&mut self, verdict: &Verdict, cues: Option<CueReading>, now: Timestamp) -> Option<Event> {
        if self.alerted || self.labels().by(self.settings.rule) != Label::Present {
            return None;
        }
        self.alerted = true;
        let kind = self.alert(AlertAbout::Session, verdict.window, cues);
        Some(self.note(verdict.window.continuity, verdict.span, kind, now))
    }

    fn alert(&self, about: AlertAbout, window: WindowId, cues: Option<CueReading>) -> EventKind {
        EventKind::AlertRaised(Box::new(Alert {
            about,
            kind: self.settings.kind,
            rule: self.settings.rule,
            labels: self.labels(),
            maxima: self.maxima(),
            window,
            cues,
        }))
    }

    /// Windows whose turn it is, in order.
    fn advance(&mut self, ready: Vec<(WindowId, Accounted)>, now: Timestamp) -> Vec<Event> {
        let mut events = Vec::new();
        for (id, window) in ready {
            self.horizon = self.horizon.max(window.span.start());
            // Early stop leaves windows without their votes: succession means nothing then.
            let Some(label) = window.label.filter(|_| !self.settings.early_stop) else { continue };
            let Some(step) = self.episodes.window(window.span, label) else { continue };
            events.push(self.step(id.continuity, step, now));
            if let Step::Opened(episode) = step
                && episode.alerted
            {
                let kind = self.alert(AlertAbout::Episode(episode), id, window.cues);
                events.push(self.note(id.continuity, episode.span, kind, now));
            }
        }
        self.settle();
        events
    }

    fn step(&mut self, continuity: u32, step: Step, now: Timestamp) -> Event {
        let kind = self.settings.kind;
        match step {
            Step::Opened(episode) => self.note(continuity, episode.span, EventKind::EpisodeOpened(kind, episode), now),
            Step::Closed(episode, by) => {
                self.note(continuity, episode.span, EventKind::EpisodeClosed(kind, episode, by), now)
            }
        }
    }

    fn settle(&mut self) {
        self.coverage.settle(self.horizon);
        self.judges.settle(self.horizon);
    }

    /// How many stretches and windows are held in memory.
    #[cfg(test)]
    fn footprint(&self) -> usize {
        self.coverage.footprint() + self.order.footprint() + self.judges.footprint()
    }
}

/// What the embedded index found, if it judged.
fn cues_of(outcome: &Outcome) -> Option<CueReading> {
    match outcome {
        Outcome::Votes(votes) => votes.iter().find_map(|vote| vote.cues.clone()),
        _ => None,
    }
}
