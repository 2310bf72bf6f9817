//! How the test endpoint answers the canary: what it hears and sees of a clip moves its log-odds, or what it ignores does not.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use serde_json::{Value, json};

use super::clip;
use super::wav;

/// Ears and eyes of one model.
#[allow(clippy::struct_excessive_bools, reason = "each is a channel of its own")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Senses {
    /// Whether its log-odds depend on the sound.
    pub hears: bool,
    /// Whether they depend on the pictures.
    pub sees: bool,
    /// Whether they depend on what sounds after 30 seconds.
    pub past_30_secs: bool,
    /// Whether it gives log-probabilities at all.
    pub tells: bool,
    /// Most by which repeats are off, either way.
    pub noise: f64,
    /// Moves all of its log-odds: another checkpoint.
    pub shift: f64,
    /// Whether it counts tokens, by channel where it tells so: those of what it ignores are none.
    pub counts: Counts,
}

/// What it says of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// Nothing.
    None,
    /// The whole prompt's.
    Total,
    /// Each channel's.
    Channels,
}

impl Default for Senses {
    fn default() -> Self {
        Self { hears: true, sees: true, past_30_secs: true, tells: true, noise: 0.0, shift: 0.0, counts: Counts::None }
    }
}

/// A judge that is asked to go on from `<answer`: how the canary asks.
pub fn is_canary(request: &Value) -> bool {
    let last = request["messages"].as_array().and_then(|messages| messages.last());
    last.is_some_and(|last| last["role"] == "assistant" && last["content"] == "<answer")
}

/// What a clip holds, measured from its files.
#[derive(Clone, Copy, Debug)]
pub struct Sensed {
    /// Root mean square of the first 30 s of sound, of full scale.
    pub early: f64,
    /// Of what comes after.
    pub late: f64,
    /// Seconds of sound.
    pub secs: f64,
    /// Share of pictures that are not like the one before; of H.264 something that grows with it.
    pub motion: f64,
    hash: u64,
}

fn rms(samples: &[i16]) -> f64 {
    let sum: f64 = samples.iter().map(|value| (f64::from(*value) / 32768.0).powi(2)).sum();
    if samples.is_empty() { 0.0 } else { (sum / samples.len() as f64).sqrt() }
}

/// The JPEG files in a motion JPEG MP4.
fn pictures(mp4: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> =
        mp4.windows(3).enumerate().filter(|(_, w)| *w == [0xff, 0xd8, 0xff]).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([mp4.len()]);
    starts.iter().zip(ends).map(|(start, end)| &mp4[*start..end]).collect()
}

/// Looks at the media of a request.
///
/// # Errors
/// In vLLM's words where it has some.
pub fn sense(request: &Value) -> Result<Sensed, String> {
    let (mp4, sound) = clip::files(request)?;
    let sound = sound.map(|file| wav::read(&file)).transpose()?;
    let samples = sound.map(|wav| wav.samples).unwrap_or_default();
    let cut = samples.len().min(480_000);
    let mp4 = mp4.unwrap_or_default();
    let pictures = pictures(&mp4);
    let moved = pictures.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let motion = if pictures.is_empty() {
        // H.264: what moves takes bytes.
        mp4.len() as f64 / 1e5
    } else {
        moved as f64 / pictures.len().saturating_sub(1).max(1) as f64
    };
    let mut hash = DefaultHasher::new();
    (&samples, &mp4).hash(&mut hash);
    Ok(Sensed {
        early: rms(&samples[..cut]),
        late: rms(&samples[cut..]),
        secs: samples.len() as f64 / 16_000.0,
        motion,
        hash: hash.finish(),
    })
}

impl Senses {
    /// Natural log-odds of Yes; `nth` counts the requests.
    pub fn log_odds(&self, sensed: &Sensed, nth: u64) -> f64 {
        let mut log_odds = 0.3 + self.shift;
        if self.hears {
            log_odds += 4.0 * sensed.early;
        }
        if self.hears && self.past_30_secs {
            log_odds += 4.0 * sensed.late;
        }
        if self.sees {
            log_odds -= 0.7 * sensed.motion;
        }
        let mut hash = DefaultHasher::new();
        (nth, sensed.hash).hash(&mut hash);
        log_odds + self.noise * ((hash.finish() % 2001) as f64 / 1000.0 - 1.0)
    }

    /// The answer to a canary request, as vLLM writes it.
    pub fn reply(&self, model: &str, sensed: &Sensed, nth: u64) -> Value {
        let log_odds = self.log_odds(sensed, nth);
        // Neither label is likely: as of a model that was not trained for it.
        let (yes, no) = (-9.0 + log_odds / 2.0, -9.0 - log_odds / 2.0);
        let entry = |token: &str, logprob: f64| json!({"token": token, "logprob": logprob, "bytes": token.as_bytes()});
        let mut first = entry("\n", -0.001);
        first["top_logprobs"] = json!([entry("\n", -0.001), entry(">", yes), entry(">No", no)]);
        let heard = if self.past_30_secs { sensed.secs } else { sensed.secs.min(30.0) };
        let audio = if self.hears { (13.0 * heard) as u64 } else { 0 };
        let video = if self.sees { 560 } else { 0 };
        let prompt = 73 + audio + video;
        let usage = match self.counts {
            Counts::None => Value::Null,
            Counts::Total => json!({"prompt_tokens": prompt, "completion_tokens": 1, "total_tokens": prompt + 1}),
            Counts::Channels => json!({"prompt_tokens": prompt, "completion_tokens": 1, "total_tokens": prompt + 1,
                "prompt_tokens_details": {"multimodal_tokens": {"audio": audio, "video": video}}}),
        };
        json!({
            "id": "chatcmpl-test", "object": "chat.completion", "created": 0, "model": model,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "\n"}, "finish_reason": "length",
                "logprobs": if self.tells { json!({"content": [first]}) } else { Value::Null }}],
            "usage": usage,
        })
    }
}
