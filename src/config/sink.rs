//! `[[sink]]` tables: where events are sent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use schemars::JsonSchema;
use serde::Deserialize;
use url::{Host, Url};

use super::problem::{Place, Problems};
use super::raw::table_name;
use super::redact::{Secret, redact_url};
use super::source::check_name;
use super::{Env, defaults};

/// `[[sink]]`: a receiver of events of `ahwatch serve`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSink {
    /// What messages call it: letters, digits, `.`, `_`, `-`. Required, unique.
    pub name: Option<String>,
    /// `webhook` or `mqtt`. Required.
    pub kind: Option<SinkKind>,
    /// `https://…`, `mqtt://HOST[:1883]` or `mqtts://HOST[:8883]`, without credentials. Required.
    pub url: Option<Secret>,
    /// Which events it gets.
    #[schemars(extend("default" = ["alert"]))]
    pub events: Option<Vec<EventClass>>,
    /// A webhook: name of the environment variable that holds what it is signed with, `whsec_` and 24 to 64 bytes in base64. Required.
    pub secret_env: Option<String>,
    /// A webhook: allows an address on this machine or in a private network.
    #[schemars(extend("default" = false))]
    pub allow_private: Option<bool>,
    /// A webhook or broker that is not this machine: allows plain http or mqtt. What is sent then travels unencrypted.
    #[schemars(extend("default" = false))]
    pub allow_plain: Option<bool>,
    /// MQTT: name of the environment variable that holds the user's name.
    pub username_env: Option<String>,
    /// MQTT: name of the environment variable that holds the password.
    pub password_env: Option<String>,
    /// MQTT: what topics begin with.
    #[schemars(extend("default" = defaults::TOPIC_PREFIX))]
    pub prefix: Option<String>,
    /// Certificates (PEM) of the authorities to trust, relative to this file. `mqtts` needs it; a webhook trusts the system's
    /// without it.
    pub ca_file: Option<PathBuf>,
}

/// How events travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SinkKind {
    /// HTTP POST, signed.
    Webhook,
    /// MQTT 3.1.1.
    Mqtt,
}

/// Events by what they are about: the second word of their type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the words say it")]
pub enum EventClass {
    Alert,
    Episode,
    Session,
    Window,
    Source,
    Judge,
}

impl EventClass {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Episode => "episode",
            Self::Session => "session",
            Self::Window => "window",
            Self::Source => "source",
            Self::Judge => "judge",
        }
    }
}

/// A receiver as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkConfig {
    /// Unique.
    pub name: Arc<str>,
    /// What it gets.
    pub events: Vec<EventClass>,
    /// How.
    pub to: Receiver,
    /// PEM of the authorities to trust; None: the system's.
    pub authorities: Option<Vec<u8>>,
}

/// How events reach a receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// By HTTP POST.
    Webhook {
        /// `http` or `https`.
        url: Url,
        /// What it is signed with, as Standard Webhooks write it.
        secret: Secret,
        /// Whether it may be on this machine or in a private network.
        allow_private: bool,
    },
    /// By a broker.
    Mqtt {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// Whether the connection is encrypted.
        tls: bool,
        /// User and password.
        credentials: Option<(Secret, Secret)>,
        /// What topics begin with.
        prefix: String,
    },
}

impl SinkConfig {
    /// For people: where it goes, without credentials and without the path, which may be a secret.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.to {
            Receiver::Webhook { url, .. } => redact_url(&url.origin().ascii_serialization()),
            Receiver::Mqtt { host, port, tls, .. } => format!("mqtt{}://{host}:{port}", if *tls { "s" } else { "" }),
        }
    }
}

pub(super) fn build(raw: &[RawSink], file: &str, dir: &Path, env: Env<'_>, problems: &mut Problems) -> Vec<SinkConfig> {
    let mut seen = BTreeMap::new();
    let mut sinks = Vec::new();
    for (i, raw) in raw.iter().enumerate() {
        let place = Place::new(file, table_name("sink", i, raw.name.as_deref()));
        if let Some(first) = raw.name.as_ref().and_then(|name| seen.insert(name.clone(), i + 1)) {
            let what = format!("sink[{first}] has this name too");
            problems.push(&place, "name", what, "give each sink a name of its own");
        }
        sinks.extend(build_sink(raw, &place, dir, env, problems));
    }
    sinks
}

fn build_sink(raw: &RawSink, place: &Place, dir: &Path, env: Env<'_>, problems: &mut Problems) -> Option<SinkConfig> {
    let before = problems.0.len();
    match &raw.name {
        Some(name) => check_name(name, place, problems),
        None => problems.push(place, "name", "is missing", "give it a name"),
    }
    if raw.events.as_ref().is_some_and(Vec::is_empty) {
        problems.push(place, "events", "is empty: nothing would be sent", "name some, such as [\"alert\"]");
    }
    let authorities = raw.ca_file.as_ref().and_then(|file| {
        let path = dir.join(file);
        let remedy = "name a file of certificates in PEM";
        let pem = std::fs::read(&path)
            .inspect_err(|error| problems.push(place, "ca_file", format!("{}: {error}", path.display()), remedy))
            .ok()?;
        let mark = b"-----BEGIN CERTIFICATE-----";
        if !pem.windows(mark.len()).any(|part| part == mark) {
            problems.push(place, "ca_file", format!("{} holds no certificate", path.display()), remedy);
        }
        Some(pem)
    });
    let url = raw.url.as_ref().map(|url| Url::parse(url.expose().trim()));
    let to = match (raw.kind, url) {
        (None, _) => {
            problems.push(place, "kind", "is missing", "write kind = \"webhook\" or \"mqtt\"");
            None
        }
        (_, None) => {
            problems.push(place, "url", "is missing", "say where events go");
            None
        }
        (_, Some(Err(error))) => {
            problems.push(place, "url", format!("is no URL ({error})"), "write https://HOST/PATH or mqtts://HOST");
            None
        }
        (Some(SinkKind::Webhook), Some(Ok(url))) => webhook(raw, url, place, env, problems),
        (Some(SinkKind::Mqtt), Some(Ok(url))) => mqtt(raw, &url, place, env, problems),
    };
    let events = raw.events.clone().unwrap_or_else(|| vec![EventClass::Alert]);
    let sink = SinkConfig { name: raw.name.as_deref()?.into(), events, to: to?, authorities };
    (problems.0.len() == before).then_some(sink)
}

fn foreign_keys(names: &[(&str, bool)], kind: &str, place: &Place, problems: &mut Problems) {
    for (name, _) in names.iter().filter(|(_, typed)| *typed) {
        problems.push(place, name, format!("is not for kind = \"{kind}\""), "take it out");
    }
}

fn webhook(raw: &RawSink, url: Url, place: &Place, env: Env<'_>, problems: &mut Problems) -> Option<Receiver> {
    let mqtt_only = [
        ("username_env", raw.username_env.is_some()),
        ("password_env", raw.password_env.is_some()),
        ("prefix", raw.prefix.is_some()),
    ];
    foreign_keys(&mqtt_only, "webhook", place, problems);
    if !matches!(url.scheme(), "http" | "https") {
        problems.push(place, "url", format!("{} is neither http nor https", url.scheme()), "write https://HOST/PATH");
        return None;
    }
    if !url.username().is_empty() || url.password().is_some() {
        problems.push(place, "url", "holds credentials", "take them out: what is sent is signed");
    }
    check_plain(url.scheme() == "http", &url, raw, place, problems);
    let allow_private = raw.allow_private.unwrap_or(false);
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => Some(address.into()),
        Some(Host::Ipv6(address)) => Some(address.into()),
        _ => None,
    };
    if let Some(address) = literal.filter(|address| !allow_private && !crate::alert::sink::address::is_public(*address))
    {
        let what = format!("{address} is this machine or a private network");
        problems.push(place, "url", what, "name a public address, or set allow_private = true in this [[sink]]");
    }
    let Some(variable) = &raw.secret_env else {
        let remedy = "name the variable that holds it: whsec_ and 24 to 64 random bytes in base64";
        problems.push(place, "secret_env", "is missing: a webhook is signed", remedy);
        return None;
    };
    let secret = variable_of(variable, "secret_env", place, env, problems)?;
    let key = secret.expose().strip_prefix("whsec_").unwrap_or(secret.expose());
    let bytes = base64::engine::general_purpose::STANDARD.decode(key).map(|key| key.len());
    if !bytes.is_ok_and(|bytes| (24..=64).contains(&bytes)) {
        let what = format!("the environment variable {variable} holds no key of a webhook");
        problems.push(place, "secret_env", what, "set it to whsec_ and 24 to 64 random bytes in base64");
    }
    Some(Receiver::Webhook { url, secret, allow_private })
}

fn mqtt(raw: &RawSink, url: &Url, place: &Place, env: Env<'_>, problems: &mut Problems) -> Option<Receiver> {
    let webhook_only = [("secret_env", raw.secret_env.is_some()), ("allow_private", raw.allow_private.is_some())];
    foreign_keys(&webhook_only, "mqtt", place, problems);
    let tls = match url.scheme() {
        "mqtt" => false,
        "mqtts" => true,
        other => {
            problems.push(place, "url", format!("{other} is neither mqtt nor mqtts"), "write mqtts://HOST");
            return None;
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        let remedy = "take them out and name their variables in username_env and password_env";
        problems.push(place, "url", "holds credentials", remedy);
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() {
        problems.push(place, "url", "has a path", "end it with the host or the port; topics begin with `prefix`");
    }
    check_plain(!tls, url, raw, place, problems);
    if raw.ca_file.is_none() && tls {
        let remedy =
            "name a file of the broker's authority in PEM, or the system's, such as /etc/ssl/certs/ca-certificates.crt";
        problems.push(place, "ca_file", "is missing: whom to trust", remedy);
    }
    if raw.ca_file.is_some() && !tls {
        problems.push(place, "ca_file", "is of no use to mqtt://", "write mqtts://, or take it out");
    }
    let host = url.host_str().filter(|host| !host.is_empty());
    if host.is_none() {
        problems.push(place, "url", "names no host", "write mqtts://HOST");
    }
    let mut variable = |name: Option<&String>, key| name.map(|name| variable_of(name, key, place, env, problems));
    let user = variable(raw.username_env.as_ref(), "username_env");
    let password = variable(raw.password_env.as_ref(), "password_env");
    if user.is_some() != password.is_some() {
        let remedy = "name both, or neither";
        problems.push(place, "username_env", "and password_env go together", remedy);
    }
    let prefix = raw.prefix.clone().unwrap_or_else(|| defaults::TOPIC_PREFIX.to_owned());
    let fits = |part: &str| !part.is_empty() && !part.contains(['+', '#', '\0']);
    if prefix.starts_with('$') || !prefix.split('/').all(fits) || prefix.len() > 200 {
        problems.push(
            place,
            "prefix",
            "is no beginning of a topic",
            "give words with / between them, such as home/ahwatch",
        );
    }
    let host = host?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let credentials = user.flatten().zip(password.flatten());
    Some(Receiver::Mqtt { host, port: url.port().unwrap_or(if tls { 8883 } else { 1883 }), tls, credentials, prefix })
}

fn check_plain(plain: bool, url: &Url, raw: &RawSink, place: &Place, problems: &mut Problems) {
    if plain && !super::is_here(url) && !raw.allow_plain.unwrap_or(false) {
        let what = format!("would send what is said of people unencrypted to {}", url.host_str().unwrap_or_default());
        problems.push(place, "url", what, "use https or mqtts, or set allow_plain = true in this [[sink]]");
    }
}

fn variable_of(name: &str, key: &str, place: &Place, env: Env<'_>, problems: &mut Problems) -> Option<Secret> {
    if !super::is_variable(name) {
        // Not shown: it may be the secret itself, typed in the wrong place.
        let remedy = "give the variable's name, not what it holds";
        problems.push(place, key, "is no name of an environment variable", remedy);
        return None;
    }
    let value = env(name).filter(|value| !value.is_empty());
    if value.is_none() {
        problems.push(place, key, format!("the environment variable {name} is not set, or empty"), "set it");
    }
    value.map(Secret::new)
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Overrides, Problems, RawConfig};
    use super::*;

    fn built(text: &str) -> Result<Config, Problems> {
        let env = |name: &str| match name {
            "HOOK" => Some("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".to_owned()),
            "SHORT" => Some("whsec_MDEy".to_owned()),
            "USER" | "PASSWORD" => Some("x".to_owned()),
            _ => None,
        };
        Config::build(RawConfig::parse(text, Path::new("a.toml")), Overrides::default(), &env)
    }

    fn webhook(more: &str) -> String {
        format!("[[sink]]\nname = \"desk\"\nkind = \"webhook\"\n{more}\n")
    }

    fn says(text: &str, words: &str) {
        let problems = built(text).map(|config| config.sinks).expect_err("must be refused").to_string();
        assert!(problems.contains(words), "{words:?} is not in {problems}");
        assert_eq!(problems.lines().count(), 1, "{problems}");
    }

    #[test]
    fn sinks_are_read_with_their_defaults() {
        let text = webhook("url = \"https://h.example/p\"\nsecret_env = \"HOOK\"")
            + "[[sink]]\nname = \"home\"\nkind = \"mqtt\"\nurl = \"mqtt://localhost\"\nevents = [\"alert\", \"window\"]\n";
        let sinks = built(&text).unwrap().sinks;
        assert_eq!((&*sinks[0].name, &*sinks[0].events), ("desk", &[EventClass::Alert][..]));
        assert_eq!(sinks[0].shown(), "https://h.example");
        assert!(matches!(sinks[0].to, Receiver::Webhook { allow_private: false, .. }));
        let Receiver::Mqtt { host, port, tls, prefix, .. } = &sinks[1].to else { panic!() };
        assert_eq!((&**host, *port, *tls, &**prefix), ("localhost", 1883, false, "ahwatch"));
        assert!(!format!("{sinks:?}").contains("MDEy"), "secrets do not print");
    }

    #[test]
    fn what_is_wrong_with_a_sink_is_said_in_one_line() {
        let url = "url = \"https://h.example/p\"";
        let key = "secret_env = \"HOOK\"";
        says(&webhook(url), "secret_env: is missing");
        says(&webhook(&format!("{url}\nsecret_env = \"NONE\"")), "NONE is not set");
        says(&webhook(&format!("{url}\nsecret_env = \"SHORT\"")), "no key of a webhook");
        says(&webhook(&format!("{url}\nsecret_env = \"whsec_MDEy=\"")), "is no name of an environment variable");
        says(&webhook(&format!("url = \"ftp://h/p\"\n{key}")), "neither http nor https");
        says(&webhook(&format!("url = \"http://h.example/p\"\n{key}")), "allow_plain = true");
        says(&webhook(&format!("url = \"https://10.0.0.1/p\"\n{key}")), "allow_private = true");
        says(&webhook(&format!("url = \"https://[::1]/p\"\n{key}")), "allow_private = true");
        says(&webhook(&format!("{url}\n{key}\nprefix = \"x\"")), "is not for kind = \"webhook\"");
        says(&webhook(&format!("{url}\n{key}\nevents = []")), "nothing would be sent");
        says(&webhook(&format!("{url}\n{key}")).repeat(2), "has this name too");
        let mqtt = |more: &str| format!("[[sink]]\nname = \"home\"\nkind = \"mqtt\"\n{more}\n");
        says(&mqtt("url = \"mqtts://h\""), "ca_file: is missing");
        says(&mqtt("url = \"mqtt://h\""), "allow_plain = true");
        says(&mqtt("url = \"mqtt://u:p@localhost\""), "username_env");
        says(&mqtt("url = \"mqtt://localhost\"\nusername_env = \"USER\""), "go together");
        says(&mqtt("url = \"mqtt://localhost\"\nprefix = \"a/#\""), "no beginning of a topic");
        says(&mqtt("url = \"mqtts://h\"\nca_file = \"none.pem\""), "none.pem");
        says("[journal]\nkeep_events_days = 0", "[journal]: keep_events_days: 0 is out of range");
        says("[journal]\npath = \"\"", "[journal]: path: names no file");
    }

    #[test]
    fn the_journal_is_beside_its_configuration_whatever_else_stands_there() {
        let text = "[journal]\nkeep_audit_days = 7\n[[sink]]\nkind = \"pigeon\"\n[[judge]]\nname = \"a\"";
        let config = super::super::JournalConfig::of_file(text, Path::new("/etc/ahwatch/a.toml")).unwrap();
        assert_eq!(config.path, Path::new("/etc/ahwatch/ahwatch.db"));
        assert_eq!((config.keep_events_days, config.keep_alerts_days, config.keep_audit_days), (30, 90, 7));
        let wrong = super::super::JournalConfig::of_file("[journal]\nfile = 1", Path::new("a.toml")).unwrap_err();
        assert!(wrong.to_string().contains("file"), "{wrong}");
    }
}
