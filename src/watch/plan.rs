//! What a session begins with, and keeps.

use std::any::Any;
use std::sync::Arc;

use crate::config::{ClipCodec, Config, GateConfig, GateRequire, Judging};
use crate::judge::cues::{CueIndex, CueJudge, Weights};
use crate::judge::panel::Panel;
use crate::session::{SessionKind, SessionSettings};
use crate::stage::Stages;
use crate::window::Cutting;

use super::measure::{Desk, Station};

/// All that a session of one source needs to know. A configuration that is read again makes a new one, which the source's
/// next session begins with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How windows are cut.
    pub cutting: Cutting,
    /// Most pixels of a held picture, width times height.
    pub max_pixels: u32,
    /// 1 to 100.
    pub jpeg_quality: u8,
    /// How pictures travel in a clip.
    pub codec: ClipCodec,
    /// Rules, thresholds, names of the judges.
    pub settings: Arc<SessionSettings>,
    /// Who judges.
    pub judges: Judges,
    /// Which windows are judged.
    pub gate: GateConfig,
    /// Where windows are measured.
    pub desk: Desk,
    /// Who is told how long it takes.
    pub stages: Stages,
    /// Whatever looks after the judges, as long as a session may ask them.
    pub care: Arc<dyn Any + Send + Sync>,
}

/// Who judges a source's windows.
#[derive(Clone, Debug)]
pub enum Judges {
    /// The embedded cue index with these weights, which reads windows as they are measured.
    Embedded(Arc<Weights>),
    /// A panel of endpoints.
    Panel(Arc<Panel>),
}

impl Plan {
    /// Whether a window has to be measured before it is known what becomes of it. Otherwise its flags come in their own time,
    /// beside the panel.
    #[must_use]
    pub fn measures_first(&self) -> bool {
        matches!(self.judges, Judges::Embedded(_)) || self.gate.require != GateRequire::None
    }

    /// What a session begins with now: what is known of the judges may have changed.
    pub(super) fn settings_now(&self) -> Arc<SessionSettings> {
        match &self.judges {
            Judges::Embedded(_) => Arc::clone(&self.settings),
            Judges::Panel(panel) => Arc::new(self.settings.with_proofs(panel.proofs())),
        }
    }

    pub(super) fn station(&self, source: &str) -> Station {
        let cues = match &self.judges {
            Judges::Embedded(weights) => Some(CueJudge::with(CueIndex::new((**weights).clone()))),
            Judges::Panel(_) => None,
        };
        Station::new(source, self.gate, cues, self.stages.clone())
    }
}

/// The settings that every session of this configuration begins with.
#[must_use]
pub fn session_settings(config: &Config) -> SessionSettings {
    let (judges, thresholds, kind) = match &config.judging {
        Judging::Cues { .. } => (vec![crate::judge::cues::JUDGE.into()], Vec::new(), SessionKind::Heuristic),
        Judging::Panel(judges) => (
            judges.iter().map(|j| Arc::clone(&j.name)).collect(),
            judges.iter().map(|j| j.threshold).collect(),
            SessionKind::Panel,
        ),
    };
    SessionSettings {
        judges,
        thresholds,
        proofs: Vec::new(),
        rule: config.session.rule.into(),
        early_stop: config.session.early_stop,
        min_coverage: config.session.min_coverage,
        open_windows: config.session.open_windows,
        clear_windows: config.session.clear_windows,
        cooldown: config.session.cooldown,
        kind,
    }
}
