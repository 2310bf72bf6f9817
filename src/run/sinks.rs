//! One task for each sink.

#![allow(clippy::disallowed_methods, reason = "part of run.rs")]

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::journal::routes;
use crate::alert::journal::Journal;
use crate::alert::sink::{SinkError, Transport, drive};
use crate::config::SinkConfig;

/// A sink's task may take so long to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// The tasks that send what the journal has for sinks.
#[derive(Debug)]
pub struct Sinks {
    journal: Journal,
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    config: SinkConfig,
    _until: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Sinks {
    /// Starts a task for each.
    ///
    /// # Errors
    /// One cannot be set up; then none is started.
    pub fn start(journal: &Journal, configs: &[SinkConfig]) -> Result<Self, SinkError> {
        let mut sinks = Self { journal: journal.clone(), running: Vec::new() };
        let transports: Vec<Transport> = configs.iter().map(Transport::new).collect::<Result<_, _>>()?;
        sinks.begin(configs, transports);
        Ok(sinks)
    }

    /// Goes on with another configuration: sinks that did not change go on untouched; what waits for one that is gone
    /// stays in the journal.
    ///
    /// # Errors
    /// One cannot be set up; then nothing changes.
    pub async fn apply(&mut self, configs: &[SinkConfig]) -> Result<(), SinkError> {
        let is_new = |config: &&SinkConfig| !self.running.iter().any(|running| running.config == **config);
        let new: Vec<SinkConfig> = configs.iter().filter(is_new).cloned().collect();
        let transports: Vec<Transport> = new.iter().map(Transport::new).collect::<Result<_, _>>()?;
        let (kept, gone) = std::mem::take(&mut self.running).into_iter().partition(|it| configs.contains(&it.config));
        self.running = kept;
        end(gone).await;
        self.journal.set_routes(routes(configs));
        self.begin(&new, transports);
        Ok(())
    }

    fn begin(&mut self, configs: &[SinkConfig], transports: Vec<Transport>) {
        for (config, mut transport) in configs.iter().zip(transports) {
            let Some(courier) = self.journal.courier(&config.name) else { continue };
            let (running, stop) = oneshot::channel::<()>();
            let task = tokio::spawn(async move {
                tokio::select! {
                    never = drive(&courier, &mut transport) => match never {},
                    _ = stop => {}
                }
                transport.close().await;
            });
            self.running.push(Running { config: config.clone(), _until: running, task });
        }
    }

    /// Names of the sinks that are served.
    #[must_use]
    pub fn names(&self) -> Vec<Arc<str>> {
        self.running.iter().map(|running| Arc::clone(&running.config.name)).collect()
    }

    /// Ends them. What was not taken stays in the journal.
    pub async fn stop(self) {
        end(self.running).await;
    }
}

async fn end(gone: Vec<Running>) {
    let tasks: Vec<JoinHandle<()>> = gone.into_iter().map(|running| running.task).collect();
    for mut task in tasks {
        if tokio::time::timeout(GOODBYE, &mut task).await.is_err() {
            task.abort();
        }
    }
}
