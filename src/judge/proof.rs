//! Whether a judge was seen to hear and see, and what follows from it.
//!
//! A server may take a clip and leave a part of it out: an unknown part of a message is dropped in silence, sound is cut at
//! 30 seconds. Its answers look like any others. [`canary`](super::canary) finds out; this is what it comes to.

use std::fmt;

/// What is known of a judge's ears and eyes. Of several replicas the worst counts, which is the greatest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proof {
    /// Nobody looked (`--no-canary`).
    #[default]
    NotChecked,
    /// Its answer depends on every channel it takes.
    Proven,
    /// It could not be found out: its server tells no log-probabilities of the labels, or did not answer. It votes, flagged.
    Unproven,
    /// It was found out. It is set aside, unless degraded judges are allowed.
    Failed(Fault),
}

/// What is wrong with a judge; the worst last, so that the greatest of several is the one to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// It answers the built-in clips otherwise than when its fingerprint was saved.
    Changed,
    /// Its answer does not depend on what sounds after 30 seconds.
    Truncates,
    /// Its answer does not depend on the pictures.
    Blind,
    /// Its answer does not depend on the sound.
    Deaf,
}

impl Proof {
    /// The word of the wire: `proven`, `unproven`, `failed: deaf`, `not_checked`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotChecked => "not_checked",
            Self::Proven => "proven",
            Self::Unproven => "unproven",
            Self::Failed(Fault::Deaf) => "failed: deaf",
            Self::Failed(Fault::Blind) => "failed: blind",
            Self::Failed(Fault::Truncates) => "failed: truncates",
            Self::Failed(Fault::Changed) => "failed: changed",
        }
    }

    /// What stands beside each vote of such a judge, if it votes.
    #[must_use]
    pub const fn flag(self) -> Option<VoteFlag> {
        match self {
            Self::Proven | Self::NotChecked => None,
            Self::Unproven => Some(VoteFlag::Unproven),
            Self::Failed(_) => Some(VoteFlag::Degraded),
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What to know before trusting a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VoteFlag {
    /// The judge is [`Proof::Unproven`].
    Unproven,
    /// The judge failed, and votes because degraded judges are allowed.
    Degraded,
}

impl VoteFlag {
    /// The word of the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::Degraded => "degraded",
        }
    }

    /// The flag of this word of the wire, if there is one.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Unproven, Self::Degraded].into_iter().find(|flag| flag.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_judge_is_as_good_as_its_worst_replica() {
        use Fault::{Blind, Deaf};
        let all = [Proof::NotChecked, Proof::Proven, Proof::Unproven, Proof::Failed(Blind), Proof::Failed(Deaf)];
        for (n, worse) in all.iter().enumerate() {
            for better in &all[..=n] {
                assert_eq!((*worse.max(better), *better.max(worse)), (*worse, *worse));
            }
        }
    }
}
