//! The service of the soak, its peers, and the faults they have.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

use super::super::secrets::Secrets;
use super::EVERY;
use crate::journal::SECRET;
use crate::journal::receiver::Receiver;
use crate::kit::endpoint::{Endpoint, Judge, Mode, Needs};
use crate::kit::media::Recipe;
use crate::kit::proxy::{self, Proxy};
use crate::kit::rtsp::{Camera, Show};
use crate::kit::run::ahwatch;
use crate::kit::service::{Reader, Service};

/// Cameras that are watched.
pub const CAMERAS: usize = 8;
/// These cameras have no fault of their own.
pub const STEADY: usize = 2;
/// Of the plan of faults.
const SEED: u64 = 23;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The RTSP server is gone, and is back.
    CameraKilled,
    /// Its connections stay open, and nothing comes.
    CameraStalled,
    /// Connections are closed as soon as they are made.
    CameraCut,
    /// The endpoint answers with 500.
    Endpoint500,
    /// It answers with a proxy's page.
    EndpointHtml,
    /// It takes eight seconds.
    EndpointSlow,
    /// One of its three models answers with 500.
    OneJudge500,
    /// The receiver of alerts answers with 503.
    WebhookDown,
    /// SIGHUP: a ninth source comes and goes, and judges have another deadline.
    Reconfigured,
    /// One reader of the event stream wants everything from the beginning, another does not read at all; both go.
    Readers,
}

/// All of them: a round.
pub const KINDS: [Kind; 10] = [
    Kind::CameraKilled,
    Kind::CameraStalled,
    Kind::CameraCut,
    Kind::Endpoint500,
    Kind::EndpointHtml,
    Kind::EndpointSlow,
    Kind::OneJudge500,
    Kind::WebhookDown,
    Kind::Reconfigured,
    Kind::Readers,
];

/// A camera, and the network before it.
pub struct Room {
    camera: Camera,
    network: Proxy,
    url: String,
}

/// The service and all its peers.
pub struct Scene {
    /// The program.
    pub service: Service,
    /// An operator's.
    pub token: String,
    /// The judges.
    pub endpoint: Endpoint,
    /// Of alerts.
    pub receiver: Receiver,
    /// The cameras.
    pub rooms: Vec<Room>,
    /// The configuration as it began, and with a ninth source.
    plain: String,
    other: String,
    readers: Vec<Reader>,
    deaf: Option<TcpStream>,
}

fn rooms(secrets: &Secrets) -> Vec<Room> {
    (0..CAMERAS as u64)
        .map(|n| {
            // A quarter of a minute in each shows the mark, in every room another.
            let marked: Vec<u64> = (0..2400).filter(|window| (window + n) % 12 < 3).collect();
            let show = Show::live(&Recipe::new(3600.0).size(160, 120).fps((5, 1)).plant(&marked));
            let password = secrets.take();
            let camera = Camera::start_with(vec![("/live".to_owned(), show)], Some(("viewer", password.as_str())));
            let network = Proxy::to(camera.port());
            let url = format!("rtsp://viewer:{password}@127.0.0.1:{}/live", network.port());
            Room { camera, network, url }
        })
        .collect()
}

fn source(name: &str, url: &str) -> String {
    format!("[[source]]\nname = \"{name}\"\nurl = \"{url}\"\npurpose = \"research\"\nconsent = \"nobody is in it\"\n")
}

impl Scene {
    /// Starts everything; the service's files are in `dir`, the receiver lives on `runtime`.
    pub fn open(dir: &Path, runtime: &tokio::runtime::Runtime) -> Self {
        let secrets = Secrets::new();
        let rooms = rooms(&secrets);
        let needs = |needs| Judge { needs, ..Judge::default() };
        let endpoint =
            Endpoint::start([("v1", Judge::default()), ("v2", needs(Needs::Pictures)), ("v3", needs(Needs::Sound))]);
        let receiver = runtime.block_on(Receiver::start(|_| 200));
        let config = |deadline: u32, guest: bool| {
            let mut text = "[panel]\ncanary = false\n[session]\nmax_session_secs = 300.0\nsession_gap_secs = 12.0\n\
                 cooldown_secs = 20.0\n"
                .to_owned();
            for (n, name) in ["v1", "v2", "v3"].into_iter().enumerate() {
                let _ = write!(
                    text,
                    "[[judge]]\nname = \"{name}\"\nmodel = \"{name}\"\nbase_url = \"{}\"\napi_key_env = \"AH_PLANTED_{}\"\n\
                     deadline_ms = {deadline}\n",
                    endpoint.base_url(),
                    40 + n
                );
            }
            text += &receiver.sink("desk");
            rooms.iter().enumerate().for_each(|(n, room)| text += &source(&format!("room-{n}"), &room.url));
            text + &if guest { source("guest", &rooms[CAMERAS - 1].url) } else { String::new() }
        };
        let plain = config(20_000, false);
        let service = Service::start_by(dir, &plain, |args| Secrets::plant(ahwatch(args)).env("HOOK", SECRET));
        let token = service.token("reader", "operator");
        let whole = std::fs::read_to_string(service.file()).unwrap();
        let other = whole.replace(&plain, &config(15_000, true));
        assert_ne!(other, whole, "the configuration as it stands in the file");
        Self { service, token, endpoint, receiver, rooms, plain: whole, other, readers: Vec::new(), deaf: None }
    }

    fn configure(&self, text: &str) {
        let new = self.service.file().with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.service.file()).unwrap();
        self.service.run.signal("HUP");
    }

    /// A fault.
    pub fn begin(&mut self, kind: Kind, room: usize) {
        match kind {
            Kind::CameraKilled => self.rooms[room].camera.kill(),
            Kind::CameraStalled => self.rooms[room].network.set(proxy::Mode::Stall),
            Kind::CameraCut => self.rooms[room].network.set(proxy::Mode::Cut),
            Kind::Endpoint500 => self.endpoint.set(Mode::status(500)),
            Kind::EndpointHtml => self.endpoint.set(Mode::Html),
            Kind::EndpointSlow => self.endpoint.set(Mode::Delay(Duration::from_secs(8))),
            Kind::OneJudge500 => self.endpoint.set_model("v1", Mode::status(500)),
            Kind::WebhookDown => self.receiver.answers(|_| 503),
            Kind::Reconfigured => self.configure(&self.other),
            Kind::Readers => {
                self.readers.push(self.service.follow("/v1/events?after=0", &self.token));
                let at = self.service.url.trim_start_matches("http://");
                let mut deaf = TcpStream::connect(at).unwrap();
                let token = &self.token;
                write!(deaf, "GET /v1/events?after=0 HTTP/1.1\r\nhost: {at}\r\nauthorization: Bearer {token}\r\n\r\n")
                    .unwrap();
                self.deaf = Some(deaf);
            }
        }
    }

    /// Its end.
    pub fn mend(&mut self, kind: Kind, room: usize) {
        match kind {
            Kind::CameraKilled => self.rooms[room].camera.restart(),
            Kind::CameraStalled | Kind::CameraCut => self.rooms[room].network.set(proxy::Mode::Pass),
            Kind::Endpoint500 | Kind::EndpointHtml | Kind::EndpointSlow | Kind::OneJudge500 => {
                self.endpoint.set(Mode::Ok);
            }
            Kind::WebhookDown => self.receiver.answers(|_| 200),
            Kind::Reconfigured => self.configure(&self.plain),
            Kind::Readers => {
                let read: usize = self.readers.drain(..).map(|reader| reader.told().len()).sum();
                assert!(read > 0, "nothing came to a reader of the event stream");
                self.deaf = None;
            }
        }
    }
}

/// The kinds and rooms of the faults, one each half minute: rounds of all kinds, each in an order of its own.
pub fn plan(faults: usize) -> Vec<(Kind, usize, Duration)> {
    let mut random = Pcg64::seed_from_u64(SEED);
    let mut plan = Vec::new();
    while plan.len() < faults {
        let mut round = KINDS;
        round.shuffle(&mut random);
        for kind in round {
            let (room, lasts) = (random.random_range(STEADY..CAMERAS), random.random_range(5..=18));
            plan.push((kind, room, Duration::from_secs(lasts)));
        }
    }
    plan.truncate(faults);
    plan
}

#[test]
fn every_round_has_every_kind_of_fault() {
    let plan = plan(120);
    for round in plan.chunks(KINDS.len()) {
        let kinds: BTreeSet<Kind> = round.iter().map(|(kind, ..)| *kind).collect();
        assert_eq!(kinds.len(), KINDS.len());
    }
    assert!(
        plan.iter().all(|(_, room, lasts)| (STEADY..CAMERAS).contains(room) && *lasts + Duration::from_secs(5) < EVERY)
    );
}
