//! Reading a RUN directory, strictly: what is not understood is told with its file and line, and nothing is guessed.

use std::collections::BTreeSet;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::{AnswerLine, FORMAT, INFO, Run, RunInfo, SAMPLES, Said, Secs, VIDEOS, VideoLine};
use crate::bah::BahError;

/// Reads `run.json` of a RUN directory.
///
/// # Errors
/// It is not there, is not of this format, or contradicts itself.
pub fn read_info(dir: &Path) -> Result<RunInfo, BahError> {
    let file = dir.join(INFO);
    let wrong = |line, what: String| BahError::Malformed { file: file.clone(), line, column: None, what };
    let text = std::fs::read_to_string(&file).map_err(|error| {
        if dir.is_dir() && error.kind() == std::io::ErrorKind::NotFound {
            let reason = "is not there; a RUN directory is what `ahwatch bah eval --out RUN` wrote".to_owned();
            BahError::Unreadable { file: file.clone(), reason }
        } else {
            BahError::unreadable(&file, &error)
        }
    })?;
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| wrong(error.line(), format!("is not JSON: {error}")))?;
    match value.get("format").and_then(serde_json::Value::as_str) {
        Some(FORMAT) => {}
        Some(other) => {
            let what =
                format!("is of the format {other:?}, and this program reads {FORMAT:?}; use the ahwatch that wrote it");
            return Err(wrong(1, what));
        }
        None => return Err(wrong(1, format!("has no `format`; a RUN's run.json says {FORMAT:?}"))),
    }
    let info: RunInfo = serde_json::from_value(value).map_err(|error| wrong(1, error.to_string()))?;
    check_info(&info).map_err(|what| wrong(1, what))?;
    Ok(info)
}

fn check_info(info: &RunInfo) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = info.videos.iter().find(|video| !seen.insert(&video.id)) {
        return Err(format!("the video {:?} is listed twice", twice.id));
    }
    if let Some(video) = info.videos.iter().find(|video| video.label > 1) {
        return Err(format!("the label of {:?} is {}; it must be 0 or 1", video.id, video.label));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = info.panel.iter().find(|judge| !seen.insert(&judge.name)) {
        return Err(format!("two judges are named {:?}", twice.name));
    }
    if info.panel.len().is_multiple_of(2) {
        return Err(format!("its panel has {} judges; a panel is odd", info.panel.len()));
    }
    let share = info.min_coverage;
    if !(0.0..=1.0).contains(&share) {
        return Err(format!("min_coverage is {share}; it must be between 0 and 1"));
    }
    let positive = |secs: f64| secs > 0.0 && secs < 1e6;
    if !positive(info.window.window_secs) || !positive(info.window.hop_secs) {
        return Err("window_secs and hop_secs must be positive".into());
    }
    let odd = |spans: &Vec<Secs>| spans.iter().any(|span| !is_span(*span));
    if let Some(video) = info.videos.iter().find(|video| video.intervals.as_ref().is_some_and(odd)) {
        return Err(format!("an interval of {:?} does not run from a start to a later end", video.id));
    }
    Ok(())
}

fn is_span(span: Secs) -> bool {
    span.start_secs >= 0.0 && span.end_secs >= span.start_secs && span.end_secs < 1e6
}

/// The whole lines of a JSON Lines file with their numbers from 1, and how many bytes they take; what follows the last line break
/// was torn off by a kill. A file that is not there has none.
///
/// # Errors
/// It cannot be read, or a whole line is not what it should be.
pub fn lines_of<T: DeserializeOwned>(file: &Path) -> Result<(Vec<(usize, T)>, u64), BahError> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
        Err(error) => return Err(BahError::unreadable(file, &error)),
    };
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(bytes[..whole].split(|byte| *byte == b'\n')) {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let parsed = serde_json::from_slice(line).map_err(|error| {
            let what = format!("is not a line of this file: {error}; restore it, or evaluate into a new directory");
            BahError::Malformed { file: file.to_owned(), line: number, column: None, what }
        })?;
        lines.push((number, parsed));
    }
    Ok((lines, whole as u64))
}

impl Run {
    /// Reads a RUN directory.
    ///
    /// # Errors
    /// A file of it cannot be read or is not what it should be, or a line is about a video or a judge that `run.json` does not list.
    pub fn open(dir: &Path) -> Result<Self, BahError> {
        let info = read_info(dir)?;
        let (samples, videos) = (dir.join(SAMPLES), dir.join(VIDEOS));
        let known: BTreeSet<&str> = info.videos.iter().map(|video| video.id.as_str()).collect();
        let judges: BTreeSet<&str> = info.panel.iter().map(|judge| judge.name.as_str()).collect();
        let (sample_lines, samples_end) = lines_of::<AnswerLine>(&samples)?;
        let (video_lines, videos_end) = lines_of::<VideoLine>(&videos)?;
        for (line, sample) in &sample_lines {
            check_sample(sample, &known, &judges).map_err(|what| BahError::Malformed {
                file: samples.clone(),
                line: *line,
                column: None,
                what,
            })?;
        }
        for (line, video) in &video_lines {
            let spans = video.unjudged.iter().all(|unjudged| is_span(unjudged.span));
            let what = if !known.contains(video.video.as_str()) {
                not_of_this_run(&video.video)
            } else if spans && (0.0..1e6).contains(&video.elapsed_secs) {
                continue;
            } else {
                "a time in it is no time".to_owned()
            };
            return Err(BahError::Malformed { file: videos, line: *line, column: None, what });
        }
        let torn = [(SAMPLES, &samples, samples_end), (VIDEOS, &videos, videos_end)].into_iter();
        let longer = |file: &Path, end| std::fs::metadata(file).is_ok_and(|meta| meta.len() > end);
        let torn = torn.filter(|(_, file, end)| longer(file, *end)).map(|(name, ..)| name).collect();
        let mut run = Self {
            dir: dir.to_owned(),
            samples: std::collections::BTreeMap::new(),
            ended: video_lines.into_iter().map(|(_, line)| (line.video.clone(), line)).collect(),
            info,
            torn,
            outdone: 0,
        };
        for (_, line) in sample_lines {
            run.add(line);
        }
        Ok(run)
    }
}

fn not_of_this_run(video: &str) -> String {
    format!("the video {video:?} is not in this RUN's run.json: the files are of two runs, or of another dataset")
}

fn check_sample(line: &AnswerLine, videos: &BTreeSet<&str>, judges: &BTreeSet<&str>) -> Result<(), String> {
    if !videos.contains(line.video.as_str()) {
        return Err(not_of_this_run(&line.video));
    }
    if !judges.contains(line.judge.as_str()) {
        return Err(format!("the judge {:?} is not in this RUN's panel", line.judge));
    }
    if !is_span(line.span) || line.span.end_secs <= line.span.start_secs {
        return Err("its span does not run from a start to a later end".into());
    }
    if line.score.is_some_and(|score| !(0.0..=1.0).contains(&score.p_yes)) {
        return Err("its p_yes is not between 0 and 1".into());
    }
    if line.answer == Said::Abstained && line.reason.is_none() {
        return Err("an abstention without its reason".into());
    }
    Ok(())
}
