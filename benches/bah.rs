//! The offline preparation beside the published one, and the reading of annotations beside `PyYAML`'s.
//! `make bench-prepare`, or `cargo bench --bench bah -- yaml prepare`. Needs ffmpeg and python3-yaml. `prepare` in steps, each by itself:
//! `data` (the videos), `ours`, `published`, `compare`.

#![allow(clippy::disallowed_methods, reason = "measures with clocks of its own")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "counts and sums are small"
)]

#[path = "bah/prepare.rs"]
mod prepare;
#[allow(dead_code, reason = "shared with the bench media")]
mod process;
#[allow(dead_code, reason = "shared with the bench media")]
mod recordings;
#[allow(dead_code, reason = "shared with the bench media")]
mod table;
#[path = "bah/yaml.rs"]
mod yaml;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [first, kind, path] = &args[..]
        && first == process::CHILD
    {
        assert_eq!(kind, "yaml");
        return yaml::child(path.as_ref());
    }
    println!("{}", process::machine());
    let wanted = |name: &str| args.is_empty() || args.iter().any(|arg| arg == name);
    if wanted("yaml") {
        yaml::run();
    }
    let parts: Vec<&str> = ["data", "ours", "published", "compare"]
        .into_iter()
        .filter(|part| args.iter().any(|arg| arg == part))
        .collect();
    if wanted("prepare") || !parts.is_empty() {
        prepare::run(&parts);
    }
}
