//! `[[source]]` tables and the sources of the command line.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::problem::{Place, Problems};
use super::raw::{RawSource, table_name};
use super::redact::{Secret, redact_url};
use super::server::{Basis, Purpose};
use super::{Cameras, Overrides};
use crate::source::{Feed, Microphone};

/// One place media comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceConfig {
    /// What events call it; unique.
    pub name: Arc<str>,
    /// What to open.
    pub input: Input,
    /// A `GStreamer` description instead of the shipped one; exists.
    pub pipeline: Option<PathBuf>,
    /// A file is played at its own speed. Always false for a camera, which has no other.
    pub realtime: bool,
    /// A camera's first end of stream ends the source. Always true for a file.
    pub once: bool,
    /// It is decoded in a process of its own.
    pub isolated: bool,
    /// By whose leave it is watched; None: not said, which is enough for `watch`.
    pub leave: Option<Leave>,
    /// Only these cameras may be connected to. None, as of every configured source: the address is the owner's own.
    pub cameras: Option<Arc<Cameras>>,
}

/// Where a source is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// In this program.
    None,
    /// In a process of its own, which may do nothing else.
    Process,
}

/// What a source is watched for, and by whose leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// What for.
    pub purpose: Purpose,
    /// The reason that some purposes need.
    pub basis: Option<Basis>,
    /// Where the people's consent is written down.
    pub consent: String,
}

impl SourceConfig {
    /// A source that is added while the program runs.
    #[must_use]
    pub const fn added(name: Arc<str>, input: Input) -> Self {
        Self { name, input, pipeline: None, realtime: false, once: false, isolated: false, leave: None, cameras: None }
    }

    /// A camera that is added while the program runs: an `rtsp://` or `rtsps://` address, or `test:`.
    ///
    /// # Errors
    /// It is no such address, or the name no plain one.
    pub fn from_url(name: String, url: Secret) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let place = Place::new("the request", "source");
        let typed = url.expose();
        if !(typed == "test:" || typed.starts_with("rtsp://") || typed.starts_with("rtsps://")) {
            problems.push(&place, "url", "is no address of a camera", "write rtsp://HOST/PATH or rtsps://HOST/PATH");
            return Err(problems);
        }
        let raw = RawSource { name: Some(name), url: Some(url), ..RawSource::default() };
        let source = build_one(&raw, &place, Path::new(""), &Overrides::default(), &mut BTreeSet::new(), &mut problems);
        source.filter(|_| problems.is_empty()).ok_or(problems)
    }
}

/// What a source opens.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A media file; exists.
    File(PathBuf),
    /// An `rtsp://` or `rtsps://` address, perhaps with credentials. Show it by [`Input::shown`].
    Rtsp(Secret),
    /// `webcam:`: a camera of this machine; without a name the default one.
    Webcam(Option<String>, Microphone),
    /// `mic:`: a microphone of this machine; without a name the default one.
    Mic(Option<String>),
    /// `test:`: a live picture and sound that need no device.
    Test(Microphone),
    /// What somebody pushes in while the program runs; never configured.
    Pushed(Feed),
}

impl Input {
    /// For people: the path, or the address without its credentials.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Rtsp(url) => redact_url(url.expose()),
            Self::Webcam(device, _) => format!("webcam:{}", device.as_deref().unwrap_or("default")),
            Self::Mic(device) => format!("mic:{}", device.as_deref().unwrap_or("default")),
            Self::Test(_) => "test:".to_owned(),
            Self::Pushed(feed) => format!("pushed:{}", feed.name()),
        }
    }
}

pub(super) fn build(
    tables: &[RawSource],
    overrides: &Overrides,
    file: &str,
    dir: &Path,
    problems: &mut Problems,
) -> Vec<SourceConfig> {
    let mut names = BTreeSet::new();
    let mut sources = Vec::new();
    let typed: Vec<(RawSource, Place, &Path)> = if overrides.sources.is_empty() {
        let place = |i, source: &RawSource| Place::new(file, table_name("source", i, source.name.as_deref()));
        tables.iter().enumerate().map(|(i, source)| (source.clone(), place(i, source), dir)).collect()
    } else {
        let pipeline = overrides.pipeline.clone();
        let table = |source: &String| {
            let input = if source.contains("://") || device_url(source).is_some() {
                RawSource { url: Some(Secret::new(source.clone())), ..RawSource::default() }
            } else {
                RawSource { path: Some(source.into()), ..RawSource::default() }
            };
            (RawSource { pipeline: pipeline.clone(), ..input }, Place::command_line(), Path::new(""))
        };
        overrides.sources.iter().map(table).collect()
    };
    if overrides.pipeline.is_some() && overrides.sources.is_empty() {
        let remedy = "name the source on the command line too, or write `pipeline` in its [[source]]";
        problems.push(
            &Place::command_line(),
            "--pipeline",
            "belongs to a source of the command line, and there is none",
            remedy,
        );
    }
    let mut hears = false;
    for (raw, place, dir) in typed {
        hears |= raw.url.as_ref().and_then(|url| device_url(url.expose())).is_some_and(|(kind, _)| kind != "mic");
        if let Some(source) = build_one(&raw, &place, dir, overrides, &mut names, problems) {
            sources.push(source);
        }
    }
    if (overrides.audio.is_some() || overrides.no_audio) && !hears {
        let key = if overrides.no_audio { "--no-audio" } else { "--audio" };
        problems.push(&Place::command_line(), key, "belongs to a webcam: or test:, and there is none", "leave it out");
    }
    sources
}

fn build_one(
    raw: &RawSource,
    place: &Place,
    dir: &Path,
    overrides: &Overrides,
    names: &mut BTreeSet<String>,
    problems: &mut Problems,
) -> Option<SourceConfig> {
    let input = match (&raw.path, &raw.url) {
        (Some(path), None) => file_input(&dir.join(path), "path", place, problems),
        (None, Some(url)) => match device_url(url.expose()) {
            Some((kind, device)) => device_input(kind, device, raw, overrides, place, problems),
            None => url_input(url, place, problems),
        },
        (None, None) => {
            problems.push(place, "", "has neither path nor url", "give one of them");
            None
        }
        (Some(_), Some(_)) => {
            problems.push(place, "", "has both path and url", "keep one of them");
            None
        }
    };
    let pipeline = raw.pipeline.as_ref().map(|path| dir.join(path));
    if let Some(path) = pipeline.as_ref().filter(|path| !path.is_file()) {
        problems.push(
            place,
            "pipeline",
            format!("there is no file {}", path.display()),
            "name a file with a GStreamer description",
        );
    }
    let is_file = matches!(input, Some(Input::File(_)));
    if raw.realtime == Some(true) && input.is_some() && !is_file {
        problems.push(place, "realtime", "is for files; a camera is always live", "leave it out");
    }
    let isolated = raw.isolation == Some(Isolation::Process);
    if isolated && input.as_ref().is_some_and(|input| !can_be_isolated(input)) {
        let remedy = "leave it out; rtsps:// would need the system's certificates in there, and a device its driver";
        problems.push(place, "isolation", "\"process\" is for files and rtsp://", remedy);
    }
    let typed = [("audio", raw.audio.is_some()), ("no_audio", raw.no_audio.is_some())];
    let hears = matches!(input, None | Some(Input::Webcam(..) | Input::Test(_)));
    for (key, _) in typed.into_iter().filter(|(_, typed)| *typed && !hears) {
        problems.push(place, key, "is for webcam: and test:; this source has its own sound", "leave it out");
    }
    let name = match &raw.name {
        Some(name) => {
            check_name(name, place, problems);
            if !names.insert(name.clone()) {
                problems.push(place, "name", "another source has this name", "give each source a name of its own");
            }
            name.clone()
        }
        None => made_name(input.as_ref()?, names),
    };
    Some(SourceConfig {
        name: name.into(),
        input: input?,
        pipeline,
        realtime: is_file && (overrides.realtime || raw.realtime.unwrap_or(false)),
        once: is_file || overrides.once || raw.once.unwrap_or(false),
        isolated,
        leave: leave(raw, place, problems),
        cameras: None,
    })
}

fn can_be_isolated(input: &Input) -> bool {
    match input {
        Input::File(_) => true,
        Input::Rtsp(url) => Url::parse(url.expose()).is_ok_and(|url| url.scheme() == "rtsp"),
        Input::Webcam(..) | Input::Mic(_) | Input::Test(_) | Input::Pushed(_) => false,
    }
}

fn leave(raw: &RawSource, place: &Place, problems: &mut Problems) -> Option<Leave> {
    let (Some(purpose), Some(consent)) = (raw.purpose, &raw.consent) else {
        if raw.purpose.is_some() || raw.consent.is_some() || raw.basis.is_some() {
            let missing = if raw.purpose.is_none() { "purpose" } else { "consent" };
            problems.push(place, missing, "is missing", "purpose and consent go together");
        }
        return None;
    };
    if let Err(why) = purpose.permitted(raw.basis.as_ref()) {
        problems.push(place, "purpose", purpose.as_str(), why);
    }
    if consent.trim().is_empty() {
        problems.push(place, "consent", "is empty", "write where the consent of the people in it is written down");
    }
    Some(Leave { purpose, basis: raw.basis.clone(), consent: consent.trim().to_owned() })
}

fn file_input(path: &Path, key: &str, place: &Place, problems: &mut Problems) -> Option<Input> {
    let wrong = if path.is_dir() {
        "is a directory"
    } else if path.exists() {
        return Some(Input::File(path.to_owned()));
    } else {
        "does not exist"
    };
    problems.push(
        place,
        key,
        format!("{} {wrong}", path.display()),
        "name a media file, an rtsp:// or rtsps:// address, webcam:, mic: or test:",
    );
    None
}

/// The kind of device and what stands behind the colon.
fn device_url(url: &str) -> Option<(&str, &str)> {
    url.split_once(':').filter(|(kind, _)| matches!(*kind, "webcam" | "mic" | "test"))
}

fn device_input(
    kind: &str,
    device: &str,
    raw: &RawSource,
    overrides: &Overrides,
    place: &Place,
    problems: &mut Problems,
) -> Option<Input> {
    if kind == "test" && !device.is_empty() {
        problems.push(place, "url", "test: has no devices", "write test: alone");
        return None;
    }
    if device.chars().any(char::is_control) || device.starts_with("//") {
        problems.push(place, "url", format!("{kind}: is followed by no name of a device"), device_remedy(kind));
        return None;
    }
    let named = |name: &str| Some(name).filter(|name| !name.is_empty() && *name != "default").map(str::to_owned);
    if raw.no_audio == Some(true) && raw.audio.is_some() {
        problems.push(place, "no_audio", "excludes audio", "keep one of them");
    }
    // The command line counts more than the file.
    let (audio, off) = if overrides.audio.is_some() || overrides.no_audio {
        (overrides.audio.as_deref(), overrides.no_audio)
    } else {
        (raw.audio.as_deref(), raw.no_audio.unwrap_or(false))
    };
    let microphone = match audio {
        _ if off => Microphone::Off,
        // "default" is a test picture's wish for a real microphone, too.
        Some(name) if kind == "test" => Microphone::Named(name.to_owned()),
        Some(name) => named(name).map_or(Microphone::Usual, Microphone::Named),
        None => Microphone::Usual,
    };
    Some(match kind {
        "webcam" => Input::Webcam(named(device), microphone),
        "mic" => Input::Mic(named(device)),
        _ => Input::Test(microphone),
    })
}

fn device_remedy(kind: &str) -> String {
    format!("write {kind}: or {kind}:DEVICE; `ahwatch watch --list-devices` shows what there is")
}

fn url_input(url: &Secret, place: &Place, problems: &mut Problems) -> Option<Input> {
    // What is pushed is redacted there; the parse errors quote nothing.
    match Url::parse(url.expose()) {
        Ok(parsed) if matches!(parsed.scheme(), "rtsp" | "rtsps") => {
            if parsed.host_str().is_none_or(str::is_empty) {
                problems.push(place, "url", "names no host", "write rtsp://HOST/PATH");
                return None;
            }
            Some(Input::Rtsp(url.clone()))
        }
        Ok(parsed) if parsed.scheme() == "file" => {
            if let Ok(path) = parsed.to_file_path() {
                return file_input(&path, "url", place, problems);
            }
            problems.push(place, "url", "is no path on this machine", "write file:///PATH, or the path itself");
            None
        }
        Ok(parsed) => {
            problems.push(
                place,
                "url",
                format!("{}:// is not a kind of source", parsed.scheme()),
                "give a path, rtsp://, rtsps://, webcam:, mic: or test:",
            );
            None
        }
        Err(error) => {
            problems.push(
                place,
                "url",
                format!("is no URL ({error})"),
                "write rtsp://HOST/PATH, with % escapes for special characters in a password",
            );
            None
        }
    }
}

/// Names go into events, topics and metric labels.
pub(super) fn check_name(name: &str, place: &Place, problems: &mut Problems) {
    let fits = (1..=64).contains(&name.len()) && name.chars().all(is_name_char);
    if !fits {
        problems.push(
            place,
            "name",
            "is not a plain name",
            "use 1 to 64 letters, digits, dots, underscores or hyphens",
        );
    }
}

const fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

/// From the file's, the host's or the device kind's name; made unique by a number.
fn made_name(input: &Input, names: &mut BTreeSet<String>) -> String {
    let from = match input {
        Input::File(path) => path.file_stem().map(|stem| stem.to_string_lossy().into_owned()),
        Input::Rtsp(url) => Url::parse(url.expose()).ok().and_then(|url| url.host_str().map(str::to_owned)),
        Input::Webcam(..) => Some("webcam".to_owned()),
        Input::Mic(_) => Some("mic".to_owned()),
        Input::Test(_) => Some("test".to_owned()),
        Input::Pushed(feed) => Some(feed.name().to_owned()),
    };
    let plain: String =
        from.unwrap_or_default().chars().map(|c| if is_name_char(c) { c } else { '_' }).take(56).collect();
    let base = if plain.is_empty() { "source".to_owned() } else { plain };
    let mut name = base.clone();
    let mut number = 1;
    while names.contains(&name) {
        number += 1;
        name = format!("{base}-{number}");
    }
    names.insert(name.clone());
    name
}
