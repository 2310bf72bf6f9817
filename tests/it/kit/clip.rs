//! What a request's media held, decoded the way a judge's loader would.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::decode::{self, SeenPicture, Track};
use super::tones::{self, Heard};
use super::wav::{self, Wav};

/// A decoded clip.
#[derive(Clone, Debug, Default)]
pub struct Clip {
    /// The MP4's video track before decoding: codec, size, times.
    pub track: Option<Track>,
    /// Its pictures, decoded.
    pub pictures: Vec<SeenPicture>,
    /// Bytes of the MP4.
    pub mp4_bytes: usize,
    /// The WAV.
    pub wav: Option<Wav>,
    /// What the WAV carries (read only when it is 16 kHz mono).
    pub heard: Heard,
}

impl Clip {
    /// Frame numbers of its pictures, in order.
    ///
    /// # Panics
    /// When a picture carries no valid code.
    pub fn frames(&self) -> Vec<u32> {
        self.pictures.iter().map(|picture| picture.code.expect("a picture without a valid code").frame).collect()
    }

    /// Samples of sound.
    pub fn samples(&self) -> usize {
        self.wav.as_ref().map_or(0, |wav| wav.samples.len())
    }

    /// Source time of sample `position`, seconds.
    pub fn sound_secs_at(&self, position: usize) -> Option<f64> {
        self.heard.source_secs_at(position)
    }

    /// Whether more than half of the pictures carry mark `bit`.
    pub fn pictures_marked(&self, bit: u8) -> bool {
        let marked = self.pictures.iter().filter(|p| p.code.is_some_and(|code| code.marks >> bit & 1 == 1)).count();
        2 * marked > self.pictures.len()
    }

    /// Whether more than half of the blocks heard carry mark `bit`.
    pub fn sound_marked(&self, bit: u8) -> bool {
        2 * self.heard.marked(bit) > self.heard.anchors.len()
    }

    /// Source time of the middle picture, for a source of `fps` frames a second.
    pub fn picture_middle_secs(&self, fps: f64) -> Option<f64> {
        let frames: Vec<u32> = self.pictures.iter().filter_map(|picture| picture.code.map(|code| code.frame)).collect();
        frames.get(frames.len() / 2).map(|frame| f64::from(*frame) / fps)
    }

    /// Source time of the middle of the sound.
    pub fn sound_middle_secs(&self) -> Option<f64> {
        self.sound_secs_at(self.samples() / 2)
    }
}

/// Base64 of a `data:` URL of this kind.
fn payload<'a>(part: &'a Value, kind: &str) -> Option<&'a str> {
    part.get(kind)?.get("url")?.as_str()
}

fn bytes(url: &str, media: &str) -> Result<Vec<u8>, String> {
    let data = url
        .strip_prefix(&format!("data:{media};base64,"))
        .ok_or_else(|| format!("Only data:{media};base64 URLs are taken here"))?;
    STANDARD.decode(data).map_err(|_| "Non-base64 digit found".to_owned())
}

/// The MP4 and the WAV of a chat request, as files.
///
/// # Errors
/// They are no base64 of such.
pub fn files(request: &Value) -> Result<(Option<Vec<u8>>, Option<Vec<u8>>), String> {
    let parts = request["messages"].as_array().into_iter().flatten().filter_map(|m| m["content"].as_array()).flatten();
    let (mut mp4, mut wav) = (None, None);
    for part in parts {
        if let Some(url) = payload(part, "video_url") {
            mp4 = Some(bytes(url, "video/mp4")?);
        } else if let Some(url) = payload(part, "audio_url") {
            wav = Some(bytes(url, "audio/wav")?);
        }
    }
    Ok((mp4, wav))
}

/// Decodes the media of a chat request.
///
/// # Errors
/// In vLLM's words where it has some.
pub fn decode(request: &Value) -> Result<Clip, String> {
    let parts = request["messages"].as_array().into_iter().flatten().filter_map(|m| m["content"].as_array()).flatten();
    let (mut clip, mut videos, mut sounds) = (Clip::default(), 0, 0);
    for part in parts {
        if let Some(url) = payload(part, "video_url") {
            videos += 1;
            let mp4 = bytes(url, "video/mp4")?;
            let mut file = tempfile::Builder::new().suffix(".mp4").tempfile().map_err(|error| error.to_string())?;
            file.write_all(&mp4).map_err(|error| error.to_string())?;
            clip.mp4_bytes = mp4.len();
            let unopened = |error: String| format!("Could not open video stream: {error}");
            clip.track = Some(decode::mp4_track(file.path()).map_err(unopened)?);
            clip.pictures = decode::file(file.path()).map_err(unopened)?.pictures;
        } else if let Some(url) = payload(part, "audio_url") {
            sounds += 1;
            let wav = wav::read(&bytes(url, "audio/wav")?)
                .map_err(|error| format!("Invalid or corrupted audio data: {error}"))?;
            if (wav.rate, wav.channels) == (16_000, 1) {
                clip.heard = tones::read(&wav.samples);
            }
            clip.wav = Some(wav);
        }
    }
    match (videos, sounds) {
        (2.., _) => Err("At most 1 video(s) may be provided in one prompt. (parameter=video)".into()),
        (_, 2..) => Err("At most 1 audio(s) may be provided in one prompt. (parameter=audio)".into()),
        _ => Ok(clip),
    }
}

/// The request with the media of `data:` URLs replaced by their size.
pub fn elided(request: &Value) -> Value {
    match request {
        Value::String(text) if text.starts_with("data:") => {
            let (head, data) = text.split_once(',').unwrap_or((text, ""));
            json!(format!("{head},<{} bytes>", STANDARD.decode(data).map_or(0, |bytes| bytes.len())))
        }
        Value::Array(items) => items.iter().map(elided).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), elided(value))).collect())
        }
        other => other.clone(),
    }
}
