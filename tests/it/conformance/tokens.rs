//! What a clip costs: the tokens that servers count are those that are computed.

use ahwatch::encode::fit;
use serde_json::json;

use super::bench::{Bench, first_token};

/// A side of the square of pixels that becomes one token.
const GRID: f64 = 32.0;
/// Fewest and most tokens of a pair of pictures.
const PAIR: (f64, f64) = (128.0, 768.0);

/// Tokens of `pictures` pictures of this size after the server's resize (Qwen's `smart_resize`).
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousand tokens")]
fn video((width, height): (u32, u32), pictures: usize) -> u64 {
    let (w, h) = (f64::from(width), f64::from(height));
    let (mut columns, mut rows) = ((w / GRID).round_ties_even(), (h / GRID).round_ties_even());
    if columns * rows > PAIR.1 {
        let factor = (w * h / (PAIR.1 * GRID * GRID)).sqrt();
        (columns, rows) = ((w / factor / GRID).floor(), (h / factor / GRID).floor());
    } else if columns * rows < PAIR.0 {
        let factor = (PAIR.0 * GRID * GRID / (w * h)).sqrt();
        (columns, rows) = ((w * factor / GRID).ceil(), (h * factor / GRID).ceil());
    }
    (pictures / 2) as u64 * (columns * rows) as u64
}

/// Tokens of so many values of sound: 13 a second, and three halvings of the rest.
fn audio(values: usize) -> u64 {
    let frames = values / 160;
    let halved = |n: usize| n.div_ceil(2);
    (halved(halved(halved(frames % 100))) + frames / 100 * 13) as u64
}

#[test]
fn the_computed_tokens_are_the_known_ones() {
    assert_eq!([video((640, 480), 10), video((448, 448), 10), video((1182, 664), 10)], [1500, 980, 3600]);
    assert_eq!([audio(80_000), audio(81_600), audio(54_400)], [65, 67, 44]);
}

/// All tokens of the prompt are those of the training sample.
pub fn in_all(bench: &mut Bench) {
    for piece in &bench.media.pieces {
        let (_, exchange) = bench.ask(&format!("usage, {}", piece.name), &piece.clips, "", &first_token());
        let trained = bench.memory.get(&format!("sample {}", piece.name))["ids"].as_array().map(Vec::len);
        let counted = exchange.body()["usage"]["prompt_tokens"].as_u64().and_then(|n| usize::try_from(n).ok());
        bench.equal(&format!("{}: prompt tokens", piece.name), &trained, &counted);
    }
}

/// Tokens of pictures and of sound apart (`--enable-prompt-tokens-details`).
pub fn by_modality(bench: &mut Bench) {
    let media = bench.media;
    let [full, tail] = &media.pieces;
    for (name, clips, size, pictures, sound) in [
        ("640x480, full window", &full.clips, (640, 480), full.pictures, full.sound),
        ("640x480, tail of 3.4 s", &tail.clips, (640, 480), tail.pictures, tail.sound),
        ("1280x720, full window", &media.wide, fit(1280, 720, 786_432).expect("a size"), 10, 80_000),
    ] {
        let (_, exchange) = bench.ask(&format!("modalities, {name}"), clips, "", &first_token());
        let counted = exchange.body()["usage"]["prompt_tokens_details"]["multimodal_tokens"].clone();
        let computed = json!({"audio": audio(sound), "video": video(size, pictures)});
        bench.equal(name, &computed, &counted);
    }
}
