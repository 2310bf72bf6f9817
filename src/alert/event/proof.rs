//! What is known of judges, in `data` of sessions' beginnings and of votes.

use schemars::JsonSchema;
use serde::Serialize;

use crate::judge::proof::{Fault, Proof, VoteFlag};

/// What is known of a judge's ears and eyes.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub enum ProofWord {
    /// Its answer depends on every channel it takes.
    #[serde(rename = "proven")]
    Proven,
    /// It could not be found out; its votes are flagged `unproven`.
    #[serde(rename = "unproven")]
    Unproven,
    /// Its answer does not depend on the sound.
    #[serde(rename = "failed: deaf")]
    Deaf,
    /// Its answer does not depend on the pictures.
    #[serde(rename = "failed: blind")]
    Blind,
    /// Its answer does not depend on what sounds after 30 seconds.
    #[serde(rename = "failed: truncates")]
    Truncates,
    /// It answers otherwise than when its fingerprint was saved.
    #[serde(rename = "failed: changed")]
    Changed,
    /// Nobody looked.
    #[serde(rename = "not_checked")]
    NotChecked,
}

impl From<Proof> for ProofWord {
    fn from(proof: Proof) -> Self {
        match proof {
            Proof::NotChecked => Self::NotChecked,
            Proof::Proven => Self::Proven,
            Proof::Unproven => Self::Unproven,
            Proof::Failed(Fault::Deaf) => Self::Deaf,
            Proof::Failed(Fault::Blind) => Self::Blind,
            Proof::Failed(Fault::Truncates) => Self::Truncates,
            Proof::Failed(Fault::Changed) => Self::Changed,
        }
    }
}

/// What to know of a judge before trusting its vote.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FlagWord {
    /// It could not be found out whether it hears and sees.
    Unproven,
    /// It was found deaf, blind or changed, and votes because that was allowed.
    Degraded,
}

impl From<VoteFlag> for FlagWord {
    fn from(flag: VoteFlag) -> Self {
        match flag {
            VoteFlag::Unproven => Self::Unproven,
            VoteFlag::Degraded => Self::Degraded,
        }
    }
}
