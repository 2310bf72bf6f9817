//! The server behind one `base_url`: its places for requests and its circuit, shared by all judges that name it.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Client;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until, timeout};
use url::Url;

use crate::judge::circuit::{Admission, CANARY_EVERY, Change, Circuit, Health};

/// A canary that is not answered by then has failed.
const CANARY_TIME: Duration = CANARY_EVERY;

/// One `base_url`.
pub(in crate::judge) struct Endpoint {
    url: Url,
    client: Client,
    places: Semaphore,
    count: usize,
    /// Requests in line for a place.
    waiting: AtomicUsize,
    circuit: Mutex<Circuit>,
    /// What went wrong last, in a line without credentials.
    why: Mutex<Option<Arc<str>>>,
    /// Held by whoever asks a canary clip: what else a server computes beside it moves its numbers.
    pub(super) examining: tokio::sync::Mutex<()>,
    /// Rung whenever somebody who waits for the circuit should look again.
    changed: Notify,
}

/// Leave to send one request.
pub(super) struct Leave<'a> {
    endpoint: &'a Endpoint,
    judge: &'a Arc<str>,
    sent: Instant,
    told: bool,
    _place: SemaphorePermit<'a>,
}

impl Endpoint {
    pub(super) fn new(url: Url, client: Client, places: usize) -> Self {
        Self {
            url,
            client,
            places: Semaphore::new(places),
            count: places,
            waiting: AtomicUsize::new(0),
            circuit: Mutex::default(),
            why: Mutex::default(),
            examining: tokio::sync::Mutex::new(()),
            changed: Notify::new(),
        }
    }

    pub(super) const fn url(&self) -> &Url {
        &self.url
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// How many requests it is sent at once.
    pub(in crate::judge) const fn count(&self) -> usize {
        self.count
    }

    /// Host and port.
    pub(super) fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        format!("{host}:{}", self.url.port_or_known_default().unwrap_or_default())
    }

    /// A path of this server; see [`super::Replica::address`].
    pub(super) fn address(&self, path: &str) -> Url {
        let base = self.url.path().trim_end_matches('/');
        let path = match path.strip_prefix('/') {
            Some(beside) => format!("{}/{beside}", base.rsplit_once('/').map_or("", |(above, _)| above)),
            None => format!("{base}/{path}"),
        };
        let mut url = self.url.clone();
        url.set_path(&path);
        url
    }

    /// Requests under way.
    pub(super) fn in_flight(&self) -> usize {
        self.count - self.places.available_permits().min(self.count)
    }

    /// Whether another request is in line for a place.
    pub(super) fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Whether its circuit lets nothing through.
    pub(super) fn is_open(&self) -> bool {
        self.circuit().is_open()
    }

    /// Since when nothing was answered, if the circuit is not closed.
    pub(super) fn out_since(&self) -> Option<Instant> {
        self.circuit().since()
    }

    /// When the next canary is due, if the circuit is open.
    pub(super) fn next_canary(&self) -> Option<Instant> {
        self.circuit().next_canary()
    }

    /// Leave to send a request now; None where all places are taken or the circuit says no.
    pub(super) fn leave_now<'a>(&'a self, judge: &'a Arc<str>) -> Option<Leave<'a>> {
        let place = self.places.try_acquire().ok()?;
        (self.circuit().admit() == Admission::Granted).then(|| self.leave(place, judge))
    }

    /// Leave to send a request, waiting in line for a place and for what comes of another's trial. None: the circuit is open.
    pub(super) async fn leave_in_turn<'a>(&'a self, judge: &'a Arc<str>) -> Option<Leave<'a>> {
        let in_line = InLine::at(&self.waiting);
        let place = self.places.acquire().await.ok()?;
        drop(in_line);
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.circuit().admit() {
                Admission::Granted => return Some(self.leave(place, judge)),
                Admission::Refused => return None,
                Admission::OnTrial => {}
            }
            changed.await;
        }
    }

    fn leave<'a>(&'a self, place: SemaphorePermit<'a>, judge: &'a Arc<str>) -> Leave<'a> {
        Leave { endpoint: self, judge, sent: Instant::now(), told: false, _place: place }
    }

    /// Waits until the circuit changes; counts from the moment this is called.
    pub(in crate::judge) fn change(&self) -> Pin<Box<Notified<'_>>> {
        let mut changed = Box::pin(self.changed.notified());
        changed.as_mut().enable();
        changed
    }

    /// What went wrong here last, with host and port.
    pub(super) fn why(&self) -> String {
        let (host, why) = (self.host(), self.why.lock().unwrap_or_else(PoisonError::into_inner).clone());
        match why {
            Some(why) if why.contains(&host) => why.to_string(),
            Some(why) => format!("{host}: {why}"),
            None => host,
        }
    }

    /// Sends a canary if one is due. The answer's status is enough: below 500, somebody is there.
    pub(super) async fn canary(&self) {
        if !self.circuit().take_canary(Instant::now()) {
            return;
        }
        let request = self.client.get(self.address("models")).send();
        let answered = timeout(CANARY_TIME, request).await;
        if answered.is_ok_and(|reply| reply.is_ok_and(|reply| reply.status().as_u16() < 500))
            && self.circuit().canary_answered(Instant::now())
        {
            tracing::info!("{} is there again; one request is tried", self.url);
            self.changed.notify_waiters();
        }
    }

    /// Sends canaries while the circuit is open, for ever.
    pub(in crate::judge) async fn watch(&self) -> Infallible {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.next_canary() {
                None => changed.await,
                Some(next) => {
                    sleep_until(next).await;
                    self.canary().await;
                }
            }
        }
    }

    fn circuit(&self) -> MutexGuard<'_, Circuit> {
        self.circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, judge: &Arc<str>, health: Health, why: Option<&str>, sent: Instant) {
        if let Some(why) = why {
            *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.into());
        }
        let change = self.circuit().outcome(judge, health, sent, Instant::now());
        match change {
            Change::None => return,
            Change::Opened => {
                tracing::warn!(
                    "{} does not answer; it is left alone, and asked once a second whether it is there",
                    self.url
                );
            }
            Change::Closed => tracing::info!("{} answers again", self.url),
            Change::TrialFree => {}
        }
        self.changed.notify_waiters();
    }
}

/// One that is in line, as long as it is.
struct InLine<'a>(&'a AtomicUsize);

impl<'a> InLine<'a> {
    fn at(line: &'a AtomicUsize) -> Self {
        line.fetch_add(1, Ordering::Relaxed);
        Self(line)
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Leave<'_> {
    /// Tells what came of the request, and what went wrong if something did.
    pub(super) fn tell(mut self, health: Health, why: Option<&str>) {
        self.told = true;
        self.endpoint.tell(self.judge, health, why, self.sent);
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.endpoint.tell(self.judge, Health::Unknown, None, self.sent);
        }
    }
}
