//! The sources that run. They come and go with the configuration and by command; what they share stays.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::control::{Command, ControlError, SessionOptions};
use super::cut::Order;
use super::member::{Member, Ready};
use super::prepare::Shared;
use super::{Change, RunError};
use crate::alert::Event;
use crate::config::{Config, SourceConfig};
use crate::judge::panel::Panel;
use crate::stage::Stages;
use crate::watch::Watched;

/// All sources of a process.
pub(super) struct Fleet {
    config: Config,
    shared: Shared,
    /// None: it was stopped.
    events: Option<mpsc::Sender<Event>>,
    members: BTreeMap<Arc<str>, Member>,
    /// What ended by itself or by command; not begun again while it is configured as it was.
    done: BTreeMap<Arc<str>, SourceConfig>,
    tasks: JoinSet<(Arc<str>, Watched)>,
}

/// Everything of a configuration that can fail before anything of it starts.
pub(super) struct Prepared {
    shared: Shared,
    ready: Vec<Ready>,
}

impl Fleet {
    /// A fleet without any source yet.
    pub fn new(config: &Config, events: mpsc::Sender<Event>, stages: Stages) -> Result<Self, RunError> {
        Ok(Self {
            config: config.clone(),
            shared: Shared::new(config, stages)?,
            events: Some(events),
            members: BTreeMap::new(),
            done: BTreeMap::new(),
            tasks: JoinSet::new(),
        })
    }

    /// The panel that judges now, if one does.
    pub fn panel(&self) -> Option<Arc<Panel>> {
        self.shared.panel()
    }

    /// Whether no source runs.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Builds what this configuration needs besides what runs; starts nothing.
    pub fn prepare(&self, config: &Config) -> Result<Prepared, RunError> {
        let shared = self.shared.anew(config)?;
        let mut ready = Vec::new();
        for source in &config.sources {
            let goes_on = self.members.get(&source.name).is_some_and(|member| member.goes_on(source));
            let over = !self.members.contains_key(&source.name) && self.done.get(&source.name) == Some(source);
            if !goes_on && !over {
                ready.push(Ready::configured(source, config, &shared)?);
            }
        }
        Ok(Prepared { shared, ready })
    }

    /// Makes the fleet what this configuration says. Sources that were added by command go on.
    pub fn apply(&mut self, Prepared { shared, mut ready }: Prepared, config: &Config) -> Result<Change, RunError> {
        self.shared = shared;
        self.config = config.clone();
        let mut change = Change::default();
        self.done.retain(|name, _| config.sources.iter().any(|source| source.name == *name));
        for (name, member) in &mut self.members {
            match config.sources.iter().find(|source| source.name == *name) {
                _ if member.ordered => member.next = None,
                Some(source) if member.goes_on(source) => {
                    change.kept += 1;
                    member.replan(self.shared.plan(member.live, config));
                }
                Some(_) => {}
                None => {
                    change.removed.push(Arc::clone(name));
                    member.next = None;
                    member.stop();
                }
            }
        }
        super::prepare::stagger(ready.iter_mut().map(|ready| &mut ready.spec));
        for ready in ready {
            let name = Arc::clone(&ready.config.name);
            self.done.remove(&name);
            if let Some(member) = self.members.get_mut(&name) {
                // One name is never two sources at once.
                if member.ordered {
                    tracing::warn!(source = %name, "waits for the source that was added by command under this name");
                } else {
                    change.replaced.push(name);
                    member.stop();
                }
                member.next = Some(Box::new(ready));
            } else {
                change.added.push(name);
                self.start(ready)?;
            }
        }
        Ok(change)
    }

    /// Does what a command says; the answer goes where that wants it, at once or when it is done.
    pub fn obey(&mut self, command: Command) {
        // Nobody waits for an answer any more where it cannot be sent.
        match command {
            Command::Add(asked, reply) => {
                let (source, options) = *asked;
                let _ = reply.send(self.add(&source, options));
            }
            Command::Pause(name, by, reply) => match self.member(&name) {
                Ok(member) => member.order(Order::Pause(by, reply)),
                Err(error) => drop(reply.send(Err(error))),
            },
            Command::Resume(name, by, reply) => match self.member(&name) {
                Ok(member) => member.order(Order::Resume(by, reply)),
                Err(error) => drop(reply.send(Err(error))),
            },
            Command::End(name, reply) => {
                let _ = reply.send(self.member(&name).map(|member| {
                    member.dismiss();
                    member.over()
                }));
            }
            Command::Await(name, reply) => drop(reply.send(self.member(&name).map(|member| member.over()))),
            Command::Withdraw(name, by, reply) => {
                let _ = reply.send(self.member(&name).map(|member| {
                    member.dismiss();
                    member.withdraw(by)
                }));
            }
        }
    }

    fn member(&mut self, name: &Arc<str>) -> Result<&mut Member, ControlError> {
        self.members.get_mut(name).ok_or_else(|| ControlError::Unknown(Arc::clone(name)))
    }

    fn add(&mut self, source: &SourceConfig, options: SessionOptions) -> Result<(), ControlError> {
        if self.events.is_none() {
            return Err(ControlError::Stopping);
        }
        if self.members.contains_key(&source.name) {
            return Err(ControlError::Duplicate(Arc::clone(&source.name)));
        }
        let ready = Ready::ordered(source, options, &self.config, &self.shared)?;
        Ok(self.start(ready)?)
    }

    /// Stops all; what is under way has this long.
    pub fn stop(&mut self, grace: std::time::Duration) {
        for member in self.members.values_mut() {
            member.next = None;
            member.stop_within(grace);
        }
        self.events = None;
    }

    /// The next source that has ended. None: there is none left.
    pub async fn ended(&mut self) -> Option<Watched> {
        let (name, watched) = match self.tasks.join_next().await? {
            Ok(ended) => ended,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is being shut down.
                Err(_) => return None,
            },
        };
        if let Some(member) = self.members.remove(&name) {
            let by_itself = member.is_running() || member.dismissed;
            if let Some(next) = member.next {
                if let Err(error) = self.start(*next) {
                    tracing::error!(source = %name, "not started again: {error}");
                }
            } else if let (true, Some(source)) = (by_itself, self.config.sources.iter().find(|s| s.name == name))
                && !member.ordered
            {
                self.done.insert(name, source.clone());
            }
        }
        Some(watched)
    }

    fn start(&mut self, ready: Ready) -> Result<(), RunError> {
        let Some(events) = self.events.clone() else { return Ok(()) };
        let name = Arc::clone(&ready.config.name);
        let member = Member::start(ready, self.shared.records.clone(), events, &mut self.tasks)?;
        self.members.insert(name, member);
        Ok(())
    }
}
