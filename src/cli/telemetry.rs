//! ONNX Runtime must not report to anybody.
//!
//! Microsoft's builds, as of 1.31, send what machine and program they run on to `mobile.events.data.microsoft.com`, and keep it in a
//! database below `~/.cache/Microsoft`. The interface's own switch comes too late: the first report is made before it can be
//! used. Only a variable of the environment is read in time.

use std::os::unix::process::CommandExt as _;

use crate::gate::{NO_TELEMETRY, telemetry_is_off};

/// Begins this program anew with the variable set, unless it is. Call it first: nothing must have happened yet. Should that
/// fail, the library is not opened at all, which `gate` says.
pub(super) fn off() {
    if telemetry_is_off() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut again = std::process::Command::new(program);
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    let (name, value) = NO_TELEMETRY;
    // Returns only if it failed.
    let error = again.args(arguments).env(name, value).exec();
    eprintln!("this program could not begin anew with {name}={value}: {error}");
}
