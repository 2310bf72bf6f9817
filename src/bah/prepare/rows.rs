//! What is written about clips: the manifest, and the rows that ms-swift trains on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::record::{ClipRecord, Record};
use super::{Folders, PrepareError, Preparing, Rows, write_whole};
use crate::bah::{Dataset, Interval, Split, VideoPath};
use crate::digest::sha256;
use crate::judge::Label;
use crate::time::MediaTime;

/// A prepared video with what the dataset says of it.
pub(super) struct Prepared<'a> {
    pub path: &'a VideoPath,
    pub label: Label,
    pub intervals: &'a [Interval],
    pub record: &'a Record,
}

const HEAD: [&str; 18] = [
    "clip",
    "video",
    "participant",
    "question",
    "split",
    "label",
    "interval",
    "interval_start_s",
    "interval_end_s",
    "start_s",
    "end_s",
    "ah_s",
    "pictures",
    "pictures_repeated",
    "silence_s",
    "mp4_sha256",
    "wav_sha256",
    "dropped_why",
];

/// `Yes` or `No`.
fn answer(label: Label) -> &'static str {
    if label == Label::Present { "Yes" } else { "No" }
}

fn secs(nanos: i64) -> String {
    format!("{:.3}", MediaTime::from_nanos(nanos).as_secs_f64())
}

/// The manifest: a line a clip, a line for each stretch of a video that is in none, and one for a video that was not prepared.
pub(super) fn manifest(
    videos: &[Prepared<'_>],
    failed: &[(VideoPath, String)],
    preparing: &Preparing,
) -> Result<Vec<u8>, csv::Error> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(HEAD)?;
    for video in videos {
        let interval = |number: Option<u32>| {
            let at = number.and_then(|n| video.intervals.get(usize::try_from(n).ok()?.checked_sub(1)?));
            let time = |t: fn(&Interval) -> MediaTime| at.map(|i| secs(t(i).as_nanos())).unwrap_or_default();
            [number.map(|n| n.to_string()).unwrap_or_default(), time(|i| i.start), time(|i| i.end)]
        };
        let about = || {
            [
                video.path.to_string(),
                video.path.participant().to_owned(),
                video.path.question().map(|q| q.to_string()).unwrap_or_default(),
                preparing.split.as_str().to_owned(),
                answer(video.label).to_owned(),
            ]
        };
        for clip in &video.record.clips {
            let mut row = vec![clip.name.clone()];
            row.extend(about());
            row.extend(interval(clip.interval));
            row.extend([secs(clip.start_ns), secs(clip.end_ns), secs(clip.ah_ns)]);
            row.extend([clip.pictures.to_string(), clip.repeated.to_string(), secs(clip.silence_ns)]);
            row.extend([clip.mp4.sha256.clone(), clip.wav.sha256.clone(), String::new()]);
            csv.write_record(&row)?;
        }
        for dropped in &video.record.dropped {
            let mut row = vec![String::new()];
            row.extend(about());
            row.extend(interval(dropped.interval));
            row.extend([secs(dropped.start_ns), secs(dropped.end_ns)]);
            row.extend([const { String::new() }; 6]);
            row.push(dropped.why.clone());
            csv.write_record(&row)?;
        }
    }
    for (path, reason) in failed {
        let mut row = vec![const { String::new() }; HEAD.len()];
        row[1] = path.to_string();
        path.participant().clone_into(&mut row[2]);
        preparing.split.as_str().clone_into(&mut row[4]);
        row[HEAD.len() - 1] = format!("the video could not be prepared: {reason}");
        csv.write_record(&row)?;
    }
    csv.into_inner().map_err(|error| csv::Error::from(std::io::Error::other(error.to_string())))
}

/// The rows, in an order that only the seed and the clips' names decide: by the hash of both.
pub(super) fn rows(videos: &[Prepared<'_>], rows: &Rows, seed: u64, clips: &Path) -> String {
    let mut all: Vec<(String, Value)> = Vec::new();
    for video in videos {
        for clip in &video.record.clips {
            all.push((sha256([format!("{seed}:{}", clip.name)]), row(clip, video.label, rows, clips)));
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all.iter().flat_map(|(_, row)| [row.to_string(), "\n".to_owned()]).collect()
}

fn row(clip: &ClipRecord, label: Label, rows: &Rows, clips: &Path) -> Value {
    let file = |extension: &str| clips.join(format!("{}.{extension}", clip.name)).to_string_lossy().into_owned();
    let said = format!("<answer>{}</answer>", answer(label));
    let user = json!({"role": "user", "content": rows.prompt});
    let mut row = if rows.grpo {
        json!({"messages": [user], "solution": said})
    } else {
        json!({"messages": [user, {"role": "assistant", "content": said}]})
    };
    let (video, audio) = if rows.legacy_keys { ("video", "audio") } else { ("videos", "audios") };
    row[video] = json!([file("mp4")]);
    row[audio] = json!([file("wav")]);
    row
}

/// The prompt of this name, or in this file, with both media in it.
///
/// # Errors
/// Says what is wrong and what there is.
pub fn read_prompt(name: &str) -> Result<String, String> {
    use crate::judge::prompt::{Accepts, Prompt, SHIPPED};
    let shipped = SHIPPED.iter().find(|(shipped, _)| *shipped == name);
    let text = match shipped {
        Some((_, text)) => (*text).to_owned(),
        None if name.contains(['/', '\\', '.']) => {
            std::fs::read_to_string(name).map_err(|e| format!("{name}: cannot be read: {e}"))?
        }
        None => {
            let known = SHIPPED.map(|(name, _)| name).join(", ");
            return Err(format!("there is no prompt {name:?}; known: {known}, or the path of a text file"));
        }
    };
    Prompt::parse(&text, Accepts { video: true, audio: true }).map_err(|e| format!("prompt {name}: {e}"))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// The videos of a dataset's split with their records.
pub(super) fn prepared<'a>(
    dataset: &'a Dataset,
    preparing: &Preparing,
    records: &'a BTreeMap<VideoPath, Record>,
) -> Vec<Prepared<'a>> {
    let with = |video: crate::bah::Video<'a>| {
        let record = records.get(video.path)?;
        Some(Prepared { path: video.path, label: video.label, intervals: video.intervals, record })
    };
    dataset.videos(preparing.split).filter_map(with).collect()
}

/// The manifest and, but for test, the rows.
pub(super) fn write(
    dataset: &Dataset,
    preparing: &Preparing,
    records: &BTreeMap<VideoPath, Record>,
    failed_videos: &[(VideoPath, String)],
    folders: &Folders,
) -> Result<(), PrepareError> {
    let failed = |file: &Path, e: &dyn std::fmt::Display| {
        PrepareError::Output(format!("{}: could not be written: {e}", file.display()))
    };
    let videos = prepared(dataset, preparing, records);
    let file = folders.clips.with_file_name("manifest.csv");
    let text = manifest(&videos, failed_videos, preparing).map_err(|e| failed(&file, &e))?;
    write_whole(&file, &text).map_err(|e| failed(&file, &e))?;
    if preparing.split == Split::Test {
        return Ok(());
    }
    let file = preparing.out.join(format!("{}.jsonl", preparing.split.as_str()));
    let clips = if preparing.relative {
        PathBuf::from(preparing.split.as_str()).join("clips")
    } else {
        std::path::absolute(&folders.clips).map_err(|e| failed(&file, &e))?
    };
    let text = rows(&videos, &preparing.rows, preparing.seed, &clips);
    write_whole(&file, text.as_bytes()).map_err(|e| failed(&file, &e))
}
