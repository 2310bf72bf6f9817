//! A bad network: a TCP proxy in front of a peer, which passes, cuts, stalls, slows, spoils or refuses.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, TcpListener as StdListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use super::interleaved::{Framer, Meddler};
use super::udp::Luck;

/// How the network behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Bytes pass.
    Pass,
    /// Connections are closed, and new ones as soon as they are made.
    Cut,
    /// Connections stay open, new ones are taken, and nothing passes.
    Stall,
    /// Connections are closed and the port is not listened on.
    Refuse,
    /// Of each open connection half of the server's next large piece passes, then both sides are reset (RST). New ones pass.
    Reset,
    /// Nothing passes on open connections, ever again, and nobody is told. New ones pass.
    HalfOpen,
    /// Everything passes so much later.
    Latency(Duration),
    /// So many bytes a second pass, each way.
    Bandwidth(u32),
    /// Bytes pass in writes of so many.
    Slices(usize),
    /// One byte in so many is another, from the server to the client.
    Corrupt(u32),
}

/// Behaviour, and the number of changes up to it: what was there before a change can be told from what came after.
type Phase = (u64, Mode);

#[derive(Default)]
struct Log {
    bytes: AtomicUsize,
    taken: Mutex<Vec<Instant>>,
    resets: Mutex<Vec<Instant>>,
}

struct Way {
    address: Ipv4Addr,
    port: u16,
    target: u16,
    a_second: usize,
    meddler: Option<Arc<Mutex<dyn Meddler>>>,
}

/// A proxy; gone when dropped.
pub struct Proxy {
    port: u16,
    mode: watch::Sender<Phase>,
    settled: watch::Receiver<Phase>,
    log: Arc<Log>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts one to a port of loopback, passing.
    pub fn to(target: u16) -> Self {
        Self::start(Way { address: Ipv4Addr::LOCALHOST, port: 0, target, a_second: usize::MAX, meddler: None })
    }

    /// One that passes at most so many new connections a second, and resets the others.
    pub fn limited(target: u16, a_second: usize) -> Self {
        Self::start(Way { address: Ipv4Addr::LOCALHOST, port: 0, target, a_second, meddler: None })
    }

    /// One that listens on this address of loopback (`127.0.0.0/8`) and this port; 0: a free one.
    pub fn at(address: Ipv4Addr, port: u16, target: u16) -> Self {
        Self::start(Way { address, port, target, a_second: usize::MAX, meddler: None })
    }

    /// One to an RTSP server, whose messages and packets somebody changes.
    pub fn meddled(target: u16, meddler: Arc<Mutex<dyn Meddler>>) -> Self {
        let meddler = Some(meddler);
        Self::start(Way { address: Ipv4Addr::LOCALHOST, port: 0, target, a_second: usize::MAX, meddler })
    }

    /// One to nowhere, which takes connections and is silent: a peer that hangs in the handshake.
    pub fn silent() -> Self {
        let proxy = Self::to(9);
        proxy.set(Mode::Stall);
        proxy
    }

    fn start(way: Way) -> Self {
        let listener = StdListener::bind((way.address, way.port)).expect("loopback port");
        listener.set_nonblocking(true).expect("non-blocking");
        let port = listener.local_addr().expect("address").port();
        let (mode, modes) = watch::channel((0, Mode::Pass));
        let (settle, settled) = watch::channel((0, Mode::Pass));
        let (stop, stopped) = oneshot::channel();
        let log = Arc::<Log>::default();
        let kept = Arc::clone(&log);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, way, modes, settle, kept) => (),
                    _ = stopped => (),
                }
            });
            runtime.shutdown_timeout(Duration::from_millis(100));
        });
        Self { port, mode, settled, log, stop: Some(stop), thread: Some(thread) }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Bytes passed so far, both ways together.
    pub fn bytes(&self) -> usize {
        self.log.bytes.load(Ordering::SeqCst)
    }

    /// Connections taken so far.
    pub fn connections(&self) -> usize {
        self.taken().len()
    }

    /// When each connection was taken.
    pub fn taken(&self) -> Vec<Instant> {
        self.log.taken.lock().expect("log").clone()
    }

    /// When connections were reset.
    pub fn resets(&self) -> Vec<Instant> {
        self.log.resets.lock().expect("log").clone()
    }

    /// Changes the mode, and returns when it is in force.
    pub fn set(&self, mode: Mode) {
        self.mode.send_modify(|(number, now)| (*number, *now) = (*number + 1, mode));
        let wanted = *self.mode.borrow();
        super::wait_until(Duration::from_secs(5), "the proxy", || (*self.settled.borrow() == wanted).then_some(()));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(
    first: StdListener,
    way: Way,
    mut modes: watch::Receiver<Phase>,
    settle: watch::Sender<Phase>,
    log: Arc<Log>,
) {
    let port = first.local_addr().expect("address").port();
    let mut listener = Some(TcpListener::from_std(first).expect("listener"));
    let mut recent: VecDeque<Instant> = VecDeque::new();
    loop {
        let phase = *modes.borrow_and_update();
        if phase.1 == Mode::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = Some(TcpListener::bind((way.address, port)).await.expect("the port is still free"));
        }
        settle.send_replace(phase);
        let accept = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = modes.changed() => if changed.is_err() { return },
            accepted = accept => if let Ok((client, _)) = accepted {
                log.taken.lock().expect("log").push(Instant::now());
                while recent.front().is_some_and(|then| then.elapsed() >= Duration::from_secs(1)) {
                    recent.pop_front();
                }
                if recent.len() >= way.a_second {
                    continue;
                }
                recent.push_back(Instant::now());
                tokio::spawn(pass(client, way.target, way.meddler.clone(), modes.clone(), Arc::clone(&log)));
            },
        }
    }
}

/// One connection, until either side or the mode ends it.
async fn pass(
    mut client: TcpStream,
    target: u16,
    meddler: Option<Arc<Mutex<dyn Meddler>>>,
    mut modes: watch::Receiver<Phase>,
    log: Arc<Log>,
) {
    let Ok(phase) = modes.wait_for(|(_, mode)| *mode != Mode::Stall).await.map(|phase| *phase) else { return };
    if matches!(phase.1, Mode::Cut | Mode::Refuse) {
        return;
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ended = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let flow = |down| Flow {
            down,
            since: phase.0,
            modes: modes.clone(),
            log: &log,
            framer: meddler.clone().map(|meddler| Framer::new(meddler, down)),
            luck: Luck::new(1),
        };
        tokio::select! {
            ended = flow(false).run(from_client, to_server) => ended,
            ended = flow(true).run(from_server, to_client) => ended,
        }
    };
    if ended == Ended::Reset {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
        drop((client, server));
        log.resets.lock().expect("log").push(Instant::now());
    }
}

#[derive(PartialEq, Eq)]
enum Ended {
    Closed,
    Reset,
}

/// One way of a connection.
struct Flow<'a> {
    /// From the server.
    down: bool,
    /// The change in force when the connection was made.
    since: u64,
    modes: watch::Receiver<Phase>,
    log: &'a Log,
    framer: Option<Framer>,
    luck: Luck,
}

/// More than this of what was read waits to be written: no more is read.
const WAITING: usize = 4 << 20;

impl Flow<'_> {
    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Ended {
        let mut waiting: VecDeque<(tokio::time::Instant, Vec<u8>)> = VecDeque::new();
        let mut buffer = vec![0; 16_384];
        loop {
            let (number, mode) = *self.modes.borrow_and_update();
            let old = number > self.since;
            match mode {
                Mode::Cut | Mode::Refuse => return Ended::Closed,
                Mode::HalfOpen if old => std::future::pending().await,
                Mode::Stall => {
                    if self.modes.changed().await.is_err() {
                        return Ended::Closed;
                    }
                    continue;
                }
                _ => {}
            }
            let (next, held) =
                (waiting.front().map(|(at, _)| *at), waiting.iter().map(|(_, b)| b.len()).sum::<usize>());
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = self.modes.changed() => if changed.is_err() { return Ended::Closed },
                () = due => {
                    let Some((_, bytes)) = waiting.pop_front() else { continue };
                    if to.write_all(&bytes).await.is_err() {
                        return Ended::Closed;
                    }
                    self.log.bytes.fetch_add(bytes.len(), Ordering::SeqCst);
                }
                read = from.read(&mut buffer), if held < WAITING => match read {
                    Ok(n @ 1..) => {
                        if mode == Mode::Reset && old && self.down && n > 600 {
                            let _ = to.write_all(&buffer[..n / 2]).await;
                            return Ended::Reset;
                        }
                        let bytes = match &mut self.framer {
                            Some(framer) => framer.take(&buffer[..n]),
                            None => buffer[..n].to_vec(),
                        };
                        self.shape(mode, bytes, &mut waiting);
                    }
                    _ => return Ended::Closed,
                },
            }
        }
    }

    /// When which bytes are to be written.
    fn shape(&mut self, mode: Mode, mut bytes: Vec<u8>, waiting: &mut VecDeque<(tokio::time::Instant, Vec<u8>)>) {
        let now = tokio::time::Instant::now();
        let last = waiting.back().map_or(now, |(at, _)| *at).max(now);
        match mode {
            Mode::Latency(time) => waiting.push_back((last.max(now + time), bytes)),
            Mode::Bandwidth(a_second) => {
                // In pieces of a fiftieth of a second.
                for piece in bytes.chunks((a_second as usize / 50).max(1)) {
                    let took = Duration::from_secs_f64(piece.len() as f64 / f64::from(a_second));
                    let last = waiting.back().map_or(now, |(at, _)| *at).max(now);
                    waiting.push_back((last + took, piece.to_vec()));
                }
            }
            Mode::Slices(size) => {
                waiting.extend(bytes.chunks(size.max(1)).map(|slice| (last, slice.to_vec())));
            }
            Mode::Corrupt(one_in) if self.down => {
                for byte in &mut bytes {
                    if self.luck.falls(1.0 / f64::from(one_in.max(1))) {
                        *byte ^= 1 << (self.luck.number() % 8);
                    }
                }
                waiting.push_back((last, bytes));
            }
            _ => waiting.push_back((last, bytes)),
        }
    }
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
