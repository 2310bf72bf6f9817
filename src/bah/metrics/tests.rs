//! Against scikit-learn, scipy and numpy: `tests/fixtures/bah/expected_metrics.py` wrote what they say.

use serde::Deserialize;
use std::collections::BTreeMap;

use super::*;

#[derive(Deserialize)]
struct Expected {
    tables: Vec<Table>,
    mcnemar: Vec<Test>,
    pairs: Vec<PairOf>,
}

type Values = BTreeMap<String, f64>;

#[derive(Deserialize)]
struct Table {
    kind: String,
    participants: usize,
    cases: Vec<(u8, Option<u8>, Option<f64>, usize)>,
    expected: [Option<Values>; 2],
    bootstrap: Option<Drawn>,
}

#[derive(Deserialize)]
struct Drawn {
    draws: u32,
    seed: u64,
    intervals: [BTreeMap<String, (f64, f64)>; 2],
}

#[derive(Deserialize)]
struct Test {
    only_first: u64,
    only_second: u64,
    p: f64,
}

#[derive(Deserialize)]
struct PairOf {
    first: Vec<u8>,
    second: Vec<u8>,
    agreement: f64,
    kappa: f64,
}

fn expected() -> Expected {
    serde_json::from_str(include_str!("../../../tests/fixtures/bah/metrics.json")).unwrap()
}

fn cases(table: &Table) -> Vec<Case> {
    let case = |&(truth, answer, score, participant): &(u8, Option<u8>, Option<f64>, usize)| Case {
        truth: truth == 1,
        answer: answer.map(|a| a == 1),
        score,
        participant,
    };
    table.cases.iter().map(case).collect()
}

fn name(metric: Metric) -> String {
    serde_json::to_value(metric).unwrap().as_str().unwrap().to_owned()
}

fn said(answers: &[u8]) -> Vec<Case> {
    let case = |a: &u8| Case { truth: true, answer: Some(*a == 1), score: None, participant: 0 };
    answers.iter().map(case).collect()
}

#[track_caller]
fn near(what: &str, ours: f64, theirs: f64) {
    assert!((ours - theirs).abs() < 1e-9, "{what}: {ours} is not {theirs}");
}

#[test]
fn every_metric_is_scikit_learns() {
    let mut compared = BTreeMap::new();
    for table in expected().tables {
        let cases = cases(&table);
        for (abstentions, expected) in Abstentions::ALL.into_iter().zip(&table.expected) {
            let rates = Confusion::of(&cases).rates(abstentions);
            let ap = average_precision(&cases, abstentions);
            for metric in Metric::ALL {
                let what = format!("{} {metric:?} {abstentions:?}", table.kind);
                let theirs = expected.as_ref().and_then(|e| e.get(&name(metric)));
                match (metric.value(rates.as_ref(), ap.as_ref()), theirs) {
                    (Some(ours), Some(theirs)) => near(&what, ours, *theirs),
                    (None, None) => continue,
                    other => panic!("{what}: {other:?}"),
                }
                *compared.entry(metric).or_insert(0) += 1;
            }
        }
    }
    assert!(Metric::ALL.iter().all(|metric| compared[metric] >= 60), "{compared:?}");
}

#[test]
fn intervals_are_numpys_on_the_same_draws() {
    let mut compared = 0;
    for table in expected().tables.iter().filter(|table| table.bootstrap.is_some()) {
        let drawn = table.bootstrap.as_ref().unwrap();
        let cases = cases(table);
        let bootstrap = Bootstrap { draws: drawn.draws, seed: drawn.seed };
        let both = bootstrap.intervals(&[&cases], table.participants);
        for (ours, theirs) in both[0].iter().zip(&drawn.intervals) {
            assert_eq!(ours.len(), theirs.len(), "{}", table.kind);
            for (metric, interval) in ours {
                let (low, high) = theirs[&name(*metric)];
                near(&format!("{} {metric:?} low", table.kind), interval.low, low);
                near(&format!("{} {metric:?} high", table.kind), interval.high, high);
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn one_participant_has_no_interval() {
    let cases = said(&[1, 0, 1]);
    assert!(Bootstrap::default().intervals(&[&cases], 1)[0][0].is_empty());
}

#[test]
fn mcnemar_is_scipys_binomial_test() {
    for test in expected().mcnemar {
        near("p", agreement::two_sided(test.only_first, test.only_second), test.p);
    }
    let (right, wrong) = (said(&[1, 1, 1, 0]), said(&[0, 1, 1, 0]));
    assert_eq!(mcnemar(&right, &wrong), McNemar { only_first: 1, only_second: 0, p: 1.0 });
}

#[test]
fn kappa_is_scikit_learns() {
    for expected in expected().pairs {
        let pair = pair(&said(&expected.first), &said(&expected.second));
        near("agreement", pair.agreement.unwrap(), expected.agreement);
        near("kappa", pair.kappa.unwrap(), expected.kappa);
    }
    assert_eq!(pair(&said(&[1, 1]), &said(&[1, 1])).kappa, None, "chance alone agrees");
}

#[test]
fn independent_judges_of_80_percent_reach_what_the_binomial_says() {
    let judge = |wrong: usize| {
        let case = |n: usize| Case {
            truth: n.is_multiple_of(2),
            answer: Some(n.is_multiple_of(2) != (n / 2 == wrong)),
            score: None,
            participant: 0,
        };
        (0..10).map(case).collect::<Vec<_>>()
    };
    let judges = [judge(0), judge(1), judge(2)];
    let vote = independent_vote(&judges.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    near("accuracy", vote.accuracy, 0.8_f64.powi(3) + 3.0 * 0.8 * 0.8 * 0.2);
    near("by class", vote.accuracy_by_class, vote.accuracy);
    assert_eq!(independent_vote(&[]), None);
}

#[test]
fn the_no_skill_rows_of_the_test_set_are_those_of_the_field() {
    let always_yes = Confusion { true_positive: 318, false_positive: 207, ..Confusion::default() };
    let rates = always_yes.rates(Abstentions::LeftOut).unwrap();
    #[allow(clippy::cast_possible_truncation, reason = "below 1000")]
    let per_mille = |value: f64| (value * 1000.0).round() as i32;
    assert_eq!([rates.accuracy, rates.f1, rates.macro_f1].map(per_mille), [606, 754, 377]);
}

#[test]
fn an_abstention_is_wrong_or_left_out_and_never_a_no() {
    let of = |truth| Case { truth, answer: None, score: None, participant: 0 };
    let confusion = Confusion::of(&[of(true), of(false)]);
    assert_eq!(confusion.rates(Abstentions::LeftOut), None);
    let rates = confusion.rates(Abstentions::CountedWrong).unwrap();
    assert!(rates.accuracy == 0.0 && rates.precision == 0.0 && rates.n == 2);
    assert_eq!(confusion.by_row(), [[0.0, 0.0, 1.0]; 2]);
}

#[test]
fn the_curve_ends_at_all_positives_and_has_one_point_a_score() {
    let case = |truth, score| Case { truth, answer: None, score: Some(score), participant: 0 };
    let points = curve(&[case(true, 0.9), case(false, 0.5), case(true, 0.5), case(false, 0.1)]);
    let points: Vec<_> = points.iter().map(|p| (p.threshold, p.recall, p.precision)).collect();
    assert_eq!(points, [(0.9, 0.5, 1.0), (0.5, 1.0, 2.0 / 3.0), (0.1, 1.0, 0.5)]);
}
