//! The clip is taken as it is, and what is no clip is refused in words that the client understands.

use std::sync::Arc;

use ahwatch::encode::{Clip, ClipSet};
use ahwatch::judge::{AbstentionReason, Answer, Vote};
use bytes::Bytes;
use serde_json::json;

use super::bench::{Bench, first_token, told};

/// Pictures as JPEG and as H.264 in the MP4: the same tokens.
pub fn is_taken(bench: &mut Bench) {
    let media = bench.media;
    let mut tokens = Vec::new();
    for (name, clips) in [("JPEG in MP4", &media.pieces[0].clips), ("H.264 in MP4", &media.h264)] {
        let exchange = bench.first_token(&format!("clip, {name}"), clips);
        bench.equal(&format!("{name} and WAV: status"), &200, &exchange.status);
        tokens.push(exchange.body()["usage"]["prompt_tokens"].as_u64());
    }
    bench.equal("H.264: prompt tokens, against JPEG's", &tokens[0], &tokens[1]);
}

/// What a judge says to nonsense: never an answer.
pub fn refusals(bench: &mut Bench) {
    let clip = Arc::clone(bench.full().clips.any().expect("a clip"));
    let (video, audio) = (clip.video().cloned(), clip.audio().cloned());
    let junk = || Some(Bytes::from_static(b"This is neither a film nor a sound."));
    for (what, clip) in [("no MP4", Clip::new(junk(), audio.clone())), ("no WAV", Clip::new(video.clone(), junk()))] {
        let mut clips = ClipSet::new();
        clips.insert(786_432, Arc::new(clip));
        let (vote, _) = bench.ask(&format!("refused, {what}"), &clips, "", &json!({}));
        refused(bench, what, AbstentionReason::Refused, &vote);
    }
    // What a server makes of half a film is its own affair: vLLM judges what is left of it, and does not say so.
    let half = Clip::new(video.as_ref().map(|video| video.slice(..video.len() / 2)), audio);
    let mut clips = ClipSet::new();
    clips.insert(786_432, Arc::new(half));
    let (_, exchange) = bench.ask("half an MP4", &clips, "", &first_token());
    let tokens = exchange.body()["usage"]["prompt_tokens"].as_u64();
    bench.state("half an MP4", &format!("status {}, prompt tokens {tokens:?}", exchange.status));

    let full = bench.full().clips.clone();
    let (vote, _) = bench.ask("refused, model", &full, "model = \"nobody\"", &json!({}));
    refused(bench, "a model that is not there", AbstentionReason::UnknownModel, &vote);
    if bench.server().setting().is_vllm() {
        // Else any client could change what others' clips are made of.
        let (vote, _) = bench.ask("refused, kwargs", &full, "", &json!({"mm_processor_kwargs": {"fps": 2}}));
        refused(bench, "fps in the request", AbstentionReason::Refused, &vote);
        // Else any client could make the server call any address it reaches. Nobody listens on this one.
        let (_, exchange) = bench.ask("for its body", &full, "", &json!({}));
        bench.recorded.pop();
        let mut request = exchange.request;
        request["messages"][1]["content"][1]["video_url"]["url"] = json!("http://127.0.0.1:9/film.mp4");
        let exchange = bench.post("refused, address", &request);
        let said = exchange.text.contains("none.invalid");
        bench.check("an address in place of the video", "400, not an allowed domain", &exchange.text, said);
    }
}

/// A server with a key: none, and a wrong one.
pub fn keys(bench: &mut Bench) {
    let full = bench.full().clips.clone();
    // Naming api_key_env, even in a comment, keeps the bench from adding the right one.
    for (what, more) in [("a wrong key", "api_key_env = \"WRONG_KEY\""), ("no key", "# no api_key_env")] {
        let (vote, _) = bench.ask(&format!("refused, {what}"), &full, more, &json!({}));
        refused(bench, what, AbstentionReason::Unauthorized, &vote);
    }
    let (vote, exchange) = bench.ask("adapter that is not there", &full, "model = \"v9\"", &json!({}));
    refused(bench, "an adapter that is not there", AbstentionReason::UnknownModel, &vote);
    bench.equal("its status", &404, &exchange.status);
}

fn refused(bench: &mut Bench, what: &str, reason: AbstentionReason, vote: &Vote) {
    let ok = matches!(&vote.answer, Answer::Abstained(why) if why.reason == reason);
    bench.check(&format!("{what}: the client's vote"), &format!("abstained, {}", reason.as_str()), &told(vote), ok);
}
