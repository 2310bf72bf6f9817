//! `ahwatch watch`.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::sync::{mpsc, oneshot};

use super::Exit;
use crate::alert::stdout::{Style, json_line, readable};
use crate::alert::{Event, EventKind};
use crate::config::redact::redact_url;
use crate::config::{ClipCodec, Config, GateRequire, Input, Judging, Overrides, Rule, SourceConfig};
use crate::judge::Answer;
use crate::record::Records;
use crate::run::{Outcome, RunError, terminal};
use crate::screen::{Expected, State};

/// After a stop, the output may take so long to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What to watch, and who judges.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub struct Options {
    /// Recordings, cameras and microphones: paths, `rtsp://` and `rtsps://` addresses, `webcam:[DEVICE]`, `mic:[DEVICE]`,
    /// `test:` (a live picture and sound that need no device).
    #[arg(value_name = "SOURCE")]
    sources: Vec<String>,
    /// A configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file of `[[judge]]` tables: the endpoints that judge.
    #[arg(long, value_name = "FILE")]
    panel: Option<PathBuf>,
    /// Judge with what is built in: an index of hesitation cues, which is no measure of A/H.
    #[arg(long, value_enum, conflicts_with = "panel")]
    judge: Option<Embedded>,
    /// Print one JSON object a line, also on a terminal.
    #[arg(long)]
    json: bool,
    /// Print lines for people, wherever they go; on a terminal instead of a live screen.
    #[arg(long, conflicts_with = "json")]
    plain: bool,
    /// Print the cameras and microphones of this machine, by the names that open them, and end.
    #[arg(long)]
    list_devices: bool,
    /// The microphone of a webcam, named as after `mic:` [default: the system's].
    #[arg(long, value_name = "DEVICE", conflicts_with = "no_audio")]
    audio: Option<String>,
    /// A webcam's pictures without any sound.
    #[arg(long)]
    no_audio: bool,
    /// Play recordings at their own pace.
    #[arg(long)]
    realtime: bool,
    /// End at a camera's first end of stream instead of reconnecting.
    #[arg(long)]
    once: bool,
    /// A pipeline description of your own (see pipelines/ for the form).
    #[arg(long, value_name = "FILE")]
    pipeline: Option<PathBuf>,
    /// Which rule is the session's label; both are always computed.
    #[arg(long, value_enum)]
    rule: Option<RuleName>,
    /// A judge whose own session max is Present already is not asked again.
    #[arg(long)]
    early_stop: bool,
    /// What a window must show to be judged; others are skipped, which is no "Absent" [default: none].
    #[arg(long, value_enum, value_name = "REQUIRE")]
    gate: Option<GateName>,
    /// Judge nothing: print what each --gate would skip of these recordings.
    #[arg(long, conflicts_with = "realtime")]
    gate_report: bool,
    /// Length of a window, seconds [default: 5].
    #[arg(long, value_name = "SECS")]
    window_secs: Option<f64>,
    /// From one window's start to the next, seconds; less than the length overlaps [default: 5, or the window's length where that is less]
    #[arg(long, value_name = "SECS")]
    hop_secs: Option<f64>,
    /// How pictures travel in a clip [default: jpeg].
    #[arg(long, value_enum)]
    clip_codec: Option<CodecName>,
    /// Do not ask the judges about built-in clips first, to see that they hear and see.
    #[arg(long)]
    no_canary: bool,
    /// Let a judge vote that failed this, with a flag on every vote, instead of setting it aside.
    #[arg(long)]
    allow_degraded: bool,
    /// What the panel answered when `ahwatch doctor --save` asked it; a judge that answers otherwise is set aside.
    #[arg(long, value_name = "FILE")]
    fingerprint: Option<PathBuf>,
    /// A folder whose models/ and pipelines/ replace the embedded files.
    #[arg(long, value_name = "DIR")]
    assets: Option<PathBuf>,
    /// Keep clips for review in this folder: pictures and sound of every window that is Present or raises an alert, with its
    /// event. Nobody deletes them [default: nothing of picture or sound is written].
    #[arg(long, value_name = "DIR", conflicts_with = "gate_report")]
    record: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Embedded {
    /// The hesitation-cue index.
    Cues,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum RuleName {
    /// The majority of the judges' session maxima (the paper's).
    VoteOfMax,
    /// The maximum of the windows' majorities.
    MaxOfVote,
}

impl From<RuleName> for Rule {
    fn from(name: RuleName) -> Self {
        match name {
            RuleName::VoteOfMax => Self::VoteOfMax,
            RuleName::MaxOfVote => Self::MaxOfVote,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CodecName {
    /// The pictures as they are held: no second encoding.
    Jpeg,
    /// Fewer bytes, more CPU.
    H264,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum GateName {
    /// Nothing.
    None,
    /// Speech.
    Speech,
    /// A face.
    Face,
    /// One of the two.
    SpeechOrFace,
    /// Both.
    SpeechAndFace,
}

impl From<GateName> for GateRequire {
    fn from(name: GateName) -> Self {
        match name {
            GateName::None => Self::None,
            GateName::Speech => Self::Speech,
            GateName::Face => Self::Face,
            GateName::SpeechOrFace => Self::SpeechOrFace,
            GateName::SpeechAndFace => Self::SpeechAndFace,
        }
    }
}

pub(super) fn run(options: &Options) -> Exit {
    if options.list_devices {
        return super::devices::list(options.json);
    }
    let config = match configure(options).and_then(needs_sources) {
        Ok(config) => config,
        Err(problems) => {
            eprintln!("{problems}");
            return Exit::Refused;
        }
    };
    if options.gate_report {
        return super::gate_report::run(&config, as_json(options));
    }
    if let Err(problem) = introduce(&config) {
        eprintln!("{problem}");
        return Exit::Refused;
    }
    super::run_command(watch(&config, options))
}

fn configure(options: &Options) -> Result<Config, String> {
    let raw = super::typed(options.config.as_deref(), options.panel.as_deref())?;
    let overrides = Overrides {
        sources: options.sources.clone(),
        pipeline: options.pipeline.clone(),
        realtime: options.realtime,
        once: options.once,
        audio: options.audio.clone(),
        no_audio: options.no_audio,
        window_secs: options.window_secs,
        hop_secs: options.hop_secs,
        clip_codec: options.clip_codec.map(|codec| match codec {
            CodecName::Jpeg => ClipCodec::Jpeg,
            CodecName::H264 => ClipCodec::H264,
        }),
        rule: options.rule.map(Into::into),
        early_stop: options.early_stop.then_some(true),
        gate: options.gate.map(Into::into),
        cues: options.judge.is_some(),
        assets: options.assets.clone(),
        no_canary: options.no_canary,
        allow_degraded: options.allow_degraded,
        fingerprint: options.fingerprint.clone(),
        record: options.record.clone(),
        listen: None,
    };
    Config::build(raw, overrides, &environment).map_err(|problems| problems.to_string())
}

fn needs_sources(config: Config) -> Result<Config, String> {
    if config.sources.is_empty() {
        let remedy =
            "name a recording, an rtsp:// address, webcam:, mic: or test:, or write a [[source]] in --config FILE";
        return Err(format!("nothing to watch: {remedy}"));
    }
    Ok(config)
}

/// A variable of the environment, for `api_key_env` only.
pub(super) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A text file that was named on the command line.
pub(super) fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: cannot be read: {error}", file.display()))
}

fn as_json(options: &Options) -> bool {
    options.json || (!options.plain && !std::io::stdout().is_terminal())
}

/// Says where media will go, before any does.
pub(super) fn introduce(config: &Config) -> Result<(), String> {
    if let Some(dir) = &config.record {
        // Not said of a folder that is then refused.
        Records::open(dir).map_err(|error| error.to_string())?;
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
        eprintln!(
            "RECORDING: pictures and sound of people will be written to {}:\n  the clip and the event of every window that is \
             Present or raises an alert. Nobody deletes them but you.",
            dir.display()
        );
    }
    introduce_judges(&config.judging);
    Ok(())
}

/// The part of that which a new configuration may change. While the live screen is up, that says it.
pub(super) fn introduce_judges(judging: &Judging) {
    let mut text = String::new();
    match judging {
        Judging::Cues { chosen } => {
            text += "judging by the embedded hesitation-cue index: a heuristic on speech and face, not calibrated, no measure of A/H\n";
            if !chosen {
                text += "no panel is configured; `--panel FILE` names one (models/panel.example.toml shows how)\n";
            }
        }
        Judging::Panel(judges) => {
            for judge in judges {
                let urls: Vec<_> = judge.base_urls.iter().map(|url| redact_url(url.as_str())).collect();
                let _ = writeln!(text, "judge {}: model {} at {}", judge.name, judge.model, urls.join(", "));
            }
        }
    }
    if !crate::screen::log::take(&text) {
        eprint!("{text}");
    }
}

async fn watch(config: &Config, options: &Options) -> Exit {
    let (events, receiver) = mpsc::channel(1024);
    let (broken, output_broke) = oneshot::channel();
    let as_json = as_json(options);
    let name_source = config.sources.len() > 1;
    let abstained: Arc<Mutex<Option<String>>> = Arc::default();
    let latest = Arc::clone(&abstained);
    let write = move |event: &Event| {
        if let Some(why) = abstention(event) {
            *latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        }
        print(event, as_json, name_source)
    };
    let interrupted = crate::run::interrupted();
    let (stopping, is_stopping) = oneshot::channel();
    // Given back at the latest when this ends, by whatever way.
    let taken = if wants_screen(options) { take_terminal() } else { None };
    let printer: Pin<Box<dyn Future<Output = bool>>> = match &taken {
        Some(_) => Box::pin(terminal::screen(receiver, screen_of(config), colour(), is_stopping, write, broken)),
        None => Box::pin(crate::run::printer(receiver, write, broken)),
    };
    let mut hangups = crate::run::hangups();
    let files: Vec<PathBuf> = [&options.config, &options.panel].into_iter().flatten().cloned().collect();
    // Without a file there is nothing to read again: the terminal is gone, and nothing watches on behind anybody's back.
    let (hung_up, gone) = oneshot::channel::<()>();
    let (changed, anew) = mpsc::channel(1);
    let reload = async {
        if files.is_empty() {
            // None: it cannot be received, and nobody will ever ask.
            let asked = hangups.recv().await;
            let _kept = asked.map_or(Some(hung_up), |()| None);
            return std::future::pending().await;
        }
        let _kept = hung_up;
        super::reload::reload(&files, hangups, config.clone(), || configure(options).and_then(needs_sources), changed)
            .await;
    };
    let stop = async {
        tokio::select! {
            () = interrupted => {}
            _ = gone => {}
            Ok(()) = output_broke => {}
        }
        let _ = stopping.send(());
    };
    let ended: Result<Outcome, RunError> = tokio::select! {
        ended = crate::run::run_anew(config, anew, events, stop) => ended,
        // Ends only with the run.
        () = reload => return Exit::Failed,
    };
    let printed = match &ended {
        // Who was asked to stop does not wait for ever for a reader that has stalled.
        Ok(outcome) if outcome.stopped => tokio::time::timeout(LAST_WORDS, printer).await.unwrap_or(false),
        _ => printer.await,
    };
    match ended {
        Err(error) => {
            eprintln!("{error}");
            Exit::Refused
        }
        Ok(outcome) => {
            let abstained = abstained.lock().unwrap_or_else(PoisonError::into_inner).take();
            judge_outcome(&outcome, printed, abstained.as_deref())
        }
    }
}

/// Why a judge did not answer about a window that nobody answered about.
fn abstention(event: &Event) -> Option<String> {
    let EventKind::WindowLost(window, _) = &event.kind else { return None };
    window.votes.iter().rev().find_map(|vote| match &vote.answer {
        Answer::Abstained(why) => Some(format!("{} abstained, {}: {}", vote.judge, why.reason.as_str(), why.detail)),
        _ => None,
    })
}

/// Whether somebody sits before a terminal that can show a screen, and wants one.
fn wants_screen(options: &Options) -> bool {
    let able = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    let terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    able && terminal && !options.json && !options.plain
}

fn take_terminal() -> Option<terminal::Taken> {
    terminal::take().inspect_err(|error| tracing::warn!("no live screen on this terminal, lines instead: {error}")).ok()
}

/// The screen before anything has happened.
fn screen_of(config: &Config) -> State {
    let clocked = |source: &SourceConfig| source.realtime || !matches!(source.input, Input::File(_));
    let sources: Vec<Expected> =
        config.sources.iter().map(|source| Expected { name: source.name.clone(), clocked: clocked(source) }).collect();
    State::new(&sources, &crate::watch::session_settings(config))
}

fn colour() -> bool {
    std::env::var_os("NO_COLOR").is_none()
}

fn print(event: &Event, as_json: bool, name_source: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if as_json {
        return json_line(&mut out, event);
    }
    let style = Style { colour: colour(), name_source };
    readable(&mut out, event, style)?;
    out.flush()
}

fn judge_outcome(outcome: &Outcome, printed: bool, abstained: Option<&str>) -> Exit {
    if !printed {
        terminal::say_soon("the output was closed before the end");
        return Exit::Failed;
    }
    // Said when they happened.
    if !outcome.errors.is_empty() {
        return Exit::Failed;
    }
    if outcome.judged <= crate::time::MediaTime::ZERO && !outcome.stopped {
        match abstained {
            Some(why) => eprintln!("nothing could be judged; the last reason: {why}"),
            None => eprintln!("nothing could be judged; the events say why"),
        }
        return Exit::Failed;
    }
    Exit::Done
}
