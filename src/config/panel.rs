//! `[panel]`: what is asked of the judges before and while they are trusted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::problem::{Place, Problems};
use super::{Judging, Overrides, defaults, fingerprint};
use crate::judge::fingerprint::Fingerprint;

/// `[panel]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPanel {
    /// Whether each judge is asked about built-in clips at start, to see that it hears and sees.
    #[schemars(extend("default" = true))]
    pub canary: Option<bool>,
    /// Whether a judge that failed this votes all the same, with a flag on every vote, instead of being set aside.
    #[schemars(extend("default" = false))]
    pub allow_degraded: Option<bool>,
    /// What the panel answered when `ahwatch doctor --save` asked it, a file relative to this file. A judge that answers
    /// otherwise is set aside.
    pub fingerprint: Option<PathBuf>,
    /// How often the panel is compared with it while running, seconds, at least 1.
    #[schemars(extend("default" = defaults::FINGERPRINT_SECS))]
    pub fingerprint_secs: Option<f64>,
    /// How far a log-odds may be off besides its spread, natural logarithm, above 0.
    #[schemars(extend("default" = defaults::FINGERPRINT_TOLERANCE))]
    pub fingerprint_tolerance: Option<f64>,
}

/// `[panel]` as meant.
#[derive(Clone, Debug, PartialEq)]
pub struct PanelConfig {
    /// Whether judges are examined at start.
    pub canary: bool,
    /// Whether one that failed votes, flagged.
    pub allow_degraded: bool,
    /// What the panel is compared with, and the file it is from.
    pub fingerprint: Option<(PathBuf, Fingerprint)>,
    /// How often, while running.
    pub fingerprint_every: Duration,
    /// Natural log-odds.
    pub fingerprint_tolerance: f64,
}

pub(super) fn build(
    raw: &RawPanel,
    overrides: &Overrides,
    file: &str,
    dir: &Path,
    judging: &Judging,
    problems: &mut Problems,
) -> PanelConfig {
    let place = Place::new(file, "[panel]");
    let secs = raw.fingerprint_secs.unwrap_or(defaults::FINGERPRINT_SECS);
    let in_range = (1.0..=3.2e7).contains(&secs);
    if !in_range {
        problems.push(&place, "fingerprint_secs", format!("{secs} is out of range"), "give 1 second to a year");
    }
    let tolerance = raw.fingerprint_tolerance.unwrap_or(defaults::FINGERPRINT_TOLERANCE);
    if !(tolerance > 0.0 && tolerance.is_finite()) {
        let remedy = "give more than 0; the default allows for rounding";
        problems.push(&place, "fingerprint_tolerance", format!("{tolerance} is out of range"), remedy);
    }
    let typed = raw.fingerprint.as_ref().map(|path| (place, "fingerprint", dir.join(path)));
    let option = overrides.fingerprint.as_ref().map(|path| (Place::command_line(), "--fingerprint", path.clone()));
    let fingerprint = option.or(typed).and_then(|(place, key, path)| {
        let Judging::Panel(judges) = judging else {
            problems.push(&place, key, "there is no panel to compare", "name one, or leave it out");
            return None;
        };
        let shown = path.display();
        let found = match fingerprint::read(&path) {
            Ok(found) => found,
            Err(why) => {
                problems.push(&place, key, format!("{shown} {why}"), "`ahwatch doctor --save FILE` writes one");
                return None;
            }
        };
        let differences = found.differences(judges);
        if !differences.is_empty() {
            let what = format!("{shown} is the fingerprint of another panel: {}", differences.join("; "));
            problems.push(&place, key, what, "save this panel's with `ahwatch doctor --save FILE`");
            return None;
        }
        Some((path, found))
    });
    PanelConfig {
        canary: !overrides.no_canary && raw.canary.unwrap_or(true),
        allow_degraded: overrides.allow_degraded || raw.allow_degraded.unwrap_or(false),
        fingerprint,
        fingerprint_every: Duration::from_secs_f64(if in_range { secs } else { defaults::FINGERPRINT_SECS }),
        fingerprint_tolerance: tolerance,
    }
}
