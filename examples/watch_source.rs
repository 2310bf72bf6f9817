//! Watches a recording or a camera with the embedded hesitation-cue index and prints events, as a program of one's own would.
//!
//! `cargo run --example watch_source -- examples/media/interview.mp4`

use ahwatch::alert::stdout::{Style, readable};
use ahwatch::config::{Config, Overrides, RawConfig};
use anyhow::{Context as _, anyhow};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let source = std::env::args().nth(1).context("name a recording or an rtsp:// address")?;
    let overrides = Overrides { sources: vec![source], cues: true, once: true, ..Overrides::default() };
    let config = Config::build(RawConfig::default(), overrides, &|_| None).map_err(|problems| anyhow!("{problems}"))?;

    let (events, mut received) = mpsc::channel(64);
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    let print = async {
        while let Some(event) = received.recv().await {
            readable(&mut std::io::stdout(), &event, Style::default())?;
        }
        std::io::Result::Ok(())
    };
    let (outcome, printed) = tokio::join!(ahwatch::run::run(&config, events, stop), print);
    let outcome = outcome?;
    printed?;
    match outcome.errors.into_iter().next() {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}
