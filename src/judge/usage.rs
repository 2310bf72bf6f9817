//! What judging took: tokens of an answer, and sums over a session.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::Vote;

/// Tokens of one answer, as the server counted them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Of the prompt, media included.
    pub prompt: u64,
    /// Of the answer.
    pub completion: u64,
    /// Of the prompt's sound; None where the server does not say (vLLM: `--enable-prompt-tokens-details`).
    pub audio: Option<u64>,
    /// Of the prompt's pictures; None likewise.
    pub video: Option<u64>,
}

#[derive(Deserialize)]
struct RawUsage {
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    #[serde(default)]
    prompt_tokens_details: Value,
}

impl Tokens {
    /// From a completion's `usage`; None where it has none that can be read. vLLM puts modalities into
    /// `prompt_tokens_details.multimodal_tokens`, `OpenAI` writes `prompt_tokens_details.audio_tokens`.
    pub(super) fn read(usage: &Value) -> Option<Self> {
        let raw = RawUsage::deserialize(usage).ok()?;
        let details = &raw.prompt_tokens_details;
        let of = |word: &str| {
            let vllm = details.get("multimodal_tokens").and_then(|tokens| tokens.get(word));
            vllm.or_else(|| details.get(format!("{word}_tokens"))).and_then(Value::as_u64)
        };
        Some(Self {
            prompt: raw.prompt_tokens,
            completion: raw.completion_tokens,
            audio: of("audio"),
            video: of("video"),
        })
    }
}

/// What a judge's votes took, summed over windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests sent, repeated ones included.
    pub requests: u64,
    /// Of these, the repeated ones: all but the first of each window.
    pub retries: u64,
    /// From each window's first request to its answer or the giving up. Windows run beside each other, so this may exceed the
    /// session.
    pub waited: Duration,
    /// Answers whose tokens the server told; the sums below are over these.
    pub counted: u64,
    /// Tokens of prompts, media included.
    pub prompt: u64,
    /// Tokens of answers.
    pub completion: u64,
    /// Tokens of sound; None: no answer told.
    pub audio: Option<u64>,
    /// Tokens of pictures; None: no answer told.
    pub video: Option<u64>,
}

impl Usage {
    /// Adds what one vote took.
    pub fn add(&mut self, vote: &Vote) {
        self.requests += u64::from(vote.attempts);
        self.retries += u64::from(vote.attempts.saturating_sub(1));
        // The embedded index sends nothing.
        if vote.attempts > 0 {
            self.waited = self.waited.saturating_add(vote.latency);
        }
        let Some(tokens) = vote.tokens else { return };
        self.counted += 1;
        self.prompt = self.prompt.saturating_add(tokens.prompt);
        self.completion = self.completion.saturating_add(tokens.completion);
        for (sum, tokens) in [(&mut self.audio, tokens.audio), (&mut self.video, tokens.video)] {
            if let Some(tokens) = tokens {
                *sum = Some(sum.unwrap_or(0).saturating_add(tokens));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn usage_is_read_as_servers_write_it() {
        let vllm = json!({"prompt_tokens": 1636, "completion_tokens": 8, "total_tokens": 1644,
            "prompt_tokens_details": {"cached_tokens": null, "multimodal_tokens": {"audio": 65, "video": 1500}}});
        let tokens = Tokens { prompt: 1636, completion: 8, audio: Some(65), video: Some(1500) };
        assert_eq!(Tokens::read(&vllm), Some(tokens));
        let openai = json!({"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"audio_tokens": 5}});
        assert_eq!(Tokens::read(&openai), Some(Tokens { prompt: 9, completion: 1, audio: Some(5), video: None }));
        let swift = json!({"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": null});
        assert_eq!(Tokens::read(&swift), Some(Tokens { prompt: 9, completion: 1, audio: None, video: None }));
        for none in [json!(null), json!({}), json!({"prompt_tokens": "many"}), json!({"prompt_tokens": -1}), json!(3)] {
            assert_eq!(Tokens::read(&none), None, "{none}");
        }
    }
}
