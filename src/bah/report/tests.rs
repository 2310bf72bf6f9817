//! Escaping, forms, and that what has to be known stands above the numbers.

use super::table::{Cell, Table};
use super::*;
use crate::bah::metrics::Bootstrap;
use crate::bah::run_dir::Said;
use crate::bah::run_dir::tests::{ended, info, line, write};
use crate::bah::score::{between, score};

#[test]
fn signs_of_the_markup_stay_signs() {
    let mut table = Table::new(["name", "a_b"]);
    table.push([Cell::from("50 % | <b>"), Cell::Percent(Some(0.6057), None)]);
    assert_eq!(table.render(Markup::Markdown), "| name | a\\_b |\n| --- | ---: |\n| 50 % \\| \\<b> | 60.6 |\n");
    let latex = table.render(Markup::Latex);
    assert!(latex.contains("50 \\% | $<$b$>$ & 60.6 \\\\") && latex.contains("a\\_b"), "{latex}");
}

fn runs(dir: &std::path::Path, video: &str) -> Vec<(Scored, crate::bah::run_dir::RunInfo)> {
    let info = info(&[(video, 1), ("p/b.mp4", 0)], &["v1", "v2", "v3"]);
    let mut lines = Vec::new();
    for (judge, said) in [("v1", Said::Present), ("v2", Said::Abstained), ("v3", Said::Absent)] {
        lines.push(line(video, 0, judge, said));
        lines.push(line("p/b.mp4", 0, judge, Said::Absent));
    }
    write(dir, &info, &lines, &[ended(video, 5.0), ended("p/b.mp4", 5.0)]);
    let run = crate::bah::run_dir::Run::open(dir).unwrap();
    vec![(score(&run, Bootstrap { draws: 20, seed: 1 }), run.info)]
}

#[test]
fn a_page_is_whole_and_shows_names_as_text() {
    let dir = tempfile::tempdir().unwrap();
    let runs = runs(dir.path(), "p/<script>alert(1)<&.mp4");
    let page = html(&runs, &[]);
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"));
    assert!(!page.contains("<script>") && page.contains("&lt;script&gt;alert(1)&lt;&amp;.mp4"));
    for away in ["http://", "https://", "src=", "url(", "@import"] {
        let found: Vec<_> = page.match_indices(away).map(|(at, _)| &page[at..(at + 40).min(page.len())]).collect();
        // The name of SVG itself is no address that is read.
        assert!(found.iter().all(|text| text.starts_with("http://www.w3.org/2000/svg")), "{found:?}");
    }
    assert!(page.contains("var(--ink)") && !page.contains("<!-- no drawing"), "curves take the page's colours");
    let (findings, numbers) = (page.find("class=\"findings\"").unwrap(), page.find("<table>").unwrap());
    assert!(findings < numbers);
}

#[test]
fn every_form_says_the_same_of_abstentions() {
    let dir = tempfile::tempdir().unwrap();
    let runs = runs(dir.path(), "p/a.mp4");
    let scores: Vec<Scored> = runs.iter().map(|(scored, _)| scored.clone()).collect();
    let both = [scores[0].clone(), scores[0].clone()];
    for (markup, words) in [
        (Markup::Text, ["WARNING: the panel is undecided about 1 of 2 videos", "abstentions left out"]),
        (Markup::Markdown, ["- **WARNING**: the panel is undecided", "## Video level: abstentions counted as wrong"]),
        (
            Markup::Latex,
            ["\\textbf{WARNING}: the panel is undecided", "\\subsection*{Video level: abstentions left out}"],
        ),
    ] {
        let text = tables(&scores, &between(&both), markup);
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        assert!(text.contains("447") && text.contains("85.1"), "the paper's table");
    }
    let csv = csv(&scores).unwrap();
    let row =
        |wanted: &str| csv.lines().find(|line| line.contains(wanted)).unwrap_or_else(|| panic!("{wanted}\n{csv}"));
    assert!(row("video,panel (vote_of_max),counted_wrong,accuracy").contains(",0.5,"));
    assert!(row("video,panel (vote_of_max),left_out,accuracy").ends_with(",1,"));
    let same = csv.lines().all(|line| line.split(',').count() == csv.lines().next().unwrap().split(',').count());
    assert!(same, "{csv}");
}
