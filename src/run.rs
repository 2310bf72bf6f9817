//! The topology: the only place that spawns threads and tasks and makes channels.
//!
//! ```text
//! thread src:<name>   GStreamer's frames ── bounded; files wait, live frames are refused ──▶
//! thread cut:<name>   Timeline, pictures to JPEG ── bounded; files wait ──▶
//! task of the source  windows to the measuring thread and back (gate, flags, cue index), before or beside the panel;
//!                     at most one live window waits for it, the newest; encode, all judges at once, session ──▶ events
//! threads measure     speech and faces, for all sources
//! ```
//!
//! Shutdown is end of stream: when the stop handle goes, sources end, their channels close, and stages end one after the other.
//!
//! - `cut`: a cutting thread. `fleet`: the sources that run, and which come and go. `member`: one of them. [`mod@control`]: commands
//!   to them. `prepare`: from the configuration to what a source runs with. `guarding`: the task that looks after a panel.
//!   `output`: the thread that writes events. `signals`: what the system asks. [`terminal`]: the live screen's.
//!   `jobs`, `eval`: recordings in parallel, offline.
//! - [`serve`]: the service's topology. `journal`: the thread that writes the journal. `sinks`: a task for
//!   each receiver. `whip`: the sockets of browsers that join.

#![allow(clippy::disallowed_methods, reason = "this is the place that the bans on spawning point to")]

pub mod control;
mod cut;
mod eval;
mod fleet;
mod guarding;
mod jobs;
mod journal;
mod member;
mod output;
mod prepare;
pub mod serve;
mod signals;
mod sinks;
pub mod terminal;
mod whip;
mod worker;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;
use tokio::sync::{mpsc, oneshot};

pub(crate) use control::Withdrawn;
pub use control::{Commands, Control, ControlError, SessionOptions, control};
pub use cut::{FromSource, cut};
#[cfg(feature = "rtsp-server")]
pub use eval::evaluate_by_rtsp;
pub use eval::{Progress, evaluate};
pub use jobs::{in_parallel, interruptible, play};
pub use journal::journal;
pub use output::printer;
pub use signals::{hangups, interrupted};
pub use sinks::Sinks;
pub use whip::whip;
pub use worker::decode;

use crate::alert::Event;
use crate::config::{Config, SourceConfig};
use crate::encode::StillEncoder;
use crate::gate::{Checked, Gate, Measurer, Models};
use crate::judge::panel::Panel;
use crate::source::{Retry, SourceError};
use crate::stage::Stages;
use crate::time::MediaTime;
use crate::watch::Plan;
use crate::window::{Cut, Window};
use control::Command;
use fleet::Fleet;
use guarding::{Care, Guarding};

/// Cuts and events that may wait for a source's task. A recording's are few, so that its decoding keeps the panel's pace.
const CUTS_OF_A_FILE: usize = 2;
const CUTS_OF_A_CAMERA: usize = 64;
/// After a stop, what is under way may take so long.
const GRACE: Duration = Duration::from_secs(10);
/// The same of a service, which has its last requests, sinks and journal to end after that: who stops services (systemd, Docker,
/// Kubernetes) waits for ten seconds or more in all.
const GRACE_OF_A_SERVICE: Duration = Duration::from_secs(7);

/// What a source's cutting thread gives its task.
#[derive(Debug)]
pub enum Item {
    /// From the source or the cutter.
    From(FromSource),
    /// What the next session begins with; told directly before it does.
    Plan(Arc<Plan>),
}

/// A configuration to go on with.
#[derive(Debug)]
pub struct Anew {
    config: Config,
    taken: oneshot::Sender<bool>,
}

impl Anew {
    /// One that is valid in itself; and where it is told whether it was taken.
    #[must_use]
    pub fn new(config: Config) -> (Self, oneshot::Receiver<bool>) {
        let (taken, answer) = oneshot::channel();
        (Self { config, taken }, answer)
    }
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

/// Why a watch did not start, or a new configuration was not taken.
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
    /// Clips cannot be recorded where they should.
    #[error(transparent)]
    Record(#[from] crate::record::RecordError),
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Panel(#[from] crate::judge::openai::SetupError),
    /// A session cannot have such rules.
    #[error(transparent)]
    Settings(#[from] crate::session::SettingsProblem),
    /// The fingerprint cannot be compared.
    #[error("{0}")]
    Fingerprint(String),
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
    let (_none, anew) = mpsc::channel(1);
    run_anew(config, anew, events, stop).await
}

/// [`run`], with configurations to go on with, each valid in itself. Sources that are new are started, those that are gone
/// or changed are stopped (and the changed ones started again), all others go on untouched; the rest holds for sessions
/// that begin from then on. A configuration that cannot be run changes nothing, which is logged and answered. A source that only
/// the system's lack of threads keeps from starting is tried again.
///
/// # Errors
/// Something that is needed before anything runs is not there.
pub async fn run_anew(
    config: &Config,
    anew: mpsc::Receiver<Anew>,
    events: mpsc::Sender<Event>,
    stop: impl Future<Output = ()>,
) -> Result<Outcome, RunError> {
    drive(config, anew, None, events, stop).await
}

/// [`run_anew`], which also takes commands, and goes on without any source: it ends only when `stop` resolves. A panel is
/// examined before the first command is obeyed.
///
/// # Errors
/// Something that is needed before anything runs is not there.
pub async fn run_controlled(
    config: &Config,
    anew: mpsc::Receiver<Anew>,
    commands: Commands,
    events: mpsc::Sender<Event>,
    stop: impl Future<Output = ()>,
) -> Result<Outcome, RunError> {
    drive(config, anew, Some(commands), events, stop).await
}

async fn drive(
    config: &Config,
    mut anew: mpsc::Receiver<Anew>,
    mut commands: Option<Commands>,
    events: mpsc::Sender<Event>,
    stop: impl Future<Output = ()>,
) -> Result<Outcome, RunError> {
    let mut outcome = Outcome::default();
    tokio::pin!(stop);
    let stages = commands.as_ref().map_or_else(Stages::default, |commands| commands.stages.clone());
    let mut fleet = Fleet::new(config, events.clone(), stages)?;
    // Mistakes are told before anybody is asked anything.
    let prepared = fleet.prepare(config)?;
    publish(commands.as_ref(), &fleet, config);
    if let Some(panel) = fleet.panel() {
        tokio::select! {
            begun = Guarding::new(&events).begin(panel, config) => fleet.care().guard(begun?),
            () = &mut stop => {
                outcome.stopped = true;
                return Ok(outcome);
            }
        }
    }
    if let Some(error) = fleet.apply(prepared, config).1 {
        return Err(error);
    }
    if let Some(commands) = &commands {
        commands.begun.send_replace(true);
    }
    loop {
        tokio::select! {
            () = &mut stop, if !outcome.stopped => {
                outcome.stopped = true;
                fleet.stop(if commands.is_some() { GRACE_OF_A_SERVICE } else { GRACE });
            }
            Some(Anew { config, taken }) = anew.recv(), if !outcome.stopped => {
                let prepared = fleet.prepare(&config);
                // Nobody waits for it any more where it cannot be sent.
                let _ = taken.send(prepared.is_ok());
                match prepared {
                    Ok(prepared) => {
                        let (change, _) = fleet.apply(prepared, &config);
                        tracing::warn!("the configuration was read again: {change}");
                        publish(commands.as_ref(), &fleet, &config);
                        guard_anew(fleet.panel(), &fleet.care(), &config, &events).await;
                    }
                    Err(error) => {
                        tracing::error!("the configuration was read again and not taken; nothing changes: {error}");
                    }
                }
            }
            () = until(fleet.again), if !outcome.stopped => fleet.start_again(),
            Some(command) = asked(&mut commands) => fleet.obey(command),
            ended = fleet.ended(), if outcome.stopped || !fleet.is_empty() || (commands.is_none() && fleet.again.is_none()) => match ended {
                None => return Ok(outcome),
                Some(watched) => {
                    outcome.judged += watched.judged;
                    outcome.errors.extend(watched.error);
                }
            },
        }
    }
}

/// Pending where there is no such time.
async fn until(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The next command; pending where nobody gives any.
async fn asked(commands: &mut Option<Commands>) -> Option<Command> {
    match commands {
        Some(commands) => commands.asked.recv().await,
        None => std::future::pending().await,
    }
}

/// Tells who commands which panel judges.
fn publish(commands: Option<&Commands>, fleet: &Fleet, config: &Config) {
    if let Some(commands) = commands {
        commands.panel.send_replace(fleet.panel());
        commands.config.send_replace(Some(Arc::new(config.clone())));
    }
}

/// Builds a source's pipeline once and opens nothing, so that a mistake is found.
///
/// # Errors
/// The description is wrong, or GStreamer lacks an element.
pub fn build_source(source: &SourceConfig, config: &Config) -> Result<(), SourceError> {
    prepare::spec(source, config).map(|_| ())
}

/// Looks after the panel of a new configuration, where that is another. The one before is looked after as long as sessions that
/// began with it go on.
async fn guard_anew(panel: Option<Arc<Panel>>, care: &Care, config: &Config, events: &mpsc::Sender<Event>) {
    let Some(panel) = panel.filter(|_| !care.is_given()) else { return };
    match Guarding::new(events).begin_meanwhile(panel, config).await {
        Ok(guarded) => care.guard(guarded),
        Err(error) => tracing::error!("the new panel is not looked after: {error}"),
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
    let spec = prepare::spec(source, config)?;
    let stills = StillEncoder::new(config.window.max_pixels, config.window.jpeg_quality)?;
    let mut measurer = Measurer::new(&Models::load(config.assets.as_deref())?)?;
    let mut gate = Gate::new(&spec.name, config.gate);
    let (_running, stop) = bounded::<Infallible>(0);
    let mut error = None;
    cut(&spec, &Retry::default(), prepare::cutting(&spec, config), stills, &stop, |message| {
        match message {
            FromSource::Cut(Cut::Window(window), _) => tell(&window, &gate.check(Some(&mut measurer), &window)),
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

/// Runs work to its end, also where whoever waits for it is dropped. A panic in it is the caller's.
pub(crate) async fn detached<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being shut down, and with it whoever waits.
            Err(_) => std::future::pending().await,
        },
    }
}

/// What a new configuration changed.
#[derive(Debug, Default)]
pub struct Change {
    added: Vec<Arc<str>>,
    removed: Vec<Arc<str>>,
    replaced: Vec<Arc<str>>,
    kept: usize,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (what, names) in [("added", &self.added), ("removed", &self.removed), ("replaced", &self.replaced)] {
            if !names.is_empty() {
                write!(f, "{what}: {}; ", names.join(", "))?;
            }
        }
        write!(f, "{} sources go on, their next sessions as it says now", self.kept)
    }
}
