//! The thread that writes events.

#![allow(clippy::disallowed_methods, reason = "part of run.rs")]

use tokio::sync::mpsc;

use crate::alert::Event;

/// Writes events as they come, in a thread of their own, since writing may block; begins at once. True: all were written.
/// When one cannot be, `broken` is told and the rest are let go.
pub fn printer(
    mut events: mpsc::Receiver<Event>,
    mut write: impl FnMut(&Event) -> std::io::Result<()> + Send + 'static,
    broken: tokio::sync::oneshot::Sender<()>,
) -> impl Future<Output = bool> {
    let mut broken = Some(broken);
    let thread = tokio::task::spawn_blocking(move || {
        while let Some(event) = events.blocking_recv() {
            if broken.is_some() && write(&event).is_err() {
                let _ = broken.take().map(|broken| broken.send(()));
            }
        }
        broken.is_some()
    });
    async { thread.await.unwrap_or(false) }
}
