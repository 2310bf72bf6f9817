//! From the configuration to what a source runs with.

#![allow(clippy::disallowed_methods, reason = "part of run.rs")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::task::JoinSet;

use super::guarding::Care;
use super::{RunError, SessionOptions};
use crate::config::{Config, GateRequire, Input, Judging, PanelConfig, SourceConfig};
use crate::gate::{Measurer, Models};
use crate::judge::cues::Weights;
use crate::judge::panel::Panel;
use crate::record::Records;
use crate::source::{Description, Location, Microphone, SourceError, Spec};
use crate::stage::Stages;
use crate::time::MediaTime;
use crate::watch::measure::{Desk, desk, work};
use crate::watch::{Judges, Plan, session_settings};
use crate::window::Cutting;

/// A configured source as it is run; its pipeline is built once on the way, so that a mistake is found now.
pub(super) fn spec(source: &SourceConfig, config: &Config) -> Result<Spec, SourceError> {
    let location = match &source.input {
        Input::File(path) => Location::File(path.clone()),
        Input::Webcam(device, microphone) => {
            Location::Webcam { device: device.clone(), microphone: microphone.clone() }
        }
        Input::Mic(device) => Location::Mic(device.clone()),
        Input::Test(microphone) => Location::Test { microphone: microphone.clone() },
        Input::Pushed(feed) => Location::Pushed(feed.clone()),
        Input::Rtsp(url) => {
            let url = url::Url::parse(url.expose()).map_err(|e| SourceError::Media {
                location: source.input.shown(),
                reason: format!("is no address: {e}"),
            })?;
            Location::Rtsp(url)
        }
    };
    let mut description = match &source.pipeline {
        Some(path) => Description::from_file(path)?,
        None => crate::source::description(&location, config.assets.as_deref())?,
    };
    if *location.microphone() == Microphone::Off {
        description.audio = None;
    }
    description.check()?;
    Ok(Spec {
        name: source.name.to_string(),
        location,
        description,
        realtime: source.realtime,
        once: source.once,
        cameras: source.cameras.clone(),
        delay: Duration::ZERO,
        isolated: source.isolated,
    })
}

/// The configuration of a source that was added by command.
pub(super) fn ordered(config: &Config, options: &SessionOptions) -> Config {
    let mut config = config.clone();
    if options.cues {
        config.judging = Judging::Cues { chosen: true };
    }
    if let Some(rule) = options.rule {
        config.session.rule = rule;
    }
    config
}

/// How a source is cut.
pub(super) fn cutting(spec: &Spec, config: &Config) -> Cutting {
    cutting_of(spec.is_live(), config)
}

fn cutting_of(live: bool, config: &Config) -> Cutting {
    Cutting {
        window: config.window.window,
        hop: config.window.hop,
        session_gap: MediaTime::from_duration(config.session.session_gap),
        max_session: config.session.max_session.filter(|_| live),
        ..if live { Cutting::LIVE } else { Cutting::RECORDING }
    }
}

/// Sources on one machine start this much apart: servers of many cameras take few new connections a second. So no more than eight
/// start in any second, with jitter and all: what a server refuses is tried again after waits that grow, and comes up last.
const STEP: Duration = Duration::from_millis(140);
/// Of the step, to either side.
const JITTER: f64 = 0.2;

/// Spreads the starts of live sources, by host and with jitter; the first of each starts at once.
pub(super) fn stagger<'a>(specs: impl Iterator<Item = &'a mut Spec>) {
    let mut hosts: BTreeMap<String, u32> = BTreeMap::new();
    for spec in specs {
        let Location::Rtsp(url) = &spec.location else { continue };
        let host = format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or(554));
        let before = hosts.entry(host).or_default();
        if *before > 0 {
            spec.delay = start(*before, rand::rng().random_range(-JITTER..JITTER));
        }
        *before += 1;
    }
}

/// When a source starts before which so many on the same machine do; `jitter` is of the step.
fn start(before: u32, jitter: f64) -> Duration {
    STEP.mul_f64(f64::from(before) + jitter)
}

/// What all sources share. Kept over a new configuration as far as that says the same, so that limits, connections and loaded
/// models go on.
pub(super) struct Shared {
    judging: Judging,
    panel: PanelConfig,
    judges: Judges,
    /// Looks after the panel.
    pub care: Arc<Care>,
    desk: Desk,
    /// Whether there are models that measure.
    measures: bool,
    /// Where clips are kept; the command line says so once.
    pub records: Option<Arc<Records>>,
    stages: Stages,
}

impl Shared {
    pub fn new(config: &Config, stages: Stages) -> Result<Self, RunError> {
        let records = config.record.as_deref().map(Records::open).transpose()?;
        let (judges, care) = judges(config)?;
        let measurers = measurers(config)?;
        let measures = !measurers.is_empty();
        let (desk, jobs) = desk(WAITING_AT_THE_DESK);
        let workers = if measures { measurers.into_iter().map(Some).collect() } else { vec![None] };
        for measurer in workers {
            let jobs = Arc::clone(&jobs);
            std::thread::Builder::new().name("measure".into()).spawn(move || work(&jobs, measurer))?;
        }
        let (judging, panel) = (config.judging.clone(), config.panel.clone());
        Ok(Self { judging, panel, judges, care, desk, measures, records, stages })
    }

    /// The same under another configuration.
    pub fn anew(&self, config: &Config) -> Result<Self, RunError> {
        let needs = matches!(config.judging, Judging::Cues { .. }) || config.gate.require != GateRequire::None;
        if needs && !self.measures {
            // The library may have appeared since.
            return Self::new(config, self.stages.clone());
        }
        let same = config.judging == self.judging && config.panel == self.panel;
        let (judges, care) = if same { (self.judges.clone(), Arc::clone(&self.care)) } else { judges(config)? };
        let (judging, panel) = (config.judging.clone(), config.panel.clone());
        let (desk, records) = (self.desk.clone(), self.records.clone());
        Ok(Self { judging, panel, judges, care, desk, measures: self.measures, records, stages: self.stages.clone() })
    }

    /// The panel, if one judges.
    pub fn panel(&self) -> Option<Arc<Panel>> {
        match &self.judges {
            Judges::Embedded(_) => None,
            Judges::Panel(panel) => Some(Arc::clone(panel)),
        }
    }

    pub fn plan(&self, live: bool, config: &Config) -> Plan {
        Plan {
            cutting: cutting_of(live, config),
            max_pixels: config.window.max_pixels,
            jpeg_quality: config.window.jpeg_quality,
            codec: config.window.clip_codec,
            settings: Arc::new(session_settings(config)),
            judges: self.judges.clone(),
            gate: config.gate,
            desk: self.desk.clone(),
            stages: self.stages.clone(),
            care: Arc::clone(&self.care) as _,
        }
    }
}

/// Windows that may lie at the desk; a source has one there, and waits for a place.
const WAITING_AT_THE_DESK: usize = 16;
/// Cores for each measuring thread. One thread has time for 160 live sources (docs/figures.md); more only serve recordings.
const CORES_A_THREAD: usize = 4;
const MOST_THREADS: usize = 8;

fn judges(config: &Config) -> Result<(Judges, Arc<Care>), RunError> {
    let mut probing = JoinSet::new();
    let judges = match &config.judging {
        Judging::Cues { .. } => Judges::Embedded(Arc::new(Weights::load(config.assets.as_deref())?)),
        Judging::Panel(judges) => {
            let panel = Arc::new(Panel::new(judges)?.allowing_degraded(config.panel.allow_degraded));
            let probed = Arc::clone(&panel);
            probing.spawn(async move { probed.watch().await });
            Judges::Panel(panel)
        }
    };
    Ok((judges, Arc::new(Care::new(probing))))
}

/// Empty: speech and faces are not measured. Where nothing decides by them a missing ONNX Runtime only costs their flags.
fn measurers(config: &Config) -> Result<Vec<Measurer>, RunError> {
    let models = Models::load(config.assets.as_deref())?;
    let cues = matches!(config.judging, Judging::Cues { .. });
    if let Err(error) = crate::gate::load_library() {
        if cues || config.gate.require != GateRequire::None {
            return Err(error.into());
        }
        tracing::warn!("flags: speech and faces are not measured: {error}");
        return Ok(Vec::new());
    }
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // A source has one window at the desk at a time.
    let threads = (cores / CORES_A_THREAD).clamp(1, MOST_THREADS).min(config.sources.len().max(1));
    (0..threads).map(|_| Ok(Measurer::new(&models)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_eight_sources_start_in_any_second_and_sixty_four_have_started_in_ten() {
        for first in 1..56 {
            // The first as late and the ninth as early as they can be.
            let between = start(first + 8, -JITTER).checked_sub(start(first, JITTER)).unwrap();
            assert!(between > Duration::from_secs(1), "{between:?}");
        }
        assert!(start(63, JITTER) < Duration::from_secs(10));
    }
}
