//! One HTML page that works offline: no script, no font, no picture from elsewhere; light or dark as the reader's system is.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::sections::{Section, comparison, groups, sections};
use super::table::{Cell, Table};
use super::{chart, timeline};
use crate::bah::metrics::Metric;
use crate::bah::run_dir::RunInfo;
use crate::bah::score::{Between, Kind, Level, Scored};

const STYLE: &str = include_str!("style.css");

/// The page. Each run comes with its `run.json`, which has the annotation.
#[must_use]
pub fn html(runs: &[(Scored, RunInfo)], between: &[Between]) -> String {
    let title = match runs {
        [(run, _)] => format!("ahwatch on BAH: {}", run.run),
        _ => format!("ahwatch on BAH: {} runs", runs.len()),
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content=(concat!("ahwatch ", env!("CARGO_PKG_VERSION")));
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                @if runs.len() > 1 {
                    nav { ul { @for (n, (run, _)) in runs.iter().enumerate() { li { a href=(format!("#run-{n}")) { (run.run) } } } } }
                }
                @for (n, (run, info)) in runs.iter().enumerate() {
                    main id=(format!("run-{n}")) { (one(run, info)) }
                }
                @if let Some(section) = comparison(between) { (plain(&section)) }
                footer {
                    p {
                        "Method: Tang et al., arXiv 2603.13406. Data: BAH, Gonzalez-Gonzalez et al., arXiv 2505.19328. "
                        "Numbers are of these checkpoints on these videos; they are no diagnosis of anybody."
                    }
                }
            }
        }
    };
    page.into_string()
}

fn one(run: &Scored, info: &RunInfo) -> Markup {
    let levels = [
        ("Video level", Some(&run.video)),
        ("Clip level, truth by annotated", run.clip.as_ref()),
        ("Clip level, truth by the video", run.clip_video_truth.as_ref()),
    ];
    let level_of =
        |section: &Section| levels.iter().find(|(title, _)| section.title.starts_with(title)).and_then(|l| l.1);
    html! {
        @for section in sections(run) {
            (plain(&section))
            @if let Some(level) = level_of(&section) {
                // Once a level: its last section has the matrices.
                @if section.tables.len() > 1 { (matrices(level)) }
                @if std::ptr::eq(level, &raw const run.video) && section.tables.len() > 1 { (charts(level)) }
            }
        }
        h2 { "By participant" }
        details {
            summary { "The panel (vote_of_max) by participant" }
            (table(&groups(run.breakdown.iter().filter(|group| group.by == "participant"))))
        }
        h2 { "Videos" }
        (timeline::timelines(run, &info.videos))
    }
}

fn plain(section: &Section) -> Markup {
    html! {
        @if section.depth == 1 { h1 { (section.title) } } @else { h2 { (section.title) } }
        @if !section.findings.is_empty() {
            ul.findings {
                @for finding in &section.findings {
                    li class=(finding.severity.as_str()) { b { (finding.severity.as_str()) } (finding.message) }
                }
            }
        }
        @for note in &section.notes { p { (note) } }
        // The matrices show these.
        @for shown in section.tables.iter().filter(|table| table.head.first().is_none_or(|head| head != "confusion")) {
            (table(shown))
        }
    }
}

fn table(of: &Table) -> Markup {
    let class = |column| of.is_text(column).then_some("words");
    html! {
        div.scroll {
            table {
                thead { tr { @for (n, head) in of.head.iter().enumerate() { th scope="col" class=[class(n)] { (head) } } } }
                tbody {
                    @for row in &of.rows {
                        tr { @for (n, cell) in row.iter().enumerate() { td class=[class(n)] { (cell.plain()) } } }
                    }
                }
            }
        }
    }
}

/// Counts and shares of the row, the darker the larger the share.
fn matrices(level: &Level) -> Markup {
    html! {
        h3 { "Confusion matrices: cases, and per cent of their row" }
        div.matrices {
            @for system in level.systems.iter().filter(|system| system.kind != Kind::NoSkill) {
                @let c = &system.confusion;
                @let rows = [
                    ("no A/H", [c.true_negative, c.false_positive, c.abstained_negative]),
                    ("A/H", [c.false_negative, c.true_positive, c.abstained_positive]),
                ];
                figure {
                    figcaption { (system.name) }
                    table {
                        thead { tr { th { "truth" } th { "No" } th { "Yes" } th { "abstained" } } }
                        tbody {
                            @for ((truth, counts), shares) in rows.into_iter().zip(system.by_row) {
                                tr {
                                    th scope="row" { (truth) }
                                    @for (count, share) in counts.into_iter().zip(shares) {
                                        td style=(format!("background:rgba(var(--heat),{:.2})", 0.55 * share)) {
                                            (count) br; (Cell::Percent(Some(share), None).plain())
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn charts(level: &Level) -> Markup {
    html! {
        div.charts {
            @for metric in [Metric::Accuracy, Metric::MacroF1] {
                figure {
                    figcaption { (metric.heading()) ", videos, abstentions counted as wrong; 95 % intervals" }
                    (PreEscaped(chart::intervals(level, metric)))
                }
            }
            @if let Some(svg) = chart::precision_recall(level) {
                figure {
                    figcaption { "Precision over recall, videos with scores; dashed: chance" }
                    (PreEscaped(svg))
                    p.legend {
                        @for (n, system) in level.systems.iter().enumerate().filter(|(_, system)| !system.curve.is_empty()) {
                            span.key { i style=(format!("background:var(--series-{})", chart::series(n))) {} (system.name) }
                        }
                    }
                }
            }
        }
    }
}
