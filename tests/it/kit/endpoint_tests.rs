//! The test endpoint's own proof: it sees what is in a clip, and fails as it is told.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::feed::MADE_RATE;
use super::super::media::{Recipe, run_to_end};
use super::super::{tones, wav};
use super::*;
use gstreamer as gst;
use gstreamer::prelude::*;

/// Ten pictures of window 1, at 2 fps, out of a planted recording, encoded as asked.
fn clip_mp4(recording: &Path, encode: &str) -> Vec<u8> {
    let out = tempfile::Builder::new().suffix(".mp4").tempfile().expect("temp file");
    let text = format!(
        "filesrc name=in ! decodebin ! videorate drop-only=true ! video/x-raw,framerate=2/1 ! videoconvert ! {encode} ! filesink name=out"
    );
    gst::init().expect("GStreamer");
    let bin = gst::parse::launch(&text).expect("encoder").downcast::<gst::Pipeline>().expect("pipeline");
    bin.by_name("in").expect("in").set_property("location", recording.to_str().expect("UTF-8"));
    bin.by_name("out").expect("out").set_property("location", out.path().to_str().expect("UTF-8"));
    run_to_end(&bin);
    std::fs::read(out.path()).expect("clip")
}

fn request(model: &str, mp4: &[u8], sound: &[i16]) -> Value {
    let data = |media: &str, bytes: &[u8]| json!({"url": format!("data:{media};base64,{}", STANDARD.encode(bytes))});
    json!({"model": model, "logprobs": true, "top_logprobs": 5, "messages": [
        {"role": "system", "content": "You are a test."},
        {"role": "user", "content": [
            {"type": "text", "text": "Combine the "}, {"type": "video_url", "video_url": data("video/mp4", mp4)},
            {"type": "text", "text": " and "}, {"type": "audio_url", "audio_url": data("audio/wav", &wav::write(sound))},
        ]},
    ]})
}

struct Client(tokio::runtime::Runtime, reqwest::Client);

impl Client {
    fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
        Self(runtime, reqwest::Client::builder().no_proxy().build().expect("client"))
    }

    /// Status and body, or the error.
    fn post(&self, endpoint: &Endpoint, key: &str, body: &Value) -> Result<(u16, String), reqwest::Error> {
        self.0.block_on(async {
            let url = format!("{}/chat/completions", endpoint.base_url());
            let response = self.1.post(url).bearer_auth(key).json(body).timeout(Duration::from_secs(10)).send().await?;
            let status = response.status().as_u16();
            Ok((status, response.text().await?))
        })
    }
}

fn content(body: &str) -> String {
    let body: Value = serde_json::from_str(body).expect("JSON");
    body["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn it_sees_what_a_clip_holds_and_says_yes_only_to_what_is_planted() {
    let first = u64::from(MADE_RATE / 3) * 5; // 5 s at 16 kHz
    for encode in ["jpegenc ! qtmux", "x264enc tune=zerolatency pass=quant quantizer=23 ! h264parse ! mp4mux"] {
        let planted = clip_mp4(&Recipe::new(10.0).plant(&[0]).make(), encode);
        let plain = clip_mp4(&Recipe::new(10.0).make(), encode);
        let sound = |marks| tones::sound(16_000, first, 80_000, move |_| marks);
        let judges = [
            ("both", Judge::default()),
            ("pictures", Judge { needs: Needs::Pictures, ..Judge::default() }),
            ("sound", Judge { needs: Needs::Sound, ..Judge::default() }),
            ("second", Judge::mark(1)),
            ("window", Judge { needs: Needs::Sound, ..Judge::windows(&[1]) }),
        ];
        let endpoint = Endpoint::start(judges);
        let client = Client::new();
        let ask = |model: &str, mp4: &[u8], marks| {
            let (status, body) = client.post(&endpoint, "", &request(model, mp4, &sound(marks))).expect("answered");
            assert_eq!(status, 200, "{body}");
            content(&body) == "<answer>Yes</answer>"
        };
        // Half of the ten-second clip's pictures are planted, so "more than half" fails; its first half is asked for.
        assert!(!ask("both", &plain, 0) && !ask("both", &plain, 1));
        assert!(!ask("pictures", &plain, 1) && ask("sound", &plain, 1) && !ask("sound", &planted, 0));
        assert!(!ask("second", &planted, 1) && ask("window", &plain, 0));

        let seen = endpoint.requests();
        assert_eq!(seen.len(), 7);
        let clip = seen[0].clip.as_ref().expect("decoded");
        assert_eq!(clip.frames().len(), 20, "{:?}", clip.frames());
        assert!(clip.frames().windows(2).all(|pair| (11..=14).contains(&(pair[1] - pair[0]))), "{:?}", clip.frames());
        let track = clip.track.as_ref().expect("track");
        assert_eq!(track.codec, if encode.starts_with("jpeg") { "image/jpeg" } else { "video/x-h264" });
        assert!((track.fps() - 2.0).abs() < 0.05 && track.size == (320, 240), "{track:?}");
        assert_eq!(clip.samples(), 80_000);
        assert!((clip.sound_secs_at(1_000).expect("heard") - 5.0625).abs() < 0.001);
        assert!(seen[0].json.to_string().contains("data:video/mp4;base64,<") && seen[0].json.to_string().len() < 2_000);
        assert_eq!(seen[0].answer, "<answer>No</answer>");
    }
}

#[test]
fn a_planted_clip_is_a_yes_with_its_probability() {
    let mp4 = clip_mp4(&Recipe::new(5.0).plant(&[0]).make(), "jpegenc ! qtmux");
    let endpoint = Endpoint::start([("v1", Judge { p_yes: 0.8, ..Judge::default() })]);
    let body = request("v1", &mp4, &tones::sound(16_000, 0, 80_000, |_| 1));
    let (status, body) = Client::new().post(&endpoint, "", &body).expect("answered");
    assert_eq!((status, content(&body).as_str()), (200, "<answer>Yes</answer>"));
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let tokens = body["choices"][0]["logprobs"]["content"].as_array().expect("asked for");
    let text: String = tokens.iter().filter_map(|token| token["token"].as_str()).collect();
    assert_eq!(text, "<answer>Yes</answer>");
    let p = |n: usize| tokens[2]["top_logprobs"][n]["logprob"].as_f64().expect("logprob").exp();
    assert_eq!(tokens[2]["top_logprobs"][1]["token"], ">No");
    assert!((p(0) / (p(0) + p(1)) - 0.8).abs() < 1e-9);
}

#[test]
fn it_fails_as_it_is_told() {
    let mp4 = clip_mp4(&Recipe::new(5.0).make(), "jpegenc ! qtmux");
    let endpoint = Endpoint::start([("v1", Judge::default())]);
    let client = Client::new();
    let body = request("v1", &mp4, &tones::sound(16_000, 0, 80_000, |_| 0));
    let ask = || client.post(&endpoint, "right", &body);
    let answered = || ask().expect("answered");

    endpoint.set(Mode::retry_after(429, "2").times(2));
    assert_eq!([answered().0, answered().0, answered().0], [429, 429, 200]);
    endpoint.set(Mode::status(503));
    assert_eq!(answered().0, 503);
    endpoint.set(Mode::Html);
    assert!(answered().1.starts_with("<html>"));
    endpoint.set(Mode::Text("maybe".into()));
    assert_eq!(content(&answered().1), "maybe");
    endpoint.set(Mode::Truncated);
    assert!(answered().1.contains("\"length\""));
    endpoint.set(Mode::Abort);
    assert!(answered().1.contains("\"abort\""));
    endpoint.set(Mode::CutBody);
    assert!(ask().is_err());
    endpoint.set(Mode::Ok);
    endpoint.require_key("right");
    assert_eq!(answered().0, 200);
    assert_eq!(client.post(&endpoint, "wrong", &body).expect("answered"), (401, "{\"error\":\"Unauthorized\"}".into()));
    let (status, text) = client.post(&endpoint, "right", &json!({"model": "nope"})).expect("answered");
    assert!(status == 404 && text.contains("Valid aliases: v1."), "{text}");
    let bad = request("v1", b"not an mp4", &[0; 16]);
    let (status, text) = client.post(&endpoint, "right", &bad).expect("answered");
    assert!(status == 400 && text.contains("Could not open video stream"), "{text}");

    endpoint.forget();
    endpoint.set(Mode::Slow);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(ask);
        endpoint.wait_for(Duration::from_secs(10), |seen| seen.iter().any(|request| request.clip.is_some()));
        assert!(endpoint.requests()[0].status.is_none());
        super::super::wait_until(Duration::from_secs(10), "the release", || {
            endpoint.release();
            waiting.is_finished().then_some(())
        });
        assert_eq!(waiting.join().expect("thread").expect("answered").0, 200);
    });
    assert!(endpoint.peak_in_flight() >= 1);
}

#[test]
#[ignore = "for people: serves until interrupted"]
fn serve_test_endpoint() {
    let port = std::env::var("TEST_ENDPOINT_PORT").ok().and_then(|port| port.parse().ok());
    serve_forever(port.unwrap_or(8099));
}
