//! `[journal]`: where events are kept, and how long.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::defaults;
use super::problem::{Place, Problems};
use super::raw::RawConfig;

/// `[journal]`: what `ahwatch serve` keeps of what it says. Nothing of picture or sound.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawJournal {
    /// The file, relative to this configuration file.
    #[schemars(extend("default" = defaults::JOURNAL))]
    pub path: Option<PathBuf>,
    /// How long events are kept that are no alerts, days, 1 to 36500.
    #[schemars(extend("default" = defaults::KEEP_EVENTS_DAYS))]
    pub keep_events_days: Option<u32>,
    /// How long alerts, what somebody made of them, and sessions are kept, days, 1 to 36500.
    #[schemars(extend("default" = defaults::KEEP_ALERTS_DAYS))]
    pub keep_alerts_days: Option<u32>,
    /// How long it is kept who looked at what, and receipts of withdrawals, days, 1 to 36500.
    #[schemars(extend("default" = defaults::KEEP_AUDIT_DAYS))]
    pub keep_audit_days: Option<u32>,
}

/// `[journal]` as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalConfig {
    /// The file; need not be there.
    pub path: PathBuf,
    /// Days.
    pub keep_events_days: u32,
    /// Days.
    pub keep_alerts_days: u32,
    /// Days.
    pub keep_audit_days: u32,
}

impl JournalConfig {
    /// Only this of a configuration file, whatever else stands in it: for who looks into a journal and runs nothing.
    ///
    /// # Errors
    /// What is wrong with `[journal]`.
    pub fn of_file(text: &str, file: &Path) -> Result<Self, Problems> {
        let raw = RawConfig::parse(text, file);
        let mut problems = Problems::default();
        problems.0.extend(raw.origin.problems.0.into_iter().filter(|problem| problem.key.starts_with("[journal]")));
        let name = file.display().to_string();
        let config = build(&raw.journal, &name, &super::dir_of(Some(file)), &mut problems);
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// The defaults, with this file.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self {
            path,
            keep_events_days: defaults::KEEP_EVENTS_DAYS,
            keep_alerts_days: defaults::KEEP_ALERTS_DAYS,
            keep_audit_days: defaults::KEEP_AUDIT_DAYS,
        }
    }
}

pub(super) fn build(raw: &RawJournal, file: &str, dir: &Path, problems: &mut Problems) -> JournalConfig {
    let place = Place::new(file, "[journal]");
    let mut days = |key, typed: Option<u32>, default| {
        let days = typed.unwrap_or(default);
        if !(1..=36_500).contains(&days) {
            problems.push(&place, key, format!("{days} is out of range"), "give 1 to 36500 days");
        }
        days
    };
    let keep_events_days = days("keep_events_days", raw.keep_events_days, defaults::KEEP_EVENTS_DAYS);
    let keep_alerts_days = days("keep_alerts_days", raw.keep_alerts_days, defaults::KEEP_ALERTS_DAYS);
    let keep_audit_days = days("keep_audit_days", raw.keep_audit_days, defaults::KEEP_AUDIT_DAYS);
    let path = raw.path.clone().unwrap_or_else(|| defaults::JOURNAL.into());
    if path.as_os_str().is_empty() || path.file_name().is_none() {
        problems.push(&place, "path", "names no file", format!("give a file, such as {}", defaults::JOURNAL));
    }
    JournalConfig { path: dir.join(path), keep_events_days, keep_alerts_days, keep_audit_days }
}
