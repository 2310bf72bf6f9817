//! The corpora of the fuzz targets, given to the same functions: what was found once stays mended.

use std::path::Path;

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
