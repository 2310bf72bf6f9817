//! How far training is: ms-swift's `logging.jsonl`, and a picture of its losses.

use std::collections::BTreeMap;
use std::path::Path;

use plotters::prelude::*;

/// What was logged so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// Steps done, and in all.
    pub steps: Option<(u64, u64)>,
    /// Loss of training by step.
    pub loss: BTreeMap<u64, f64>,
    /// Loss on the validation rows by step.
    pub eval_loss: BTreeMap<u64, f64>,
}

impl Log {
    /// Reads the log; a file that is not there yet, and lines that are not whole, are nothing.
    #[must_use]
    pub fn read(file: &Path) -> Self {
        let mut log = Self::default();
        let text = std::fs::read(file).unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            let Ok(entry) = serde_json::from_str::<serde_json::Value>(line) else { continue };
            let steps = entry["global_step/max_steps"].as_str().and_then(|s| s.split_once('/'));
            let Some((step, all)) = steps.and_then(|(a, b)| a.parse().ok().zip(b.parse().ok())) else { continue };
            log.steps = Some((step, all));
            for (key, into) in [("loss", &mut log.loss), ("eval_loss", &mut log.eval_loss)] {
                let value = entry[key].as_f64().or_else(|| entry[key].as_str().and_then(|s| s.parse().ok()));
                into.extend(value.filter(|v: &f64| v.is_finite()).map(|v| (step, v)));
            }
        }
        log
    }
}

/// Draws the losses as SVG; false: there is nothing to draw yet.
///
/// # Errors
/// The file cannot be written.
pub fn plot(log: &Log, file: &Path) -> Result<bool, String> {
    let points = || log.loss.iter().chain(&log.eval_loss);
    let Some(last) = points().map(|(step, _)| *step).max() else { return Ok(false) };
    let highest = points().map(|(_, loss)| *loss).fold(0.0, f64::max).max(1e-6);
    let mut svg = String::new();
    draw(log, last.max(1), highest, &mut svg).map_err(|e| format!("the losses could not be drawn: {e}"))?;
    crate::bah::prepare::write_whole(file, svg.as_bytes())
        .map_err(|e| format!("{}: could not be written: {e}", file.display()))?;
    Ok(true)
}

fn draw(log: &Log, last: u64, highest: f64, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, (800, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption("Loss", ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0..last, 0.0..highest * 1.05)?;
    chart.configure_mesh().x_desc("step").y_desc("loss").draw()?;
    for (name, losses, colour) in
        [("training", &log.loss, RGBColor(0, 90, 160)), ("validation", &log.eval_loss, RGBColor(190, 80, 0))]
    {
        if losses.is_empty() {
            continue;
        }
        let points: Vec<(u64, f64)> = losses.iter().map(|(step, loss)| (*step, *loss)).collect();
        let line = LineSeries::new(points, colour.stroke_width(2)).point_size(2);
        chart.draw_series(line)?.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour));
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_ms_swift_is_read_and_drawn() {
        let dir = tempfile::tempdir().unwrap();
        let (file, svg) = (dir.path().join("logging.jsonl"), dir.path().join("loss.svg"));
        assert_eq!(Log::read(&file), Log::default());
        assert_eq!(plot(&Log::default(), &svg), Ok(false));
        let text = "{\"loss\": 2.5, \"grad_norm\": 1.0, \"global_step/max_steps\": \"1/3\"}\n\
                    {\"loss\": \"2.25\", \"global_step/max_steps\": \"2/3\"}\n{\"eval_loss\": 2.0, \"global_step/max_steps\": \"2/3\"}\n\
                    {\"loss\": NaN, \"global_step/max_steps\": \"3/3\"}\n{\"train_runtime\": 3.0}\n{\"loss\": 1.0, \"global_st";
        std::fs::write(&file, text).unwrap();
        let log = Log::read(&file);
        assert_eq!(log.steps, Some((2, 3)));
        assert_eq!(log.loss, BTreeMap::from([(1, 2.5), (2, 2.25)]));
        assert_eq!(log.eval_loss, BTreeMap::from([(2, 2.0)]));
        assert_eq!(plot(&log, &svg), Ok(true));
        let drawn = std::fs::read_to_string(&svg).unwrap();
        assert!(drawn.starts_with("<svg") && drawn.contains("training") && drawn.contains("validation"));
    }
}
