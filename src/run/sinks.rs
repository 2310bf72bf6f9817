//! One task for each sink. They come and go with the configuration; what waits for one stays in the journal.

#![allow(clippy::disallowed_methods, reason = "part of run.rs")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::journal::routes;
use crate::alert::journal::Journal;
use crate::alert::sink::{SinkError, Transport, drive};
use crate::config::{Config, SinkConfig};
use crate::stage::Stages;

/// A sink's task may take so long to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// The tasks that send what the journal has for sinks.
#[derive(Debug)]
pub struct Sinks {
    journal: Journal,
    stages: Stages,
    running: BTreeMap<Arc<str>, Task>,
}

#[derive(Debug)]
struct Task {
    config: SinkConfig,
    /// Dropped, it ends.
    running: oneshot::Sender<()>,
    handle: JoinHandle<()>,
}

impl Sinks {
    /// Starts a task for each; `stages` is told how long each attempt takes.
    ///
    /// # Errors
    /// One cannot be set up; then none is started.
    pub fn start(journal: &Journal, configs: &[SinkConfig], stages: Stages) -> Result<Self, SinkError> {
        let mut sinks = Self { journal: journal.clone(), stages, running: BTreeMap::new() };
        sinks.begin(set_up(configs.iter())?);
        Ok(sinks)
    }

    /// Makes them what another configuration says: what is new is started, what is gone is ended, what changed both. The journal is
    /// told before anything new runs, so that no event is missed in between.
    ///
    /// # Errors
    /// One cannot be set up; then nothing changes.
    pub async fn change(&mut self, configs: &[SinkConfig]) -> Result<(), SinkError> {
        let goes_on = |config: &SinkConfig| self.running.get(&config.name).is_some_and(|task| task.config == *config);
        let new = set_up(configs.iter().filter(|config| !goes_on(config)))?;
        let gone = |name: &Arc<str>| configs.iter().all(|config| config.name != *name);
        let over: Vec<Arc<str>> = self
            .running
            .keys()
            .filter(|name| gone(name) || new.iter().any(|(new, _)| new.name == **name))
            .cloned()
            .collect();
        let name = |name: &Arc<str>| name.to_string();
        let (removed, replaced): (Vec<_>, Vec<_>) = over.iter().partition(|name| gone(name));
        let added = new.iter().map(|(config, _)| &config.name).filter(|name| !over.contains(name));
        for (what, names) in [
            ("added", added.map(name).collect::<Vec<_>>()),
            ("removed", removed.into_iter().map(name).collect()),
            ("replaced", replaced.into_iter().map(name).collect()),
        ] {
            if !names.is_empty() {
                tracing::warn!("the configuration was read again: sinks {what}: {}", names.join(", "));
            }
        }
        // One sink never has two tasks.
        end(over.iter().filter_map(|name| self.running.remove(name)).collect()).await;
        self.journal.set_routes(routes(configs));
        self.begin(new);
        Ok(())
    }

    fn begin(&mut self, new: Vec<(SinkConfig, Transport)>) {
        for (config, mut transport) in new {
            let Some(courier) = self.journal.courier(&config.name) else { continue };
            let (running, stop) = oneshot::channel::<()>();
            let stages = self.stages.clone();
            let handle = tokio::spawn(async move {
                tokio::select! {
                    never = drive(&courier, &mut transport, &stages) => match never {},
                    _ = stop => {}
                }
                transport.close().await;
            });
            self.running.insert(Arc::clone(&config.name), Task { config, running, handle });
        }
    }

    /// Follows the configuration in force until nobody says any more what that is.
    pub async fn follow(mut self, mut configs: watch::Receiver<Option<Arc<Config>>>) -> Self {
        loop {
            let config = configs.borrow_and_update().clone();
            if let Some(config) = config {
                if let Err(error) = self.change(&config.sinks).await {
                    tracing::error!(
                        "the configuration was read again, but not its sinks; they go on as they were: {error}"
                    );
                }
                self.tell_strays(&config.sinks).await;
            }
            if configs.changed().await.is_err() {
                return self;
            }
        }
    }

    /// Says what waits for sinks that there are no more: it keeps its events from being deleted by age.
    async fn tell_strays(&self, configs: &[SinkConfig]) {
        let reader = self.journal.reader();
        let Some(Ok(all)) = super::blocking(move || reader.outbox()).await else { return };
        for stray in all.iter().filter(|sink| configs.iter().all(|config| *config.name != *sink.sink)) {
            tracing::warn!(
                "{} events wait in the journal for the sink {}, which is not configured, and {} dead letters of it are there: \
                 configure it again, or delete them (DELETE /v1/sinks/{})",
                stray.pending,
                stray.sink,
                stray.dead,
                stray.sink
            );
        }
    }

    /// Ends them. What was not taken stays in the journal.
    pub async fn stop(self) {
        end(self.running.into_values().collect()).await;
    }
}

fn set_up<'a>(configs: impl Iterator<Item = &'a SinkConfig>) -> Result<Vec<(SinkConfig, Transport)>, SinkError> {
    configs.map(|config| Transport::new(config).map(|transport| (config.clone(), transport))).collect()
}

async fn end(tasks: Vec<Task>) {
    // All are told before any is waited for.
    let tasks: Vec<JoinHandle<()>> = tasks.into_iter().map(|Task { running: _until, handle, .. }| handle).collect();
    for mut task in tasks {
        if tokio::time::timeout(GOODBYE, &mut task).await.is_err() {
            task.abort();
            let _ = task.await;
        }
    }
}
