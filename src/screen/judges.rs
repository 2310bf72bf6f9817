//! What the screen knows of the judges, over all sources.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::source::CELLS;
use super::text::clean;
use crate::alert::{JudgeChange, JudgeState};
use crate::judge::{AbstentionReason, Answer, Vote};

/// What a judge said last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Said {
    /// Present or Absent, with P(Yes) or the cue index where there is one.
    Voted(bool, Option<f64>),
    /// Nothing, and why.
    Abstained(AbstentionReason),
}

/// One judge of the screen.
#[derive(Clone, Debug)]
pub struct Judge {
    name: Arc<str>,
    /// The name for people.
    pub shown: String,
    /// What it said last; None: nothing yet.
    pub last: Option<Said>,
    /// Windows it was asked about.
    pub asked: u64,
    /// Those it abstained on.
    pub abstained: u64,
    /// Why it abstained last, in a sentence where there is one.
    pub why: Option<String>,
    latencies: VecDeque<Duration>,
    change: Option<(JudgeState, String)>,
}

impl Judge {
    /// How it is, in a word or two: as events said, else as its last answer shows.
    #[must_use]
    pub fn health(&self) -> &'static str {
        match (&self.change, self.last) {
            (Some((JudgeState::SetAside, _)), _) | (_, Some(Said::Abstained(AbstentionReason::SetAside))) => {
                "set aside"
            }
            (Some((JudgeState::Failing, _)), _) => "failing",
            (Some((JudgeState::Degraded, _)), None | Some(Said::Voted(..))) => "degraded",
            (Some((JudgeState::Unproven, _)), None | Some(Said::Voted(..))) => "unproven",
            (_, None) => "not heard yet",
            (_, Some(Said::Voted(..))) => "answers",
            (_, Some(Said::Abstained(_))) => "abstained",
        }
    }

    /// Whether it gives votes at present.
    #[must_use]
    pub fn well(&self) -> bool {
        matches!(self.health(), "answers" | "not heard yet")
    }

    /// What is to be said of its abstentions or its health; empty if nothing is.
    #[must_use]
    pub fn remark(&self) -> &str {
        match (&self.change, &self.why) {
            (None | Some((JudgeState::Healthy | JudgeState::Unproven, _)), Some(why)) => why,
            (None | Some((JudgeState::Healthy, _)), None) => "",
            (Some((_, detail)), _) => detail,
        }
    }

    /// The share of windows it was asked about and abstained on; None before the first.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a share for people")]
    pub fn abstentions(&self) -> Option<f64> {
        (self.asked > 0).then(|| self.abstained as f64 / self.asked as f64)
    }

    /// The median time of its last answers, abstentions not counted.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        super::median(self.latencies.iter().copied().collect())
    }

    fn vote(&mut self, vote: &Vote) {
        match &vote.answer {
            Answer::NotAsked => return,
            Answer::Abstained(why) => {
                self.last = Some(Said::Abstained(why.reason));
                self.abstained += 1;
                self.why = Some(match why.detail.as_str() {
                    "" => why.reason.as_str().to_owned(),
                    detail => format!("{}: {}", why.reason.as_str(), clean(detail)),
                });
            }
            Answer::Present | Answer::Absent => {
                let sure = vote.score.map(|score| score.p_yes).or(vote.cues.as_ref().map(|cues| cues.index));
                self.last = Some(Said::Voted(vote.answer == Answer::Present, sure));
                self.latencies.push_back(vote.latency);
                if self.latencies.len() > CELLS {
                    self.latencies.pop_front();
                }
            }
        }
        self.asked += 1;
    }
}

/// All judges that sessions named, in the order of their panel.
#[derive(Clone, Debug, Default)]
pub struct Judges(Vec<Judge>);

impl Judges {
    pub(super) fn new(names: &[Arc<str>]) -> Self {
        let mut judges = Self::default();
        for name in names {
            judges.named(name);
        }
        judges
    }

    /// Each of them.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Judge> {
        self.0.iter()
    }

    pub(super) fn named(&mut self, name: &Arc<str>) -> &mut Judge {
        let at = self.0.iter().position(|judge| judge.name == *name).unwrap_or_else(|| {
            let shown = clean(name);
            let (last, why, latencies, change) = (None, None, VecDeque::new(), None);
            self.0.push(Judge { name: name.clone(), shown, last, asked: 0, abstained: 0, why, latencies, change });
            self.0.len() - 1
        });
        &mut self.0[at]
    }

    pub(super) fn votes(&mut self, votes: &[Vote]) {
        for vote in votes {
            self.named(&vote.judge).vote(vote);
        }
    }

    pub(super) fn changed(&mut self, change: &JudgeChange) {
        self.named(&change.judge).change = Some((change.state, clean(&change.detail)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::proof::{Fault, Proof};

    #[test]
    fn who_votes_although_it_failed_or_was_not_found_out_is_not_called_well() {
        let name: Arc<str> = "v1".into();
        for (state, proof, health) in [
            (JudgeState::Degraded, Proof::Failed(Fault::Deaf), "degraded"),
            (JudgeState::Unproven, Proof::Unproven, "unproven"),
            (JudgeState::SetAside, Proof::Failed(Fault::Blind), "set aside"),
            (JudgeState::Healthy, Proof::Proven, "answers"),
        ] {
            let mut judges = Judges::default();
            judges.changed(&JudgeChange { judge: name.clone(), state, proof, detail: "why".into() });
            judges.votes(&[Vote::new(name.clone(), Answer::Present)]);
            let judge = judges.named(&name);
            assert_eq!((judge.health(), judge.well()), (health, state == JudgeState::Healthy));
            assert_eq!(judge.remark(), if state == JudgeState::Healthy { "" } else { "why" });
        }
    }
}
