//! The tasks that look after a panel: whether its judges answer at all, and whether they hear, see and answer as they did.

#![allow(clippy::disallowed_methods, reason = "part of run.rs")]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{RunError, blocking};
use crate::alert::{Event, EventKind, JudgeChange, JudgeState};
use crate::config::Config;
use crate::encode::EncodeError;
use crate::judge::canary::Clips;
use crate::judge::guard::{Change, Guard};
use crate::judge::outage::{Outage, Outages};
use crate::judge::panel::Panel;
use crate::judge::proof::Proof;
use crate::time::wall;

/// All that looks after one panel. Plans hold it, so that it goes on as long as a session may ask that panel.
pub(super) struct Care {
    /// Finds out whether base URLs that ceased to answer are there again.
    _probing: JoinSet<Infallible>,
    guarded: OnceLock<Guarded>,
}

impl Care {
    pub fn new(probing: JoinSet<Infallible>) -> Self {
        Self { _probing: probing, guarded: OnceLock::new() }
    }

    pub fn is_given(&self) -> bool {
        self.guarded.get().is_some()
    }

    /// The first counts.
    pub fn guard(&self, guarded: Guarded) {
        let _ = self.guarded.set(guarded);
    }

    /// Another panel judges the sessions that begin from now on.
    pub fn retire(&self) {
        if let Some(guarded) = self.guarded.get() {
            guarded.retired.store(true, Ordering::Relaxed);
        }
    }
}

/// Looks after one panel.
pub(super) struct Guarding {
    /// Events end with those who tell of sessions, not with this.
    events: mpsc::WeakSender<Event>,
    retired: Arc<AtomicBool>,
    /// Numbers the events, which are of no session.
    scope: Arc<str>,
    told: u64,
}

/// The tasks; they end when it is dropped.
pub(super) struct Guarded {
    retired: Arc<AtomicBool>,
    _tasks: JoinSet<()>,
}

impl Guarding {
    pub fn new(events: &mpsc::Sender<Event>) -> Self {
        Self::of(events.downgrade(), Arc::default())
    }

    fn of(events: mpsc::WeakSender<Event>, retired: Arc<AtomicBool>) -> Self {
        Self { events, retired, scope: uuid::Uuid::now_v7().to_string().into(), told: 0 }
    }

    /// Examines a panel, says who failed, and looks after it from then on. Nothing should be judged before this returns.
    pub async fn begin(mut self, panel: Arc<Panel>, config: &Config) -> Result<Guarded, RunError> {
        let mut guard = self.guard(&panel, config).await?;
        if let Some(guard) = &mut guard {
            self.tell(&panel, guard.start().await).await;
        }
        Ok(self.spawn(panel, guard, false))
    }

    /// The same while sessions go on; a judge counts as unproven until it is examined.
    pub async fn begin_meanwhile(self, panel: Arc<Panel>, config: &Config) -> Result<Guarded, RunError> {
        // At once, and whatever comes of the guard: sessions may begin meanwhile.
        if config.panel.canary || config.panel.fingerprint.is_some() {
            (0..panel.judges().len()).for_each(|judge| panel.set_proof(judge, Proof::Unproven));
        }
        let guard = self.guard(&panel, config).await?;
        Ok(self.spawn(panel, guard, true))
    }

    /// None: judges are never asked about the built-in clips, which are some work to encode.
    async fn guard(&self, panel: &Arc<Panel>, config: &Config) -> Result<Option<Guard>, RunError> {
        if !config.panel.canary && config.panel.fingerprint.is_none() {
            return Ok(None);
        }
        let sizes: BTreeSet<u32> = panel.judges().iter().map(|judge| judge.config().max_pixels).collect();
        let codec = config.window.clip_codec;
        let clips = blocking(move || Clips::build(codec, &sizes)).await.unwrap_or(Err(EncodeError::Pipeline))?;
        Guard::new(Arc::clone(panel), clips, &config.panel).map(Some).map_err(RunError::Fingerprint)
    }

    fn spawn(mut self, panel: Arc<Panel>, guard: Option<Guard>, begin: bool) -> Guarded {
        let mut tasks = JoinSet::new();
        // Examining a panel takes its time, and an outage is told meanwhile; it numbers its events by itself.
        let retired = Arc::clone(&self.retired);
        let (outages, other) = (Arc::clone(&panel), Self::of(self.events.clone(), Arc::clone(&retired)));
        tasks.spawn(async move { other.outages(outages).await });
        let Some(mut guard) = guard else { return Guarded { retired, _tasks: tasks } };
        tasks.spawn(async move {
            if begin {
                self.tell(&panel, guard.start().await).await;
            }
            while let Some(changes) = guard.next().await {
                self.tell(&panel, changes).await;
            }
        });
        Guarded { retired, _tasks: tasks }
    }

    /// Tells, for ever, who ceases to answer and who answers again.
    async fn outages(mut self, panel: Arc<Panel>) {
        let mut outages = Outages::new(Arc::clone(&panel));
        loop {
            let Outage { index, over, detail } = outages.next().await;
            let detail = self.of_whom(detail);
            let proof = panel.proofs().get(index).copied().unwrap_or_default();
            let (state, _) = standing(&panel, proof);
            self.send(&panel, index, if over.is_some() { state } else { JudgeState::Failing }, proof, detail).await;
        }
    }

    async fn tell(&mut self, panel: &Panel, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        for Change { index, proof, detail, silent } in changes {
            let (state, mut then) = standing(panel, proof);
            let detail = self.of_whom(detail);
            if silent {
                // There are no votes to be flagged.
                then = "start its server or correct base_url (`ahwatch doctor` says more)";
            }
            if let Some(judge) = panel.judges().get(index) {
                tracing::warn!("judge {} is {proof}: {detail}; {then}", judge.config().name);
            }
            self.send(panel, index, state, proof, detail).await;
        }
        let aside = panel.proofs().into_iter().filter(|proof| panel.sets_aside(*proof)).count();
        if 2 * aside >= panel.judges().len() {
            let all = panel.judges().len();
            tracing::error!("{aside} of {all} judges are set aside: no window can be called present or absent");
        }
    }

    /// Two panels may have a judge of the same name.
    fn of_whom(&self, detail: String) -> String {
        let retired = self.retired.load(Ordering::Relaxed);
        if retired { format!("{detail} (in sessions that began with an earlier configuration)") } else { detail }
    }

    async fn send(&mut self, panel: &Panel, index: usize, state: JudgeState, proof: Proof, detail: String) {
        let Some(judge) = panel.judges().get(index) else { return };
        let judge = Arc::clone(&judge.config().name);
        let kind = EventKind::JudgeChanged(JudgeChange { judge, state, proof, detail });
        self.told += 1;
        let event = Event::outside(Arc::clone(&self.scope), self.told, "".into(), kind, wall());
        // Closed only when whoever reads the events is gone, which ends the run by itself.
        if let Some(events) = self.events.upgrade() {
            let _ = events.send(event).await;
        }
    }
}

/// What a judge of this proof is, as long as it answers; and the words for it.
fn standing(panel: &Panel, proof: Proof) -> (JudgeState, &'static str) {
    match proof {
        Proof::Failed(_) if panel.sets_aside(proof) => (JudgeState::SetAside, "it is set aside"),
        Proof::Failed(_) => (JudgeState::Degraded, "its votes are flagged as degraded"),
        Proof::Unproven => (JudgeState::Unproven, "its votes are flagged as unproven"),
        Proof::Proven | Proof::NotChecked => (JudgeState::Healthy, "it votes"),
    }
}
