//! The body of a request: JSON prepared once per judge, and a clip's base64 put into its holes.

use std::fmt::Write as _;

use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::{Map, Value, json};

use super::AbstentionReason;
use super::prompt::PromptPart;
use crate::config::{JudgeConfig, Sampling};
use crate::encode::Clip;

/// What a constrained answer must match.
const ANSWER_REGEX: &str = "<answer>(Yes|No)</answer>";
/// Alternatives asked for at each token; vLLM's most.
const TOP_LOGPROBS: u32 = 20;

/// What the models write before the token that decides between the labels.
const PREFILL: &str = "<answer";
/// Ids of `>` and `>No` in Qwen3-Omni's vocabulary: the tokens that lead to Yes and to No after that. A server of another
/// vocabulary gives other tokens for them, which are not taken for labels.
const LABEL_IDS: [u32; 2] = [29, 41157];

/// How log-probabilities of the labels are asked for, whatever the judge's own requests do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The answer is begun for the model, and the next token asked about: one token, both labels by their ids (vLLM) and
    /// the most likely others. Servers that know no ids ignore them.
    Prefilled,
    /// The judge writes its whole answer, at temperature 0.
    Whole,
}

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
        Self::with(config, None, &parameters(config))
    }

    /// The same message, to learn the log-probabilities of the labels.
    pub(super) fn canary(config: &JudgeConfig, way: Way) -> Self {
        match way {
            Way::Prefilled => {
                let parameters = [
                    ("temperature", json!(0)),
                    ("max_tokens", json!(1)),
                    ("logprobs", json!(true)),
                    ("top_logprobs", json!(TOP_LOGPROBS)),
                    ("logprob_token_ids", json!(LABEL_IDS)),
                    ("continue_final_message", json!(true)),
                    ("add_generation_prompt", json!(false)),
                ];
                let parameters = parameters.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
                Self::with(config, Some(PREFILL), &parameters)
            }
            Way::Whole => {
                let mut config = config.clone();
                config.score = true;
                config.sampling = Sampling { temperature: 0.0, top_p: None, seed: None, ..config.sampling };
                Self::new(&config)
            }
        }
    }

    fn with(config: &JudgeConfig, prefill: Option<&str>, parameters: &Map<String, Value>) -> Self {
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
        text.push_str("]}");
        if let Some(begun) = prefill {
            let _ = write!(text, ",{}", json!({"role": "assistant", "content": begun}));
        }
        text.push(']');
        for (key, value) in parameters {
            let _ = write!(text, ",{}:{value}", Value::from(key.as_str()));
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
    fn the_canary_is_the_judges_request_with_the_answer_begun() {
        let body = |more: &str, way| -> Value {
            let body = Template::canary(&config(more), way).fill(&clip()).unwrap();
            serde_json::from_slice(&body).unwrap()
        };
        let own: Value = serde_json::from_slice(&Template::new(&config("")).fill(&clip()).unwrap()).unwrap();
        let asked = body("profile = \"paper\"\nconstrain = true\nmax_tokens = 64", Way::Prefilled);
        let messages = asked["messages"].as_array().unwrap();
        assert_eq!(messages[..2], own["messages"].as_array().unwrap()[..]);
        assert_eq!(messages[2], json!({"role": "assistant", "content": "<answer"}));
        let parameters: Vec<_> = asked.as_object().unwrap().keys().filter(|key| *key != "messages").cloned().collect();
        insta::assert_snapshot!(parameters.join(" "));
        assert_eq!((&asked["max_tokens"], &asked["temperature"]), (&json!(1), &json!(0)));

        let whole = body("profile = \"paper\"\nmax_tokens = 64", Way::Whole);
        assert_eq!(whole["messages"], own["messages"]);
        assert_eq!((&whole["max_tokens"], &whole["temperature"]), (&json!(64), &json!(0.0)));
        assert_eq!((&whole["logprobs"], &whole["top_p"]), (&json!(true), &Value::Null));
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
