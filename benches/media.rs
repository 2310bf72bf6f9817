//! What watching costs: CPU, bytes, memory, latency. `make bench`, or `cargo bench -- NAME...` with some of
//! `cost codecs training memory latency vga qvga start isolation participants`.
//!
//! Prints tables; judges nothing and is not run in CI. Every table says what was measured, on what data, how often, and by
//! which metric. CPU is user + system time of a process of its own, so other load disturbs it little; latency it disturbs.
//!
//! - `cost`: a recording decoded and cut, against its plain decoding. `codecs`: a window's pictures as JPEG and as H.264;
//!   `training`: how well the published preparation keeps them. `live`: memory and latency of the program on cameras. `many`:
//!   many of them at once; `whip`: participants' browsers.
//! - `recordings`: the media. `process`: processes and their CPU and memory. `table`: what is printed.

#![allow(clippy::disallowed_methods, reason = "measures with threads and clocks of its own")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "counts and sums are small"
)]

mod codecs;
mod cost;
#[allow(unused_imports, missing_docs, clippy::all, clippy::pedantic, reason = "the kit's own tests are left out here")]
#[path = "../tests/it/kit/mod.rs"]
mod kit;
mod live;
mod many;
mod process;
mod recordings;
mod table;
mod training;
mod whip;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let Some((first, rest)) = args.split_first()
        && first == process::CHILD
    {
        return child(rest);
    }
    let parts: [(&str, fn()); 10] = [
        ("cost", cost::run),
        ("codecs", codecs::run),
        ("training", training::run),
        ("memory", live::memory),
        ("latency", live::latency),
        ("vga", many::vga),
        ("qvga", many::qvga),
        ("start", many::start),
        ("isolation", many::isolation),
        ("participants", whip::participants),
    ];
    let wrong: Vec<&String> = args.iter().filter(|arg| !parts.iter().any(|(name, _)| name == arg)).collect();
    if !wrong.is_empty() {
        eprintln!("no bench is named {wrong:?}; there are {:?}", parts.map(|(name, _)| name));
        std::process::exit(2);
    }
    println!("{}", process::machine());
    for (name, run) in parts {
        if args.is_empty() || args.iter().any(|arg| arg == name) {
            run();
        }
    }
}

/// The part of a bench that runs in a process of its own.
fn child(args: &[String]) {
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["cost", variant, path] => cost::child(variant, path.as_ref()),
        ["whip", participants, base_url] => whip::child(participants, base_url),
        ["codecs", variant, quality, path] => codecs::child(variant, quality, path.as_ref()),
        _ => panic!("no child {args:?}"),
    }
}
