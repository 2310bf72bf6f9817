//! Seconds a step of the video's time axis: with the recipe's flag vLLM computes what ms-swift does, without it not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::bench::{Bench, first_token};
use super::media::Piece;

/// What float32 leaves between two programs that compute the same.
const TOLERANCE: f64 = 1e-3;

type Top = Vec<(String, f64)>;

/// The largest difference rank by rank, and how many of the tokens are the same.
fn apart(one: &Top, other: &Top) -> (f64, usize) {
    let worst = one.iter().zip(other).map(|(a, b)| (a.1 - b.1).abs()).fold(0.0, f64::max);
    (worst, one.iter().filter(|(token, _)| other.iter().any(|(t, _)| t == token)).count())
}

fn words((worst, same): (f64, usize)) -> String {
    format!("largest difference {worst:.6}, {same} of 5 tokens the same")
}

fn kept(bench: &Bench, name: &str) -> Top {
    serde_json::from_value(bench.memory.get(name).clone()).expect("kept as such")
}

fn top(bench: &mut Bench, piece: &Piece) -> Top {
    let exchange = bench.first_token(&format!("first token, {}", piece.name), &piece.clips);
    let top = exchange.top();
    assert_eq!(top.len(), 5, "{}", exchange.text);
    top
}

/// ms-swift's own, to compare with.
pub fn reference(bench: &mut Bench) {
    for piece in &bench.media.pieces {
        let top = top(bench, piece);
        let values: Vec<_> = top.iter().map(|(_, logprob)| format!("{logprob:.4}")).collect();
        bench.state(&format!("{}: first token's top five", piece.name), &values.join(" "));
        bench.memory.keep(&format!("top {}", piece.name), json!(top));
    }
}

/// A tail is trained with another scale than its clip says: what that changes, beside what encoding anew changes.
pub fn of_a_tail(bench: &mut Bench) {
    for (piece, scales) in bench.media.pieces.iter().zip([(1.0, 1.0), (6.8 / 6.0, 1.0)]) {
        let scale = |name: &str| bench.memory.get(&format!("{name} {}", piece.name))["seconds_per_grid"].clone();
        let (trained, ours) = (scale("sample"), scale("clip"));
        let first = |value: &Value| value.get(0).unwrap_or(value).as_f64().unwrap_or(f64::NAN);
        let (trained, ours) = (first(&trained), first(&ours));
        let ok = (trained - scales.0).abs() < 1e-3 && (ours - scales.1).abs() < 1e-3;
        let expected = format!("{:.3} in training, {:.3} in our clip", scales.0, scales.1);
        let measured = format!("{trained:.3} in training, {ours:.3} in our clip");
        bench.check(&format!("{}: seconds a step", piece.name), &expected, &measured, ok);

        // The same request with training's own files in place of our clip.
        let (_, exchange) = bench.ask("for its body", &piece.clips, "", &first_token());
        bench.recorded.pop();
        let mut request = exchange.request;
        for part in request["messages"][1]["content"].as_array_mut().expect("parts") {
            for (kind, mime, path) in
                [("video_url", "video/mp4", &piece.training.0), ("audio_url", "audio/wav", &piece.training.1)]
            {
                if part["type"] == kind {
                    let base64 = STANDARD.encode(std::fs::read(path).expect("training's file"));
                    part[kind]["url"] = Value::from(format!("data:{mime};base64,{base64}"));
                }
            }
        }
        let training = bench.post(&format!("training's files, {}", piece.name), &request).top();
        let apart = apart(&kept(bench, &format!("top {}", piece.name)), &training);
        bench.state(&format!("{}: training's files against our clip", piece.name), &words(apart));
    }
}

/// vLLM with `fps` 2, on the clip that ms-swift had.
pub fn agrees_with_fps(bench: &mut Bench) {
    for piece in &bench.media.pieces {
        let apart = apart(&kept(bench, &format!("top {}", piece.name)), &top(bench, piece));
        let ok = apart.0 <= TOLERANCE && apart.1 == 5;
        let expected = format!("at most {TOLERANCE}, the same five");
        bench.check(&format!("{}: first token against ms-swift's", piece.name), &expected, &words(apart), ok);
    }
}

/// vLLM without it assumes 2.0 s.
pub fn differs_without_fps(bench: &mut Bench) {
    for piece in &bench.media.pieces {
        let apart = apart(&kept(bench, &format!("top {}", piece.name)), &top(bench, piece));
        let ok = apart.0 > TOLERANCE || apart.1 < 5;
        let expected = format!("more than {TOLERANCE}, or other tokens");
        bench.check(&format!("{}: first token against ms-swift's", piece.name), &expected, &words(apart), ok);
    }
}
