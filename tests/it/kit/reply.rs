//! The body of a chat completion, as vLLM writes it.

use serde_json::{Value, json};

/// An answer to be written.
pub struct Reply {
    model: String,
    yes: bool,
    p_yes: f64,
    /// The message.
    pub text: String,
    /// The finish reason.
    pub finish: &'static str,
    /// Whether log-probabilities are given to who asks.
    pub tells: bool,
}

impl Reply {
    /// Yes or No, with the P(Yes) claimed when it is Yes (one less it, when it is No).
    pub fn new(model: &str, yes: bool, p_yes: f64) -> Self {
        let text = if yes { "<answer>Yes</answer>" } else { "<answer>No</answer>" };
        let p_yes = if yes { p_yes } else { 1.0 - p_yes };
        Self { model: model.to_owned(), yes, p_yes, text: text.to_owned(), finish: "stop", tells: true }
    }

    /// The whole body; with log-probabilities if `request` asks for them.
    pub fn body(&self, request: &Value) -> Value {
        let asked = self.tells && request["logprobs"].as_bool().unwrap_or(false);
        let tops = request["top_logprobs"].as_u64().unwrap_or(0) as usize;
        json!({
            "id": "chatcmpl-test", "object": "chat.completion", "created": 0, "model": self.model,
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": self.text},
                "logprobs": if asked { json!({"content": self.tokens(tops)}) } else { Value::Null },
                "finish_reason": self.finish,
            }],
            "usage": {"prompt_tokens": 1637, "completion_tokens": 7, "total_tokens": 1644},
        })
    }

    /// The tokens of the answer: `>` against `>No` after `<`, `answer` is where it is decided.
    fn tokens(&self, tops: usize) -> Vec<Value> {
        const MASS: f64 = 0.98;
        let sure = |token: &str| entry(token, 0.999, &[(token, 0.999), ("\n", 0.001)], tops);
        let (yes, no) = (MASS * self.p_yes, MASS * (1.0 - self.p_yes));
        let mut ranked = [(">", yes), (">No", no), (">\n", 1.0 - MASS)];
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut tokens = vec![sure("<"), sure("answer")];
        if self.yes {
            tokens.extend([entry(">", yes, &ranked, tops), sure("Yes")]);
        } else {
            tokens.push(entry(">No", no, &ranked, tops));
        }
        tokens.extend([sure("</"), sure("answer"), sure(">")]);
        tokens
    }
}

fn entry(token: &str, p: f64, ranked: &[(&str, f64)], tops: usize) -> Value {
    let one = |token: &str, p: f64| json!({"token": token, "logprob": p.ln(), "bytes": token.as_bytes()});
    let mut entry = one(token, p);
    entry["top_logprobs"] = ranked.iter().take(tops).map(|(token, p)| one(token, *p)).collect();
    entry
}
