//! What can be said of a session, and in which words.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::{Books, Rule, SessionKind};
use crate::judge::{AbstentionReason, Label, Usage};
use crate::time::MediaTime;

/// The session's label under both rules (rule 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labels {
    /// The majority of the judges' session maxima.
    pub vote_of_max: Label,
    /// The maximum of the windows' majorities. Under early stop never Absent, since not every judge was asked.
    pub max_of_vote: Label,
}

impl Labels {
    /// The one a session goes by.
    #[must_use]
    pub const fn by(self, rule: Rule) -> Label {
        match rule {
            Rule::VoteOfMax => self.vote_of_max,
            Rule::MaxOfVote => self.max_of_vote,
        }
    }
}

/// One judge over a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgeSummary {
    /// Its name.
    pub judge: Arc<str>,
    /// Its session max.
    pub max: Label,
    /// Windows it called Present.
    pub present: u32,
    /// Windows it called Absent.
    pub absent: u32,
    /// Windows it was not asked about, by early stop.
    pub not_asked: u32,
    /// Windows it abstained on, by reason.
    pub abstained: BTreeMap<AbstentionReason, u32>,
    /// How much of the session its own votes cover.
    pub covered: MediaTime,
    /// What asking it took.
    pub usage: Usage,
}

/// Windows by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowCounts {
    /// Labelled Present.
    pub present: u32,
    /// Labelled Absent.
    pub absent: u32,
    /// Judged without a majority.
    pub undecided: u32,
    /// Left out by choice.
    pub skipped: u32,
    /// Left out for want of time.
    pub dropped: u32,
    /// Could not be judged.
    pub lost: u32,
}

impl WindowCounts {
    /// With at least one vote.
    #[must_use]
    pub const fn judged(&self) -> u32 {
        self.present + self.absent + self.undecided
    }
}

/// Episodes of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarms {
    /// Episodes opened.
    pub episodes: u32,
    /// Episode alerts sent; fewer, where the cooldown held some back.
    pub alerts: u32,
}

/// Why a long session's label says little: the running max only ever rises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Saturation {
    /// How many windows the judged time is long, overlap taken out.
    pub windows: u32,
    /// Chance that at least one of them is called Present if [`ASSUMED_FALSE_POSITIVES`] of A/H-free windows are.
    pub chance_of_present: f64,
}

/// The share of windows without A/H called Present that [`Saturation`] reckons with.
pub const ASSUMED_FALSE_POSITIVES: f64 = 0.03;

/// A session is called long once [`Saturation::chance_of_present`] is above this.
const SATURATED: f64 = 0.9;

/// A session's books, so far or at its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Who judged.
    pub kind: SessionKind,
    /// Which rule the session goes by.
    pub rule: Rule,
    /// Whether judges were left out once they had said Present.
    pub early_stop: bool,
    /// Its labels.
    pub labels: Labels,
    /// Its judges, in panel order.
    pub judges: Vec<JudgeSummary>,
    /// How long it is: to the end of what was told so far, or as it was ended.
    pub elapsed: MediaTime,
    /// What became of every part of it. At the session's end the sum is `elapsed`.
    pub coverage: Books,
    /// What became of its windows. Under early stop, labels of windows say little.
    pub windows: WindowCounts,
    /// Episodes and their alerts; None under early stop, which does not report them.
    pub alarms: Option<Alarms>,
    /// Length of its longest judged window.
    pub longest_window: MediaTime,
}

impl Summary {
    /// Judged time over elapsed time without tail; 0 if there is none.
    #[must_use]
    pub fn coverage_ratio(&self) -> f64 {
        let countable = self.elapsed - self.coverage.tail();
        if countable <= MediaTime::ZERO { 0.0 } else { self.coverage.judged().as_secs_f64() / countable.as_secs_f64() }
    }

    /// Episode alerts sent per hour of judged time; None if nothing was judged or episodes are not reported.
    #[must_use]
    pub fn alarms_per_hour(&self) -> Option<f64> {
        let hours = self.coverage.judged().as_secs_f64() / 3600.0;
        self.alarms.filter(|_| hours > 0.0).map(|alarms| f64::from(alarms.alerts) / hours)
    }

    /// A warning where the session is Present under its rule and so long that this was to be expected of any.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "float to int casts saturate")]
    pub fn saturation(&self) -> Option<Saturation> {
        if self.labels.by(self.rule) != Label::Present || self.longest_window <= MediaTime::ZERO {
            return None;
        }
        let windows = self.coverage.judged().as_secs_f64() / self.longest_window.as_secs_f64();
        let windows = windows.ceil() as u32;
        let chance_of_present = 1.0 - (1.0 - ASSUMED_FALSE_POSITIVES).powf(f64::from(windows));
        (chance_of_present > SATURATED).then_some(Saturation { windows, chance_of_present })
    }

    /// One sentence on the session under both rules. Says "no A/H" of judged time only, and of how much.
    #[must_use]
    pub fn verdict(&self) -> String {
        let (judged, elapsed) = (self.coverage.judged(), self.elapsed);
        if judged <= MediaTime::ZERO {
            return format!("Nothing can be said: none of the {} was judged.", secs(elapsed));
        }
        let what = match self.kind {
            SessionKind::Panel => "A/H",
            SessionKind::Heuristic => "hesitation cues",
        };
        let other = match self.rule {
            Rule::VoteOfMax => Rule::MaxOfVote,
            Rule::MaxOfVote => Rule::VoteOfMax,
        };
        let (first, second) = (self.labels.by(self.rule), self.labels.by(other));
        let mut text = capitalised(&phrase(first, what, judged));
        if first == second {
            let _ = write!(text, " (both {} and {other})", self.rule);
        } else {
            let _ = write!(text, " ({}); {} ({other})", self.rule, phrase(second, what, judged));
        }
        let rest = elapsed - judged;
        if rest > MediaTime::ZERO {
            let (judged, elapsed, rest) = (secs(judged), secs(elapsed), secs(rest));
            let _ = write!(text, ". Judged {judged} of {elapsed}; nothing is said of the other {rest}.");
        } else {
            let _ = write!(text, ". All {} were judged.", secs(elapsed));
        }
        text
    }
}

fn phrase(label: Label, what: &str, judged: MediaTime) -> String {
    match label {
        Label::Present => format!("{what} present"),
        Label::Absent => format!("no {what} in the {} judged", secs(judged)),
        Label::Undecided => "undecided".to_owned(),
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Exact to a tenth, rounded down so that parts never add up to more than there is.
fn secs(time: MediaTime) -> String {
    let tenths = time.as_nanos().div_euclid(100_000_000);
    format!("{}.{} s", tenths / 10, tenths % 10)
}
