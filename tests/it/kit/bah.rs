//! A dataset in exactly BAH's format, invented: 12 participants, 40 short videos whose pictures and sound carry codes, so that
//! a stand-in endpoint can see and hear where A/H is planted. Nothing of BAH is in it.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::media::{Recipe, store};

/// Which release's split files are imitated. Both have lines of `path,label,transcript`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// All videos, split files in `split/`.
    Newer,
    /// The first eleven participants' videos, split files in `dataset-splits/video-level/BAH_DB/split-0/`.
    Older,
}

/// A planted video.
#[derive(Clone, Debug)]
pub struct Planted {
    /// Its path below the root, the key of every file.
    pub path: String,
    /// Who talks.
    pub participant: u32,
    /// Which question is answered.
    pub question: u32,
    /// `train`, `val` or `test`.
    pub split: &'static str,
    /// Length.
    pub secs: f64,
    /// Frames a second, as a fraction.
    pub fps: (u32, u32),
    /// Where A/H is planted and annotated, in seconds.
    pub intervals: Vec<Range<f64>>,
}

impl Planted {
    /// 1: A/H somewhere.
    pub fn label(&self) -> u8 {
        u8::from(!self.intervals.is_empty())
    }

    /// Frames of the video.
    pub fn frames(&self) -> usize {
        (self.secs * self.rate() - 1e-6).ceil() as usize
    }

    fn rate(&self) -> f64 {
        f64::from(self.fps.0) / f64::from(self.fps.1)
    }

    fn transcript(&self) -> String {
        format!(
            "Well, I think, in my case, number {}. Yes, no, maybe.mp4, 0, who knows? It's \"complicated\": {}.",
            self.participant, self.question
        )
    }
}

/// Seconds, and where A/H is.
type Video = (f64, &'static [(f64, f64)]);

/// Participants of each split, with what each answered. Test intervals cover most or little of every window they touch,
/// so that what a judge should say of a window is beyond doubt.
const TRAIN: [(u32, &[Video]); 6] = [
    (90001, &[(6.0, &[(1.721, 4.41)]), (4.0, &[]), (13.4, &[]), (9.0, &[(1.0, 6.0)])]),
    (90002, &[(12.6, &[(3.0, 11.6)]), (8.0, &[]), (7.9, &[])]),
    (90003, &[(10.4, &[(0.4, 2.0), (3.2, 9.4)]), (5.2, &[]), (6.2, &[(0.0, 6.2)])]),
    (90004, &[(10.0, &[]), (14.0, &[(1.2, 4.2), (5.0, 13.6)]), (5.6, &[])]),
    (90005, &[(7.0, &[(2.0, 3.2)]), (15.2, &[]), (4.4, &[(0.8, 4.0)])]),
    (90006, &[(9.2, &[]), (11.0, &[(2.0, 10.2)]), (6.6, &[]), (3.2, &[(0.4, 3.0)])]),
];
const VAL: [(u32, &[Video]); 2] = [
    (90007, &[(8.4, &[(1.0, 7.4)]), (6.0, &[]), (4.2, &[(1.0, 3.4)])]),
    (90008, &[(11.2, &[]), (9.6, &[(4.0, 9.0)]), (5.4, &[])]),
];
const TEST: [(u32, &[Video]); 4] = [
    (90009, &[(12.0, &[(0.2, 4.8)]), (4.2, &[(0.2, 4.2)]), (8.6, &[]), (15.0, &[(5.4, 9.8), (10.4, 14.8)])]),
    (90010, &[(7.4, &[]), (20.8, &[(15.2, 19.6)]), (8.4, &[(5.2, 8.4)])]),
    (90011, &[(10.0, &[(0.0, 10.0)]), (5.2, &[]), (9.0, &[(0.6, 5.0)]), (13.6, &[])]),
    (90012, &[(6.2, &[(0.4, 5.0)]), (10.4, &[]), (18.0, &[(10.0, 14.6)])]),
];

/// All videos, by split, participant and question.
pub fn videos() -> Vec<Planted> {
    let mut all = Vec::new();
    for (split, people) in [("train", &TRAIN[..]), ("val", &VAL), ("test", &TEST)] {
        for (participant, answers) in people {
            for (n, (secs, intervals)) in answers.iter().enumerate() {
                let (question, count) = (n as u32 % 7 + 1, all.len());
                // Names as in the releases: two spellings of the time, now and then the name of a recording host.
                let space = if count % 5 == 3 { ' ' } else { '_' };
                let host = if count % 7 == 4 { "-DESKTOP-7QK2X" } else { "" };
                let visit = 1 + count / 20;
                let minute = count % 60;
                let name = format!(
                    "{participant}_Question_{question}_2024-11-0{visit}{space}14-{minute:02}-50_Video{host}.mp4"
                );
                all.push(Planted {
                    path: format!("Videos/{participant}/Visite_{visit}/{name}"),
                    participant: *participant,
                    question,
                    split,
                    secs: *secs,
                    fps: [(25, 1), (30, 1), (30_000, 1001)][count % 3],
                    intervals: intervals.iter().map(|(from, to)| *from..*to).collect(),
                });
            }
        }
    }
    all
}

/// The dataset, made once; read it, and copy what a test changes.
pub fn dataset() -> PathBuf {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let root = store().join("bah-fixture");
        write(&root, Shape::Newer);
        root
    };
    MADE.get_or_init(make).clone()
}

/// Writes the dataset below `root`. Videos that are there already, and current, stay.
///
/// # Panics
/// When a file cannot be written or GStreamer cannot make a video, with its reason.
pub fn write(root: &Path, shape: Shape) {
    let chosen: Vec<_> = videos().into_iter().filter(|v| shape == Shape::Newer || v.participant < 90012).collect();
    let mut annotations = String::new();
    for (n, video) in chosen.iter().enumerate() {
        let made = Recipe::new(video.secs).fps(video.fps).plant_spans(&video.intervals).b_frames(2).make();
        let path = root.join(&video.path);
        std::fs::create_dir_all(path.parent().expect("below the root")).expect("the root is writable");
        let size = |path: &Path| std::fs::metadata(path).map(|m| m.len()).ok();
        if size(&path) != size(&made) {
            let part = path.with_extension("part");
            std::fs::copy(&made, &part).expect("the root is writable");
            std::fs::rename(&part, &path).expect("the root is writable");
        }
        annotations += &if n % 2 == 0 { annotation_in_blocks(video) } else { annotation_in_lines(video) };
    }
    put(&root.join("video_annotation_transcript.yaml"), &annotations);
    put(&root.join("meta_data.yml"), &meta_data());
    let splits = match shape {
        Shape::Newer => root.join("split"),
        Shape::Older => root.join("dataset-splits/video-level/BAH_DB/split-0"),
    };
    for split in ["train", "val", "test"] {
        let mut text = String::new();
        for video in chosen.iter().filter(|v| v.split == split) {
            let _ = writeln!(text, "{},{},{}", video.path, video.label(), video.transcript());
        }
        put(&splits.join(format!("{split}.txt")), &text);
    }
    put(&splits.join("class_id.yaml"), "With A-H: 1\nNo A-H: 0\n");
}

/// Written whole or not at all, since tests in other processes may be reading.
fn put(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("below the root")).expect("the root is writable");
    let part = path.with_extension(format!("{}.part", std::process::id()));
    std::fs::write(&part, text).expect("the root is writable");
    std::fs::rename(&part, path).expect("the root is writable");
}

/// `00:00:01.721`
pub fn clock(secs: f64) -> String {
    let millis = (secs * 1e3).round() as u64;
    format!("{:02}:{:02}:{:02}.{:03}", millis / 3_600_000, millis / 60_000 % 60, millis / 1000 % 60, millis % 1000)
}

/// Frame numbers of the intervals, first and last.
fn ranges(video: &Planted) -> Vec<(usize, usize)> {
    let frame = |secs: f64| ((secs * video.rate()).round() as usize).min(video.frames() - 1);
    video.intervals.iter().map(|span| (frame(span.start), frame(span.end))).collect()
}

fn frame_labels(video: &Planted) -> Vec<u8> {
    let ranges = ranges(video);
    (0..video.frames()).map(|n| u8::from(ranges.iter().any(|(first, last)| (*first..=*last).contains(&n)))).collect()
}

/// PyYAML's block style.
fn annotation_in_blocks(video: &Planted) -> String {
    let mut text = format!("{}:\n  all_cues:\n", video.path);
    for _ in &video.intervals {
        text += "  - audio:\n    - Pauses, long\n    body: null\n    facial: frown\n    inconsistencies: null\n    language: null\n";
    }
    if video.intervals.is_empty() {
        text += "  - audio: null\n    body: null\n    facial: null\n    inconsistencies: null\n    language: null\n";
    }
    let list = |items: Vec<String>| if items.is_empty() { " []\n".to_owned() } else { format!("\n{}", items.concat()) };
    text += "  annotator_id: XX\n";
    text += &format!("  certainty_ah:{}", list(video.intervals.iter().map(|_| "  - 1\n".into()).collect()));
    let frames = ranges(video).iter().map(|(first, last)| format!("  - - {first}\n    - {last}\n")).collect();
    text += &format!("  fr_detailed_ah:{}  frame_annotation:\n", list(frames));
    for (n, label) in frame_labels(video).iter().enumerate() {
        let _ = writeln!(text, "  - - {}/frame-{n}.jpg\n    - {label}", video.path);
    }
    let times = video.intervals.iter();
    let times = times.map(|s| format!("  - - '{}'\n    - '{}'\n", clock(s.start), clock(s.end))).collect();
    text += &format!("  global_ah: {}\n  time_detailed_ah:{}", video.label(), list(times));
    let said = video.transcript();
    text += &format!(
        "  transcript:\n    chunks:\n    - language: english\n      text: {said:?}\n      timestamp: !!python/tuple\n      - 0.0\n      - null\n    text: {said:?}\n"
    );
    text
}

/// Its flow style.
fn annotation_in_lines(video: &Planted) -> String {
    let mut text = format!("{}:\n  all_cues:\n", video.path);
    for _ in 0..video.intervals.len().max(1) {
        text += "  - {audio: null, body: null, facial: null, inconsistencies: null, language: null}\n";
    }
    let certainty: Vec<_> = video.intervals.iter().map(|_| 1).collect();
    // Empty in places although there are intervals, as in the releases.
    text += &format!("  annotator_id: YY\n  certainty_ah: {certainty:?}\n  fr_detailed_ah: []\n  frame_annotation:\n");
    for (n, label) in frame_labels(video).iter().enumerate() {
        let _ = writeln!(text, "  - [{}/frame-{n}.jpg,\n    {label}]", video.path);
    }
    text += &format!("  global_ah: {}\n  time_detailed_ah:", video.label());
    for span in &video.intervals {
        text += &format!("\n  - ['{}', '{}']", clock(span.start), clock(span.end));
    }
    if video.intervals.is_empty() {
        text += " []";
    }
    let said = video.transcript().replace('\'', "''");
    text += &format!(
        "\n  transcript:\n    chunks:\n    - language: english\n      text: '{said}'\n      timestamp: !!python/tuple [0.0, {:?}]\n    text: '{said}'\n",
        video.secs
    );
    text
}

fn meta_data() -> String {
    let mut text = String::new();
    for (n, participant) in (90001..=90012).enumerate() {
        let yes_no = |yes: bool| if yes { "'Yes'" } else { "'No'" };
        let range = ["18 - 24 years", "25 - 34 years", "45 - 54 years", "65 years or more"][n % 4];
        let _ = writeln!(
            text,
            "'{participant}':\n  Age: {}\n  Age range: {range}\n  Birth country: Canada\n  Canada province: Ontario (ON)\n  \
             Ethnicity: East Asian (Chinese, Korean, Japanese,\n    and/or Taiwanese descent)\n  Ethnicity simplified: {}\n  \
             Gender: {}\n  Is student: {}\n  Use in challenges: {}\n  Use in publications: {}",
            [19, 31, 51, 70][n % 4],
            ["Asian", "White", "null"][n % 3],
            ["Male", "Female", "Non-binary"][if n == 5 { 2 } else { n % 2 }],
            yes_no(n % 4 == 0),
            yes_no(n != 3),
            yes_no(n % 2 == 0),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_is_twelve_people_forty_videos_and_no_participant_in_two_splits() {
        let videos = videos();
        assert_eq!(videos.len(), 40);
        let mut people: Vec<_> = videos.iter().map(|v| (v.participant, v.split)).collect();
        people.sort_unstable();
        people.dedup();
        assert_eq!(people.len(), 12, "{people:?}");
        for text in [" 14-", "-DESKTOP-"] {
            assert!(videos.iter().any(|v| v.path.contains(text)), "{text}");
        }
        let mut stems: Vec<_> = videos.iter().map(|v| v.path.rsplit('/').next()).collect();
        stems.sort_unstable();
        stems.dedup();
        assert_eq!(stems.len(), 40);
    }

    #[test]
    fn what_a_judge_should_say_of_a_test_window_is_beyond_doubt() {
        for video in videos().iter().filter(|v| v.split == "test") {
            let (mut any, mut from) = (false, 0.0);
            while from == 0.0 || video.secs - from >= 3.0 {
                let to = f64::min(from + 5.0, video.secs);
                let marked: f64 = video.intervals.iter().map(|s| (s.end.min(to) - s.start.max(from)).max(0.0)).sum();
                let share = marked / (to - from);
                assert!(!(0.3..=0.7).contains(&share), "{} at {from}: {share}", video.path);
                any |= share > 0.5;
                from += 5.0;
            }
            assert_eq!(u8::from(any), video.label(), "{}", video.path);
        }
    }
}
