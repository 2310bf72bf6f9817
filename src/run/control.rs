//! Commands to a watch that runs: sources that come and go one by one, pauses, withdrawals.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::RunError;
use crate::alert::Actor;
use crate::config::{Config, Rule, SourceConfig};
use crate::judge::panel::Panel;
use crate::stage::Stages;

/// Commands that may wait until they are obeyed; who has more to say waits too.
const WAITING: usize = 16;

/// Commands a watch. Every copy of it commands the same one.
#[derive(Clone, Debug)]
pub struct Control {
    commands: mpsc::Sender<Command>,
    panel: watch::Receiver<Option<Arc<Panel>>>,
    begun: watch::Receiver<bool>,
    config: watch::Receiver<Option<Arc<Config>>>,
}

/// The other end of [`Control`], for [`run_controlled`](super::run_controlled).
#[derive(Debug)]
pub struct Commands {
    pub(super) asked: mpsc::Receiver<Command>,
    /// The panel that judges now.
    pub(super) panel: watch::Sender<Option<Arc<Panel>>>,
    /// Whether judges were examined and sources started.
    pub(super) begun: watch::Sender<bool>,
    /// The configuration in force.
    pub(super) config: watch::Sender<Option<Arc<Config>>>,
    /// Who is told how long stages take.
    pub(super) stages: Stages,
}

/// Of a source that is added by command. It has exactly one session: when that ends (a long gap, its longest time, the end of the
/// stream, a command), the source ends too.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The id of its session: a UUID.
    pub id: Arc<str>,
    /// The session's rule; None: the configuration's.
    pub rule: Option<Rule>,
    /// The embedded hesitation-cue index judges, whatever panel is configured.
    pub cues: bool,
}

/// Why a command was not obeyed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A source of this name runs, or has not quite ended yet.
    #[error("a source named {0:?} is there already; end it first, or choose another name")]
    Duplicate(Arc<str>),
    /// The source cannot be run so.
    #[error(transparent)]
    Refused(#[from] RunError),
    /// No source of this name runs (any more).
    #[error("no source named {0:?} runs")]
    Unknown(Arc<str>),
    /// The source did not take the commands before this one yet.
    #[error("the source {0:?} has not obeyed earlier commands yet; try again")]
    Busy(Arc<str>),
    /// Everything was dropped as asked, but clips that were recorded are still on the disk.
    #[error("clips that were recorded could not be deleted: {0}; delete them by hand")]
    NotDeleted(Arc<str>),
    /// The watch is stopping or has ended.
    #[error("the watch is stopping")]
    Stopping,
}

/// Where the answer to a command goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, ControlError>>;
/// Closes when a source has ended and all its events were sent.
pub(super) type Over = watch::Receiver<()>;
/// How the withdrawal of a source came out; None while it is not done.
pub(crate) type Withdrawn = Option<Result<(), Arc<str>>>;

/// What is asked of a watch.
#[derive(Debug)]
pub(super) enum Command {
    Add(Box<(SourceConfig, SessionOptions)>, Reply<()>),
    Pause(Arc<str>, Actor, Reply<()>),
    Resume(Arc<str>, Actor, Reply<()>),
    End(Arc<str>, Reply<Over>),
    /// Only to be told when it has ended.
    Await(Arc<str>, Reply<Over>),
    Withdraw(Arc<str>, Actor, Reply<watch::Receiver<Withdrawn>>),
}

/// A control and its other end.
#[must_use]
pub fn control() -> (Control, Commands) {
    let (commands, asked) = mpsc::channel(WAITING);
    let (judging, panel) = watch::channel(None);
    let (beginning, begun) = watch::channel(false);
    let (taken, config) = watch::channel(None);
    let commanded = Commands { asked, panel: judging, begun: beginning, config: taken, stages: Stages::default() };
    (Control { commands, panel, begun, config }, commanded)
}

impl Commands {
    /// The same, with somebody who is told how long stages take.
    #[must_use]
    pub fn timed(self, stages: Stages) -> Self {
        Self { stages, ..self }
    }
}

#[cfg(test)]
impl Commands {
    /// Answers one command as a watch would that has no sources: what is added is taken, nothing else is known. What was asked.
    pub(crate) async fn answer(&mut self) -> &'static str {
        match self.asked.recv().await {
            Some(Command::Add(_, reply)) => reply.send(Ok(())).map_or("nobody waits", |()| "add"),
            Some(Command::End(name, reply)) => {
                reply.send(Err(ControlError::Unknown(name))).map_or("nobody waits", |()| "end")
            }
            _ => "another",
        }
    }
}

impl Control {
    /// Adds a source. It goes on when the configuration is read again, whatever that says.
    ///
    /// # Errors
    /// [`ControlError::Duplicate`], [`ControlError::Refused`], [`ControlError::Stopping`].
    pub async fn add(&self, source: SourceConfig, options: SessionOptions) -> Result<(), ControlError> {
        let name = Arc::clone(&source.name);
        self.ask(&name, |_, reply| Command::Add(Box::new((source, options)), reply)).await
    }

    /// Pauses a source: from when this resolves until it is resumed, no frame of it is looked at. Windows that were cut before are
    /// still judged. Of a source that is paused already nothing changes; one without a session begins none while it is paused. A
    /// recording plays on unseen; where it waits for the panel, this resolves when that has answered.
    ///
    /// # Errors
    /// [`ControlError::Unknown`], [`ControlError::Busy`], [`ControlError::Stopping`].
    pub async fn pause(&self, source: &str, by: Actor) -> Result<(), ControlError> {
        self.ask(source, |name, reply| Command::Pause(name, by, reply)).await
    }

    /// Lets a paused source go on. Of a source that is not paused nothing changes.
    ///
    /// # Errors
    /// As [`Control::pause`].
    pub async fn resume(&self, source: &str, by: Actor) -> Result<(), ControlError> {
        self.ask(source, |name, reply| Command::Resume(name, by, reply)).await
    }

    /// Ends a source; what is under way has its grace. Resolves once it has ended and all its events were sent. A configured
    /// source does not begin again while it is configured as it was.
    ///
    /// # Errors
    /// [`ControlError::Unknown`], [`ControlError::Stopping`].
    pub async fn end(&self, source: &str) -> Result<(), ControlError> {
        let over = self.ask(source, Command::End).await?;
        closed(over).await;
        Ok(())
    }

    /// Resolves once a source has ended, by itself or by command, and all its events were sent.
    ///
    /// # Errors
    /// [`ControlError::Unknown`]: it has ended already, or never was there. [`ControlError::Stopping`].
    pub async fn ended(&self, source: &str) -> Result<(), ControlError> {
        let over = self.ask(source, Command::Await).await?;
        closed(over).await;
        Ok(())
    }

    /// Withdraws a source and its running session: no window of it is judged any more, requests in flight are dropped and their
    /// connections closed, clips that were recorded of the session are deleted, and nothing more is sent of it but
    /// `ah.session.withdrawn.v1`. Resolves when rings, queues and requests are gone and that was sent; where whoever takes
    /// the events has stalled, it is sent later. The name is free again once the source's connection is taken down.
    ///
    /// # Errors
    /// [`ControlError::Unknown`], also where the session ended before the withdrawal came; [`ControlError::NotDeleted`], with all
    /// else done; [`ControlError::Stopping`].
    pub async fn withdraw(&self, source: &str, by: Actor) -> Result<(), ControlError> {
        let mut done = self.ask(source, |name, reply| Command::Withdraw(name, by, reply)).await?;
        let withdrawn = done.wait_for(Option::is_some).await.map_err(|_| ControlError::Unknown(source.into()))?;
        withdrawn.clone().unwrap_or(Ok(())).map_err(ControlError::NotDeleted)
    }

    /// The panel that judges sessions from now on; None: the embedded index does, or the watch has not begun yet.
    #[must_use]
    pub fn panel(&self) -> watch::Receiver<Option<Arc<Panel>>> {
        self.panel.clone()
    }

    /// The configuration in force, which is not one that was read again and could not be run. None: the watch has not begun yet.
    #[must_use]
    pub fn config(&self) -> Option<Arc<Config>> {
        self.config.borrow().clone()
    }

    /// The same, as it changes. Closed once the watch has ended.
    #[must_use]
    pub fn configs(&self) -> watch::Receiver<Option<Arc<Config>>> {
        self.config.clone()
    }

    /// Whether the watch has begun: the judges were examined, the configured sources were started.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        *self.begun.borrow()
    }

    async fn ask<T>(
        &self,
        source: &str,
        command: impl FnOnce(Arc<str>, Reply<T>) -> Command,
    ) -> Result<T, ControlError> {
        let (reply, answer) = oneshot::channel();
        let name: Arc<str> = source.into();
        self.commands.send(command(Arc::clone(&name), reply)).await.map_err(|_| ControlError::Stopping)?;
        // Without an answer: the source ended before it came to that, or the whole watch did.
        let gone = |_| if self.commands.is_closed() { ControlError::Stopping } else { ControlError::Unknown(name) };
        answer.await.map_err(gone)?
    }
}

async fn closed(mut over: Over) {
    while over.changed().await.is_ok() {}
}
