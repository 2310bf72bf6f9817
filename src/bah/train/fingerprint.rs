//! The fingerprint of what was trained: the built-in clips put to the model in ms-swift's own process, with its full logits.
//!
//! It says what a server of this checkpoint has to answer, so that `doctor` and `watch` can tell that another one is served,
//! or this one otherwise than it was trained.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crossbeam_channel::Receiver;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{FINGERPRINT, Machine, Training, end_of, is_adapter, run_group, unwritable, write};
use crate::config::{Config, JudgeConfig, Judging, Overrides, RawConfig, fingerprint};
use crate::judge::canary::{CanaryClip, Clips, Heard, LabelLogprobs};
use crate::judge::fingerprint::{Fingerprint, JudgeFingerprint, clip_named, clips_of};

/// How often each clip goes through the model: its own spread is part of what a comparison allows.
const REPEATS: usize = 2;
/// What begins the script's answer, among the log of ms-swift.
const MARK: &str = "AHWATCH";

/// What the script answers.
#[derive(Debug, Deserialize)]
struct Said {
    /// By clip and repeat, natural log-probabilities of the tokens that lead to Yes and to No.
    clips: BTreeMap<String, Vec<[f64; 2]>>,
}

impl Training {
    /// Asks the trained model about the built-in clips and writes what it says to `fingerprint.toml`. Loads the model once more.
    ///
    /// # Errors
    /// The judge's table is none, the clips cannot be made, or ms-swift's Python fails or is stopped; says which.
    pub fn fingerprint(
        &self,
        machine: &Machine,
        checkpoint: &Path,
        stop: &Receiver<Infallible>,
    ) -> Result<PathBuf, String> {
        let (judge, config) = self.judge(checkpoint)?;
        let clips = Clips::build(config.window.clip_codec, &BTreeSet::from([judge.max_pixels]))
            .map_err(|error| format!("the built-in clips could not be made: {error}"))?;
        let folder = self.out.join("canary");
        let job = self.job(checkpoint, &judge, &clips, &folder)?;
        let (script, job_file) = (folder.join("fingerprint.py"), folder.join("job.json"));
        write(&script, FINGERPRINT.as_bytes())?;
        write(&job_file, job.to_string().as_bytes())?;
        let (output, log) = (folder.join("said"), folder.join("fingerprint.log"));
        let create = |path: &Path| File::create(path).map_err(|error| unwritable(path, &error));
        let (program, words) = machine.python.split_first().ok_or("the Python of ms-swift is not known")?;
        let mut command = Command::new(program);
        command.args(words).arg(&script).arg(&job_file).envs(&self.recipe.environment);
        command.stdin(Stdio::null()).stdout(create(&output)?).stderr(create(&log)?);
        let ended = run_group(command, program, stop, || {})?;
        if ended.stopped {
            return Err("stopped before it was done".to_owned());
        }
        if !ended.status.success() {
            return Err(format!("it failed ({}); the end of {}:\n{}", ended.status, log.display(), end_of(&log)));
        }
        let text = String::from_utf8_lossy(&std::fs::read(&output).unwrap_or_default()).into_owned();
        let heard = read(&text)?;
        let version = machine.versions.get("ms-swift").cloned().flatten().unwrap_or_default();
        let judge = JudgeFingerprint::new(&judge, Some(format!("ms-swift {version}, in process")), &clips, &heard);
        let saved = format!("{:.0}", crate::time::wall());
        let file = self.out.join("fingerprint.toml");
        write(&file, fingerprint::text(&Fingerprint { saved, judges: vec![judge] }).as_bytes())?;
        Ok(file)
    }

    /// The judge as a panel takes it, so that what is asked here is what a server will be asked.
    fn judge(&self, checkpoint: &Path) -> Result<(JudgeConfig, Config), String> {
        let table = self.judge_table(checkpoint);
        let raw = RawConfig::parse(&table, &self.out.join("judge.toml"));
        let config = Config::build(raw, Overrides::default(), &|_| None).map_err(|problems| problems.to_string())?;
        let Judging::Panel(judges) = &config.judging else { return Err("the judge's table has no judge".to_owned()) };
        let judge = judges.first().ok_or("the judge's table has no judge")?.clone();
        Ok((judge, config))
    }

    /// What the script is to do; writes the clips.
    fn job(&self, checkpoint: &Path, judge: &JudgeConfig, clips: &Clips, folder: &Path) -> Result<Value, String> {
        std::fs::create_dir_all(folder).map_err(|e| unwritable(folder, &e))?;
        let mut rows = Vec::new();
        for which in clips_of(judge.accepts) {
            let Some(clip) = clips.get(which, judge.max_pixels) else { continue };
            let name = which.as_str();
            let mut row = json!({"name": name, "messages": [
                {"role": "user", "content": self.asked.question},
                {"role": "assistant", "content": "<answer>Yes</answer>"},
            ]});
            for (key, accepted, extension, bytes) in [
                ("videos", judge.accepts.video, "mp4", clip.video()),
                ("audios", judge.accepts.audio, "wav", clip.audio()),
            ] {
                if let Some(bytes) = bytes.filter(|_| accepted) {
                    let path = folder.join(format!("{name}.{extension}"));
                    write(&path, bytes)?;
                    row[key] = json!([path]);
                }
            }
            rows.push(row);
        }
        let adapter = is_adapter(checkpoint);
        Ok(json!({
            "model": if adapter { self.model.clone() } else { checkpoint.display().to_string() },
            "adapter": adapter.then_some(checkpoint),
            "model_type": self.recipe.flag("model_type"),
            "torch_dtype": self.recipe.flag("torch_dtype"),
            "attn_impl": self.recipe.flag("attn_impl"),
            "system": judge.system,
            "repeats": REPEATS,
            "rows": rows,
        }))
    }
}

/// The answer in the script's output.
fn read(output: &str) -> Result<BTreeMap<CanaryClip, Heard>, String> {
    let unread = || "ms-swift's Python gave no log-probabilities".to_owned();
    let line = output.lines().rev().find_map(|line| line.strip_prefix(MARK)).ok_or_else(unread)?;
    let said: Said = serde_json::from_str(line).map_err(|_| unread())?;
    let heard = |(name, repeats): (String, Vec<[f64; 2]>)| {
        let clip = clip_named(&name)?;
        let labels: Vec<_> = repeats.into_iter().map(|[yes, no]| LabelLogprobs { yes, no }).collect();
        let heard = Heard { labels, ..Heard::default() };
        heard.log_odds().map(|_| (clip, heard))
    };
    let count = said.clips.len();
    let heard: BTreeMap<_, _> = said.clips.into_iter().filter_map(heard).collect();
    if heard.is_empty() || heard.len() != count { Err(unread()) } else { Ok(heard) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_last_word_is_read_among_a_log() {
        let text = "[INFO] loaded\nAHWATCH{\"clips\": {\"still\": [[-1.0, -3.0], [-1.0, -2.5]], \"speech\": [[-2.0, -1.0]]}}\n[INFO] bye\n";
        let heard = read(text).unwrap();
        assert_eq!(heard[&CanaryClip::Still].log_odds(), Some((1.75, 0.5)));
        assert_eq!(heard[&CanaryClip::Speech].log_odds(), Some((-1.0, 0.0)));
        for wrong in [
            "",
            "AHWATCH{}",
            "AHWATCH{\"clips\": {}}",
            "AHWATCH{\"clips\": {\"still\": []}}",
            "AHWATCH{\"clips\": {\"waltz\": [[-1.0, -1.0]]}}",
            "AHWATCH{\"clips\": {\"still\": [[NaN, -1.0]]}}",
        ] {
            assert!(read(wrong).unwrap_err().contains("no log-probabilities"), "{wrong}");
        }
    }
}
