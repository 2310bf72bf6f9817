//! Result files as the scripts write them, with the mistakes that must not be copied.

use serde_json::json;

use super::*;
use crate::bah::metrics::Bootstrap;
use crate::bah::score::score;

const A: &str = "82711_Question_1_2024-11-18_16-07-42_Video";
const B: &str = "82711_Question_2_2024-11-18 16-09-44_Video-DESKTOP-NQ55E0P";

#[allow(clippy::needless_pass_by_value, reason = "reads better where it is called")]
fn detail(clip: &str, said: Value, truth: &str) -> Value {
    json!({"video": format!("/data/test/{clip}.mp4"), "prediction_label": said, "ground_truth_label": truth, "more": 1})
}

fn files(contents: &[Vec<Value>]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let write = |(n, details): (usize, &Vec<Value>)| {
        let path = dir.path().join(format!("v{}.json", n + 1));
        std::fs::write(&path, json!({"accuracy": 0.5, "details": details}).to_string()).unwrap();
        path
    };
    let paths = contents.iter().enumerate().map(write).collect();
    (dir, paths)
}

#[test]
fn clips_are_grouped_to_videos_by_their_names() {
    assert_eq!(clip_name(&format!("x/{A}_12.mp4")), (A.into(), (1, 12)));
    assert_eq!(clip_name(&format!("{B}_2_3.mp4")), (B.into(), (2, 3)));
    assert_eq!(clip_name(&format!("{A}.mp4")), (A.into(), (1, 1)));
    assert_eq!(clip_name("talk_7.mp4"), ("talk".into(), (1, 7)));
    assert_eq!(clip_name("talk_2024-11-18.mp4"), ("talk_2024-11-18".into(), (1, 1)));
}

#[test]
fn an_unreadable_answer_is_no_no_and_a_missing_video_is_not_left_out() {
    let whole = |said: Value| {
        vec![
            detail(&format!("{A}_1"), said, "Yes"),
            detail(&format!("{A}_2"), json!("No"), "Yes"),
            detail(&format!("{B}_1"), json!("No"), "No"),
        ]
    };
    let mut short = whole(json!("Yes"));
    short.pop();
    let (_dir, paths) = files(&[whole(json!(null)), whole(json!("I think so")), short]);
    let imported = import(&paths).unwrap();
    let scored = score(&imported.run, Bootstrap { draws: 0, seed: 0 });
    let released = imported.compare(&scored);
    let row = |name: &str| released.rows.iter().find(|row| row.name == name).unwrap();
    // Released: v1 calls A No, so the vote is No, over A alone; B is gone without a word.
    assert_eq!((row("vote").videos, row("vote").released.unwrap().accuracy.to_bits()), (1, 0.0_f64.to_bits()));
    assert_eq!(released.left_out_of_the_vote, [B]);
    // Corrected: half of A without an answer is no "No"; of B two judges of three say No.
    let a = &scored.videos[0];
    assert_eq!((a.video.as_str(), a.vote_of_max.answer(), a.maxima[2].answer()), (A, None, Some(true)));
    assert_eq!(scored.videos[1].vote_of_max.answer(), Some(false));
    let change = |video: &str, name: &str| released.changed.iter().any(|c| c.video == video && c.name == name);
    assert!(change(A, "v1") && change(A, "vote") && change(B, "vote") && !change(A, "v3"), "{:?}", released.changed);
    assert_eq!(scored.judges[0].abstained["unparsable"], 1);
    assert_eq!((scored.videos[0].participant.as_str(), imported.run.info.videos[1].question), ("82711", Some(2)));
}

#[test]
fn without_mistakes_to_correct_nothing_changes() {
    let whole = |yes: bool| {
        vec![
            detail(&format!("{A}_1"), json!(if yes { "<answer>Yes</answer>" } else { "No" }), "Yes"),
            detail(&format!("{B}_1"), json!(0), "No"),
        ]
    };
    let (_dir, paths) = files(&[whole(true), whole(false), whole(true)]);
    let imported = import(&paths).unwrap();
    let released = imported.compare(&score(&imported.run, Bootstrap { draws: 0, seed: 0 }));
    assert!(released.changed.is_empty() && released.left_out_of_the_vote.is_empty());
    assert!(released.rows.iter().all(|row| row.released == row.corrected));
}

#[test]
fn what_is_no_result_file_is_refused_by_name() {
    let one = || vec![detail(&format!("{A}_1"), json!("No"), "No")];
    let other = || vec![detail(&format!("{A}_1"), json!("No"), "Yes")];
    let odd = || vec![detail(&format!("{A}_1"), json!("No"), "maybe")];
    for (contents, says) in [
        (vec![one(), one()], "odd number"),
        (vec![one(), other(), one()], "opposite truth"),
        (vec![odd()], "details[0]"),
        (vec![vec![]], "has no details"),
    ] {
        let (_dir, paths) = files(&contents);
        let message = import(&paths).unwrap_err().to_string();
        assert!(message.contains(says) && message.contains("v1.json") || message.contains("v2.json"), "{message}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\n\"details\": 3}").unwrap();
    let message = import(&[file.path().to_owned()]).unwrap_err().to_string();
    assert!(message.contains(":2: is no result file"), "{message}");
}
