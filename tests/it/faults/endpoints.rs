//! Endpoints that refuse, hang, break off, talk nonsense, answer twice, and die.

use std::time::{Duration, Instant};

use ahwatch::judge::panel::Due;
use ahwatch::judge::{AbstentionReason, Answer};
use serde_json::Value;
use url::Url;

use super::after::After;
use super::case::Case;
use super::relay::{Relay, Spoil};
use super::rig::{self, LIMIT, camera, judge, said, source, voted, wait_for_windows, watch};
use super::secrets::Secrets;
use crate::kit::endpoint::{Endpoint, Judge, Mode};
use crate::kit::media::Recipe;
use crate::kit::proxy::{self, Proxy};
use crate::kit::run::{Finished, ahwatch};
use crate::watch_file::labels;
use crate::wire::{clips, completion, judge_table, panel_of, serve};

/// A window each half second, so that what a circuit does shows soon after it does it.
const OFTEN: &str = "[window]\nwindow_secs = 1.0\nhop_secs = 0.5\n";

fn endpoint(models: &[&str]) -> Endpoint {
    Endpoint::start(models.iter().map(|model| (*model, Judge::default())))
}

#[test]
#[ignore = "make faults"]
fn case_14a_told_to_wait_seven_seconds() {
    let mut case = Case::begin("14a", "429 with Retry-After 7, deadline 20 s");
    let models = ["v1", "v2", "v3"];
    let (endpoint, camera, dir) = (endpoint(&models), camera(), tempfile::tempdir().unwrap());
    let judges = models.map(|name| judge(name, &endpoint.base_url(), "deadline_ms = 20000")).concat();
    let mut run = watch(dir.path(), &(source(&camera.url("/live")) + &judges));
    wait_for_windows(&mut run, 1);
    let of_v1 = || endpoint.requests().into_iter().filter(|seen| seen.model == "v1").collect::<Vec<_>>();
    let before = of_v1().len();
    let of_v1 = || of_v1().split_off(before);
    endpoint.set_model("v1", Mode::retry_after(429, "7").times(1));
    // The first is told to wait; it and the window that comes meanwhile are asked after that.
    endpoint.wait_for(LIMIT, |_| of_v1().len() >= 3);
    let seen = of_v1();
    assert_eq!(seen[0].status, Some(429));
    let again = seen[1].arrived.duration_since(seen[0].arrived);
    let bound = Duration::from_secs(7)..=Duration::from_secs(8);
    case.row("asked again", "after 7 to 8 s", &format!("{again:.3?}"), bound.contains(&again));
    wait_for_windows(&mut run, 2);
    let told = run.events();
    let events = rig::end(&mut case, run, &[&endpoint], &["cam"]);
    // Those that were under way at the end have its reason.
    let before = voted(&events).into_iter().take(voted(&told).len());
    let abstained = before.filter(|window| !["present", "absent"].contains(&&*said(window, "v1"))).count();
    case.exactly("windows that lack its vote", 0, abstained as u64);
    case.end();
}

/// A fault of the endpoint of one judge on a camera: `spoil` begins it, `mend` ends it, `lasts` is how long the circuit is open
/// before that.
fn outage(
    number: &str,
    fault: &str,
    lasts: Duration,
    spoil: impl Fn(&Endpoint, &Relay),
    mend: impl Fn(&Endpoint, &Relay),
) {
    const DEADLINE: Duration = Duration::from_millis(1500);
    let mut case = Case::begin(number, fault);
    let (endpoint, camera, dir) = (endpoint(&["v1"]), camera(), tempfile::tempdir().unwrap());
    let relay = Relay::to(endpoint.port());
    let more = format!("deadline_ms = {}", DEADLINE.as_millis());
    let text = source(&camera.url("/live")) + OFTEN + &judge("v1", &relay.base_url(), &more);
    let mut run = watch(dir.path(), &text);
    wait_for_windows(&mut run, 3);

    let began = Instant::now();
    spoil(&endpoint, &relay);
    let opened = rig::wait_for_state(&mut run, "v1", "failing");
    case.within("the circuit opens, which is told", Duration::from_secs(10), opened.duration_since(began));
    while began.elapsed() < lasts {
        std::thread::sleep(Duration::from_millis(50)); // the outage itself
    }
    let during = wait_for_windows(&mut run, 2);
    let healed = Instant::now();
    mend(&endpoint, &relay);
    let closes = rig::wait_for_state(&mut run, "v1", "healthy").duration_since(healed);
    case.within("it closes after recovery, with a window each 0.5 s", Duration::from_secs(2), closes);
    // Votes come again.
    let known = voted(&during).len();
    run.wait_until(LIMIT, "a vote", |run| {
        voted(&run.events())
            .iter()
            .skip(known)
            .any(|window| ["present", "absent"].contains(&&*said(window, "v1")))
            .then_some(())
    });
    // Those that were answered, if badly, were not held.
    if let Some(held) = relay.given_up().into_iter().max() {
        case.within("longest that a request was held", DEADLINE + Duration::from_millis(100), held);
    }
    rig::end(&mut case, run, &[&endpoint], &[]);
    case.end();
}

#[test]
#[ignore = "make faults"]
fn case_14b_500_for_half_a_minute() {
    let lasts = Duration::from_secs(30);
    // Its list of models is there all the time, as with an engine that died behind its server.
    outage(
        "14b",
        "500 for 30 s",
        lasts,
        |endpoint, _| endpoint.set(Mode::status(500)),
        |endpoint, _| endpoint.set(Mode::Ok),
    );
}

#[test]
#[ignore = "make faults"]
fn case_14b_accepts_and_never_answers() {
    let spoil = |_: &Endpoint, relay: &Relay| relay.set(Spoil::Silent);
    outage("14b", "accepts and never answers", Duration::from_secs(8), spoil, |_, relay| relay.set(Spoil::Pass));
}

#[test]
#[ignore = "make faults"]
fn case_14b_reset_in_the_body() {
    let spoil = |_: &Endpoint, relay: &Relay| relay.set(Spoil::ResetAfter(200));
    outage("14b", "reset in the body", Duration::from_secs(8), spoil, |_, relay| relay.set(Spoil::Pass));
}

#[test]
#[ignore = "make faults"]
fn case_14b_one_byte_a_second() {
    let spoil = |_: &Endpoint, relay: &Relay| relay.set(Spoil::Drip(Duration::from_secs(1)));
    outage("14b", "one byte a second", Duration::from_secs(8), spoil, |_, relay| relay.set(Spoil::Pass));
}

/// How late a panel is told that a judge's time is up.
#[test]
#[ignore = "make faults"]
fn case_14b_the_deadline() {
    const DEADLINE: Duration = Duration::from_millis(1500);
    const TIMES: usize = 8;
    let mut case = Case::begin("14b", "silence, drops and drips, to the millisecond");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(serve(|_| async { completion("<answer>Yes</answer>", "stop") }));
    let port = Url::parse(&server.url).unwrap().port().unwrap();
    let faults = [
        ("never answers", Spoil::Silent),
        ("reset in the body", Spoil::ResetAfter(100)),
        ("one byte a second", Spoil::Drip(Duration::from_secs(1))),
    ];
    for (fault, spoil) in faults {
        let relay = Relay::to(port);
        relay.set(spoil);
        let mut latest = Duration::ZERO;
        for nth in 0..=TIMES {
            // A panel of its own each time, or its circuit would answer.
            let panel = panel_of(&judge_table("v1", &relay.base_url(), "deadline_ms = 1500"));
            let (took, vote) = runtime.block_on(async {
                let asked = Instant::now();
                let mut votes = panel.judge(&clips(), &[], Due::After(asked.into())).await;
                (asked.elapsed(), votes.remove(0))
            });
            let Answer::Abstained(why) = &vote.answer else { panic!("a vote nobody gave: {vote:?}") };
            let reasons = [AbstentionReason::Deadline, AbstentionReason::Unreachable];
            assert!(reasons.contains(&why.reason), "{why:?}");
            println!("  {fault}: {took:?}, {:?}", why.reason);
            // The first brings the program's code from the disk.
            latest = latest.max(if nth == 0 { Duration::ZERO } else { took });
        }
        let what = format!("{fault}: the latest of {TIMES} abstentions");
        case.within(&what, DEADLINE + Duration::from_millis(100), latest);
    }
    case.end();
}

/// Watches a recording of 25 s to its end.
fn recording(dir: &std::path::Path, judges: &str, planted: &[u64], code: i32) -> Finished {
    let path = Recipe::new(25.0).size(320, 240).plant(planted).make();
    let file = rig::config(dir, &format!("[[source]]\nname = \"file\"\npath = \"{}\"\n{judges}", path.display()));
    let run = Secrets::plant(ahwatch(["watch", "--json", "--config", file.to_str().unwrap()]));
    run.finish(LIMIT).expect_code(code)
}

#[test]
#[ignore = "make faults"]
fn case_14c_what_is_no_answer() {
    const YES_AND_NO: &str = "<answer>Yes</answer><answer>No</answer>";
    let mut case = Case::begin("14c", "HTML, \"maybe\", two answers, finish \"abort\" or \"length\", wrong model");
    let endpoint = endpoint(&["html", "maybe", "two", "abort", "length", "well"]);
    endpoint.set_model("html", Mode::Html);
    endpoint.set_model("maybe", Mode::Text("<answer>maybe</answer>".into()));
    endpoint.set_model("two", Mode::Text(YES_AND_NO.into()));
    endpoint.set_model("abort", Mode::Abort);
    endpoint.set_model("length", Mode::Truncated);
    let wrong = [
        ("html", "not_a_completion"),
        ("maybe", "unparsable"),
        ("two", "unparsable"),
        ("abort", "truncated"),
        ("length", "truncated"),
        ("nobody", "unknown_model"),
    ];
    let table = |name: &str| judge(name, &endpoint.base_url(), "deadline_ms = 20000");
    // Beside one that answers, and without anybody who does.
    for (models, code) in
        [(&["html", "maybe", "two", "abort", "length", "nobody", "well"][..], 0), (&["html", "abort", "nobody"], 1)]
    {
        let dir = tempfile::tempdir().unwrap();
        let run = recording(dir.path(), &models.iter().map(|name| table(name)).collect::<String>(), &[1], code);
        let events = run.events();
        let windows = voted(&events);
        for (name, reason) in wrong.iter().filter(|(name, _)| models.contains(name)) {
            let right = windows.iter().filter(|window| said(window, name) == *reason).count();
            let measured = format!("{right} of {}", windows.len());
            let what = format!("{name}: abstentions with {reason}, {} judges", models.len());
            case.row(&what, "5 of 5", &measured, measured == "5 of 5");
        }
        let ended = crate::watch_file::ended(&events);
        let label = ended["labels"]["vote_of_max"].as_str().unwrap();
        case.row("the session", "undecided", label, label == "undecided");
        After::watch(&run, &[&endpoint]).check(&mut case);
    }
    case.end();
}

#[test]
#[ignore = "make faults"]
fn case_14d_late_and_twice() {
    let mut case = Case::begin("14d", "late and duplicate reply");
    let endpoint = endpoint(&["v1"]);
    let truth: Vec<(f64, String)> = (0..5)
        .map(|n| (f64::from(n) * 5.0, if [1, 3].contains(&n) { "present" } else { "absent" }.to_owned()))
        .collect();
    let counted = |case: &mut Case, what: &str, run: &Finished| {
        let events = run.events();
        let votes =
            voted(&events).iter().filter(|window| ["present", "absent"].contains(&&*said(window, "v1"))).count();
        case.exactly(&format!("{what}: votes of 5 windows"), 5, votes as u64);
        case.row(
            what,
            "every label is its window's own",
            if labels(&events) == truth { "all 5" } else { "not all" },
            labels(&events) == truth,
        );
    };
    for (what, later) in [("each reply twice at once", 0), ("again after 50 ms", 50)] {
        let (relay, dir) = (Relay::to(endpoint.port()), tempfile::tempdir().unwrap());
        relay.set(Spoil::Twice(Duration::from_millis(later)));
        let run = recording(dir.path(), &judge("v1", &relay.base_url(), "max_in_flight = 1"), &[1, 3], 0);
        counted(&mut case, what, &run);
        After::watch(&run, &[&endpoint]).check(&mut case);
    }
    // Given up for another base URL, and answered by both.
    let (late, dir) = (self::endpoint(&["v1"]), tempfile::tempdir().unwrap());
    late.set(Mode::Delay(Duration::from_secs(6)));
    let urls = format!("base_urls = [\"{}\", \"{}\"]", late.base_url(), endpoint.base_url());
    let table = judge("v1", "", "deadline_ms = 10000").replace("base_url = \"\"", &urls);
    let run = recording(dir.path(), &table, &[1, 3], 0);
    counted(&mut case, "answered by two, one of them late", &run);
    let answered = |endpoint: &Endpoint| endpoint.requests().iter().filter(|seen| seen.clip.is_some()).count();
    case.row("replies to the last 5", "more than 5", &(answered(&late) + 5).to_string(), answered(&late) > 0);
    After::watch(&run, &[&endpoint, &late]).check(&mut case);
    // All too late.
    let dir = tempfile::tempdir().unwrap();
    late.set(Mode::Delay(Duration::from_millis(2500)));
    let run =
        recording(dir.path(), &judge("v1", &late.base_url(), "deadline_ms = 1000\nmax_in_flight = 8"), &[1, 3], 1);
    let events = run.events();
    let votes = voted(&events).iter().filter(|window| ["present", "absent"].contains(&&*said(window, "v1"))).count();
    case.exactly("votes of replies after the deadline", 0, votes as u64);
    After::watch(&run, &[&late]).check(&mut case);
    case.end();
}

/// The labels of windows that are there beyond the first `known`, beside what the votes of these judges come to.
fn beyond(events: &[Value], known: usize) -> Vec<&Value> {
    voted(events).into_iter().skip(known).collect()
}

#[test]
#[ignore = "make faults"]
fn case_15_one_of_three_judges_dies_then_two() {
    let mut case = Case::begin("15", "one of three judges dead, then two");
    let models = ["v1", "v2", "v3"];
    let (endpoint, camera, dir) = (endpoint(&models), camera(), tempfile::tempdir().unwrap());
    let ways = models.map(|_| Proxy::to(endpoint.port()));
    let tables = models
        .iter()
        .zip(&ways)
        .map(|(name, way)| judge(name, &format!("http://127.0.0.1:{}/v1", way.port()), "deadline_ms = 4000"));
    let text =
        source(&camera.url("/live")) + "[window]\nwindow_secs = 2.0\nhop_secs = 1.0\n" + &tables.collect::<String>();
    let mut run = watch(dir.path(), &text);
    wait_for_windows(&mut run, 2);
    let mut dead = Vec::new();
    for (nth, decided) in [(2, true), (1, false)] {
        let name = models[nth];
        ways[nth].set(proxy::Mode::Refuse);
        let killed = Instant::now();
        dead.push(name);
        case.within(
            &format!("{name} is dead, and marked"),
            Duration::from_secs(10),
            rig::wait_for_state(&mut run, name, "failing").duration_since(killed),
        );
        let known = voted(&run.events()).len();
        let events = wait_for_windows(&mut run, 5);
        let windows = beyond(&events, known);
        let right = |window: &&&Value| {
            let label = window["data"]["label"].as_str().unwrap_or("undecided");
            let agreed = said(window, "v1");
            let marked = dead.iter().all(|name| ["unreachable", "circuit_open"].contains(&&*said(window, name)));
            marked && label == if decided { agreed.as_str() } else { "undecided" }
        };
        let count = windows.iter().filter(right).count();
        let bound = if decided { "all: what the two agree on" } else { "all: undecided" };
        let what = format!("labels with {} dead, who is named as abstaining", dead.len());
        case.row(&what, bound, &format!("{count} of {}", windows.len()), count == windows.len());
    }
    for nth in [1, 2] {
        ways[nth].set(proxy::Mode::Pass);
    }
    let healed = Instant::now();
    for name in dead {
        rig::wait_for_state(&mut run, name, "healthy");
    }
    case.within("both are back, with a window each second", Duration::from_secs(4), healed.elapsed());
    let known = voted(&run.events()).len();
    let events = wait_for_windows(&mut run, 3);
    // The first may have been under way.
    let whole = beyond(&events, known + 1)
        .iter()
        .all(|window| models.iter().all(|name| ["present", "absent"].contains(&&*said(window, name))));
    case.row("the next windows", "three votes each", if whole { "all" } else { "not all" }, whole);
    rig::end(&mut case, run, &[&endpoint], &["cam"]);
    case.end();
}
