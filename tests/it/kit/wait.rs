//! Waiting for what comes, with a limit.

use std::time::{Duration, Instant};

/// Asks `ready` until it answers.
///
/// # Panics
/// At the limit, saying what was waited for.
pub fn wait_until<T>(limit: Duration, what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
