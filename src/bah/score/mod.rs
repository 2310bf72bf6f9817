//! Scoring: a RUN directory to numbers, without asking any model.
//!
//! Labels come from the session and the tally that live watching uses (`replay`); metrics from [`super::metrics`]. All numbers
//! are fractions; tables make per cent of them. Two levels: videos, which the paper's table is about, and clips.
//!
//! A video's truth is its annotation's label. A clip has two: `clip`, whether an annotated interval overlaps it, and
//! `clip_video_truth`, its video's label, which is what the released scripts compare with.

mod compare;
mod level;
mod replay;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use compare::{Between, between};
pub use level::{Kind, Level, Measured, System};
pub(crate) use replay::vote;
pub use replay::{ClipResult, UnjudgedTime, VideoResult};

use super::import::Released;
use super::metrics::{Abstentions, Bootstrap, Case, Confusion, Independent, McNemar, Pair, Rates};
use super::metrics::{independent_vote, mcnemar, pair};
use super::protocol::{self, Finding};
use super::run_dir::{DatasetInfo, JudgeInfo, Run, Said, VideoInfo};
use crate::alert::event::LabelWord;
use level::{Systems, level};

/// What `format` says in the JSON.
pub const FORMAT: &str = "ahwatch-bah-score.v1";

/// Everything that can be said of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Scored {
    /// [`FORMAT`].
    pub format: &'static str,
    /// The RUN directory's name.
    pub run: String,
    /// When it was begun.
    pub started: String,
    /// The ahwatch that began it.
    pub ahwatch: String,
    /// What was evaluated.
    pub dataset: DatasetInfo,
    /// `--limit`: only so many videos.
    pub limit: Option<usize>,
    /// Whether judges were left out once they had said Present.
    pub early_stop: bool,
    /// How videos were read.
    pub via: String,
    /// The judges.
    pub panel: Vec<JudgeInfo>,
    /// What the protocol check found; read before any number.
    pub findings: Vec<Finding>,
    /// How intervals were drawn.
    pub bootstrap: Bootstrap,
    /// What the released scripts make of the same files; only of imported ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released: Option<Released>,
    /// Video level.
    pub video: Level,
    /// Clip level, by annotated intervals; None under early stop.
    pub clip: Option<Level>,
    /// Clip level, by the video's label; None under early stop.
    pub clip_video_truth: Option<Level>,
    /// Clips of positive videos without a usable interval: nobody knows their own truth.
    pub clips_without_truth: u64,
    /// What each judge was asked and did.
    pub judges: Vec<JudgeBooks>,
    /// Judges two by two, on video labels.
    pub pairs: Vec<PairRow>,
    /// What voting gained.
    pub vote: VoteGain,
    /// The panel (`vote_of_max`) by participant, question, gender and age group.
    pub breakdown: Vec<Group>,
    /// Seconds of all videos by what became of them.
    pub time: TimeBooks,
    /// Each video, in the split's order.
    pub videos: Vec<VideoResult>,
}

/// What a judge was asked, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JudgeBooks {
    /// Its name.
    pub judge: String,
    /// Clips it called Present.
    pub present: u64,
    /// Clips it called Absent.
    pub absent: u64,
    /// Clips it abstained on, by reason.
    pub abstained: BTreeMap<String, u64>,
    /// Clips it was not asked about, by early stop: calls saved.
    pub not_asked: u64,
    /// Requests sent, those tried again included.
    pub requests: u64,
}

/// Two judges.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairRow {
    /// The first's name.
    pub first: String,
    /// The second's name.
    pub second: String,
    /// How far they say the same.
    #[serde(flatten)]
    pub pair: Pair,
    /// Whether one is better.
    pub mcnemar: McNemar,
}

/// The vote beside its judges. Abstentions count as wrong.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct VoteGain {
    /// The panel's accuracy under `vote_of_max`.
    pub accuracy: Option<f64>,
    /// The best judge's.
    pub best_judge: Option<f64>,
    /// What judges as good as these would reach if they erred independently.
    pub independent: Option<Independent>,
}

/// A part of the videos.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// `participant`, `question`, `gender` or `age_group`.
    pub by: &'static str,
    /// Which; `unknown` where the annotation does not say.
    pub value: String,
    /// What the panel said of them.
    pub confusion: Confusion,
    /// Abstentions counted as wrong.
    pub counted_wrong: Option<Rates>,
}

/// Seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TimeBooks {
    /// All videos.
    pub elapsed_secs: f64,
    /// At least one judge voted.
    pub judged_secs: f64,
    /// The rest, by reason; `abstained`: judges were asked, and none voted.
    pub unjudged_secs: BTreeMap<String, f64>,
}

/// Scores a run.
#[must_use]
pub fn score(run: &Run, bootstrap: Bootstrap) -> Scored {
    let settings = replay::settings(run);
    let videos: Vec<VideoResult> = run.info.videos.iter().map(|info| replay::video(run, &settings, info)).collect();
    let names: Vec<String> = run.info.panel.iter().map(|judge| judge.name.clone()).collect();
    let people = numbers(&run.info.videos);
    let number = |participant: &str| people.get(participant).copied().unwrap_or_default();

    let mut of_videos = Systems::new(&names, true);
    for video in &videos {
        let truth = video.label == 1;
        let case = |answer, score| Case { truth, answer, score, participant: number(&video.participant) };
        let judges = video.maxima.iter().zip(&video.scores).map(|(max, score)| case(max.answer(), *score));
        let vote = case(video.vote_of_max.answer(), video.panel_score);
        of_videos.push(judges, &[vote, case(video.max_of_vote.answer(), None)]);
    }
    let clips = |truth: &dyn Fn(&VideoResult, &ClipResult) -> Option<bool>| {
        let mut systems = Systems::new(&names, false);
        for video in &videos {
            for clip in &video.clips {
                let Some(truth) = truth(video, clip) else { continue };
                let case = |answer, score| Case { truth, answer, score, participant: number(&video.participant) };
                let said = |said: &Option<Said>| match said {
                    Some(Said::Present) => Some(true),
                    Some(Said::Absent) => Some(false),
                    _ => None,
                };
                let judges = clip.answers.iter().zip(&clip.scores).map(|(answer, score)| case(said(answer), *score));
                systems.push(judges, &[case(clip.label.and_then(LabelWord::answer), clip.panel_score)]);
            }
        }
        (!run.info.early_stop).then(|| level(&systems, people.len(), bootstrap))
    };
    let judges: Vec<&[Case]> = of_videos.judges();
    let mut pairs = Vec::new();
    for (i, first) in names.iter().enumerate() {
        for (j, second) in names.iter().enumerate().skip(i + 1) {
            let (first, second) = (first.clone(), second.clone());
            let (a, b) = (judges[i], judges[j]);
            pairs.push(PairRow { first, second, pair: pair(a, b), mcnemar: mcnemar(a, b) });
        }
    }
    let accuracy = |cases: &[Case]| Confusion::of(cases).rates(Abstentions::CountedWrong).map(|rates| rates.accuracy);
    let vote = VoteGain {
        accuracy: accuracy(of_videos.panel()),
        best_judge: judges.iter().filter_map(|cases| accuracy(cases)).max_by(f64::total_cmp),
        independent: independent_vote(&judges),
    };
    Scored {
        format: FORMAT,
        run: run.name(),
        started: run.info.started.clone(),
        ahwatch: run.info.ahwatch.clone(),
        dataset: run.info.dataset.clone(),
        limit: run.info.limit,
        early_stop: run.info.early_stop,
        via: run.info.via.clone(),
        panel: run.info.panel.clone(),
        findings: protocol::check(run, &videos),
        bootstrap,
        released: None,
        clip: clips(&|_, clip| clip.truth),
        clip_video_truth: clips(&|video, _| Some(video.label == 1)),
        clips_without_truth: videos.iter().flat_map(|v| &v.clips).filter(|clip| clip.truth.is_none()).count() as u64,
        judges: names.iter().map(|name| books(run, name)).collect(),
        pairs,
        vote,
        breakdown: breakdown(&run.info.videos, &videos),
        time: time(&videos),
        video: level(&of_videos, people.len(), bootstrap),
        videos,
    }
}

/// Participants, numbered from 0 in the order of their names.
fn numbers(videos: &[VideoInfo]) -> BTreeMap<&str, usize> {
    let people: BTreeSet<&str> = videos.iter().map(|video| video.participant.as_str()).collect();
    people.into_iter().zip(0..).collect()
}

fn books(run: &Run, judge: &str) -> JudgeBooks {
    let mut books = JudgeBooks { judge: judge.to_owned(), ..JudgeBooks::default() };
    let windows = run.samples.values().flat_map(BTreeMap::values);
    for line in windows.filter_map(|lines| lines.get(judge)) {
        match line.answer {
            Said::Present => books.present += 1,
            Said::Absent => books.absent += 1,
            Said::NotAsked => books.not_asked += 1,
            Said::Abstained => *books.abstained.entry(line.reason.clone().unwrap_or_default()).or_default() += 1,
        }
        books.requests += u64::from(line.attempts);
    }
    books
}

/// Which group a video is in.
type Of<'a> = &'a dyn Fn(&VideoInfo) -> Option<String>;

fn breakdown(infos: &[VideoInfo], videos: &[VideoResult]) -> Vec<Group> {
    let question = |info: &VideoInfo| info.question.map(|question| question.to_string());
    let by: [(&'static str, Of<'_>); 4] = [
        ("question", &question),
        ("gender", &|info| info.gender.clone()),
        ("age_group", &|info| info.age_group.clone()),
        ("participant", &|info| Some(info.participant.clone())),
    ];
    let mut groups = Vec::new();
    for (by, of) in by {
        let mut values: BTreeMap<String, Confusion> = BTreeMap::new();
        for (info, video) in infos.iter().zip(videos) {
            let value = of(info).unwrap_or_else(|| "unknown".into());
            values.entry(value).or_default().add(video.label == 1, video.vote_of_max.answer(), 1);
        }
        groups.extend(values.into_iter().map(|(value, confusion)| Group {
            by,
            value,
            confusion,
            counted_wrong: confusion.rates(Abstentions::CountedWrong),
        }));
    }
    groups
}

fn time(videos: &[VideoResult]) -> TimeBooks {
    let mut books = TimeBooks::default();
    for video in videos {
        books.elapsed_secs += video.elapsed_secs;
        books.judged_secs += video.judged_secs;
        let mut rest = video.elapsed_secs - video.judged_secs;
        for stretch in &video.unjudged {
            let secs = stretch.span.end_secs - stretch.span.start_secs;
            *books.unjudged_secs.entry(stretch.reason.clone()).or_default() += secs;
            rest -= secs;
        }
        // Rounding of sums is no time.
        if rest > 1e-6 {
            let why = if video.complete { "abstained" } else { "not_evaluated" };
            *books.unjudged_secs.entry(why.into()).or_default() += rest;
        }
    }
    books
}

#[cfg(test)]
mod tests;
