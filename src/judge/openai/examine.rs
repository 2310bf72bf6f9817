//! Asking one replica of a judge about the built-in clips.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Judge, Replica};
use crate::judge::canary::{CanaryClip, Clips, Counted, Heard, LabelLogprobs, read};
use crate::judge::reply::{Failure, Retry};
use crate::judge::request::{Template, Way};
use crate::judge::{Abstention, AbstentionReason};

/// A canary request may take so long, and a judge's own deadline where that is longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Requests sent for one repeat at most.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

type Answer = (Result<LabelLogprobs, String>, Counted);

/// Asks the judge at this replica about each of `which` clips `repeats` times, and tells what came. A server without
/// log-probabilities of the labels is asked once about each, for its counts.
///
/// # Errors
/// The replica did not answer, or refused what it would refuse of windows too.
pub async fn examine(
    judge: &Judge,
    replica: &Replica,
    clips: &Clips,
    which: &[CanaryClip],
    repeats: usize,
) -> Result<BTreeMap<CanaryClip, Heard>, Abstention> {
    let Some(first) = which.first() else { return Ok(BTreeMap::new()) };
    let mut asking = Asking::new(judge, replica, clips, Way::Prefilled);
    let mut answer = asking.ask(*first).await;
    let telling = matches!(&answer, Ok((Ok(_), _)));
    // Other servers may know no begun answer, and yet give log-probabilities of a whole one.
    if !telling && answer.as_ref().err().is_none_or(|failure| failure.abstention.reason == AbstentionReason::Refused) {
        let whole = Asking::new(judge, replica, clips, Way::Whole);
        let second = whole.ask(*first).await;
        if matches!(&second, Ok((Ok(_), _))) || answer.is_err() {
            (asking, answer) = (whole, second);
        }
    }
    let answer = answer.map_err(|failure| failure.abstention)?;
    let repeats = if answer.0.is_ok() { repeats } else { 1 };
    let mut heard = BTreeMap::new();
    note(&mut heard, *first, Ok(answer))?;
    // One request after the other, and one repeat of each clip after the other: what a server computes at the same time moves
    // its numbers in the last digits, and whatever else it does meanwhile falls on all clips.
    let rest: Vec<CanaryClip> = (0..repeats).flat_map(|_| which.iter().copied()).skip(1).collect();
    for clip in rest {
        note(&mut heard, clip, asking.ask(clip).await)?;
    }
    Ok(heard)
}

fn note(
    heard: &mut BTreeMap<CanaryClip, Heard>,
    clip: CanaryClip,
    answer: Result<Answer, Failure>,
) -> Result<(), Abstention> {
    let long = matches!(clip, CanaryClip::Long | CanaryClip::LongSpeech);
    let entry = heard.entry(clip).or_default();
    match answer {
        Ok((labels, tokens)) => {
            if entry.labels.is_empty() && entry.without.is_none() {
                entry.tokens = tokens;
            }
            match labels {
                Ok(labels) => entry.labels.push(labels),
                Err(why) => entry.without = Some(why),
            }
        }
        // No window is so long: a server may refuse it.
        Err(failure) if long && failure.abstention.reason == AbstentionReason::Refused => {
            entry.refused = Some(failure.abstention.detail);
        }
        Err(failure) => return Err(failure.abstention),
    }
    Ok(())
}

struct Asking<'a> {
    judge: &'a Arc<str>,
    replica: &'a Replica,
    clips: &'a Clips,
    template: Template,
    way: Way,
    max_pixels: u32,
    patience: Duration,
}

impl<'a> Asking<'a> {
    fn new(judge: &'a Judge, replica: &'a Replica, clips: &'a Clips, way: Way) -> Self {
        let config = judge.config();
        let template = Template::canary(config, way);
        let patience = config.deadline.max(PATIENCE);
        Self { judge: &config.name, replica, clips, template, way, max_pixels: config.max_pixels, patience }
    }

    async fn ask(&self, clip: CanaryClip) -> Result<Answer, Failure> {
        let unbuilt = |reason| Failure::new(reason, "the built-in clip could not be built", Retry::No);
        let Some(media) = self.clips.get(clip, self.max_pixels) else {
            return Err(unbuilt(AbstentionReason::Encoding));
        };
        let body = self.template.fill(media).map_err(unbuilt)?;
        for attempt in 1.. {
            let alone = self.replica.endpoint.examining.lock().await;
            // A place at the base_url, as for windows; what comes of it says nothing new to its circuit.
            let Some(place) = self.replica.endpoint.leave_in_turn(self.judge).await else { break };
            let outcome = tokio::time::timeout(self.patience, self.replica.complete(body.clone())).await;
            drop((place, alone));
            let failure = match outcome {
                Ok(Ok(reply)) => {
                    return read(&reply.body, self.way).ok_or_else(|| {
                        let detail = format!("status 200, but no chat completion ({} bytes)", reply.body.len());
                        Failure::new(AbstentionReason::NotACompletion, detail, Retry::No)
                    });
                }
                Ok(Err(failure)) => failure,
                Err(_) => {
                    let detail = format!("no answer within {} s", self.patience.as_secs());
                    return Err(Failure::new(AbstentionReason::Deadline, detail, Retry::No));
                }
            };
            let wait = match failure.retry {
                Retry::Backoff if attempt < ATTEMPTS => PAUSE * attempt,
                Retry::After(wait) if attempt < ATTEMPTS => wait.min(LONGEST_PAUSE),
                _ => return Err(failure),
            };
            tokio::time::sleep(wait).await;
        }
        let detail = format!("{} does not answer", self.replica.endpoint.host());
        Err(Failure::new(AbstentionReason::Unreachable, detail, Retry::No))
    }
}
