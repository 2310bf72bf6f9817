//! Curves as SVG, drawn by plotters, in colours that the page's style sheet decides.

use std::fmt::Display;

use plotters::prelude::*;

use crate::bah::metrics::Metric;
use crate::bah::score::{Kind, Level, System};

/// Colours that stand for the page's own; an SVG in a page takes them from its style sheet, light or dark.
const INK: RGBColor = RGBColor(1, 2, 3);
const FAINT: RGBColor = RGBColor(1, 2, 4);
const SERIES: [RGBColor; 6] =
    [RGBColor(2, 0, 1), RGBColor(2, 0, 2), RGBColor(2, 0, 3), RGBColor(2, 0, 4), RGBColor(2, 0, 5), RGBColor(2, 0, 6)];

/// Size in units of the view box; the page scales it.
const SIZE: (u32, u32) = (520, 380);

/// Which of the page's series colours the `n`th system has, from 0.
#[must_use]
pub(super) const fn series(n: usize) -> usize {
    n % SERIES.len()
}

fn styled(svg: &str) -> String {
    let hex = |colour: RGBColor| format!("\"#{:02X}{:02X}{:02X}\"", colour.0, colour.1, colour.2);
    let mut svg = svg.replace(&hex(INK), "\"var(--ink)\"").replace(&hex(FAINT), "\"var(--faint)\"");
    for (n, colour) in SERIES.into_iter().enumerate() {
        svg = svg.replace(&hex(colour), &format!("\"var(--series-{n})\""));
    }
    // A fixed size would not fit a phone; the view box keeps the shape.
    let fixed = format!("width=\"{}\" height=\"{}\"", SIZE.0, SIZE.1);
    svg.replacen(&fixed, "role=\"img\"", 1)
}

/// What a drawing failed of, which in memory is nothing but a defect of the library's.
fn shown<E: Display>(drawn: Result<(), E>, svg: &str) -> String {
    match drawn {
        Ok(()) => styled(svg),
        Err(error) => format!("<!-- no drawing: {error} -->"),
    }
}

fn scored(level: &Level) -> Vec<(usize, &System)> {
    level.systems.iter().enumerate().filter(|(_, system)| !system.curve.is_empty()).collect()
}

/// Precision over recall of every system with scores; None: no system has any.
#[must_use]
pub(super) fn precision_recall(level: &Level) -> Option<String> {
    let systems = scored(level);
    if systems.is_empty() {
        return None;
    }
    let mut svg = String::new();
    let drawn = draw_precision_recall(level, &systems, &mut svg).map_err(|error| error.to_string());
    Some(shown(drawn, &svg))
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

#[allow(clippy::cast_precision_loss, reason = "counts of cases")]
fn draw_precision_recall(level: &Level, systems: &[(usize, &System)], svg: &mut String) -> Drawn {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .margin_right(30)
        .x_label_area_size(52)
        .y_label_area_size(68)
        .build_cartesian_2d(0.0..1.0, 0.0..1.02)?;
    mesh(&mut chart, "recall", "precision")?;
    // Who calls at random is as precise as there are positives.
    let chance = level.positives as f64 / level.n.max(1) as f64;
    let dashes = DashedLineSeries::new([(0.0, chance), (1.0, chance)], 4, 4, FAINT.stroke_width(1));
    chart.draw_series(dashes)?;
    for (n, system) in systems {
        let style = SERIES[series(*n)].stroke_width(if system.kind == Kind::Judge { 2 } else { 3 });
        // Between two thresholds precision is that of the higher recall: steps, as the exact area counts them.
        let mut line = Vec::new();
        let mut recall = 0.0;
        for point in &system.curve {
            line.extend([(recall, point.precision), (point.recall, point.precision)]);
            recall = point.recall;
        }
        chart.draw_series(LineSeries::new(line, style))?;
    }
    area.present()?;
    Ok(())
}

fn mesh<DB: DrawingBackend>(
    chart: &mut ChartContext<
        '_,
        DB,
        Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
    >,
    x: &str,
    y: &str,
) -> Result<(), Box<dyn std::error::Error>>
where
    DB::ErrorType: 'static,
{
    let text = ("sans-serif", 18).into_font().color(&INK);
    chart
        .configure_mesh()
        .disable_mesh()
        .axis_style(FAINT)
        .x_desc(x)
        .y_desc(y)
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|value| format!("{:.0} %", 100.0 * value))
        .y_label_formatter(&|value| format!("{:.0} %", 100.0 * value))
        .label_style(text.clone())
        .axis_desc_style(text)
        .draw()?;
    Ok(())
}

/// A metric of every system as a point with its interval, from 0 to 100 %.
#[must_use]
pub(super) fn intervals(level: &Level, metric: Metric) -> String {
    let mut svg = String::new();
    let drawn = draw_intervals(level, metric, &mut svg).map_err(|error| error.to_string());
    shown(drawn, &svg)
}

#[allow(clippy::cast_precision_loss, reason = "a panel is small")]
fn draw_intervals(level: &Level, metric: Metric, svg: &mut String) -> Drawn {
    let rows = level.systems.len();
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(16)
        .margin_right(30)
        .x_label_area_size(52)
        .y_label_area_size(8)
        .build_cartesian_2d(0.0..1.0, 0.0..rows as f64)?;
    let text = ("sans-serif", 18).into_font().color(&INK);
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT.mix(0.35))
        .axis_style(FAINT)
        .x_desc(metric.heading())
        .x_labels(6)
        .x_label_formatter(&|value| format!("{:.0} %", 100.0 * value))
        .label_style(text.clone())
        .axis_desc_style(text.clone())
        .draw()?;
    for (n, system) in level.systems.iter().enumerate() {
        let y = (rows - n) as f64 - 0.6;
        let measured = &system.counted_wrong;
        let value = metric.value(measured.rates.as_ref(), measured.average_precision.as_ref());
        let Some(value) = value else { continue };
        let colour = if system.kind == Kind::NoSkill { FAINT } else { SERIES[series(n)] };
        if let Some(interval) = measured.intervals.get(&metric) {
            let line = [(interval.low, y), (interval.high, y)];
            chart.draw_series(LineSeries::new(line, colour.stroke_width(3)))?;
        }
        chart.draw_series([Circle::new((value, y), 6, colour.filled())])?;
        let label = format!("{} {:.1}", system.name, 100.0 * value);
        chart.draw_series([Text::new(label, (0.01, y + 0.5), text.clone())])?;
    }
    area.present()?;
    Ok(())
}
