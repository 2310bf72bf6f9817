//! The `ahwatch` command with the system's allocator: under libfaketime, which the laboratory sets the wall clock with,
//! jemalloc waits for ever before `main`.
//!
//! ```text
//! cargo run --example plain_malloc -- watch examples/media/interview.mp4
//! ```

use std::process::ExitCode;

fn main() -> ExitCode {
    ahwatch::cli::main()
}
