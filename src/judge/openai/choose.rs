//! Which of a judge's base URLs is asked: the least loaded one whose circuit is closed, in turn among equals.

use futures_util::future::{join_all, select_all};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::{Instant, sleep_until};

use super::endpoint::Leave;
use super::replica::Replica;
use crate::judge::circuit::CANARY_EVERY;

/// A judge's base URLs.
#[derive(Debug)]
pub(super) struct Replicas {
    judge: Arc<str>,
    all: Vec<Replica>,
    turn: AtomicUsize,
}

/// From when on each of the base URLs may be asked again about one window; None: it was not asked yet.
#[derive(Clone, Debug)]
pub(super) struct Tried(Vec<Option<Instant>>);

/// Why nobody can be asked right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nobody {
    /// All that are there were tried; one may be asked again then.
    Tried(Instant),
    /// All that are there asked to be left alone until then.
    Paused(Instant),
    /// Every circuit is open, the first since then.
    Out(Instant),
}

impl Tried {
    /// Not to be asked about this window before `resume`.
    pub(super) fn until(&mut self, index: usize, resume: Instant) {
        if let Some(tried) = self.0.get_mut(index) {
            *tried = Some(resume);
        }
    }

    fn resume(&self, index: usize, now: Instant) -> Option<Instant> {
        self.0.get(index).copied().flatten().filter(|resume| *resume > now)
    }
}

impl Replicas {
    pub(super) const fn new(judge: Arc<str>, all: Vec<Replica>) -> Self {
        Self { judge, all, turn: AtomicUsize::new(0) }
    }

    pub(super) fn all(&self) -> &[Replica] {
        &self.all
    }

    pub(super) fn untried(&self) -> Tried {
        Tried(vec![None; self.all.len()])
    }

    /// Leave to ask one of them, after waiting in line for a place at any; its number comes with it.
    pub(super) async fn choose(&self, tried: &Tried) -> Result<(usize, Leave<'_>), Nobody> {
        loop {
            let candidates = self.candidates(tried, Instant::now())?;
            for index in &candidates {
                if let Some(leave) = self.all[*index].endpoint.leave_now(&self.judge) {
                    return Ok((*index, leave));
                }
            }
            let in_turn = candidates.iter().map(|index| {
                let endpoint = &self.all[*index].endpoint;
                Box::pin(async move { (*index, endpoint.leave_in_turn(&self.judge).await) })
            });
            let ((index, leave), ..) = select_all(in_turn).await;
            // It may have asked for a pause while there was no place.
            if let Some(leave) = leave.filter(|_| self.all[index].paused(Instant::now()).is_none()) {
                return Ok((index, leave));
            }
        }
    }

    /// Whether another than this one could be asked at once.
    pub(super) fn has_other(&self, index: usize, tried: &Tried) -> bool {
        let Ok(others) = self.candidates(tried, Instant::now()) else { return false };
        others.iter().any(|other| {
            let endpoint = &self.all[*other].endpoint;
            *other != index && endpoint.in_flight() < endpoint.count() && endpoint.out_since().is_none()
        })
    }

    /// Who may be asked, the one to ask first first.
    fn candidates(&self, tried: &Tried, now: Instant) -> Result<Vec<usize>, Nobody> {
        let closed: Vec<usize> = (0..self.all.len()).filter(|index| !self.all[*index].endpoint.is_open()).collect();
        if closed.is_empty() {
            let since = self.all.iter().filter_map(|replica| replica.endpoint.out_since()).min();
            return Err(Nobody::Out(since.unwrap_or(now)));
        }
        let paused = |index: &usize| self.all[*index].paused(now);
        let mut ready: Vec<usize> = closed.iter().copied().filter(|index| paused(index).is_none()).collect();
        if ready.is_empty() {
            return Err(Nobody::Paused(closed.iter().filter_map(paused).min().unwrap_or(now)));
        }
        let resume = ready.iter().filter_map(|index| tried.resume(*index, now)).min();
        ready.retain(|index| tried.resume(*index, now).is_none());
        if let (true, Some(resume)) = (ready.is_empty(), resume) {
            return Err(Nobody::Tried(resume));
        }
        if ready.iter().any(|index| !self.all[*index].avoided(now)) {
            ready.retain(|index| !self.all[*index].avoided(now));
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % ready.len().max(1);
        ready.rotate_left(turn);
        // Stable, so that equals stay in turn.
        ready.sort_by_key(|index| self.all[*index].endpoint.in_flight());
        Ok(ready)
    }

    /// Sends the canaries that are due, and waits for what comes of them. Afterwards somebody may be there again.
    pub(super) async fn canaries(&self) {
        join_all(self.all.iter().map(|replica| replica.endpoint.canary())).await;
    }

    /// Waits until a circuit changes or the next canary is due, at most so long; sends what is due.
    pub(super) async fn recovery(&self, until: Instant) {
        let changes = select_all(self.all.iter().map(|replica| replica.endpoint.change()));
        let next = self.all.iter().filter_map(|replica| replica.endpoint.next_canary()).min();
        // Never idle: whoever else sends the canaries may have taken this one.
        let next = next.unwrap_or(until).max(Instant::now() + CANARY_EVERY / 10).min(until);
        tokio::select! {
            _ = changes => {}
            () = sleep_until(next) => self.canaries().await,
        }
    }

    /// Since when none of them answers, if so: every circuit is open or on trial.
    pub(super) fn out_since(&self) -> Option<Instant> {
        let since: Option<Vec<Instant>> = self.all.iter().map(|replica| replica.endpoint.out_since()).collect();
        since?.into_iter().max()
    }

    /// What went wrong with each last, for a message.
    pub(super) fn why(&self) -> String {
        self.all.iter().map(|replica| replica.endpoint.why()).collect::<Vec<_>>().join("; ")
    }

    /// Host and port of each, for a message.
    pub(super) fn hosts(&self) -> String {
        self.all.iter().map(|replica| replica.endpoint.host()).collect::<Vec<_>>().join(", ")
    }
}
