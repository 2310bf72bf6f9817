//! Cases of several systems to their metrics.

use serde::Serialize;

use crate::bah::metrics::{Abstentions, AveragePrecision, Bootstrap, Case, Confusion, CurvePoint, Intervals, Rates};
use crate::bah::metrics::{average_precision, curve};

/// What a system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One judge of the panel.
    Judge,
    /// The panel by the paper's rule; of clips, by their majority.
    Panel,
    /// The panel by the other rule.
    MaxOfVote,
    /// What knows nothing.
    NoSkill,
}

/// A system's answers to the cases, in the cases' order.
#[derive(Clone, Debug)]
struct Cases {
    name: String,
    kind: Kind,
    all: Vec<Case>,
}

/// All systems on the same cases.
#[derive(Clone, Debug)]
pub(super) struct Systems(Vec<Cases>);

impl Systems {
    pub(super) fn new(judges: &[String], videos: bool) -> Self {
        let system = |name: &str, kind| Cases { name: name.to_owned(), kind, all: Vec::new() };
        let mut systems: Vec<_> = judges.iter().map(|name| system(name, Kind::Judge)).collect();
        if videos {
            systems.push(system("panel (vote_of_max)", Kind::Panel));
            systems.push(system("panel (max_of_vote)", Kind::MaxOfVote));
        } else {
            systems.push(system("panel (majority)", Kind::Panel));
        }
        systems.push(system("always Yes", Kind::NoSkill));
        systems.push(system("always No", Kind::NoSkill));
        Self(systems)
    }

    /// One more case: the judges' answers in panel order, then the panel's.
    pub(super) fn push(&mut self, judges: impl Iterator<Item = Case>, panel: &[Case]) {
        let Some(any) = panel.first() else { return };
        let constant = |answer| Case { answer: Some(answer), score: None, ..*any };
        let cases = judges.chain(panel.iter().copied()).chain([constant(true), constant(false)]);
        for (system, case) in self.0.iter_mut().zip(cases) {
            system.all.push(case);
        }
    }

    pub(super) fn judges(&self) -> Vec<&[Case]> {
        self.0.iter().filter(|system| system.kind == Kind::Judge).map(|system| system.all.as_slice()).collect()
    }

    pub(super) fn panel(&self) -> &[Case] {
        self.0.iter().find(|system| system.kind == Kind::Panel).map_or(&[], |system| &system.all)
    }
}

/// All systems on one kind of case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Level {
    /// Cases.
    pub n: u64,
    /// Those with A/H.
    pub positives: u64,
    /// Participants, whom the intervals draw.
    pub participants: u64,
    /// Judges in panel order, the panel by both rules, the two that know nothing.
    pub systems: Vec<System>,
}

/// One system.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct System {
    /// The judge's name, or what it is.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Counts.
    pub confusion: Confusion,
    /// Rows of the truth (negative, positive), columns of what was said (negative, positive, nothing), each row divided by its sum.
    pub by_row: [[f64; 3]; 2],
    /// Abstentions counted as wrong.
    pub counted_wrong: Measured,
    /// Abstentions left out.
    pub left_out: Measured,
    /// Precision over recall; empty without scores. Of the cases that have one.
    pub curve: Vec<CurvePoint>,
}

impl System {
    /// One of the two measures.
    #[must_use]
    pub const fn measured(&self, abstentions: Abstentions) -> &Measured {
        match abstentions {
            Abstentions::CountedWrong => &self.counted_wrong,
            Abstentions::LeftOut => &self.left_out,
        }
    }
}

/// The metrics of a system.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// None: no case is left.
    pub rates: Option<Rates>,
    /// None: no scores.
    pub average_precision: Option<AveragePrecision>,
    /// 95 % intervals, by metric.
    pub intervals: Intervals,
}

/// Measures systems. `participants` is one more than the greatest participant's number.
pub(super) fn level(systems: &Systems, participants: usize, bootstrap: Bootstrap) -> Level {
    let cases: Vec<&[Case]> = systems.0.iter().map(|system| system.all.as_slice()).collect();
    let intervals = bootstrap.intervals(&cases, participants);
    let mut measured = Vec::new();
    for (system, [wrong, left_out]) in systems.0.iter().zip(intervals) {
        let confusion = Confusion::of(&system.all);
        let measure = |abstentions, intervals| Measured {
            rates: confusion.rates(abstentions),
            average_precision: average_precision(&system.all, abstentions),
            intervals,
        };
        measured.push(System {
            name: system.name.clone(),
            kind: system.kind,
            confusion,
            by_row: confusion.by_row(),
            counted_wrong: measure(Abstentions::CountedWrong, wrong),
            left_out: measure(Abstentions::LeftOut, left_out),
            curve: curve(&system.all),
        });
    }
    let panel = Confusion::of(systems.panel());
    Level {
        n: panel.positives() + panel.negatives(),
        positives: panel.positives(),
        participants: participants as u64,
        systems: measured,
    }
}
