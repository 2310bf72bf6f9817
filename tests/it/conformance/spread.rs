//! How far the log-odds of a fingerprint move while nothing about the judge changes: over repeats, on a busy server, after a
//! restart, in 16 bits. The tolerance has to be above it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ahwatch::config::{ClipCodec, Config, Judging, Overrides, RawConfig};
use ahwatch::judge::canary::{CanaryClip, Clips, Heard, REPEATS};
use ahwatch::judge::fingerprint::{TOLERANCE, clips_of};
use ahwatch::judge::guard::examine_all;
use ahwatch::judge::panel::Panel;
use serde_json::{Value, json};

use super::bench::{Bench, first_token};

/// Requests that others have at the server while it is examined.
const OTHERS: usize = 3;

/// What a judge said of the clips of a fingerprint.
type Said = BTreeMap<CanaryClip, Heard>;

/// The mean and the spread of each clip.
fn examined(bench: &Bench) -> Said {
    let url = bench.server().base_url();
    let table = format!("[[judge]]\nname = \"v1\"\nbase_url = \"{url}\"\nmodel = \"base\"\ndeadline_ms = 300000\n");
    let raw = RawConfig::parse(&table, Path::new("spread.toml"));
    let Judging::Panel(judges) = Config::build(raw, Overrides::default(), &|_| None).expect("a panel").judging else {
        panic!("no panel")
    };
    let clips = Clips::build(ClipCodec::Jpeg, &BTreeSet::from([judges[0].max_pixels])).expect("GStreamer");
    let which = clips_of(judges[0].accepts);
    let panel = Panel::new(&judges).expect("HTTP client");
    let mut all = bench.rig.runtime().block_on(examine_all(&panel.judges()[0], &clips, &which, REPEATS));
    all.remove(0).outcome.unwrap_or_else(|why| panic!("the server does not answer: {}", why.detail))
}

/// The same while others ask as many more requests as fit; how many those were.
fn examined_among_others(bench: &mut Bench) -> (Said, usize) {
    let clips = bench.full().clips.clone();
    let (_, exchange) = bench.ask("for its body", &clips, "", &first_token());
    bench.recorded.pop();
    let (body, url) = (exchange.request, format!("{}/chat/completions", bench.server().base_url()));
    let (done, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (http, runtime) = (bench.rig.http().clone(), bench.rig.runtime().handle().clone());
    std::thread::scope(|scope| {
        for other in 0..OTHERS {
            let (body, http, runtime, url, done, asked) = (&body, &http, &runtime, &url, &done, &asked);
            scope.spawn(move || {
                let mut body = body.clone();
                // Longer than the examined ones, and each another prompt, or the server would answer from its cache.
                body["max_tokens"] = json!(16);
                while !done.load(Ordering::Relaxed) {
                    let nth = asked.fetch_add(1, Ordering::Relaxed);
                    body["messages"][0]["content"] = Value::from(format!("Other {other}, request {nth}"));
                    let _ = runtime.block_on(async { http.post(url).json(&body).send().await?.bytes().await });
                }
            });
        }
        // The others go on until they are told, also where this panics.
        let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| examined(bench)));
        done.store(true, Ordering::Relaxed);
        let said = said.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (said, asked.load(Ordering::Relaxed))
    })
}

/// The largest spread over the repeats, and the largest distance of means from `first`.
fn moved(first: &Said, then: &Said) -> (f64, f64) {
    let mut most = (0.0_f64, 0.0_f64);
    for (clip, heard) in then {
        let (before, _) = first[clip].log_odds().expect("log-odds");
        let (mean, spread) = heard.log_odds().expect("log-odds");
        most = (most.0.max(spread), most.1.max((mean - before).abs()));
    }
    most
}

fn row(bench: &mut Bench, when: &str, first: &Said, then: &Said) {
    let (spread, off) = moved(first, then);
    let expected = format!("below the tolerance of {TOLERANCE}");
    let measured = format!("spread of {REPEATS} repeats {spread:.6}, means off by {off:.6}");
    bench.check(&format!("log-odds of the fingerprint, {when}"), &expected, &measured, spread.max(off) < TOLERANCE);
}

/// On one server, idle and busy, and on the next one like it.
pub fn of_one_server(bench: &mut Bench) {
    let first = examined(bench);
    let again = examined(bench);
    row(bench, "idle, twice", &first, &again);
    let (busy, asked) = examined_among_others(bench);
    row(bench, &format!("among {asked} other requests, {OTHERS} at a time"), &first, &busy);
    let setting = bench.server().setting().clone();
    drop(bench.server.take());
    *bench.server = Some(bench.rig.start(&setting));
    let restarted = examined(bench);
    row(bench, "after a restart", &first, &restarted);
    let means: BTreeMap<_, _> =
        first.iter().filter_map(|(clip, heard)| Some((clip.as_str(), heard.log_odds()?.0))).collect();
    bench.memory.keep("log-odds in 32 bits", json!(means));
}

/// In bfloat16, where a log-odds has steps.
pub fn in_16_bits(bench: &mut Bench) {
    let first = examined(bench);
    let again = examined(bench);
    let (busy, asked) = examined_among_others(bench);
    row(bench, "bfloat16, idle, twice", &first, &again);
    row(bench, &format!("bfloat16, among {asked} other requests, {OTHERS} at a time"), &first, &busy);
    let exact = bench.memory.get("log-odds in 32 bits").clone();
    let off = |(clip, heard): (&CanaryClip, &Heard)| Some((heard.log_odds()?.0 - exact[clip.as_str()].as_f64()?).abs());
    let off = first.iter().filter_map(off).fold(0.0, f64::max);
    bench.state("bfloat16 against float32", &format!("means off by {off:.6} at most"));
}
