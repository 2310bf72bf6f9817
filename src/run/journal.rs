//! The thread that writes the journal.

#![allow(clippy::disallowed_methods, reason = "part of run.rs")]

use crate::alert::journal::{Journal, JournalError, Route};
use crate::config::{JournalConfig, SinkConfig};

/// Opens the journal for a run of the service and starts its writer, which also deletes what is older than configured. Events
/// wait in it for `sinks`, whether these run or not. Only one service can have a journal.
///
/// # Errors
/// It cannot be opened or written, or another service has it.
pub fn journal(config: &JournalConfig, sinks: &[SinkConfig]) -> Result<Journal, JournalError> {
    let (journal, writer) = Journal::open(&config.path)?;
    let wrong = |error: std::io::Error| JournalError::Open {
        path: config.path.display().to_string(),
        what: format!("no thread could be started: {error}"),
    };
    journal.set_routes(routes(sinks));
    let writer = writer.keeping(config);
    std::thread::Builder::new().name("journal".to_owned()).spawn(move || writer.run()).map_err(wrong)?;
    Ok(journal)
}

/// What sinks want.
pub(super) fn routes(sinks: &[SinkConfig]) -> Vec<Route> {
    let route = |sink: &SinkConfig| Route {
        sink: sink.name.clone(),
        classes: sink.events.iter().map(|class| class.as_str().to_owned()).collect(),
    };
    sinks.iter().map(route).collect()
}
