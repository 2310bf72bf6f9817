//! One source that runs: its cutting thread, its task, and what commands reach them by.

#![allow(clippy::disallowed_methods, reason = "part of run.rs")]

use std::cell::RefCell;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::control::{ControlError, Over, SessionOptions, Withdrawn};
use super::cut::{Order, Replan, cut_by_order};
use super::prepare::{Shared, ordered, spec};
use super::{CUTS_OF_A_CAMERA, CUTS_OF_A_FILE, FromSource, GRACE, Item, RunError};
use crate::alert::{Actor, Event};
use crate::config::{Config, SourceConfig};
use crate::encode::StillEncoder;
use crate::record::{Recorder, Records};
use crate::source::{Finish, Retry, Spec};
use crate::watch::{Plan, Watched, Watcher, Withdrawal};
use crate::window::Cut;

/// Commands that a source's thread did not obey yet; it looks at them many times a second, unless it waits for the panel.
const ORDERS: usize = 16;
/// After a withdrawal the name stays taken until the connection is down, but no longer than this.
const TAKEN_DOWN: Duration = Duration::from_secs(3);

/// Everything of a source that can fail before it starts.
pub(super) struct Ready {
    pub config: SourceConfig,
    pub spec: Spec,
    plan: Arc<Plan>,
    stills: StillEncoder,
    /// Of its only session, of a source that was added by command.
    id: Option<Arc<str>>,
}

impl Ready {
    /// A configured source.
    pub fn configured(source: &SourceConfig, config: &Config, shared: &Shared) -> Result<Self, RunError> {
        let spec = spec(source, config)?;
        let plan = Arc::new(shared.plan(spec.is_live(), config));
        let stills = StillEncoder::new(plan.max_pixels, plan.jpeg_quality)?;
        Ok(Self { config: source.clone(), spec, plan, stills, id: None })
    }

    /// A source that was added by command.
    pub fn ordered(
        source: &SourceConfig,
        options: SessionOptions,
        config: &Config,
        shared: &Shared,
    ) -> Result<Self, RunError> {
        let config = ordered(config, &options);
        let ready = Self::configured(source, &config, &shared.anew(&config)?)?;
        match ready.plan.settings.problems().into_iter().next() {
            Some(problem) => Err(problem.into()),
            None => Ok(Self { id: Some(options.id), ..ready }),
        }
    }
}

/// One source that runs, or runs out.
pub(super) struct Member {
    pub config: SourceConfig,
    pub live: bool,
    /// It was added by command, and has one session.
    pub ordered: bool,
    /// It was ended by command.
    pub dismissed: bool,
    /// What takes its place when it has ended.
    pub next: Option<Box<Ready>>,
    /// Dropped, it stops.
    running: Option<Sender<Infallible>>,
    grace: watch::Sender<Option<tokio::time::Instant>>,
    plan: watch::Sender<Arc<Plan>>,
    orders: Sender<Order>,
    withdrawal: watch::Sender<Option<Actor>>,
    withdrawn: watch::Receiver<Withdrawn>,
    /// Closes with this.
    over: watch::Sender<()>,
}

impl Member {
    /// Starts a source.
    pub fn start(
        ready: Ready,
        records: Option<Arc<Records>>,
        events: mpsc::Sender<Event>,
        tasks: &mut JoinSet<(Arc<str>, Watched)>,
    ) -> Result<Self, RunError> {
        let Ready { config, spec, plan, stills, id } = ready;
        let name = Arc::clone(&config.name);
        let (live, ordered) = (spec.is_live(), id.is_some());
        let (running, stop) = bounded::<Infallible>(0);
        let (grace, over_then) = watch::channel(None);
        let (plans, replans) = watch::channel(Arc::clone(&plan));
        let (orders, asked) = bounded(ORDERS);
        let (withdrawal, withdrawing) = watch::channel(None);
        let (done, withdrawn) = watch::channel(None);
        let (items, queue) = mpsc::channel(if live { CUTS_OF_A_CAMERA } else { CUTS_OF_A_FILE });
        let mut watcher = Watcher::new(&name, live, Arc::clone(&plan), events, over_then);
        watcher.recorder = Recorder::new(records, Arc::clone(&name));
        watcher.id = id;
        watcher.withdrawal = Some(Withdrawal::new(withdrawing.clone(), done));
        let (here, gone) = oneshot::channel::<Infallible>();
        let thread = Thread { spec, plan, stills, plans: replans, orders: asked, withdrawing, ordered, stop };
        std::thread::Builder::new().name(format!("cut:{name}")).spawn(move || {
            let _here = here;
            thread.run(items);
        })?;
        let named = Arc::clone(&name);
        tasks.spawn(async move {
            let watched = watcher.run(queue).await;
            if watched.withdrawn {
                // One name is never two sources at once.
                let _ = tokio::time::timeout(TAKEN_DOWN, gone).await;
            }
            (named, watched)
        });
        Ok(Self {
            config,
            live,
            ordered,
            dismissed: false,
            next: None,
            running: Some(running),
            grace,
            plan: plans,
            orders,
            withdrawal,
            withdrawn,
            over: watch::Sender::new(()),
        })
    }

    /// It was not stopped.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// It is this configured source, and goes on with another configuration that has it.
    pub fn goes_on(&self, source: &SourceConfig) -> bool {
        !self.ordered && self.running.is_some() && self.config == *source
    }

    /// Its next sessions begin with this.
    pub fn replan(&self, plan: Plan) {
        self.plan.send_replace(Arc::new(plan));
    }

    /// Stops it; what is under way has its grace.
    pub fn stop(&mut self) {
        self.stop_within(GRACE);
    }

    /// Stops it; what is under way has this long.
    pub fn stop_within(&mut self, grace: Duration) {
        if self.running.take().is_some() {
            self.grace.send_replace(Some(tokio::time::Instant::now() + grace));
        }
    }

    /// Ends it by command: a configured source does not come again while it is configured so.
    pub fn dismiss(&mut self) {
        self.dismissed = true;
        if !self.ordered {
            self.next = None;
        }
        self.stop();
    }

    /// Drops everything of it at once.
    pub fn withdraw(&mut self, by: Actor) -> watch::Receiver<Withdrawn> {
        self.withdrawal.send_if_modified(|asked| asked.is_none().then(|| *asked = Some(by)).is_some());
        self.withdrawn.clone()
    }

    /// Closes when it has ended.
    pub fn over(&self) -> Over {
        self.over.subscribe()
    }

    /// Has its thread obey; that answers itself.
    pub fn order(&self, order: Order) {
        let Err(refused) = self.orders.try_send(order) else { return };
        let name = Arc::clone(&self.config.name);
        let (order, error) = match refused {
            crossbeam_channel::TrySendError::Full(order) => (order, ControlError::Busy(name)),
            crossbeam_channel::TrySendError::Disconnected(order) => (order, ControlError::Unknown(name)),
        };
        if let Order::Pause(_, reply) | Order::Resume(_, reply) = order {
            let _ = reply.send(Err(error));
        }
    }
}

/// A cutting thread.
struct Thread {
    spec: Spec,
    plan: Arc<Plan>,
    stills: StillEncoder,
    plans: watch::Receiver<Arc<Plan>>,
    orders: Receiver<Order>,
    withdrawing: watch::Receiver<Option<Actor>>,
    ordered: bool,
    stop: Receiver<Infallible>,
}

impl Thread {
    fn run(self, items: mpsc::Sender<Item>) {
        let Self { spec, plan, stills, mut plans, orders, withdrawing, ordered, stop } = self;
        let pending: RefCell<Option<Arc<Plan>>> = RefCell::new(None);
        let (cutting, mut pictures) = (plan.cutting, (plan.max_pixels, plan.jpeg_quality));
        // Who looks after its judges would else go on as long as this thread.
        drop(plan);
        let mut replan = || {
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
                    Some(Order::Replan(Replan { cutting, stills }))
                }
                Err(error) => {
                    tracing::error!(source = spec.name, "sessions go on as they were: {error}");
                    None
                }
            }
        };
        let obey = || {
            if withdrawing.borrow().is_some() {
                return Some(Order::Release);
            }
            orders.try_recv().ok().or_else(&mut replan)
        };
        // Closed once it is released: that says so.
        let (mut items, mut over) = (Some(items), false);
        cut_by_order(&spec, &Retry::default(), cutting, stills, obey, &stop, |message| {
            let Some(sender) = &items else { return false };
            let say = |item| sender.blocking_send(item).is_ok();
            match message {
                FromSource::Released if over => true,
                FromSource::Released => {
                    items = None;
                    false
                }
                FromSource::Cut(Cut::SessionBegan, _) if pending.borrow().is_some() => {
                    pending.take().is_some_and(|plan| say(Item::Plan(plan))) && say(Item::From(message))
                }
                FromSource::Cut(Cut::SessionEnded { .. }, _) if ordered => {
                    over = say(Item::From(message));
                    false
                }
                FromSource::Finished(_) => {
                    over = false;
                    say(Item::From(message))
                }
                message => say(Item::From(message)),
            }
        });
        if let (Some(items), true) = (items, over) {
            // Its one session ended, and with it the source.
            let finish = Finish::incomplete(None);
            let _ = items.blocking_send(Item::From(FromSource::Finished(finish)));
        }
    }
}
