//! A recorded session decided anew, from its stored votes: what would other settings have said? No model is asked.

use serde::Serialize;

use super::rebuild::{Decided, Recorded};
use crate::alert::event::LabelWord;
use crate::alert::event::session::RuleWord;
use crate::alert::{AlertAbout, EventKind};
use crate::session::{Rule, SessionSettings, SettingsProblem};
use crate::time::MediaTime;

/// What is to be different; None: as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Changes {
    /// Which rule is the session's label.
    pub rule: Option<Rule>,
    /// Present windows in a row that open an episode.
    pub open_windows: Option<u32>,
    /// Absent windows in a row that close one.
    pub clear_windows: Option<u32>,
    /// Session time without a further episode alert after a sent one, seconds.
    pub cooldown_secs: Option<f64>,
    /// Share of the session that must be covered before anything is Absent.
    pub min_coverage: Option<f64>,
    /// P(Yes) from which a vote is Present, of every judge.
    pub threshold: Option<f64>,
}

/// A session twice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Its id.
    pub session: String,
    /// Its source.
    pub source: String,
    /// By the settings it had.
    pub before: Side,
    /// By the other ones.
    pub after: Side,
    /// Votes with a P(Yes), and all that were given: without one a threshold makes an abstention.
    pub votes_with_score: usize,
    /// All votes that were given.
    pub votes: usize,
    /// What to know before reading it.
    pub notes: Vec<String>,
}

/// A session by some settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// The settings.
    pub settings: Settings,
    /// The label under its rule.
    pub label: LabelWord,
    /// The majority of the judges' session maxima.
    pub vote_of_max: LabelWord,
    /// The maximum of the windows' majorities.
    pub max_of_vote: LabelWord,
    /// Each judge's session max, in panel order.
    pub maxima: Vec<(String, LabelWord)>,
    /// Windows labelled Present.
    pub windows_present: u32,
    /// Windows labelled Absent.
    pub windows_absent: u32,
    /// Windows judged without a majority.
    pub windows_undecided: u32,
    /// Windows that could not be judged.
    pub windows_lost: u32,
    /// Seconds at least one judge voted on.
    pub judged_secs: f64,
    /// Where the session alert was raised, seconds.
    pub session_alert_secs: Option<f64>,
    /// Episodes: from and to, seconds.
    pub episodes: Vec<(f64, f64)>,
    /// Where episode alerts were raised, seconds.
    pub episode_alerts_secs: Vec<f64>,
    /// Episode alerts per hour of judged time.
    pub alarms_per_hour: Option<f64>,
}

/// What a side was decided by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// The rule.
    pub rule: RuleWord,
    /// Windows.
    pub open_windows: u32,
    /// Windows.
    pub clear_windows: u32,
    /// Seconds.
    pub cooldown_secs: f64,
    /// A share.
    pub min_coverage: f64,
    /// Of all judges; None: as each was.
    pub threshold: Option<f64>,
}

/// Decides a session by its own settings and by changed ones.
///
/// # Errors
/// What is wrong with the changed ones.
pub fn replay(recorded: &Recorded, changes: &Changes) -> Result<Difference, Vec<SettingsProblem>> {
    let own = &recorded.settings;
    let new = SessionSettings {
        rule: changes.rule.unwrap_or(own.rule),
        open_windows: changes.open_windows.unwrap_or(own.open_windows),
        clear_windows: changes.clear_windows.unwrap_or(own.clear_windows),
        cooldown: changes.cooldown_secs.map_or(own.cooldown, MediaTime::from_secs_f64),
        min_coverage: changes.min_coverage.unwrap_or(own.min_coverage),
        ..own.clone()
    };
    let problems = new.problems();
    if !problems.is_empty() {
        return Err(problems);
    }
    let (votes_with_score, votes) = recorded.scored();
    let mut notes = Vec::new();
    if recorded.ended.is_none() {
        notes.push("the session has no end in the journal: it is decided as far as it is known".to_owned());
    }
    if recorded.missing > 0 {
        notes.push(format!("{} of its events are not in the journal any more", recorded.missing));
    }
    if own.early_stop && changes.threshold.is_some() {
        notes.push("early stop was on: what judges were not asked about no threshold can say".to_owned());
    }
    if changes.threshold.is_some() && votes_with_score < votes {
        let without = votes - votes_with_score;
        notes.push(format!("{without} of {votes} votes have no P(Yes) and become abstentions"));
    }
    let before = side(&recorded.decide(own.clone(), None), own, None);
    let after = side(&recorded.decide(new.clone(), changes.threshold), &new, changes.threshold);
    let (session, source) = (recorded.id.to_string(), recorded.source.to_string());
    Ok(Difference { session, source, before, after, votes_with_score, votes, notes })
}

fn side(decided: &Decided, settings: &SessionSettings, threshold: Option<f64>) -> Side {
    let summary = &decided.summary;
    let (mut session_alert, mut episodes, mut episode_alerts) = (None, Vec::new(), Vec::new());
    for event in &decided.events {
        let (start, end) = (event.span.start().as_secs_f64(), event.span.end().as_secs_f64());
        match &event.kind {
            EventKind::AlertRaised(alert) => match alert.about {
                AlertAbout::Session => session_alert = Some(end),
                AlertAbout::Episode(_) => episode_alerts.push(end),
            },
            EventKind::EpisodeClosed(..) => episodes.push((start, end)),
            _ => {}
        }
    }
    let words = |max: &crate::session::JudgeSummary| (max.judge.to_string(), max.max.into());
    Side {
        settings: Settings {
            rule: settings.rule.into(),
            open_windows: settings.open_windows,
            clear_windows: settings.clear_windows,
            cooldown_secs: settings.cooldown.as_secs_f64(),
            min_coverage: settings.min_coverage,
            threshold,
        },
        label: summary.labels.by(settings.rule).into(),
        vote_of_max: summary.labels.vote_of_max.into(),
        max_of_vote: summary.labels.max_of_vote.into(),
        maxima: summary.judges.iter().map(words).collect(),
        windows_present: summary.windows.present,
        windows_absent: summary.windows.absent,
        windows_undecided: summary.windows.undecided,
        windows_lost: summary.windows.lost,
        judged_secs: summary.coverage.judged().as_secs_f64(),
        session_alert_secs: session_alert,
        episodes,
        episode_alerts_secs: episode_alerts,
        alarms_per_hour: summary.alarms_per_hour(),
    }
}
