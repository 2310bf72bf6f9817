//! The `ahwatch` command.

use std::process::ExitCode;

/// Also of the memory of GStreamer and `SQLite`, since it stands in for malloc. With glibc's, a service whose cameras come and go
/// holds more and more that it no longer uses (docs/reliability.md).
#[global_allocator]
static MEMORY: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    ahwatch::cli::main()
}
