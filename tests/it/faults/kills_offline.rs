//! Case 19, offline: `bah eval` and `bah prepare` are killed at random moments, and go on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64;

use super::case::Case;
use crate::bah::eval::{bah, endpoint, lines, place};
use crate::bah::prepare::{differences, tree};
use crate::kit::bah::dataset;
use crate::kit::decode::mp4_track;
use crate::kit::endpoint::Mode;
use crate::kit::run::{Run, ahwatch};
use crate::kit::wav;

const KILLS: usize = 20;
const LIMIT: Duration = Duration::from_secs(300);

/// Runs it for a time drawn from these milliseconds, after it got so far, then kills it. False: it had come to its end.
fn killed(run: Run, so_far: impl Fn() -> bool, millis: std::ops::Range<u64>, random: &mut Pcg64) -> bool {
    let mut run = run.start();
    if run.wait_until_or_end(LIMIT, "it to get so far", |_| so_far().then_some(())).is_none() {
        return false;
    }
    std::thread::sleep(Duration::from_millis(random.random_range(millis))); // the random moment
    run.signal("KILL");
    run.finish(LIMIT).code != Some(0)
}

#[test]
#[ignore = "make faults"]
fn case_19_an_evaluation_is_killed_twenty_times() {
    let mut case = Case::begin("19", "kill -9 at 20 random moments in bah eval");
    let endpoint = endpoint();
    let place = place(&endpoint);
    let (whole, broken) = (place.out("a/run"), place.out("b/run"));
    place.eval(&dataset(), &whole, &["--no-canary"]).finish(LIMIT).expect_code(0);
    let all = endpoint.requests().len();
    endpoint.forget();
    // So slow that the kills find it at work; some are before its first question.
    endpoint.set(Mode::Delay(Duration::from_millis(1300)));
    let mut random = Pcg64::seed_from_u64(19);
    let mut stood = BTreeSet::new();
    let mut kills = 0;
    for _ in 0..KILLS {
        kills +=
            usize::from(killed(place.eval(&dataset(), &broken, &["--no-canary"]), || true, 300..3500, &mut random));
        let text = std::fs::read_to_string(broken.join("samples.jsonl")).unwrap_or_default();
        stood.insert(text.matches('\n').count());
    }
    case.row("kills while it ran", "at least 10 of 20", &kills.to_string(), kills >= 10);
    let left = stood.last().copied().unwrap_or_default();
    let said =
        format!("{} different numbers of answers, from {} to {left} of {all}", stood.len(), stood.first().unwrap());
    case.row("what they found", "more than three different states", &said, stood.len() > 3);
    endpoint.set(Mode::Ok);
    endpoint.forget();
    place.eval(&dataset(), &broken, &["--no-canary"]).finish(LIMIT).expect_code(0);
    case.exactly(
        "asked after the last kill: what had no answer",
        (all - left) as u64,
        endpoint.requests().len() as u64,
    );
    let keys: Vec<String> = lines(&broken, "samples.jsonl")
        .iter()
        .map(|line| format!("{} {} {}", line["video"], line["window"], line["judge"]))
        .collect();
    let different = keys.iter().collect::<BTreeSet<_>>().len();
    case.row(
        "answers",
        &format!("{all}, none twice"),
        &format!("{}, {different} different", keys.len()),
        keys.len() == all && different == all,
    );
    let tables = [&["score"][..], &["report"], &["report", "--format", "md"], &["report", "--format", "csv"]];
    let other = tables.iter().filter(|args| {
        let of = |out: &Path| {
            let text = bah(&[args, &[out.to_str().unwrap(), "--draws", "100"][..]].concat()).expect_code(0).stdout;
            text.replace(out.to_str().unwrap(), "RUN")
        };
        of(&whole) != of(&broken)
    });
    let other: Vec<_> = other.collect();
    case.row(
        "tables that differ from those of a run without a kill in any byte",
        "none of four",
        &format!("{other:?}"),
        other.is_empty(),
    );
    case.end();
}

/// Clips that stand under their own names and are not whole, beside those of a run without a kill. Each is looked at once.
fn partial(clips: &Path, whole: &BTreeMap<String, usize>, seen: &mut BTreeMap<String, SystemTime>) -> Vec<String> {
    let mut partial = Vec::new();
    for entry in std::fs::read_dir(clips).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let Some(expected) = whole.get(&name) else { continue };
        let written = entry.metadata().unwrap().modified().unwrap();
        if seen.insert(name.clone(), written) == Some(written) {
            continue;
        }
        if size(&entry.path()) != Some(*expected) {
            partial.push(name);
        }
    }
    partial
}

/// Pictures of an MP4, samples of a WAV.
fn size(clip: &Path) -> Option<usize> {
    if clip.extension().is_some_and(|extension| extension == "mp4") {
        return mp4_track(clip).ok().map(|track| track.pictures.len());
    }
    wav::read(&std::fs::read(clip).ok()?).ok().map(|wav| wav.samples.len())
}

#[test]
#[ignore = "make faults"]
fn case_19_a_preparation_is_killed_twenty_times() {
    const SPLIT: &str = "val";
    let mut case = Case::begin("19", "kill -9 at 20 random moments in bah prepare");
    let (out, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let prepare = |out: &Path, jobs: &str| {
        let (root, out) = (dataset(), out.to_str().unwrap().to_owned());
        let args = ["bah", "prepare", root.to_str().unwrap(), &out, "--split", SPLIT, "--jobs", jobs, "--relative"];
        ahwatch(args.map(str::to_owned))
    };
    prepare(other.path(), "2").finish(LIMIT).expect_code(0);
    let clips = |out: &Path| out.join(SPLIT).join("clips");
    let whole: BTreeMap<String, usize> = std::fs::read_dir(clips(other.path()))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), size(&entry.path()).expect("a whole clip")))
        .collect();
    let mut random = Pcg64::seed_from_u64(19);
    let (mut kills, mut seen, mut wrong, mut stood) = (0, BTreeMap::new(), Vec::new(), BTreeSet::new());
    for n in 0..KILLS {
        // Two at a time at most kills; what is done stays done, so the later kills find less to do.
        let jobs = if n % 2 == 0 { "1" } else { "2" };
        // Each fifth comes when there is a clip more, so that the kills find different states however fast the machine is.
        let there = || std::fs::read_dir(clips(out.path())).into_iter().flatten().flatten();
        let count = || there().filter(|entry| whole.contains_key(&*entry.file_name().to_string_lossy())).count();
        let before = seen.len();
        let (waits, millis) = if n % 5 == 4 { (true, 0..50) } else { (false, 20..400) };
        let so_far = || !waits || count() > before;
        kills += usize::from(killed(prepare(out.path(), jobs), so_far, millis, &mut random));
        wrong.extend(partial(&clips(out.path()), &whole, &mut seen));
        stood.insert(seen.len());
    }
    let said = format!("{kills} times at work, {} different numbers of clips", stood.len());
    case.row("what they found", "at work at least 10 times", &said, kills >= 10 && stood.len() > 3);
    case.row(
        "clips under their names that were not whole",
        "0",
        &format!("{wrong:?} of {}", seen.len()),
        wrong.is_empty(),
    );
    prepare(out.path(), "2").finish(LIMIT).expect_code(0);
    let differ = differences(out.path(), other.path(), SPLIT);
    let files = tree(out.path()).len();
    case.row(
        "what came of it beside a run without a kill",
        "the same files, rows and books (x264's bytes differ in any two runs)",
        &format!("{files} files, differing: {differ:?}"),
        differ.is_empty(),
    );
    case.end();
}
