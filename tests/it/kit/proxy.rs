//! A bad network: a TCP proxy in front of a peer, which passes, cuts, stalls or refuses.

use std::collections::VecDeque;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

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
}

/// A proxy; gone when dropped.
pub struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
    settled: watch::Receiver<Mode>,
    bytes: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts one to a port of loopback, passing.
    pub fn to(target: u16) -> Self {
        Self::start(target, usize::MAX)
    }

    fn start(target: u16, a_second: usize) -> Self {
        let listener = StdListener::bind(("127.0.0.1", 0)).expect("loopback port");
        listener.set_nonblocking(true).expect("non-blocking");
        let port = listener.local_addr().expect("address").port();
        let (mode, modes) = watch::channel(Mode::Pass);
        let (settle, settled) = watch::channel(Mode::Pass);
        let (stop, stopped) = oneshot::channel();
        let (bytes, connections): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
        let (counted, taken) = (Arc::clone(&bytes), Arc::clone(&connections));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, target, a_second, modes, settle, counted, taken) => (),
                    _ = stopped => (),
                }
            });
            runtime.shutdown_timeout(Duration::from_millis(100));
        });
        Self { port, mode, settled, bytes, connections, stop: Some(stop), thread: Some(thread) }
    }

    /// One that passes at most so many new connections a second, and resets the others.
    pub fn limited(target: u16, a_second: usize) -> Self {
        Self::start(target, a_second)
    }

    /// One to nowhere, which takes connections and is silent: a peer that hangs in the handshake.
    pub fn silent() -> Self {
        let proxy = Self::to(9);
        proxy.set(Mode::Stall);
        proxy
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Bytes passed so far, both ways together.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::SeqCst)
    }

    /// Connections taken so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Changes the mode, and returns when it is in force.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
        super::wait_until(Duration::from_secs(5), "the proxy", || (*self.settled.borrow() == mode).then_some(()));
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
    target: u16,
    a_second: usize,
    mut modes: watch::Receiver<Mode>,
    settle: watch::Sender<Mode>,
    bytes: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
) {
    let port = first.local_addr().expect("address").port();
    let mut listener = Some(TcpListener::from_std(first).expect("listener"));
    let mut recent: VecDeque<Instant> = VecDeque::new();
    loop {
        let mode = *modes.borrow_and_update();
        if mode == Mode::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = Some(TcpListener::bind(("127.0.0.1", port)).await.expect("the port is still free"));
        }
        settle.send_replace(mode);
        let accept = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = modes.changed() => if changed.is_err() { return },
            accepted = accept => if let Ok((client, _)) = accepted {
                connections.fetch_add(1, Ordering::SeqCst);
                while recent.front().is_some_and(|then| then.elapsed() >= Duration::from_secs(1)) {
                    recent.pop_front();
                }
                if recent.len() >= a_second {
                    continue;
                }
                recent.push_back(Instant::now());
                tokio::spawn(pass(client, target, modes.clone(), Arc::clone(&bytes)));
            },
        }
    }
}

/// One connection, until either side or the mode ends it.
async fn pass(mut client: TcpStream, target: u16, mut modes: watch::Receiver<Mode>, bytes: Arc<AtomicUsize>) {
    if !modes.wait_for(|mode| *mode != Mode::Stall).await.is_ok_and(|mode| *mode == Mode::Pass) {
        return;
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
    let (mut up, mut down) = (vec![0; 16_384], vec![0; 16_384]);
    loop {
        let mode = *modes.borrow_and_update();
        match mode {
            Mode::Pass => (),
            Mode::Stall => {
                if modes.changed().await.is_err() {
                    return;
                }
                continue;
            }
            Mode::Cut | Mode::Refuse => return,
        }
        let moved = tokio::select! {
            changed = modes.changed() => { if changed.is_err() { return } continue }
            read = client.read(&mut up) => match read { Ok(n @ 1..) => server.write_all(&up[..n]).await.map(|()| n), _ => return },
            read = server.read(&mut down) => match read { Ok(n @ 1..) => client.write_all(&down[..n]).await.map(|()| n), _ => return },
        };
        match moved {
            Ok(n) => bytes.fetch_add(n, Ordering::SeqCst),
            Err(_) => return,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn each_mode_does_what_it_says() {
        let echo = StdListener::bind(("127.0.0.1", 0)).expect("port");
        let proxy = Proxy::to(echo.local_addr().expect("address").port());
        std::thread::spawn(move || {
            for mut stream in echo.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut byte = [0];
                    while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
                });
            }
        });
        let connect = || {
            let stream = TcpStream::connect(("127.0.0.1", proxy.port()))?;
            stream.set_read_timeout(Some(Duration::from_millis(300)))?;
            Ok::<_, std::io::Error>(stream)
        };
        let ask = |stream: &mut TcpStream| {
            let mut byte = [0];
            stream.write_all(b"x").and_then(|()| stream.read_exact(&mut byte)).map_err(|error| error.kind())
        };
        let mut stream = connect().expect("listens");
        assert_eq!(ask(&mut stream), Ok(()));
        proxy.set(Mode::Stall);
        assert_eq!(ask(&mut stream), Err(ErrorKind::WouldBlock));
        assert_eq!(ask(&mut connect().expect("listens")), Err(ErrorKind::WouldBlock));
        proxy.set(Mode::Pass);
        assert!(stream.read_exact(&mut [0]).is_ok(), "what was held passes");
        proxy.set(Mode::Cut);
        assert!(!matches!(ask(&mut stream), Ok(()) | Err(ErrorKind::WouldBlock)));
        proxy.set(Mode::Refuse);
        assert_eq!(connect().expect_err("refused").kind(), ErrorKind::ConnectionRefused);
        proxy.set(Mode::Pass);
        assert_eq!(ask(&mut connect().expect("listens again")), Ok(()));
    }
}
