//! What an event costs: `cargo test --lib journal::tests::measuring -- --ignored --nocapture`.

use std::time::Instant;

use super::*;
use crate::time::monotonic;

const WRITERS: u64 = 16;
const EACH: u64 = 200;

fn percentile(times: &[Duration], share: usize) -> f64 {
    times[(times.len() - 1) * share / 1000].as_secs_f64() * 1e3
}

/// Sixteen sources, an event of each every 20 ms (a hundred times as often as live), by both ways of waiting for the disk.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; asserts nothing about time"]
#[allow(clippy::disallowed_methods, reason = "a test's own tasks")]
async fn record_under_sixteen_writers() {
    let window = fixtures::panel_session().remove(2);
    for mode in ["FULL", "NORMAL", "FULL", "NORMAL"] {
        let change = |writer: &Writer| writer.db.execute_batch(&format!("PRAGMA synchronous = {mode}")).unwrap();
        let rig = start(tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/target").unwrap(), change);
        rig.journal.set_routes(vec![route("desk", &["window"])]);
        let begin = monotonic();
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (journal, window) = (rig.journal.clone(), window.clone());
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    for number in 0..EACH {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        let event = Event { scope: format!("s{writer}").into(), number, ..window.clone() };
                        let start: Instant = monotonic();
                        let told = journal.record(vec![event]).await;
                        times.push(start.elapsed());
                        assert!(told[0].durable);
                    }
                    times
                })
            })
            .collect();
        let mut times = Vec::new();
        for writer in writers {
            times.extend(writer.await.unwrap());
        }
        times.sort();
        let all = begin.elapsed().as_secs_f64();
        println!(
            "{mode}: {} events in {all:.1} s; record() p50 {:.2} ms, p99 {:.2} ms, longest {:.2} ms",
            times.len(),
            percentile(&times, 500),
            percentile(&times, 990),
            percentile(&times, 1000)
        );
        drop(rig.end().await);
    }
}
