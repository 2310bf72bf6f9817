//! Verdicts of a panel, in any order and repeated: the label is a function of their set, counted here a second time from the
//! design's own words; a failure is never a "No".

use std::collections::BTreeMap;
use std::sync::Arc;

use ahwatch::judge::{
    Abstention, AbstentionReason, Answer, DropReason, Label, LostReason, Outcome, SkipReason, Verdict, Vote, WindowId,
};
use ahwatch::session::{Rule, Session, SessionSettings, Summary};
use ahwatch::time::{MediaTime, Span};
use arbitrary::{Arbitrary, Unstructured};
use jiff::Timestamp;

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Said {
    Yes,
    No,
    Failed,
    NotAsked,
    /// The judge is not among the votes.
    Missing,
    /// It is twice among them: the first counts.
    Twice(bool),
}

#[derive(Arbitrary, Debug)]
enum Fate {
    Judged([Said; 5]),
    Skipped,
    Dropped,
    Lost,
}

#[derive(Arbitrary, Debug)]
struct Script {
    /// One, three or five judges.
    half: u8,
    max_of_vote: bool,
    min_coverage: u8,
    fates: Vec<Fate>,
    /// Where each window is put in a second telling.
    order: Vec<u8>,
    /// Seconds at the end that nobody accounts for.
    rest: u8,
}

fn span(from: i64, to: i64) -> Span {
    Span::new(MediaTime::from_millis(from * 1000), MediaTime::from_millis(to * 1000))
}

/// A script of windows, five seconds each.
pub fn run(data: &[u8]) {
    let Ok(script) = Script::arbitrary_take_rest(Unstructured::new(data)) else { return };
    let judges: Vec<Arc<str>> = (0..=usize::from(script.half % 3) * 2).map(|n| format!("v{n}").into()).collect();
    let percent = script.min_coverage.clamp(1, 100);
    let settings = Arc::new(SessionSettings {
        judges: judges.clone(),
        rule: if script.max_of_vote { Rule::MaxOfVote } else { Rule::VoteOfMax },
        min_coverage: f64::from(percent) / 100.0,
        ..SessionSettings::default()
    });
    let verdicts: Vec<Verdict> = (0..).zip(&script.fates).map(|(n, fate)| verdict(n, fate, judges.len())).collect();
    let end = i64::try_from(verdicts.len()).unwrap_or(0) * 5;
    let elapsed = MediaTime::from_millis((end + i64::from(script.rest)) * 1000);
    let told = |order: &[usize]| {
        let mut session = Session::new("s".into(), "camera".into(), Arc::clone(&settings));
        session.start(Timestamp::UNIX_EPOCH);
        let mut was = Label::Undecided;
        for n in order {
            session.apply(&verdicts[*n], Timestamp::UNIX_EPOCH);
            let now = session.labels().by(settings.rule);
            assert!(was != Label::Present || now == Label::Present, "Present never goes back");
            was = now;
        }
        session.end(elapsed, Timestamp::UNIX_EPOCH);
        session.summary()
    };
    let straight: Vec<usize> = (0..verdicts.len()).collect();
    let mut twice: Vec<usize> = straight.iter().chain(&straight).copied().collect();
    for (n, to) in script.order.iter().enumerate() {
        let many = twice.len();
        if n < many {
            twice.swap(n, usize::from(*to) % many);
        }
    }
    let summary = told(&straight);
    assert_eq!(summary.coverage.total(), summary.elapsed);
    let again = told(&twice);
    assert_eq!((summary.labels, summary.coverage, summary.windows), (again.labels, again.coverage, again.windows));
    assert_eq!(maxima(&summary), maxima(&again));
    oracle(&summary, &verdicts, &settings, elapsed, percent);
}

fn maxima(summary: &Summary) -> Vec<Label> {
    summary.judges.iter().map(|judge| judge.max).collect()
}

fn verdict(index: u32, fate: &Fate, panel: usize) -> Verdict {
    let failed = || Answer::Abstained(Abstention { reason: AbstentionReason::Deadline, detail: "late".into() });
    let outcome = match fate {
        Fate::Judged(said) => {
            let mut votes = Vec::new();
            // A vote of somebody who is not in the panel counts for nothing.
            votes.push(Vote::new("stranger".into(), Answer::Present));
            for (n, said) in said.iter().take(panel).enumerate() {
                let mut push = |answer| votes.push(Vote::new(format!("v{n}").into(), answer));
                match said {
                    Said::Yes => push(Answer::Present),
                    Said::No => push(Answer::Absent),
                    Said::Failed => push(failed()),
                    Said::NotAsked => push(Answer::NotAsked),
                    Said::Missing => {}
                    Said::Twice(yes) => {
                        push(if *yes { Answer::Present } else { Answer::Absent });
                        push(if *yes { Answer::Absent } else { Answer::Present });
                    }
                }
            }
            Outcome::Votes(votes)
        }
        Fate::Skipped => Outcome::Skipped(SkipReason::Paused),
        Fate::Dropped => Outcome::Dropped(DropReason::Overload),
        Fate::Lost => Outcome::Lost(LostReason::MissingMedia),
    };
    let from = i64::from(index) * 5;
    Verdict { window: WindowId { continuity: 0, index }, span: span(from, from + 5), outcome }
}

/// Design rules 3 and 4, in whole numbers.
fn oracle(summary: &Summary, verdicts: &[Verdict], settings: &SessionSettings, elapsed: MediaTime, percent: u8) {
    let panel = settings.judges.len();
    let majority = |yes: usize, no: usize| match (2 * yes > panel, 2 * no > panel) {
        (true, _) => Label::Present,
        (_, true) => Label::Absent,
        _ => Label::Undecided,
    };
    // By judge: whether it ever said Yes, and windows it voted on. And windows labelled Present and Absent.
    let mut judges: BTreeMap<&str, (bool, i64)> = settings.judges.iter().map(|name| (&**name, (false, 0))).collect();
    let (mut present, mut absent, mut judged, mut left_out) = (0, 0, 0, false);
    for verdict in verdicts {
        let Outcome::Votes(votes) = &verdict.outcome else { continue };
        let (mut yes, mut no) = (0, 0);
        for (name, (ever, voted)) in &mut judges {
            match votes.iter().find(|vote| &*vote.judge == *name).map(|vote| &vote.answer) {
                Some(Answer::Present) => (yes, *ever, *voted) = (yes + 1, true, *voted + 1),
                Some(Answer::Absent) => (no, *voted) = (no + 1, *voted + 1),
                Some(Answer::NotAsked) => left_out = true,
                _ => {}
            }
        }
        judged += i64::from(yes + no > 0);
        match majority(yes, no) {
            Label::Present => present += 1,
            Label::Absent => absent += 1,
            Label::Undecided => {}
        }
    }
    // There is no tail here, so all of the session has to be covered.
    let covers = |windows: i64| {
        windows > 0 && i128::from(windows) * 500 * 1_000_000_000 >= i128::from(elapsed.as_nanos()) * i128::from(percent)
    };
    let max = |(ever, voted): (bool, i64)| match (ever, covers(voted)) {
        (true, _) => Label::Present,
        (_, true) => Label::Absent,
        _ => Label::Undecided,
    };
    let expected: Vec<Label> = settings.judges.iter().map(|name| max(judges[&**name])).collect();
    assert_eq!(maxima(summary), expected);
    let count = |label: Label| expected.iter().filter(|max| **max == label).count();
    assert_eq!(summary.labels.vote_of_max, majority(count(Label::Present), count(Label::Absent)));
    // A judge that was not asked might have turned a window: then nobody calls the windows' maximum Absent.
    assert_eq!(summary.labels.max_of_vote, max((present > 0, if left_out { 0 } else { absent })));
    assert_eq!(summary.coverage.judged(), MediaTime::from_millis(judged * 5000));
    if summary.labels.max_of_vote == Label::Present {
        assert_eq!(summary.labels.vote_of_max, Label::Present, "max_of_vote is Present only where vote_of_max is");
    }
}
