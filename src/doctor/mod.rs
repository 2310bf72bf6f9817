//! `ahwatch doctor`: looks at everything a watch would need, and says of each what is wrong and what to do.
//!
//! - `local`: this machine: GStreamer, devices, ONNX Runtime, models, the configuration.
//! - `judges`: every judge at every `base_url`: reached, key, model, server, an answer, the canary, the fingerprint.
//! - `table`: the checks for people and for programs.

mod judges;
mod local;
mod table;

use std::collections::BTreeSet;

pub use judges::{Asking, ask};
pub use local::{configured, machine};
pub use table::{lines, table};

use crate::config::Config;
use crate::encode::EncodeError;
use crate::judge::canary::Clips;
use crate::judge::panel::Panel;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// As it should be.
    Ok,
    /// It will do, with what is said.
    Warning,
    /// It will not do.
    Failed,
}

impl Status {
    /// The word of table and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it belongs to, such as `GStreamer` or `judge v1`.
    pub group: String,
    /// What was looked at.
    pub what: String,
    /// How it ended.
    pub status: Status,
    /// What was found. Never a credential.
    pub finding: String,
    /// What to do; None: nothing.
    pub remedy: Option<String>,
}

impl Check {
    pub(crate) fn ok(group: &str, what: &str, finding: impl Into<String>) -> Self {
        Self { group: group.into(), what: what.into(), status: Status::Ok, finding: finding.into(), remedy: None }
    }

    pub(crate) fn warning(group: &str, what: &str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status: Status::Warning, remedy: Some(remedy.into()), ..Self::ok(group, what, finding) }
    }

    pub(crate) fn failed(group: &str, what: &str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status: Status::Failed, ..Self::warning(group, what, finding, remedy) }
    }
}

/// The built-in clips in the sizes of a panel. Blocking.
///
/// # Errors
/// They could not be encoded.
pub fn clips(panel: &Panel, config: &Config) -> Result<Clips, EncodeError> {
    let sizes: BTreeSet<u32> = panel.judges().iter().map(|judge| judge.config().max_pixels).collect();
    Clips::build(config.window.clip_codec, &sizes)
}
