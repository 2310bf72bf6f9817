//! `ahwatch bah eval` looks whether judges hear and see; and what it calls clips, and which files it takes.

use std::collections::BTreeSet;

use super::eval::{LIMIT, bah, endpoint, lines, place, score, test_videos};
use super::{copy, replace};
use crate::kit::bah::dataset;
use crate::kit::endpoint::Endpoint;
use crate::kit::media::Recipe;
use crate::kit::run::{Finished, ahwatch};
use crate::kit::senses::Senses;

/// Evaluates one video.
fn one(endpoint: &Endpoint, more: &[&str]) -> (Finished, super::eval::Place) {
    let place = place(endpoint);
    let args = [&["--limit", "1"], more].concat();
    let run = place.eval(&dataset(), &place.out("run"), &args).finish(LIMIT);
    (run, place)
}

fn flags(place: &super::eval::Place, judge: &str) -> BTreeSet<String> {
    let lines = lines(&place.out("run"), "samples.jsonl");
    assert!(!lines.is_empty());
    lines.iter().filter(|line| line["judge"] == judge).map(|line| line["flag"].to_string()).collect()
}

fn findings(place: &super::eval::Place) -> Vec<String> {
    let scored = score(&place.out("run"));
    let told = scored["findings"].as_array().unwrap().iter();
    told.map(|f| format!("{}: {}: {}", f["severity"], f["code"], f["message"]).replace('"', "")).collect()
}

#[test]
fn a_judge_that_is_deaf_ends_the_evaluation_before_anything_is_asked() {
    let endpoint = endpoint();
    endpoint.set_senses("v2", Senses { hears: false, ..Senses::default() });
    let (run, place) = one(&endpoint, &[]);
    let run = run.expect_code(1);
    assert!(run.stderr.contains("did not pass the canary: v2 (failed: deaf). Nothing was asked"), "{}", run.stderr);
    assert!(endpoint.requests().is_empty() && lines(&place.out("run"), "samples.jsonl").is_empty());
    // The same command goes on once it hears.
    endpoint.set_senses("v2", Senses::default());
    place.eval(&dataset(), &place.out("run"), &["--limit", "1"]).finish(LIMIT).expect_code(0);
    assert_eq!(flags(&place, "v2"), ["null".to_owned()].into());
}

#[test]
fn what_is_to_be_known_of_a_vote_stands_in_its_line_and_above_the_numbers() {
    let endpoint = endpoint();
    endpoint.set_senses("v2", Senses { sees: false, ..Senses::default() });
    endpoint.set_senses("v3", Senses { tells: false, ..Senses::default() });
    let (run, place) = one(&endpoint, &["--allow-degraded"]);
    run.expect_code(0);
    let of = |judge| flags(&place, judge).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(["v1", "v2", "v3"].map(of), ["null", "\"degraded\"", "\"unproven\""]);
    let told = findings(&place);
    for says in ["warning: degraded: judge v2 failed the canary", "warning: unproven: judge v3 could not be shown"] {
        assert!(told.iter().any(|finding| finding.starts_with(says)), "{says}: {told:?}");
    }
    assert!(!told.iter().any(|finding| finding.contains("judge v1")), "{told:?}");
}

#[test]
fn an_evaluation_without_the_canary_says_so() {
    let endpoint = endpoint();
    endpoint.set_senses("v2", Senses { hears: false, ..Senses::default() });
    let (run, place) = one(&endpoint, &["--no-canary"]);
    run.expect_code(0);
    assert_eq!(endpoint.canaries(), 0);
    assert_eq!(flags(&place, "v1"), ["\"not_checked\"".to_owned()].into());
    let told = findings(&place);
    assert_eq!(told.iter().filter(|f| f.starts_with("warning: no_canary: judge v")).count(), 3, "{told:?}");
    let text = bah(&["score", place.out("run").to_str().unwrap(), "--draws", "0"]).expect_code(0).stdout;
    assert!(text.contains("(--no-canary)"), "{text}");
}

/// Recordings of just one clip, and a little more: `prepare` and `eval` call clips the same.
#[test]
fn clips_have_the_names_of_the_prepared_ones() {
    let endpoint = endpoint();
    let place = place(&endpoint);
    let (root, planted) = (copy(), test_videos());
    for (video, secs) in planted.iter().zip([5.0, 5.04, 4.96, 3.2]) {
        // The encoder's sound goes on a little past its end; the pictures decide how long these are.
        let recipe = Recipe::new(secs).fps((25, 1)).b_frames(2).sound_covers(0.0..secs - 0.1);
        let bytes = std::fs::read(recipe.make()).unwrap();
        replace(&root.path().join(&video.path), &bytes);
    }
    place.eval(root.path(), &place.out("run"), &[]).finish(LIMIT).expect_code(0);
    let samples = lines(&place.out("run"), "samples.jsonl");
    let asked: BTreeSet<String> = samples.iter().map(|line| line["clip"].as_str().unwrap().to_owned()).collect();
    let data = place.out("data");
    let args = ["bah", "prepare", root.path().to_str().unwrap(), data.to_str().unwrap(), "--split", "test"];
    ahwatch(args).finish(LIMIT).expect_code(0);
    let files = std::fs::read_dir(data.join("test/clips")).unwrap().map(|entry| entry.unwrap().path());
    let wavs = files.filter(|file| file.extension().is_some_and(|e| e == "wav"));
    let made: BTreeSet<String> = wavs.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(asked, made);
    let stem = |n: usize| planted[n].path.rsplit('/').next().unwrap().trim_end_matches(".mp4").to_owned();
    assert!(made.contains(&stem(0)) && made.contains(&format!("{}_1", stem(1))), "{made:?}");
    assert!(made.contains(&stem(2)) && made.contains(&stem(3)), "{made:?}");
}

#[test]
fn a_video_that_links_out_of_the_dataset_is_refused_by_name() {
    let endpoint = endpoint();
    let place = place(&endpoint);
    let (root, planted) = (copy(), test_videos());
    let (video, elsewhere) = (root.path().join(&planted[1].path), tempfile::tempdir().unwrap());
    let target = elsewhere.path().join("private.mp4");
    std::fs::copy(&video, &target).unwrap();
    std::fs::remove_file(&video).unwrap();
    std::os::unix::fs::symlink(&target, &video).unwrap();
    let evaluated = place.eval(root.path(), &place.out("run"), &[]).finish(LIMIT).expect_code(2);
    let data = place.out("data");
    let args = ["bah", "prepare", root.path().to_str().unwrap(), data.to_str().unwrap(), "--split", "test"];
    for run in [evaluated, ahwatch(args).finish(LIMIT).expect_code(2)] {
        let named = run.stderr.contains(&planted[1].path) && run.stderr.contains("private.mp4, outside of the dataset");
        assert!(named, "{}", run.stderr);
    }
    assert!(endpoint.requests().is_empty() && !place.out("run").exists() && !data.join("test/clips").exists());
}
