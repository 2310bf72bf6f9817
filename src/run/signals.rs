//! What a person or the system asks of the running program.

#![allow(clippy::disallowed_methods, reason = "part of run.rs")]

use tokio::sync::mpsc;

/// Resolves at the first Ctrl-C or SIGTERM. A second one ends the process at once: whoever asks twice does not want to wait.
///
/// Listens from the call on, whether the future is polled or not.
pub fn interrupted() -> impl Future<Output = ()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (first, asked) = tokio::sync::oneshot::channel();
    let signals = signal(SignalKind::interrupt()).and_then(|i| Ok((i, signal(SignalKind::terminate())?)));
    match signals {
        Ok((mut interrupt, mut terminate)) => drop(tokio::spawn(async move {
            let mut first = Some(first);
            loop {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                match first.take() {
                    Some(first) => drop(first.send(())),
                    None => {
                        super::terminal::give_back_soon();
                        std::process::exit(130)
                    }
                }
            }
        })),
        Err(error) => {
            tracing::error!(%error, "signals cannot be received; only a kill ends this process");
            // Nobody will ever ask.
            std::mem::forget(first);
        }
    }
    async {
        // The sender lives as long as the process.
        let _ = asked.await;
    }
}

/// Each SIGHUP, from the call on; several before one is taken are one.
pub fn hangups() -> mpsc::Receiver<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = mpsc::channel(1);
    match signal(SignalKind::hangup()) {
        Ok(mut hangup) => drop(tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                if let Err(mpsc::error::TrySendError::Closed(())) = sender.try_send(()) {
                    break;
                }
            }
        })),
        Err(error) => {
            tracing::warn!(%error, "SIGHUP cannot be received; the configuration is read again when its file changes");
        }
    }
    receiver
}
