//! Puts one clip, an MP4 and a WAV as `cut` writes them, to the judges of a panel file and prints their votes.
//!
//! `cargo run --example judge_clip -- panel.toml /tmp/clips/0.mp4 /tmp/clips/0.wav`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ahwatch::config::{Config, Judging, Overrides, RawConfig};
use ahwatch::encode::{Clip, ClipSet};
use ahwatch::judge::Answer;
use ahwatch::judge::panel::{Due, Panel};
use ahwatch::judge::tally::{Tally, tally};
use ahwatch::time::monotonic;
use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let panel = args.next().context("name a panel file, then the MP4 and the WAV of a clip")?;
    let video = args.next().map(|path| read(&path)).transpose()?;
    let audio = args.next().map(|path| read(&path)).transpose()?;

    let text = std::fs::read_to_string(&panel).with_context(|| panel.display().to_string())?;
    let raw = RawConfig::default().with_panel(&text, &panel);
    // Only for `api_key_env`: an address is never taken from the environment.
    let environment = |name: &str| std::env::var(name).ok();
    let config = Config::build(raw, Overrides::default(), &environment).map_err(|problems| anyhow!("{problems}"))?;
    let Judging::Panel(judges) = &config.judging else { bail!("{} holds no panel", panel.display()) };
    let panel = Panel::new(judges)?;

    // One encoding serves every judge here; `ahwatch watch` makes one for each size that judges ask for.
    let clip = Arc::new(Clip::new(video, audio));
    let mut clips = ClipSet::new();
    for size in panel.clip_sizes() {
        clips.insert(size, Arc::clone(&clip));
    }
    let votes = panel.judge(&clips, &[], Due::After(monotonic().into())).await;
    for vote in &votes {
        let answer = match &vote.answer {
            Answer::Present => "present".to_owned(),
            Answer::Absent => "absent".to_owned(),
            Answer::Abstained(why) => format!("abstained, {}: {}", why.reason.as_str(), why.detail),
            Answer::NotAsked => "not asked".to_owned(),
        };
        println!("{}: {answer} ({} ms)", vote.judge, vote.latency.as_millis());
    }
    let names: Vec<_> = panel.judges().iter().map(|judge| Arc::clone(&judge.config().name)).collect();
    match tally(&names, &votes) {
        Tally::Judged(label) => println!("label: {}", label.as_str()),
        Tally::NotAsked | Tally::AllAbstained => println!("no judge answered, so there is no label"),
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Bytes> {
    Ok(std::fs::read(path).with_context(|| path.display().to_string())?.into())
}
