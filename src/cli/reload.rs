//! Reads the configuration again while the program runs: at SIGHUP, and when one of its files has changed.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::config::{Config, FileWatch};

/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Hands on each new configuration, for as long as somebody takes them. `read` reads and checks all of it; what it does not
/// take is told once, and nothing changes.
pub(super) async fn reload(
    files: &[PathBuf],
    mut hangups: mpsc::Receiver<()>,
    mut current: Config,
    mut read: impl FnMut() -> Result<Config, String>,
    anew: mpsc::Sender<Config>,
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
            Ok(config) if config == current => {
                if asked {
                    tracing::warn!("the configuration was read again and says what it said");
                }
            }
            Ok(config) => {
                if config.judging != current.judging {
                    super::watch::introduce_judges(&config.judging);
                }
                if anew.send(config.clone()).await.is_err() {
                    return;
                }
                current = config;
            }
            Err(problems) => {
                tracing::error!("the configuration was read again and not taken; nothing changes:\n{problems}");
            }
        }
    }
}
