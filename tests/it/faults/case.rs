//! A case of the laboratory: its fault, its bounds and what was measured. Kept as a file, whatever becomes of the test.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use comfy_table::{Table, presets};
use serde::{Deserialize, Serialize};

/// The cases, as `docs/reliability.md` lists them. Those of [`APART`] have targets of their own.
const CASES: [&str; 26] = [
    "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14a", "14b", "14c", "14d", "15", "16", "17",
    "18", "19", "20", "21", "22", "23",
];
const APART: [&str; 1] = ["23"];

/// One thing that was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    what: String,
    bound: String,
    measured: String,
    ok: bool,
}

/// A case that runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Case {
    number: String,
    fault: String,
    rows: Vec<Row>,
    /// How long it took.
    secs: f64,
    #[serde(skip)]
    began: Option<Instant>,
    #[serde(skip)]
    over: bool,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("faults")
}

impl Case {
    /// Begins the case of this number.
    ///
    /// # Panics
    /// When there is no case of that number.
    pub fn begin(number: &str, fault: &str) -> Self {
        assert!(CASES.contains(&number), "no case {number}");
        let (number, fault) = (number.to_owned(), fault.to_owned());
        Self { number, fault, rows: Vec::new(), secs: 0.0, began: Some(Instant::now()), over: false }
    }

    /// Something measured, beside its bound in words.
    pub fn row(&mut self, what: &str, bound: &str, measured: &str, ok: bool) {
        println!("  case {:4} {} {what}: {measured} (bound: {bound})", self.number, if ok { "ok   " } else { "WRONG" });
        let [what, bound, measured] = [what, bound, measured].map(str::to_owned);
        self.rows.push(Row { what, bound, measured, ok });
    }

    /// A time that must be at most `bound`.
    pub fn within(&mut self, what: &str, bound: Duration, measured: Duration) {
        self.row(what, &format!("at most {bound:?}"), &format!("{measured:.3?}"), measured <= bound);
    }

    /// A count that must be exactly `bound`.
    pub fn exactly(&mut self, what: &str, bound: u64, measured: u64) {
        self.row(what, &bound.to_string(), &measured.to_string(), measured == bound);
    }

    /// Its end.
    ///
    /// # Panics
    /// When something was not within its bound.
    #[track_caller]
    pub fn end(mut self) {
        self.over = true;
        self.keep();
        let wrong: Vec<&Row> = self.rows.iter().filter(|row| !row.ok).collect();
        assert!(wrong.is_empty(), "case {}: {wrong:#?}", self.number);
    }

    fn keep(&mut self) {
        self.secs = self.began.map_or(0.0, |began| began.elapsed().as_secs_f64());
        let _ = std::fs::create_dir_all(folder());
        // A case may be made of several tests: each has a file.
        let name = std::thread::current().name().unwrap_or("test").replace("::", ".");
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        let _ = std::fs::write(folder().join(format!("{name}.json")), text);
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        if !self.over {
            self.row("the case", "comes to its end", "it ended early; see its test's output", false);
            self.keep();
        }
    }
}

/// Order of the cases in the table.
fn place(number: &str) -> usize {
    CASES.iter().position(|known| *known == number).unwrap_or(usize::MAX)
}

fn kept() -> Vec<Case> {
    let files = std::fs::read_dir(folder()).into_iter().flatten().flatten();
    let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
    let mut cases: Vec<Case> = texts.filter_map(|text| serde_json::from_str(&text).ok()).collect();
    for case in &mut cases {
        case.over = true;
    }
    cases.sort_by(|a, b| (place(&a.number), &a.fault).cmp(&(place(&b.number), &b.fault)));
    cases
}

/// The cases as rows of a page.
fn page(cases: &[Case]) -> String {
    let mut text = "| # | fault | measured | bound | it was | |\n|---|---|---|---|---|---|\n".to_owned();
    let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
    for case in cases {
        for (n, row) in case.rows.iter().enumerate() {
            let (number, fault) = if n == 0 { (case.number.as_str(), cell(&case.fault)) } else { ("", String::new()) };
            let ok = if row.ok { "ok" } else { "**missed**" };
            let [what, bound, measured] = [&row.what, &row.bound, &row.measured].map(|text| cell(text));
            let _ = writeln!(text, "| {number} | {fault} | {what} | {bound} | {measured} | {ok} |");
        }
    }
    text
}

/// A case's rows of a page: the one with its number, and those without any that follow.
fn rows_of(page: &str, number: &str) -> String {
    let lines = page.split_inclusive('\n').skip_while(|line| !line.starts_with(&format!("| {number} |")));
    let rows = lines.enumerate().take_while(|(n, line)| *n == 0 || line.starts_with("|  |"));
    rows.map(|(_, line)| line).collect()
}

const BEGIN: &str = "<!-- scorecard: written by make faults RECORD=1 -->\n";
const END: &str = "<!-- end of the scorecard -->\n";

/// Not a test: prints what the cases left, and fails if one is missing or not within its bound. `make faults` runs it last.
#[test]
#[ignore = "is run by make faults, after the cases"]
fn scorecard() {
    let cases = kept();
    let mut table = Table::new();
    table
        .load_style(presets::ASCII_MARKDOWN)
        .force_no_tty()
        .set_header(["case", "fault", "measured", "bound", "it was", "ok"]);
    for case in &cases {
        for row in &case.rows {
            let ok = if row.ok { "ok" } else { "MISSED" };
            table.add_row([&case.number, &case.fault, &row.what, &row.bound, &row.measured, ok]);
        }
    }
    println!("{table}");
    let mut by_length: Vec<&Case> = cases.iter().collect();
    by_length.sort_by(|a, b| b.secs.total_cmp(&a.secs));
    let longest = by_length.iter().take(8).map(|case| format!("{} ({}) {:.0} s", case.number, case.fault, case.secs));
    let sum: f64 = cases.iter().map(|case| case.secs).sum();
    println!("{sum:.0} s in all; the longest:\n  {}", longest.collect::<Vec<_>>().join("\n  "));
    let ran = |number: &&&str| cases.iter().any(|case| case.number == **number);
    let wanted = CASES.iter().filter(|number| !APART.contains(number));
    let missing: Vec<&&str> = wanted.filter(|number| !ran(number)).collect();
    let wrong = cases.iter().flat_map(|case| &case.rows).filter(|row| !row.ok).count();
    println!("{} cases, {wrong} rows not within their bound; did not run: {missing:?}", CASES.len() - missing.len());
    if std::env::var_os("AHWATCH_RECORD").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reliability.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (before, rest) = text.split_once(BEGIN).expect("the place of the scorecard");
        let (last, after) = rest.split_once(END).expect("the end of the scorecard");
        let kept: String = APART.iter().filter(|number| !ran(number)).map(|number| rows_of(last, number)).collect();
        std::fs::write(path, format!("{before}{BEGIN}{}{kept}{END}{after}", page(&cases))).unwrap();
    }
    assert!(missing.is_empty() && wrong == 0);
}

#[test]
fn a_page_shows_every_row_and_what_was_missed() {
    let mut case = Case::begin("14a", "429 | later");
    case.within("asked again", Duration::from_secs(8), Duration::from_millis(7_250));
    case.exactly("votes", 3, 2);
    case.over = true;
    let text = page(&[case.clone()]);
    assert!(text.contains("| 14a | 429 \\| later | asked again | at most 8s | 7.250s | ok |"), "{text}");
    assert!(text.contains("|  |  | votes | 3 | 2 | **missed** |"), "{text}");
    let mut other = Case::begin("23", "an hour");
    other.exactly("panics", 0, 0);
    other.over = true;
    // What is run apart keeps its rows.
    assert_eq!(rows_of(&page(&[case, other]), "23"), "| 23 | an hour | panics | 0 | 0 | ok |\n");
}
