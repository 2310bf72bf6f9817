//! The checks as a table for people, or as JSON lines.

use comfy_table::{Table, presets};
use serde::Serialize;

use super::{Check, Status};

/// A check as it is printed with `--json`.
#[derive(Serialize)]
struct Line<'a> {
    group: &'a str,
    check: &'a str,
    status: &'static str,
    finding: &'a str,
    remedy: Option<&'a str>,
}

/// One JSON object a line.
#[must_use]
pub fn lines(checks: &[Check]) -> String {
    let line = |check: &Check| {
        let line = Line {
            group: &check.group,
            check: &check.what,
            status: check.status.as_str(),
            finding: &check.finding,
            remedy: check.remedy.as_deref(),
        };
        // Text always serialises.
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    };
    checks.iter().map(line).collect()
}

/// A row for each check, and what it comes to. `width` is the terminal's, if it is one.
#[must_use]
pub fn table(checks: &[Check], width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).force_no_tty().set_header(["", "check", "result", "finding"]);
    if let Some(width) = width {
        table.set_width(width).set_content_arrangement(comfy_table::ContentArrangement::Dynamic);
    }
    let mut group = "";
    for check in checks {
        let shown = if check.group == group { "" } else { check.group.as_str() };
        group = &check.group;
        let finding = match &check.remedy {
            Some(remedy) => format!("{}\n\u{2192} {remedy}", check.finding),
            None => check.finding.clone(),
        };
        table.add_row([shown, &check.what, check.status.as_str(), &printable(&finding)]);
    }
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let (failed, warnings) = (count(Status::Failed), count(Status::Warning));
    format!("{table}\n{} checks: {failed} failed, {warnings} with a warning\n", checks.len())
}

/// Text from servers, without what could move a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_was_found_and_what_to_do() {
        let checks = [
            Check::ok("GStreamer", "version", "1.22.0"),
            Check::warning("GStreamer", "x264enc", "missing", "apt-get install gstreamer1.0-plugins-ugly"),
            Check::failed("judge v1", "reachable", "cannot connect\u{1b}[2J to h:443", "start the server"),
        ];
        insta::assert_snapshot!(table(&checks, None) + &table(&checks, Some(60)) + &lines(&checks));
    }
}
