//! Answers: constrained where the server constrains, and what else there is to read from them.

use ahwatch::judge::{AbstentionReason, Answer};
use serde_json::{Value, json};

use super::bench::{Bench, told};
use super::tap::Exchange;

/// `>` and `>No`, between which a judge decides after `<answer`.
const LABELS: [u64; 2] = [29, 41157];

fn matches(text: &str) -> bool {
    ["<answer>Yes</answer>", "<answer>No</answer>"].contains(&text)
}

/// `swift deploy` takes `structured_outputs` and does as it likes: the client sees that from the answer.
pub fn constraint_is_ignored(bench: &mut Bench) {
    let full = bench.full().clips.clone();
    let (vote, exchange) = bench.ask("constrained", &full, "constrain = true", &json!({}));
    bench.equal("constrained: status", &200, &exchange.status);
    let text = vote.raw.as_deref().unwrap_or_default().to_owned();
    bench.check("constrained: its text", "noise: it ignores the constraint", &format!("{text:?}"), !matches(&text));
    let reason = match &vote.answer {
        Answer::Abstained(why) => Some(why.reason),
        _ => None,
    };
    let ok = matches!(reason, Some(AbstentionReason::Truncated | AbstentionReason::Unparsable));
    bench.check("constrained: the client's vote", "abstained", &told(&vote), ok);
}

/// vLLM constrains by the regular expression; without it the same model's noise is abstained.
pub fn constraint_holds(bench: &mut Bench) {
    let media = bench.media;
    let mut scores = Vec::new();
    for (name, clips) in
        [("full window", &media.pieces[0].clips), ("tail", &media.pieces[1].clips), ("1280x720", &media.wide)]
    {
        let more = "constrain = true\nscore = true";
        let (vote, _) = bench.ask(&format!("constrained, {name}"), clips, more, &json!({}));
        let voted = matches!(vote.answer, Answer::Present | Answer::Absent);
        let text = vote.raw.as_deref().unwrap_or_default();
        let measured = format!("{}, {text:?}", told(&vote));
        bench.check(&format!("constrained, {name}: a vote"), "present or absent", &measured, voted && matches(text));
        scores.extend(vote.score.map(|score| (score.p_yes, score.label_mass)));
    }
    // A random model may cut its answer into other tokens than training did; then there is none.
    let fine = scores.iter().all(|(p_yes, mass)| *p_yes > 0.0 && *p_yes < 1.0 && mass.is_none());
    let expected = "of one clip or more, in (0, 1), without mass";
    bench.check("constrained: P(Yes)", expected, &format!("{scores:.4?}"), fine && !scores.is_empty());
    let (vote, _) = bench.ask("free", &media.pieces[0].clips, "score = true", &json!({}));
    let abstained = matches!(&vote.answer, Answer::Abstained(_));
    bench.check("free: the client's vote", "abstained", &told(&vote), abstained && vote.score.is_none());
}

/// The labels' log-probabilities where a judge decides, of any answer: vLLM's `logprob_token_ids` after `<answer`.
pub fn label_odds(bench: &mut Bench) {
    let full = bench.full().clips.clone();
    let (_, exchange) = bench.ask("for its body", &full, "", &json!({"max_tokens": 1}));
    bench.recorded.pop();
    let request = begun(exchange.request);
    let ask = |bench: &mut Bench, name: &str, key: &str, value: Value| {
        let mut request = request.clone();
        request[key] = value;
        if key == "structured_outputs" {
            request["top_logprobs"] = json!(20);
        }
        bench.post(&format!("prefilled, {name}"), &request)
    };
    let listed = ask(bench, "logprob_token_ids", "logprob_token_ids", json!(LABELS));
    let (yes, no) = labels(&listed).unzip();
    bench.check("both labels by logprob_token_ids", "both", &format!("{yes:?}, {no:?}"), yes.is_some() && no.is_some());
    let best = ask(bench, "top 20", "top_logprobs", json!(20));
    let among = [">", ">No"].iter().filter(|label| logprob(&best, label).is_some()).count();
    bench.check("labels among the 20 likeliest", "at most one", &among.to_string(), among < 2);
    let (Some(yes), Some(no)) = (yes, no) else { return };
    let (p_yes, mass) = (odds((yes, no)), yes.exp() + no.exp());
    // One of 152,064 tokens each, give or take.
    let near = mass > 1e-6 && mass < 1e-3;
    bench.check("label mass of the unconstrained answer", "about 2 in 152064", &format!("{mass:.2e}"), near);
    // A mask renormalises, which leaves the odds of two tokens as they are.
    let masked = ask(bench, "masked", "structured_outputs", json!({"regex": ">Yes</answer>|>No</answer>"}));
    let other = labels(&masked).map(odds);
    let ok = other.is_some_and(|other| (other - p_yes).abs() < 1e-4);
    bench.check("P(Yes), against the masked answer's", &format!("{p_yes:.5}"), &format!("{other:.5?}"), ok);
}

/// P(Yes) by `logprob_token_ids` of a request that one of our judges sent.
pub fn p_yes(bench: &mut Bench, name: &str, request: Value) -> Option<f64> {
    let mut request = begun(request);
    request["logprob_token_ids"] = json!(LABELS);
    labels(&bench.post(name, &request)).map(odds)
}

/// A request of ours with the answer begun, up to where a judge decides.
fn begun(mut request: Value) -> Value {
    let began = json!({"role": "assistant", "content": "<answer"});
    request["messages"].as_array_mut().expect("messages").push(began);
    let fields = json!({
        "continue_final_message": true, "add_generation_prompt": false, "logprobs": true, "max_tokens": 1,
    });
    request.as_object_mut().expect("a body").extend(fields.as_object().expect("fields").clone());
    request
}

/// Log-probabilities of both labels at the first place.
fn labels(exchange: &Exchange) -> Option<(f64, f64)> {
    logprob(exchange, ">").zip(logprob(exchange, ">No"))
}

fn odds((yes, no): (f64, f64)) -> f64 {
    1.0 / (1.0 + (no - yes).exp())
}

/// A token's log-probability at the first place.
fn logprob(exchange: &Exchange, token: &str) -> Option<f64> {
    exchange.top().into_iter().find(|(text, _)| text == token).map(|(_, logprob)| logprob)
}
