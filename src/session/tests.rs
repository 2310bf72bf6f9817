//! Properties of a session: whatever it is told, in whatever order.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::alert::event::CloudEvent;
use crate::judge::{Abstention, AbstentionReason, Answer};

mod examples;

const SECOND: i64 = 1_000_000_000;

/// One thing a session is told.
#[derive(Clone, Debug)]
enum Told {
    Window(Verdict),
    Tail(u32, Span),
    Outage(u32, Span),
    Ended(u32, u32),
}

/// A whole session as its caller would tell it.
#[derive(Clone, Debug)]
struct Script {
    told: Vec<Told>,
    elapsed: MediaTime,
}

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn span(start: i64, end: i64) -> Span {
    Span::new(MediaTime::from_nanos(start), MediaTime::from_nanos(end))
}

fn vote(judge: usize, answer: Answer) -> Vote {
    Vote {
        judge: format!("v{}", judge + 1).into(),
        answer,
        score: None,
        cues: None,
        latency: Duration::ZERO,
        attempts: 1,
        flag: None,
        base_url: None,
        tokens: None,
        raw: Some("what the model wrote".into()),
    }
}

fn abstained(reason: AbstentionReason) -> Answer {
    Answer::Abstained(Abstention { reason, detail: "late".to_owned() })
}

fn settings(rule: Rule) -> Arc<SessionSettings> {
    let judges = vec!["v1".into(), "v2".into(), "v3".into()];
    Arc::new(SessionSettings { judges, rule, cooldown: MediaTime::from_millis(20_000), ..SessionSettings::default() })
}

fn session(settings: &Arc<SessionSettings>) -> Session {
    Session::new("s".into(), "camera".into(), settings.clone())
}

fn tell(session: &mut Session, told: &Told) -> Vec<Event> {
    match told {
        Told::Window(verdict) => session.apply(verdict, now()),
        Told::Tail(continuity, span) => session.tail(*continuity, *span, now()),
        Told::Outage(continuity, span) => session.lost(*continuity, *span, LostReason::Outage, now()),
        Told::Ended(continuity, windows) => session.continuity_ended(*continuity, *windows, now()),
    }
}

fn play(settings: &Arc<SessionSettings>, script: &Script) -> (Session, Vec<Event>) {
    let mut session = session(settings);
    let mut events = vec![session.start(now())];
    for told in &script.told {
        events.extend(tell(&mut session, told));
    }
    events.extend(session.end(script.elapsed, now()));
    (session, events)
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        3 => Just(Answer::Present),
        5 => Just(Answer::Absent),
        1 => Just(abstained(AbstentionReason::Deadline)),
        1 => Just(abstained(AbstentionReason::Unparsable)),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let votes = prop::collection::vec(answer(), 3)
        .prop_map(|answers| Outcome::Votes(answers.into_iter().enumerate().map(|(n, a)| vote(n, a)).collect()));
    let all_abstained = Just(Outcome::Votes((0..3).map(|n| vote(n, abstained(AbstentionReason::Deadline))).collect()));
    prop_oneof![
        24 => votes,
        1 => all_abstained,
        1 => Just(Outcome::Skipped(crate::alert::fixtures::gate_skip())),
        1 => Just(Outcome::Skipped(SkipReason::Paused)),
        1 => Just(Outcome::Dropped(DropReason::Overload)),
        1 => Just(Outcome::Lost(LostReason::MissingMedia)),
    ]
}

/// Continuities of overlapping windows with a partial one, a tail and an outage after each; some windows never told.
fn script() -> impl Strategy<Value = Script> {
    let continuity = (
        prop::collection::vec((outcome(), prop::bool::weighted(0.95)), 0..12),
        prop_oneof![Just(0), 3 * SECOND..5 * SECOND],
        0..3 * SECOND,
        0..20 * SECOND,
    );
    let hop = prop_oneof![Just(5 * SECOND), Just(5 * SECOND / 2), Just(SECOND), 1..5 * SECOND];
    (prop::collection::vec(continuity, 1..4), hop, 0..9 * SECOND).prop_map(|(continuities, hop, unaccounted)| {
        let (mut told, mut start) = (Vec::new(), 0);
        for (continuity, (windows, partial, tail, outage)) in (0..).zip(continuities) {
            let count = u32::try_from(windows.len()).unwrap();
            let mut end = start;
            for (index, (outcome, is_told)) in (0..).zip(windows) {
                let from = start + i64::from(index) * hop;
                end = if index + 1 == count && partial > 0 { (from + partial).max(end) } else { from + 5 * SECOND };
                if is_told {
                    let window = WindowId { continuity, index };
                    told.push(Told::Window(Verdict { window, span: span(from, end), outcome }));
                }
            }
            told.push(Told::Tail(continuity, span(end, end + tail)));
            told.push(Told::Outage(continuity, span(end + tail, end + tail + outage)));
            told.push(Told::Ended(continuity, count));
            start = end + tail + outage;
        }
        Script { told, elapsed: MediaTime::from_nanos(start + unaccounted) }
    })
}

/// The same script twice over, in any order.
fn scrambled() -> impl Strategy<Value = (Script, Script)> {
    script().prop_flat_map(|script| {
        let twice: Vec<Told> = script.told.iter().chain(&script.told).cloned().collect();
        (Just(script), Just(twice).prop_shuffle()).prop_map(|(script, told)| {
            let elapsed = script.elapsed;
            (script, Script { told, elapsed })
        })
    })
}

/// The books the slow way: between any two neighbouring ends of spans, the account of highest precedence.
fn paint(spans: &[(Span, Account)], elapsed: MediaTime) -> BTreeMap<Account, MediaTime> {
    let mut cuts: Vec<MediaTime> = spans.iter().flat_map(|(span, _)| [span.start(), span.end()]).collect();
    cuts.extend([MediaTime::ZERO, elapsed]);
    cuts.sort();
    let mut books = BTreeMap::new();
    for pair in cuts.windows(2) {
        let here = spans.iter().filter(|(span, _)| span.start() <= pair[0] && pair[1] <= span.end());
        let account = here.map(|(_, account)| *account).min().unwrap_or(Account::DroppedShutdown);
        *books.entry(account).or_insert(MediaTime::ZERO) += pair[1] - pair[0];
    }
    books.retain(|_, time| *time > MediaTime::ZERO);
    books
}

fn books(summary: &Summary) -> BTreeMap<Account, MediaTime> {
    let all = Account::ALL.map(|account| (account, summary.coverage.of(account)));
    all.into_iter().filter(|(_, time)| *time > MediaTime::ZERO).collect()
}

/// The account of an event as whoever reads the JSON would find it.
fn account_on_the_wire(event: &Value) -> Option<(Span, Account)> {
    let data = &event["data"];
    let word = data["reason"].as_str().or(data["label"].as_str());
    let account = match (event["type"].as_str()?, word?) {
        ("ah.window.judged.v1", "present") => Account::Present,
        ("ah.window.judged.v1", "absent") => Account::Absent,
        ("ah.window.judged.v1", "undecided") => Account::Undecided,
        ("ah.window.skipped.v1", "gate") => Account::SkippedGate,
        ("ah.window.skipped.v1", "early_stop") => Account::SkippedEarlyStop,
        ("ah.window.skipped.v1", "paused") => Account::SkippedPaused,
        ("ah.window.dropped.v1", "overload") => Account::DroppedOverload,
        ("ah.window.dropped.v1", "shutdown") => Account::DroppedShutdown,
        ("ah.window.lost.v1", "outage") => Account::LostOutage,
        ("ah.window.lost.v1", "missing_media") => Account::LostMissingMedia,
        ("ah.window.lost.v1", "all_abstained") => Account::LostAllAbstained,
        ("ah.window.lost.v1", "tail") => Account::Tail,
        _ => return None,
    };
    let secs = |name: &str| data["span"][name].as_f64().map(MediaTime::from_secs_f64);
    Some((Span::new(secs("start_secs")?, secs("end_secs")?), account))
}

/// What episodes did, without when it was said.
fn succession(events: &[Event]) -> Vec<(Span, u32, String)> {
    let about = |event: &Event| match &event.kind {
        EventKind::EpisodeOpened(_, episode) => Some(format!("opened {episode:?}")),
        EventKind::EpisodeClosed(_, episode, by) => Some(format!("closed {episode:?} {by:?}")),
        EventKind::AlertRaised(alert) if alert.about != AlertAbout::Session => Some(format!("{:?}", alert.window)),
        _ => None,
    };
    events.iter().filter_map(|event| about(event).map(|text| (event.span, event.continuity, text))).collect()
}

proptest! {
    #[test]
    fn order_delay_and_repetition_change_nothing((plain, scrambled) in scrambled()) {
        let settings = settings(Rule::VoteOfMax);
        let ((one, events), (other, scrambled_events)) = (play(&settings, &plain), play(&settings, &scrambled));
        prop_assert_eq!(one.summary(), other.summary());
        prop_assert_eq!(one.maxima(), other.maxima());
        prop_assert_eq!(succession(&events), succession(&scrambled_events));
    }

    #[test]
    fn every_nanosecond_is_on_one_account((plain, scrambled) in scrambled()) {
        let (session, _) = play(&settings(Rule::VoteOfMax), &scrambled);
        let summary = session.summary();
        let spans: Vec<(Span, Account)> = plain.told.iter().filter_map(|told| match told {
            Told::Window(verdict) => {
                let account = match &verdict.outcome {
                    Outcome::Votes(votes) => match (
                        votes.iter().filter(|v| v.answer == Answer::Present).count(),
                        votes.iter().filter(|v| v.answer == Answer::Absent).count(),
                    ) {
                        (2.., _) => Account::Present,
                        (_, 2..) => Account::Absent,
                        (0, 0) => Account::LostAllAbstained,
                        _ => Account::Undecided,
                    },
                    Outcome::Skipped(reason) => Account::of_skip(reason),
                    Outcome::Dropped(reason) => Account::of_drop(*reason),
                    Outcome::Lost(reason) => Account::of_loss(*reason),
                };
                Some((verdict.span, account))
            }
            Told::Tail(_, span) => Some((*span, Account::Tail)),
            Told::Outage(_, span) => Some((*span, Account::LostOutage)),
            Told::Ended(..) => None,
        }).collect();
        prop_assert_eq!(books(&summary), paint(&spans, plain.elapsed));
        prop_assert_eq!(summary.elapsed, plain.elapsed);
        let c = summary.coverage;
        prop_assert_eq!(c.judged() + c.skipped() + c.dropped() + c.lost() + c.tail(), plain.elapsed);
    }

    #[test]
    fn the_books_can_be_rebuilt_from_the_events((_, script) in scrambled()) {
        let (session, events) = play(&settings(Rule::VoteOfMax), &script);
        let wire: Vec<Value> = events.iter().map(|event| serde_json::to_value(CloudEvent::from(event)).unwrap()).collect();
        let spans: Vec<(Span, Account)> = wire.iter().filter_map(account_on_the_wire).collect();
        let covered = spans.iter().fold(MediaTime::ZERO, |end, (span, _)| end.max(span.end()));
        let rebuilt = paint(&spans, covered);
        prop_assert_eq!(&rebuilt, &books(&session.summary()));
        // And the last event says the same.
        let ended = &wire.last().unwrap()["data"];
        let said = |path: &str| MediaTime::from_secs_f64(ended["coverage"].pointer(path).unwrap().as_f64().unwrap());
        let of = |account| rebuilt.get(&account).copied().unwrap_or_default();
        prop_assert_eq!(said("/judged/present_secs"), of(Account::Present));
        prop_assert_eq!(said("/judged/absent_secs"), of(Account::Absent));
        prop_assert_eq!(said("/judged/undecided_secs"), of(Account::Undecided));
        prop_assert_eq!(said("/skipped/gate_secs"), of(Account::SkippedGate));
        prop_assert_eq!(said("/skipped/paused_secs"), of(Account::SkippedPaused));
        prop_assert_eq!(said("/dropped/overload_secs"), of(Account::DroppedOverload));
        prop_assert_eq!(said("/dropped/shutdown_secs"), of(Account::DroppedShutdown));
        prop_assert_eq!(said("/lost/outage_secs"), of(Account::LostOutage));
        prop_assert_eq!(said("/lost/missing_media_secs"), of(Account::LostMissingMedia));
        prop_assert_eq!(said("/lost/all_abstained_secs"), of(Account::LostAllAbstained));
        prop_assert_eq!(said("/tail_secs"), of(Account::Tail));
        prop_assert_eq!(MediaTime::from_secs_f64(ended["elapsed_secs"].as_f64().unwrap()), script.elapsed);
    }

    #[test]
    fn present_stays_and_max_of_vote_implies_vote_of_max((_, script) in scrambled(), by_windows in any::<bool>()) {
        let rule = if by_windows { Rule::MaxOfVote } else { Rule::VoteOfMax };
        let mut session = session(&settings(rule));
        let mut before = (session.labels(), session.maxima());
        let mut alerts = 0;
        for told in &script.told {
            let events = tell(&mut session, told);
            alerts += events.iter().filter(|event| is_session_alert(event)).count();
            let labels = session.labels();
            prop_assert!(labels.max_of_vote != Label::Present || labels.vote_of_max == Label::Present);
            prop_assert!(before.0.vote_of_max != Label::Present || labels.vote_of_max == Label::Present);
            prop_assert!(before.0.max_of_vote != Label::Present || labels.max_of_vote == Label::Present);
            let maxima = session.maxima();
            for (old, new) in before.1.iter().zip(&maxima) {
                prop_assert!(old.1 != Label::Present || new.1 == Label::Present);
            }
            prop_assert_eq!(alerts, usize::from(labels.by(rule) == Label::Present), "one alert, at once");
            before = (labels, maxima);
        }
    }

    #[test]
    fn ids_are_unique_and_count_up((_, script) in scrambled()) {
        let (_, events) = play(&settings(Rule::VoteOfMax), &script);
        let ids: Vec<String> = events.iter().map(|event| CloudEvent::from(event).id).collect();
        prop_assert_eq!(ids, (0..events.len()).map(|n| format!("s.{n}")).collect::<Vec<_>>());
    }

    /// Rule 10, with judges whose answers are written down beforehand and with windows in flight.
    #[test]
    fn early_stop_asks_less_and_says_the_same(
        answers in prop::collection::vec(prop::collection::vec(answer(), 3), 1..30),
        in_flight in 1_usize..4,
    ) {
        let run = |early_stop: bool| {
            let settings = Arc::new(SessionSettings { early_stop, ..(*settings(Rule::VoteOfMax)).clone() });
            let mut session = session(&settings);
            let (mut events, mut waiting, mut calls) = (Vec::new(), Vec::new(), 0);
            for (index, answers) in (0..).zip(&answers) {
                let votes = answers.iter().enumerate().map(|(n, answer)| {
                    let asked = session.asks(&settings.judges[n]);
                    calls += usize::from(asked);
                    vote(n, if asked { answer.clone() } else { Answer::NotAsked })
                });
                let start = i64::from(index) * 5 * SECOND;
                waiting.push(Verdict {
                    window: WindowId { continuity: 0, index },
                    span: span(start, start + 5 * SECOND),
                    outcome: Outcome::Votes(votes.collect()),
                });
                if waiting.len() >= in_flight {
                    events.extend(session.apply(&waiting.pop().unwrap(), now()));
                }
            }
            for verdict in waiting {
                events.extend(session.apply(&verdict, now()));
            }
            events.extend(session.end(MediaTime::ZERO, now()));
            (session, events, calls)
        };
        let ((plain, _, all_calls), (stopped, events, calls)) = (run(false), run(true));
        prop_assert_eq!(plain.labels().vote_of_max, stopped.labels().vote_of_max);
        prop_assert_eq!(plain.maxima(), stopped.maxima());
        prop_assert!(calls <= all_calls);
        let (plain, stopped) = (plain.summary(), stopped.summary());
        prop_assert_eq!(plain.elapsed, stopped.elapsed);
        prop_assert!(stopped.labels.max_of_vote == plain.labels.max_of_vote || stopped.labels.max_of_vote == Label::Undecided);
        prop_assert_eq!(stopped.alarms, None);
        prop_assert!(succession(&events).is_empty(), "episodes are not reported");
        prop_assert!(stopped.judges.iter().all(|judge| judge.abstained.values().sum::<u32>() + judge.not_asked
            + judge.present + judge.absent == u32::try_from(answers.len()).unwrap()));
    }

    #[test]
    fn the_sentence_says_absence_of_judged_time_only((_, script) in scrambled(), heuristic in any::<bool>()) {
        let kind = if heuristic { SessionKind::Heuristic } else { SessionKind::Panel };
        let settings = Arc::new(SessionSettings { kind, ..(*settings(Rule::VoteOfMax)).clone() });
        let summary = play(&settings, &script).0.summary();
        let text = summary.verdict();
        prop_assert!(!(heuristic && text.contains("A/H")), "{}", text);
        prop_assert_eq!(text.to_lowercase().matches("no a/h").count() + text.to_lowercase().matches("no hesitation").count(),
            text.matches(" s judged").count(), "{}", text);
        let absent = summary.labels.vote_of_max == Label::Absent || summary.labels.max_of_vote == Label::Absent;
        prop_assert_eq!(text.contains(" s judged"), absent, "{}", text);
        prop_assert_eq!(text.contains("nothing is said of") || text.starts_with("Nothing"),
            summary.coverage.judged() < summary.elapsed || summary.elapsed == MediaTime::ZERO, "{}", text);
    }
}

fn is_session_alert(event: &Event) -> bool {
    matches!(&event.kind, EventKind::AlertRaised(alert) if alert.about == AlertAbout::Session)
}
