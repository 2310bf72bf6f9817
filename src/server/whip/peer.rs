//! One browser's connection: datagrams and times go in, datagrams and encoded media come out. Reads no clock and has no socket.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, UNIX_EPOCH};

use bytes::Bytes;
use str0m::change::SdpOffer;
use str0m::format::{Codec as Coding, FormatParams};
use str0m::media::{Frequency, KeyframeRequestKind, MediaData, MediaKind, Mid, SenderFeedback};
use str0m::rtp::{Extension, ExtensionMap};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use super::clock::{LipSync, RtpTime};
use super::offer::{Offer, Payload};
use super::{Counters, WhipError};
use crate::config::redact::clean_message;
use crate::source::{Codec, FeedSender, Pushed, Taken};
use crate::time::MediaTime;
use crate::window::Stream;

/// A browser that sends nothing for so long is gone: it checks its connection every few seconds (RFC 7675).
pub(super) const SILENCE: Duration = Duration::from_secs(15);
/// From the offer until media can flow.
pub(super) const CONNECTING: Duration = Duration::from_secs(30);
/// A browser is asked for a new beginning no more often.
const KEY_INTERVAL: Duration = Duration::from_millis(500);
/// The first unit's time. Later than zero, because the other stream may lie before it.
const BASE: MediaTime = MediaTime::from_millis(60_000);

/// A datagram to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Datagram {
    /// From which of our addresses.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

/// A stream of the browser that is taken.
#[derive(Clone, Copy)]
struct Taking {
    mid: Mid,
    stream: Stream,
    rate: u32,
}

/// A browser's connection.
pub(super) struct Peer {
    rtc: Rtc,
    pub session: Arc<str>,
    pub etag: String,
    /// Its ICE name and password.
    pub ice: (String, String),
    /// Our ICE name before it: it opens the user name of its connectivity checks.
    pub name: String,
    feed: FeedSender,
    audio: Option<Codec>,
    video: Option<Codec>,
    taking: Vec<Taking>,
    sync: LipSync,
    born: Instant,
    heard: Instant,
    timeout: Instant,
    began: bool,
    asked: Option<Instant>,
    counters: Arc<Counters>,
}

/// Why a connection is over: one line for people.
pub(super) struct Over(pub String);

impl Peer {
    /// Takes an offer. Also gives the answer of str0m to the reduced offer.
    pub fn new(
        now: Instant,
        session: Arc<str>,
        etag: String,
        offer: &Offer,
        addresses: &[SocketAddr],
        feed: FeedSender,
        counters: Arc<Counters>,
    ) -> Result<(Self, String), WhipError> {
        let wrong = |error: &dyn std::fmt::Display| WhipError::Sdp(clean_message(&error.to_string(), None, 200));
        let answer = || {
            let parsed = SdpOffer::from_sdp_string(&offer.reduced).map_err(|error| wrong(&error))?;
            let mut rtc = config(offer).build(now);
            for address in addresses {
                let candidate = Candidate::host(*address, "udp").map_err(|error| wrong(&error))?;
                rtc.add_local_candidate(candidate);
            }
            let answer = rtc.sdp_api().accept_offer(parsed).map_err(|error| wrong(&error))?;
            Ok((rtc, answer.to_sdp_string()))
        };
        let (mut rtc, sdp) = guarded(answer).unwrap_or_else(|| Err(wrong(&"it cannot be answered")))?;
        let name = rtc.direct_api().local_ice_credentials().ufrag;
        let codec = |payloads: &[Payload]| payloads.first().map(|payload| payload.codec);
        let peer = Self {
            rtc,
            session,
            etag,
            ice: offer.ice.clone(),
            name,
            feed,
            audio: codec(&offer.audio),
            video: codec(&offer.video),
            taking: Vec::new(),
            sync: LipSync::default(),
            born: now,
            heard: now,
            timeout: now,
            began: false,
            asked: None,
            counters,
        };
        Ok((peer, sdp))
    }

    /// Whether what came is of this browser.
    pub fn accepts(&self, input: &Input<'_>) -> bool {
        guarded(|| self.rtc.accepts(input)).unwrap_or(false)
    }

    /// When it wants to be told the time at the latest.
    pub fn deadline(&self) -> Instant {
        let connecting = if self.began { None } else { Some(self.born + CONNECTING) };
        self.timeout.min(self.heard + SILENCE).min(connecting.unwrap_or(self.timeout))
    }

    /// Something came, or time went by. What is to be sent is added to `out`.
    pub fn handle(&mut self, now: Instant, input: Input<'_>, out: &mut Vec<Datagram>) -> Result<(), Over> {
        if matches!(input, Input::Receive(..)) {
            self.heard = now;
        } else if now >= self.heard + SILENCE {
            return Err(Over(format!("nothing came for {} s", SILENCE.as_secs())));
        } else if !self.began && now >= self.born + CONNECTING {
            return Err(Over(format!("it was not connected within {} s", CONNECTING.as_secs())));
        }
        let work = || {
            self.rtc.handle_input(input).map_err(|error| Over(error.to_string()))?;
            self.drain(now, out)
        };
        guarded(work).unwrap_or_else(|| Err(Over("the WebRTC library failed on it".into())))
    }

    /// Takes its leave, if that can still be heard, and tells the source.
    pub fn end(&mut self, reason: &str, out: &mut Vec<Datagram>) {
        let rtc = &mut self.rtc;
        guarded(|| {
            if rtc.close().is_ok() {
                while let Ok(Output::Transmit(transmit)) = rtc.poll_output() {
                    out.push(datagram(&transmit));
                }
            }
        });
        if self.began && self.feed.send(Pushed::Gone(reason.to_owned())) == Taken::Refused {
            tracing::warn!(session = &*self.session, "the source is far behind and learns of an end only by silence");
        }
    }

    fn drain(&mut self, now: Instant, out: &mut Vec<Datagram>) -> Result<(), Over> {
        loop {
            match self.rtc.poll_output().map_err(|error| Over(error.to_string()))? {
                Output::Timeout(at) => {
                    self.timeout = at;
                    return Ok(());
                }
                Output::Transmit(transmit) => out.push(datagram(&transmit)),
                Output::Event(event) => self.event(now, event)?,
            }
        }
    }

    fn event(&mut self, now: Instant, event: Event) -> Result<(), Over> {
        match event {
            Event::MediaAdded(added) => {
                let (stream, rate) = match added.kind {
                    MediaKind::Audio => (Stream::Audio, 48_000),
                    MediaKind::Video => (Stream::Video, 90_000),
                };
                self.taking.push(Taking { mid: added.mid, stream, rate });
            }
            Event::Connected => {
                self.began = true;
                match self.feed.send(Pushed::Began { video: self.video, audio: self.audio }) {
                    Taken::Yes | Taken::NeedsKey => {}
                    Taken::Refused => return Err(Over("its source is far behind".into())),
                    Taken::Ended => return Err(Over("the session has ended".into())),
                }
            }
            Event::MediaData(data) => return self.unit(now, data),
            Event::SenderFeedback(report) => self.report(&report),
            Event::Closed => return Err(Over("the participant's page was closed".into())),
            _ => {}
        }
        Ok(())
    }

    fn taking(&self, mid: Mid) -> Option<Taking> {
        self.taking.iter().copied().find(|taking| taking.mid == mid)
    }

    fn report(&mut self, report: &SenderFeedback) {
        let Some(Taking { stream, rate, .. }) = self.taking(report.mid) else { return };
        // Before 1970: a sender without a clock writes zero (RFC 3550, 6.4.1).
        let Ok(wall) = report.sender_info.ntp_time.duration_since(UNIX_EPOCH) else { return };
        let rtp = RtpTime { ticks: ticks(report.sender_info.rtp_time.numer()), rate };
        self.sync.report(stream, rtp, MediaTime::from_duration(wall));
    }

    fn unit(&mut self, now: Instant, data: MediaData) -> Result<(), Over> {
        let Some(Taking { mid, stream, rate }) = self.taking(data.mid) else { return Ok(()) };
        let count = |counter: &std::sync::atomic::AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        count(&self.counters.units);
        if !data.contiguous {
            count(&self.counters.losses);
        }
        let arrival = BASE + MediaTime::from_duration(data.network_time.saturating_duration_since(self.born));
        let rtp = RtpTime { ticks: ticks(data.time.numer()), rate };
        let time = self.sync.place(stream, rtp, arrival);
        let pushed = Pushed::Media { stream, time, data: Bytes::from_owner(data.data), follows: data.contiguous };
        match self.feed.send(pushed) {
            Taken::Yes => {}
            Taken::Refused => _ = count(&self.counters.refused),
            Taken::NeedsKey => {
                let soon = self.asked.is_some_and(|asked| now < asked + KEY_INTERVAL);
                if let Some(stream) = self.rtc.direct_api().stream_rx_by_mid(mid, None).filter(|_| !soon) {
                    stream.request_keyframe(KeyframeRequestKind::Pli);
                    count(&self.counters.key_requests);
                    self.asked = Some(now);
                }
            }
            Taken::Ended => return Err(Over("the session has ended".into())),
        }
        Ok(())
    }
}

/// The lower 32 bits, as RTP has them.
fn ticks(extended: u64) -> u32 {
    u32::try_from(extended & 0xffff_ffff).unwrap_or(0)
}

fn datagram(transmit: &str0m::net::Transmit) -> Datagram {
    Datagram { from: transmit.source, to: transmit.destination, bytes: transmit.contents.to_vec() }
}

fn config(offer: &Offer) -> RtcConfig {
    // Not the orientation of pictures (urn:3gpp:video-orientation): without it a browser turns them itself.
    let mut extensions = ExtensionMap::empty();
    extensions.set(2, Extension::AbsoluteSendTime);
    extensions.set(3, Extension::TransportSequenceNumber);
    extensions.set(4, Extension::RtpMid);
    let mut config = RtcConfig::new().clear_codecs().set_ice_lite(true).set_extension_map(extensions);
    for payload in offer.audio.iter().chain(&offer.video) {
        let (number, resend) = (payload.number.into(), payload.resend.map(Into::into));
        let codecs = config.codec_config();
        match (payload.codec, payload.profile) {
            (Codec::H264, profile) => codecs.add_h264(number, resend, true, profile.unwrap_or(0x42_c0_0a)),
            (Codec::Vp8, _) => {
                let format = FormatParams::default();
                codecs.add_config(number, resend, Coding::Vp8, Frequency::NINETY_KHZ, None, format);
            }
            (Codec::Opus, _) => {
                let format =
                    FormatParams { min_p_time: Some(10), use_inband_fec: Some(true), ..FormatParams::default() };
                codecs.add_config(number, None, Coding::Opus, Frequency::FORTY_EIGHT_KHZ, Some(2), format);
            }
        }
    }
    config
}

/// A panic of the library is the end of that connection, and of no other.
fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}
