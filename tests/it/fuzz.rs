//! The corpora of the fuzz targets, given to the same functions: what was found once stays mended.

use std::path::Path;

use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

#[path = "../../fuzz/src/lib.rs"]
mod bodies;

/// Every file in a target's corpus, by name.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| (file.display().to_string(), std::fs::read(file).unwrap())).collect()
}

#[test]
fn every_seed_passes_its_target() {
    for (target, run) in bodies::TARGETS {
        let seeds = corpus(target);
        assert!(seeds.len() >= 5, "{target} has {} seeds", seeds.len());
        for (name, data) in seeds {
            let passed = std::panic::catch_unwind(|| run(&data));
            assert!(passed.is_ok(), "the target {target} fails on {name}");
        }
    }
}

/// A seed with a few random changes: bytes, stretches cut out, doubled or taken from another seed.
fn spoilt(seeds: &[(String, Vec<u8>)], random: &mut rand_pcg::Pcg32) -> Vec<u8> {
    let pick = |random: &mut rand_pcg::Pcg32| &seeds[random.random_range(0..seeds.len())].1;
    let mut data = pick(random).clone();
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=data.len());
        let end = (at + random.random_range(0..24)).min(data.len());
        match random.random_range(0..6) {
            0 => drop(data.drain(at..end)),
            1 => data.extend_from_within(at..end),
            2 => {
                let other = pick(random);
                let from = random.random_range(0..=other.len());
                let to = (from + random.random_range(0..64)).min(other.len());
                data.splice(at..end, other[from..to].iter().copied());
            }
            3 => data.splice(at..at, [*b"\0\n\xff\x7f0-9.\"".choose(random).unwrap()]).for_each(drop),
            _ if at < data.len() => data[at] ^= 1 << random.random_range(0..8),
            _ => data.push(random.random()),
        }
    }
    data
}

/// Blind, and so no substitute for `make fuzz`; but it needs no other compiler. `AHWATCH_SPOILT=N` tries N times as many.
#[test]
fn every_seed_passes_its_target_when_it_is_spoilt() {
    let times: usize = std::env::var("AHWATCH_SPOILT").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for (target, run) in bodies::TARGETS {
        let seeds = corpus(target);
        // One that writes files, or makes keys, takes a hundred times as long.
        let many = times * if matches!(target, "journal" | "offer") { 10 } else { 300 };
        let mut random = rand_pcg::Pcg32::seed_from_u64(7);
        for n in 0..many {
            let data = spoilt(&seeds, &mut random);
            if std::panic::catch_unwind(|| run(&data)).is_err() {
                let path = std::env::temp_dir().join(format!("ahwatch-{target}-{n}"));
                std::fs::write(&path, &data).unwrap();
                panic!("the target {target} fails on {}", path.display());
            }
        }
    }
}

#[test]
fn every_target_is_built_and_run() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut files: Vec<_> =
        std::fs::read_dir(top.join("fuzz_targets")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let stems: Vec<_> = files.iter().map(|file| file.file_stem().unwrap().to_str().unwrap()).collect();
    assert_eq!(stems, bodies::TARGETS.map(|(target, _)| target));
    let manifest = std::fs::read_to_string(top.join("Cargo.toml")).unwrap();
    for (target, _) in bodies::TARGETS {
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target} is not in fuzz/Cargo.toml");
    }
}
