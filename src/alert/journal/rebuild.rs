//! A session again, from the events it told: by the session's own code, which counts as it did then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::alert::Event;
use crate::config::GateRequire;
use crate::gate::{Evidence, GateSkip};
use crate::judge::{
    Abstention, AbstentionReason, Answer, DropReason, LostReason, Outcome, Score, SkipReason, Tokens, Verdict, Vote,
    WindowId,
};
use crate::session::{Rule, Session, SessionKind, SessionSettings, Summary};
use crate::time::{MediaTime, Span};

/// More of them, a second each at least, have no session.
const MOST_CONTINUITIES: u32 = 1_000_000;

/// A session as its events tell it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its id.
    pub id: Arc<str>,
    /// Its source.
    pub source: Arc<str>,
    /// What it began with.
    pub settings: SessionSettings,
    /// What was told of it, in that order.
    told: Vec<Told>,
    /// `data` of `ah.session.ended.v1`, if it came to that.
    pub ended: Option<Value>,
    /// Alerts as they were told.
    pub alerts: Vec<Value>,
    /// How many of its events are not there any more.
    pub missing: u64,
}

#[derive(Clone, Debug)]
enum Told {
    Window(Verdict, Timestamp),
    Tail(u32, Span, Timestamp),
    Lost(u32, Span, Timestamp),
    Skipped(u32, Span, Timestamp),
}

/// A session decided again.
#[derive(Clone, Debug)]
pub struct Decided {
    /// Its books.
    pub summary: Summary,
    /// All its events, the last one its end.
    pub events: Vec<Event>,
}

#[derive(Deserialize)]
struct Cloud {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    subject: Option<String>,
    time: Timestamp,
    data: Value,
}

#[derive(Deserialize)]
struct Head {
    source: String,
    continuity: u32,
    span: Secs,
}

#[derive(Deserialize)]
struct Secs {
    start_secs: f64,
    end_secs: f64,
}

#[derive(Deserialize)]
struct Started {
    kind: String,
    judges: Vec<Named>,
    rule: String,
    early_stop: bool,
    min_coverage: f64,
    open_windows: u32,
    clear_windows: u32,
    cooldown_secs: f64,
}

#[derive(Deserialize)]
struct Named {
    judge: String,
    threshold: Option<f64>,
}

#[derive(Deserialize)]
struct WindowData {
    window: Option<WindowNumber>,
    reason: Option<String>,
    #[serde(default)]
    votes: Vec<Cast>,
}

#[derive(Deserialize)]
struct WindowNumber {
    continuity: u32,
    index: u32,
}

#[derive(Deserialize)]
struct Cast {
    judge: String,
    answer: String,
    abstention: Option<Why>,
    score: Option<Given>,
    latency_ms: f64,
    attempts: u32,
    tokens: Option<Taken>,
}

#[derive(Deserialize)]
struct Why {
    reason: String,
    detail: String,
}

#[derive(Deserialize)]
struct Given {
    p_yes: f64,
    label_mass: Option<f64>,
}

#[derive(Deserialize)]
struct Taken {
    prompt: u64,
    prompt_audio: Option<u64>,
    prompt_video: Option<u64>,
    completion: u64,
}

/// Why events make no session.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Its beginning is not among them, without which nobody knows its judges.
    #[error("its beginning is not in the journal (any more); it cannot be decided again")]
    NoBeginning,
    /// An event is not as this version writes it.
    #[error("event {0} cannot be read: {1}")]
    Unreadable(String, String),
}

impl Recorded {
    /// Reads a session's events, as JSON, in the order they were told.
    ///
    /// # Errors
    /// They make no session.
    pub fn read<'a>(events: impl IntoIterator<Item = &'a str>) -> Result<Self, RebuildError> {
        let mut recorded: Option<Self> = None;
        let (mut many, mut last) = (0, None);
        for json in events {
            let cloud: Cloud = serde_json::from_str(json).map_err(|error| unreadable("?", &error))?;
            // Its source's, from before its first frame, and its withdrawal are numbered by others.
            let own = cloud.id.rsplit_once('.').filter(|(scope, _)| cloud.subject.as_deref() == Some(*scope));
            if let Some(number) = own.and_then(|(_, number)| number.parse::<u64>().ok()) {
                many += 1;
                last = last.max(Some(number));
            }
            if cloud.kind == "ah.session.started.v1" {
                recorded = Some(Self::begun(&cloud).map_err(|error| unreadable(&cloud.id, &error))?);
            } else if let Some(recorded) = &mut recorded {
                recorded.take(&cloud).map_err(|error| unreadable(&cloud.id, &error))?;
            }
        }
        let mut recorded = recorded.ok_or(RebuildError::NoBeginning)?;
        // An event may be there twice, in a file that somebody put together.
        recorded.missing = last.map_or(0, |last: u64| last.saturating_add(1).saturating_sub(many));
        Ok(recorded)
    }

    fn begun(cloud: &Cloud) -> Result<Self, serde_json::Error> {
        let head: Head = Head::deserialize(&cloud.data)?;
        let started = Started::deserialize(&cloud.data)?;
        let id = cloud.id.rsplit_once('.').map_or(cloud.id.as_str(), |(id, _)| id);
        let settings = SessionSettings {
            thresholds: started.judges.iter().map(|judge| judge.threshold).collect(),
            judges: started.judges.into_iter().map(|judge| judge.judge.into()).collect(),
            proofs: Vec::new(),
            rule: if started.rule == Rule::MaxOfVote.as_str() { Rule::MaxOfVote } else { Rule::VoteOfMax },
            early_stop: started.early_stop,
            min_coverage: started.min_coverage,
            open_windows: started.open_windows,
            clear_windows: started.clear_windows,
            cooldown: MediaTime::from_secs_f64(started.cooldown_secs),
            kind: match started.kind.as_str() {
                "heuristic" => SessionKind::Heuristic,
                _ => SessionKind::Panel,
            },
        };
        let (told, alerts) = (Vec::new(), Vec::new());
        Ok(Self { id: id.into(), source: head.source.into(), settings, told, ended: None, alerts, missing: 0 })
    }

    fn take(&mut self, cloud: &Cloud) -> Result<(), serde_json::Error> {
        match cloud.kind.as_str() {
            "ah.session.ended.v1" => self.ended = Some(cloud.data.clone()),
            "ah.alert.raised.v1" => self.alerts.push(cloud.data.clone()),
            kind => {
                if let Some(outcome) = kind.strip_prefix("ah.window.").and_then(|kind| kind.strip_suffix(".v1")) {
                    self.window(outcome, cloud)?;
                }
            }
        }
        Ok(())
    }

    fn window(&mut self, outcome: &str, cloud: &Cloud) -> Result<(), serde_json::Error> {
        let head = Head::deserialize(&cloud.data)?;
        let data = WindowData::deserialize(&cloud.data)?;
        let span = span(&head.span);
        let reason = data.reason.as_deref().unwrap_or_default();
        let Some(number) = data.window else {
            self.told.extend(match (outcome, reason) {
                ("lost", "tail") => Some(Told::Tail(head.continuity, span, cloud.time)),
                ("lost", _) => Some(Told::Lost(head.continuity, span, cloud.time)),
                ("skipped", _) => Some(Told::Skipped(head.continuity, span, cloud.time)),
                // What was dropped beyond any window is what the session's end leaves over.
                _ => None,
            });
            return Ok(());
        };
        let outcome = match (outcome, reason) {
            ("judged", _) | ("lost", "all_abstained") => Outcome::Votes(data.votes.into_iter().map(vote).collect()),
            ("skipped", "early_stop") => self.settings.unasked(),
            ("skipped", "paused") => Outcome::Skipped(SkipReason::Paused),
            ("skipped", _) => Outcome::Skipped(SkipReason::Gate(GateSkip {
                require: GateRequire::None,
                evidence: Evidence::default(),
            })),
            ("dropped", "shutdown") => Outcome::Dropped(DropReason::Shutdown),
            ("dropped", _) => Outcome::Dropped(DropReason::Overload),
            (_, "outage") => Outcome::Lost(LostReason::Outage),
            _ => Outcome::Lost(LostReason::MissingMedia),
        };
        if number.continuity > MOST_CONTINUITIES {
            return Err(serde::de::Error::custom(format!("there is no continuity {}", number.continuity)));
        }
        let window = WindowId { continuity: number.continuity, index: number.index };
        self.told.push(Told::Window(Verdict { window, span, outcome }, cloud.time));
        Ok(())
    }

    /// How many of its votes have a P(Yes), of how many that were given.
    #[must_use]
    pub fn scored(&self) -> (usize, usize) {
        let votes = self.told.iter().flat_map(|told| match told {
            Told::Window(Verdict { outcome: Outcome::Votes(votes), .. }, _) => votes.as_slice(),
            _ => &[],
        });
        let given = votes.filter(|vote| matches!(vote.answer, Answer::Present | Answer::Absent));
        given.fold((0, 0), |(scored, all), vote| (scored + usize::from(vote.score.is_some()), all + 1))
    }

    /// Decides it by `settings`, as if it had just happened. With a threshold, a vote is Present where its P(Yes) is as
    /// high, and one without a P(Yes) an abstention, as live.
    #[must_use]
    pub fn decide(&self, settings: SessionSettings, threshold: Option<f64>) -> Decided {
        let mut session = Session::new(Arc::clone(&self.id), Arc::clone(&self.source), Arc::new(settings));
        // Of each continuity, where its last window stands and how many it had.
        let mut ends: BTreeMap<u32, (usize, u32)> = BTreeMap::new();
        for (at, told) in self.told.iter().enumerate() {
            if let Told::Window(verdict, _) = told {
                let (last, windows) = ends.entry(verdict.window.continuity).or_default();
                (*last, *windows) = (at, (*windows).max(verdict.window.index.saturating_add(1)));
            }
        }
        let continuities = ends.keys().next_back().map_or(0, |last| last + 1);
        let now = Timestamp::UNIX_EPOCH;
        let mut events = vec![session.start(now)];
        let mut next = 0;
        for (n, told) in self.told.iter().enumerate() {
            events.extend(match told {
                Told::Tail(continuity, span, at) => session.tail(*continuity, *span, *at),
                Told::Lost(continuity, span, at) => session.lost(*continuity, *span, LostReason::Outage, *at),
                Told::Skipped(continuity, span, at) => session.skipped(*continuity, *span, SkipReason::Paused, *at),
                Told::Window(verdict, at) => session.apply(&with_threshold(verdict, threshold), *at),
            });
            // A continuity without windows ended when the one before it did.
            while next < continuities {
                let (last, windows) = ends.get(&next).copied().unwrap_or_default();
                if last > n {
                    break;
                }
                events.extend(session.continuity_ended(next, windows, now));
                next += 1;
            }
        }
        let told = self.ended.as_ref().and_then(|ended| ended["elapsed_secs"].as_f64());
        let elapsed = told.map_or(MediaTime::ZERO, MediaTime::from_secs_f64);
        events.extend(session.end(elapsed, now));
        Decided { summary: session.summary(), events }
    }
}

fn unreadable(id: &str, error: &serde_json::Error) -> RebuildError {
    RebuildError::Unreadable(id.to_owned(), error.to_string())
}

/// Times in events are seconds that came from whole nanoseconds.
fn span(secs: &Secs) -> Span {
    Span::new(MediaTime::from_secs_f64(secs.start_secs), MediaTime::from_secs_f64(secs.end_secs))
}

fn vote(cast: Cast) -> Vote {
    let answer = match cast.answer.as_str() {
        "present" => Answer::Present,
        "absent" => Answer::Absent,
        "not_asked" => Answer::NotAsked,
        _ => {
            let (reason, detail) = cast.abstention.map_or_else(Default::default, |why| (why.reason, why.detail));
            let reason = AbstentionReason::parse(&reason).unwrap_or(AbstentionReason::Refused);
            Answer::Abstained(Abstention { reason, detail })
        }
    };
    Vote {
        score: cast.score.map(|score| Score { p_yes: score.p_yes, label_mass: score.label_mass }),
        latency: Duration::from_secs_f64(cast.latency_ms.clamp(0.0, 1e9) / 1e3),
        attempts: cast.attempts,
        tokens: cast.tokens.map(|taken| Tokens {
            prompt: taken.prompt,
            completion: taken.completion,
            audio: taken.prompt_audio,
            video: taken.prompt_video,
        }),
        ..Vote::new(cast.judge.into(), answer)
    }
}

fn with_threshold(verdict: &Verdict, threshold: Option<f64>) -> Verdict {
    let (Some(threshold), Outcome::Votes(votes)) = (threshold, &verdict.outcome) else { return verdict.clone() };
    let anew = |vote: &Vote| {
        let answer = match (&vote.answer, vote.score) {
            (Answer::Present | Answer::Absent, Some(score)) if score.p_yes >= threshold => Answer::Present,
            (Answer::Present | Answer::Absent, Some(_)) => Answer::Absent,
            (Answer::Present | Answer::Absent, None) => Answer::Abstained(Abstention {
                reason: AbstentionReason::NoScore,
                detail: "no P(Yes) was recorded".to_owned(),
            }),
            (answer, _) => answer.clone(),
        };
        Vote { answer, ..vote.clone() }
    };
    Verdict { outcome: Outcome::Votes(votes.iter().map(anew).collect()), ..verdict.clone() }
}
