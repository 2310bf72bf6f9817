//! `[server]`, `[controller]` and what a session is for: how `ahwatch serve` is reached, and by whose leave it watches.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::problem::{Place, Problems};
use super::{Cameras, Overrides, defaults};

/// `[server]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawServer {
    /// Address and port of the HTTP API and the pages. Beyond this machine it needs a certificate, or `behind_proxy`.
    #[schemars(extend("default" = defaults::LISTEN))]
    pub listen: Option<String>,
    /// Where browsers reach it, as in `https://ahwatch.example.org`. Default: made from `listen`.
    pub public_url: Option<String>,
    /// Certificate chain (PEM), a file relative to this file.
    pub tls_cert: Option<PathBuf>,
    /// Its key (PEM), a file relative to this file.
    pub tls_key: Option<PathBuf>,
    /// A proxy in front of it speaks HTTPS to the world. Only then may it listen beyond this machine without a certificate.
    #[schemars(extend("default" = false))]
    pub behind_proxy: Option<bool>,
    /// Address and UDP port at which browsers' media arrives. Default: the host of `listen`, one port above.
    pub media_listen: Option<String>,
    /// Addresses of this machine as browsers see it, where that differs from `media_listen` (NAT).
    pub media_addresses: Option<Vec<String>>,
    /// STUN servers that browsers are told of, as in `stun:stun.example.org:3478`. Default: none.
    pub ice_servers: Option<Vec<String>>,
    /// Sessions that may run at once, 1 to 4096.
    #[schemars(extend("default" = defaults::MAX_SESSIONS))]
    pub max_sessions: Option<usize>,
    /// So long a participant's link is valid, hours, above 0, at most 720.
    #[schemars(extend("default" = defaults::JOIN_HOURS))]
    pub join_hours: Option<f64>,
    /// Requests that one address may make a second, 1 to 10000; ten times as many in a burst.
    #[schemars(extend("default" = defaults::REQUESTS_PER_SECOND))]
    pub requests_per_second: Option<u32>,
    /// Cameras that may be watched for who asks by the API: networks and names, as in `["192.0.2.0/24", "*.clinic.example"]`.
    /// Default: any. Sources of this file are not asked about.
    pub cameras: Option<Vec<String>>,
}

/// `[controller]`: who is answerable for what is done with people's pictures and voices. Participants read it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawController {
    /// Name of the clinic, practice or institute.
    pub name: Option<String>,
    /// How a participant reaches it: an address, a telephone number.
    pub contact: Option<String>,
}

/// `[server]` and `[controller]` as meant.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// Of the HTTP API and the pages.
    pub listen: SocketAddr,
    /// Where browsers reach it; ends without a slash. None: where it listens.
    pub public_url: Option<String>,
    /// Certificate chain and key, PEM files that exist.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// A proxy tells the address of who asks.
    pub behind_proxy: bool,
    /// Where browsers' media arrives, UDP.
    pub media_listen: SocketAddr,
    /// What browsers are told of that, if not `media_listen` itself.
    pub media_addresses: Vec<IpAddr>,
    /// STUN addresses for browsers.
    pub ice_servers: Vec<String>,
    /// Sessions at once.
    pub max_sessions: usize,
    /// Validity of a participant's link.
    pub join_for: std::time::Duration,
    /// Requests of one address.
    pub requests_per_second: u32,
    /// Cameras that may be watched for who asks by the API; None: any.
    pub cameras: Option<Arc<Cameras>>,
    /// Who is answerable; None: not said, which `serve` refuses where participants join.
    pub controller: Option<Controller>,
}

/// Who is answerable, in words for participants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Controller {
    /// Name of the clinic, practice or institute.
    pub name: String,
    /// How a participant reaches it.
    pub contact: String,
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Care of the person who is watched.
    HealthCare,
    /// Research that the person takes part in.
    Research,
    /// The person's own wish.
    Wellbeing,
    /// Work: forbidden without a medical or safety reason (EU AI Act, Art. 5(1)(f)).
    Workplace,
    /// School or study: the same.
    Education,
}

/// Why emotions may be inferred at a workplace or in education: the two reasons that EU AI Act Art. 5(1)(f) leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Basis {
    /// Which of the two.
    pub kind: BasisKind,
    /// Where it is written down, e.g. the number of a protocol.
    #[schema(min_length = 1, max_length = 500)]
    pub reference: String,
}

/// A reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BasisKind {
    /// A medical reason.
    Medical,
    /// A safety reason.
    Safety,
}

impl Purpose {
    /// In the words of the configuration and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HealthCare => "health_care",
            Self::Research => "research",
            Self::Wellbeing => "wellbeing",
            Self::Workplace => "workplace",
            Self::Education => "education",
        }
    }

    /// Whether a session may be held for it.
    ///
    /// # Errors
    /// It may not; in words, with what would be needed.
    pub fn permitted(self, basis: Option<&Basis>) -> Result<(), &'static str> {
        let needs = matches!(self, Self::Workplace | Self::Education);
        if needs && basis.is_none_or(|basis| basis.reference.trim().is_empty()) {
            return Err(
                "inferring emotions at work or in education is forbidden (EU AI Act, Art. 5(1)(f)) but for a medical \
                        or safety reason: name its kind and where it is written down in `basis`",
            );
        }
        Ok(())
    }
}

pub(super) fn build(
    raw: &RawServer,
    controller: &RawController,
    overrides: &Overrides,
    file: &str,
    dir: &Path,
    problems: &mut Problems,
) -> ServerConfig {
    let place = Place::new(file, "[server]");
    let listen = match &overrides.listen {
        Some(typed) => address(typed, "--listen", &Place::command_line(), problems),
        None => address(raw.listen.as_deref().unwrap_or(defaults::LISTEN), "listen", &place, problems),
    };
    let tls = certificate(raw, &place, dir, problems);
    let behind_proxy = raw.behind_proxy.unwrap_or(false);
    if !listen.ip().is_loopback() && tls.is_none() && !behind_proxy {
        let remedy =
            "give tls_cert and tls_key, or set behind_proxy = true where a proxy speaks HTTPS, or listen on 127.0.0.1";
        problems.push(&place, "listen", format!("{listen} is beyond this machine, and would speak plain HTTP"), remedy);
    }
    let above = SocketAddr::new(listen.ip(), listen.port().saturating_add(u16::from(listen.port() > 0)));
    let media_listen =
        raw.media_listen.as_deref().map_or(above, |typed| address(typed, "media_listen", &place, problems));
    let media_addresses = raw.media_addresses.iter().flatten().filter_map(|typed| match typed.parse::<IpAddr>() {
        Ok(ip) => Some(ip),
        Err(_) => {
            problems.push(&place, "media_addresses", format!("{typed} is no IP address"), "write as 203.0.113.7");
            None
        }
    });
    let media_addresses = media_addresses.collect();
    let max_sessions = raw.max_sessions.unwrap_or(defaults::MAX_SESSIONS);
    if !(1..=4096).contains(&max_sessions) {
        problems.push(&place, "max_sessions", format!("{max_sessions} is out of range"), "give 1 to 4096");
    }
    let hours = raw.join_hours.unwrap_or(defaults::JOIN_HOURS);
    let in_range = hours > 0.0 && hours <= 720.0;
    if !in_range {
        problems.push(&place, "join_hours", format!("{hours} is out of range"), "give more than 0, at most 720 hours");
    }
    let requests_per_second = raw.requests_per_second.unwrap_or(defaults::REQUESTS_PER_SECOND);
    if !(1..=10_000).contains(&requests_per_second) {
        let what = format!("{requests_per_second} is out of range");
        problems.push(&place, "requests_per_second", what, "give 1 to 10000");
    }
    ServerConfig {
        listen,
        public_url: public_url(raw, &place, problems),
        tls,
        behind_proxy,
        media_listen,
        media_addresses,
        ice_servers: ice_servers(raw, &place, problems),
        max_sessions,
        join_for: std::time::Duration::from_secs_f64(if in_range { hours * 3600.0 } else { 3600.0 }),
        requests_per_second,
        cameras: raw.cameras.as_ref().map(|entries| Arc::new(Cameras::read(entries, &place, problems))),
        controller: who(controller, file, problems),
    }
}

fn address(typed: &str, key: &str, place: &Place, problems: &mut Problems) -> SocketAddr {
    typed.parse().unwrap_or_else(|_| {
        problems.push(
            place,
            key,
            format!("{typed} is no address with a port"),
            "write as 127.0.0.1:8090 or [::1]:8090",
        );
        SocketAddr::from(([127, 0, 0, 1], 0))
    })
}

fn certificate(raw: &RawServer, place: &Place, dir: &Path, problems: &mut Problems) -> Option<(PathBuf, PathBuf)> {
    let (cert, key) = match (&raw.tls_cert, &raw.tls_key) {
        (None, None) => return None,
        (Some(cert), Some(key)) => (dir.join(cert), dir.join(key)),
        (cert, _) => {
            let missing = if cert.is_some() { "tls_key" } else { "tls_cert" };
            problems.push(place, missing, "is missing", "tls_cert and tls_key go together");
            return None;
        }
    };
    for (key, path) in [("tls_cert", &cert), ("tls_key", &key)] {
        if let Err(error) = std::fs::File::open(path) {
            problems.push(place, key, format!("{}: cannot be read: {error}", path.display()), "name a PEM file");
        }
    }
    Some((cert, key))
}

fn public_url(raw: &RawServer, place: &Place, problems: &mut Problems) -> Option<String> {
    let typed = raw.public_url.as_ref()?;
    let fits = Url::parse(typed).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.host().is_some()
            && url.username().is_empty()
            && url.query().is_none()
    });
    if !fits {
        problems.push(place, "public_url", "is no address of a website", "write as https://ahwatch.example.org");
    }
    Some(typed.trim_end_matches('/').to_owned())
}

fn ice_servers(raw: &RawServer, place: &Place, problems: &mut Problems) -> Vec<String> {
    let servers = raw.ice_servers.clone().unwrap_or_default();
    for server in &servers {
        if server.starts_with("turn:") || server.starts_with("turns:") {
            let what = "TURN servers need credentials, which browsers are not given here";
            problems.push(place, "ice_servers", what, "leave it out; open the UDP port of media_listen instead");
        } else if !(server.starts_with("stun:") || server.starts_with("stuns:")) {
            let what = format!("{server} is no STUN address");
            problems.push(place, "ice_servers", what, "write as stun:stun.example.org:3478");
        }
    }
    servers
}

fn who(raw: &RawController, file: &str, problems: &mut Problems) -> Option<Controller> {
    match (&raw.name, &raw.contact) {
        (Some(name), Some(contact)) if !name.trim().is_empty() && !contact.trim().is_empty() => {
            Some(Controller { name: name.trim().to_owned(), contact: contact.trim().to_owned() })
        }
        (None, None) => None,
        _ => {
            let place = Place::new(file, "[controller]");
            problems.push(&place, "", "needs name and contact", "participants read there who is answerable");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(text: &str) -> (ServerConfig, String) {
        let mut problems = Problems::default();
        let raw: RawServer = toml::from_str(text).unwrap();
        let server =
            build(&raw, &RawController::default(), &Overrides::default(), "a.toml", Path::new(""), &mut problems);
        (server, problems.to_string())
    }

    #[test]
    fn by_default_nobody_beyond_this_machine_can_ask() {
        let (server, problems) = built("");
        assert!(server.listen.ip().is_loopback() && server.media_listen.ip().is_loopback(), "{server:?}");
        assert_eq!(problems, "");
    }

    #[test]
    fn plain_http_beyond_this_machine_is_refused_but_behind_a_proxy() {
        assert!(built("listen = '0.0.0.0:80'").1.contains("plain HTTP"));
        assert_eq!(built("listen = '0.0.0.0:80'\nbehind_proxy = true").1, "");
    }

    #[test]
    fn work_and_education_need_a_reason_that_is_written_down() {
        let basis = |reference: &str| Basis { kind: BasisKind::Medical, reference: reference.into() };
        for purpose in [Purpose::Workplace, Purpose::Education] {
            assert!(purpose.permitted(None).is_err() && purpose.permitted(Some(&basis("  "))).is_err());
            assert!(purpose.permitted(Some(&basis("protocol 7"))).is_ok());
        }
        assert!(Purpose::HealthCare.permitted(None).is_ok());
    }
}
