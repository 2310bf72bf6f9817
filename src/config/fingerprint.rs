//! The fingerprint file: a panel's log-odds on the built-in clips, as TOML. Written by `ahwatch doctor --save`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::judge::fingerprint::{ClipFingerprint, Fingerprint, JudgeFingerprint, clip_named};

/// The form written here.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    saved: String,
    #[serde(default)]
    judge: Vec<Judge>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Judge {
    name: String,
    model: String,
    prompt_sha256: String,
    time_scale: f64,
    server: Option<String>,
    #[serde(default)]
    clip: Vec<Clip>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Clip {
    name: String,
    sha256: String,
    log_odds: f64,
    spread: f64,
}

/// Reads a fingerprint.
///
/// # Errors
/// One line on why it is none.
pub fn read(path: &Path) -> Result<Fingerprint, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read ({})", error.kind()))?;
    let file: File = toml::from_str(&text).map_err(|error| {
        format!("is no fingerprint: {}", error.message().lines().next().unwrap_or("it is not TOML"))
    })?;
    if file.version != VERSION {
        return Err(format!("has version {}, and this program writes and reads {VERSION}", file.version));
    }
    let clip = |clip: Clip| {
        let known = clip_named(&clip.name);
        let Clip { sha256, log_odds, spread, .. } = clip;
        // Nothing is farther from a number that is none, or beyond all: such a clip would hide any change.
        if !log_odds.is_finite() || !spread.is_finite() || spread < 0.0 {
            return Err(format!(
                "has log_odds = {log_odds} and spread = {spread} for a clip; both are numbers, spread not below 0"
            ));
        }
        let known = known.ok_or_else(|| format!("names a clip \"{}\" that this program does not have", clip.name))?;
        Ok(ClipFingerprint { clip: known, sha256, log_odds, spread })
    };
    let judge = |judge: Judge| {
        let clips = judge.clip.into_iter().map(clip).collect::<Result<_, String>>()?;
        let Judge { name, model, prompt_sha256, time_scale, server, .. } = judge;
        if !time_scale.is_finite() {
            return Err(format!("has time_scale = {time_scale} for a judge, which is no number"));
        }
        Ok(JudgeFingerprint { name, model, prompt_sha256, time_scale, server, clips })
    };
    let judges = file.judge.into_iter().map(judge).collect::<Result<_, String>>()?;
    Ok(Fingerprint { saved: file.saved, judges })
}

/// The file of a fingerprint.
#[must_use]
pub fn text(fingerprint: &Fingerprint) -> String {
    let clip = |clip: &ClipFingerprint| Clip {
        name: clip.clip.as_str().to_owned(),
        sha256: clip.sha256.clone(),
        log_odds: clip.log_odds,
        spread: clip.spread,
    };
    let judge = |judge: &JudgeFingerprint| Judge {
        name: judge.name.clone(),
        model: judge.model.clone(),
        prompt_sha256: judge.prompt_sha256.clone(),
        time_scale: judge.time_scale,
        server: judge.server.clone(),
        clip: judge.clips.iter().map(clip).collect(),
    };
    let file = File {
        version: VERSION,
        saved: fingerprint.saved.clone(),
        judge: fingerprint.judges.iter().map(judge).collect(),
    };
    let head = "# How this panel answered the built-in clips (natural log-odds of Yes against No). Written by `ahwatch doctor --save`;\n\
                # compared by `ahwatch doctor` and `ahwatch watch` with --fingerprint.\n";
    // Plain tables of text and numbers always serialise.
    format!("{head}{}", toml::to_string(&file).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::canary::CanaryClip;

    fn example() -> Fingerprint {
        let clip =
            ClipFingerprint { clip: CanaryClip::Still, sha256: "ab".into(), log_odds: -0.340_820_312_5, spread: 0.0 };
        let judge = JudgeFingerprint {
            name: "v1".into(),
            model: "ah-v1".into(),
            prompt_sha256: "cd".into(),
            time_scale: 2.0,
            server: Some("vLLM 0.32.0".into()),
            clips: vec![clip],
        };
        Fingerprint {
            saved: "2026-01-02T03:04:05Z".into(),
            judges: vec![judge.clone(), JudgeFingerprint { server: None, clips: Vec::new(), ..judge }],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.toml");
        std::fs::write(&path, text(&example())).unwrap();
        assert_eq!(read(&path).unwrap(), example());
        insta::assert_snapshot!(text(&example()));
    }

    #[test]
    fn what_is_no_fingerprint_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.toml");
        let says = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path).unwrap_err()
        };
        assert!(says("[[judge]]\nname = \"v1\"").contains("is no fingerprint"));
        assert!(says("{}").contains("is no fingerprint"));
        assert!(says("version = 2\nsaved = \"\"").contains("version 2"));
        let other = text(&example()).replace("\"still\"", "\"waltz\"");
        assert!(says(&other).contains("waltz"));
        for (typed, what) in [("log_odds = nan", "log_odds = NaN"), ("log_odds = inf", "inf")] {
            assert!(says(&text(&example()).replace("log_odds = -0.3408203125", typed)).contains(what));
        }
        for typed in ["spread = inf", "spread = nan", "spread = -1.0"] {
            assert!(says(&text(&example()).replace("spread = 0.0", typed)).contains("spread"));
        }
        assert!(read(&dir.path().join("none")).unwrap_err().contains("cannot be read"));
    }
}
