//! Judges that cease to answer, and answer again: when none of a judge's base URLs is let through to, and when one answered.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::time::Instant;

use super::panel::Panel;

/// A judge's reach has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The judge's place in the panel.
    pub index: usize,
    /// After how long it answers again; None: it has ceased to.
    pub over: Option<Duration>,
    /// One line on it, without credentials.
    pub detail: String,
}

/// Watches the circuits of a panel's judges.
#[derive(Debug)]
pub struct Outages {
    panel: Arc<Panel>,
    /// Since when each is known to be out.
    known: Vec<Option<Instant>>,
}

impl Outages {
    /// Of this panel, all of whose judges count as well until their circuits say otherwise.
    #[must_use]
    pub fn new(panel: Arc<Panel>) -> Self {
        let known = vec![None; panel.judges().len()];
        Self { panel, known }
    }

    /// Waits until a judge is out, or back. One that is set aside is asked nothing, so nothing is said of it.
    pub async fn next(&mut self) -> Outage {
        loop {
            // First the ear, then the look: what changes in between is heard.
            let panel = Arc::clone(&self.panel);
            let changes: Vec<_> = panel.endpoints().iter().map(|endpoint| endpoint.change()).collect();
            if let Some(outage) = self.look() {
                return outage;
            }
            if changes.is_empty() {
                return std::future::pending().await;
            }
            select_all(changes).await;
        }
    }

    fn look(&mut self) -> Option<Outage> {
        let proofs = self.panel.proofs();
        let judges = self.panel.judges().iter().zip(&mut self.known).zip(proofs);
        judges.enumerate().find_map(|(index, ((judge, known), proof))| match (*known, judge.outage()) {
            (None, Some((since, why))) if !self.panel.sets_aside(proof) => {
                *known = Some(since);
                Some(Outage { index, over: None, detail: format!("{why}; asked again once a second") })
            }
            (Some(since), None) => {
                *known = None;
                let after = since.elapsed();
                let detail = format!("it answers again, after {:.1} s", after.as_secs_f64());
                Some(Outage { index, over: Some(after), detail })
            }
            _ => None,
        })
    }
}
