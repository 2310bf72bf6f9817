//! The topology: the only file that spawns threads and tasks and makes channels.
//!
//! ```text
//! thread src:<name>   GStreamer's frames ── bounded; files wait, live frames are refused ──▶
//! thread cut:<name>   Timeline, stills, gate; the cue index ── bounded; files wait ──▶
//! task of the source  at most one live window waits, the newest; encode, all judges at once, session ──▶ events
//! ```
//!
//! Shutdown is end of stream: when the stop handle goes, sources end, their channels close, and stages end one after the other.

#![allow(clippy::disallowed_methods, reason = "this is the file that the bans on spawning point to")]

mod jobs;
mod prepare;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use tokio::sync::mpsc;

use crate::alert::Event;
use crate::config::{Config, GateRequire, Judging, SourceConfig};
use crate::encode::StillEncoder;
use crate::gate::{Checked, Decision, Gate, GateSkip, Measurer, Models};
use crate::judge::Vote;
use crate::judge::cues::CueJudge;
use crate::judge::panel::Panel;
use crate::session::SessionSettings;
use crate::source::{Finish, Incoming, Loss, Retry, SourceError, Spec, supervise};
use crate::time::{MediaTime, monotonic};
use crate::watch::{Grace, Judges, Watcher};
use crate::window::{Cut, Cutting, Timeline, Window};
use prepare::{cutting, spec};

pub use jobs::{in_parallel, interruptible, play};

/// Frames that may wait between a source's threads and its cutter: about a second of both streams.
const FRAMES: usize = 64;

/// What a source's cutting thread says, in order.
#[derive(Debug)]
pub enum FromSource {
    /// Something was cut: by the frame that arrived at this moment, or for want of one.
    Cut(Cut, Instant),
    /// A live source went away, or is not there yet.
    Lost(Loss),
    /// It is back (or there for the first time after having been reported as lost).
    Restored,
    /// Nothing more will come.
    Finished(Finish),
}

/// Runs a source and cuts it, until its end or until `stop` is disconnected. Blocks: give it a thread; the source has its own.
///
/// `tell` gets everything in order; when it answers false, nobody listens any more and the source is stopped.
pub fn cut(
    spec: &Spec,
    retry: &Retry,
    cutting: Cutting,
    mut stills: StillEncoder,
    stop: &Receiver<Infallible>,
    mut tell: impl FnMut(FromSource) -> bool,
) {
    let (frames, incoming) = bounded(FRAMES);
    // The source stops when the program does, or when this function returns.
    let (own_stop, source_stop) = bounded::<Infallible>(0);
    let mut own_stop = Some(own_stop);
    let name = spec.name.clone();
    let keep = Box::new(move |time, image: &_| {
        stills
            .encode(time, image)
            .inspect_err(|error| tracing::warn!(source = name, %error, "a picture was left out"))
            .ok()
    });
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(format!("src:{}", spec.name));
        let spawned = thread.spawn_scoped(scope, move || supervise(spec, retry, frames, source_stop));
        if let Err(error) = spawned {
            tracing::error!(source = spec.name, %error, "no thread for the source");
            return;
        }
        let began = monotonic();
        let mut timeline = Timeline::new(cutting, keep);
        let (mut out, mut lost) = (Vec::new(), false);
        let mut finish = None;
        while finish.is_none() {
            if own_stop.is_some() && stop.try_recv() == Err(crossbeam_channel::TryRecvError::Disconnected) {
                own_stop = None;
            }
            let (mut also, mut at) = (None, None);
            match incoming.recv_timeout(Duration::from_millis(100)) {
                Ok(Incoming::Streams(streams)) => timeline.streams(streams),
                Ok(Incoming::Frame { frame, arrival, refused }) => {
                    if std::mem::take(&mut lost) && !tell(FromSource::Restored) {
                        break;
                    }
                    timeline.frame(frame, since(began, arrival), refused, &mut out);
                    at = Some(arrival);
                }
                Ok(Incoming::StreamEnded(stream)) if !spec.is_live() => {
                    timeline.stream_ended(stream, since(began, monotonic()), &mut out);
                }
                Ok(Incoming::StreamEnded(_)) => {} // a live one is gone as a whole, which is said next
                Ok(Incoming::Lost(loss)) => {
                    timeline.disconnected(&mut out);
                    lost = true;
                    also = Some(FromSource::Lost(loss));
                }
                Ok(Incoming::Finished(end)) => {
                    timeline.finish(end.complete, end.missing, &mut out);
                    finish = Some(end);
                }
                Err(RecvTimeoutError::Timeout) => timeline.idle(since(began, monotonic()), &mut out),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let at = at.unwrap_or_else(monotonic);
            if !out.drain(..).map(|c| FromSource::Cut(c, at)).chain(also).all(&mut tell) {
                break;
            }
        }
        drop((own_stop, incoming));
        if let Some(finish) = finish {
            tell(FromSource::Finished(finish));
        }
    });
}

fn since(began: Instant, now: Instant) -> MediaTime {
    MediaTime::from_duration(now.saturating_duration_since(began))
}

/// Cuts and events that may wait for a source's task. A recording's are few, so that its decoding keeps the panel's pace.
const CUTS_OF_A_FILE: usize = 2;
const CUTS_OF_A_CAMERA: usize = 64;
/// After a stop, what is under way may take so long.
const GRACE: Duration = Duration::from_secs(10);

/// What a source's cutting thread gives its task.
#[derive(Debug)]
pub enum Item {
    /// From the source or the cutter; a window here is for the panel.
    From(FromSource),
    /// A window that the embedded cue index has judged already, in order.
    Read(Box<Window>, Vote),
    /// A window that the gate keeps from being judged.
    Skipped(Box<Window>, GateSkip),
}

/// How a watch ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What went wrong with sources.
    pub errors: Vec<SourceError>,
    /// Judged session time, over all sessions.
    pub judged: MediaTime,
    /// It was stopped, rather than having come to its end.
    pub stopped: bool,
}

/// Why a watch did not start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A pipeline description is wrong, or GStreamer is not there.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The picture encoder did not start.
    #[error(transparent)]
    Encode(#[from] crate::encode::EncodeError),
    /// A local model or its library cannot be used.
    #[error(transparent)]
    Model(#[from] crate::gate::ModelError),
    /// The cue index cannot be used.
    #[error(transparent)]
    Cues(#[from] crate::judge::cues::WeightsError),
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Panel(#[from] crate::judge::openai::SetupError),
    /// The system gives no more threads.
    #[error("no thread could be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// Watches all configured sources until they end or `stop` resolves; every event goes to `events`.
///
/// # Errors
/// Something that is needed before anything runs is not there.
pub async fn run(
    config: &Config,
    events: mpsc::Sender<Event>,
    stop: impl Future<Output = ()>,
) -> Result<Outcome, RunError> {
    let panel = match &config.judging {
        Judging::Cues { .. } => None,
        Judging::Panel(judges) => Some(Arc::new(Panel::new(judges)?)),
    };
    let models = Models::load(config.assets.as_deref())?;
    let measuring = measuring(config, panel.is_none())?;
    let settings = Arc::new(crate::watch::session_settings(config));
    // Everything is built before anything starts.
    let mut prepared = Vec::new();
    for source in &config.sources {
        let spec = spec(source, config)?;
        let stills = StillEncoder::new(config.window.max_pixels, config.window.jpeg_quality)?;
        let measurer = measuring.then(|| Measurer::new(&models)).transpose()?;
        let gate = Gate::new(&spec.name, config.gate, measurer);
        let cues = panel.is_none().then(|| CueJudge::new(config.assets.as_deref())).transpose()?;
        prepared.push((spec, stills, gate, cues));
    }
    let (running, stopped) = bounded::<Infallible>(0);
    let (grace, _) = tokio::sync::watch::channel(None);
    let mut tasks = tokio::task::JoinSet::new();
    for (spec, stills, gate, cues) in prepared {
        let watcher = watcher(&spec, config, &settings, panel.clone(), events.clone(), grace.subscribe());
        let (items, queue) = mpsc::channel(if spec.is_live() { CUTS_OF_A_CAMERA } else { CUTS_OF_A_FILE });
        let (cutting, stop) = (cutting(&spec, config), stopped.clone());
        std::thread::Builder::new()
            .name(format!("cut:{}", spec.name))
            .spawn(move || source_thread(&spec, cutting, stills, gate, cues, &stop, &items))?;
        tasks.spawn(watcher.run(queue));
    }
    drop((events, stopped));
    let mut outcome = Outcome::default();
    let mut running = Some(running);
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop, if running.is_some() => {
                running = None;
                outcome.stopped = true;
                grace.send_replace(Some(tokio::time::Instant::now() + GRACE));
            }
            joined = tasks.join_next() => match joined {
                None => return Ok(outcome),
                Some(Ok(watched)) => {
                    outcome.judged += watched.judged;
                    outcome.errors.extend(watched.error);
                }
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            },
        }
    }
}

fn watcher(
    spec: &Spec,
    config: &Config,
    settings: &Arc<SessionSettings>,
    panel: Option<Arc<Panel>>,
    events: mpsc::Sender<Event>,
    grace: Grace,
) -> Watcher {
    let judges = match panel {
        Some(panel) => Judges::Panel(panel),
        None => Judges::Embedded,
    };
    Watcher::new(&spec.name, spec.is_live(), judges, config.window.clip_codec, Arc::clone(settings), events, grace)
}

/// The body of a cutting thread.
fn source_thread(
    spec: &Spec,
    cutting: Cutting,
    stills: StillEncoder,
    mut gate: Gate,
    mut cues: Option<CueJudge>,
    stop: &Receiver<Infallible>,
    items: &mpsc::Sender<Item>,
) {
    cut(spec, &Retry::default(), cutting, stills, stop, |message| {
        let item = match message {
            FromSource::Cut(Cut::Window(window), at) => checked(window, at, &mut gate, cues.as_mut()),
            message => Item::From(message),
        };
        items.blocking_send(item).is_ok()
    });
}

fn checked(mut window: Box<Window>, at: Instant, gate: &mut Gate, cues: Option<&mut CueJudge>) -> Item {
    let found = gate.check(&mut window);
    // The index hears skipped windows as well: what it knows of the speaker goes on.
    let vote = cues.map(|cues| match &found.measures {
        Ok(measures) => cues.judge_measured(&window, measures),
        Err(error) => cues.unmeasured(error),
    });
    match (found.decision, vote) {
        (Decision::Skip(skip), _) => Item::Skipped(window, skip),
        (_, Some(vote)) => Item::Read(window, vote),
        (_, None) => Item::From(FromSource::Cut(Cut::Window(window), at)),
    }
}

/// Whether speech and faces are measured. Where nothing decides by them a missing ONNX Runtime only costs their flags.
fn measuring(config: &Config, cues: bool) -> Result<bool, RunError> {
    match crate::gate::load_library() {
        Ok(()) => Ok(true),
        Err(error) if !cues && config.gate.require == GateRequire::None => {
            tracing::warn!("flags: speech and faces are not measured: {error}");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Cuts one source in the calling thread and checks each window, judging none. What goes wrong with the source on the way is
/// returned as the inner error; the windows before it have been told.
///
/// # Errors
/// Something that is needed before anything runs is not there.
pub fn check(
    source: &SourceConfig,
    config: &Config,
    mut tell: impl FnMut(&Window, &Checked),
) -> Result<Option<SourceError>, RunError> {
    let spec = spec(source, config)?;
    let stills = StillEncoder::new(config.window.max_pixels, config.window.jpeg_quality)?;
    let measurer = Measurer::new(&Models::load(config.assets.as_deref())?)?;
    let mut gate = Gate::new(&spec.name, config.gate, Some(measurer));
    let (_running, stop) = bounded::<Infallible>(0);
    let mut error = None;
    cut(&spec, &Retry::default(), cutting(&spec, config), stills, &stop, |message| {
        match message {
            FromSource::Cut(Cut::Window(mut window), _) => {
                let found = gate.check(&mut window);
                tell(&window, &found);
            }
            FromSource::Finished(finish) => error = finish.error,
            _ => {}
        }
        true
    });
    Ok(error)
}

/// Runs encoding, which is blocking work, where that is allowed.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

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
                    None => std::process::exit(130),
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
