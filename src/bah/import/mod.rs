//! Clip-level result files of the released evaluation scripts, read as a run.
//!
//! A file is one model's: an object with `details`, a list of `video` (the clip's path), `prediction_label` and
//! `ground_truth_label`. Several files are a panel. Clips are grouped to videos by their names, `<stem>_<j>.mp4`; how long
//! they are is not known, and each counts as 5 s.
//!
//! Beside the run stands what the released scripts themselves make of these files: an answer that cannot be read counts as "No"
//! for its video, and the vote is taken over the videos that every file has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::BahError;
use super::metrics::{Abstentions, Confusion, Rates};
use super::run_dir::{AnswerLine, DatasetInfo, FORMAT, JudgeInfo, Run, RunInfo, Said, Secs};
use super::run_dir::{VideoInfo, VideoLine, WindowInfo};
use super::score::{Scored, VideoResult};
use crate::digest::sha256;
use crate::judge::Label;
use crate::judge::answer::parse_answer;
use crate::judge::tally::majority;

/// Length that a clip counts as, seconds.
const CLIP_SECS: f64 = 5.0;

#[derive(Deserialize)]
struct File {
    details: Vec<Detail>,
}

#[derive(Deserialize)]
struct Detail {
    video: String,
    #[serde(default)]
    prediction_label: Value,
    #[serde(default)]
    ground_truth_label: Value,
}

/// Result files as a run, and as the scripts read them.
#[derive(Clone, Debug)]
pub struct Imported {
    /// One judge a file.
    pub run: Run,
    /// By file and video: whether the released scripts call it Yes.
    released: Vec<BTreeMap<String, bool>>,
}

/// What the released scripts make of the files, beside what this program makes of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Released {
    /// One row a file, then the vote.
    pub rows: Vec<ReleasedRow>,
    /// Videos that some file lacks: the released vote leaves them out in silence.
    pub left_out_of_the_vote: Vec<String>,
    /// Videos whose label changes.
    pub changed: Vec<Changed>,
}

/// A file, or the vote.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReleasedRow {
    /// The file's name, or `vote`.
    pub name: String,
    /// Videos the released scripts count.
    pub videos: u64,
    /// Their numbers.
    pub released: Option<Rates>,
    /// The same over all videos; an abstention counts as wrong.
    pub corrected: Option<Rates>,
}

/// A video whose label is another without the mistakes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Its stem.
    pub video: String,
    /// The file's name, or `vote`.
    pub name: String,
    /// As released; None: left out.
    pub released: Option<bool>,
    /// As corrected; None: undecided.
    pub corrected: Option<bool>,
}

/// Yes or No; None: it says neither.
fn label(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(yes) => Some(*yes),
        Value::Number(number) if number.as_f64() == Some(1.0) => Some(true),
        Value::Number(number) if number.as_f64() == Some(0.0) => Some(false),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "yes" | "1" | "true" => Some(true),
            "no" | "0" | "false" => Some(false),
            _ => parse_answer(text).ok().map(|label| label == Label::Present),
        },
        _ => None,
    }
}

/// A clip's video, and the clip's numbers: of the crop and in it, from 1; 1 where the name has none.
fn clip_name(path: &str) -> (String, (u32, u32)) {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let number = |text: &str| -> Option<u32> {
        let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| digits && *number > 0)
    };
    // A video's own name ends in `_Video` or `_Video-HOST`, so that numbers after that are the clip's.
    let mut numbers = Vec::new();
    let (mut rest, most) = (stem, if stem.contains("_Video") { 2 } else { 1 });
    while numbers.len() < most
        && let Some((before, last)) = rest.rsplit_once('_')
        && let Some(number) = number(last)
        && (most == 1 || before.contains("_Video"))
    {
        numbers.push(number);
        rest = before;
    }
    let at = match numbers[..] {
        [inside, crop] => (crop, inside),
        [inside] => (1, inside),
        _ => (1, 1),
    };
    (rest.to_owned(), at)
}

/// A prediction, if it can be read, and its words.
type Answer = (Option<bool>, String);

/// What all files say of one video.
#[derive(Default)]
struct Found {
    /// Truth, by clip.
    truth: BTreeMap<(u32, u32), bool>,
    /// By clip and file: the answer and its words.
    said: BTreeMap<(u32, u32), BTreeMap<usize, Answer>>,
}

/// Reads result files as one panel.
///
/// # Errors
/// A file cannot be read, is none, or contradicts another; their number is even.
pub fn import(files: &[PathBuf]) -> Result<Imported, BahError> {
    let wrong = |file: &Path, what: String| BahError::Malformed { file: file.to_owned(), line: 1, column: None, what };
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for (n, file) in files.iter().enumerate() {
        let text = std::fs::read_to_string(file).map_err(|error| BahError::unreadable(file, &error))?;
        let parsed: File = serde_json::from_str(&text).map_err(|error| {
            let what = format!("is no result file of the released scripts (an object with `details`): {error}");
            BahError::Malformed { file: file.clone(), line: error.line().max(1), column: None, what }
        })?;
        if parsed.details.is_empty() {
            return Err(wrong(file, "has no details".into()));
        }
        for (i, detail) in parsed.details.iter().enumerate() {
            let truth = label(&detail.ground_truth_label).ok_or_else(|| {
                let shown = &detail.ground_truth_label;
                wrong(
                    file,
                    format!("details[{i}] ({}): ground_truth_label is {shown}; it must say Yes or No", detail.video),
                )
            })?;
            let (video, clip) = clip_name(&detail.video);
            let of = found.entry(video).or_default();
            if *of.truth.entry(clip).or_insert(truth) != truth {
                let what = format!(
                    "details[{i}] ({}): another line says the opposite truth; are these of one dataset?",
                    detail.video
                );
                return Err(wrong(file, what));
            }
            let said = (label(&detail.prediction_label), detail.prediction_label.to_string());
            of.said.entry(clip).or_default().entry(n).or_insert(said);
        }
    }
    let Some(first) = files.first() else {
        return Err(wrong(Path::new(""), "no result file was given".into()));
    };
    if files.len().is_multiple_of(2) {
        return Err(wrong(first, format!("{} result files are a panel that can tie; give an odd number", files.len())));
    }
    Ok(Imported { released: released(&found, files.len()), run: run(files, &found) })
}

/// As the released scripts do: Yes if any clip is Yes, else No, whatever could not be read.
fn released(found: &BTreeMap<String, Found>, files: usize) -> Vec<BTreeMap<String, bool>> {
    let mut all = vec![BTreeMap::new(); files];
    for (video, of) in found {
        for (n, labels) in all.iter_mut().enumerate() {
            let mut said = of.said.values().filter_map(|files| files.get(&n)).peekable();
            if said.peek().is_some() {
                labels.insert(video.clone(), said.any(|(answer, _)| *answer == Some(true)));
            }
        }
    }
    all
}

fn names(files: &[PathBuf]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for file in files {
        let stem =
            file.file_stem().map_or_else(|| file.display().to_string(), |stem| stem.to_string_lossy().into_owned());
        let again = names.iter().filter(|name| **name == stem).count();
        names.push(if again == 0 { stem } else { format!("{stem} ({})", names.len() + 1) });
    }
    names
}

fn span(at: u32) -> Secs {
    Secs { start_secs: CLIP_SECS * f64::from(at), end_secs: CLIP_SECS * f64::from(at + 1) }
}

/// A clip's line: its number in its name, and where it is put.
fn sample(video: &str, (inside, here): (u32, u32), judge: &str, answer: Option<bool>, raw: &str) -> AnswerLine {
    AnswerLine {
        video: video.to_owned(),
        clip: format!("{video}_{inside}"),
        window: (0, here),
        span: span(here),
        judge: judge.to_owned(),
        answer: match answer {
            Some(true) => Said::Present,
            Some(false) => Said::Absent,
            None => Said::Abstained,
        },
        reason: answer.is_none().then(|| "unparsable".into()),
        detail: None,
        flag: None,
        score: None,
        raw: Some(raw.to_owned()),
        latency_ms: 0.0,
        attempts: 0,
        prompt_sha256: String::new(),
        media_sha256: None,
        server_version: None,
    }
}

/// A file does not say how its model was asked.
fn judge(name: &str) -> JudgeInfo {
    JudgeInfo {
        name: name.to_owned(),
        model: name.to_owned(),
        prompt: "unknown".into(),
        prompt_sha256: String::new(),
        profile: "unknown".into(),
        temperature: None,
        top_p: None,
        seed: None,
        time_scale: None,
        score: false,
        threshold: None,
        constrain: false,
        max_pixels: None,
        max_tokens: None,
        server_version: None,
    }
}

fn run(files: &[PathBuf], found: &BTreeMap<String, Found>) -> Run {
    let names = names(files);
    let (mut videos, mut lines, mut ended) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (video, of) in found {
        // Crops of a video follow each other; within one, a clip's number says where it is.
        let (mut at, mut last_crop, mut base) = (0, None, 0);
        let mut annotated = Vec::new();
        for ((crop, inside), truth) in &of.truth {
            if last_crop != Some(*crop) {
                (base, last_crop) = (at, Some(*crop));
            }
            let here = base + inside - 1;
            at = here + 1;
            if *truth {
                annotated.push(span(here));
            }
            for (n, (answer, raw)) in &of.said[&(*crop, *inside)] {
                lines.push(sample(video, (*inside, here), &names[*n], *answer, raw));
            }
        }
        let label = u8::from(of.truth.values().any(|truth| *truth));
        let mixed = of.truth.values().collect::<BTreeSet<_>>().len() > 1;
        videos.push(VideoInfo {
            id: video.clone(),
            label,
            participant: video.split('_').next().unwrap_or_default().to_owned(),
            question: video.split("_Question_").nth(1).and_then(|rest| rest.split('_').next()?.parse().ok()),
            gender: None,
            age_group: None,
            duration_secs: None,
            // One truth for all clips is the video's, and says nothing of where.
            intervals: mixed.then_some(annotated),
        });
        let elapsed_secs = CLIP_SECS * f64::from(at);
        ended
            .insert(video.clone(), VideoLine { video: video.clone(), elapsed_secs, unjudged: Vec::new(), error: None });
    }
    let list: Vec<String> = videos.iter().map(|video| format!("{},{}\n", video.id, video.label)).collect();
    let mut run = Run {
        dir: PathBuf::from("released result files"),
        info: RunInfo {
            format: FORMAT.into(),
            ahwatch: env!("CARGO_PKG_VERSION").into(),
            dataset: DatasetInfo {
                release: None,
                split: "test".into(),
                digest: sha256(&list),
                videos_in_split: videos.len(),
                participants_elsewhere: BTreeMap::new(),
            },
            videos,
            panel: names.iter().map(|name| judge(name)).collect(),
            window: WindowInfo { window_secs: 5.0, hop_secs: 5.0, max_pixels: 0, clip_codec: "unknown".into() },
            min_coverage: 0.8,
            early_stop: false,
            limit: None,
            via: "import".into(),
            started: "unknown".into(),
        },
        samples: BTreeMap::new(),
        ended,
        torn: Vec::new(),
        outdone: 0,
    };
    for line in lines {
        run.add(line);
    }
    run
}

impl Imported {
    /// What the released scripts make of the files, and what changes without their mistakes.
    #[must_use]
    pub fn compare(&self, scored: &Scored) -> Released {
        let truth: BTreeMap<&str, bool> = scored.videos.iter().map(|v| (v.video.as_str(), v.label == 1)).collect();
        let in_all = |video: &str| self.released.iter().all(|labels| labels.contains_key(video));
        let votes = |video: &str| self.released.iter().filter(|labels| labels.get(video) == Some(&true)).count();
        let panel = self.released.len();
        let vote: BTreeMap<String, bool> = truth
            .keys()
            .filter(|video| in_all(video))
            .map(|video| ((*video).to_owned(), majority(panel, votes(video), 0) == Label::Present))
            .collect();
        let mut systems: Vec<(&str, &BTreeMap<String, bool>, Corrected<'_>)> = Vec::new();
        for (n, labels) in self.released.iter().enumerate() {
            systems.push((&scored.panel[n].name, labels, Box::new(move |v| v.maxima[n].answer())));
        }
        systems.push(("vote", &vote, Box::new(|v| v.vote_of_max.answer())));
        let (mut rows, mut changed) = (Vec::new(), Vec::new());
        for (name, labels, corrected) in systems {
            let (mut before, mut after) = (Confusion::default(), Confusion::default());
            for video in &scored.videos {
                let (truth, old, new) = (video.label == 1, labels.get(&video.video).copied(), corrected(video));
                if old.is_some() {
                    before.add(truth, old, 1);
                }
                after.add(truth, new, 1);
                if old != new {
                    let (video, name) = (video.video.clone(), name.to_owned());
                    changed.push(Changed { video, name, released: old, corrected: new });
                }
            }
            rows.push(ReleasedRow {
                name: name.to_owned(),
                videos: labels.len() as u64,
                released: before.rates(Abstentions::CountedWrong),
                corrected: after.rates(Abstentions::CountedWrong),
            });
        }
        let left_out = truth.keys().filter(|video| !in_all(video)).map(|video| (*video).to_owned()).collect();
        Released { rows, left_out_of_the_vote: left_out, changed }
    }
}

/// A video's label without the mistakes.
type Corrected<'a> = Box<dyn Fn(&VideoResult) -> Option<bool> + 'a>;

#[cfg(test)]
mod tests;
