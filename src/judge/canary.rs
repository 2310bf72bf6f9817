//! Does a judge hear and see? It is asked about pairs of built-in clips that differ in one channel only. Pure.
//!
//! | pair | differs in | a judge that answers both alike |
//! |---|---|---|
//! | [`Pair::Sound`] | silence, or speech | is deaf |
//! | [`Pair::Pictures`] | one picture ten times, or ten of a moving camera | is blind |
//! | [`Pair::LongSound`] | 35 s of sound, silent but for speech after second 30, or altogether | truncates |
//!
//! Not the answers are compared, which are mostly equal, but the log-probabilities of the two labels where they part. Each
//! clip is asked about [`REPEATS`] times, and the pair must differ by more than the repeats of either clip do. What counts is
//! the log-odds; a server computes logits in 16 bits, so two log-odds may be equal by rounding, and then either label's own
//! log-probability, which has the whole vocabulary in it, counts as well. Necessary besides: where a server counts tokens by
//! channel, those of the channel are not none.
//!
//! - `clips`: the built-in clips. `reply`: what a server's answer to a canary request holds.

mod clips;
mod reply;

use std::collections::BTreeMap;
use std::fmt;

use super::prompt::Accepts;
use super::proof::{Fault, Proof};

pub use clips::{Clips, hash};
pub(super) use reply::read;

/// How often each clip is asked about.
pub const REPEATS: usize = 5;
/// A difference of log-probabilities up to this is arithmetic. Servers print 32-bit numbers near -10, whose step is 1e-6;
/// the same input computed in another order stays below 1e-4 there, and another input moves 16-bit logits by more.
pub const FLOOR: f64 = 1e-4;
/// Sound of 35 s has 7 times the tokens of 5 s, cut at 30 s only 6 times.
const LEAST_GROWTH: f64 = 6.5;

/// The built-in clips.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CanaryClip {
    /// Ten times the same picture, 5 s of silence.
    Still,
    /// The same with speech.
    Speech,
    /// Ten pictures of a moving camera, 5 s of silence.
    Moving,
    /// The still picture, 35 s of silence.
    Long,
    /// The same with speech after second 30.
    LongSpeech,
}

impl CanaryClip {
    /// As fingerprints call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Still => "still",
            Self::Speech => "speech",
            Self::Moving => "moving",
            Self::Long => "long",
            Self::LongSpeech => "long_speech",
        }
    }

    /// Every clip that a judge of these channels is asked about.
    #[must_use]
    pub fn of(accepts: Accepts) -> Vec<Self> {
        let mut all: Vec<Self> = Pair::of(accepts).iter().flat_map(|pair| <[Self; 2]>::from(pair.clips())).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Two clips that differ in one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pair {
    /// Silence, or speech.
    Sound,
    /// A still picture, or a moving one.
    Pictures,
    /// 35 s of sound without or with speech at its end.
    LongSound,
}

impl Pair {
    /// The pairs of a judge that takes these channels.
    #[must_use]
    pub fn of(accepts: Accepts) -> Vec<Self> {
        let sound = accepts.audio.then_some([Self::Sound, Self::LongSound]);
        let mut pairs: Vec<Self> = sound.into_iter().flatten().chain(accepts.video.then_some(Self::Pictures)).collect();
        pairs.sort_unstable();
        pairs
    }

    /// Its two clips.
    #[must_use]
    pub const fn clips(self) -> (CanaryClip, CanaryClip) {
        match self {
            Self::Sound => (CanaryClip::Still, CanaryClip::Speech),
            Self::Pictures => (CanaryClip::Still, CanaryClip::Moving),
            Self::LongSound => (CanaryClip::Long, CanaryClip::LongSpeech),
        }
    }

    /// The channel in words.
    #[must_use]
    pub const fn channel(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::Pictures => "pictures",
            Self::LongSound => "sound after 30 s",
        }
    }

    const fn fault(self) -> Fault {
        match self {
            Self::Sound => Fault::Deaf,
            Self::Pictures => Fault::Blind,
            Self::LongSound => Fault::Truncates,
        }
    }
}

/// Natural log-probabilities of the two labels at the token that decides between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LabelLogprobs {
    /// Of the token that leads to Yes.
    pub yes: f64,
    /// Of the token that leads to No.
    pub no: f64,
}

impl LabelLogprobs {
    /// Natural log of the odds of Yes against No.
    #[must_use]
    pub fn log_odds(self) -> f64 {
        self.yes - self.no
    }
}

/// Counted that a server counted in a prompt; None: not told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// All of them.
    pub prompt: Option<u32>,
    /// Those of the sound.
    pub audio: Option<u32>,
    /// Those of the pictures.
    pub video: Option<u32>,
}

/// What came of asking about one clip.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heard {
    /// One entry a repeat, unless the server gave none.
    pub labels: Vec<LabelLogprobs>,
    /// Why there are no `labels`.
    pub without: Option<String>,
    /// Counted of the first repeat.
    pub tokens: Counted,
    /// The server refused this clip openly, in these words; nothing else is known then.
    pub refused: Option<String>,
}

impl Heard {
    /// Mean log-odds and their spread (largest less smallest); None without any.
    #[must_use]
    pub fn log_odds(&self) -> Option<(f64, f64)> {
        mean_and_spread(self.labels.iter().map(|labels| labels.log_odds()))
    }
}

/// Mean, and largest less smallest. None of nothing, or of what is no number.
pub(super) fn mean_and_spread(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let values: Vec<f64> = values.collect();
    let (mut least, mut most, mut sum) = (f64::INFINITY, f64::NEG_INFINITY, 0.0);
    for value in &values {
        (least, most, sum) = (least.min(*value), most.max(*value), sum + value);
    }
    #[allow(clippy::cast_precision_loss, reason = "a handful of repeats")]
    let mean = sum / values.len() as f64;
    (mean.is_finite() && least.is_finite() && most.is_finite()).then_some((mean, most - least))
}

/// What a pair came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// The channel changes the answer.
    Differs(Difference),
    /// It does not.
    Same(Difference),
    /// The server's own counts show that it leaves the channel out; how they show it.
    NotCounted(String),
    /// The server gives no log-probabilities of the labels; why.
    NoLogOdds(String),
    /// The server openly refuses so long a sound, so it cuts nothing in silence; its words. No window is so long.
    Refused(String),
}

/// How far a pair's two clips are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Of which quantity.
    pub of: Quantity,
    /// Means' distance.
    pub by: f64,
    /// The larger of the two clips' spreads over their repeats.
    pub spread: f64,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Log-odds of Yes against No.
    LogOdds,
    /// Log-probability of Yes.
    Yes,
    /// Log-probability of No.
    No,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.of {
            Quantity::LogOdds => "log-odds",
            Quantity::Yes => "log-probabilities of Yes",
            Quantity::No => "log-probabilities of No",
        };
        write!(f, "{of} differ by {:.4} at a spread of {:.4}", self.by, self.spread)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differs(difference) => write!(f, "{difference}"),
            Self::Same(difference) => write!(f, "{difference}, which is no difference"),
            Self::NotCounted(how) => write!(f, "{how}"),
            Self::NoLogOdds(why) => write!(f, "cannot be told: {why}"),
            Self::Refused(words) => write!(f, "refused openly, so nothing is cut in silence ({words})"),
        }
    }
}

/// Everything the clips of a judge came to.
#[must_use]
pub fn findings(accepts: Accepts, heard: &BTreeMap<CanaryClip, Heard>) -> Vec<(Pair, Finding)> {
    Pair::of(accepts).into_iter().map(|pair| (pair, finding(pair, heard))).collect()
}

fn finding(pair: Pair, heard: &BTreeMap<CanaryClip, Heard>) -> Finding {
    let (a, b) = pair.clips();
    let (Some(a), Some(b)) = (heard.get(&a), heard.get(&b)) else { return Finding::NoLogOdds("not asked".to_owned()) };
    if let Some(words) = a.refused.as_ref().or(b.refused.as_ref()) {
        return if pair == Pair::LongSound {
            Finding::Refused(words.clone())
        } else {
            Finding::NoLogOdds(format!("refused: {words}"))
        };
    }
    let count = |heard: &Heard| if pair == Pair::Pictures { heard.tokens.video } else { heard.tokens.audio };
    if count(a) == Some(0) || count(b) == Some(0) {
        let what = if pair == Pair::Pictures { "pictures" } else { "sound" };
        return Finding::NotCounted(format!("the server counts no token of the {what}"));
    }
    match difference(&a.labels, &b.labels) {
        Some(difference) if difference.by > difference.spread.max(FLOOR) => Finding::Differs(difference),
        Some(difference) => Finding::Same(difference),
        None => by_count(pair, heard).map_or_else(
            || {
                let why = a.without.as_ref().or(b.without.as_ref());
                Finding::NoLogOdds(why.map_or_else(|| "no log-probabilities of the labels".to_owned(), Clone::clone))
            },
            Finding::NotCounted,
        ),
    }
}

/// What token counts alone give away, where there is nothing better: sound seven times as long has more tokens.
fn by_count(pair: Pair, heard: &BTreeMap<CanaryClip, Heard>) -> Option<String> {
    let (short, long) = (&heard.get(&CanaryClip::Still)?.tokens, &heard.get(&CanaryClip::Long)?.tokens);
    match pair {
        Pair::Sound => {
            let (short, long) = (short.prompt?, long.prompt?);
            (long <= short).then(|| format!("30 s more of sound, and the prompt has {long} tokens after {short}"))
        }
        Pair::LongSound => {
            let (short, long) = (short.audio?, long.audio?);
            let kept = f64::from(long) >= LEAST_GROWTH * f64::from(short);
            (!kept).then(|| format!("35 s of sound have {long} tokens, 5 s have {short}"))
        }
        Pair::Pictures => None,
    }
}

/// The first quantity in which two clips differ, or else how little their log-odds do. None without log-probabilities.
fn difference(a: &[LabelLogprobs], b: &[LabelLogprobs]) -> Option<Difference> {
    let of = |of: Quantity| {
        let value = |labels: &LabelLogprobs| match of {
            Quantity::LogOdds => labels.log_odds(),
            Quantity::Yes => labels.yes,
            Quantity::No => labels.no,
        };
        let (a, b) = (mean_and_spread(a.iter().map(value))?, mean_and_spread(b.iter().map(value))?);
        Some(Difference { of, by: (a.0 - b.0).abs(), spread: a.1.max(b.1) })
    };
    let all = [of(Quantity::LogOdds)?, of(Quantity::Yes)?, of(Quantity::No)?];
    let differs = all.iter().find(|difference| difference.by > difference.spread.max(FLOOR));
    Some(*differs.unwrap_or(&all[0]))
}

/// What findings come to: failed by any channel that does not count, proven by all that do.
#[must_use]
pub fn proof(findings: &[(Pair, Finding)]) -> Proof {
    let of = |(pair, finding): &(Pair, Finding)| match finding {
        Finding::Differs(_) | Finding::Refused(_) => Proof::Proven,
        Finding::Same(_) | Finding::NotCounted(_) => Proof::Failed(pair.fault()),
        Finding::NoLogOdds(_) => Proof::Unproven,
    };
    findings.iter().map(of).max().unwrap_or(Proof::Unproven)
}

#[cfg(test)]
mod tests;
