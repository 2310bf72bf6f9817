//! Whether there are descriptors (sockets, files) left for another source, or another connection.
//!
//! A process that has none left cannot reach its judges, and cannot take up a camera again that was lost. So a new source is
//! refused, and a new connection closed, while the sources that run still have what they need.

use super::problem::Problem;

/// What the service itself has open: its sockets, the journal, the runtime.
const BASE: u64 = 24;
/// What a source takes while it is watched.
const SOURCE: u64 = 12;
/// What stays free for those that run: connections to judges and receivers, readers, a camera that is taken up again.
const KEPT: u64 = 12;

/// Leave for another source beside so many.
///
/// # Errors
/// It would leave too little to those.
pub(super) fn for_another(sources: usize) -> Result<(), Problem> {
    let Some((limit, open)) = descriptors() else { return Ok(()) };
    if is_enough(limit, open, sources as u64) {
        return Ok(());
    }
    let what = format!(
        "{open} of {limit} descriptors are open, and what is left is kept for the sources that run; end a session first, or give the \
         service more (ulimit -n, LimitNOFILE)"
    );
    Err(Problem::unavailable(what).after(30))
}

/// Whether there is no room for another connection.
pub(super) fn is_full() -> bool {
    descriptors().is_some_and(|(limit, open)| limit.saturating_sub(open) < KEPT)
}

/// Sources that were just accepted have not opened everything yet, so what they will take counts.
fn is_enough(limit: u64, open: u64, sources: u64) -> bool {
    let taken = open.max(BASE + SOURCE * sources);
    limit.saturating_sub(taken) >= SOURCE + KEPT
}

/// The limit, and how many are open; None where that cannot be told, or there is no limit.
fn descriptors() -> Option<(u64, u64)> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current?;
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count();
    Some((limit, open as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_refused_before_those_that_run_lack_anything() {
        assert!(is_enough(1024, 200, 12));
        assert!(!is_enough(64, 50, 1), "much else is open");
        assert!(!is_enough(64, 20, 3), "they have not opened theirs yet");
        assert!(!is_enough(16, 20, 0));
        let most = |limit| (0..100_000).find(|sources| !is_enough(limit, 0, *sources)).unwrap();
        assert_eq!((most(64), most(1024), most(65_536)), (2, 82, 5458));
    }

    #[test]
    fn what_is_open_is_counted() {
        let (limit, before) = descriptors().unwrap();
        let files: Vec<_> = (0..20).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        let (_, after) = descriptors().unwrap();
        // Other tests open and close meanwhile.
        assert!(limit > after && after > 20 && before > 0, "{before} {after}");
        drop(files);
    }
}
