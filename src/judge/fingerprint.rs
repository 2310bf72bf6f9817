//! What a panel answered to the built-in clips when somebody had tested it, to notice when it answers otherwise. Pure.
//!
//! A server may be started with another checkpoint, quantisation or `fps`, and nothing in its answers says so. The log-odds of
//! the same clips do: a judge is changed when one of them is off by more than the tolerance and both spreads.
//!
//! The file's form is `config::fingerprint`'s.

use std::collections::BTreeMap;

use super::canary::{CanaryClip, Clips, Heard, hash};
use super::prompt::{Accepts, PromptPart};
use crate::config::JudgeConfig;
use crate::digest::sha256;

/// Natural log-odds that a clip may be off. Servers compute logits in 16 bits, which between 16 and 32 have steps of 1/8; one
/// step of either label, by another order of summation, is 1/4. Argued from
/// that, not measured on real checkpoints.
pub const TOLERANCE: f64 = 0.25;

/// A panel as it answered once.
#[derive(Clone, Debug, PartialEq)]
pub struct Fingerprint {
    /// When it was saved, RFC 3339.
    pub saved: String,
    /// Its judges, in panel order.
    pub judges: Vec<JudgeFingerprint>,
}

/// One judge as it answered.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgeFingerprint {
    /// Its name.
    pub name: String,
    /// The model or adapter that was asked.
    pub model: String,
    /// [`prompt_hash`] of what it was asked.
    pub prompt_sha256: String,
    /// As configured.
    pub time_scale: f64,
    /// What the server said of itself; only told.
    pub server: Option<String>,
    /// What it answered; empty: its server gave no log-probabilities of the labels.
    pub clips: Vec<ClipFingerprint>,
}

/// One built-in clip.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipFingerprint {
    /// Which.
    pub clip: CanaryClip,
    /// SHA-256 of its files.
    pub sha256: String,
    /// Mean natural log-odds of Yes against No.
    pub log_odds: f64,
    /// Largest less smallest of the repeats.
    pub spread: f64,
}

/// The clips of a fingerprint that a judge of these channels is asked about.
#[must_use]
pub fn clips_of(accepts: Accepts) -> Vec<CanaryClip> {
    let all = [(true, CanaryClip::Still), (accepts.audio, CanaryClip::Speech), (accepts.video, CanaryClip::Moving)];
    all.into_iter().filter_map(|(asked, clip)| asked.then_some(clip)).collect()
}

/// The clip of a fingerprint of this name.
#[must_use]
pub fn clip_named(name: &str) -> Option<CanaryClip> {
    clips_of(Accepts { video: true, audio: true }).into_iter().find(|clip| clip.as_str() == name)
}

/// SHA-256, hexadecimal, of everything a judge is told in words.
#[must_use]
pub fn prompt_hash(config: &JudgeConfig) -> String {
    // No text of a prompt holds a zero byte and a tag.
    let tagged = |part: &PromptPart| match part {
        PromptPart::Text(text) => format!("\0text\0{text}"),
        PromptPart::Video => "\0video".to_owned(),
        PromptPart::Audio => "\0audio".to_owned(),
    };
    sha256(std::iter::once(config.system.clone()).chain(config.prompt.parts().iter().map(tagged)))
}

impl JudgeFingerprint {
    /// From what a judge answered.
    #[must_use]
    pub fn new(
        config: &JudgeConfig,
        server: Option<String>,
        clips: &Clips,
        heard: &BTreeMap<CanaryClip, Heard>,
    ) -> Self {
        let clip = |clip: CanaryClip| {
            let (log_odds, spread) = heard.get(&clip)?.log_odds()?;
            let sha256 = hash(clips.get(clip, config.max_pixels)?);
            Some(ClipFingerprint { clip, sha256, log_odds, spread })
        };
        Self {
            name: config.name.to_string(),
            model: config.model.clone(),
            prompt_sha256: prompt_hash(config),
            time_scale: config.time_scale,
            server,
            clips: clips_of(config.accepts).into_iter().filter_map(clip).collect(),
        }
    }

    /// Whether a judge still answers so; else what is off. Clips without log-odds in the file are not compared.
    ///
    /// # Errors
    /// One line on what is off, or on what the server no longer gives.
    pub fn compare(&self, heard: &BTreeMap<CanaryClip, Heard>, tolerance: f64) -> Result<Agreement, String> {
        let mut agreement = Agreement { clips: 0, off: 0.0 };
        for saved in &self.clips {
            let name = saved.clip.as_str();
            let Some((log_odds, spread)) = heard.get(&saved.clip).and_then(Heard::log_odds) else {
                return Err(format!("the server no longer gives log-odds (clip {name})"));
            };
            let (off, allowed) = ((log_odds - saved.log_odds).abs(), tolerance + spread + saved.spread);
            if off.is_nan() || off > allowed {
                return Err(format!(
                    "log-odds of clip {name} were {:.4} and are {log_odds:.4}: off by {off:.4}, allowed are {allowed:.4}",
                    saved.log_odds
                ));
            }
            agreement.clips += 1;
            agreement.off = off.max(agreement.off);
        }
        Ok(agreement)
    }
}

/// How well a judge agrees with its fingerprint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Clips compared.
    pub clips: usize,
    /// The largest distance, natural log-odds.
    pub off: f64,
}

impl Fingerprint {
    /// The judge of this name.
    #[must_use]
    pub fn judge(&self, name: &str) -> Option<&JudgeFingerprint> {
        self.judges.iter().find(|judge| judge.name == name)
    }

    /// Everything in which it is of another panel than these judges; empty: it is theirs.
    #[must_use]
    pub fn differences(&self, judges: &[JudgeConfig]) -> Vec<String> {
        let mut differences = Vec::new();
        for config in judges {
            let name = &config.name;
            let Some(saved) = self.judge(name) else {
                differences.push(format!("it has no judge {name}"));
                continue;
            };
            if saved.model != config.model {
                differences.push(format!("judge {name} has model {} there and {} here", saved.model, config.model));
            }
            if saved.prompt_sha256 != prompt_hash(config) {
                differences.push(format!("judge {name} was asked with another prompt, system message or media"));
            }
            #[allow(clippy::float_cmp, reason = "one of two exact values")]
            if saved.time_scale != config.time_scale {
                differences.push(format!(
                    "judge {name} has time_scale {} there and {} here",
                    saved.time_scale, config.time_scale
                ));
            }
        }
        let here = |name: &str| judges.iter().any(|config| &*config.name == name);
        let others = self.judges.iter().filter(|judge| !here(&judge.name));
        differences.extend(others.map(|judge| format!("it has a judge {}, who is not of this panel", judge.name)));
        differences
    }

    /// The first judge whose clips were others than these, which makes its numbers worthless.
    #[must_use]
    pub fn other_clips(&self, judges: &[JudgeConfig], clips: &Clips) -> Option<String> {
        judges.iter().find_map(|config| {
            let other =
                self.judge(&config.name)?.clips.iter().find(|saved| {
                    clips.get(saved.clip, config.max_pixels).is_none_or(|clip| hash(clip) != saved.sha256)
                })?;
            Some(format!(
                "the built-in clip {} that judge {} was asked about was another",
                other.clip.as_str(),
                config.name
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::config::{Config, Judging, Overrides, RawConfig};
    use crate::judge::canary::LabelLogprobs;

    pub fn judge(name: &str, more: &str) -> JudgeConfig {
        let text = format!("[[judge]]\nname = \"{name}\"\nbase_url = \"https://h/v1\"\nmodel = \"m\"\n{more}");
        let raw = RawConfig::parse(&text, Path::new("a.toml"));
        match Config::build(raw, Overrides::default(), &|_| None).unwrap().judging {
            Judging::Panel(mut judges) => judges.remove(0),
            Judging::Cues { .. } => panic!("a panel"),
        }
    }

    fn heard(log_odds: f64) -> BTreeMap<CanaryClip, Heard> {
        let labels = vec![LabelLogprobs { yes: log_odds - 1.0, no: -1.0 }; 5];
        clips_of(Accepts { video: true, audio: true })
            .into_iter()
            .map(|clip| (clip, Heard { labels: labels.clone(), ..Heard::default() }))
            .collect()
    }

    fn saved(config: &JudgeConfig, log_odds: f64) -> Fingerprint {
        let sizes = std::collections::BTreeSet::from([config.max_pixels]);
        let clips = Clips::build(crate::config::ClipCodec::Jpeg, &sizes).unwrap();
        let judge = JudgeFingerprint::new(config, None, &clips, &heard(log_odds));
        assert_eq!(judge.clips.len(), 3);
        assert_eq!(
            Fingerprint { saved: String::new(), judges: vec![judge.clone()] }
                .other_clips(std::slice::from_ref(config), &clips),
            None
        );
        Fingerprint { saved: "2026-01-02T03:04:05Z".into(), judges: vec![judge] }
    }

    #[test]
    fn another_panel_is_told_by_what_differs() {
        let ours = judge("v1", "");
        let file = saved(&ours, 0.5);
        assert_eq!(file.differences(std::slice::from_ref(&ours)), Vec::<String>::new());
        let told = |other: JudgeConfig| file.differences(&[other]).join("; ");
        assert!(told(JudgeConfig { model: "n".into(), ..ours.clone() }).contains("model m there and n here"));
        assert!(told(judge("v1", "prompt = \"definitions\"")).contains("another prompt"));
        assert!(told(judge("v1", "accepts = [\"audio\"]")).contains("another prompt"));
        assert!(told(judge("v1", "system = \"x\"")).contains("another prompt"));
        assert!(told(judge("v1", "time_scale = 1.0")).contains("time_scale 2 there and 1 here"));
        let other = told(judge("v2", ""));
        assert!(other.contains("no judge v2") && other.contains("a judge v1"), "{other}");
    }

    #[test]
    fn a_server_that_gives_no_log_odds_any_more_has_changed() {
        let file = saved(&judge("v1", ""), 0.5);
        let silent = heard(0.5).into_keys().map(|clip| (clip, Heard::default())).collect();
        assert!(file.judges[0].compare(&silent, TOLERANCE).unwrap_err().contains("no longer"));
    }

    proptest! {
        #[test]
        fn a_judge_has_changed_when_it_is_off_by_more_than_the_tolerance(was in -20.0_f64..20.0, is in -20.0_f64..20.0) {
            static FILE: std::sync::OnceLock<Fingerprint> = std::sync::OnceLock::new();
            let mut judge = FILE.get_or_init(|| saved(&judge("v1", ""), 0.0)).judges[0].clone();
            for clip in &mut judge.clips {
                clip.log_odds = was;
            }
            let agrees = judge.compare(&heard(is), TOLERANCE);
            if (was - is).abs() < TOLERANCE - 1e-9 {
                prop_assert!(agrees.is_ok());
            } else if (was - is).abs() > TOLERANCE + 1e-9 {
                prop_assert!(agrees.is_err());
            }
        }
    }
}
