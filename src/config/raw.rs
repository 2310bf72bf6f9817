//! The configuration as typed: TOML tables into optional values, each key read on its own so that every mistake is told.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::defaults;
use super::gate::RawGate;
use super::journal::RawJournal;
use super::panel::RawPanel;
use super::problem::{Place, Problems};
use super::redact::Secret;
use super::server::{Basis, Purpose, RawController, RawServer};
use super::sink::RawSink;
use super::source::Isolation;

/// A configuration file: `[window]`, `[session]`, `[gate]`, `[panel]`, `[server]`, `[controller]`, `[journal]`, `[[sink]]`,
/// `[[source]]` and `[[judge]]`, all optional.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    /// How windows are cut and encoded.
    #[serde(default)]
    pub window: RawWindow,
    /// How verdicts become a session's label, episodes and alerts.
    #[serde(default)]
    pub session: RawSession,
    /// Which windows are put to the panel at all.
    #[serde(default)]
    pub gate: RawGate,
    /// What is asked of the judges before they are trusted.
    #[serde(default)]
    pub panel: RawPanel,
    /// How `serve` is reached.
    #[serde(default)]
    pub server: RawServer,
    /// Who is answerable for what `serve` does.
    #[serde(default)]
    pub controller: RawController,
    /// What `ahwatch serve` keeps.
    #[serde(default)]
    pub journal: RawJournal,
    /// Where `ahwatch serve` sends events.
    #[serde(default)]
    pub sink: Vec<RawSink>,
    /// Where media comes from.
    #[serde(default)]
    pub source: Vec<RawSource>,
    /// The panel: an odd number of judges. None: the embedded hesitation-cue index.
    #[serde(default)]
    pub judge: Vec<RawJudge>,
    /// `[server]` or `[controller]` was typed: the file is one for `ahwatch serve`.
    #[serde(skip)]
    pub serves: bool,
    #[serde(skip)]
    pub(super) origin: Origin,
}

/// Where a [`RawConfig`] was read, and what could not be.
#[derive(Clone, Debug, Default)]
pub(super) struct Origin {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// The panel file.
    pub panel: Option<PathBuf>,
    /// Whether any `[[judge]]` was typed, be it unreadable.
    pub has_judges: bool,
    /// What could not be read.
    pub problems: Problems,
}

/// `[window]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawWindow {
    /// Length of a window, seconds, 1 to 30. The checkpoints were trained on 5.
    #[schemars(extend("default" = defaults::WINDOW_SECS))]
    pub window_secs: Option<f64>,
    /// From one window's start to the next, seconds: above 0, at most `window_secs`. Smaller means rolling overlap.
    #[schemars(extend("default" = defaults::HOP_SECS))]
    pub hop_secs: Option<f64>,
    /// How pictures travel inside the clip's MP4.
    #[schemars(extend("default" = "jpeg"))]
    pub clip_codec: Option<ClipCodec>,
    /// Most pixels of a picture in a clip, width times height. A judge may take fewer.
    #[schemars(extend("default" = defaults::MAX_PIXELS))]
    pub max_pixels: Option<u32>,
    /// Quality of the pictures kept as JPEG, 1 to 100.
    #[schemars(extend("default" = defaults::JPEG_QUALITY))]
    pub jpeg_quality: Option<u8>,
}

/// How pictures travel inside the clip's MP4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClipCodec {
    /// Motion JPEG: nothing to encode twice.
    Jpeg,
    /// H.264: fewer bytes, more CPU.
    H264,
}

/// `[session]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSession {
    /// Which of the two rules is the session's label. Both are always computed.
    #[schemars(extend("default" = "vote_of_max"))]
    pub rule: Option<Rule>,
    /// A judge whose own session max is already Present is not asked again. Only with `vote_of_max`.
    #[schemars(extend("default" = false))]
    pub early_stop: Option<bool>,
    /// Share of a session that must be judged before it can be called Absent, above 0, at most 1.
    #[schemars(extend("default" = defaults::MIN_COVERAGE))]
    pub min_coverage: Option<f64>,
    /// Present windows in a row that open an episode, at least 1.
    #[schemars(extend("default" = defaults::OPEN_WINDOWS))]
    pub open_windows: Option<u32>,
    /// Absent windows in a row that close an episode, at least 1.
    #[schemars(extend("default" = defaults::CLEAR_WINDOWS))]
    pub clear_windows: Option<u32>,
    /// No further episode alert within this time of the last sent one, seconds of session time.
    #[schemars(extend("default" = defaults::COOLDOWN_SECS))]
    pub cooldown_secs: Option<f64>,
    /// A live session ends when it is this old, seconds, at least `window_secs`. Absent: never for its age.
    pub max_session_secs: Option<f64>,
    /// A live session ends in a gap longer than this, seconds, at least 1.
    #[schemars(extend("default" = defaults::SESSION_GAP_SECS))]
    pub session_gap_secs: Option<f64>,
}

/// How votes over a session become its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The majority of the judges' session maxima (the paper's Eq. 2, then Eq. 3).
    VoteOfMax,
    /// The maximum over the windows' majority labels.
    MaxOfVote,
}

impl From<Rule> for crate::session::Rule {
    fn from(rule: Rule) -> Self {
        match rule {
            Rule::VoteOfMax => Self::VoteOfMax,
            Rule::MaxOfVote => Self::MaxOfVote,
        }
    }
}

/// `[[source]]`: one of `path` and `url`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSource {
    /// What events call it: letters, digits, `.`, `_`, `-`. Default: made from the file's or host's name.
    pub name: Option<String>,
    /// A media file, relative to this configuration file.
    pub path: Option<PathBuf>,
    /// `rtsp://` or `rtsps://` (may hold user and password, which are never shown), `webcam:[DEVICE]`, `mic:[DEVICE]` or `test:`.
    pub url: Option<Secret>,
    /// A `webcam:` or `test:` only: the microphone, named as after `mic:`. Default: the system's; a test's own sound.
    pub audio: Option<String>,
    /// A `webcam:` or `test:` only: pictures without sound.
    #[schemars(extend("default" = false))]
    pub no_audio: Option<bool>,
    /// A `GStreamer` description of one's own, a file relative to this configuration file.
    pub pipeline: Option<PathBuf>,
    /// A file only: play it at its own speed instead of as fast as the panel allows.
    #[schemars(extend("default" = false))]
    pub realtime: Option<bool>,
    /// A URL only: end at the first end of the stream instead of reconnecting.
    #[schemars(extend("default" = false))]
    pub once: Option<bool>,
    /// A file or `rtsp://` only: where it is decoded. Default: "none", which is in this program.
    #[schemars(extend("default" = "none"))]
    pub isolation: Option<Isolation>,
    /// What it is watched for. `serve` watches nothing without.
    pub purpose: Option<Purpose>,
    /// The medical or safety reason that watching at work or in education needs.
    pub basis: Option<Basis>,
    /// Where the consent of the people in it is written down. `serve` watches nothing without.
    pub consent: Option<String>,
}

/// `[[judge]]`: one checkpoint at one OpenAI-compatible endpoint.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawJudge {
    /// What events call it: letters, digits, `.`, `_`, `-`. Required, unique in the panel.
    pub name: Option<String>,
    /// As in `OpenAI` clients, ends in `/v1`. This or `base_urls` is required. Media goes here and nowhere else.
    pub base_url: Option<Secret>,
    /// Instead of `base_url`: several servers of the same model. The least loaded one that answers is asked.
    pub base_urls: Option<Vec<Secret>>,
    /// The model or adapter name the endpoint serves. Required.
    pub model: Option<String>,
    /// Name of the environment variable that holds the endpoint's key. Absent: no key is sent.
    pub api_key_env: Option<String>,
    /// A shipped prompt's name, or a text file relative to this file, with `<video>` and `<audio>` tags.
    #[schemars(extend("default" = defaults::PROMPT))]
    pub prompt: Option<String>,
    /// System message.
    #[schemars(extend("default" = defaults::SYSTEM))]
    pub system: Option<String>,
    /// What it takes. A window without it is this judge's abstention.
    #[schemars(extend("default" = ["video", "audio"]))]
    pub accepts: Option<Vec<Medium>>,
    /// Most pixels of a picture for this judge; at most `[window]` `max_pixels`, its default.
    pub max_pixels: Option<u32>,
    /// Seconds per video grid its checkpoint was trained with, 1.0 or 2.0; the server must be started to match.
    #[schemars(extend("default" = defaults::TIME_SCALE))]
    pub time_scale: Option<f64>,
    /// From a live window's end to the giving up, milliseconds, 100 to 600000.
    #[schemars(extend("default" = defaults::DEADLINE_MS))]
    pub deadline_ms: Option<u64>,
    /// Requests under way at each `base_url`, over all judges there (the smallest counts), 1 to 1024.
    #[schemars(extend("default" = defaults::MAX_IN_FLIGHT))]
    pub max_in_flight: Option<usize>,
    /// Sampling: `greedy` is temperature 0, `paper` is temperature 0.3 with top-p 0.95.
    #[schemars(extend("default" = "greedy"))]
    pub profile: Option<Profile>,
    /// Instead of the profile's, 0 to 2.
    pub temperature: Option<f64>,
    /// Instead of the profile's, above 0, at most 1.
    pub top_p: Option<f64>,
    /// Sampling seed; absent: none is sent.
    pub seed: Option<i64>,
    /// Longest answer, tokens, 8 to 4096.
    #[schemars(extend("default" = defaults::MAX_TOKENS))]
    pub max_tokens: Option<u32>,
    /// Allows plain http to a host that is not this machine. Media then travels unencrypted.
    #[schemars(extend("default" = false))]
    pub allow_http: Option<bool>,
    /// Ask for log-probabilities and read P(Yes) from them.
    #[schemars(extend("default" = false))]
    pub score: Option<bool>,
    /// Let the server constrain the answer by a regular expression (vLLM).
    #[schemars(extend("default" = false))]
    pub constrain: Option<bool>,
    /// Present from this P(Yes) on, above 0 and below 1; needs `score`. Absent: the text decides.
    pub threshold: Option<f64>,
}

/// What a judge takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Medium {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// A named sampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Temperature 0.
    Greedy,
    /// Temperature 0.3, top-p 0.95: the published evaluation.
    Paper,
}

impl RawConfig {
    /// Reads a configuration file's text; `file` is its path, for messages and for the paths inside it.
    ///
    /// What cannot be read is kept, and told by [`Config::build`](super::Config::build) with everything else.
    #[must_use]
    pub fn parse(text: &str, file: &Path) -> Self {
        let mut raw = Self::default();
        let name = file.display().to_string();
        let mut problems = Problems::default();
        for (key, value) in parse_toml(text, &name, &mut problems) {
            let place = Place::new(&name, format!("[{key}]"));
            raw.serves |= matches!(key.as_str(), "server" | "controller");
            match (key.as_str(), value) {
                ("window", Value::Table(table)) => raw.window = read_table(table, &place, &mut problems),
                ("session", Value::Table(table)) => raw.session = read_table(table, &place, &mut problems),
                ("gate", Value::Table(table)) => raw.gate = read_table(table, &place, &mut problems),
                ("panel", Value::Table(table)) => raw.panel = read_table(table, &place, &mut problems),
                ("server", Value::Table(table)) => raw.server = read_table(table, &place, &mut problems),
                ("controller", Value::Table(table)) => raw.controller = read_table(table, &place, &mut problems),
                ("journal", Value::Table(table)) => raw.journal = read_table(table, &place, &mut problems),
                ("sink", value) => raw.sink = read_array("sink", value, &name, &mut problems),
                ("source", value) => raw.source = read_array("source", value, &name, &mut problems),
                ("judge", value) => {
                    raw.origin.has_judges = true;
                    raw.judge = read_array("judge", value, &name, &mut problems);
                }
                ("window" | "session" | "gate" | "panel" | "server" | "controller" | "journal", _) => {
                    problems.push(&place, "", "is not a table", format!("write it as [{key}]"));
                }
                _ => problems.push(
                    &Place::new(&name, ""),
                    &key,
                    "unknown key",
                    "known are [window], [session], [gate], [panel], [server], [controller], [journal], [[sink]], [[source]] and [[judge]]",
                ),
            }
        }
        raw.origin.file = Some(file.to_owned());
        raw.origin.problems = problems;
        raw
    }

    /// Adds the panel from a file of `[[judge]]` tables and nothing else.
    #[must_use]
    pub fn with_panel(mut self, text: &str, file: &Path) -> Self {
        let name = file.display().to_string();
        let problems = &mut self.origin.problems;
        if self.origin.has_judges {
            let config = self.origin.file.as_ref().map_or_else(String::new, |file| file.display().to_string());
            problems.push(
                &Place::new(&config, ""),
                "judge",
                format!("there are [[judge]] tables here and a panel in {name}"),
                "keep one of the two",
            );
        }
        let before = problems.0.len();
        let mut judges = Vec::new();
        for (key, value) in parse_toml(text, &name, problems) {
            if key == "judge" {
                judges = read_array("judge", value, &name, problems);
            } else {
                problems.push(&Place::new(&name, ""), &key, "unknown key", "a panel file holds [[judge]] tables only");
            }
        }
        if judges.is_empty() && problems.0.len() == before {
            problems.push(
                &Place::new(&name, ""),
                "",
                "holds no [[judge]]",
                "write one table for each judge, an odd number of them",
            );
        }
        self.judge = judges;
        self.origin.has_judges = true;
        self.origin.panel = Some(file.to_owned());
        self
    }
}

fn parse_toml(text: &str, file: &str, problems: &mut Problems) -> Table {
    text.parse::<Table>().unwrap_or_else(|error| {
        // Not the error's own display: it quotes the line, which may hold a password.
        let at = error.span().map_or(0, |span| span.start).min(text.len());
        let before = text.get(..at).unwrap_or("");
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        let what = error.message().trim().replace('\n', ", ");
        problems.push(
            &Place::new(file, format!("line {line}, column {column}")),
            "",
            what,
            "this is not TOML (https://toml.io)",
        );
        Table::new()
    })
}

/// Reads each key on its own, so that one mistake does not hide the next.
fn read_table<T: DeserializeOwned + Default>(table: Table, place: &Place, problems: &mut Problems) -> T {
    let mut good = Table::new();
    for (key, value) in table {
        let one = Table::from_iter([(key.clone(), value.clone())]);
        match T::deserialize(Value::Table(one)) {
            Ok(_) => drop(good.insert(key, value)),
            Err(error) => {
                let (what, remedy) = in_plain_words(error.message());
                problems.push(place, &key, what, remedy);
            }
        }
    }
    T::deserialize(Value::Table(good)).unwrap_or_default()
}

/// Serde's message without Rust's names of types, and without a mistyped value, which may be a key.
fn in_plain_words(message: &str) -> (String, String) {
    let message = message.trim().replace('\n', ", ");
    let Some((what, expected)) = message.split_once(", expected ") else { return (message, String::new()) };
    let what = if what.starts_with("invalid type: string") { "is a string" } else { what };
    let expected = match expected {
        "u8" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i64" => "a whole number",
        "f64" => "a number",
        other => other,
    };
    (what.to_owned(), format!("expected {expected}"))
}

fn read_array<T: DeserializeOwned + Default>(key: &str, value: Value, file: &str, problems: &mut Problems) -> Vec<T> {
    let Value::Array(tables) = value else {
        problems.push(&Place::new(file, ""), key, "is not a list of tables", format!("write each as [[{key}]]"));
        return Vec::new();
    };
    let mut read = Vec::new();
    for (i, value) in tables.into_iter().enumerate() {
        let name = value.get("name").and_then(Value::as_str).map(str::to_owned);
        let place = Place::new(file, table_name(key, i, name.as_deref()));
        match value {
            Value::Table(table) => read.push(read_table(table, &place, problems)),
            _ => problems.push(&place, "", "is not a table", format!("write it as [[{key}]]")),
        }
    }
    read
}

/// `judge[2] ("v2")`: counted from 1.
pub(super) fn table_name(key: &str, index: usize, name: Option<&str>) -> String {
    name.map_or_else(|| format!("{key}[{}]", index + 1), |name| format!("{key}[{}] (\"{name}\")", index + 1))
}
