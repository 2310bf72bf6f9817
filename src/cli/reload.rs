//! Reads the configuration again while the program runs: at SIGHUP, and when one of its files has changed.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::config::{Config, FileWatch};
use crate::run::Anew;

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Hands on each new configuration, for as long as somebody takes them. `read` reads and checks all of it; what it does not
/// take is told once, and nothing changes. At a hangup also one that says what it said is handed on: what it names may be another,
/// or was not there before.
pub(super) async fn reload(
    files: &[PathBuf],
    mut hangups: mpsc::Receiver<()>,
    mut current: Config,
    mut read: impl FnMut() -> Result<Config, String>,
    anew: mpsc::Sender<Anew>,
) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watched = FileWatch::new(files.to_vec());
    let mut listening = true;
    loop {
        let asked = tokio::select! {
            asked = hangups.recv(), if listening => {
                listening = asked.is_some();
                asked.is_some()
            }
            _ = ticks.tick() => false,
        };
        let changed = watched.changed();
        if !asked && !changed {
            continue;
        }
        watched.taken();
        match read() {
            Ok(config) if config == current && !asked => {}
            Ok(config) => {
                if config.judging != current.judging {
                    super::watch::introduce_judges(&config.judging);
                }
                let (handed, taken) = Anew::new(config.clone());
                if anew.send(handed).await.is_err() {
                    return;
                }
                if taken.await.unwrap_or(false) {
                    current = config;
                }
            }
            Err(problems) => {
                tracing::error!("the configuration was read again and not taken; nothing changes:\n{problems}");
            }
        }
    }
}
