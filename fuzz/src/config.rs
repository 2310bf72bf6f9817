//! A configuration file: refused with one line a problem and no secret, or accepted with everything as it must be.

use std::net::IpAddr;
use std::path::Path;

use ahwatch::alert::sink::address::is_public;
use ahwatch::config::{Config, Input, Judging, Overrides, RawConfig, Receiver};
use url::{Host, Url};

/// What every environment variable holds: a key of a webhook that must not be shown anywhere.
const SECRET: &str = "whsec_UExBTlRFRC1QTEFOVEVELVBMQU5URUQtMDEyMw==";

/// The text of `ahwatch.toml`; after a form feed that of `panel.toml`.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // A file that is read must be one of ours: /dev/zero has no end.
    if text.contains("/dev") || text.contains("/proc") || text.contains("..") || text.contains("UExBTlRF") {
        return;
    }
    let (main, panel) = text.split_once('\u{c}').map_or((text, None), |(main, panel)| (main, Some(panel)));
    let mut raw = RawConfig::parse(main, Path::new("ahwatch.toml"));
    if let Some(panel) = panel {
        raw = raw.with_panel(panel, Path::new("panel.toml"));
    }
    match Config::build(raw, Overrides::default(), &|_| Some(SECRET.to_owned())) {
        Ok(config) => accepted(&config),
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in &problems.0 {
                let line = problem.to_string();
                assert!(!line.chars().any(char::is_control), "{line:?}");
                assert!(!line.contains("UExBTlRF"), "{line}");
            }
        }
    }
}

fn accepted(config: &Config) {
    assert!(!format!("{config:?}").contains("UExBTlRF"), "no secret is printed");
    let window = &config.window;
    assert!(window.hop.as_nanos() > 0 && window.hop <= window.window, "{window:?}");
    let share = config.session.min_coverage;
    assert!(share > 0.0 && share <= 1.0);
    assert!(config.session.open_windows > 0 && config.session.clear_windows > 0);
    if let Judging::Panel(judges) = &config.judging {
        assert!(judges.len() % 2 == 1, "an even panel can be split");
        for (n, judge) in judges.iter().enumerate() {
            assert!(judges[..n].iter().all(|other| other.name != judge.name));
            assert!(!judge.base_urls.is_empty());
        }
    }
    for (n, source) in config.sources.iter().enumerate() {
        assert!(config.sources[..n].iter().all(|other| other.name != source.name));
        if let Input::Rtsp(url) = &source.input {
            let url = Url::parse(url.expose()).expect("it was parsed before");
            assert!(matches!(url.scheme(), "rtsp" | "rtsps"));
        }
    }
    for sink in &config.sinks {
        if let Receiver::Webhook { url, allow_private: false, .. } = &sink.to {
            let literal: Option<IpAddr> = match url.host() {
                Some(Host::Ipv4(address)) => Some(address.into()),
                Some(Host::Ipv6(address)) => Some(address.into()),
                _ => None,
            };
            assert!(literal.is_none_or(is_public), "{url}");
        }
    }
    if !config.server.listen.ip().is_loopback() {
        assert!(config.server.tls.is_some() || config.server.behind_proxy, "plain HTTP beyond this machine");
    }
}
