//! Work on many recordings at once, offline.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError, bounded};

use super::{interrupted, worker};
use crate::isolate;
use crate::source::{Incoming, Retry, Spec, supervise};

/// Frames that may wait between a source's threads and who takes them: about a second of both streams.
const FRAMES: usize = 64;

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
/// nothing came for a tenth of a second.
///
/// # Errors
/// The system gives no thread.
pub fn play(
    spec: &Spec,
    retry: &Retry,
    stop: &Receiver<Infallible>,
    mut each: impl FnMut(Option<Incoming>) -> bool,
) -> std::io::Result<()> {
    let (frames, incoming) = bounded(FRAMES);
    // The source stops when the program does, or when this function returns.
    let (own_stop, source_stop) = bounded::<Infallible>(0);
    let open = if spec.isolated { worker::open(spec)? } else { None };
    let relay = open.as_ref().map(|open| &open.relay);
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
            let message = match incoming.recv_timeout(Duration::from_millis(100)) {
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
