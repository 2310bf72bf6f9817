//! All browsers that are there: who a datagram is of, when each is gone. Times and datagrams are passed in.
//!
//! A session has one browser, so there are no more of them than sessions; how many sessions there may be is not decided here.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rand::RngExt as _;
use str0m::Input;
use str0m::ice::StunMessage;
use str0m::net::{Protocol, Receive};

use super::fragment::Fragment;
use super::offer::Offer;
use super::peer::{Datagram, Over, Peer};
use super::{Answer, Counters, WhipError};
use crate::source::FeedSender;
use crate::window::Streams;

/// Candidates in one fragment.
const MOST_CANDIDATES: usize = 32;
/// Addresses that one browser may send from: whoever has its password could prove any number, and each is kept until it goes.
const MOST_ADDRESSES: usize = 32;

/// A datagram to be sent from one of the sockets.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Number of the socket.
    pub socket: usize,
    /// To whom.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

/// Everybody who is there.
pub struct Peers {
    /// The addresses that browsers are told, each with the number of its socket.
    addresses: Vec<(SocketAddr, usize)>,
    /// By resource.
    there: BTreeMap<String, Peer>,
    /// Who proved last that an address is its own, before which socket.
    from: HashMap<(usize, SocketAddr), String>,
    out: Vec<Outgoing>,
    counters: Arc<Counters>,
}

impl Peers {
    /// Nobody yet. `addresses`: what browsers are told, each with the number of the socket that receives there.
    #[must_use]
    pub fn new(addresses: Vec<(SocketAddr, usize)>) -> Self {
        let (there, from, out, counters) = Default::default();
        Self { addresses, there, from, out, counters }
    }

    /// The addresses that browsers are told.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.iter().map(|(address, _)| *address).collect()
    }

    /// Where it is counted what happens.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Takes an offer; see [`super::Whip::offer`].
    ///
    /// # Errors
    /// As there.
    pub fn offer(
        &mut self,
        now: Instant,
        session: &Arc<str>,
        sdp: &str,
        feed: FeedSender,
    ) -> Result<Answer, WhipError> {
        let offer = Offer::read(sdp)?;
        if feed.is_ended() {
            return Err(WhipError::Ended);
        }
        let etag = format!("\"{:016x}\"", rand::rng().random::<u64>());
        let addresses = self.addresses();
        let counters = Arc::clone(&self.counters);
        let (peer, sdp) = Peer::new(now, Arc::clone(session), etag.clone(), &offer, &addresses, feed, counters)?;
        self.close_session(session, "the participant joined anew");
        let resource = format!("{:032x}", rand::rng().random::<u128>());
        self.there.insert(resource.clone(), peer);
        self.counters.joined.fetch_add(1, Ordering::Relaxed);
        self.count();
        let streams = Streams { audio: !offer.audio.is_empty(), video: !offer.video.is_empty() };
        tracing::info!(
            session = %session,
            ?streams,
            declined = offer.declined.join("; "),
            "a browser's offer is taken"
        );
        self.advance(now);
        Ok(Answer { sdp: offer.answer(&sdp), resource, etag, streams, declined: offer.declined })
    }

    /// Takes a fragment of candidates; see [`super::Whip::patch`].
    ///
    /// # Errors
    /// As there.
    pub fn patch(&self, resource: &str, fragment: &str, if_match: Option<&str>) -> Result<(), WhipError> {
        let peer = self.there.get(resource).ok_or(WhipError::Unknown)?;
        match if_match.map(str::trim) {
            None => return Err(WhipError::Unconditional),
            // That is how a client asks for a restart (RFC 9725, 4.3.3).
            Some("*") => return Err(WhipError::Restart),
            Some(tag) if tag != peer.etag => return Err(WhipError::Mismatch),
            Some(_) => {}
        }
        let fragment = Fragment::read(fragment)?;
        if fragment.candidates > MOST_CANDIDATES {
            return Err(WhipError::Fragment(format!("more than {MOST_CANDIDATES} candidates")));
        }
        if fragment.ice.is_some_and(|ice| ice != peer.ice) {
            return Err(WhipError::Restart);
        }
        Ok(())
    }

    /// The session of a resource.
    #[must_use]
    pub fn session_of(&self, resource: &str) -> Option<&str> {
        self.there.get(resource).map(|peer| &*peer.session)
    }

    /// Sends one browser away. False: there is no such resource.
    pub fn close(&mut self, resource: &str, reason: &str) -> bool {
        let Some(mut peer) = self.there.remove(resource) else { return false };
        tracing::info!(session = &*peer.session, reason, "a browser's connection is over");
        let mut out = Vec::new();
        peer.end(reason, &mut out);
        self.send(resource, out);
        self.from.retain(|_, of| of != resource);
        self.count();
        true
    }

    /// Sends all browsers of a session away.
    pub fn close_session(&mut self, session: &str, reason: &str) {
        let of = self.there.iter().filter(|(_, peer)| &*peer.session == session);
        for resource in of.map(|(resource, _)| resource.clone()).collect::<Vec<_>>() {
            self.close(&resource, reason);
        }
    }

    /// Sends everybody away.
    pub fn close_all(&mut self, reason: &str) {
        while let Some(resource) = self.there.keys().next().cloned() {
            self.close(&resource, reason);
        }
    }

    /// A datagram came to a socket.
    pub fn receive(&mut self, now: Instant, socket: usize, from: SocketAddr, bytes: &[u8]) {
        // A socket that stands for several addresses does not know which was meant; any of the family will do.
        let own = self.addresses.iter().filter(|(_, of)| *of == socket).map(|(address, _)| *address);
        let own = own.clone().find(|own| own.is_ipv4() == from.is_ipv4()).or_else(|| own.clone().next());
        let received = own.and_then(|own| Receive::new(Protocol::Udp, from, own, bytes).ok());
        let Some(received) = received else {
            self.counters.strays.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let input = Input::Receive(now, received);
        match self.of((socket, from), bytes, &input) {
            Some(resource) => self.handle(now, &resource, input),
            None => _ = self.counters.strays.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Whose a datagram is. A connectivity check names its addressee and is proven by its password (RFC 8445, 7.3), from wherever it
    /// comes: the address of a browser that vanished may be another's before it is known that it vanished. All else is of who
    /// proved the address last.
    fn of(&mut self, from: (usize, SocketAddr), bytes: &[u8], input: &Input<'_>) -> Option<String> {
        let Some(name) = checked(bytes) else {
            return self.from.get(&from).filter(|of| self.there.get(*of).is_some_and(|p| p.accepts(input))).cloned();
        };
        let (resource, _) = self.there.iter().find(|(_, peer)| peer.name == name && peer.accepts(input))?;
        if self.from.get(&from) != Some(resource) {
            if self.from.values().filter(|of| *of == resource).count() == MOST_ADDRESSES {
                return None;
            }
            self.from.insert(from, resource.clone());
        }
        Some(resource.clone())
    }

    /// Time went by.
    pub fn advance(&mut self, now: Instant) {
        let due = self.there.iter().filter(|(_, peer)| peer.deadline() <= now);
        for resource in due.map(|(resource, _)| resource.clone()).collect::<Vec<_>>() {
            self.handle(now, &resource, Input::Timeout(now));
        }
    }

    /// When [`Peers::advance`] is to be called at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.there.values().map(Peer::deadline).min()
    }

    /// What is to be sent by now.
    pub fn outgoing(&mut self) -> impl Iterator<Item = Outgoing> {
        self.out.drain(..)
    }

    /// Takes what a browser is to be sent. Not to an address that another one has proven since: it would be another's riddle.
    fn send(&mut self, resource: &str, out: Vec<Datagram>) {
        for Datagram { from, to, bytes } in out {
            let Some((_, socket)) = self.addresses.iter().find(|(address, _)| *address == from) else { continue };
            if self.from.get(&(*socket, to)).is_none_or(|of| of == resource) {
                self.out.push(Outgoing { socket: *socket, to, bytes });
            }
        }
    }

    fn handle(&mut self, now: Instant, resource: &str, input: Input<'_>) {
        let Some(peer) = self.there.get_mut(resource) else { return };
        let mut out = Vec::new();
        let went_on = peer.handle(now, input, &mut out);
        self.send(resource, out);
        if let Err(Over(reason)) = went_on {
            self.close(resource, &reason);
        }
    }

    fn count(&self) {
        self.counters.peers.store(self.there.len(), Ordering::Relaxed);
    }
}

/// Whose name a datagram carries that is a connectivity check: a STUN binding request (RFC 7983, 7: the first byte tells STUN).
fn checked(bytes: &[u8]) -> Option<String> {
    let message = bytes.first().filter(|first| **first < 4).and_then(|_| StunMessage::parse(bytes).ok())?;
    let (name, _) = message.split_username().filter(|_| message.is_binding_request())?;
    Some(name.to_owned())
}

#[cfg(test)]
#[path = "peers_tests.rs"]
mod tests;
