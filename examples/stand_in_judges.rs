//! Three judges for the invented dataset of `make_bah_fixture`, and the panel file to reach them by: `stand_in_judges PANEL.toml`.
//!
//! **They judge nobody**: they decode the clips they are sent and read the codes planted there, v1 in pictures and sound, v2 in
//! pictures, v3 in sound. Of any other recording they say No. On loopback only, until Ctrl-C.

#![allow(dead_code, unused_imports, reason = "the kit offers more than this program uses")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::doc_markdown,
    clippy::format_push_string,
    clippy::large_stack_arrays,
    clippy::type_complexity,
    missing_docs,
    reason = "as in the kit"
)]
#![allow(clippy::disallowed_methods, reason = "as in the kit")]

#[path = "../tests/it/kit/behaviour.rs"]
mod behaviour;
#[path = "../tests/it/kit/clip.rs"]
mod clip;
#[path = "../tests/it/kit/codes.rs"]
mod codes;
#[path = "../tests/it/kit/decode.rs"]
mod decode;
#[path = "../tests/it/kit/endpoint.rs"]
mod endpoint;
#[path = "../tests/it/kit/reply.rs"]
mod reply;
#[path = "../tests/it/kit/senses.rs"]
mod senses;
#[path = "../tests/it/kit/tones.rs"]
mod tones;
#[path = "../tests/it/kit/wait.rs"]
mod wait;
#[path = "../tests/it/kit/wav.rs"]
mod wav;

use anyhow::Context as _;
use endpoint::{Endpoint, Judge, Needs};
use wait::wait_until;

fn main() -> anyhow::Result<()> {
    let Some(file) = std::env::args_os().nth(1) else { anyhow::bail!("usage: stand_in_judges PANEL.toml") };
    let judges = [("v1", Needs::Both), ("v2", Needs::Pictures), ("v3", Needs::Sound)];
    let endpoint = Endpoint::start(judges.map(|(name, needs)| (name, Judge { needs, ..Judge::default() })));
    let url = endpoint.base_url();
    let table = |(name, _): (&str, Needs)| {
        format!(
            "[[judge]]\nname = \"{name}\"\nbase_url = \"{url}\"\nmodel = \"{name}\"\nprofile = \"paper\"\nscore = true\n\n"
        )
    };
    let file = std::path::Path::new(&file);
    std::fs::write(file, judges.map(table).concat()).with_context(|| file.display().to_string())?;
    println!(
        "{url}: stand-ins that read planted codes and judge nobody; {} is their panel; Ctrl-C ends them",
        file.display()
    );
    loop {
        std::thread::park();
    }
}
