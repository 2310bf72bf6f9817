//! The sources that run. They come and go with the configuration and by command; what they share stays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::control::{Command, ControlError, SessionOptions};
use super::cut::Order;
use super::guarding::Care;
use super::member::{Member, Ready};
use super::prepare::Shared;
use super::{Change, RunError};
use crate::alert::Event;
use crate::config::{Config, SourceConfig};
use crate::judge::panel::Panel;
use crate::record::Records;
use crate::stage::Stages;
use crate::watch::Watched;

/// A configured source that could not be started is tried again so much later.
const AGAIN: Duration = Duration::from_secs(10);

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
    /// When to try again what could not be started. None: all was.
    pub again: Option<Instant>,
    /// [`Member::start`], which tests make fail.
    begin: Begin,
}

type Begin =
    fn(Ready, Option<Arc<Records>>, mpsc::Sender<Event>, &mut JoinSet<(Arc<str>, Watched)>) -> Result<Member, RunError>;

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
            again: None,
            begin: Member::start,
        })
    }

    /// The panel that judges now, if one does.
    pub fn panel(&self) -> Option<Arc<Panel>> {
        self.shared.panel()
    }

    /// Who looks after it.
    pub fn care(&self) -> Arc<Care> {
        Arc::clone(&self.shared.care)
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

    /// Makes the fleet what this configuration says. Sources that were added by command go on. A source that cannot be started is
    /// logged and tried again; why the first of them cannot.
    pub fn apply(&mut self, Prepared { shared, mut ready }: Prepared, config: &Config) -> (Change, Option<RunError>) {
        if !Arc::ptr_eq(&self.shared.care, &shared.care) {
            self.shared.care.retire();
        }
        self.shared = shared;
        self.config = config.clone();
        let (mut change, mut failed) = (Change::default(), None);
        self.again = None;
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
                match self.start(ready) {
                    Ok(()) => change.added.push(name),
                    Err(error) => {
                        self.later(&name, &error);
                        failed.get_or_insert(error);
                    }
                }
            }
        }
        (change, failed)
    }

    /// Tries again what could not be started.
    pub fn start_again(&mut self) {
        self.again = None;
        let begun =
            |source: &&SourceConfig| self.members.contains_key(&source.name) || self.done.contains_key(&source.name);
        let missing: Vec<_> = self.config.sources.iter().filter(|source| !begun(source)).cloned().collect();
        for source in missing {
            let ready = Ready::configured(&source, &self.config, &self.shared);
            match ready.and_then(|ready| self.start(ready)) {
                Ok(()) => tracing::warn!(source = %source.name, "started after all"),
                Err(error) => self.later(&source.name, &error),
            }
        }
    }

    fn later(&mut self, name: &str, error: &RunError) {
        tracing::error!(source = name, "not started, and tried again in {} s: {error}", AGAIN.as_secs());
        self.again = Some(Instant::now() + AGAIN);
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
    pub fn stop(&mut self, grace: Duration) {
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
                    self.later(&name, &error);
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
        let member = (self.begin)(ready, self.shared.records.clone(), events, &mut self.tasks)?;
        self.members.insert(name, member);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::alert::EventKind;
    use crate::config::{Overrides, RawConfig};

    fn refuse(
        _: Ready,
        _: Option<Arc<Records>>,
        _: mpsc::Sender<Event>,
        _: &mut JoinSet<(Arc<str>, Watched)>,
    ) -> Result<Member, RunError> {
        Err(std::io::Error::from(std::io::ErrorKind::QuotaExceeded).into())
    }

    fn config(sources: &[&str]) -> Config {
        let source = |name: &&str| format!("[[source]]\nname = \"{name}\"\nurl = \"test:\"\n");
        let judge = "[[judge]]\nname = \"a\"\nbase_url = \"http://127.0.0.1:1/v1\"\nmodel = \"m\"\n";
        let text = judge.to_owned() + &sources.iter().map(source).collect::<String>();
        Config::build(RawConfig::parse(&text, Path::new("a.toml")), Overrides::default(), &|_| None).unwrap()
    }

    #[tokio::test]
    async fn a_source_that_cannot_be_started_keeps_no_other_from_it_and_is_tried_again() {
        let (events, _told) = mpsc::channel(1000);
        let mut fleet = Fleet::new(&config(&["old"]), events, Stages::default()).unwrap();
        let prepared = fleet.prepare(&config(&["old"])).unwrap();
        assert!(fleet.apply(prepared, &config(&["old"])).1.is_none() && fleet.again.is_none());

        fleet.begin = refuse;
        let more = config(&["old", "one", "two"]);
        let prepared = fleet.prepare(&more).unwrap();
        let (change, failed) = fleet.apply(prepared, &more);
        assert!(matches!(failed, Some(RunError::Thread(_))));
        assert_eq!((change.kept, change.added.len(), fleet.members.len()), (1, 0, 1));
        assert!(fleet.again.is_some(), "and all that goes on is as the new configuration says");
        fleet.start_again();
        assert!(fleet.again.is_some() && fleet.members.len() == 1);

        fleet.begin = Member::start;
        fleet.start_again();
        assert!(fleet.again.is_none() && fleet.members.len() == 3);
        fleet.stop(Duration::ZERO);
        while fleet.ended().await.is_some() {}
    }

    #[tokio::test]
    async fn a_panel_is_looked_after_until_no_session_that_began_with_it_goes_on() {
        let (events, mut told) = mpsc::channel(1000);
        let mut config = config(&["a"]);
        let mut fleet = Fleet::new(&config, events, Stages::default()).unwrap();
        let prepared = fleet.prepare(&config).unwrap();
        fleet.apply(prepared, &config);
        while !matches!(told.recv().await.unwrap().kind, EventKind::SessionStarted(_)) {}
        let care = Arc::downgrade(&fleet.care());

        config.panel.allow_degraded = true;
        let prepared = fleet.prepare(&config).unwrap();
        assert_eq!(fleet.apply(prepared, &config).0.kept, 1);
        assert!(!std::ptr::eq(care.as_ptr(), Arc::as_ptr(&fleet.care())) && care.upgrade().is_some());
        fleet.stop(Duration::ZERO);
        while fleet.ended().await.is_some() {}
        assert!(care.upgrade().is_none());
    }
}
