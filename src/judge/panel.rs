//! All judges of a window at once.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{join_all, select_all};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::openai::{Endpoint, Judge, SetupError, Shared};

pub use super::openai::Due;
use super::proof::Proof;
use super::{Abstention, AbstentionReason, Answer, Vote};
use crate::config::JudgeConfig;
use crate::encode::ClipSet;

/// One window more for so many that are before the panel is encoded ahead, so that no place is idle meanwhile.
const AHEAD: usize = 8;

/// The ensemble: its judges, their connections, and the limit of requests in flight at each `base_url`.
///
/// One panel serves all sources, so that the limits hold over all of them.
pub struct Panel {
    judges: Vec<Judge>,
    /// What is known of each, in the same order.
    proofs: Mutex<Vec<Proof>>,
    /// Whether one that failed votes, flagged, instead of being set aside.
    allow_degraded: bool,
    endpoints: Vec<Arc<Endpoint>>,
    /// Turns of windows, over all sources.
    turns: Arc<Semaphore>,
}

impl std::fmt::Debug for Panel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Panel").field(&self.judges).finish()
    }
}

impl Panel {
    /// Sets judges up; opens no connection. Their number and names are the configuration's to check.
    ///
    /// # Errors
    /// If the HTTP client cannot be set up.
    pub fn new(judges: &[JudgeConfig]) -> Result<Self, SetupError> {
        let mut shared = Shared::new(judges);
        let judges = judges.iter().map(|judge| Judge::new(judge, &mut shared)).collect::<Result<Vec<_>, _>>()?;
        let proofs = Mutex::new(vec![Proof::default(); judges.len()]);
        let (endpoints, turns) = (shared.endpoints(), Arc::new(Semaphore::new(0)));
        let panel = Self { judges, proofs, allow_degraded: false, endpoints, turns };
        let at_once = panel.windows_at_once();
        panel.turns.add_permits(at_once + at_once / AHEAD);
        Ok(panel)
    }

    /// The same panel, whose judges vote although they failed, if so said; with a flag on every vote.
    #[must_use]
    pub fn allowing_degraded(mut self, allow: bool) -> Self {
        self.allow_degraded = allow;
        self
    }

    /// What is known of each judge now, in panel order.
    #[must_use]
    pub fn proofs(&self) -> Vec<Proof> {
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes what is known of judge `index` from now on.
    pub fn set_proof(&self, index: usize, proof: Proof) {
        if let Some(known) = self.proofs.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
            *known = proof;
        }
    }

    /// Whether a judge of this standing is set aside.
    #[must_use]
    pub const fn sets_aside(&self, proof: Proof) -> bool {
        matches!(proof, Proof::Failed(_)) && !self.allow_degraded
    }

    /// Waits for a window's turn to be encoded and put to the panel: first come, first served, over all sources. There are as many
    /// as keep the panel busy, and of many some ahead, which wait encoded for a place at a `base_url`. So no queue grows in which a live
    /// window would grow old; what is too much waits, and is dropped, where newer windows take its place.
    pub async fn turn(self: Arc<Self>) -> OwnedSemaphorePermit {
        match Arc::clone(&self.turns).acquire_owned().await {
            Ok(permit) => permit,
            // It is never closed.
            Err(_) => std::future::pending().await,
        }
    }

    /// Finds out, once a second, whether a `base_url` that ceased to answer is there again; for ever. Without it that happens
    /// only as windows come.
    pub async fn watch(&self) -> Infallible {
        if self.endpoints.is_empty() {
            return std::future::pending().await;
        }
        let (never, ..) = select_all(self.endpoints.iter().map(|endpoint| Box::pin(endpoint.watch()))).await;
        never
    }

    pub(super) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// The judges, in panel order, which is the order of votes.
    #[must_use]
    pub fn judges(&self) -> &[Judge] {
        &self.judges
    }

    /// The `max_pixels` that clips are wanted for, each once: at most one encoding for each per window. A panel of
    /// listeners alone wants one clip all the same, for its sound.
    #[must_use]
    pub fn clip_sizes(&self) -> BTreeSet<u32> {
        let seeing = self.judges.iter().map(Judge::config).filter(|judge| judge.accepts.video);
        let mut sizes: BTreeSet<u32> = seeing.map(|judge| judge.max_pixels).collect();
        if sizes.is_empty() {
            sizes.extend(self.judges.first().map(|judge| judge.config().max_pixels));
        }
        sizes
    }

    /// How many windows keep the panel busy: as many as the judge with most places for itself can be asked about at once. Places
    /// that judges share are divided among them.
    #[must_use]
    pub fn windows_at_once(&self) -> usize {
        let sharing = |endpoint: &Arc<Endpoint>| {
            let names = |judge: &&Judge| judge.endpoints().any(|other| Arc::ptr_eq(other, endpoint));
            self.judges.iter().filter(names).count().max(1)
        };
        let at_once = |judge: &Judge| judge.endpoints().map(|e| e.count().div_ceil(sharing(e))).sum();
        self.judges.iter().map(at_once).max().unwrap_or(1).max(1)
    }

    /// Puts one window to all judges at once: a vote of each, in panel order.
    ///
    /// `asks[i]` false: judge i is not asked (early stop); missing entries count as true. Each judge has its own deadline,
    /// counted as `due` says. Dropping the future cancels the requests.
    pub async fn judge(&self, clips: &ClipSet, asks: &[bool], due: Due) -> Vec<Vote> {
        let proofs = self.proofs();
        let votes = self.judges.iter().zip(proofs).enumerate().map(|(i, (judge, proof))| async move {
            let config = judge.config();
            if !asks.get(i).copied().unwrap_or(true) {
                return unasked(judge, Answer::NotAsked);
            }
            if self.sets_aside(proof) {
                let detail = proof.to_string();
                return unasked(judge, Answer::Abstained(Abstention { reason: AbstentionReason::SetAside, detail }));
            }
            let Some(clip) = clips.fitting(config.max_pixels, config.accepts.video) else {
                let detail = "no clip was built for this judge".to_owned();
                return unasked(judge, Answer::Abstained(Abstention { reason: AbstentionReason::Encoding, detail }));
            };
            Vote { flag: proof.flag(), ..judge.ask(clip, due).await }
        });
        join_all(votes).await
    }
}

fn unasked(judge: &Judge, answer: Answer) -> Vote {
    Vote::new(Arc::clone(&judge.config().name), answer)
}
