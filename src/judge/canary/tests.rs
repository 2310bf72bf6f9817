//! Which judges are proven, and which are found out.

use proptest::prelude::*;

use super::*;

const BOTH: Accepts = Accepts { video: true, audio: true };

/// A judge whose log-odds depend on these channels, with noise of at most so much.
#[derive(Clone, Copy, Debug)]
struct Model {
    hears: bool,
    sees: bool,
    past_30_secs: bool,
    effect: f64,
}

const WHOLE: Model = Model { hears: true, sees: true, past_30_secs: true, effect: 0.5 };

fn logprobs(log_odds: f64) -> LabelLogprobs {
    LabelLogprobs { yes: -1.0 + log_odds / 2.0, no: -1.0 - log_odds / 2.0 }
}

/// What it answers, the repeats moved by `noise`.
fn heard(model: Model, noise: &[f64]) -> BTreeMap<CanaryClip, Heard> {
    let log_odds = |clip| match clip {
        CanaryClip::Speech if model.hears => model.effect,
        CanaryClip::Moving if model.sees => -model.effect,
        CanaryClip::LongSpeech if model.hears && model.past_30_secs => model.effect,
        _ => 0.0,
    };
    let of = |clip: CanaryClip| {
        let labels = noise.iter().map(|noise| logprobs(log_odds(clip) + noise)).collect();
        (clip, Heard { labels, ..Heard::default() })
    };
    CanaryClip::of(BOTH).into_iter().map(of).collect()
}

fn proof_of(model: Model, noise: &[f64]) -> Proof {
    proof(&findings(BOTH, &heard(model, noise)))
}

#[test]
fn each_fault_has_its_name() {
    let quiet = [0.0; REPEATS];
    assert_eq!(proof_of(WHOLE, &quiet), Proof::Proven);
    assert_eq!(proof_of(Model { hears: false, ..WHOLE }, &quiet), Proof::Failed(Fault::Deaf));
    assert_eq!(proof_of(Model { sees: false, ..WHOLE }, &quiet), Proof::Failed(Fault::Blind));
    assert_eq!(proof_of(Model { past_30_secs: false, ..WHOLE }, &quiet), Proof::Failed(Fault::Truncates));
}

proptest! {
    #[test]
    fn a_channel_counts_when_its_effect_is_larger_than_the_noise(
        noise in prop::collection::vec(-1.0_f64..1.0, REPEATS),
        effect in 0.0_f64..4.0,
    ) {
        let spread = mean_and_spread(noise.iter().copied()).unwrap().1;
        let model = Model { effect, ..WHOLE };
        if effect > spread.max(FLOOR) * 1.01 + 1e-6 {
            prop_assert_eq!(proof_of(model, &noise), Proof::Proven);
        } else if effect < spread.max(FLOOR) * 0.99 - 1e-6 {
            prop_assert_eq!(proof_of(model, &noise), Proof::Failed(Fault::Deaf));
        }
    }

    #[test]
    fn without_any_effect_nothing_is_ever_proven(
        noise in prop::collection::vec(-1.0_f64..1.0, REPEATS),
        hears in any::<bool>(),
        sees in any::<bool>(),
    ) {
        let model = Model { hears, sees, past_30_secs: true, effect: 5.0 };
        let found = proof_of(model, &noise);
        prop_assert_eq!(found == Proof::Proven, hears && sees, "{:?}", found);
        prop_assert_eq!(found == Proof::Failed(Fault::Deaf), !hears);
    }

    #[test]
    fn judges_are_only_asked_for_what_they_take(audio in any::<bool>(), video in any::<bool>()) {
        let accepts = Accepts { video, audio };
        let mut model = WHOLE;
        (model.hears, model.sees) = (audio, video);
        let heard = heard(model, &[0.0; REPEATS]);
        let asked: BTreeMap<_, _> = heard.into_iter().filter(|(clip, _)| CanaryClip::of(accepts).contains(clip)).collect();
        let found = proof(&findings(accepts, &asked));
        // Nothing taken is nothing proven.
        prop_assert_eq!(found, if audio || video { Proof::Proven } else { Proof::Unproven });
    }
}

#[test]
fn log_odds_equal_by_rounding_do_not_make_a_judge_deaf() {
    // 16-bit logits: both labels moved by the same step, so their odds did not.
    let mut heard = heard(WHOLE, &[0.0; REPEATS]);
    let speech = heard.get_mut(&CanaryClip::Speech).unwrap();
    speech.labels = vec![LabelLogprobs { yes: -1.002, no: -1.002 }; REPEATS];
    let Finding::Differs(difference) = finding(Pair::Sound, &heard) else { panic!("{heard:?}") };
    assert_eq!(difference.of, Quantity::Yes);
}

fn uncounting(tokens: impl Fn(CanaryClip) -> Counted) -> BTreeMap<CanaryClip, Heard> {
    let of = |clip| (clip, Heard { without: Some("none".into()), tokens: tokens(clip), ..Heard::default() });
    CanaryClip::of(BOTH).into_iter().map(of).collect()
}

fn long(clip: CanaryClip) -> bool {
    matches!(clip, CanaryClip::Long | CanaryClip::LongSpeech)
}

#[test]
fn without_log_odds_a_judge_is_unproven_unless_its_counts_give_it_away() {
    let proof = |tokens: &dyn Fn(CanaryClip) -> Counted| proof(&findings(BOTH, &uncounting(tokens)));
    let counts = |prompt, audio, video| Counted { prompt, audio, video };
    assert_eq!(proof(&|_| Counted::default()), Proof::Unproven);
    assert_eq!(proof(&|clip| counts(Some(if long(clip) { 1088 } else { 698 }), None, None)), Proof::Unproven);
    assert_eq!(proof(&|_| counts(Some(698), None, None)), Proof::Failed(Fault::Deaf));
    let whole = |clip| counts(Some(698), Some(if long(clip) { 455 } else { 65 }), Some(560));
    assert_eq!(proof(&|clip| Counted { prompt: None, ..whole(clip) }), Proof::Unproven);
    let cut = |clip| counts(None, Some(if long(clip) { 390 } else { 65 }), Some(560));
    assert_eq!(proof(&cut), Proof::Failed(Fault::Truncates));
}

#[test]
fn a_channel_without_tokens_fails_whatever_the_log_odds_do() {
    for (tokens, fault) in [
        (Counted { audio: Some(0), video: Some(560), prompt: None }, Fault::Deaf),
        (Counted { audio: Some(65), video: Some(0), prompt: None }, Fault::Blind),
    ] {
        let mut heard = heard(WHOLE, &[0.0; REPEATS]);
        for heard in heard.values_mut() {
            heard.tokens = tokens;
        }
        assert_eq!(proof(&findings(BOTH, &heard)), Proof::Failed(fault));
    }
}

#[test]
fn a_server_that_refuses_35_seconds_openly_truncates_nothing() {
    let mut heard = heard(WHOLE, &[0.0; REPEATS]);
    let refused = Heard { refused: Some("status 400: too long".into()), ..Heard::default() };
    heard.insert(CanaryClip::Long, refused.clone());
    heard.insert(CanaryClip::LongSpeech, refused);
    assert_eq!(proof(&findings(BOTH, &heard)), Proof::Proven);
}
