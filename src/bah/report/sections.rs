//! Which tables there are, in which order.

use std::fmt::Write as _;

use super::Markup;
use super::table::{Cell, Table, latex, markdown};
use crate::bah::import::Released;
use crate::bah::metrics::{Abstentions, Metric};
use crate::bah::protocol::{Finding, PAPER_TABLE, PAPER_TEST, Severity};
use crate::bah::score::{Between, Group, Kind, Level, Scored, System};

/// A heading, what is to be known of it, and its tables.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// How deep the heading is: 1 or 2.
    pub depth: usize,
    /// The heading.
    pub title: String,
    /// Paragraphs before the tables.
    pub notes: Vec<String>,
    /// What the protocol check found; only of a run's first section.
    pub findings: Vec<Finding>,
    /// Tables.
    pub tables: Vec<Table>,
}

impl Section {
    fn new(depth: usize, title: impl Into<String>) -> Self {
        Self { depth, title: title.into(), notes: Vec::new(), findings: Vec::new(), tables: Vec::new() }
    }

    fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    fn table(mut self, table: Table) -> Self {
        self.tables.push(table);
        self
    }

    /// In one of the forms.
    #[must_use]
    pub fn render(&self, markup: Markup) -> String {
        let (title, depth) = (&self.title, self.depth);
        let mut text = match markup {
            Markup::Text if depth == 1 => format!("{title}\n{}\n", "=".repeat(title.chars().count())),
            Markup::Text => format!("\n{title}\n{}\n", "-".repeat(title.chars().count())),
            Markup::Markdown => format!("{} {}\n\n", "#".repeat(depth), markdown(title)),
            Markup::Latex => format!("\\{}section*{{{}}}\n", if depth == 1 { "" } else { "sub" }, latex(title)),
        };
        for finding in &self.findings {
            let (word, message) = (finding.severity.as_str().to_uppercase(), &finding.message);
            let _ = match markup {
                Markup::Text => writeln!(text, "{word}: {message}"),
                Markup::Markdown => writeln!(text, "- **{word}**: {}", markdown(message)),
                Markup::Latex => writeln!(text, "\\textbf{{{word}}}: {}\\\\", latex(message)),
            };
        }
        if !self.findings.is_empty() {
            text.push('\n');
        }
        for note in &self.notes {
            let _ = match markup {
                Markup::Text => writeln!(text, "{note}"),
                Markup::Markdown => writeln!(text, "{}\n", markdown(note)),
                Markup::Latex => writeln!(text, "{}\n", latex(note)),
            };
        }
        for table in &self.tables {
            text += &table.render(markup);
            text.push('\n');
        }
        text
    }
}

/// Everything about a run.
#[must_use]
pub fn sections(scored: &Scored) -> Vec<Section> {
    let mut all = vec![head(scored)];
    all.push(side_by_side(scored));
    all.extend(scored.released.as_ref().map(released));
    all.extend(level("Video level", &scored.video));
    if let Some(clip) = &scored.clip {
        let mut sections = level("Clip level, truth by annotated intervals", clip);
        if scored.clips_without_truth > 0
            && let Some(first) = sections.first_mut()
        {
            first.notes.push(format!(
                "{} clips of positive videos without a usable interval are not in here.",
                scored.clips_without_truth
            ));
        }
        all.extend(sections);
    }
    if let Some(clip) = &scored.clip_video_truth {
        all.extend(level("Clip level, truth by the video's label (as the released scripts)", clip));
    }
    all.push(judges(scored));
    all.push(agreement(scored));
    all.push(breakdown(scored));
    all.push(time(scored));
    all
}

fn head(scored: &Scored) -> Section {
    let dataset = &scored.dataset;
    let mut section = Section::new(1, format!("Run {}", scored.run));
    section.findings.clone_from(&scored.findings);
    let part = match scored.limit {
        Some(limit) => format!(" (--limit {limit}: {} of {} videos)", scored.video.n, dataset.videos_in_split),
        None => String::new(),
    };
    section.notes.push(format!(
        "{} videos of {}{part}, {} of them with A/H, {} participants. Release: {}. ahwatch {}.",
        scored.video.n,
        dataset.split,
        scored.video.positives,
        scored.video.participants,
        dataset.release.as_deref().unwrap_or("not known"),
        scored.ahwatch,
    ));
    let draws = scored.bootstrap.draws;
    if draws > 0 {
        section.notes.push(format!(
            "Per cent. In brackets: 95 % intervals of {draws} bootstrap draws over participants (seed {}).",
            scored.bootstrap.seed
        ));
    } else {
        section.notes.push("Per cent.".into());
    }
    if !scored.findings.iter().any(|finding| finding.severity == Severity::Failure) {
        return section;
    }
    section.note("There are failures above: these numbers are not the split's.")
}

/// The paper's table and this run's, the judges of a panel of three matched by their order.
fn side_by_side(scored: &Scored) -> Section {
    let systems = &scored.video.systems;
    let mut ours: Vec<Option<&System>> = vec![None; PAPER_TABLE.len()];
    if scored.panel.len() + 1 == PAPER_TABLE.len() {
        ours = systems.iter().filter(|system| system.kind == Kind::Judge).map(Some).collect();
        ours.push(None);
    }
    let panel = systems.iter().find(|system| system.kind == Kind::Panel);
    if let Some(last) = ours.last_mut() {
        *last = panel;
    }
    ours.push(systems.iter().find(|system| system.kind == Kind::NoSkill));
    let all = u32::try_from(PAPER_TEST.0).unwrap_or_default();
    let positive = u32::try_from(PAPER_TEST.1).unwrap_or_default();
    let rows = PAPER_TABLE.into_iter().chain([("(always Yes)", positive)]);
    let mut table =
        Table::new(["paper", "right", "of", "accuracy", "this run", "right", "of", "accuracy", "difference"]);
    for ((name, right), system) in rows.zip(ours) {
        let paper = f64::from(right) / f64::from(all);
        let measured = system.map(|system| &system.counted_wrong);
        let accuracy = measured.and_then(|measured| measured.rates).map(|rates| rates.accuracy);
        let interval = measured.and_then(|measured| measured.intervals.get(&Metric::Accuracy)).copied();
        let count =
            |count: &dyn Fn(&System) -> u64| system.map_or(Cell::Number(None, 0), |system| count(system).into());
        table.push([
            Cell::from(name),
            u64::from(right).into(),
            u64::from(all).into(),
            Cell::Percent(Some(paper), None),
            system.map_or("–", |system| &system.name).into(),
            count(&|system| system.confusion.true_positive + system.confusion.true_negative),
            count(&|system| system.confusion.positives() + system.confusion.negatives()),
            Cell::Percent(accuracy, interval),
            Cell::Percent(accuracy.map(|accuracy| accuracy - paper), None),
        ]);
    }
    Section::new(2, "Beside the paper's Table II (video level, accuracy; abstentions counted as wrong)")
        .note("Judges are matched to the paper's checkpoints by their order in a panel of three. Another split or panel is another experiment.")
        .table(table)
}

fn level(title: &str, level: &Level) -> Vec<Section> {
    let abstained = level.systems.iter().any(|system| system.confusion.abstained() > 0);
    let mut sections = Vec::new();
    for abstentions in Abstentions::ALL {
        if abstentions == Abstentions::LeftOut && !abstained {
            continue;
        }
        let mut section = Section::new(2, format!("{title}: abstentions {}", abstentions.as_str()));
        if !abstained {
            section =
                Section::new(2, title).note("Nobody abstained, so that both ways to count abstentions are the same.");
        }
        section.notes.push(format!("{} cases, {} with A/H.", level.n, level.positives));
        let mut head = vec!["", "n", "abstained"];
        head.extend(Metric::ALL.iter().map(|metric| metric.heading()));
        let mut table = Table::new(head);
        for system in &level.systems {
            let measured = system.measured(abstentions);
            let n = measured.rates.map_or(0, |rates| rates.n);
            let mut row = vec![Cell::from(system.name.as_str()), n.into(), system.confusion.abstained().into()];
            for metric in Metric::ALL {
                let value = metric.value(measured.rates.as_ref(), measured.average_precision.as_ref());
                // The others have theirs in JSON and CSV; here the lines would be too long.
                let shown = matches!(metric, Metric::Accuracy | Metric::MacroF1 | Metric::ApBah);
                let interval =
                    measured.intervals.get(&metric).copied().filter(|_| shown && system.kind != Kind::NoSkill);
                row.push(Cell::Percent(value, interval));
            }
            table.push(row);
        }
        sections.push(section.table(table));
    }
    if let Some(last) = sections.last_mut() {
        last.tables.push(confusion(level));
    }
    sections
}

/// The released scripts' numbers of the same files, and what changes without their mistakes.
fn released(released: &Released) -> Section {
    let mut table =
        Table::new(["", "videos as released", "accuracy", "F1", "videos", "accuracy corrected", "F1 corrected"]);
    for row in &released.rows {
        let (old, new) = (row.released, row.corrected);
        table.push([
            Cell::from(row.name.as_str()),
            row.videos.into(),
            Cell::Percent(old.map(|rates| rates.accuracy), None),
            Cell::Percent(old.map(|rates| rates.f1), None),
            new.map_or(0, |rates| rates.n).into(),
            Cell::Percent(new.map(|rates| rates.accuracy), None),
            Cell::Percent(new.map(|rates| rates.f1), None),
        ]);
    }
    let mut section = Section::new(2, "As the released scripts count, and without their mistakes").note(
        "As released, an answer that cannot be read is \"No\" for its video, and the vote leaves out videos that a file lacks. \
         Corrected, it is an abstention, every video counts, and an undecided one counts as wrong.",
    );
    if !released.left_out_of_the_vote.is_empty() {
        let n = released.left_out_of_the_vote.len();
        section.notes.push(format!("{n} videos are not in every file, and so not in the released vote."));
    }
    section.tables.push(table);
    let mut changed = Table::new(["video whose label changes", "by", "as released", "corrected"]);
    let word = |label: Option<bool>, none: &str| match label {
        Some(true) => "Yes".to_owned(),
        Some(false) => "No".to_owned(),
        None => none.to_owned(),
    };
    for row in &released.changed {
        let (old, new) = (word(row.released, "left out"), word(row.corrected, "undecided"));
        changed.push([Cell::from(row.video.as_str()), row.name.as_str().into(), old.into(), new.into()]);
    }
    if changed.rows.is_empty() {
        return section.note("No video's label changes.");
    }
    section.table(changed)
}

/// Counts, and each row divided by its sum.
fn confusion(level: &Level) -> Table {
    let mut table =
        Table::new(["confusion", "truth", "said No", "said Yes", "abstained", "No %", "Yes %", "abstained %"]);
    for system in level.systems.iter().filter(|system| system.kind != Kind::NoSkill) {
        let c = &system.confusion;
        let counts = [
            [c.true_negative, c.false_positive, c.abstained_negative],
            [c.false_negative, c.true_positive, c.abstained_positive],
        ];
        for ((truth, counts), shares) in ["No", "Yes"].into_iter().zip(counts).zip(system.by_row) {
            let row = [Cell::from(system.name.as_str()), truth.into()].into_iter();
            let shares = shares.map(|share| Cell::Percent(Some(share), None));
            table.push(row.chain(counts.map(Cell::Count)).chain(shares));
        }
    }
    table
}

fn judges(scored: &Scored) -> Section {
    let mut table = Table::new(["judge", "model", "Present", "Absent", "abstained", "why", "not asked", "requests"]);
    for (books, judge) in scored.judges.iter().zip(&scored.panel) {
        let why: Vec<_> = books.abstained.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
        table.push([
            Cell::from(books.judge.as_str()),
            judge.model.as_str().into(),
            books.present.into(),
            books.absent.into(),
            books.abstained.values().sum::<u64>().into(),
            why.join(", ").into(),
            books.not_asked.into(),
            books.requests.into(),
        ]);
    }
    let mut section = Section::new(2, "Judges, in clips");
    if scored.early_stop {
        let saved: u64 = scored.judges.iter().map(|judge| judge.not_asked).sum();
        let asked: u64 = scored.judges.iter().map(|j| j.present + j.absent + j.abstained.values().sum::<u64>()).sum();
        section.notes.push(format!("Early stop saved {saved} of {} calls.", saved + asked));
    }
    section.table(table)
}

fn agreement(scored: &Scored) -> Section {
    let mut table = Table::new([
        "first",
        "second",
        "both answered",
        "agree",
        "kappa",
        "only first right",
        "only second right",
        "p",
    ]);
    for row in &scored.pairs {
        table.push([
            Cell::from(row.first.as_str()),
            row.second.as_str().into(),
            row.pair.both_answered.into(),
            Cell::Percent(row.pair.agreement, None),
            Cell::Number(row.pair.kappa, 3),
            row.mcnemar.only_first.into(),
            row.mcnemar.only_second.into(),
            Cell::P(row.mcnemar.p),
        ]);
    }
    let mut section = Section::new(2, "Agreement of the judges, in videos (p: McNemar's exact test)");
    let vote = &scored.vote;
    let mut gain = Table::new(["accuracy of", "%"]);
    gain.push([Cell::from("the best judge"), Cell::Percent(vote.best_judge, None)]);
    gain.push([Cell::from("the vote"), Cell::Percent(vote.accuracy, None)]);
    gain.push([
        Cell::from("a vote of judges as good, with independent errors"),
        Cell::Percent(vote.independent.map(|independent| independent.accuracy), None),
    ]);
    gain.push([
        Cell::from("the same, independent within each class"),
        Cell::Percent(vote.independent.map(|independent| independent.accuracy_by_class), None),
    ]);
    if !table.rows.is_empty() {
        section.tables.push(table);
    }
    section.table(gain)
}

/// The rows of one breakdown.
pub(super) fn groups<'a>(groups: impl Iterator<Item = &'a Group>) -> Table {
    let mut table = Table::new(["", "videos", "with A/H", "abstained", "accuracy", "F1", "macro-F1"]);
    for group in groups {
        let rates = group.counted_wrong;
        table.push([
            Cell::from(format!("{} {}", group.by.replace('_', " "), group.value)),
            (group.confusion.positives() + group.confusion.negatives()).into(),
            group.confusion.positives().into(),
            group.confusion.abstained().into(),
            Cell::Percent(rates.map(|r| r.accuracy), None),
            Cell::Percent(rates.map(|r| r.f1), None),
            Cell::Percent(rates.map(|r| r.macro_f1), None),
        ]);
    }
    table
}

fn breakdown(scored: &Scored) -> Section {
    Section::new(2, "The panel (vote_of_max) by question, gender and age group")
        .note(
            "Abstentions counted as wrong. Small groups say little; participants are in the HTML report, JSON and CSV.",
        )
        .table(groups(scored.breakdown.iter().filter(|group| group.by != "participant")))
}

fn time(scored: &Scored) -> Section {
    let mut table = Table::new(["time", "seconds"]);
    table.push([Cell::from("all videos"), Cell::Number(Some(scored.time.elapsed_secs), 1)]);
    table.push([Cell::from("judged"), Cell::Number(Some(scored.time.judged_secs), 1)]);
    for (reason, secs) in &scored.time.unjudged_secs {
        table.push([Cell::from(format!("not judged: {reason}")), Cell::Number(Some(*secs), 1)]);
    }
    Section::new(2, "Time").table(table)
}

/// Runs beside each other.
pub(super) fn comparison(between: &[Between]) -> Option<Section> {
    let mut table =
        Table::new(["first", "second", "videos", "agree", "kappa", "only first right", "only second right", "p", ""]);
    for row in between {
        let pair = row.pair;
        table.push([
            Cell::from(row.first.as_str()),
            row.second.as_str().into(),
            row.videos.into(),
            Cell::Percent(pair.and_then(|pair| pair.agreement), None),
            Cell::Number(pair.and_then(|pair| pair.kappa), 3),
            row.mcnemar.map_or(Cell::Number(None, 0), |test| test.only_first.into()),
            row.mcnemar.map_or(Cell::Number(None, 0), |test| test.only_second.into()),
            row.mcnemar.map_or(Cell::Number(None, 0), |test| Cell::P(test.p)),
            row.refused.as_ref().map_or(Cell::from(""), |why| format!("not compared: {why}").into()),
        ]);
    }
    (!between.is_empty()).then(|| Section::new(1, "Runs beside each other (vote_of_max, videos)").table(table))
}
