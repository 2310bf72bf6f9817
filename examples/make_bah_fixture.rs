//! Writes a small dataset in exactly BAH's format, with invented videos: `make_bah_fixture FOLDER [older]`.
//!
//! Its pictures and sound are codes of the tests' kit, so that a stand-in endpoint can tell where A/H was planted.

#![allow(dead_code, reason = "the kit offers more than this program uses")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::doc_markdown,
    clippy::format_push_string,
    missing_docs,
    reason = "as in the kit"
)]
#![allow(clippy::disallowed_methods, reason = "as in the kit")]

#[path = "../tests/it/kit/bah.rs"]
mod bah;
#[path = "../tests/it/kit/codes.rs"]
mod codes;
#[path = "../tests/it/kit/feed.rs"]
mod feed;
#[path = "../tests/it/kit/media.rs"]
mod media;
#[path = "../tests/it/kit/tones.rs"]
mod tones;

use std::path::Path;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let (Some(folder), shape) = (args.next(), args.next()) else {
        anyhow::bail!("usage: make_bah_fixture FOLDER [older]");
    };
    let shape = match shape.as_deref().and_then(|s| s.to_str()) {
        None => bah::Shape::Newer,
        Some("older") => bah::Shape::Older,
        Some(other) => anyhow::bail!("there is no shape {other:?}; leave it out, or write `older`"),
    };
    bah::write(Path::new(&folder), shape);
    println!("{}: invented videos in BAH's format; nothing of BAH is in them", Path::new(&folder).display());
    Ok(())
}
