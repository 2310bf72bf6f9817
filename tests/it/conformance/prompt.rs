//! The request renders to the token ids of the training sample.

use std::process::Command;

use serde_json::{Value, json};

use super::bench::Bench;
use super::card::shown;
use super::rig::Rig;

/// `<answer>Yes</answer>` and the end of the message, as the tokenizer cuts them.
const YES: [u64; 8] = [27, 9217, 29, 9454, 522, 9217, 29, 151_645];

/// A JSON array's numbers.
fn ids(value: &Value) -> Vec<u64> {
    value.as_array().map(|ids| ids.iter().filter_map(Value::as_u64).collect()).unwrap_or_default()
}

/// What ms-swift's loader and template make of the training files of each piece, and of our clips in their place.
pub fn of_training(bench: &mut Bench) {
    let scratch = bench.rig.scratch().to_owned();
    let prompt = include_str!("../../../models/prompts/trained.txt").trim_end_matches('\n');
    let mut rows = String::new();
    for piece in &bench.media.pieces {
        let clip = piece.clips.any().expect("a clip");
        let ours =
            (scratch.join(format!("{}-clip.mp4", piece.sound)), scratch.join(format!("{}-clip.wav", piece.sound)));
        std::fs::write(&ours.0, clip.video().expect("pictures")).unwrap();
        std::fs::write(&ours.1, clip.audio().expect("sound")).unwrap();
        for (video, audio) in [&piece.training, &ours] {
            let row = json!({
                "messages": [
                    {"role": "user", "content": prompt}, {"role": "assistant", "content": "<answer>Yes</answer>"},
                ],
                "videos": [video], "audios": [audio],
            });
            rows += &format!("{row}\n");
        }
    }
    let path = scratch.join("rows.jsonl");
    std::fs::write(&path, rows).unwrap();
    let python = Command::new(bench.rig.cached("venv-swift/bin/python"))
        .arg(Rig::script("encode_sample.py"))
        .args([bench.rig.cached("models/tiny-moe"), path])
        .env("HF_HUB_OFFLINE", "1")
        .output()
        .expect("the cache's Python");
    let told = String::from_utf8_lossy(&python.stdout).into_owned();
    // ms-swift logs to standard output as well.
    let samples: Vec<Value> = told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let wanted = 2 * bench.media.pieces.len();
    assert!(samples.len() == wanted, "{} samples: {}", samples.len(), String::from_utf8_lossy(&python.stderr));
    for (piece, pair) in bench.media.pieces.iter().zip(samples.chunks(2)) {
        let (training, ours) = (&pair[0], &pair[1]);
        let differences = differences(&ids(&training["ids"]), &ids(&ours["ids"]));
        bench.equal(&format!("{}: our clip in a training row, other ids", piece.name), &0, &differences);
        bench.equal(&format!("{}: ids of the answer", piece.name), &YES.to_vec(), &answer(training));
        bench.memory.keep(&format!("sample {}", piece.name), training.clone());
        bench.memory.keep(&format!("clip {}", piece.name), ours.clone());
    }
}

/// What is trained on, without the line break after the message.
fn answer(sample: &Value) -> Vec<u64> {
    ids(&sample["answer"]).into_iter().take(YES.len()).collect()
}

fn differences(one: &[u64], other: &[u64]) -> usize {
    one.iter().zip(other).filter(|(a, b)| a != b).count() + one.len().abs_diff(other.len())
}

/// The ids that the server made of our request, against the training sample's.
pub fn as_trained(bench: &mut Bench) {
    let vllm = bench.server().setting().is_vllm();
    for piece in &bench.media.pieces {
        let asks = if vllm { "return_token_ids" } else { "return_details" };
        let extra = json!({"max_tokens": 1, asks: true});
        let (_, exchange) = bench.ask(&format!("ids, {}", piece.name), &piece.clips, "", &extra);
        let (served, trained) =
            (exchange.body()["prompt_token_ids"].clone(), bench.memory.get(&format!("sample {}", piece.name)));
        let (served, trained) = (ids(&served), ids(&trained["ids"]));
        assert!(!served.is_empty(), "no ids came: {}", shown(&exchange.text));
        let measured = format!("{} of {}", differences(&trained, &served), trained.len());
        let what = format!("{}: prompt ids that differ from the training sample's", piece.name);
        bench.check(&what, &format!("0 of {}", trained.len()), &measured, trained == served);
    }
}
