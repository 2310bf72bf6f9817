//! The configuration: [`RawConfig`] is what was typed, [`Config`] is what is meant.
//!
//! Command line over file over default, and nothing else: no endpoint is ever taken from the environment. Everything
//! wrong is reported at once, each problem with its place and its remedy, before anything starts.
//!
//! - `raw`: the tables and keys, read one by one. Paths inside a file are relative to that file.
//! - `defaults`: every default with its unit.
//! - `judge`, `panel`, `source`, `gate`, `server`, `journal`, `sink`: those tables made sense of. `fingerprint`: the file that
//!   `[panel]` may name.
//! - `problem`: what is wrong, and where. `redact`: what never prints.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::time::MediaTime;

pub mod cameras;
pub mod defaults;
mod file_watch;
pub mod fingerprint;
mod gate;
mod journal;
mod judge;
mod panel;
mod problem;
mod raw;
pub mod redact;
#[cfg(test)]
mod reference;
mod server;
mod sink;
mod source;

pub use cameras::Cameras;
pub use file_watch::FileWatch;
pub use gate::{GateConfig, GateRequire, RawGate};
pub use journal::{JournalConfig, RawJournal};
pub use judge::{JudgeConfig, Sampling};
pub use panel::{PanelConfig, RawPanel};
pub use problem::{Problem, Problems};
pub use raw::{ClipCodec, Medium, Profile, RawConfig, RawJudge, RawSession, RawSource, RawWindow, Rule};
pub use server::{Basis, BasisKind, Controller, Purpose, RawController, RawServer, ServerConfig};
pub use sink::{EventClass, RawSink, Receiver, SinkConfig, SinkKind};
pub use source::{Input, Leave, SourceConfig};

use problem::Place;

/// Everything the program does, as meant: defaults filled in, checked, files read.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How windows are cut and encoded.
    pub window: WindowConfig,
    /// How verdicts become labels, episodes and alerts.
    pub session: SessionConfig,
    /// Which windows are put to the panel.
    pub gate: GateConfig,
    /// Where media comes from; of one name each. May be empty: who needs one says so.
    pub sources: Vec<SourceConfig>,
    /// Who judges.
    pub judging: Judging,
    /// What is asked of a panel before it is trusted.
    pub panel: PanelConfig,
    /// How `serve` is reached.
    pub server: ServerConfig,
    /// Directory laid out as the repository (`models/`, `pipelines/`) whose files replace the embedded ones.
    pub assets: Option<PathBuf>,
    /// Where clips are kept for review. On the command line only: it is not to happen by an old line of a file.
    pub record: Option<PathBuf>,
    /// Where events are kept, and how long.
    pub journal: JournalConfig,
    /// Where events are sent; of one name each.
    pub sinks: Vec<SinkConfig>,
}

/// `[window]` as meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowConfig {
    /// Length of a window.
    pub window: MediaTime,
    /// From one window's start to the next: above zero, at most `window`.
    pub hop: MediaTime,
    /// How pictures travel.
    pub clip_codec: ClipCodec,
    /// Most pixels of a picture, width times height.
    pub max_pixels: u32,
    /// 1 to 100.
    pub jpeg_quality: u8,
}

/// `[session]` as meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SessionConfig {
    /// Which rule is the session's label.
    pub rule: Rule,
    /// Whether a judge whose session max is Present is asked no more. Never with `MaxOfVote`.
    pub early_stop: bool,
    /// Share of the session (without tail) that must be judged before Absent, above 0, at most 1.
    pub min_coverage: f64,
    /// Present windows in a row that open an episode, at least 1.
    pub open_windows: u32,
    /// Absent windows in a row that close one, at least 1.
    pub clear_windows: u32,
    /// Session time without a further episode alert after a sent one.
    pub cooldown: MediaTime,
    /// Age at which a live session ends; None: it does not for its age.
    pub max_session: Option<MediaTime>,
    /// A longer gap, measured by arrival, ends a live session.
    pub session_gap: Duration,
}

/// Who judges.
#[derive(Clone, Debug, PartialEq)]
pub enum Judging {
    /// The embedded hesitation-cue index.
    Cues {
        /// Asked for by name; false: nothing else was configured, which is worth a line.
        chosen: bool,
    },
    /// A panel of endpoints: an odd number of judges of different names.
    Panel(Vec<JudgeConfig>),
}

/// What the command line says; None or empty says nothing.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Overrides {
    /// Paths, URLs and devices. Any of them replace the file's `[[source]]` tables.
    pub sources: Vec<String>,
    /// `--pipeline`, for the sources of the command line.
    pub pipeline: Option<PathBuf>,
    /// `--realtime`: every file is played at its own speed.
    pub realtime: bool,
    /// `--once`: every URL ends at its first end of stream.
    pub once: bool,
    /// `--audio`: the microphone of every webcam.
    pub audio: Option<String>,
    /// `--no-audio`: no webcam has a microphone.
    pub no_audio: bool,
    /// `--window-secs`.
    pub window_secs: Option<f64>,
    /// `--hop-secs`.
    pub hop_secs: Option<f64>,
    /// `--clip-codec`.
    pub clip_codec: Option<ClipCodec>,
    /// `--rule`.
    pub rule: Option<Rule>,
    /// `--early-stop`.
    pub early_stop: Option<bool>,
    /// `--gate`.
    pub gate: Option<GateRequire>,
    /// `--judge cues`: the embedded index, whatever `[[judge]]` tables the file has.
    pub cues: bool,
    /// `--assets`.
    pub assets: Option<PathBuf>,
    /// `--no-canary`.
    pub no_canary: bool,
    /// `--allow-degraded`.
    pub allow_degraded: bool,
    /// `--fingerprint`.
    pub fingerprint: Option<PathBuf>,
    /// `--record`.
    pub record: Option<PathBuf>,
    /// `--listen`, of `serve`.
    pub listen: Option<String>,
}

/// Looks up an environment variable; for `api_key_env` and its kin only.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Config {
    /// Makes sense of what was typed. Reads prompt files and looks whether sources' files exist; opens no connection.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn build(raw: RawConfig, overrides: Overrides, env: Env<'_>) -> Result<Self, Problems> {
        let RawConfig {
            window,
            session,
            gate,
            panel,
            server,
            controller,
            journal,
            sink,
            source,
            judge,
            serves: _,
            origin,
        } = raw;
        let mut problems = origin.problems;
        let file = origin.file.as_deref().map_or_else(|| "defaults".to_owned(), |file| file.display().to_string());

        let window = build_window(&window, &overrides, &file, &mut problems);
        let session = build_session(&session, &overrides, &file, window.window, &mut problems);
        let gate = gate::build(&gate, &overrides, &file, &mut problems);
        let config_dir = dir_of(origin.file.as_deref());
        let sources = source::build(&source, &overrides, &file, &config_dir, &mut problems);
        let journal = journal::build(&journal, &file, &config_dir, &mut problems);
        let sinks = sink::build(&sink, &file, &config_dir, env, &mut problems);

        if let Some(assets) = overrides.assets.as_ref().filter(|dir| !dir.is_dir()) {
            problems.push(
                &Place::command_line(),
                "--assets",
                format!("{} is no directory", assets.display()),
                "name one, or leave it out",
            );
        }
        if overrides.cues
            && let Some(panel) = &origin.panel
        {
            let what = format!("excludes the panel {}", panel.display());
            problems.push(&Place::command_line(), "--judge cues", what, "give one of --judge and --panel");
        }
        let judging = if overrides.cues {
            Judging::Cues { chosen: true }
        } else if judge.is_empty() {
            Judging::Cues { chosen: false }
        } else {
            let file = origin.panel.as_deref().or(origin.file.as_deref());
            let files = judge::Files {
                name: file.map_or_else(|| "defaults".to_owned(), |file| file.display().to_string()),
                dir: dir_of(file),
                assets: overrides.assets.clone(),
            };
            Judging::Panel(judge::build_panel(&judge, &files, window.max_pixels, env, &mut problems))
        };
        let panel = panel::build(&panel, &overrides, &file, &config_dir, &judging, &mut problems);
        let server = server::build(&server, &controller, &overrides, &file, &config_dir, &mut problems);
        if problems.is_empty() {
            let Overrides { assets, record, .. } = overrides;
            Ok(Self { window, session, gate, sources, judging, panel, server, assets, record, journal, sinks })
        } else {
            Err(problems)
        }
    }
}

/// JSON Schema of the configuration file.
#[must_use]
pub fn config_schema() -> serde_json::Value {
    schemars::schema_for!(RawConfig).to_value()
}

/// Whether this may be the name of an environment variable.
fn is_variable(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Whether an address is this machine's own. The parts of unknown schemes are all names, so an address may stand as one.
fn is_here(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => {
            name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn dir_of(file: Option<&Path>) -> PathBuf {
    file.and_then(Path::parent).map(Path::to_owned).unwrap_or_default()
}

/// A value with where it came from: command line over file over default.
fn pick<T>(option: Option<T>, typed: Option<T>, default: T, place: &Place, key: &'static str) -> (T, Place, String) {
    match (option, typed) {
        (Some(value), _) => (value, Place::command_line(), format!("--{}", key.replace('_', "-"))),
        (None, Some(value)) => (value, place.clone(), key.to_owned()),
        (None, None) => (default, place.clone(), key.to_owned()),
    }
}

/// A quarter of a picture's time at 25 a second.
const LEAST_HOP_SECS: f64 = 0.01;

fn build_window(raw: &RawWindow, overrides: &Overrides, file: &str, problems: &mut Problems) -> WindowConfig {
    let place = Place::new(file, "[window]");
    let (window_secs, at, key) =
        pick(overrides.window_secs, raw.window_secs, defaults::WINDOW_SECS, &place, "window_secs");
    let window_in_range = (1.0..=30.0).contains(&window_secs);
    if !window_in_range {
        problems.push(
            &at,
            &key,
            format!("{window_secs} is out of range"),
            "give 1 to 30 seconds; the checkpoints were trained on 5",
        );
    }
    let hop_default = defaults::HOP_SECS.min(window_secs);
    let (hop_secs, at, key) = pick(overrides.hop_secs, raw.hop_secs, hop_default, &place, "hop_secs");
    let hop = MediaTime::from_secs_f64(hop_secs);
    // Windows begin every hop: by the nanosecond they would fill the memory at once.
    // One mistake is told once: the default hop follows a window that is out of range.
    let typed = overrides.hop_secs.or(raw.hop_secs).is_some();
    if (window_in_range || typed) && !(LEAST_HOP_SECS..=window_secs).contains(&hop_secs) {
        let what = format!("{hop_secs} leaves time between windows that nobody judges, or is no step");
        let remedy = format!("give at least {LEAST_HOP_SECS} and at most window_secs ({window_secs})");
        problems.push(&at, &key, what, remedy);
    }
    let max_pixels = raw.max_pixels.unwrap_or(defaults::MAX_PIXELS);
    check_pixels(max_pixels, &place, problems);
    let jpeg_quality = raw.jpeg_quality.unwrap_or(defaults::JPEG_QUALITY);
    if !(1..=100).contains(&jpeg_quality) {
        problems.push(&place, "jpeg_quality", format!("{jpeg_quality} is out of range"), "give 1 to 100");
    }
    let clip_codec = overrides.clip_codec.or(raw.clip_codec).unwrap_or(ClipCodec::Jpeg);
    WindowConfig { window: MediaTime::from_secs_f64(window_secs), hop, clip_codec, max_pixels, jpeg_quality }
}

fn check_pixels(max_pixels: u32, place: &Place, problems: &mut Problems) {
    if !(16_384..=8_294_400).contains(&max_pixels) {
        let remedy =
            format!("give 16384 (128x128) to 8294400 (3840x2160); training kept up to {}", defaults::MAX_PIXELS);
        problems.push(place, "max_pixels", format!("{max_pixels} is out of range"), remedy);
    }
}

fn build_session(
    raw: &RawSession,
    overrides: &Overrides,
    file: &str,
    window: MediaTime,
    problems: &mut Problems,
) -> SessionConfig {
    let place = Place::new(file, "[session]");
    let rule = overrides.rule.or(raw.rule).unwrap_or(Rule::VoteOfMax);
    let (early_stop, at, key) = pick(overrides.early_stop, raw.early_stop, false, &place, "early_stop");
    if early_stop && rule == Rule::MaxOfVote {
        let what = "needs the rule vote_of_max: max_of_vote needs every judge's vote on every window";
        problems.push(&at, &key, what, "drop early_stop, or the rule max_of_vote");
    }
    let min_coverage = raw.min_coverage.unwrap_or(defaults::MIN_COVERAGE);
    if !(min_coverage > 0.0 && min_coverage <= 1.0) {
        problems.push(
            &place,
            "min_coverage",
            format!("{min_coverage} is out of range"),
            "give more than 0 and at most 1",
        );
    }
    let mut windows = |key, typed: Option<u32>, default| {
        let windows = typed.unwrap_or(default);
        if !(1..=1_000_000).contains(&windows) {
            problems.push(&place, key, format!("{windows} is out of range"), "give 1 to 1000000 windows");
        }
        windows
    };
    let open_windows = windows("open_windows", raw.open_windows, defaults::OPEN_WINDOWS);
    let clear_windows = windows("clear_windows", raw.clear_windows, defaults::CLEAR_WINDOWS);
    // A century, so that no sum of times ever saturates.
    let mut secs = |key, value: f64, least: f64| {
        if !(least..=3.2e9).contains(&value) {
            problems.push(&place, key, format!("{value} is out of range"), format!("give {least} seconds or more"));
            return MediaTime::ZERO;
        }
        MediaTime::from_secs_f64(value)
    };
    let cooldown = secs("cooldown_secs", raw.cooldown_secs.unwrap_or(defaults::COOLDOWN_SECS), 0.0);
    let max_session = raw.max_session_secs.map(|value| secs("max_session_secs", value, window.as_secs_f64()));
    // A gap is over 1 s by definition.
    let session_gap =
        secs("session_gap_secs", raw.session_gap_secs.unwrap_or(defaults::SESSION_GAP_SECS), 1.0).as_duration();
    SessionConfig { rule, early_stop, min_coverage, open_windows, clear_windows, cooldown, max_session, session_gap }
}

#[cfg(test)]
mod tests;
