//! The wire to OpenAI-compatible endpoints (vLLM, `swift deploy`); reqwest is imported below this module only.
//!
//! A judge is asked under a deadline that covers everything: waiting for a place among the requests in flight, every
//! attempt, every pause between them. Whatever goes wrong becomes an abstention; nothing is ever answered for a server.
//! Media go to `base_url` only: no redirect is followed and no proxy is taken from the environment.
//!
//! - `client`: the HTTP clients. `replica`: one exchange with one `base_url`. `examine`: asking about the built-in clips.

mod client;
mod examine;
mod replica;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::SemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout_at};

pub use client::SetupError;
pub(super) use client::Shared;
pub use examine::examine;
pub use replica::{Replica, Reply};

use super::reply::{Failure, Reading, Retry, read_completion};
use super::request::Template;
use super::{Abstention, AbstentionReason, Answer, Label, Vote};
use crate::config::JudgeConfig;
use crate::encode::Clip;

/// First and longest pause between attempts; each is drawn evenly from zero up (full jitter).
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// With less time left (or less than a quarter of the deadline) there is no further attempt: it would only load the
/// endpoint.
const LEAST_TIME: Duration = Duration::from_millis(500);
/// However long a server says, it is asked again after this.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);
/// Longest model text kept with a vote, bytes.
const MAX_RAW_BYTES: usize = 4096;

/// When a judge's answer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Live: the judge's deadline counts from this moment, the window's end.
    After(Instant),
    /// A recording: it counts from when there is a place for the request at the `base_url`, however long that takes.
    AfterSending,
}

/// One judge, ready to be asked.
pub struct Judge {
    config: JudgeConfig,
    replica: Replica,
    template: Template,
    paused_until: Mutex<Option<Instant>>,
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
    last_failure: Option<String>,
}

impl Judge {
    pub(super) fn new(config: &JudgeConfig, shared: &mut Shared) -> Result<Self, SetupError> {
        Ok(Self {
            replica: Replica::new(config, &config.base_url, shared)?,
            template: Template::new(config),
            paused_until: Mutex::new(None),
            told_no_score: AtomicBool::new(false),
            config: config.clone(),
        })
    }

    /// Where it is asked.
    #[must_use]
    pub fn replicas(&self) -> &[Replica] {
        std::slice::from_ref(&self.replica)
    }

    /// What it was set up with.
    #[must_use]
    pub const fn config(&self) -> &JudgeConfig {
        &self.config
    }

    /// Puts one clip to the judge; returns when it is `due`, and never fails: what goes wrong is an abstention.
    pub async fn ask(&self, clip: &Clip, due: Due) -> Vote {
        let mut progress = Progress::default();
        let (deadline, place) = match due {
            Due::After(moment) => (moment + self.config.deadline, None),
            Due::AfterSending => {
                // A recording waits as long as the endpoint asks to be left alone, and loses no window for it.
                while let Some(until) = self.pause().filter(|until| *until > Instant::now()) {
                    sleep_until(until).await;
                }
                let place = self.replica.places.acquire().await.ok();
                (Instant::now() + self.config.deadline, place)
            }
        };
        let outcome = match self.template.fill(clip) {
            Err(AbstentionReason::NoAudio) => {
                Err(Failure::new(AbstentionReason::NoAudio, "the window has no sound", Retry::No))
            }
            Err(reason) => Err(Failure::new(reason, "the window has no pictures", Retry::No)),
            // A past deadline is told without a request.
            Ok(_) if Instant::now() >= deadline => Err(self.too_late(&progress)),
            Ok(body) => match timeout_at(deadline, self.insist(body, deadline, place, &mut progress)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(self.too_late(&progress)),
            },
        };
        let latency = progress.first_sent.map_or(Duration::ZERO, |sent| sent.elapsed());
        let mut vote = Vote {
            judge: self.config.name.clone(),
            answer: Answer::NotAsked,
            score: None,
            cues: None,
            latency,
            attempts: progress.attempts,
            flag: None,
            raw: None,
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
        body: Bytes,
        deadline: Instant,
        mut place: Option<SemaphorePermit<'_>>,
        progress: &mut Progress,
    ) -> Result<Reading, Failure> {
        loop {
            self.wait_out_pause(deadline).await?;
            let permit = match place.take() {
                Some(place) => Ok(place),
                None => self.replica.places.acquire().await,
            };
            let Ok(permit) = permit else {
                return Err(Failure::new(AbstentionReason::Deadline, "shutting down", Retry::No));
            };
            if self.pause().is_some_and(|until| until > Instant::now()) {
                continue;
            }
            // A place that comes free as the time runs out is no use, and media sent then only load the endpoint.
            if Instant::now() >= deadline {
                return Err(self.too_late(progress));
            }
            progress.attempts += 1;
            progress.first_sent.get_or_insert_with(Instant::now);
            let outcome = self.attempt(body.clone()).await;
            drop(permit);
            let mut failure = match outcome {
                Ok(reading) => return Ok(reading),
                Err(failure) => failure,
            };
            let (first, longest) = BACKOFF;
            let ceiling = first.saturating_mul(1 << progress.attempts.saturating_sub(1).min(10)).min(longest);
            let jitter = ceiling.mul_f64(rand::random_range(0.0..=1.0));
            let wait = match failure.retry {
                Retry::No => {
                    if progress.attempts > 1 {
                        let _ = write!(failure.abstention.detail, " (request {})", progress.attempts);
                    }
                    return Err(failure);
                }
                Retry::Backoff => jitter,
                Retry::After(wait) => {
                    let wait = wait.min(LONGEST_PAUSE);
                    if failure.abstention.reason == AbstentionReason::RateLimited {
                        self.set_pause(Instant::now() + wait);
                    }
                    wait.max(jitter)
                }
            };
            let resume = Instant::now() + wait;
            if resume + LEAST_TIME.min(self.config.deadline / 4) >= deadline {
                let _ = write!(failure.abstention.detail, "; {} requests, no time for another", progress.attempts);
                return Err(failure);
            }
            tracing::debug!(judge = %self.config.name, attempt = progress.attempts, detail = %failure.abstention.detail, "asking again");
            progress.last_failure = Some(failure.abstention.detail);
            sleep_until(resume).await;
        }
    }

    async fn attempt(&self, body: Bytes) -> Result<Reading, Failure> {
        let reply = self.replica.complete(body).await?;
        read_completion(&reply.headers, &reply.body, self.config.score, self.config.constrain)
    }

    fn too_late(&self, progress: &Progress) -> Failure {
        let mut detail = format!("no answer within {} ms", self.config.deadline.as_millis());
        match (progress.attempts, &progress.last_failure) {
            (0, _) => {
                detail.push_str("; no request was sent, the places at this base_url were taken or the time was up");
            }
            (attempts, Some(last)) => drop(write!(detail, "; {attempts} requests, before the last: {last}")),
            (..) => {}
        }
        Failure::new(AbstentionReason::Deadline, detail, Retry::No)
    }

    fn pause(&self) -> Option<Instant> {
        *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_pause(&self, until: Instant) {
        let mut pause = self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        *pause = (*pause).max(Some(until));
    }

    async fn wait_out_pause(&self, deadline: Instant) -> Result<(), Failure> {
        match self.pause() {
            Some(until) if until >= deadline => {
                let left = until.saturating_duration_since(Instant::now()).as_secs();
                let detail = format!("the endpoint asked to wait; this judge pauses for another {left} s");
                Err(Failure::new(AbstentionReason::RateLimited, detail, Retry::No))
            }
            Some(until) => {
                sleep_until(until).await;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn keep(text: &str) -> Arc<str> {
    Arc::from(&text[..text.floor_char_boundary(MAX_RAW_BYTES)])
}
