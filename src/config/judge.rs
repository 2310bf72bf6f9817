//! `[[judge]]` tables: one checkpoint at one endpoint each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::problem::{Place, Problems};
use super::raw::{Medium, Profile, RawJudge, table_name};
use super::redact::Secret;
use super::source::check_name;
use super::{Env, check_pixels, defaults};
use crate::judge::prompt::{Accepts, Prompt, SHIPPED};

/// One judge as meant.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgeConfig {
    /// Unique in the panel.
    pub name: Arc<str>,
    /// Where it is served, at least once: `http` or `https`, without credentials, query and final slash, no two alike. Judges of
    /// one endpoint have equal ones.
    pub base_urls: Vec<Url>,
    /// Model or adapter name.
    pub model: String,
    /// The endpoint's key.
    pub api_key: Option<Secret>,
    /// Name of the variable it came from, for messages.
    pub api_key_env: Option<String>,
    /// What it is asked.
    pub prompt: Prompt,
    /// The prompt's shipped name or file, for records.
    pub prompt_name: String,
    /// System message.
    pub system: String,
    /// Media it takes.
    pub accepts: Accepts,
    /// Most pixels of a picture, width times height.
    pub max_pixels: u32,
    /// Seconds per video grid the checkpoint was trained with. Stated, not sent: it is a flag of the server.
    pub time_scale: f64,
    /// From a live window's end to the giving up.
    pub deadline: Duration,
    /// Requests under way at each of `base_urls`; of all judges there the smallest counts.
    pub max_in_flight: usize,
    /// How it samples.
    pub sampling: Sampling,
    /// Whether P(Yes) is read.
    pub score: bool,
    /// Whether the server is asked to constrain the answer.
    pub constrain: bool,
    /// Present from this P(Yes) on; None: the text decides. Only with `score`.
    pub threshold: Option<f64>,
}

/// Sampling parameters as sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0 is greedy.
    pub temperature: f64,
    /// None: not sent.
    pub top_p: Option<f64>,
    /// None: not sent.
    pub seed: Option<i64>,
    /// Tokens.
    pub max_tokens: u32,
}

/// Where the tables come from and where prompts are looked for.
pub(super) struct Files {
    /// File the `[[judge]]` tables are in, for messages.
    pub name: String,
    /// Its directory.
    pub dir: PathBuf,
    /// `--assets`.
    pub assets: Option<PathBuf>,
}

pub(super) fn build_panel(
    raw: &[RawJudge],
    files: &Files,
    max_pixels: u32,
    env: Env<'_>,
    problems: &mut Problems,
) -> Vec<JudgeConfig> {
    if raw.len().is_multiple_of(2) {
        let what = format!("the panel has {} judges, an even number, which can tie", raw.len());
        problems.push(&Place::new(&files.name, "judge"), "", what, "add or remove one");
    }
    let mut judges = Vec::new();
    let mut seen = BTreeMap::new();
    for (i, raw) in raw.iter().enumerate() {
        let place = Place::new(&files.name, table_name("judge", i, raw.name.as_deref()));
        if let Some(name) = &raw.name {
            if let Some(first) = seen.get(name) {
                problems.push(
                    &place,
                    "name",
                    format!("judge[{first}] has this name too"),
                    "give each judge a name of its own",
                );
            } else {
                seen.insert(name.clone(), i + 1);
            }
        }
        judges.extend(build_judge(raw, &place, files, max_pixels, env, problems));
    }
    judges
}

fn build_judge(
    raw: &RawJudge,
    place: &Place,
    files: &Files,
    max_pixels: u32,
    env: Env<'_>,
    problems: &mut Problems,
) -> Option<JudgeConfig> {
    let name = required(raw.name.as_ref(), "name", "give it a name", place, problems);
    if let Some(name) = &name {
        check_name(name, place, problems);
    }
    let model =
        required(raw.model.as_ref(), "model", "name the model or adapter as the endpoint lists it", place, problems);
    let base_urls = read_urls(raw, place, problems);
    let api_key = raw.api_key_env.as_ref().and_then(|variable| read_key(variable, place, env, problems));
    let accepts = raw.accepts.as_ref().map_or(Accepts { video: true, audio: true }, |media| Accepts {
        video: media.contains(&Medium::Video),
        audio: media.contains(&Medium::Audio),
    });
    if !accepts.video && !accepts.audio {
        problems.push(place, "accepts", "is empty: the judge would judge nothing", "give \"video\", \"audio\" or both");
    }
    let prompt_name = raw.prompt.clone().unwrap_or_else(|| defaults::PROMPT.to_owned());
    let prompt = read_prompt(&prompt_name, accepts, place, files, problems);
    let pixels = raw.max_pixels.unwrap_or(max_pixels);
    if raw.max_pixels.is_some() {
        check_pixels(pixels, place, problems);
        if pixels > max_pixels {
            let what = format!("{pixels} is more than pictures are kept at ({max_pixels})");
            problems.push(place, "max_pixels", what, "lower it, or raise max_pixels in [window]");
        }
    }
    let mut range = |key, fits: bool, value: &dyn std::fmt::Display, remedy| {
        if !fits {
            problems.push(place, key, format!("{value} is out of range"), remedy);
        }
    };
    let time_scale = raw.time_scale.unwrap_or(defaults::TIME_SCALE);
    #[allow(clippy::float_cmp, reason = "two exact values are meant")]
    let known_scale = time_scale == 1.0 || time_scale == 2.0;
    range(
        "time_scale",
        known_scale,
        &time_scale,
        "give 1.0 (trained with fps passed) or 2.0 (without), as the checkpoint was trained",
    );
    let deadline_ms = raw.deadline_ms.unwrap_or(defaults::DEADLINE_MS);
    range("deadline_ms", (100..=600_000).contains(&deadline_ms), &deadline_ms, "give 100 to 600000 milliseconds");
    let max_in_flight = raw.max_in_flight.unwrap_or(defaults::MAX_IN_FLIGHT);
    range("max_in_flight", (1..=1024).contains(&max_in_flight), &max_in_flight, "give 1 to 1024 requests");
    let (temperature, top_p) = match raw.profile.unwrap_or(Profile::Greedy) {
        Profile::Greedy => (defaults::GREEDY_TEMPERATURE, None),
        Profile::Paper => (defaults::PAPER_TEMPERATURE, Some(defaults::PAPER_TOP_P)),
    };
    let temperature = raw.temperature.unwrap_or(temperature);
    range("temperature", (0.0..=2.0).contains(&temperature), &temperature, "give 0 to 2");
    let top_p = raw.top_p.or(top_p);
    range(
        "top_p",
        top_p.is_none_or(|p| p > 0.0 && p <= 1.0),
        &top_p.unwrap_or_default(),
        "give more than 0 and at most 1",
    );
    let max_tokens = raw.max_tokens.unwrap_or(defaults::MAX_TOKENS);
    range("max_tokens", (8..=4096).contains(&max_tokens), &max_tokens, "give 8 (one answer and its end) to 4096");
    let score = raw.score.unwrap_or(false);
    if let Some(threshold) = raw.threshold {
        range("threshold", threshold > 0.0 && threshold < 1.0, &threshold, "give a P(Yes) above 0 and below 1");
        if !score {
            problems.push(place, "threshold", "needs P(Yes), which is not asked for", "add score = true");
        }
    }
    Some(JudgeConfig {
        name: name?.into(),
        base_urls: base_urls?,
        model: model?,
        api_key,
        api_key_env: raw.api_key_env.clone(),
        prompt: prompt?,
        prompt_name,
        system: raw.system.clone().unwrap_or_else(|| defaults::SYSTEM.to_owned()),
        accepts,
        max_pixels: pixels,
        time_scale,
        deadline: Duration::from_millis(deadline_ms),
        max_in_flight,
        sampling: Sampling { temperature, top_p, seed: raw.seed, max_tokens },
        score,
        constrain: raw.constrain.unwrap_or(false),
        threshold: raw.threshold,
    })
}

fn required(value: Option<&String>, key: &str, remedy: &str, place: &Place, problems: &mut Problems) -> Option<String> {
    match value {
        Some(value) if !value.trim().is_empty() => Some(value.clone()),
        Some(_) => {
            problems.push(place, key, "is empty", remedy);
            None
        }
        None => {
            problems.push(place, key, "is missing", remedy);
            None
        }
    }
}

/// `base_url` or `base_urls`; None if anything is wrong with them.
fn read_urls(raw: &RawJudge, place: &Place, problems: &mut Problems) -> Option<Vec<Url>> {
    let (key, typed) = match (&raw.base_url, &raw.base_urls) {
        (Some(url), None) => ("base_url", std::slice::from_ref(url)),
        (None, Some(urls)) => ("base_urls", urls.as_slice()),
        (Some(_), Some(_)) => {
            problems.push(place, "base_urls", "stands beside base_url", "put all addresses into base_urls");
            return None;
        }
        (None, None) => {
            problems.push(place, "base_url", "is missing", "write the endpoint's address, e.g. https://HOST/v1");
            return None;
        }
    };
    if typed.is_empty() {
        problems.push(place, key, "is empty", "write at least one address, e.g. [\"https://HOST/v1\"]");
        return None;
    }
    let mut urls: Vec<Url> = Vec::new();
    for url in typed {
        let url = check_url(url, key, raw.allow_http.unwrap_or(false), place, problems);
        if let Some(twice) = url.as_ref().filter(|url| urls.contains(url)) {
            problems.push(place, key, format!("names {twice} twice"), "name each address once");
        }
        urls.extend(url);
    }
    (urls.len() == typed.len()).then_some(urls)
}

/// Media go to this address, so it is read strictly.
fn check_url(typed: &Secret, key: &str, allow_http: bool, place: &Place, problems: &mut Problems) -> Option<Url> {
    let mut url = match Url::parse(typed.expose().trim()) {
        Ok(url) => url,
        Err(error) => {
            problems.push(
                place,
                key,
                format!("is no URL ({error})"),
                "write it as in OpenAI clients, e.g. https://HOST/v1",
            );
            return None;
        }
    };
    if !matches!(url.scheme(), "http" | "https") {
        problems.push(place, key, format!("{} is neither http nor https", url.scheme()), "write https://HOST/v1");
        return None;
    }
    let mut fine = true;
    let mut wrong = |what: &str, remedy: &str| {
        problems.push(place, key, what, remedy);
        fine = false;
    };
    if !url.username().is_empty() || url.password().is_some() {
        wrong("holds credentials", "take them out and name the key's variable in api_key_env");
    }
    if url.query().is_some() || url.fragment().is_some() {
        wrong("has a query or a fragment", "end it with the path, usually /v1");
    }
    let path = url.path().trim_end_matches('/').to_owned();
    if path.ends_with("/chat/completions") {
        wrong("is the address of one call", "leave /chat/completions out: it is added");
    }
    if url.scheme() == "http" && !super::is_here(&url) && !allow_http {
        let host = url.host_str().unwrap_or_default();
        wrong(
            &format!("would send media in plain http to {host}"),
            "use https, or set allow_http = true in this [[judge]]",
        );
    }
    url.set_path(&path);
    fine.then_some(url)
}

fn read_key(variable: &str, place: &Place, env: Env<'_>, problems: &mut Problems) -> Option<Secret> {
    let key = "api_key_env";
    if !super::is_variable(variable) {
        // Not shown: it may be the key itself, typed in the wrong place.
        problems.push(
            place,
            key,
            "is no name of an environment variable",
            "give the variable's name, not the key itself",
        );
        return None;
    }
    match env(variable) {
        Some(value) if value.is_empty() => {
            problems.push(
                place,
                key,
                format!("the environment variable {variable} is empty"),
                "set it to the endpoint's key, or leave api_key_env out",
            );
            None
        }
        Some(value) if !value.bytes().all(|b| b.is_ascii_graphic()) => {
            let remedy = "set it again without line breaks or blanks";
            problems.push(
                place,
                key,
                format!("the environment variable {variable} holds characters no key has"),
                remedy,
            );
            None
        }
        Some(value) => Some(Secret::new(value)),
        None => {
            problems.push(
                place,
                key,
                format!("the environment variable {variable} is not set"),
                "set it to the endpoint's key, or leave api_key_env out",
            );
            None
        }
    }
}

fn read_prompt(name: &str, accepts: Accepts, place: &Place, files: &Files, problems: &mut Problems) -> Option<Prompt> {
    let is_path = name.contains(['/', '\\', '.']);
    let shipped = || SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| (*text).to_owned());
    let text = if is_path {
        let path = files.dir.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                problems.push(
                    place,
                    "prompt",
                    format!("cannot read {} ({})", path.display(), error.kind()),
                    known_prompts(),
                );
                return None;
            }
        }
    } else {
        let asset = files
            .assets
            .as_ref()
            .and_then(|dir| std::fs::read_to_string(dir.join(format!("models/prompts/{name}.txt"))).ok());
        let Some(text) = asset.or_else(shipped) else {
            problems.push(place, "prompt", format!("there is no prompt \"{name}\""), known_prompts());
            return None;
        };
        text
    };
    match Prompt::parse(&text, accepts) {
        Ok(prompt) => Some(prompt),
        Err(error) => {
            problems.push(
                place,
                "prompt",
                error.to_string(),
                "put <video> and <audio> once each where the media belong",
            );
            None
        }
    }
}

fn known_prompts() -> String {
    let names: Vec<_> = SHIPPED.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    format!("shipped are {}; a file is given by a path with a slash or a dot, e.g. \"./mine.txt\"", names.join(" and "))
}
