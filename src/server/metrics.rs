//! What Prometheus reads (`OpenMetrics` text). Base units; every label has few values: judges and receivers of the
//! configuration, outcomes, reasons. Sessions and the sources that were added by the API have none of their own.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::alert::journal::Told;
use crate::alert::{AlertAbout, EventKind, LostTime, UnjudgedWindow, WindowQuality};
use crate::judge::{Answer, DropReason, LostReason, SkipReason, Vote};
use crate::stage::Stages;
use crate::time::MediaTime;

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct JudgeVote {
    judge: String,
    result: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfJudge {
    judge: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct JudgeTokens {
    judge: String,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfSource {
    source: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfSink {
    sink: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct About {
    about: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InQueue {
    queue: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InStage {
    stage: &'static str,
}

/// What is only known when it is asked for.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Sources that are watched, by name ("added" for all of the API), and whether each gives frames.
    pub sources: Vec<(String, bool)>,
    /// Sessions by state.
    pub sessions: Vec<(&'static str, i64)>,
    /// Receivers: name, waiting, given up.
    pub sinks: Vec<(String, i64, i64)>,
    /// Readers of event streams.
    pub streams: i64,
    /// The journal takes what it is given.
    pub journal_writable: bool,
    /// Browsers that are connected.
    pub peers: i64,
    /// Events that wait: for the journal's task, and told but not in the file yet.
    pub queues: [(&'static str, i64); 2],
    /// Judges by name, and whether each votes.
    pub judges: Vec<(String, bool)>,
    /// Judged share of the running sessions' time, over all of them.
    pub coverage: Option<f64>,
}

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    windows: Family<Outcome, Counter>,
    seconds: Family<Outcome, Counter<f64, AtomicU64>>,
    votes: Family<JudgeVote, Counter>,
    latency: Family<OfJudge, Histogram>,
    tokens: Family<JudgeTokens, Counter>,
    requests: Family<OfJudge, Counter>,
    alerts: Family<About, Counter>,
    stages: Family<InStage, Histogram>,
    offset: Histogram,
    losses: Family<OfSource, Counter>,
    reconnects: Family<OfSource, Counter>,
    not_durable: Counter,
    up: Family<OfSource, Gauge>,
    sessions: Family<State, Gauge>,
    pending: Family<OfSink, Gauge>,
    dead: Family<OfSink, Gauge>,
    streams: Gauge,
    writable: Gauge,
    peers: Gauge,
    queues: Family<InQueue, Gauge>,
    judges: Family<OfJudge, Gauge>,
    coverage: Gauge<f64, AtomicU64>,
}

/// Bounds of durations, seconds: from what this machine does itself to what a panel may take.
fn durations() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0])
}

/// Bounds of the time by which sound is after pictures, seconds.
fn offsets() -> Histogram {
    Histogram::new([-0.5, -0.2, -0.1, -0.04, -0.01, 0.0, 0.01, 0.04, 0.1, 0.2, 0.5])
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing has been counted.
    #[must_use]
    #[allow(clippy::too_many_lines, reason = "a table: a line a metric")]
    pub fn new() -> Self {
        let mut all = Self {
            registry: Registry::with_prefix("ahwatch"),
            windows: Family::default(),
            seconds: Family::default(),
            votes: Family::default(),
            latency: Family::new_with_constructor(durations),
            tokens: Family::default(),
            requests: Family::default(),
            alerts: Family::default(),
            stages: Family::new_with_constructor(durations),
            offset: offsets(),
            losses: Family::default(),
            reconnects: Family::default(),
            not_durable: Counter::default(),
            up: Family::default(),
            sessions: Family::default(),
            pending: Family::default(),
            dead: Family::default(),
            streams: Gauge::<i64, AtomicI64>::default(),
            writable: Gauge::default(),
            peers: Gauge::default(),
            queues: Family::default(),
            judges: Family::default(),
            coverage: Gauge::default(),
        };
        let r = &mut all.registry;
        r.register(
            "windows",
            "Windows by what became of them; the reason of a judged one is its label",
            all.windows.clone(),
        );
        r.register_with_unit(
            "session_time",
            "Session time by what became of it; overlapping windows count each for itself",
            Unit::Seconds,
            all.seconds.clone(),
        );
        r.register(
            "votes",
            "Votes by judge: present, absent, not_asked, or the reason of an abstention",
            all.votes.clone(),
        );
        r.register_with_unit(
            "judge_answer",
            "From a window's first request to the judge's answer or its giving up",
            Unit::Seconds,
            all.latency.clone(),
        );
        r.register("judge_requests", "Requests to a judge, repeated ones included", all.requests.clone());
        r.register(
            "judge_tokens",
            "Tokens by judge, where its server tells: prompt, audio, video, completion",
            all.tokens.clone(),
        );
        r.register("alerts", "Alerts raised, about a session or an episode", all.alerts.clone());
        r.register_with_unit(
            "stage",
            "Time of a stage: cut, measure, wait, encode, panel, journal, sink",
            Unit::Seconds,
            all.stages.clone(),
        );
        r.register_with_unit(
            "audio_video_offset",
            "First sound of a window minus its first picture",
            Unit::Seconds,
            all.offset.clone(),
        );
        r.register(
            "source_losses",
            "Times that a source went away; those of the API are counted as \"added\"",
            all.losses.clone(),
        );
        r.register(
            "source_reconnects",
            "Times that a source that was away came back, or came at all; those of the API are counted as \"added\"",
            all.reconnects.clone(),
        );
        r.register("events_not_durable", "Events that were told before the journal took them", all.not_durable.clone());
        r.register(
            "source_up",
            "Whether a source gives frames; of those of the API the number that does",
            all.up.clone(),
        );
        r.register("sessions", "Sessions that are not over, by state", all.sessions.clone());
        r.register("outbox_pending", "Events that wait for a receiver", all.pending.clone());
        r.register("outbox_dead", "Events that a receiver never took", all.dead.clone());
        r.register("event_streams", "Readers of event streams", all.streams.clone());
        r.register("journal_writable", "Whether the journal takes what it is given", all.writable.clone());
        r.register("webrtc_peers", "Browsers that are connected", all.peers.clone());
        r.register("queue_depth", "Events that wait, by queue: events, journal", all.queues.clone());
        r.register("judge_votes", "Whether a judge votes: it was not set aside", all.judges.clone());
        r.register("coverage_ratio", "Judged share of the running sessions' time", all.coverage.clone());
        all
    }

    /// Counts how long stages take.
    #[must_use]
    pub fn stages(&self) -> Stages {
        let family = self.stages.clone();
        Stages::to(move |stage, took| {
            family.get_or_create(&InStage { stage: stage.as_str() }).observe(took.as_secs_f64());
        })
    }

    /// Counts what was told. `source` is what its metrics are called.
    pub fn count(&self, told: &Told, source: &str) {
        let event = &told.event;
        if !told.durable {
            self.not_durable.inc();
        }
        let length = event.span.length();
        match &event.kind {
            EventKind::WindowJudged(judged) => {
                self.window("judged", judged.label.as_str(), length, true);
                self.votes(&judged.votes);
                self.quality(judged.quality.as_ref());
            }
            EventKind::WindowSkipped(of, reason) => self.unjudged("skipped", skip_word(reason), length, of),
            EventKind::WindowDropped(of, reason) => self.unjudged("dropped", drop_word(*reason), length, of),
            EventKind::WindowLost(of, LostTime::Lost(reason)) => self.unjudged("lost", lost_word(*reason), length, of),
            EventKind::WindowLost(of, LostTime::Tail) => self.unjudged("lost", "tail", length, of),
            EventKind::AlertRaised(alert) => {
                let about = match alert.about {
                    AlertAbout::Session => "session",
                    AlertAbout::Episode(_) => "episode",
                };
                self.alerts.get_or_create(&About { about }).inc();
            }
            EventKind::SourceLost(..) => {
                self.losses.get_or_create(&OfSource { source: source.to_owned() }).inc();
            }
            EventKind::SourceRestored(_) => {
                self.reconnects.get_or_create(&OfSource { source: source.to_owned() }).inc();
            }
            EventKind::SessionStarted(_)
            | EventKind::SessionPaused(_)
            | EventKind::SessionResumed(_)
            | EventKind::SessionWithdrawn(_)
            | EventKind::EpisodeOpened(..)
            | EventKind::EpisodeClosed(..)
            | EventKind::JudgeChanged(_)
            | EventKind::SessionEnded(_) => {}
        }
    }

    fn unjudged(&self, outcome: &'static str, reason: &str, length: MediaTime, of: &UnjudgedWindow) {
        self.window(outcome, reason, length, of.window.is_some());
        self.votes(&of.votes);
        self.quality(of.quality.as_ref());
    }

    fn window(&self, outcome: &'static str, reason: &str, length: MediaTime, counts: bool) {
        let labels = Outcome { outcome, reason: reason.to_owned() };
        self.seconds.get_or_create(&labels).inc_by(length.as_secs_f64());
        if counts {
            self.windows.get_or_create(&labels).inc();
        }
    }

    fn votes(&self, votes: &[Vote]) {
        for vote in votes {
            let judge = vote.judge.to_string();
            let result = match &vote.answer {
                Answer::Present => "present",
                Answer::Absent => "absent",
                Answer::NotAsked => "not_asked",
                Answer::Abstained(abstention) => abstention.reason.as_str(),
            };
            self.votes.get_or_create(&JudgeVote { judge: judge.clone(), result: result.to_owned() }).inc();
            if vote.attempts == 0 {
                continue;
            }
            self.requests.get_or_create(&OfJudge { judge: judge.clone() }).inc_by(vote.attempts.into());
            self.latency.get_or_create(&OfJudge { judge: judge.clone() }).observe(vote.latency.as_secs_f64());
            if let Some(tokens) = vote.tokens {
                let kinds = [
                    ("prompt", Some(tokens.prompt)),
                    ("completion", Some(tokens.completion)),
                    ("audio", tokens.audio),
                    ("video", tokens.video),
                ];
                for (kind, count) in kinds {
                    if let Some(count) = count {
                        self.tokens.get_or_create(&JudgeTokens { judge: judge.clone(), kind }).inc_by(count);
                    }
                }
            }
        }
    }

    fn quality(&self, quality: Option<&WindowQuality>) {
        if let Some(offset) = quality.and_then(|quality| quality.audio_offset) {
            self.offset.observe(offset.as_secs_f64());
        }
    }

    /// All of it as text.
    #[must_use]
    pub fn text(&self, now: &Snapshot) -> String {
        self.up.clear();
        for (source, up) in &now.sources {
            self.up.get_or_create(&OfSource { source: source.clone() }).inc_by(i64::from(*up));
        }
        self.sessions.clear();
        for (state, count) in &now.sessions {
            self.sessions.get_or_create(&State { state }).set(*count);
        }
        self.pending.clear();
        self.dead.clear();
        for (sink, pending, dead) in &now.sinks {
            self.pending.get_or_create(&OfSink { sink: sink.clone() }).set(*pending);
            self.dead.get_or_create(&OfSink { sink: sink.clone() }).set(*dead);
        }
        self.judges.clear();
        for (judge, votes) in &now.judges {
            self.judges.get_or_create(&OfJudge { judge: judge.clone() }).set(i64::from(*votes));
        }
        self.streams.set(now.streams);
        self.writable.set(i64::from(now.journal_writable));
        self.peers.set(now.peers);
        for (queue, depth) in now.queues {
            self.queues.get_or_create(&InQueue { queue }).set(depth);
        }
        self.coverage.set(now.coverage.unwrap_or(f64::NAN));
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

const fn skip_word(reason: &SkipReason) -> &'static str {
    match reason {
        SkipReason::Gate(_) => "gate",
        SkipReason::EarlyStop => "early_stop",
        SkipReason::Paused => "paused",
    }
}

const fn drop_word(reason: DropReason) -> &'static str {
    match reason {
        DropReason::Overload => "overload",
        DropReason::Shutdown => "shutdown",
    }
}

const fn lost_word(reason: LostReason) -> &'static str {
    match reason {
        LostReason::MissingMedia => "missing_media",
        LostReason::AllAbstained => "all_abstained",
        LostReason::Outage => "outage",
    }
}
