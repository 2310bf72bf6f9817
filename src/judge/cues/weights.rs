//! The weights file: which cues count, in which direction, how much.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Values;
use crate::judge::{Cue, CueReading};

/// Name of the weights file, embedded and in an assets directory's `models/`.
pub const WEIGHTS_FILE: &str = "cue-baseline-v0.toml";
const EMBEDDED: &str = include_str!("../../../models/cue-baseline-v0.toml");
/// Cues named in a reading.
const TOP: usize = 5;

/// A weights file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// It is there but cannot be read.
    #[error("cannot read {}: {source}; make it readable, or leave `--assets` out to use the embedded one", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It does not say what it must.
    #[error("{file} is no weights file: {message}; compare it with models/{WEIGHTS_FILE}")]
    Invalid {
        /// The file.
        file: String,
        /// What is wrong in it.
        message: String,
    },
}

/// How cues become an index. See `models/cue-baseline-v0.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// Name and version, in every reading.
    pub version: String,
    /// An index from here on is Present; above 0, at most 1.
    pub threshold: f64,
    /// Less speech in a window is an abstention, in seconds.
    pub min_speech_secs: f64,
    #[serde(rename = "group")]
    groups: Vec<Group>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    weight: f64,
    /// For people; demanded, so that no sign stands without its ground.
    #[serde(rename = "reference")]
    _reference: String,
    #[serde(rename = "cue")]
    cues: Vec<Entry>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    unit: String,
    sign: i8,
    low: f64,
    high: f64,
    #[serde(rename = "note")]
    _note: Option<String>,
}

impl Entry {
    fn strength(&self, value: f64) -> f64 {
        let up = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        if self.sign > 0 { up } else { 1.0 - up }
    }
}

impl Weights {
    /// The embedded file, or `<assets>/models/cue-baseline-v0.toml` where there is one.
    ///
    /// # Errors
    /// The file cannot be read, or does not hold weights.
    pub fn load(assets: Option<&Path>) -> Result<Self, WeightsError> {
        let path = assets.map(|assets| assets.join("models").join(WEIGHTS_FILE)).filter(|path| path.exists());
        match path {
            None => Self::parse("the embedded file", EMBEDDED),
            Some(path) => match std::fs::read_to_string(&path) {
                Ok(text) => Self::parse(&path.display().to_string(), &text),
                Err(source) => Err(WeightsError::Read { path, source }),
            },
        }
    }

    fn parse(file: &str, text: &str) -> Result<Self, WeightsError> {
        let invalid = |message: String| WeightsError::Invalid { file: file.to_owned(), message };
        let weights: Self = toml::from_str(text).map_err(|error| invalid(error.message().to_owned()))?;
        weights.check().map_err(invalid)?;
        Ok(weights)
    }

    fn check(&self) -> Result<(), String> {
        if !(self.threshold > 0.0 && self.threshold <= 1.0) {
            return Err(format!("threshold = {} is not above 0 and at most 1", self.threshold));
        }
        if !(self.min_speech_secs >= 0.0 && self.min_speech_secs.is_finite()) {
            return Err(format!("min_speech_secs = {} is no time", self.min_speech_secs));
        }
        for group in &self.groups {
            if !(group.weight > 0.0 && group.weight.is_finite()) {
                return Err(format!("weight = {} of group {} is not above 0", group.weight, group.name));
            }
        }
        let mut seen: Vec<&str> = Vec::new();
        for cue in self.groups.iter().flat_map(|group| &group.cues) {
            if !Values::NAMES.contains(&cue.name.as_str()) {
                return Err(format!("cue \"{}\" is not one of {}", cue.name, Values::NAMES.join(", ")));
            }
            if seen.contains(&cue.name.as_str()) {
                return Err(format!("cue \"{}\" is there twice", cue.name));
            }
            seen.push(&cue.name);
            if !(cue.low < cue.high && cue.low.is_finite() && cue.high.is_finite()) {
                return Err(format!("low = {} of {} is not below high = {}", cue.low, cue.name, cue.high));
            }
            if cue.sign.abs() != 1 {
                return Err(format!("sign = {} of {} is neither 1 nor -1", cue.sign, cue.name));
            }
        }
        if seen.is_empty() { Err("it has no cue".to_owned()) } else { Ok(()) }
    }

    /// The weighted mean of the strengths of what was measured; contributions add up to the index.
    #[must_use]
    pub fn read(&self, values: &Values) -> CueReading {
        let known: Vec<(f64, Vec<(&Entry, f64)>)> = self
            .groups
            .iter()
            .map(|group| {
                let cues = group.cues.iter().filter_map(|cue| Some((cue, values.get(&cue.name)?)));
                (group.weight, cues.collect::<Vec<_>>())
            })
            .filter(|(_, cues)| !cues.is_empty())
            .collect();
        let total: f64 = known.iter().map(|(weight, _)| weight).sum();
        let mut top: Vec<Cue> = Vec::new();
        for (weight, cues) in &known {
            let share = weight / total / cues.len() as f64;
            top.extend(cues.iter().map(|&(cue, value)| Cue {
                name: cue.name.as_str().into(),
                value,
                unit: cue.unit.as_str().into(),
                contribution: share * cue.strength(value),
            }));
        }
        let index = top.iter().map(|cue| cue.contribution).sum::<f64>().clamp(0.0, 1.0);
        top.retain(|cue| cue.contribution > 0.0);
        // Stable: equal contributions keep the file's order.
        top.sort_by(|a, b| b.contribution.total_cmp(&a.contribution));
        top.truncate(TOP);
        CueReading { index, version: self.version.as_str().into(), top }
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;

    fn weights() -> Weights {
        Weights::load(None).unwrap()
    }

    #[test]
    fn nothing_measured_is_an_index_of_zero() {
        let reading = weights().read(&Values::default());
        assert!(reading.index == 0.0 && reading.top.is_empty());
    }

    #[test]
    fn strength_runs_from_one_end_of_the_range_to_the_other() {
        let index = |values: Values| weights().read(&values).index;
        let pause = |secs| index(Values { long_pause: Some(secs), ..Values::default() });
        assert_eq!([pause(0.5), pause(0.6), pause(1.5), pause(9.0)], [0.0, 0.0, 1.0, 1.0]);
        assert!((pause(1.05) - 0.5).abs() < 1e-9);
        let rate = |per_sec| index(Values { speech_rate: Some(per_sec), ..Values::default() });
        assert_eq!([rate(1.0), rate(2.0), rate(4.0), rate(5.0)], [1.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn an_unmeasured_group_leaves_the_mean_and_contributions_add_up() {
        let values = Values { long_pause: Some(1.5), long_hold: Some(0.5), head_away: Some(0.0), ..Values::default() };
        let reading = weights().read(&values);
        assert!((reading.index - (0.3 + 0.15) / 0.7).abs() < 1e-9, "{reading:?}");
        assert!((reading.top.iter().map(|cue| cue.contribution).sum::<f64>() - reading.index).abs() < 1e-9);
        assert_eq!(reading.top.iter().map(|cue| &*cue.name).collect::<Vec<_>>(), ["long_pause", "long_hold"]);
    }

    #[test]
    fn all_cues_of_the_program_are_in_the_shipped_file() {
        let weights = weights();
        let named: Vec<&str> = weights.groups.iter().flat_map(|group| &group.cues).map(|cue| &*cue.name).collect();
        let missing: Vec<_> = Values::NAMES.iter().filter(|name| !named.contains(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert_eq!(weights.version, WEIGHTS_FILE.trim_end_matches(".toml"));
    }

    #[test]
    fn wrong_files_say_what_is_wrong() {
        for (from, to, says) in [
            ("threshold = 0.35", "threshold = 35", "at most 1"),
            ("\"pause_rate\"", "\"paws\"", "not one of pause_rate"),
            ("\"pause_rate\"", "\"pause_ratio\"", "twice"),
            ("low = 12.0", "low = 99.0", "not below"),
            ("sign = 1", "sign = 2", "neither"),
            ("weight = 0.3", "weight = -1", "not above 0"),
            ("threshold", "treshold", "treshold"),
        ] {
            let text = EMBEDDED.replace(from, to);
            assert_ne!(text, EMBEDDED);
            let error = Weights::parse("x.toml", &text).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("x.toml"), "{error}");
        }
    }
}
