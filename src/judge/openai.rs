//! The wire to OpenAI-compatible endpoints (vLLM, `swift deploy`); reqwest is imported below this module only.
//!
//! A judge is asked under a deadline that covers everything: waiting for a place among the requests in flight, every
//! attempt, every pause between them. Whatever goes wrong becomes an abstention; nothing is ever answered for a server.
//! Media go to the judge's base URLs only: no redirect is followed and no proxy is taken from the environment.
//!
//! - `client`: the HTTP clients. `endpoint`: the server behind one `base_url`, its places and its circuit.
//! - `replica`: one exchange of one judge with one `base_url`. `attempt`: what came of it. `choose`: which of them is asked.
//! - `examine`: asking one `base_url` about the built-in clips.

mod attempt;
mod choose;
mod client;
mod endpoint;
mod examine;
mod pace;
mod replica;

use std::fmt::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout_at};

use attempt::Attempt;
use choose::{Nobody, Replicas, Tried};
pub use client::SetupError;
pub(super) use client::Shared;
pub(crate) use client::{bare, root_cause};
pub(super) use endpoint::Endpoint;
use endpoint::Leave;
pub use examine::examine;
pub use replica::{Replica, Reply};

use super::reply::{Failure, Reading, Retry, read_completion};
use super::request::Template;
use super::{Abstention, AbstentionReason, Answer, Label, Tokens, Vote};
use crate::config::JudgeConfig;
use crate::encode::Clip;

/// First and longest pause between attempts; each is drawn evenly from zero up (full jitter).
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// With less time left (or less than a quarter of the deadline) there is no further attempt: it would only load the
/// endpoint.
const LEAST_TIME: Duration = Duration::from_millis(500);
/// However long a server says, it is asked again after this.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);
/// A `base_url` that has not the model or wants another key is asked last for so long.
const AVOID_FOR: Duration = Duration::from_secs(10);
/// Longest model text kept with a vote, bytes.
const MAX_RAW_BYTES: usize = 4096;

/// When a judge's answer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Live: the judge's deadline counts from this moment, the window's end.
    After(Instant),
    /// A recording: it counts from when there is a place for the request at a `base_url`, however long that takes. Where no
    /// `base_url` answers at all, the recording waits for one until they have been out for as long as the deadline.
    AfterSending,
}

/// One judge, ready to be asked.
pub struct Judge {
    config: JudgeConfig,
    replicas: Replicas,
    template: Template,
    told_no_score: AtomicBool,
}

impl std::fmt::Debug for Judge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Judge").field(&self.config.name).finish()
    }
}

/// How far the asking came; outlives a deadline's cut.
#[derive(Default)]
struct Progress {
    attempts: u32,
    first_sent: Option<Instant>,
    last_failure: Option<Failure>,
    tokens: Option<Tokens>,
    asked: Option<usize>,
}

impl Judge {
    pub(super) fn new(config: &JudgeConfig, shared: &mut Shared) -> Result<Self, SetupError> {
        let replicas = config.base_urls.iter().map(|url| Replica::new(config, url, shared));
        Ok(Self {
            replicas: Replicas::new(config.name.clone(), replicas.collect::<Result<_, _>>()?),
            template: Template::new(config),
            told_no_score: AtomicBool::new(false),
            config: config.clone(),
        })
    }

    /// Where it is asked, in the configuration's order.
    #[must_use]
    pub fn replicas(&self) -> &[Replica] {
        self.replicas.all()
    }

    pub(super) fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.replicas.all().iter().map(|replica| &replica.endpoint)
    }

    /// Since when none of its base URLs answers, if so, and what went wrong with each last.
    pub(super) fn outage(&self) -> Option<(Instant, String)> {
        Some((self.replicas.out_since()?, self.replicas.why()))
    }

    /// What it was set up with.
    #[must_use]
    pub const fn config(&self) -> &JudgeConfig {
        &self.config
    }

    /// The JSON that it is sent for a clip.
    ///
    /// # Errors
    /// The clip lacks a medium that this judge takes.
    pub fn body(&self, clip: &Clip) -> Result<Bytes, AbstentionReason> {
        self.template.fill(clip)
    }

    /// Puts one clip to the judge; returns when it is `due`, and never fails: what goes wrong is an abstention.
    pub async fn ask(&self, clip: &Clip, due: Due) -> Vote {
        let mut progress = Progress::default();
        let outcome = self.outcome(clip, due, &mut progress).await;
        let latency = progress.first_sent.map_or(Duration::ZERO, |sent| sent.elapsed());
        let asked = progress.asked.and_then(|index| self.replicas().get(index));
        let mut vote = Vote {
            latency,
            attempts: progress.attempts,
            base_url: asked.map(|replica| replica.base_url().as_str().into()),
            tokens: progress.tokens,
            ..Vote::new(self.config.name.clone(), Answer::NotAsked)
        };
        match outcome {
            Ok(reading) => self.decide(&reading, &mut vote),
            Err(failure) => {
                vote.raw = failure.text.as_deref().map(keep);
                vote.answer = Answer::Abstained(failure.abstention);
            }
        }
        vote
    }

    async fn outcome(&self, clip: &Clip, due: Due, progress: &mut Progress) -> Result<Reading, Failure> {
        if let Some(reason) = self.template.lacks(clip) {
            let what = if reason == AbstentionReason::NoAudio { "sound" } else { "pictures" };
            return Err(Failure::new(reason, format!("the window has no {what}"), Retry::No));
        }
        let (deadline, first) = match due {
            Due::After(moment) => (moment + self.config.deadline, None),
            Due::AfterSending => {
                let first = self.next(&self.replicas.untried(), due, None, progress).await?;
                (Instant::now() + self.config.deadline, Some(first))
            }
        };
        // A past deadline is told without a request.
        if Instant::now() >= deadline {
            return Err(self.too_late(progress));
        }
        match timeout_at(deadline, self.insist(clip, due, deadline, first, progress)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.too_late(progress)),
        }
    }

    fn decide(&self, reading: &Reading, vote: &mut Vote) {
        vote.raw = Some(keep(&reading.text));
        let missing = match &reading.score {
            Some(Ok(score)) => {
                vote.score = Some(*score);
                String::new()
            }
            Some(Err(why)) => {
                if !self.told_no_score.swap(true, Ordering::Relaxed) {
                    tracing::warn!(judge = %self.config.name, "P(Yes) was asked for, but {why}; not told again for this judge");
                }
                why.to_string()
            }
            None => "no score was asked for".to_owned(),
        };
        let label = match (self.config.threshold, vote.score) {
            (None, _) => reading.label,
            (Some(threshold), Some(score)) if score.p_yes >= threshold => Label::Present,
            (Some(_), Some(_)) => Label::Absent,
            (Some(_), None) => {
                let detail = format!("a threshold is set, but {missing}");
                vote.answer = Answer::Abstained(Abstention { reason: AbstentionReason::NoScore, detail });
                return;
            }
        };
        vote.answer = if label == Label::Present { Answer::Present } else { Answer::Absent };
    }

    /// Asks until there is an answer, a refusal, or no time for another attempt.
    async fn insist(
        &self,
        clip: &Clip,
        due: Due,
        deadline: Instant,
        mut first: Option<(usize, Leave<'_>)>,
        progress: &mut Progress,
    ) -> Result<Reading, Failure> {
        let mut tried = self.replicas.untried();
        let mut body = None;
        loop {
            let (index, leave) = match first.take() {
                Some(first) => first,
                None => self.next(&tried, due, Some(deadline), progress).await?,
            };
            // A place that comes free as the time runs out is no use, and media sent then only load the endpoint. Were it used all
            // the same, under overload every request would get its place too late.
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || (due != Due::AfterSending && self.replicas()[index].is_too_late(left)) {
                return Err(self.too_late(progress));
            }
            let body = match &body {
                Some(body) => Bytes::clone(body),
                None => {
                    let filled =
                        self.body(clip).map_err(|reason| Failure::new(reason, "the window lacks it", Retry::No))?;
                    body.insert(filled).clone()
                }
            };
            progress.attempts += 1;
            progress.asked = Some(index);
            progress.first_sent.get_or_insert_with(Instant::now);
            let replica = &self.replicas()[index];
            let sent = Instant::now();
            let outcome = self.attempt(index, body, deadline, &tried).await;
            leave.tell(outcome.health(sent.elapsed(), self.config.deadline), outcome.why());
            let mut failure = match outcome {
                Attempt::TimeUp => return Err(self.too_late(progress)),
                Attempt::Done(Ok(reading)) => {
                    replica.answered(sent.elapsed());
                    progress.tokens = reading.tokens.or(progress.tokens);
                    return Ok(reading);
                }
                Attempt::Done(Err(failure)) | Attempt::GivenUp(failure) => failure,
            };
            progress.tokens = failure.tokens.or(progress.tokens);
            if failure.abstention.reason == AbstentionReason::UnknownModel
                && let Ok(Some(models)) = timeout_at(deadline, replica.models()).await
            {
                let detail = failure.abstention.detail.trim_end_matches('.');
                failure.abstention.detail = format!("{detail}; {} serves: {models}", replica.endpoint.host());
            }
            let now = Instant::now();
            let (first_pause, longest) = BACKOFF;
            let tries = progress.attempts.saturating_sub(1);
            let jitter = crate::time::backoff(first_pause, longest, tries, rand::random_range(0.0..=1.0));
            let resume = match failure.retry {
                Retry::No => {
                    self.name_host(index, &mut failure);
                    if progress.attempts > 1 {
                        let _ = write!(failure.abstention.detail, " (request {})", progress.attempts);
                    }
                    return Err(failure);
                }
                // Not here, as far as this window is concerned.
                Retry::Elsewhere => {
                    replica.avoid(now + AVOID_FOR);
                    deadline
                }
                Retry::Backoff => now + jitter,
                Retry::After(wait) => {
                    let wait = wait.min(LONGEST_PAUSE);
                    if failure.abstention.reason == AbstentionReason::RateLimited {
                        replica.pause(now + wait);
                    }
                    now + wait.max(jitter)
                }
            };
            tried.until(index, resume);
            tracing::debug!(judge = %self.config.name, attempt = progress.attempts, detail = %failure.abstention.detail, "failed");
            self.name_host(index, &mut failure);
            progress.last_failure = Some(failure);
        }
    }

    /// Leave for the next request about a window, or why there will be none. A recording waits as long as the endpoints ask to be
    /// left alone (before the first request, which sets its `deadline`), and for endpoints that do not answer until they have been
    /// out for as long as the judge's deadline.
    async fn next(
        &self,
        tried: &Tried,
        due: Due,
        deadline: Option<Instant>,
        progress: &Progress,
    ) -> Result<(usize, Leave<'_>), Failure> {
        let least = LEAST_TIME.min(self.config.deadline / 4);
        let mut asked_for_signs = false;
        loop {
            match self.replicas.choose(tried).await {
                Ok(chosen) => return Ok(chosen),
                Err(Nobody::Tried(resume)) if deadline.is_some_and(|deadline| resume + least >= deadline) => {
                    return Err(self.exhausted(progress, "no time for another"));
                }
                Err(Nobody::Paused(until)) if deadline.is_some_and(|deadline| until >= deadline) => {
                    return Err(self.exhausted_by_pause(progress, until));
                }
                Err(Nobody::Tried(until) | Nobody::Paused(until)) => sleep_until(until).await,
                Err(Nobody::Out(since)) => {
                    let patience = since + self.config.deadline;
                    let patience =
                        deadline.and_then(|end| end.checked_sub(least)).map_or(patience, |end| patience.min(end));
                    if due == Due::AfterSending && Instant::now() < patience {
                        self.replicas.recovery(patience).await;
                    } else if asked_for_signs {
                        return Err(self.exhausted(progress, "its circuit is open"));
                    } else {
                        self.replicas.canaries().await;
                        asked_for_signs = true;
                    }
                }
            }
        }
    }

    /// One request. With another `base_url` to ask, this one gets half of the time that is left.
    async fn attempt(&self, index: usize, body: Bytes, deadline: Instant, tried: &Tried) -> Attempt {
        let replica = &self.replicas()[index];
        let mut asking = pin!(async {
            let reply = replica.complete(body).await?;
            read_completion(&reply.headers, &reply.body, self.config.score, self.config.constrain)
        });
        if self.replicas().len() > 1 {
            let now = Instant::now();
            let half = deadline.saturating_duration_since(now) / 2;
            tokio::select! {
                outcome = &mut asking => return Attempt::Done(outcome),
                () = sleep_until(now + half) => if self.replicas.has_other(index, tried) {
                    let detail = format!("no answer within {} ms", half.as_millis());
                    return Attempt::GivenUp(Failure::new(AbstentionReason::Deadline, detail, Retry::Backoff));
                }
            }
        }
        timeout_at(deadline, asking).await.map_or(Attempt::TimeUp, Attempt::Done)
    }

    /// Where there are several to ask, a message says which one it is about.
    fn name_host(&self, index: usize, failure: &mut Failure) {
        let host = self.replicas()[index].endpoint.host();
        if self.replicas().len() > 1 && !failure.abstention.detail.contains(&host) {
            failure.abstention.detail.insert_str(0, &format!("{host}: "));
        }
    }

    /// The last failure, or without any that every circuit is open.
    fn exhausted(&self, progress: &Progress, why: &str) -> Failure {
        let Some(mut failure) = progress.last_failure.clone() else {
            let detail = format!("{} did not answer lately; asked again once a second", self.replicas.hosts());
            return Failure::new(AbstentionReason::CircuitOpen, detail, Retry::No);
        };
        let detail = &mut failure.abstention.detail;
        let _ = match (failure.retry, progress.attempts) {
            (Retry::Elsewhere, 1) => Ok(()),
            (Retry::Elsewhere, attempts) => write!(detail, "; {attempts} requests"),
            (_, attempts) => write!(detail, "; {attempts} requests, {why}"),
        };
        failure
    }

    fn exhausted_by_pause(&self, progress: &Progress, until: Instant) -> Failure {
        if progress.last_failure.is_some() {
            return self.exhausted(progress, "no time for another");
        }
        let left = until.saturating_duration_since(Instant::now()).as_secs();
        let detail = format!("the endpoint asked to wait; this judge pauses for another {left} s");
        Failure::new(AbstentionReason::RateLimited, detail, Retry::No)
    }

    fn too_late(&self, progress: &Progress) -> Failure {
        let mut detail = format!("no answer within {} ms", self.config.deadline.as_millis());
        match (progress.attempts, &progress.last_failure) {
            (0, _) => {
                detail.push_str(
                    "; no request was sent, the places at this base_url were taken or too little time was left",
                );
            }
            (attempts, Some(last)) => {
                let _ = write!(detail, "; {attempts} requests, before the last: {}", last.abstention.detail);
            }
            (..) => {}
        }
        Failure::new(AbstentionReason::Deadline, detail, Retry::No)
    }
}

fn keep(text: &str) -> Arc<str> {
    Arc::from(&text[..text.floor_char_boundary(MAX_RAW_BYTES)])
}
