//! A bad network for RTP over UDP: it stands between an RTSP server and its client and loses, reorders, doubles and spoils packets.
//!
//! The client's SETUP names the ports it listens on. As a [`Meddler`] on the RTSP connection this puts ports of its own there,
//! and passes on what the server sends to them. What became of every packet is kept: that is the truth to compare with.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::interleaved::Meddler;

/// What happens to packets: a share of them, 0 to 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Never arrive.
    pub loss: f64,
    /// Arrive after up to three of those that follow.
    pub reorder: f64,
    /// Arrive twice.
    pub duplicate: f64,
    /// Arrive with a bit of their payload turned.
    pub corrupt: f64,
}

/// Chances that are the same in every run.
pub struct Luck(u64);

impl Luck {
    /// Of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// True in this share of cases.
    pub fn falls(&mut self, share: f64) -> bool {
        ((self.number() >> 11) as f64) < share * (1u64 << 53) as f64
    }
}

/// An RTP packet that the server sent.
#[derive(Clone, Copy, Debug)]
pub struct Passed {
    /// Payload type: which stream it is of.
    pub kind: u8,
    /// Its number.
    pub number: u16,
    /// Its RTP time.
    pub time: u32,
    /// It did not arrive.
    pub lost: bool,
    /// It arrived with a bit turned.
    pub spoilt: bool,
}

#[derive(Default)]
struct Shared {
    faults: Mutex<Faults>,
    passed: Mutex<Vec<Passed>>,
    over: AtomicBool,
    /// Ports so far: the seed of each one's luck.
    relays: AtomicU64,
}

/// The network; its ports are gone when it is dropped.
#[derive(Default)]
pub struct Udp {
    shared: Arc<Shared>,
    /// What the client wrote, and what the server was told.
    ports: Vec<(String, String)>,
}

impl Udp {
    /// One with these faults.
    pub fn new(faults: Faults) -> Arc<Mutex<Self>> {
        let udp = Self::default();
        *udp.shared.faults.lock().expect("faults") = faults;
        Arc::new(Mutex::new(udp))
    }

    /// From now on these faults.
    pub fn set(&self, faults: Faults) {
        *self.shared.faults.lock().expect("faults") = faults;
    }

    /// Every RTP packet so far, in the order of the server's sending.
    pub fn passed(&self) -> Vec<Passed> {
        self.shared.passed.lock().expect("packets").clone()
    }

    fn relay(&self, to: u16, rtp: bool) -> u16 {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("loopback port");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("timeout");
        let port = socket.local_addr().expect("address").port();
        let shared = Arc::clone(&self.shared);
        let luck = Luck::new(1 + shared.relays.fetch_add(1, Ordering::SeqCst));
        std::thread::spawn(move || relay(&socket, to, rtp, luck, &shared));
        port
    }
}

impl Drop for Udp {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
    }
}

/// Which ports a message's transport names.
fn ports_of(head: &str) -> Option<(String, u16, u16)> {
    let text = head.split("client_port=").nth(1)?.split([';', '\r', ',']).next()?;
    let (rtp, rtcp) = text.split_once('-')?;
    Some((format!("client_port={text}"), rtp.parse().ok()?, rtcp.parse().ok()?))
}

impl Meddler for Udp {
    fn message(&mut self, from_server: bool, head: String) -> String {
        if from_server {
            return self.ports.iter().fold(head, |head, (theirs, ours)| head.replace(ours, theirs));
        }
        let Some((theirs, rtp, rtcp)) = ports_of(&head).filter(|_| head.starts_with("SETUP ")) else { return head };
        let ours = format!("client_port={}-{}", self.relay(rtp, true), self.relay(rtcp, false));
        let head = head.replace(&theirs, &ours);
        self.ports.push((theirs, ours));
        head
    }
}

fn relay(socket: &UdpSocket, to: u16, rtp: bool, mut luck: Luck, shared: &Shared) {
    let mut packet = [0; 65_536];
    // What was held back, and how many are let by before it.
    let mut held: Vec<(u64, Vec<u8>)> = Vec::new();
    let send = |bytes: &[u8]| {
        let _ = socket.send_to(bytes, ("127.0.0.1", to));
    };
    while !shared.over.load(Ordering::SeqCst) {
        let Ok((length, _)) = socket.recv_from(&mut packet) else {
            held.drain(..).for_each(|(_, bytes)| send(&bytes));
            continue;
        };
        let bytes = &mut packet[..length];
        if !rtp || length < 12 {
            send(bytes);
            continue;
        }
        let faults = *shared.faults.lock().expect("faults");
        let lost = luck.falls(faults.loss);
        let spoilt = luck.falls(faults.corrupt) && length > 12;
        shared.passed.lock().expect("packets").push(Passed {
            kind: bytes[1] & 0x7F,
            number: u16::from_be_bytes([bytes[2], bytes[3]]),
            time: u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            lost,
            spoilt,
        });
        if lost {
            continue;
        }
        if spoilt {
            bytes[12 + luck.number() as usize % (length - 12)] ^= 1 << (luck.number() % 8);
        }
        if luck.falls(faults.reorder) {
            held.push((1 + luck.number() % 3, bytes.to_vec()));
            continue;
        }
        send(bytes);
        if luck.falls(faults.duplicate) {
            send(bytes);
        }
        for (wait, bytes) in &mut held {
            *wait -= 1;
            if *wait == 0 {
                send(bytes);
            }
        }
        held.retain(|(wait, _)| *wait > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What of so many packets arrives, by number, in order of arrival.
    fn sent(faults: Faults, count: u16) -> (Vec<(u16, bool)>, Vec<Passed>) {
        let network = Udp::new(faults);
        let client = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let port = client.local_addr().unwrap().port();
        let head = format!("SETUP rtsp://h/s RTSP/1.0\r\nTransport: RTP/AVP;unicast;client_port={port}-{port}\r\n\r\n");
        let told = network.lock().unwrap().message(false, head.clone());
        let (_, rtp, _) = ports_of(&told).unwrap();
        assert_ne!(rtp, port);
        let answer = told.replace("SETUP rtsp://h/s RTSP/1.0", "RTSP/1.0 200 OK");
        let back = network.lock().unwrap().message(true, answer);
        assert!(back.contains(&format!("client_port={port}-{port}")), "{back}");
        let server = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let (mut arrived, mut buffer) = (Vec::new(), [0; 64]);
        for n in 0..count {
            let mut packet = [0; 32];
            packet[2..4].copy_from_slice(&n.to_be_bytes());
            server.send_to(&packet, ("127.0.0.1", rtp)).unwrap();
            // One after the other, so that no buffer is full.
            super::super::wait_until(Duration::from_secs(5), "the packet", || {
                (network.lock().unwrap().passed().len() > usize::from(n)).then_some(())
            });
        }
        while let Ok((length, _)) = client.recv_from(&mut buffer) {
            let whole = buffer[12..length].iter().all(|byte| *byte == 0);
            arrived.push((u16::from_be_bytes([buffer[2], buffer[3]]), whole));
        }
        let passed = network.lock().unwrap().passed();
        (arrived, passed)
    }

    #[test]
    fn packets_are_lost_reordered_doubled_and_spoilt_as_asked_and_the_truth_is_kept() {
        let (arrived, passed) = sent(Faults::default(), 50);
        assert_eq!(arrived, (0..50).map(|n| (n, true)).collect::<Vec<_>>());
        assert!(passed.iter().all(|packet| !packet.lost));
        let (arrived, passed) = sent(Faults { loss: 0.2, ..Faults::default() }, 200);
        let kept: Vec<_> = passed.iter().filter(|packet| !packet.lost).map(|packet| (packet.number, true)).collect();
        assert_eq!(arrived, kept);
        assert!((15..70).contains(&(200 - arrived.len())), "{} of 200 arrived", arrived.len());
        let (arrived, _) = sent(Faults { reorder: 0.2, ..Faults::default() }, 200);
        let mut sorted = arrived.clone();
        sorted.sort_unstable();
        assert!(arrived != sorted && sorted == (0..200).map(|n| (n, true)).collect::<Vec<_>>(), "{arrived:?}");
        let (arrived, _) = sent(Faults { duplicate: 0.5, corrupt: 0.5, ..Faults::default() }, 100);
        let spoilt = arrived.iter().filter(|(_, whole)| !whole).count();
        assert!(arrived.len() > 120 && spoilt > 30, "{} arrived, {spoilt} spoilt", arrived.len());
    }
}
