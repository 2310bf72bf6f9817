//! Evaluation: the videos of a split through the live cutter, encoder, panel and session, into a RUN directory.
//!
//! - [`describe`]: what will be evaluated, and how: `run.json`.
//! - `ledger`: the RUN directory while it grows; what is in it is not asked again.
//! - `video`: one video's way. The threads and tasks are in [`crate::run`].

mod ledger;
mod video;

use std::collections::{BTreeMap, BTreeSet};

use super::protocol::{PAPER_RELEASE, prompt_digest};
use super::run_dir::{DatasetInfo, FORMAT, JudgeInfo, RunInfo, Secs, VideoInfo, WindowInfo};
use super::{Dataset, Split, Video};
use crate::config::{ClipCodec, Config, JudgeConfig, Judging};
use crate::digest::sha256;
use crate::judge::Label;
use crate::judge::prompt::PromptPart;

pub use ledger::{EvalError, Ledger};
pub use video::{Told, VideoTask};

/// Test splits' sizes in the known releases: train, val, test.
const RELEASES: [([usize; 3], &str); 2] = [([778, 124, 525], PAPER_RELEASE), ([616, 110, 392], "older (1,118 videos)")];

/// What to evaluate.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Which part.
    pub split: Split,
    /// Only so many videos, from the top of its list.
    pub limit: Option<usize>,
    /// Whether they go through a local RTSP server and the live path.
    pub rtsp: bool,
}

/// What is evaluated, and how. The configuration's judges must be a panel; their servers are not asked anything here.
#[must_use]
pub fn describe(dataset: &Dataset, config: &Config, wanted: Wanted) -> RunInfo {
    let all: Vec<Video<'_>> = dataset.videos(wanted.split).collect();
    let list: Vec<String> =
        all.iter().map(|v| format!("{},{}\n", v.path, u8::from(v.label == Label::Present))).collect();
    let sizes = Split::ALL.map(|split| dataset.splits.get(&split).map_or(0, Vec::len));
    let people = |split: Split| -> BTreeSet<&str> { dataset.videos(split).map(|v| v.path.participant()).collect() };
    let here = people(wanted.split);
    let mut elsewhere = BTreeMap::new();
    for other in Split::ALL.into_iter().filter(|other| *other != wanted.split) {
        let both: Vec<String> = people(other).intersection(&here).map(|id| (*id).to_owned()).collect();
        if !both.is_empty() {
            elsewhere.insert(other.as_str().to_owned(), both);
        }
    }
    let judges = match &config.judging {
        Judging::Panel(judges) => judges.iter().map(judge_info).collect(),
        Judging::Cues { .. } => Vec::new(),
    };
    RunInfo {
        format: FORMAT.into(),
        ahwatch: env!("CARGO_PKG_VERSION").into(),
        dataset: DatasetInfo {
            release: RELEASES.iter().find(|(known, _)| *known == sizes).map(|(_, name)| (*name).to_owned()),
            split: wanted.split.as_str().into(),
            digest: sha256(&list),
            videos_in_split: all.len(),
            participants_elsewhere: elsewhere,
        },
        videos: all.iter().take(wanted.limit.unwrap_or(usize::MAX)).map(|video| video_info(dataset, video)).collect(),
        panel: judges,
        window: WindowInfo {
            window_secs: config.window.window.as_secs_f64(),
            hop_secs: config.window.hop.as_secs_f64(),
            max_pixels: config.window.max_pixels,
            clip_codec: match config.window.clip_codec {
                ClipCodec::Jpeg => "jpeg".into(),
                ClipCodec::H264 => "h264".into(),
            },
        },
        min_coverage: config.session.min_coverage,
        early_stop: config.session.early_stop,
        limit: wanted.limit,
        via: if wanted.rtsp { "rtsp".into() } else { "file".into() },
        started: crate::time::wall().to_string(),
    }
}

fn video_info(dataset: &Dataset, video: &Video<'_>) -> VideoInfo {
    let participant = video.path.participant();
    let known = dataset.participant(participant);
    // What is reversed or empty says nothing of where; `bah inspect` tells it.
    let usable = video.intervals.iter().filter(|interval| interval.start < interval.end);
    let intervals = usable.map(|i| Secs { start_secs: i.start.as_secs_f64(), end_secs: i.end.as_secs_f64() });
    VideoInfo {
        id: video.path.as_str().to_owned(),
        label: u8::from(video.label == Label::Present),
        participant: participant.to_owned(),
        question: video.path.question(),
        gender: known.and_then(|known| known.gender.clone()),
        age_group: known.and_then(|known| known.age_range.clone()),
        duration_secs: None,
        intervals: video.annotated.then(|| intervals.collect()),
    }
}

#[allow(clippy::float_cmp, reason = "the profiles' values are exact")]
fn judge_info(judge: &JudgeConfig) -> JudgeInfo {
    let sampling = judge.sampling;
    let profile = match (sampling.temperature, sampling.top_p, sampling.seed) {
        (0.3, Some(0.95), None) => "paper",
        (0.0, _, _) => "greedy",
        _ => "other",
    };
    JudgeInfo {
        name: judge.name.to_string(),
        model: judge.model.clone(),
        prompt: judge.prompt_name.clone(),
        prompt_sha256: digest_of(judge),
        profile: profile.into(),
        temperature: Some(sampling.temperature),
        top_p: sampling.top_p,
        seed: sampling.seed,
        time_scale: Some(judge.time_scale),
        score: judge.score,
        threshold: judge.threshold,
        constrain: judge.constrain,
        max_pixels: Some(judge.max_pixels),
        max_tokens: Some(sampling.max_tokens),
        server_version: None,
    }
}

/// The digest of a judge's words; a medium that it does not take leaves no tag.
fn digest_of(judge: &JudgeConfig) -> String {
    let tagged = judge.prompt.parts().iter().map(|part| match part {
        PromptPart::Text(text) => text.as_str(),
        PromptPart::Video => "<video>",
        PromptPart::Audio => "<audio>",
    });
    prompt_digest(&tagged.collect::<String>(), &judge.system)
}
