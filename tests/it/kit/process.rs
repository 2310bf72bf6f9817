//! What the kernel says of a process (proc(5)).

use std::fmt::Display;

/// The number in a line of `/proc/PROCESS/status`, such as `VmHWM` (kB) or `Threads`; None: there is no such process, or no such line.
pub fn status(process: impl Display, key: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}
