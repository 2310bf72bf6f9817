//! What is fuzzed: functions from bytes, which panic where something is not as it must be.
//!
//! `fuzz_targets/` gives them what libFuzzer makes up (`make fuzz`). An ordinary test, `tests/it/fuzz.rs`, includes this file and
//! gives them everything in `corpus/`: what was found once stays mended, without a nightly compiler.

pub mod annotations;
pub mod answer;
pub mod config;
pub mod cutter;
pub mod events;
pub mod fingerprint;
pub mod headers;
pub mod import;
pub mod journal;
pub mod offer;
pub mod panel;
pub mod resume;
pub mod signature;
pub mod splits;
pub mod worker;

/// The targets by name.
pub const TARGETS: [(&str, fn(&[u8])); 15] = [
    ("annotations", annotations::run),
    ("answer", answer::run),
    ("config", config::run),
    ("cutter", cutter::run),
    ("events", events::run),
    ("fingerprint", fingerprint::run),
    ("headers", headers::run),
    ("import", import::run),
    ("journal", journal::run),
    ("offer", offer::run),
    ("panel", panel::run),
    ("resume", resume::run),
    ("signature", signature::run),
    ("splits", splits::run),
    ("worker", worker::run),
];

/// A file that holds `data`, for what reads files; each thread has a folder of its own.
fn file(name: &str, data: &[u8]) -> std::path::PathBuf {
    thread_local! {
        static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a folder for temporary files");
    }
    let path = FOLDER.with(|folder| folder.path().join(name));
    std::fs::write(&path, data).expect("a temporary file can be written");
    path
}
