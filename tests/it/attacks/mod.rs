//! Attacks, each a test: forged addresses, cameras and receivers that send us elsewhere, callers of the wrong role, words that want
//! to be obeyed. What they mean is in docs/security.md.

mod addresses;
mod elsewhere;
mod roles;
mod words;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A listener on this machine that nobody may reach. It counts connections; gone with the process.
pub struct Trap {
    /// Where it listens, on `127.0.0.1` and on `::1` where there is that.
    pub port: u16,
    reached: Arc<AtomicUsize>,
}

impl Trap {
    pub fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let reached = Arc::<AtomicUsize>::default();
        let listeners = [Some(listener), TcpListener::bind(("::1", port)).ok()];
        for listener in listeners.into_iter().flatten() {
            let reached = Arc::clone(&reached);
            std::thread::spawn(move || {
                for connection in listener.incoming() {
                    reached.fetch_add(1, Ordering::SeqCst);
                    drop(connection);
                }
            });
        }
        Self { port, reached }
    }

    /// How many connections came. One of our own is made and counted, so that none that came before it is missed.
    pub fn reached(&self) -> usize {
        let before = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let closed = std::io::Read::read(&mut &before, &mut [0]);
        assert!(matches!(closed, Ok(0) | Err(_)));
        let reached = self.reached.fetch_sub(1, Ordering::SeqCst);
        reached - 1
    }
}

#[test]
fn a_trap_counts_who_falls_into_it() {
    let trap = Trap::set();
    assert_eq!(trap.reached(), 0);
    let _fallen = std::net::TcpStream::connect(("127.0.0.1", trap.port)).unwrap();
    assert_eq!((trap.reached(), trap.reached()), (1, 1));
}
