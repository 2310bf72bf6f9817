//! The journal with real receivers: webhooks, a broker, and a process that is killed.

pub mod broker;
mod cli;
pub mod killed;
pub mod receiver;
mod webhook;

use std::path::Path;
use std::sync::Arc;

use ahwatch::alert::event::TYPES;
use ahwatch::alert::journal::Journal;
use ahwatch::alert::{Alert, AlertAbout, Event, EventKind};
use ahwatch::config::{Config, JournalConfig, Overrides, RawConfig, SinkConfig};
use ahwatch::judge::{Label, WindowId};
use ahwatch::session::{Labels, Rule, SessionKind};
use ahwatch::time::{MediaTime, Span};

/// 32 bytes, as a receiver and the sender share them.
pub const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// An alert of a session, the n-th of its events.
pub fn alert(session: &str, number: u64) -> Event {
    let labels = Labels { vote_of_max: Label::Present, max_of_vote: Label::Present };
    let alert = Alert {
        about: AlertAbout::Session,
        kind: SessionKind::Panel,
        rule: Rule::VoteOfMax,
        labels,
        maxima: vec![("v1".into(), Label::Present)],
        window: WindowId { continuity: 0, index: 0 },
        cues: None,
    };
    let id: Arc<str> = session.into();
    Event {
        session: Some(id.clone()),
        scope: id,
        number,
        source: "room-1".into(),
        continuity: 0,
        span: Span::new(MediaTime::ZERO, MediaTime::from_millis(5000)),
        wall: ahwatch::time::wall(),
        kind: EventKind::AlertRaised(Box::new(alert)),
    }
}

/// Sinks, as a configuration has them.
pub fn sinks(text: &str, dir: &Path) -> Vec<SinkConfig> {
    let env = |name: &str| match name {
        "HOOK" => Some(SECRET.to_owned()),
        "USER" => Some("watch".to_owned()),
        "PASSWORD" => Some("hunter2".to_owned()),
        _ => None,
    };
    let raw = RawConfig::parse(text, &dir.join("ahwatch.toml"));
    Config::build(raw, Overrides::default(), &env).unwrap_or_else(|problems| panic!("{problems}")).sinks
}

/// A journal in `dir` that these sinks want alerts of.
pub fn journal(dir: &Path, sinks: &[SinkConfig]) -> Journal {
    assert_eq!(TYPES[8], "ah.alert.raised.v1");
    ahwatch::run::journal(&JournalConfig::at(dir.join("j.db")), sinks).unwrap()
}
