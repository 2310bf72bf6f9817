//! A scripted browser: str0m as the one who offers, over real UDP on loopback, with media that is encoded already.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::format::Codec;
use str0m::media::{Direction, Frequency, MediaKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use super::encoded::{Coding, Unit};

/// What the browser does with its media.
#[derive(Clone)]
pub struct Script {
    /// By time. Sent once; the browser then stays, and is silent.
    pub units: Arc<[Unit]>,
    /// Pictures leave so much later than they were taken: an encoder and a network that take their time.
    pub pictures_late: Duration,
    /// Of so many packets with media, the last does not arrive. 0: all arrive.
    pub lose_every: u64,
    /// What is sent again does not arrive either.
    pub lose_repairs: bool,
    /// What this answers true to (whether it is a picture, and its time) is taken but never leaves.
    pub withhold: fn(bool, Duration) -> bool,
    /// So long has the RTP clock of sound stood still when sound of this time is taken.
    pub sound_stood: fn(Duration) -> Duration,
    /// Media is sent so many times as fast as it was taken.
    pub speed: f64,
}

impl Script {
    /// These units, as they are.
    pub fn new(units: Vec<Unit>) -> Self {
        Self {
            units: units.into(),
            pictures_late: Duration::ZERO,
            lose_every: 0,
            lose_repairs: false,
            withhold: |_, _| false,
            sound_stood: |_| Duration::ZERO,
            speed: 1.0,
        }
    }
}

/// What the other side saw of it, and what it saw of the other side.
#[derive(Debug, Default)]
pub struct Seen {
    /// Media may flow.
    pub connected: AtomicBool,
    /// All units were sent.
    pub done: AtomicBool,
    /// The server said goodbye.
    pub closed: AtomicBool,
    /// Requests for a key frame.
    pub key_requests: AtomicU64,
    /// Datagrams that were sent.
    pub sent: AtomicU64,
    /// Packets with media that did not arrive.
    pub lost: AtomicU64,
    /// Datagrams from the server.
    pub received: AtomicU64,
}

/// A browser that has made its offer.
pub struct Offering {
    rtc: Rtc,
    socket: UdpSocket,
    pending: SdpPendingOffer,
    audio: Option<Mid>,
    video: Option<Mid>,
    coding: Coding,
    /// What goes to the server.
    pub sdp: String,
}

impl Offering {
    /// Offers sound and pictures.
    pub fn new(coding: Coding) -> Self {
        Self::of(coding, true, true)
    }

    /// Offers these streams.
    pub fn of(coding: Coding, audio: bool, video: bool) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let mut rtc = match coding {
            Coding::H264 => RtcConfig::new().enable_vp8(false),
            Coding::Vp8 => RtcConfig::new().enable_h264(false),
        }
        .set_rtcp_report_interval_audio(Duration::from_secs(1))
        .build(Instant::now());
        rtc.add_local_candidate(Candidate::host(socket.local_addr().expect("bound"), "udp").expect("a candidate"));
        let mut changes = rtc.sdp_api();
        let mut add = |wanted: bool, kind| {
            wanted.then(|| changes.add_media(kind, Direction::SendOnly, Some("stream".into()), None, None))
        };
        let (audio, video) = (add(audio, MediaKind::Audio), add(video, MediaKind::Video));
        let (offer, pending) = changes.apply().expect("an offer");
        Self { sdp: offer.to_sdp_string(), rtc, socket, pending, audio, video, coding }
    }

    /// Takes the answer, connects and follows the script.
    pub fn play(mut self, answer: &str, script: Script) -> Browser {
        let answer = SdpAnswer::from_sdp_string(answer).expect("an answer");
        self.rtc.sdp_api().accept_answer(self.pending, answer).expect("the answer fits the offer");
        let (seen, leave) = (Arc::<Seen>::default(), Arc::<Mutex<Option<Leave>>>::default());
        let (shared, asked) = (Arc::clone(&seen), Arc::clone(&leave));
        let run = Run {
            rtc: self.rtc,
            socket: self.socket,
            audio: self.audio,
            video: self.video,
            coding: self.coding,
            script,
            seen: shared,
            media: 0,
            resend: None,
        };
        let thread = std::thread::spawn(move || run.run(&asked));
        Browser { seen, leave, thread: Some(thread) }
    }
}

/// How a browser goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// Its page is closed: it says so.
    Close,
    /// Its cable is pulled.
    Vanish,
}

/// A browser that is connected, or about to be; vanishes when dropped.
pub struct Browser {
    /// What it saw.
    pub seen: Arc<Seen>,
    leave: Arc<Mutex<Option<Leave>>>,
    thread: Option<JoinHandle<()>>,
}

impl Browser {
    /// Closes its page.
    pub fn close(mut self) {
        self.go(Leave::Close);
    }

    /// Is gone without a word.
    pub fn vanish(mut self) {
        self.go(Leave::Vanish);
    }

    fn go(&mut self, how: Leave) {
        *self.leave.lock().expect("no panic") = Some(how);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the browser did not panic");
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        *self.leave.lock().expect("no panic") = Some(Leave::Vanish);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Run {
    rtc: Rtc,
    socket: UdpSocket,
    audio: Option<Mid>,
    video: Option<Mid>,
    coding: Coding,
    script: Script,
    seen: Arc<Seen>,
    media: u64,
    /// Payload type of what is sent again.
    resend: Option<u8>,
}

impl Run {
    fn run(mut self, leave: &Mutex<Option<Leave>>) {
        let mut began: Option<Instant> = None;
        // When each unit leaves: pictures may come after sound that was taken later.
        let units = Arc::clone(&self.script.units);
        let mut order: Vec<(Duration, usize)> = units
            .iter()
            .enumerate()
            .map(|(n, unit)| {
                let late = if unit.video { self.script.pictures_late } else { Duration::ZERO };
                (unit.time.div_f64(self.script.speed) + late, n)
            })
            .collect();
        order.sort_unstable();
        let mut next = 0;
        let mut datagram = vec![0; 2000];
        loop {
            match *leave.lock().expect("no panic") {
                Some(Leave::Vanish) => return,
                Some(Leave::Close) => {
                    let _ = self.rtc.close();
                    self.drain();
                    return;
                }
                None => {}
            }
            let mut timeout = self.drain();
            if !self.rtc.is_alive() {
                self.seen.closed.store(true, Ordering::SeqCst);
                return;
            }
            if self.seen.connected.load(Ordering::SeqCst) {
                let start = *began.get_or_insert_with(Instant::now);
                while let Some((due, n)) = order.get(next).copied() {
                    if start + due > Instant::now() {
                        timeout = timeout.min(start + due);
                        break;
                    }
                    self.write(&units[n], start);
                    timeout = self.drain();
                    next += 1;
                }
                if next == order.len() {
                    self.seen.done.store(true, Ordering::SeqCst);
                }
            }
            let wait = timeout
                .saturating_duration_since(Instant::now())
                .clamp(Duration::from_micros(200), Duration::from_millis(20));
            self.socket.set_read_timeout(Some(wait)).expect("a timeout");
            let local = self.socket.local_addr().expect("bound");
            let input = match self.socket.recv_from(&mut datagram) {
                Ok((length, from)) => {
                    self.seen.received.fetch_add(1, Ordering::SeqCst);
                    match Receive::new(Protocol::Udp, from, local, &datagram[..length]) {
                        Ok(received) => Input::Receive(Instant::now(), received),
                        Err(_) => continue,
                    }
                }
                Err(_) => Input::Timeout(Instant::now()),
            };
            if self.rtc.handle_input(input).is_err() {
                self.seen.closed.store(true, Ordering::SeqCst);
                return;
            }
        }
    }

    fn write(&mut self, unit: &Unit, start: Instant) {
        let (mid, rate) =
            if unit.video { (self.video, Frequency::NINETY_KHZ) } else { (self.audio, Frequency::FORTY_EIGHT_KHZ) };
        let Some(mid) = mid.filter(|_| !(self.script.withhold)(unit.video, unit.time)) else { return };
        let codec = match (unit.video, self.coding) {
            (false, _) => Codec::Opus,
            (true, Coding::H264) => Codec::H264,
            (true, Coding::Vp8) => Codec::Vp8,
        };
        let Some(writer) = self.rtc.writer(mid) else { return };
        let params = writer.payload_params().find(|params| params.spec().codec == codec).expect("a negotiated codec");
        let payload = params.pt();
        self.resend = self.resend.or(params.resend().map(|number| *number));
        let stood = if unit.video { Duration::ZERO } else { (self.script.sound_stood)(unit.time) };
        let ticks = unit.time.saturating_sub(stood).as_secs_f64() * f64::from(rate.get());
        // Each stream counts from a zero of its own.
        let zero = if unit.video { 4_294_000_000 } else { 77_000 };
        let time = MediaTime::new(zero + ticks.round() as u64, rate);
        let taken = start + unit.time.div_f64(self.script.speed);
        writer.write(payload, taken, time, &unit.data[..]).expect("is taken");
    }

    /// Sends what is to be sent; gives when time is to be told.
    fn drain(&mut self) -> Instant {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => return at,
                Ok(Output::Transmit(transmit)) => {
                    // Media, not its control: RFC 5761, 4.
                    let [first, second, ..] = transmit.contents[..] else { continue };
                    let is_media = (128..192).contains(&first) && !(64..96).contains(&(second & 0x7f));
                    self.media += u64::from(is_media);
                    let every = self.script.lose_every;
                    let repair = self.resend == Some(second & 0x7f) && self.script.lose_repairs;
                    if is_media && (repair || every > 0 && self.media.is_multiple_of(every)) {
                        self.seen.lost.fetch_add(1, Ordering::SeqCst);
                        continue;
                    }
                    self.seen.sent.fetch_add(1, Ordering::SeqCst);
                    let _ = self.socket.send_to(&transmit.contents, transmit.destination);
                }
                Ok(Output::Event(Event::Connected)) => self.seen.connected.store(true, Ordering::SeqCst),
                Ok(Output::Event(Event::KeyframeRequest(_))) => {
                    self.seen.key_requests.fetch_add(1, Ordering::SeqCst);
                }
                Ok(Output::Event(Event::Closed)) => self.seen.closed.store(true, Ordering::SeqCst),
                Ok(Output::Event(_)) => {}
                Err(_) => return Instant::now(),
            }
        }
    }
}
