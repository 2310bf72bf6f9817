//! The body of a request: JSON prepared once per judge, and a clip's base64 put into its holes.

use std::fmt::Write as _;

use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::{Map, Value, json};

use super::AbstentionReason;
use super::prompt::PromptPart;
use crate::config::JudgeConfig;
use crate::encode::Clip;

/// What a constrained answer must match.
const ANSWER_REGEX: &str = "<answer>(Yes|No)</answer>";
/// Alternatives asked for at each token; vLLM's most.
const TOP_LOGPROBS: u32 = 20;

/// A judge's request with holes where media go.
#[derive(Debug)]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Json(String),
    Video,
    Audio,
}

impl Template {
    /// The one shape that vLLM and `swift deploy` both take: a system message, then one user message whose parts are
    /// interleaved as in training. It renders to the token ids of the training sample.
    pub(super) fn new(config: &JudgeConfig) -> Self {
        let mut pieces = Vec::new();
        let mut text = format!("{{\"model\":{},\"messages\":[", Value::from(config.model.as_str()));
        if !config.system.is_empty() {
            text.push_str(&json!({"role": "system", "content": config.system}).to_string());
            text.push(',');
        }
        text.push_str("{\"role\":\"user\",\"content\":[");
        for (i, part) in config.prompt.parts().iter().enumerate() {
            if i > 0 {
                text.push(',');
            }
            let (kind, mime, hole) = match part {
                PromptPart::Text(words) => {
                    text.push_str(&json!({"type": "text", "text": words}).to_string());
                    continue;
                }
                PromptPart::Video => ("video_url", "video/mp4", Piece::Video),
                PromptPart::Audio => ("audio_url", "audio/wav", Piece::Audio),
            };
            let _ = write!(text, "{{\"type\":\"{kind}\",\"{kind}\":{{\"url\":\"data:{mime};base64,");
            pieces.push(Piece::Json(std::mem::take(&mut text)));
            pieces.push(hole);
            text.push_str("\"}}");
        }
        text.push_str("]}]");
        for (key, value) in parameters(config) {
            let _ = write!(text, ",{}:{value}", Value::from(key));
        }
        text.push('}');
        pieces.push(Piece::Json(text));
        Self { pieces }
    }

    /// What this clip lacks.
    pub(super) fn lacks(&self, clip: &Clip) -> Option<AbstentionReason> {
        self.pieces.iter().find_map(|piece| match piece {
            Piece::Video if clip.video_base64().is_none() => Some(AbstentionReason::NoVideo),
            Piece::Audio if clip.audio_base64().is_none() => Some(AbstentionReason::NoAudio),
            _ => None,
        })
    }

    /// The body for one clip: one allocation of its final size, one copy of each piece.
    pub(super) fn fill(&self, clip: &Clip) -> Result<Bytes, AbstentionReason> {
        let mut slices: Vec<&[u8]> = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            slices.push(match piece {
                Piece::Json(text) => text.as_bytes(),
                Piece::Video => clip.video_base64().ok_or(AbstentionReason::NoVideo)?,
                Piece::Audio => clip.audio_base64().ok_or(AbstentionReason::NoAudio)?,
            });
        }
        let mut body = BytesMut::with_capacity(slices.iter().map(|slice| slice.len()).sum());
        for slice in slices {
            body.put_slice(slice);
        }
        Ok(body.freeze())
    }
}

/// Everything beside model and messages, in the order of sending.
fn parameters(config: &JudgeConfig) -> Map<String, Value> {
    let sampling = &config.sampling;
    let mut map = Map::new();
    map.insert("temperature".into(), json!(sampling.temperature));
    if let Some(top_p) = sampling.top_p {
        map.insert("top_p".into(), json!(top_p));
    }
    if let Some(seed) = sampling.seed {
        map.insert("seed".into(), json!(seed));
    }
    map.insert("max_tokens".into(), json!(sampling.max_tokens));
    if config.score {
        map.insert("logprobs".into(), json!(true));
        map.insert("top_logprobs".into(), json!(TOP_LOGPROBS));
    }
    if config.constrain {
        map.insert("structured_outputs".into(), json!({"regex": ANSWER_REGEX}));
    }
    map
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Judging, Overrides, RawConfig};

    fn config(more: &str) -> JudgeConfig {
        let text = format!("[[judge]]\nname = \"v1\"\nbase_url = \"https://h/v1\"\nmodel = \"ah-v1\"\n{more}");
        let raw = RawConfig::parse(&text, Path::new("a.toml"));
        match Config::build(raw, Overrides::default(), &|_| None).unwrap().judging {
            Judging::Panel(mut judges) => judges.remove(0),
            Judging::Cues { .. } => unreachable!(),
        }
    }

    fn clip() -> Clip {
        Clip::new(Some(Bytes::from_static(b"\0\0\0\x20ftypisom")), Some(Bytes::from_static(b"RIFFWAVE")))
    }

    /// The body as a server reads it, with the media (checked to be the clip's) left out.
    fn shown(more: &str) -> String {
        let body = Template::new(&config(more)).fill(&clip()).unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        let media = |base64: Option<&Bytes>| String::from_utf8(base64.unwrap().to_vec()).unwrap();
        let text = text.replace(&media(clip().video_base64()), "<MP4>").replace(&media(clip().audio_base64()), "<WAV>");
        serde_json::to_string_pretty(&serde_json::from_str::<Value>(&text).unwrap()).unwrap()
    }

    #[test]
    fn the_request_is_the_training_sample() {
        insta::assert_snapshot!(shown(""));
    }

    #[test]
    fn the_request_with_every_option() {
        insta::assert_snapshot!(shown(
            "profile = \"paper\"\nseed = 7\nscore = true\nconstrain = true\nmax_tokens = 8\nsystem = \"A \\\"judge\\\"\""
        ));
    }

    #[test]
    fn a_judge_of_one_medium_gets_no_other() {
        let video = shown("accepts = [\"video\"]\nsystem = \"\"");
        assert!(video.contains("<MP4>") && !video.contains("audio") && !video.contains("system"), "{video}");
        let audio = shown("accepts = [\"audio\"]");
        assert!(audio.contains("<WAV>") && !audio.contains("video_url") && !audio.contains("<video>"), "{audio}");
    }

    #[test]
    fn missing_media_are_told() {
        let template = Template::new(&config(""));
        assert_eq!(template.fill(&Clip::new(None, clip().audio().cloned())), Err(AbstentionReason::NoVideo));
        assert_eq!(template.fill(&Clip::new(clip().video().cloned(), None)), Err(AbstentionReason::NoAudio));
    }

    #[test]
    fn the_body_is_base64_and_little_else() {
        let clip = Clip::new(Some(vec![7; 300_000].into()), Some(vec![9; 160_044].into()));
        let body = Template::new(&config("score = true")).fill(&clip).unwrap();
        // At most 1.02 x 4/3 x media.
        assert!(body.len() * 300 < 460_044 * 400 * 102 / 100);
    }
}
