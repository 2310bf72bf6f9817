//! The sources that run. They come and go with the configuration; what they share stays.

#![allow(clippy::disallowed_methods, reason = "part of run.rs")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::prepare::{Shared, spec};
use super::{CUTS_OF_A_CAMERA, CUTS_OF_A_FILE, Change, GRACE, Item, Replan, RunError, cut_anew};
use crate::alert::Event;
use crate::config::{Config, SourceConfig};
use crate::encode::StillEncoder;
use crate::judge::panel::Panel;
use crate::record::Recorder;
use crate::run::FromSource;
use crate::source::{Retry, Spec};
use crate::watch::{Plan, Watched, Watcher};
use crate::window::Cut;

/// All sources of a process.
pub(super) struct Fleet {
    shared: Shared,
    events: Option<mpsc::Sender<Event>>,
    members: BTreeMap<Arc<str>, Member>,
    /// What ended by itself; not begun again while it is configured as it was.
    done: BTreeMap<Arc<str>, SourceConfig>,
    tasks: JoinSet<(Arc<str>, Watched)>,
}

/// One source that runs, or runs out.
struct Member {
    config: SourceConfig,
    live: bool,
    /// Dropped, it stops.
    running: Option<Sender<Infallible>>,
    grace: watch::Sender<Option<tokio::time::Instant>>,
    plan: watch::Sender<Arc<Plan>>,
    /// What takes its place when it has ended.
    next: Option<Box<Ready>>,
}

/// Everything of a configuration that can fail before anything of it starts.
pub(super) struct Prepared {
    shared: Shared,
    ready: Vec<Ready>,
}

/// The same of a source.
struct Ready {
    config: SourceConfig,
    spec: Spec,
    plan: Arc<Plan>,
    stills: StillEncoder,
}

impl Fleet {
    /// A fleet without any source yet.
    pub fn new(config: &Config, events: mpsc::Sender<Event>) -> Result<Self, RunError> {
        Ok(Self {
            shared: Shared::new(config)?,
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

    /// Builds what this configuration needs besides what runs; starts nothing.
    pub fn prepare(&self, config: &Config) -> Result<Prepared, RunError> {
        let shared = self.shared.anew(config)?;
        let mut ready = Vec::new();
        for source in &config.sources {
            let same = |member: &Member| member.running.is_some() && member.config == *source;
            let goes_on = self.members.get(&source.name).is_some_and(same);
            let over = !self.members.contains_key(&source.name) && self.done.get(&source.name) == Some(source);
            if !goes_on && !over {
                ready.push(prepare(source, config, &shared)?);
            }
        }
        Ok(Prepared { shared, ready })
    }

    /// Makes the fleet what this configuration says.
    pub fn apply(&mut self, Prepared { shared, mut ready }: Prepared, config: &Config) -> Result<Change, RunError> {
        self.shared = shared;
        let mut change = Change::default();
        self.done.retain(|name, _| config.sources.iter().any(|source| source.name == *name));
        for (name, member) in &mut self.members {
            match config.sources.iter().find(|source| source.name == *name) {
                Some(source) if member.running.is_some() && member.config == *source => {
                    let plan = Arc::new(self.shared.plan(member.live, config));
                    change.kept += 1;
                    member.plan.send_replace(plan);
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
                change.replaced.push(name);
                member.stop();
                member.next = Some(Box::new(ready));
            } else {
                change.added.push(name);
                self.start(ready)?;
            }
        }
        Ok(change)
    }

    /// Stops all; what is under way has its grace.
    pub fn stop(&mut self) {
        for member in self.members.values_mut() {
            member.next = None;
            member.stop();
        }
        self.events = None;
    }

    /// The next source that has ended. None: there is none left.
    pub async fn ended(&mut self) -> Option<Watched> {
        let (name, watched) = match self.tasks.join_next().await? {
            Ok(ended) => ended,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        if let Some(member) = self.members.remove(&name) {
            if member.running.is_some() {
                self.done.insert(name, member.config);
            } else if let Some(next) = member.next
                && let Err(error) = self.start(*next)
            {
                tracing::error!(source = %name, "not started again: {error}");
            }
        }
        Some(watched)
    }

    fn start(&mut self, ready: Ready) -> Result<(), RunError> {
        let Some(events) = self.events.clone() else { return Ok(()) };
        let Ready { config, spec, plan, stills } = ready;
        let name = Arc::clone(&config.name);
        let live = spec.is_live();
        let (running, stop) = bounded::<Infallible>(0);
        let (grace, over) = watch::channel(None);
        let (plans, replans) = watch::channel(Arc::clone(&plan));
        let (items, queue) = mpsc::channel(if live { CUTS_OF_A_CAMERA } else { CUTS_OF_A_FILE });
        let mut watcher = Watcher::new(&name, live, Arc::clone(&plan), events, over);
        watcher.recorder = Recorder::new(self.shared.records.clone(), Arc::clone(&name));
        std::thread::Builder::new()
            .name(format!("cut:{name}"))
            .spawn(move || source_thread(&spec, &plan, stills, replans, &stop, &items))?;
        let named = Arc::clone(&name);
        self.tasks.spawn(async move { (named, watcher.run(queue).await) });
        self.members.insert(name, Member { config, live, running: Some(running), grace, plan: plans, next: None });
        Ok(())
    }
}

impl Member {
    fn stop(&mut self) {
        if self.running.take().is_some() {
            self.grace.send_replace(Some(tokio::time::Instant::now() + GRACE));
        }
    }
}

fn prepare(source: &SourceConfig, config: &Config, shared: &Shared) -> Result<Ready, RunError> {
    let spec = spec(source, config)?;
    let plan = Arc::new(shared.plan(spec.is_live(), config));
    let stills = StillEncoder::new(plan.max_pixels, plan.jpeg_quality)?;
    Ok(Ready { config: source.clone(), spec, plan, stills })
}

/// The body of a cutting thread.
fn source_thread(
    spec: &Spec,
    plan: &Plan,
    stills: StillEncoder,
    mut plans: watch::Receiver<Arc<Plan>>,
    stop: &Receiver<Infallible>,
    items: &mpsc::Sender<Item>,
) {
    let pending: RefCell<Option<Arc<Plan>>> = RefCell::new(None);
    let mut pictures = (plan.max_pixels, plan.jpeg_quality);
    let replan = || {
        if !plans.has_changed().unwrap_or(false) {
            return None;
        }
        let plan = Arc::clone(&plans.borrow_and_update());
        let wanted = (plan.max_pixels, plan.jpeg_quality);
        let stills = (wanted != pictures).then(|| StillEncoder::new(wanted.0, wanted.1)).transpose();
        match stills {
            Ok(stills) => {
                pictures = wanted;
                let cutting = plan.cutting;
                pending.replace(Some(plan));
                Some(Replan { cutting, stills })
            }
            Err(error) => {
                tracing::error!(source = spec.name, "sessions go on as they were: {error}");
                None
            }
        }
    };
    cut_anew(spec, &Retry::default(), plan.cutting, stills, replan, stop, |message| {
        if matches!(message, FromSource::Cut(Cut::SessionBegan, _))
            && let Some(plan) = pending.take()
            && items.blocking_send(Item::Plan(plan)).is_err()
        {
            return false;
        }
        items.blocking_send(Item::From(message)).is_ok()
    });
}
