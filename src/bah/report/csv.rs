//! Every metric as a line of CSV, in fractions, for other programs.

use crate::bah::metrics::{Abstentions, Metric};
use crate::bah::score::{Level, Scored};

/// All metrics of these runs: `run,level,system,abstentions,metric,value,low,high,n,limit`, fractions; then the panel's groups.
///
/// # Errors
/// None that can happen in memory; the CSV writer's.
pub fn csv(runs: &[Scored]) -> Result<String, csv::Error> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(["run", "level", "system", "abstentions", "metric", "value", "low", "high", "n", "limit"])?;
    for scored in runs {
        let limit = scored.limit.map(|limit| limit.to_string()).unwrap_or_default();
        let run = (scored.run.as_str(), limit.as_str());
        write(&mut out, run, "video", &scored.video)?;
        for (name, level) in [("clip", &scored.clip), ("clip_video_truth", &scored.clip_video_truth)] {
            if let Some(level) = level {
                write(&mut out, run, name, level)?;
            }
        }
        for group in &scored.breakdown {
            let level = format!("video:{}={}", group.by, group.value);
            for metric in Metric::ALL {
                let Some(value) = metric.value(group.counted_wrong.as_ref(), None) else { continue };
                let n = group.counted_wrong.map_or(0, |rates| rates.n);
                let (value, n) = (value.to_string(), n.to_string());
                let (system, wrong) = ("panel (vote_of_max)", word(Abstentions::CountedWrong));
                out.write_record([&scored.run, &level, system, wrong, &name(metric), &value, "", "", &n, &limit])?;
            }
        }
    }
    let bytes = out.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn write(
    out: &mut csv::Writer<Vec<u8>>,
    (run, limit): (&str, &str),
    level: &str,
    of: &Level,
) -> Result<(), csv::Error> {
    for system in &of.systems {
        for abstentions in Abstentions::ALL {
            let measured = system.measured(abstentions);
            for metric in Metric::ALL {
                let ap = measured.average_precision;
                let Some(value) = metric.value(measured.rates.as_ref(), ap.as_ref()) else { continue };
                let interval = measured.intervals.get(&metric);
                let bound = |bound: Option<f64>| bound.map(|bound| bound.to_string()).unwrap_or_default();
                let n = match metric {
                    Metric::ApBah | Metric::ApExact => ap.map_or(0, |ap| ap.n),
                    _ => measured.rates.map_or(0, |rates| rates.n),
                };
                out.write_record([
                    run,
                    level,
                    &system.name,
                    word(abstentions),
                    &name(metric),
                    &value.to_string(),
                    &bound(interval.map(|interval| interval.low)),
                    &bound(interval.map(|interval| interval.high)),
                    &n.to_string(),
                    limit,
                ])?;
            }
        }
    }
    Ok(())
}

const fn word(abstentions: Abstentions) -> &'static str {
    match abstentions {
        Abstentions::CountedWrong => "counted_wrong",
        Abstentions::LeftOut => "left_out",
    }
}

/// As in the JSON.
fn name(metric: Metric) -> String {
    serde_json::to_value(metric).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
