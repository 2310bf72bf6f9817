//! What a session begins with and keeps.

use std::fmt;
use std::sync::Arc;

use crate::judge::proof::Proof;
use crate::judge::{Answer, Outcome, Vote};
use crate::time::MediaTime;

/// How window votes become the session's label (rule 4). Both are always computed; this says which one alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The majority of the judges' session maxima: the paper's Eq. 2 then Eq. 3.
    #[default]
    VoteOfMax,
    /// The maximum of the windows' majorities.
    MaxOfVote,
}

impl Rule {
    /// The word of configuration and wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VoteOfMax => "vote_of_max",
            Self::MaxOfVote => "max_of_vote",
        }
    }
}

/// Who judges, which decides what may be said of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SessionKind {
    /// A panel of fine-tuned models: speaks of A/H.
    #[default]
    Panel,
    /// The embedded hesitation-cue index: uncalibrated, speaks of hesitation cues and never of A/H.
    Heuristic,
}

impl SessionKind {
    /// The word of the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Panel => "panel",
            Self::Heuristic => "heuristic",
        }
    }
}

/// The panel, rule and thresholds of a session. They do not change while it lasts.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionSettings {
    /// Names of the panel's judges, in panel order; odd in number, no two alike.
    pub judges: Vec<Arc<str>>,
    /// Per judge, its threshold on P(Yes); None where its text decides. Empty: no judge has one. Only reported, since
    /// votes arrive decided.
    pub thresholds: Vec<Option<f64>>,
    /// Per judge, what was known of its ears and eyes when the session began. Empty: no judge has any. Only reported.
    pub proofs: Vec<Proof>,
    /// Which rule alerts.
    pub rule: Rule,
    /// Whether a judge whose session max is Present is left out from then on (rule 10).
    pub early_stop: bool,
    /// Share of the session without tail that must be covered before anything is called Absent.
    pub min_coverage: f64,
    /// Present windows in a row that open an episode.
    pub open_windows: u32,
    /// Absent windows that close it.
    pub clear_windows: u32,
    /// No episode alert within this of the last one sent, in session time.
    pub cooldown: MediaTime,
    /// Who judges.
    pub kind: SessionKind,
}

impl Default for SessionSettings {
    /// The defaults of design rules 4, 9 and 10, and no judge.
    fn default() -> Self {
        Self {
            judges: Vec::new(),
            thresholds: Vec::new(),
            proofs: Vec::new(),
            rule: Rule::default(),
            early_stop: false,
            min_coverage: 0.8,
            open_windows: 1,
            clear_windows: 2,
            cooldown: MediaTime::from_millis(60_000),
            kind: SessionKind::default(),
        }
    }
}

impl SessionSettings {
    /// What comes of a window that no judge was asked about (early stop).
    #[must_use]
    pub fn unasked(&self) -> Outcome {
        Outcome::Votes(self.judges.iter().map(|judge| Vote::new(Arc::clone(judge), Answer::NotAsked)).collect())
    }

    /// The same, of a session that begins with this known of its judges.
    #[must_use]
    pub fn with_proofs(&self, proofs: Vec<Proof>) -> Self {
        Self { proofs, ..self.clone() }
    }

    /// Everything that is wrong with these settings; a session begun with such settings still keeps its books.
    #[must_use]
    pub fn problems(&self) -> Vec<SettingsProblem> {
        let mut problems = Vec::new();
        if self.judges.len().is_multiple_of(2) {
            problems.push(SettingsProblem::EvenPanel(self.judges.len()));
        }
        for (n, judge) in self.judges.iter().enumerate() {
            if self.judges[..n].contains(judge) {
                problems.push(SettingsProblem::RepeatedJudge(judge.clone()));
            }
        }
        if self.early_stop && self.rule == Rule::MaxOfVote {
            problems.push(SettingsProblem::EarlyStopWithMaxOfVote);
        }
        if !(0.0..=1.0).contains(&self.min_coverage) {
            problems.push(SettingsProblem::MinCoverage(self.min_coverage));
        }
        if self.open_windows == 0 || self.clear_windows == 0 {
            problems.push(SettingsProblem::ZeroWindows);
        }
        if self.cooldown < MediaTime::ZERO {
            problems.push(SettingsProblem::NegativeCooldown);
        }
        problems
    }
}

/// Something wrong with [`SessionSettings`], in words for who wrote them.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SettingsProblem {
    /// An even panel can be split.
    #[error("a panel needs an odd number of judges, this one has {0}")]
    EvenPanel(usize),
    /// Votes are counted by name.
    #[error("two judges are named {0:?}")]
    RepeatedJudge(Arc<str>),
    /// Early stop keeps `vote_of_max` only.
    #[error("early_stop cannot go with rule = \"max_of_vote\": it would change the label")]
    EarlyStopWithMaxOfVote,
    /// Not a share.
    #[error("min_coverage must be between 0 and 1, not {0}")]
    MinCoverage(f64),
    /// Nothing opens or closes on zero windows.
    #[error("open_windows and clear_windows must be at least 1")]
    ZeroWindows,
    /// Time does not run backwards.
    #[error("cooldown_secs must not be negative")]
    NegativeCooldown,
}

/// As in the configuration: `vote_of_max`, `max_of_vote`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(judges: &[&str]) -> SessionSettings {
        SessionSettings { judges: judges.iter().map(|j| (*j).into()).collect(), ..SessionSettings::default() }
    }

    #[test]
    fn defaults_with_an_odd_panel_have_no_problem() {
        assert_eq!(panel(&["v1", "v2", "v3"]).problems(), []);
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let settings = SessionSettings {
            rule: Rule::MaxOfVote,
            early_stop: true,
            min_coverage: 1.5,
            clear_windows: 0,
            cooldown: MediaTime::from_nanos(-1),
            ..panel(&["v1", "v1"])
        };
        assert_eq!(
            settings.problems(),
            [
                SettingsProblem::EvenPanel(2),
                SettingsProblem::RepeatedJudge("v1".into()),
                SettingsProblem::EarlyStopWithMaxOfVote,
                SettingsProblem::MinCoverage(1.5),
                SettingsProblem::ZeroWindows,
                SettingsProblem::NegativeCooldown,
            ]
        );
    }
}
