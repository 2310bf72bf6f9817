//! Work on many recordings at once, offline.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError, bounded};

use super::{interrupted, worker};
use crate::isolate;
use crate::source::{Finish, Incoming, Loss, Retry, SourceError, Spec, supervise};
use crate::time::monotonic;

/// Frames that may wait between a source's threads and who takes them: about a second of both streams.
const FRAMES: usize = 64;
/// Where nothing comes, that is said after so long.
const TICK: Duration = Duration::from_millis(100);

/// Does `work` on every item, on `jobs` threads; `done` gets each result with its item's number, in the order they come, in the
/// calling thread. No item is begun after `stop` is disconnected or `done` answered false; what is under way is finished.
///
/// # Errors
/// The system gives no thread.
pub fn in_parallel<T: Sync, R: Send>(
    jobs: usize,
    items: &[T],
    stop: &Receiver<Infallible>,
    work: impl Fn(&T) -> R + Sync,
    mut done: impl FnMut(usize, R) -> bool,
) -> std::io::Result<()> {
    let next = AtomicUsize::new(0);
    let (results, received) = bounded::<(usize, R)>(1);
    std::thread::scope(|scope| {
        for n in 0..jobs.clamp(1, items.len().max(1)) {
            let (results, next, work) = (results.clone(), &next, &work);
            std::thread::Builder::new().name(format!("job:{n}")).spawn_scoped(scope, move || {
                while stop.try_recv() != Err(TryRecvError::Disconnected) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(at) else { return };
                    if results.send((at, work(item))).is_err() {
                        return;
                    }
                }
            })?;
        }
        drop(results);
        let mut going = true;
        for (at, result) in received {
            if !done(at, result) && std::mem::take(&mut going) {
                next.store(items.len(), Ordering::Relaxed);
            }
        }
        Ok(())
    })
}

/// Plays a source to its end or until `each` answers false; `each` gets everything in order, in the calling thread, and None where
/// nothing came for a tenth of a second. The last is [`Incoming::Finished`], unless `each` answered false.
///
/// A live source that the system has no thread or descriptor for is lost, and tried again: there may be some soon.
pub fn play(spec: &Spec, retry: &Retry, stop: &Receiver<Infallible>, each: impl FnMut(Option<Incoming>) -> bool) {
    play_by(spec, retry, stop, each, |spec| if spec.isolated { worker::open(spec) } else { Ok(None) });
}

fn play_by(
    spec: &Spec,
    retry: &Retry,
    stop: &Receiver<Infallible>,
    mut each: impl FnMut(Option<Incoming>) -> bool,
    mut open: impl FnMut(&Spec) -> std::io::Result<Option<worker::Open>>,
) {
    let mut tries = 0;
    loop {
        let played = open(spec).and_then(|open| play_once(spec, retry, stop, &mut each, open.as_ref()));
        let Err(error) = played else { return };
        let reason = format!("this system has no thread or descriptor for it: {error}");
        if !spec.is_live() || spec.once {
            let error = SourceError::Media { location: spec.location.to_string(), reason };
            each(Some(Incoming::Finished(Finish::incomplete(Some(error)))));
            return;
        }
        if !each(Some(Incoming::Lost(Loss { reason, auth_failed: false }))) {
            return;
        }
        let (began, wait) = (monotonic(), retry.wait(tries));
        tries = tries.saturating_add(1);
        while began.elapsed() < wait {
            if stop.recv_timeout(TICK) == Err(RecvTimeoutError::Disconnected) {
                each(Some(Incoming::Finished(Finish::incomplete(None))));
                return;
            }
            if !each(None) {
                return;
            }
        }
    }
}

/// Errors: nothing was begun.
fn play_once(
    spec: &Spec,
    retry: &Retry,
    stop: &Receiver<Infallible>,
    each: &mut impl FnMut(Option<Incoming>) -> bool,
    open: Option<&worker::Open>,
) -> std::io::Result<()> {
    let (frames, incoming) = bounded(FRAMES);
    // The source stops when the program does, or when this function returns.
    let (own_stop, source_stop) = bounded::<Infallible>(0);
    let relay = open.map(|open| &open.relay);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(format!("src:{}", spec.name));
        thread.spawn_scoped(scope, move || {
            if spec.isolated {
                isolate::supervise(spec, retry, relay, frames, source_stop);
            } else {
                supervise(spec, retry, frames, source_stop);
            }
        })?;
        let mut own_stop = Some(own_stop);
        loop {
            if own_stop.is_some() && stop.try_recv() == Err(TryRecvError::Disconnected) {
                own_stop = None;
            }
            let message = match incoming.recv_timeout(TICK) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if !each(message) {
                break;
            }
        }
        // Before the scope waits for the source's thread, which ends by this.
        drop((own_stop, incoming));
        Ok(())
    })
}

/// Does blocking work that ends early when its argument is disconnected, which Ctrl-C and SIGTERM do. A second one ends the
/// process at once.
///
/// # Errors
/// The system gives no thread.
pub fn interruptible<T: Send + 'static>(
    work: impl FnOnce(&Receiver<Infallible>) -> T + Send + 'static,
) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let (running, stopped) = bounded::<Infallible>(0);
    let done = runtime.block_on(async move {
        let mut running = Some(running);
        let stop = interrupted();
        tokio::pin!(stop);
        let mut task = tokio::task::spawn_blocking(move || work(&stopped));
        loop {
            tokio::select! {
                () = &mut stop, if running.is_some() => running = None,
                joined = &mut task => match joined {
                    Ok(value) => return value,
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
            }
        }
    });
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Description, Location, Microphone};

    /// A source for which the system has nothing, so many times; what is said of it.
    fn without(times: u32, once: bool, stop: &Receiver<Infallible>) -> (Vec<Loss>, bool, Option<Finish>) {
        let location = Location::Test { microphone: Microphone::Usual };
        let spec = Spec { once, ..Spec::once("t", location, Description::shipped("test.gst", None).unwrap()) };
        let retry = Retry { first: Duration::from_millis(20), ..Retry::default() };
        let (mut lost, mut seen, mut finish, mut refused) = (Vec::new(), false, None, 0);
        let each = |message| {
            match message {
                Some(Incoming::Lost(loss)) => lost.push(loss),
                Some(Incoming::Finished(end)) => finish = Some(end),
                Some(Incoming::Frame { .. }) => seen = true,
                _ => {}
            }
            !seen
        };
        play_by(&spec, &retry, stop, each, |_| {
            refused += 1;
            if refused <= times { Err(std::io::ErrorKind::QuotaExceeded.into()) } else { Ok(None) }
        });
        (lost, seen, finish)
    }

    #[test]
    fn a_live_source_without_a_thread_is_lost_and_tried_again() {
        let (running, stop) = bounded::<Infallible>(0);
        let (lost, seen, finish) = without(2, false, &stop);
        assert_eq!((lost.len(), seen, finish.is_none()), (2, true, true), "{lost:?}");
        assert!(lost[0].reason.contains("no thread or descriptor") && !lost[0].auth_failed, "{lost:?}");

        // What is played once ends with its reason, and a stop is not waited out.
        let (lost, seen, finish) = without(1, true, &stop);
        assert!(lost.is_empty() && !seen);
        assert!(finish.unwrap().error.unwrap().to_string().contains("no thread or descriptor"));
        drop(running);
        let (lost, _, finish) = without(u32::MAX, false, &stop);
        assert_eq!((lost.len(), finish.unwrap().error.is_none()), (1, true));
    }

    #[test]
    fn every_item_is_done_once_and_no_more_begun_after_a_stop() {
        let items: Vec<usize> = (0..50).collect();
        let (running, stop) = bounded::<Infallible>(0);
        let mut seen = Vec::new();
        in_parallel(
            4,
            &items,
            &stop,
            |n| n * 2,
            |at, twice| {
                assert_eq!(twice, at * 2);
                seen.push(at);
                true
            },
        )
        .unwrap();
        seen.sort_unstable();
        assert_eq!(seen, items);

        let mut some = 0;
        in_parallel(
            2,
            &items,
            &stop,
            |n| *n,
            |_, _| {
                some += 1;
                false
            },
        )
        .unwrap();
        assert!((1..10).contains(&some), "{some}");

        drop(running);
        in_parallel(2, &items, &stop, |n| *n, |_, _| panic!("nothing is begun")).unwrap();
    }
}
