//! A panel of three checkpoints: three adapters on one vLLM, three merged checkpoints on `swift deploy`.

use ahwatch::judge::Answer;
use serde_json::json;

use super::answers;
use super::bench::{Bench, first_token, told};
use super::card::shown;

const JUDGES: [&str; 3] = ["v1", "v2", "v3"];
/// One program merges weights and the other adds them up as it goes; both compute in float32.
const TOLERANCE: f64 = 1e-3;

fn values(top: &[(String, f64)]) -> Vec<f64> {
    top.iter().map(|(_, logprob)| *logprob).collect()
}

fn apart(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// One merged checkpoint on `swift deploy`; it must differ from those before it.
pub fn merged(bench: &mut Bench) {
    let full = bench.full().clips.clone();
    let (vote, exchange) = bench.ask("merged", &full, "", &first_token());
    let top = exchange.top();
    bench.equal("status", &200, &exchange.status);
    assert_eq!(top.len(), 5, "{}", shown(&exchange.text));
    let own = JUDGES.iter().find(|name| bench.on.contains(*name)).expect("named after its judge");
    for before in JUDGES.iter().take_while(|name| *name != own) {
        let before_top: Vec<(String, f64)> =
            serde_json::from_value(bench.memory.get(&format!("merged {before}")).clone()).expect("kept as such");
        let apart = apart(&values(&top), &values(&before_top));
        let what = format!("top five against {before}'s");
        bench.check(&what, "more than 0.01 apart", &format!("{apart:.4}"), apart > 0.01);
    }
    bench.check("one token of noise", "abstained", &told(&vote), matches!(vote.answer, Answer::Abstained(_)));
    bench.memory.keep(&format!("merged {own}"), json!(top));
}

/// Three judges at one `base_url`, asked at once: other log-probabilities, media decoded once.
pub fn adapters(bench: &mut Bench) {
    let full = bench.full().clips.clone();
    let count =
        |bench: &Bench| ["vllm:mm_cache_queries_total", "vllm:mm_cache_hits_total"].map(|name| bench.metric(name));
    let before = count(bench);
    let (_, exchanges) = bench.ask_all("adapter", &full, &JUDGES.map(|name| (name, "")), &first_token());
    let after = count(bench);
    let tops: Vec<_> = exchanges.iter().map(super::tap::Exchange::top).collect();
    for (i, j) in [(0, 1), (0, 2), (1, 2)] {
        let apart = apart(&values(&tops[i]), &values(&tops[j]));
        let what = format!("top five of {} against {}'s", JUDGES[i], JUDGES[j]);
        bench.check(&what, "more than 0.01 apart", &format!("{apart:.4}"), apart > 0.01 && !tops[i].is_empty());
    }
    for (name, top) in JUDGES.iter().zip(&tops) {
        let merged: Vec<(String, f64)> =
            serde_json::from_value(bench.memory.get(&format!("merged {name}")).clone()).expect("kept as such");
        let apart = apart(&values(top), &values(&merged));
        let expected = format!("at most {TOLERANCE}");
        let what = format!("{name}: adapter here against merged on swift deploy");
        bench.check(&what, &expected, &format!("{apart:.6}"), apart <= TOLERANCE && top.len() == merged.len());
    }
    let [queries, hits] = [after[0] - before[0], after[1] - before[1]];
    let measured = format!("{hits} of {queries}");
    let what = "pictures and sound found in the media cache, three requests at once";
    bench.check(what, "4 of 6: each read once", &measured, (queries, hits) == (6.0, 4.0));

    let more = "constrain = true";
    let (votes, _) = bench.ask_all("adapter, constrained", &full, &JUDGES.map(|name| (name, more)), &json!({}));
    let told: Vec<_> = votes.iter().map(told).collect();
    let voted = votes.iter().all(|vote| matches!(vote.answer, Answer::Present | Answer::Absent));
    bench.check("constrained: votes", "three", &told.join(", "), voted);
    let mut shares: Vec<f64> = Vec::new();
    for (name, exchange) in JUDGES.iter().zip(exchanges) {
        shares.extend(answers::p_yes(bench, &format!("adapter, P(Yes), {name}"), exchange.request));
    }
    let other = |i: usize, j: usize| (shares[i] - shares[j]).abs() > 1e-4;
    let differ = shares.len() == 3 && other(0, 1) && other(0, 2) && other(1, 2);
    bench.check("P(Yes) by logprob_token_ids", "three, each another", &format!("{shares:.5?}"), differ);
}
