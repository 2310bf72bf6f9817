//! Participants' browsers, by WebRTC: WHIP (RFC 9725) without its HTTP.
//!
//! [`Whip`] is what the HTTP routes use: an offer goes in, an answer comes out, and the participant's media goes to the
//! [`FeedSender`] that was given with it, until the resource is closed, the session ends, or the browser is gone. One UDP port
//! serves all of them.
//!
//! - `offer`: what of a browser's SDP is taken. `fragment`: candidates that come later.
//! - `clock`: both streams on one clock.
//! - `peer`: one browser's connection. `peers`: all of them, and their ends; no socket and no clock is read there,
//!   `run/whip.rs` has these.
//!
//! We are an ICE-lite agent (RFC 8445, 2.5): nothing is sent to an address that did not prove itself first, and a browser's
//! candidates are not needed.

mod clock;
pub mod fragment;
pub mod offer;
mod peer;
mod peers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{Mutex, Notify};

pub use clock::{LipSync, RtpTime};
pub use offer::LARGEST;
pub use peers::{Outgoing, Peers};

use crate::source::FeedSender;
use crate::time::monotonic;
use crate::window::Streams;

/// What a browser gets for its offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `application/sdp`.
    pub sdp: String,
    /// Name of the resource, random: who knows it may change and close it.
    pub resource: String,
    /// Entity tag of its ICE session, in quotes, as it stands in `ETag` and `If-Match`.
    pub etag: String,
    /// What of the offer is taken.
    pub streams: Streams,
    /// What is not, in words; also what was not offered.
    pub declined: Vec<String>,
}

/// Why an offer, or a change, is not taken. None of the messages repeats more than a few words of what was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhipError {
    /// It is no SDP that a browser would send.
    #[error("this is no WebRTC offer: {0}; send what RTCPeerConnection.createOffer gives")]
    Sdp(String),
    /// Larger than any offer.
    #[error("the offer has {0} bytes; no browser's has more than {LARGEST}")]
    TooLarge(usize),
    /// There is neither sound nor a picture in it that can be taken.
    #[error(
        "nothing in this offer can be taken ({0}); send sound in Opus, pictures in H.264 (packetization-mode=1) or VP8"
    )]
    Nothing(String),
    /// The source that this media is for has ended.
    #[error("the session has ended")]
    Ended,
    /// There is no such resource (any more).
    #[error("there is no such WHIP resource")]
    Unknown,
    /// A change without `If-Match`.
    #[error("a PATCH needs the header If-Match with the resource's ETag")]
    Unconditional,
    /// `If-Match` is of another ICE session.
    #[error("If-Match is not this resource's ETag")]
    Mismatch,
    /// The change would restart ICE.
    #[error("ICE is not restarted here; close the resource and send a new offer")]
    Restart,
    /// The change is no fragment of SDP, or has too many candidates.
    #[error("this is no SDP fragment with ICE candidates: {0}")]
    Fragment(String),
}

impl WhipError {
    /// The HTTP status that says it.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Sdp(_) | Self::Fragment(_) => 400,
            Self::Unknown => 404,
            Self::Ended => 409,
            Self::Mismatch => 412,
            Self::TooLarge(_) => 413,
            Self::Nothing(_) | Self::Restart => 422,
            Self::Unconditional => 428,
        }
    }
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Browsers there now.
    pub peers: usize,
    /// Offers that were taken.
    pub joined: u64,
    /// Datagrams of nobody we know, or that make no sense.
    pub strays: u64,
    /// Encoded pictures and packets of sound that came.
    pub units: u64,
    /// Units that found no place with their source, because it was behind.
    pub refused: u64,
    /// Units before which something was lost on the network for good.
    pub losses: u64,
    /// Requests for a picture that a decoder can begin with.
    pub key_requests: u64,
}

/// [`Stats`] that are counted in one place and read in others.
#[derive(Debug, Default)]
pub struct Counters {
    peers: AtomicUsize,
    joined: AtomicU64,
    strays: AtomicU64,
    units: AtomicU64,
    refused: AtomicU64,
    losses: AtomicU64,
    key_requests: AtomicU64,
}

impl Counters {
    /// What was counted so far.
    #[must_use]
    pub fn read(&self) -> Stats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            peers: self.peers.load(Ordering::Relaxed),
            joined: of(&self.joined),
            strays: of(&self.strays),
            units: of(&self.units),
            refused: of(&self.refused),
            losses: of(&self.losses),
            key_requests: of(&self.key_requests),
        }
    }
}

/// What the handles and the task that serves the sockets share.
pub struct Hub {
    /// Everybody who is there.
    pub peers: Mutex<Peers>,
    /// Something changed that the task must look at: there is something to send, or an earlier deadline.
    pub changed: Notify,
    addresses: Vec<SocketAddr>,
    counters: Arc<Counters>,
}

impl Hub {
    /// Around these peers.
    #[must_use]
    pub fn new(peers: Peers) -> Self {
        let (addresses, counters) = (peers.addresses(), peers.counters());
        Self { peers: Mutex::new(peers), changed: Notify::new(), addresses, counters }
    }
}

/// Takes browsers' offers; cheap to clone. The sockets are closed when the last is dropped.
#[derive(Clone)]
pub struct Whip {
    hub: Arc<Hub>,
    /// Ends what serves the sockets when it is dropped.
    _serving: Arc<dyn Send + Sync>,
}

impl Whip {
    /// A handle on `hub`, which is served until `serving` is dropped.
    #[must_use]
    pub fn new(hub: Arc<Hub>, serving: Arc<dyn Send + Sync>) -> Self {
        Self { hub, _serving: serving }
    }

    /// Takes a browser's offer for a session: what it sends goes to `feed`. A browser that is there for the session already is
    /// sent away.
    ///
    /// # Errors
    /// The offer makes no sense or nothing in it can be taken; the source has ended. A browser that was there
    /// stays.
    pub async fn offer(&self, session: Arc<str>, sdp: &str, feed: FeedSender) -> Result<Answer, WhipError> {
        let answer = self.hub.peers.lock().await.offer(monotonic(), &session, sdp, feed);
        self.hub.changed.notify_one();
        answer
    }

    /// Takes a fragment of candidates (trickle ICE; RFC 9725, 4.3.2), which are checked and not needed. Answer it with 204.
    ///
    /// # Errors
    /// The resource is unknown, `if_match` is missing or another's, it is no such fragment, or it asks for an ICE restart.
    pub async fn patch(&self, resource: &str, fragment: &str, if_match: Option<&str>) -> Result<(), WhipError> {
        self.hub.peers.lock().await.patch(resource, fragment, if_match)
    }

    /// Sends a browser away. False: there is no such resource.
    pub async fn close(&self, resource: &str) -> bool {
        let closed = self.hub.peers.lock().await.close(resource, "the participant left");
        self.hub.changed.notify_one();
        closed
    }

    /// Whether a resource is of this session.
    pub async fn belongs(&self, resource: &str, session: &str) -> bool {
        self.hub.peers.lock().await.session_of(resource).is_some_and(|of| of == session)
    }

    /// Sends a session's browser away: no packet of it is taken after this.
    pub async fn close_session(&self, session: &str) {
        self.hub.peers.lock().await.close_session(session, "the session is over");
        self.hub.changed.notify_one();
    }

    /// Sends everybody away.
    pub async fn close_all(&self) {
        self.hub.peers.lock().await.close_all("the service ends");
        self.hub.changed.notify_one();
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.hub.counters.read()
    }

    /// The addresses that browsers are told.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.hub.addresses
    }
}

impl std::fmt::Debug for Whip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Whip({:?})", self.hub.addresses)
    }
}
