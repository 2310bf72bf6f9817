//! `ahwatch watch --gate-report`: what each requirement would have skipped of recordings, without asking a judge.

use std::io::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::Exit;
use crate::config::{Config, GateConfig, Input};
use crate::gate::report::Report;

pub(super) fn run(config: &Config, json: bool) -> Exit {
    if let Some(live) = config.sources.iter().find(|source| !matches!(source.input, Input::File(_))) {
        eprintln!("--gate-report reads recordings, and {} is none; record some of it first", live.name);
        return Exit::Refused;
    }
    let mut exit = Exit::Done;
    for source in &config.sources {
        let mut report = Report::default();
        match crate::run::check(source, config, |window, found| report.add(window.span, &found.evidence)) {
            Ok(None) => {}
            Ok(Some(error)) => {
                eprintln!("{error}");
                exit = Exit::Failed;
            }
            Err(error) => {
                eprintln!("{error}");
                return Exit::Refused;
            }
        }
        let text = if json { line(&source.name, &report, &config.gate) } else { table(&source.name, &report) };
        let mut out = std::io::stdout().lock();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            eprintln!("the output was closed before the end");
            return Exit::Failed;
        }
    }
    exit
}

fn table(name: &str, report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).force_no_tty();
    table.set_header(["--gate", "windows skipped", "not known, pass", "time skipped", "share"]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for row in report.rows() {
        table.add_row([
            row.require.as_str().to_owned(),
            row.windows_skipped.to_string(),
            row.windows_unknown.to_string(),
            row.skipped.to_string(),
            format!("{:.1} %", 100.0 * row.share),
        ]);
    }
    format!("{name}: {} windows, {}; nothing was judged\n{table}\n", report.windows(), report.time())
}

/// One recording's report.
#[derive(Serialize)]
struct Line<'a> {
    source: &'a str,
    windows: u32,
    secs: f64,
    thresholds: Thresholds,
    settings: Vec<Setting>,
}

#[derive(Serialize)]
struct Thresholds {
    speech_threshold: f32,
    min_speech_secs: f64,
    face_threshold: f32,
    min_face_pixels: f32,
    min_face_pictures: u32,
}

#[derive(Serialize)]
struct Setting {
    require: &'static str,
    windows_skipped: u32,
    windows_unknown: u32,
    skipped_secs: f64,
    skipped_share: f64,
}

fn line(name: &str, report: &Report, config: &GateConfig) -> String {
    let settings = report.rows().into_iter().map(|row| Setting {
        require: row.require.as_str(),
        windows_skipped: row.windows_skipped,
        windows_unknown: row.windows_unknown,
        skipped_secs: row.skipped.as_secs_f64(),
        skipped_share: row.share,
    });
    let line = Line {
        source: name,
        windows: report.windows(),
        secs: report.time().as_secs_f64(),
        thresholds: Thresholds {
            speech_threshold: config.speech_threshold,
            min_speech_secs: config.min_speech.as_secs_f64(),
            face_threshold: config.face_threshold,
            min_face_pixels: config.min_face_pixels,
            min_face_pictures: config.min_face_pictures,
        },
        settings: settings.collect(),
    };
    serde_json::to_string(&line).unwrap_or_default() + "\n"
}
