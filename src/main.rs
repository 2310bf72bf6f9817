//! The `ahwatch` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ahwatch::cli::main()
}
