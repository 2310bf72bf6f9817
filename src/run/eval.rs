//! The topology of an evaluation.
//!
//! ```text
//! thread cut:<video>   one for each video under way ── bounded; the video waits ──▶
//! task of the video    its windows in order: encode, all judges at once ── bounded ──▶
//! this task            lines into the RUN directory, progress
//! ```

#![allow(clippy::disallowed_methods, reason = "part of run.rs")]

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::{Receiver, bounded};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::guarding::{Guarded, Guarding};
use super::prepare::cutting;
use super::{CUTS_OF_A_CAMERA, CUTS_OF_A_FILE, RunError, cut};
use crate::bah::eval::{EvalError, Ledger, Told, VideoTask};
use crate::bah::run_dir::{AnswerLine, Said, VideoInfo, VideoLine};
use crate::bah::{BahError, VideoPath};
use crate::config::{Config, Judging};
use crate::encode::StillEncoder;
use crate::judge::AbstentionReason;
use crate::judge::openai::Judge;
use crate::judge::panel::Panel;
use crate::judge::proof::Proof;
use crate::source::{Location, Retry, Spec};
use crate::watch::session_settings;

/// More videos at once than this only fill memory.
const MOST_AT_ONCE: usize = 32;
/// Lines that may wait to be written.
const LINES: usize = 64;
/// A judge that fails on so many clips in a row is not there, and asking it about all others would only fill the run with
/// abstentions.
const FAILURES_IN_A_ROW: u32 = 12;

/// A server has so long to say what it is.
const VERSION_TIME: std::time::Duration = std::time::Duration::from_secs(3);

/// How far an evaluation is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Videos done, those of earlier runs included.
    pub done: usize,
    /// Videos in all.
    pub videos: usize,
    /// Videos that could not be read to their end, with what was wrong.
    pub failed: Vec<(String, String)>,
    /// Answers in this run.
    pub answers: u64,
    /// Abstentions in this run, by reason.
    pub abstained: BTreeMap<String, u64>,
    /// Clips that a judge was not asked about, by early stop, in this run.
    pub not_asked: u64,
    /// It was stopped before its end.
    pub stopped: bool,
}

/// Evaluates what the ledger does not hold yet; `tell` is told of every line. Ends at `stop`, with everything answered by then
/// in the ledger.
///
/// `address`: where a video is to be had by the live path; None: it is read as a file below `root`.
///
/// # Errors
/// Something needed is not there, a line cannot be written, or a judge does not answer at all.
pub async fn evaluate(
    config: &Config,
    root: &Path,
    ledger: &mut Ledger,
    address: Option<&(dyn Fn(&VideoInfo) -> url::Url + Sync)>,
    stop: impl Future<Output = ()>,
    mut tell: impl FnMut(&Progress),
) -> Result<Progress, EvalError> {
    let Judging::Panel(judges) = &config.judging else { return Ok(Progress::default()) };
    let panel = Arc::new(Panel::new(judges).map_err(RunError::from)?.allowing_degraded(config.panel.allow_degraded));
    tokio::pin!(stop);
    let Some(_guarded) = examined(&panel, config, &mut stop).await? else {
        return Ok(Progress { stopped: true, ..Progress::default() });
    };
    let settings = Arc::new(session_settings(config));
    let mut infos = ledger.run().info.panel.clone();
    for (info, judge) in infos.iter_mut().zip(panel.judges()) {
        info.server_version = server_version(judge).await;
    }
    let infos = Arc::new(infos);
    let all = ledger.run().info.videos.clone();
    let mut waiting = Vec::new();
    for info in all.iter().filter(|info| !ledger.is_done(&info.id)) {
        let path = VideoPath::parse(&info.id).map_err(|what| {
            let file = ledger.run().dir.join(crate::bah::run_dir::INFO);
            BahError::Malformed { file, line: 1, column: None, what }
        })?;
        let location = match address {
            Some(address) => Location::Rtsp(address(info)),
            None => Location::File(path.below(root)),
        };
        let description = crate::source::description(&location, config.assets.as_deref()).map_err(RunError::from)?;
        let spec = Spec::once(path.stem(), location, description);
        let task = VideoTask {
            info: info.clone(),
            stem: path.stem().to_owned(),
            known: ledger.known(&info.id),
            panel: Arc::clone(&panel),
            judges: Arc::clone(&infos),
            codec: config.window.clip_codec,
            settings: Arc::clone(&settings),
            live: spec.is_live(),
        };
        waiting.push((spec, task));
    }
    let mut progress = Progress { videos: all.len(), done: all.len() - waiting.len(), ..Progress::default() };
    tell(&progress);
    waiting.reverse();
    let at_once = panel.windows_at_once().min(MOST_AT_ONCE);
    let (lines, mut told) = mpsc::channel(LINES);
    let mut tasks = JoinSet::new();
    let (running, stopped) = bounded::<Infallible>(0);
    let mut failures: BTreeMap<String, u32> = BTreeMap::new();
    let mut outcome = Ok(());
    loop {
        while tasks.len() < at_once
            && let Some((spec, task)) = waiting.pop()
        {
            if let Err(error) = begin(&mut tasks, spec, task, config, &stopped, &lines) {
                outcome = Err(error.into());
                break;
            }
        }
        if outcome.is_err() || tasks.is_empty() {
            break;
        }
        tokio::select! {
            () = &mut stop => {
                progress.stopped = true;
                break;
            }
            Some(message) = told.recv() => {
                outcome = take(message, ledger, &mut progress, &mut failures);
                tell(&progress);
            }
            Some(joined) = tasks.join_next() => if let Err(error) = joined {
                std::panic::resume_unwind(error.into_panic());
            },
        }
        if outcome.is_err() {
            break;
        }
    }
    // Sources end, requests under way are cancelled; what was told already is kept.
    drop((running, lines));
    tasks.shutdown().await;
    while let Some(message) = told.recv().await {
        if outcome.is_ok() {
            outcome = take(message, ledger, &mut progress, &mut failures);
        }
    }
    tell(&progress);
    outcome.map(|()| progress)
}

/// [`evaluate`] by a local RTSP server and the live path.
///
/// # Errors
/// As there, and if the server does not start.
#[cfg(feature = "rtsp-server")]
pub async fn evaluate_by_rtsp(
    config: &Config,
    root: &Path,
    ledger: &mut Ledger,
    stop: impl Future<Output = ()>,
    tell: impl FnMut(&Progress),
) -> Result<Progress, EvalError> {
    use crate::source::RtspServer;
    let ids: Vec<String> = ledger.run().info.videos.iter().map(|video| video.id.clone()).collect();
    let files: Vec<_> = ids.iter().map(|id| root.join(id)).collect();
    let server = super::blocking(move || RtspServer::bind(&files)).await;
    let Some(Ok(server)) = server else {
        let error = server.and_then(Result::err).map(RunError::from);
        return Err(error.unwrap_or_else(|| std::io::Error::other("the RTSP server broke off").into()).into());
    };
    let addresses: BTreeMap<String, url::Url> =
        ids.into_iter().enumerate().filter_map(|(n, id)| Some((id, server.address(n).parse().ok()?))).collect();
    let (serving, over) = bounded::<Infallible>(0);
    let thread = std::thread::Builder::new().name("rtsp".into()).spawn(move || server.serve(&over));
    let thread = thread.map_err(RunError::from)?;
    let address = |video: &VideoInfo| addresses[&video.id].clone();
    let progress = evaluate(config, root, ledger, Some(&address), stop, tell).await;
    drop(serving);
    let _ = super::blocking(move || thread.join()).await;
    progress
}

/// Sees to it that the judges hear and see before they are asked, as `watch` does, and goes on to; None: it was stopped. What live
/// watching bears, a judge that is set aside, would here fill a run with abstentions.
async fn examined(
    panel: &Arc<Panel>,
    config: &Config,
    stop: &mut (impl Future<Output = ()> + Unpin),
) -> Result<Option<Guarded>, EvalError> {
    // What it tells is logged as well, and an evaluation has no events.
    let (events, _) = mpsc::channel(1);
    let guarded = tokio::select! {
        begun = Guarding::new(&events).begin(Arc::clone(panel), config) => begun?,
        () = stop => return Ok(None),
    };
    let failed =
        |(judge, proof): (&Judge, Proof)| panel.sets_aside(proof).then(|| format!("{} ({proof})", judge.config().name));
    let failed: Vec<String> = panel.judges().iter().zip(panel.proofs()).filter_map(failed).collect();
    if failed.is_empty() { Ok(Some(guarded)) } else { Err(EvalError::Unfit(failed.join(", "))) }
}

/// What a judge's servers say they are; None: they do not say. vLLM does, at `/version`.
async fn server_version(judge: &Judge) -> Option<String> {
    let mut versions = BTreeSet::new();
    for replica in judge.replicas() {
        let said = replica.get_json("/version", VERSION_TIME).await.ok();
        versions.extend(said.and_then(|said| said["version"].as_str().map(|v| v.chars().take(60).collect::<String>())));
    }
    (!versions.is_empty()).then(|| versions.into_iter().collect::<Vec<_>>().join(", "))
}

/// Starts a video: its cutting thread and its task.
fn begin(
    tasks: &mut JoinSet<bool>,
    spec: Spec,
    task: VideoTask,
    config: &Config,
    stopped: &Receiver<Infallible>,
    lines: &mpsc::Sender<Told>,
) -> Result<(), RunError> {
    let stills = StillEncoder::new(config.window.max_pixels, config.window.jpeg_quality)?;
    let (sender, queue) = mpsc::channel(if spec.is_live() { CUTS_OF_A_CAMERA } else { CUTS_OF_A_FILE });
    let (cutting, stop) = (cutting(&spec, config), stopped.clone());
    std::thread::Builder::new().name(format!("cut:{}", spec.name)).spawn(move || {
        cut(&spec, &Retry::default(), cutting, stills, &stop, |message| sender.blocking_send(message).is_ok());
    })?;
    tasks.spawn(task.run(queue, lines.clone()));
    Ok(())
}

fn take(
    message: Told,
    ledger: &mut Ledger,
    progress: &mut Progress,
    failures: &mut BTreeMap<String, u32>,
) -> Result<(), EvalError> {
    match message {
        Told::Sample(line) => {
            let silent = count(&line, progress, failures);
            ledger.sample(*line)?;
            silent.map_or(Ok(()), Err)
        }
        Told::Ended(line) => {
            progress.done += 1;
            let VideoLine { video, error, .. } = &*line;
            progress.failed.extend(error.clone().map(|error| (video.clone(), error)));
            ledger.video(*line)
        }
    }
}

fn count(line: &AnswerLine, progress: &mut Progress, failures: &mut BTreeMap<String, u32>) -> Option<EvalError> {
    match line.answer {
        Said::NotAsked => progress.not_asked += 1,
        Said::Present | Said::Absent => {
            progress.answers += 1;
            failures.remove(&line.judge);
        }
        Said::Abstained => {
            let reason = line.reason.clone().unwrap_or_default();
            let gone = AbstentionReason::parse(&reason).is_some_and(AbstentionReason::is_away);
            *progress.abstained.entry(reason).or_default() += 1;
            let row = failures.entry(line.judge.clone()).or_default();
            *row = if gone { *row + 1 } else { 0 };
            if *row >= FAILURES_IN_A_ROW {
                let detail = line.detail.clone().unwrap_or_default();
                return Some(EvalError::Silent { judge: line.judge.clone(), failures: *row, detail });
            }
        }
    }
    None
}
