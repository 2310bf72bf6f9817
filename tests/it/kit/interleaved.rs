//! RTSP on one TCP connection (RFC 2326, 10.12): messages, and packets between them, for a proxy that changes some.

use std::sync::{Arc, Mutex};

/// Who changes what passes between an RTSP server and its client.
pub trait Meddler: Send {
    /// A message's head, up to its empty line.
    fn message(&mut self, from_server: bool, head: String) -> String {
        let _ = from_server;
        head
    }

    /// A packet from the server, on this channel: even ones are RTP, odd ones RTCP.
    fn packet(&mut self, channel: u8, packet: &mut [u8]) {
        let _ = (channel, packet);
    }

    /// Whether such a packet passes on. Asked after it was changed.
    fn passes(&mut self, channel: u8, packet: &[u8]) -> bool {
        let _ = (channel, packet);
        true
    }
}

/// One way of a connection, taken apart.
pub struct Framer {
    meddler: Arc<Mutex<dyn Meddler>>,
    from_server: bool,
    held: Vec<u8>,
    /// Bytes of a message's body that are still to pass.
    body: usize,
}

impl Framer {
    /// Of what comes from the server, or goes to it.
    pub fn new(meddler: Arc<Mutex<dyn Meddler>>, from_server: bool) -> Self {
        Self { meddler, from_server, held: Vec::new(), body: 0 }
    }

    /// Takes what came and gives what may pass on: whole packets, whole heads.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut out = Vec::new();
        loop {
            let body = self.body.min(self.held.len());
            out.extend(self.held.drain(..body));
            self.body -= body;
            let taken = match self.held.as_slice() {
                [b'$', channel, high, low, ..] => {
                    let (channel, length) = (*channel, usize::from(u16::from_be_bytes([*high, *low])));
                    let Some(packet) = self.held.get_mut(4..4 + length) else { return out };
                    let passes = !self.from_server || {
                        let mut meddler = self.meddler.lock().expect("meddler");
                        meddler.packet(channel, packet);
                        meddler.passes(channel, packet)
                    };
                    if passes {
                        out.extend_from_slice(&self.held[..4 + length]);
                    }
                    4 + length
                }
                [b'$', ..] | [] => return out,
                _ => {
                    let Some(end) = self.held.windows(4).position(|four| four == b"\r\n\r\n") else { return out };
                    let head = String::from_utf8_lossy(&self.held[..end + 4]).into_owned();
                    let length = head.lines().find_map(|line| {
                        line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok()
                    });
                    self.body = length.unwrap_or(0);
                    let head = self.meddler.lock().expect("meddler").message(self.from_server, head);
                    out.extend_from_slice(head.as_bytes());
                    end + 4
                }
            };
            self.held.drain(..taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Marks;

    impl Meddler for Marks {
        fn message(&mut self, _: bool, head: String) -> String {
            head.replace("one", "two")
        }

        fn packet(&mut self, channel: u8, packet: &mut [u8]) {
            packet.fill(channel);
        }

        fn passes(&mut self, channel: u8, _: &[u8]) -> bool {
            channel != 3
        }
    }

    #[test]
    fn messages_bodies_and_packets_are_told_apart_however_they_come() {
        let whole =
            b"RTSP/1.0 200 OK\r\nContent-Length: 3\r\nX: one\r\n\r\none$\x03\x00\x01c$\x02\x00\x02ab$\x01\x00\x00GET one\r\n\r\n";
        let wanted = b"RTSP/1.0 200 OK\r\nContent-Length: 3\r\nX: two\r\n\r\none$\x02\x00\x02\x02\x02$\x01\x00\x00GET two\r\n\r\n";
        for size in [1, 7, 1000] {
            let mut framer = Framer::new(Arc::new(Mutex::new(Marks)), true);
            let got: Vec<u8> = whole.chunks(size).flat_map(|piece| framer.take(piece)).collect();
            assert_eq!(got, wanted, "in pieces of {size}");
        }
    }
}
