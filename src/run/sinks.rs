//! One task for each sink.

#![allow(clippy::disallowed_methods, reason = "part of run.rs")]

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::alert::journal::Journal;
use crate::alert::sink::{SinkError, Transport, drive};
use crate::config::SinkConfig;

/// A sink's task may take so long to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// The tasks that send what the journal has for sinks.
#[derive(Debug)]
pub struct Sinks(Vec<(oneshot::Sender<()>, JoinHandle<()>)>);

impl Sinks {
    /// Starts a task for each.
    ///
    /// # Errors
    /// One cannot be set up; then none is started.
    pub fn start(journal: &Journal, configs: &[SinkConfig]) -> Result<Self, SinkError> {
        let transports: Vec<Transport> = configs.iter().map(Transport::new).collect::<Result<_, _>>()?;
        let started = configs.iter().zip(transports).filter_map(|(config, mut transport)| {
            let courier = journal.courier(&config.name)?;
            let (running, stop) = oneshot::channel::<()>();
            let task = tokio::spawn(async move {
                tokio::select! {
                    never = drive(&courier, &mut transport) => match never {},
                    _ = stop => {}
                }
                transport.close().await;
            });
            Some((running, task))
        });
        Ok(Self(started.collect()))
    }

    /// Ends them. What was not taken stays in the journal.
    pub async fn stop(self) {
        // All are told before any is waited for.
        let tasks: Vec<JoinHandle<()>> = self.0.into_iter().map(|(_until, task)| task).collect();
        for mut task in tasks {
            if tokio::time::timeout(GOODBYE, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}
