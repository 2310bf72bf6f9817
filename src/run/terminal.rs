//! The live screen on its terminal: one task that reads events and keys, one thread that draws.
//!
//! The task never waits for the terminal, so that a terminal that stalls delays no window: what is drawn is the newest state,
//! at most ten times a second. The thread owns what is written, gives the terminal back, and prints the ends of the sessions.

#![allow(clippy::disallowed_methods, reason = "with run.rs, where threads and tasks are spawned")]

use std::convert::Infallible;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use crossterm::event::{Event as Input, EventStream};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute};
use futures_util::StreamExt as _;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use tokio::sync::{mpsc, oneshot};

use crate::alert::Event;
use crate::screen::{self, Asked, State, View, log};
use crate::time::monotonic;

/// No two drawings are closer together.
const PACE: Duration = Duration::from_millis(100);
/// Without any event the times on the screen advance all the same.
const IDLE: Duration = Duration::from_secs(1);
/// Log lines that the screen may show.
const LOG: usize = 100;
/// A terminal that has stalled is not waited for longer, when the process ends at once.
const AT_ONCE: Duration = Duration::from_millis(300);

/// The terminal is ours.
static UP: AtomicBool = AtomicBool::new(false);
/// Held while something is written to it.
static WRITING: Mutex<()> = Mutex::new(());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The terminal, taken over. Gives it back when dropped, also by a panic.
#[derive(Debug)]
pub struct Taken(());

/// Takes the terminal over: no echo, no lines, a screen apart from the scrollback; log lines wait.
///
/// # Errors
/// It cannot be; then it is as before.
pub fn take() -> io::Result<Taken> {
    enable_raw_mode()?;
    let taken = Taken(());
    UP.store(true, Ordering::SeqCst);
    log::hold(!io::stderr().is_terminal());
    catch_panics();
    execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)?;
    Ok(taken)
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back_soon();
    }
}

/// Gives the terminal back and writes the warnings that waited to stderr. May be called at any time, by anybody.
fn give_back() {
    let writing = lock(&WRITING);
    if !UP.swap(false, Ordering::SeqCst) {
        return;
    }
    // Nothing is left to be done about a terminal that is gone.
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), cursor::Show, LeaveAlternateScreen);
    drop(writing);
    let _ = io::stderr().write_all(log::release().as_bytes());
}

/// `give_back`, for a process that is about to end: a terminal that takes nothing any more is not waited for.
pub fn give_back_soon() {
    if UP.load(Ordering::SeqCst) {
        soon(give_back);
    }
}

/// Says something on stderr as one of the last things a process does, where that can still be said.
pub fn say_soon(text: &'static str) {
    soon(move || drop(writeln!(io::stderr(), "{text}")));
}

/// Waits a moment for what may stall with its terminal.
fn soon(write: impl FnOnce() + Send + 'static) {
    let (done, is_done) = bounded::<()>(0);
    let spawned = std::thread::Builder::new().name("terminal".to_owned()).spawn(move || {
        write();
        drop(done);
    });
    if spawned.is_ok() {
        let _ = is_done.recv_timeout(AT_ONCE);
    }
}

/// The message of a panic would tear the screen, and be gone with it: it waits as log lines do.
fn catch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let trace = std::backtrace::Backtrace::capture();
            let trace = if trace.status() == std::backtrace::BacktraceStatus::Captured {
                format!("\n{trace}")
            } else {
                String::new()
            };
            if !UP.load(Ordering::SeqCst) || !log::take(&format!("{panic}{trace}\n")) {
                before(panic);
            }
        }));
    });
}

/// What task and thread share.
struct Shared {
    state: State,
    view: View,
    /// The terminal is to be cleared first.
    clear: bool,
}

/// Shows events as they come, until their channel closes; begins at once. Then gives the terminal back and hands the ends of
/// the sessions to `print`. True: all of it could be written. When it cannot be, `broken` is told, and the rest is let go.
///
/// Events are always taken at once. `stopping` resolves when a stop was asked for, however it was.
pub fn screen(
    events: mpsc::Receiver<Event>,
    state: State,
    colour: bool,
    stopping: oneshot::Receiver<()>,
    print: impl FnMut(&Event) -> io::Result<()> + Send + 'static,
    broken: oneshot::Sender<()>,
) -> impl Future<Output = bool> {
    let began = monotonic();
    let view = View { colour, ..View::default() };
    let shared = Arc::new(Mutex::new(Shared { state, view, clear: false }));
    let (look, looks) = bounded(1);
    let (up, down) = oneshot::channel();
    drop(tokio::spawn(read(events, Arc::clone(&shared), look, stopping, down, began)));
    let thread = tokio::task::spawn_blocking(move || {
        let mut broken = Broken(Some(broken));
        let up: oneshot::Sender<Infallible> = up;
        let drawn = draw(&shared, &looks, began);
        if drawn.is_err() {
            broken.tell();
        }
        give_back();
        drop(up);
        let printed = drawn.and_then(|()| print_ends(&lock(&shared).state, print));
        if printed.is_err() {
            broken.tell();
        }
        broken.0 = None;
        printed.is_ok()
    });
    async { thread.await.unwrap_or(false) }
}

/// Tells that the output broke: when asked to, and when its thread panics.
struct Broken(Option<oneshot::Sender<()>>);

impl Broken {
    fn tell(&mut self) {
        let _ = self.0.take().map(|broken| broken.send(()));
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        if std::thread::panicking() {
            give_back();
            self.tell();
        }
    }
}

/// The task: what happens becomes state, and the thread is told to look. It waits for events and keys only. After the last
/// event the thread is let go, and keys are still heard until `down`: it may be stalled.
async fn read(
    mut events: mpsc::Receiver<Event>,
    shared: Arc<Mutex<Shared>>,
    look: Sender<()>,
    mut stopping: oneshot::Receiver<()>,
    mut down: oneshot::Receiver<Infallible>,
    began: Instant,
) {
    let mut input = Some(EventStream::new());
    let mut look = Some(look);
    let mut stop_may_come = true;
    loop {
        tokio::select! {
            _ = &mut down => return,
            event = events.recv(), if look.is_some() => {
                let Some(event) = event else {
                    look = None;
                    continue;
                };
                let mut shared = lock(&shared);
                let now = monotonic().saturating_duration_since(began);
                shared.state.apply(&event, now);
                while let Ok(event) = events.try_recv() {
                    shared.state.apply(&event, now);
                }
            }
            typed = next(&mut input) => match typed {
                Some(Ok(Input::Key(key))) => {
                    let mut shared = lock(&shared);
                    let Shared { state, view, clear } = &mut *shared;
                    match view.key(key, state) {
                        Asked::Look => {}
                        Asked::Redraw => *clear = true,
                        Asked::Stop => raise_interrupt(),
                    }
                }
                Some(Ok(_)) => {} // another size, which the next drawing finds
                // The keyboard is gone; signals still end the program.
                Some(Err(_)) | None => input = None,
            },
            stop = &mut stopping, if stop_may_come => {
                stop_may_come = false;
                lock(&shared).view.stopping |= stop.is_ok();
            }
        }
        // Full: the thread has been told already.
        let _ = look.as_ref().map(|look| look.try_send(()));
    }
}

async fn next(input: &mut Option<EventStream>) -> Option<io::Result<Input>> {
    match input {
        Some(input) => input.next().await,
        None => std::future::pending().await,
    }
}

/// Ctrl-C comes as a key while the terminal is ours. It goes the way that it goes without a screen.
fn raise_interrupt() {
    let raised = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT);
    if let Err(error) = raised {
        tracing::error!(%error, "the program could not be stopped from the keyboard; send it SIGTERM");
    }
}

/// The thread: draws whenever something is to be seen, until the task is over.
fn draw(shared: &Mutex<Shared>, looks: &Receiver<()>, began: Instant) -> io::Result<()> {
    let mut terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
    loop {
        let writing = lock(&WRITING);
        if !UP.load(Ordering::SeqCst) {
            return Ok(()); // given back: the process ends
        }
        let now = monotonic();
        if std::mem::take(&mut lock(shared).clear) {
            // Not `clear`, which asks the terminal where its cursor is, and reads the answer from the keyboard.
            terminal.resize(terminal.size()?.into())?;
        }
        // The state is held while it is drawn to memory, and not while that is written.
        terminal.draw(|frame| {
            let mut shared = lock(shared);
            let Shared { state, view, .. } = &mut *shared;
            view.now = now.saturating_duration_since(began);
            view.log = log::newest(LOG);
            screen::draw(state, view, frame);
        })?;
        drop(writing);
        match looks.recv_timeout(IDLE) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        std::thread::sleep(PACE.saturating_sub(monotonic().saturating_duration_since(now)));
    }
}

fn print_ends(state: &State, mut print: impl FnMut(&Event) -> io::Result<()>) -> io::Result<()> {
    let (ends, left_out) = state.ends();
    if left_out > 0 {
        tracing::warn!("the ends of {left_out} earlier sessions are not printed");
    }
    ends.iter().try_for_each(&mut print)
}
