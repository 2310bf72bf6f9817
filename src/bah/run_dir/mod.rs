//! A RUN directory: what an evaluation writes, line by line, and what scoring reads.
//!
//! - `run.json`: what was evaluated, and how; written once ([`RunInfo`]).
//! - `samples.jsonl`: a line per clip and judge, appended as answers come ([`AnswerLine`]).
//! - `videos.jsonl`: a line per video that came to its end: how long it is, what of it was no clip ([`VideoLine`]).
//!
//! A killed run can leave a last line without its line break; it is no line yet, and does not count. Within version 1 of the
//! format fields are only ever added, so unknown ones are passed over.

mod read;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use read::{lines_of, read_info};

/// What `format` says in `run.json`.
pub const FORMAT: &str = "ahwatch-bah-run.v1";
/// Names of the files.
pub const INFO: &str = "run.json";
/// See [`AnswerLine`].
pub const SAMPLES: &str = "samples.jsonl";
/// See [`VideoLine`].
pub const VIDEOS: &str = "videos.jsonl";

/// `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// [`FORMAT`].
    pub format: String,
    /// Version of ahwatch that began it.
    pub ahwatch: String,
    /// What was evaluated.
    pub dataset: DatasetInfo,
    /// The videos, in the split file's order, cut to `limit`.
    pub videos: Vec<VideoInfo>,
    /// The judges, in panel order.
    pub panel: Vec<JudgeInfo>,
    /// How videos were cut and encoded.
    pub window: WindowInfo,
    /// Share of a video that must be covered before it is called Absent.
    pub min_coverage: f64,
    /// Whether a judge was not asked again once it had said Present of a video.
    pub early_stop: bool,
    /// `--limit`: only so many videos of the split.
    pub limit: Option<usize>,
    /// How the videos were read: `file` or `rtsp`; `import`: they were not, the lines are of released result files.
    pub via: String,
    /// Wall time, RFC 3339.
    pub started: String,
}

/// Which part of which dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetInfo {
    /// The release that was recognised, by its date or number of videos; None: none.
    pub release: Option<String>,
    /// `train`, `val` or `test`.
    pub split: String,
    /// SHA-256 over `path,label` lines of the whole split, in its order: which videos, and their truth.
    pub digest: String,
    /// Videos in the whole split.
    pub videos_in_split: usize,
    /// Participants of this split who are in another one as well, by the other's name.
    #[serde(default)]
    pub participants_elsewhere: BTreeMap<String, Vec<String>>,
}

/// A video and its annotation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoInfo {
    /// Its path in the dataset.
    pub id: String,
    /// 1: A/H somewhere in it; 0: none.
    pub label: u8,
    /// Who talks.
    pub participant: String,
    /// Which of the seven questions, where the name says so.
    #[serde(default)]
    pub question: Option<u32>,
    /// As in the participants' table.
    #[serde(default)]
    pub gender: Option<String>,
    /// As in the participants' table, in groups.
    #[serde(default)]
    pub age_group: Option<String>,
    /// Seconds, where the annotation or the file says.
    #[serde(default)]
    pub duration_secs: Option<f64>,
    /// Annotated A/H, seconds; None: not known.
    #[serde(default)]
    pub intervals: Option<Vec<Secs>>,
}

/// A stretch of a video, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Secs {
    /// First instant inside.
    pub start_secs: f64,
    /// First instant after.
    pub end_secs: f64,
}

/// A judge as it was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgeInfo {
    /// Unique in the panel.
    pub name: String,
    /// Model or adapter name at its endpoint.
    pub model: String,
    /// The prompt's shipped name, or its file's name.
    pub prompt: String,
    /// SHA-256 of the prompt's text with its tags, and of the system message.
    pub prompt_sha256: String,
    /// `paper`, `greedy` or `other`; `unknown` of an imported file.
    pub profile: String,
    /// 0 is greedy; None: not known.
    pub temperature: Option<f64>,
    /// None: the server's default.
    pub top_p: Option<f64>,
    /// None: none was sent.
    pub seed: Option<i64>,
    /// Seconds per video grid the checkpoint was trained with, as the panel file says; None: not known.
    pub time_scale: Option<f64>,
    /// Whether P(Yes) was read.
    pub score: bool,
    /// Present from this P(Yes) on; None: the text decided.
    pub threshold: Option<f64>,
    /// Whether the server was asked to constrain the answer.
    #[serde(default)]
    pub constrain: bool,
    /// Most pixels of a picture that it was sent; None: not known.
    #[serde(default)]
    pub max_pixels: Option<u32>,
    /// Longest answer, tokens; None: not known.
    #[serde(default)]
    pub max_tokens: Option<u32>,
    /// What the server said it is at the start; None: it did not say.
    #[serde(default)]
    pub server_version: Option<String>,
}

/// How videos were cut and encoded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowInfo {
    /// Length of a clip, seconds.
    pub window_secs: f64,
    /// From one clip's start to the next, seconds.
    pub hop_secs: f64,
    /// Most pixels of a picture.
    pub max_pixels: u32,
    /// `jpeg` or `h264`.
    pub clip_codec: String,
}

/// What a judge said of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// By early stop.
    NotAsked,
    /// It was asked, and gave no answer.
    Abstained,
    /// No A/H.
    Absent,
    /// A/H.
    Present,
}

impl Said {
    /// Whether it is Present or Absent.
    #[must_use]
    pub const fn is_answer(self) -> bool {
        matches!(self, Self::Present | Self::Absent)
    }
}

/// A line of `samples.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerLine {
    /// The video's path in the dataset.
    pub video: String,
    /// The clip's name, as in the prepared data: the video's, with the clip's number from 1 unless the video is one clip.
    pub clip: String,
    /// Which window: continuity, and index on its grid, both from 0.
    pub window: (u32, u32),
    /// Where in the video.
    pub span: Secs,
    /// The judge's name.
    pub judge: String,
    /// What it said.
    pub answer: Said,
    /// Why it abstained, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The same for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to know before trusting it: `unproven`, `degraded` (it failed the canary), `not_checked` (`--no-canary`); None: the judge
    /// was seen to hear and see, or gave no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
    /// P(Yes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<ScoreLine>,
    /// The model's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// From the first request to the answer or the giving up, milliseconds.
    pub latency_ms: f64,
    /// Requests sent.
    pub attempts: u32,
    /// As in [`JudgeInfo::prompt_sha256`], when it was asked.
    pub prompt_sha256: String,
    /// SHA-256 of the MP4 and then the WAV that were sent; None: nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_sha256: Option<String>,
    /// What the server said it is when this part of the run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_version: Option<String>,
}

/// P(Yes) of a line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreLine {
    /// 0 to 1.
    pub p_yes: f64,
    /// Probability mass on the two labels; None where the answer was constrained.
    #[serde(default)]
    pub label_mass: Option<f64>,
}

/// A line of `videos.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VideoLine {
    /// The video's path in the dataset.
    pub video: String,
    /// How long it turned out to be.
    pub elapsed_secs: f64,
    /// What no judge was asked about, in order.
    pub unjudged: Vec<Unjudged>,
    /// What went wrong with it; what was read before that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A stretch that no judge was asked about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unjudged {
    /// Where in the video.
    #[serde(flatten)]
    pub span: Secs,
    /// Which window; None: outside the grid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<(u32, u32)>,
    /// `tail`, `missing_media`, `outage` or `shutdown`.
    pub reason: String,
}

/// A video's lines, by window and then by judge.
pub type Windows = BTreeMap<(u32, u32), BTreeMap<String, AnswerLine>>;

/// A RUN directory, read.
#[derive(Clone, Debug)]
pub struct Run {
    /// Where it is.
    pub dir: PathBuf,
    /// `run.json`.
    pub info: RunInfo,
    /// By video, window and judge: the line that counts, which is the first with an answer, else the last.
    pub samples: BTreeMap<String, Windows>,
    /// Videos that came to their end.
    pub ended: BTreeMap<String, VideoLine>,
    /// Files whose last line was torn and does not count.
    pub torn: Vec<&'static str>,
    /// Lines that another line outdid: asked again, or written twice.
    pub outdone: u64,
}

impl Run {
    /// Takes a line in.
    pub fn add(&mut self, line: AnswerLine) {
        let windows = self.samples.entry(line.video.clone()).or_default();
        let judges = windows.entry(line.window).or_default();
        match judges.get(&line.judge) {
            Some(before) => {
                self.outdone += 1;
                if !before.answer.is_answer() {
                    judges.insert(line.judge.clone(), line);
                }
            }
            None => drop(judges.insert(line.judge.clone(), line)),
        }
    }

    /// Its name in tables: the directory's.
    #[must_use]
    pub fn name(&self) -> String {
        let absolute = std::path::absolute(&self.dir).unwrap_or_else(|_| self.dir.clone());
        absolute.file_name().map_or_else(|| self.dir.display().to_string(), |name| name.to_string_lossy().into_owned())
    }
}

#[cfg(test)]
pub(crate) mod tests;
