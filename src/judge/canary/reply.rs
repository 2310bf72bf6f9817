//! What a server's answer to a canary request holds: log-probabilities of the labels, and token counts.

use serde::Deserialize;
use serde_json::Value;

use super::{Counted, LabelLogprobs};
use crate::judge::answer::{TO_NO, TO_YES, TokenLogprob, parse_answer, read_labels};
use crate::judge::request::Way;

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Value,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    message: Value,
    #[serde(default)]
    logprobs: Value,
}

/// Reads the body of a 200; None: it is no chat completion. The inner error says why there are no log-probabilities.
pub(in crate::judge) fn read(body: &[u8], way: Way) -> Option<(Result<LabelLogprobs, String>, Counted)> {
    let completion: Completion = serde_json::from_slice(body).ok()?;
    let choice = completion.choices.into_iter().next()?;
    Some((labels(&choice, way), tokens(&completion.usage)))
}

fn labels(choice: &Choice, way: Way) -> Result<LabelLogprobs, String> {
    let listed = choice.logprobs.get("content").and_then(|content| Vec::<TokenLogprob>::deserialize(content).ok());
    let listed = listed.filter(|listed| !listed.is_empty()).ok_or("the server gives no log-probabilities")?;
    match way {
        Way::Prefilled => {
            let of = |label: &str| {
                let decision = &listed[0];
                let own = (decision.token == label).then_some(decision.logprob);
                own.or_else(|| {
                    decision.top_logprobs.iter().find(|other| other.token == label).map(|other| other.logprob)
                })
            };
            match (of(TO_YES), of(TO_NO)) {
                (Some(yes), Some(no)) if yes.is_finite() && no.is_finite() => Ok(LabelLogprobs { yes, no }),
                _ => Err("the server does not give the log-probabilities of both labels".to_owned()),
            }
        }
        Way::Whole => {
            let text = choice.message.get("content").and_then(Value::as_str).unwrap_or_default();
            let label = parse_answer(text).map_err(|error| error.to_string())?;
            read_labels(&listed, label).map_err(|error| error.to_string())
        }
    }
}

fn tokens(usage: &Value) -> Counted {
    let number = |value: &Value| value.as_u64().and_then(|count| u32::try_from(count).ok());
    let modalities = usage.pointer("/prompt_tokens_details/multimodal_tokens").filter(|counts| counts.is_object());
    // Where channels are counted, one that is not named has none.
    let of = |channel: &str| modalities.map(|counts| counts.get(channel).and_then(number).unwrap_or(0));
    Counted { prompt: usage.get("prompt_tokens").and_then(number), audio: of("audio"), video: of("video") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As vLLM 0.32.0 answered it, shortened.
    const VLLM: &str = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":" {{$"},"logprobs":{"content":[
        {"token":" {{$","logprob":-10.894999504089355,"bytes":[32],"top_logprobs":[{"token":" {{$","logprob":-10.894999504089355},
        {"token":">","logprob":-12.098124504089355},{"token":">No","logprob":-11.757304191589355}]}]},"finish_reason":"length"}],
        "usage":{"prompt_tokens":698,"total_tokens":699,"completion_tokens":1,"prompt_tokens_details":
        {"cached_tokens":0,"multimodal_tokens":{"audio":65,"video":560}}}}"#;

    #[test]
    fn the_answer_of_vllm_is_understood() {
        let (labels, tokens) = read(VLLM.as_bytes(), Way::Prefilled).unwrap();
        let labels = labels.unwrap();
        assert!((labels.log_odds() + 0.340_820_312_5).abs() < 1e-12, "{labels:?}");
        assert_eq!(tokens, Counted { prompt: Some(698), audio: Some(65), video: Some(560) });
    }

    #[test]
    fn a_channel_that_is_not_named_among_the_counted_has_no_tokens() {
        let body = VLLM.replace("\"audio\":65,", "");
        assert_eq!(read(body.as_bytes(), Way::Prefilled).unwrap().1.audio, Some(0));
        let body = VLLM.replace("{\"audio\":65,\"video\":560}", "null");
        assert_eq!(read(body.as_bytes(), Way::Prefilled).unwrap().1.audio, None);
    }

    #[test]
    fn other_tokens_are_not_taken_for_labels() {
        let body = VLLM.replace("\">No\"", "\"No\"");
        let why = read(body.as_bytes(), Way::Prefilled).unwrap().0.unwrap_err();
        assert!(why.contains("both labels"), "{why}");
        let body = VLLM.replace("\"logprobs\":{", "\"other\":{");
        let why = read(body.as_bytes(), Way::Prefilled).unwrap().0.unwrap_err();
        assert!(why.contains("no log-probabilities"), "{why}");
        assert_eq!(read(b"<html>", Way::Prefilled), None);
    }

    proptest! {
        #[test]
        fn any_reply_is_read_without_panic(body in ".*", cut in 0..VLLM.len()) {
            let _ = (read(body.as_bytes(), Way::Prefilled), read(body.as_bytes(), Way::Whole));
            let _ = read(VLLM.get(..cut).unwrap_or_default().as_bytes(), Way::Prefilled);
        }
    }
}
