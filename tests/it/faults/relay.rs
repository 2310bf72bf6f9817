//! A relay before an HTTP or TLS server that spoils what comes back, and keeps what a client sent.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What becomes of replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoil {
    /// They pass.
    Pass,
    /// Nothing of them.
    Silent,
    /// So many bytes, then the connection is reset.
    ResetAfter(usize),
    /// A byte each so often.
    Drip(Duration),
    /// Each comes twice, the second time so much later.
    Twice(Duration),
}

#[derive(Default)]
struct Seen {
    /// What came of each connection, as it was sent.
    sent: Vec<Arc<Mutex<Vec<u8>>>>,
    /// From the end of a request to when its connection was given up by the client, of requests without a whole reply.
    given_up: Vec<Duration>,
}

/// A relay; takes no connections any more when dropped.
pub struct Relay {
    port: u16,
    spoil: Arc<Mutex<Spoil>>,
    seen: Arc<Mutex<Seen>>,
    over: Arc<AtomicBool>,
}

impl Relay {
    /// To this port of loopback.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback port");
        let port = listener.local_addr().expect("address").port();
        let relay = Self { port, spoil: Arc::new(Mutex::new(Spoil::Pass)), seen: Arc::default(), over: Arc::default() };
        let (spoil, seen, over) = (Arc::clone(&relay.spoil), Arc::clone(&relay.seen), Arc::clone(&relay.over));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (spoil, seen) = (Arc::clone(&spoil), Arc::clone(&seen));
                std::thread::spawn(move || one(client, target, &spoil, &seen));
            }
        });
        relay
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As a judge's `base_url`.
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// From now on replies are spoilt so; those under way too, from their next bytes on.
    pub fn set(&self, spoil: Spoil) {
        *self.spoil.lock().expect("relay") = spoil;
    }

    /// How long clients held on to requests that had no whole reply.
    pub fn given_up(&self) -> Vec<Duration> {
        self.seen.lock().expect("relay").given_up.clone()
    }

    /// What clients sent, by connection.
    pub fn sent(&self) -> Vec<Vec<u8>> {
        self.seen.lock().expect("relay").sent.iter().map(|sent| sent.lock().expect("relay").clone()).collect()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// One connection. Two threads: what the client sends, and what comes back.
#[allow(clippy::needless_pass_by_value, reason = "the connection ends with it")]
fn one(client: TcpStream, target: u16, spoil: &Arc<Mutex<Spoil>>, seen: &Arc<Mutex<Seen>>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { return };
    let sent: Arc<Mutex<Vec<u8>>> = Arc::default();
    seen.lock().expect("relay").sent.push(Arc::clone(&sent));
    let (Ok(mut from_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone()) else { return };
    let last = Arc::new(Mutex::new(None::<Instant>));
    let (asked, seen) = (Arc::clone(&last), Arc::clone(seen));
    let up = std::thread::spawn(move || {
        let mut bytes = vec![0; 65_536];
        while let Ok(n @ 1..) = from_client.read(&mut bytes) {
            *asked.lock().expect("relay") = Some(Instant::now());
            sent.lock().expect("relay").extend_from_slice(&bytes[..n]);
            if to_server.write_all(&bytes[..n]).is_err() {
                break;
            }
        }
        if let Some(asked) = asked.lock().expect("relay").take() {
            seen.lock().expect("relay").given_up.push(asked.elapsed());
        }
        let _ = to_server.shutdown(Shutdown::Both);
    });
    down(&server, &client, spoil, &last);
    // Wakes the other thread and sends nothing: what ends the connection, in the way that was asked for, is the end of `client`.
    let _ = client.shutdown(Shutdown::Read);
    let _ = up.join();
}

fn down(mut server: &TcpStream, mut client: &TcpStream, spoil: &Mutex<Spoil>, asked: &Mutex<Option<Instant>>) {
    let mut bytes = vec![0; 65_536];
    let mut passed = 0;
    while let Ok(n @ 1..) = server.read(&mut bytes) {
        let reply = &bytes[..n];
        let mode = *spoil.lock().expect("relay");
        let done = match mode {
            Spoil::Pass => client.write_all(reply),
            Spoil::Silent => continue,
            Spoil::ResetAfter(most) => {
                let part = reply.len().min(most.saturating_sub(passed));
                let written = client.write_all(&reply[..part]);
                passed += part;
                if passed >= most {
                    // The other side has read it, or the reset would overtake it.
                    std::thread::sleep(Duration::from_millis(20));
                    let _ = socket2::SockRef::from(client).set_linger(Some(Duration::ZERO));
                    return;
                }
                written
            }
            Spoil::Drip(each) => reply.iter().try_for_each(|byte| {
                std::thread::sleep(each);
                client.write_all(&[*byte])
            }),
            Spoil::Twice(later) => client.write_all(reply).and_then(|()| {
                std::thread::sleep(later);
                client.write_all(reply)
            }),
        };
        if done.is_err() {
            return;
        }
        // Whole, where it is not spoilt: the stand-in's replies are small and written at once.
        if matches!(mode, Spoil::Pass | Spoil::Twice(_)) {
            asked.lock().expect("relay").take();
        }
    }
}
