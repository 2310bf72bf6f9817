//! What is learned of judges over hours, on a clock that stands still unless it is waited for.

use std::sync::Mutex;

use super::*;
use crate::judge::AbstentionReason;
use crate::judge::canary::LabelLogprobs;
use crate::judge::fingerprint::Fingerprint;
use crate::judge::fingerprint::{ClipFingerprint, JudgeFingerprint, TOLERANCE};
use crate::judge::prompt::Prompt;

const BOTH: Accepts = Accepts { video: true, audio: true };

/// Judges that answer as the test says, of one replica each unless it is said.
#[derive(Default)]
struct Played {
    replicas: usize,
    /// Of each replica, judge by judge. None: does not answer. Else whether it hears, and how far its log-odds are off.
    answers: Mutex<Vec<Option<(bool, f64)>>>,
    asked: Mutex<Vec<(usize, Vec<CanaryClip>)>>,
    noted: Mutex<Vec<(usize, Proof)>>,
}

impl Played {
    fn set(&self, answers: &[Option<(bool, f64)>]) {
        *self.answers.lock().unwrap() = answers.to_vec();
    }
}

impl Judges for &Played {
    async fn examine(&self, judge: usize, which: Vec<CanaryClip>, repeats: usize) -> Vec<Examined> {
        self.asked.lock().unwrap().push((judge, which.clone()));
        let outcome = |answer| match answer {
            None => Err(Abstention { reason: AbstentionReason::Unreachable, detail: "away".into() }),
            Some((hears, off)) => Ok(which
                .iter()
                .map(|&clip| {
                    let effect = match clip {
                        CanaryClip::Speech | CanaryClip::LongSpeech if hears => 1.0,
                        CanaryClip::Moving => -1.0,
                        _ => 0.0,
                    };
                    let labels = vec![LabelLogprobs { yes: effect + off - 9.0, no: -9.0 }; repeats];
                    (clip, Heard { labels, ..Heard::default() })
                })
                .collect()),
        };
        let replicas = self.replicas.max(1);
        let answers = self.answers.lock().unwrap();
        let answers = answers.iter().skip(judge * replicas).take(replicas).enumerate();
        answers
            .map(|(n, answer)| Examined { replica: format!("https://h{judge}-{n}/v1"), outcome: outcome(*answer) })
            .collect()
    }

    fn note(&self, judge: usize, proof: Proof) {
        self.noted.lock().unwrap().push((judge, proof));
    }
}

fn config(name: &str) -> JudgeConfig {
    let text = format!("[[judge]]\nname = \"{name}\"\nbase_url = \"https://h/v1\"\nmodel = \"m\"");
    let raw = crate::config::RawConfig::parse(&text, std::path::Path::new("a.toml"));
    let config = crate::config::Config::build(raw, crate::config::Overrides::default(), &|_| None).unwrap();
    let crate::config::Judging::Panel(mut judges) = config.judging else { panic!("a panel") };
    judges.remove(0)
}

fn fingerprint(names: &[&str]) -> Fingerprint {
    let clip = |(clip, log_odds)| ClipFingerprint { clip, sha256: String::new(), log_odds, spread: 0.0 };
    let clips = [(CanaryClip::Still, 0.0), (CanaryClip::Speech, 1.0), (CanaryClip::Moving, -1.0)].map(clip);
    let judge = |name: &&str| JudgeFingerprint {
        name: (*name).to_owned(),
        model: "m".into(),
        prompt_sha256: String::new(),
        time_scale: 2.0,
        server: None,
        clips: clips.to_vec(),
    };
    Fingerprint { saved: String::new(), judges: names.iter().map(judge).collect() }
}

fn guard<'a>(played: &'a Played, names: &[&str], canary: bool, fingerprinted: bool) -> Guard<&'a Played> {
    let rules = PanelConfig {
        canary,
        allow_degraded: false,
        fingerprint: fingerprinted.then(|| ("panel.fp.toml".into(), fingerprint(names))),
        fingerprint_every: Duration::from_hours(1),
        fingerprint_tolerance: TOLERANCE,
    };
    Guard::over(played, rules, &names.iter().map(|name| config(name)).collect::<Vec<_>>())
}

#[tokio::test(start_paused = true)]
async fn a_judge_that_drifts_is_told_within_the_hour_and_again_when_it_is_back() {
    let played = Played::default();
    played.set(&[Some((true, 0.1)), Some((true, 0.0))]);
    let mut guard = guard(&played, &["v1", "v2"], true, true);
    assert_eq!(guard.start().await, []);
    let began = Instant::now();
    played.set(&[Some((true, 0.1)), Some((true, 0.4))]);
    let changes = guard.next().await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 3600);
    assert_eq!((changes.len(), changes[0].index, changes[0].proof), (1, 1, Proof::Failed(Fault::Changed)));
    assert!(changes[0].detail.contains("were 0.0000 and are 0.4000"), "{changes:?}");
    // The same again is no news.
    assert_eq!(guard.next().await.unwrap(), []);
    played.set(&[Some((true, 0.1)), Some((true, 0.0))]);
    let changes = guard.next().await.unwrap();
    assert_eq!((changes[0].index, changes[0].proof), (1, Proof::Proven));
    assert_eq!(began.elapsed().as_secs(), 3 * 3600);
    let clips: Vec<_> = played.asked.lock().unwrap().iter().map(|(_, which)| which.len()).collect();
    assert_eq!(clips, [5, 5, 3, 3, 3, 3, 3, 3]);
    assert_eq!(played.noted.lock().unwrap().last(), Some(&(1, Proof::Proven)));
}

#[tokio::test(start_paused = true)]
async fn a_judge_that_was_away_at_the_start_is_examined_when_it_answers() {
    let played = Played::default();
    played.set(&[None]);
    let mut guard = guard(&played, &["v1"], true, false);
    let changes = guard.start().await;
    assert_eq!((changes[0].proof, changes[0].detail.contains("away")), (Proof::Unproven, true));
    let began = Instant::now();
    assert_eq!(guard.next().await.unwrap(), []);
    played.set(&[Some((false, 0.0))]);
    assert_eq!(guard.next().await.unwrap()[0].proof, Proof::Failed(Fault::Deaf));
    assert_eq!(began.elapsed(), 2 * RETRY);
    // Nothing is pending, and there is no fingerprint.
    assert!(guard.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn without_canary_and_fingerprint_nobody_is_asked() {
    let played = Played::default();
    played.set(&[Some((false, 0.0))]);
    let mut guard = guard(&played, &["v1"], false, false);
    assert_eq!(guard.start().await, []);
    assert_eq!(*played.noted.lock().unwrap(), [(0, Proof::NotChecked)]);
    assert!(guard.next().await.is_none());
    assert!(played.asked.lock().unwrap().iter().all(|(_, which)| which.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_fingerprint_is_compared_without_a_canary_and_a_silence_is_no_change() {
    let played = Played::default();
    played.set(&[Some((true, 0.9))]);
    let mut guard = guard(&played, &["v1"], false, true);
    assert_eq!(guard.start().await[0].proof, Proof::Failed(Fault::Changed));
    played.set(&[None]);
    assert_eq!(guard.next().await.unwrap(), []);
    played.set(&[Some((true, 0.0))]);
    let changes = guard.next().await.unwrap();
    assert_eq!((changes[0].proof, changes[0].detail.as_str()), (Proof::NotChecked, "it answers as its fingerprint"));
}

/// A judge of two replicas.
fn two() -> Played {
    Played { replicas: 2, ..Played::default() }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_was_found_out_is_not_cleared_by_its_silence() {
    let played = two();
    played.set(&[Some((false, 0.0)), None]);
    let mut guard = guard(&played, &["v1"], true, false);
    assert_eq!(guard.start().await[0].proof, Proof::Failed(Fault::Deaf));
    let last = || *played.noted.lock().unwrap().last().unwrap();
    played.set(&[None, None]);
    assert_eq!(guard.next().await.unwrap(), []);
    assert_eq!(last(), (0, Proof::Failed(Fault::Deaf)));
    played.set(&[None, Some((true, 0.0))]);
    assert_eq!(guard.next().await.unwrap(), []);
    assert_eq!(last(), (0, Proof::Failed(Fault::Deaf)));
    // Something is known of each of them.
    assert!(guard.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_was_found_out_is_cleared_by_its_answer_while_another_is_away() {
    let played = two();
    played.set(&[Some((false, 0.0)), None]);
    let mut guard = guard(&played, &["v1"], true, false);
    assert_eq!(guard.start().await[0].proof, Proof::Failed(Fault::Deaf));
    played.set(&[Some((true, 0.0)), None]);
    assert_eq!(guard.next().await.unwrap()[0].proof, Proof::Unproven);
    // What was heard of the first stands, now that it is away.
    played.set(&[None, Some((true, 0.0))]);
    assert_eq!(guard.next().await.unwrap()[0].proof, Proof::Proven);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_changed_is_not_cleared_by_its_silence() {
    let played = two();
    played.set(&[Some((true, 0.9)), Some((true, 0.0))]);
    let mut guard = guard(&played, &["v1"], false, true);
    let changes = guard.start().await;
    assert_eq!(changes[0].proof, Proof::Failed(Fault::Changed));
    assert!(changes[0].detail.starts_with("https://h0-0/v1: not as its fingerprint"), "{changes:?}");
    played.set(&[None, Some((true, 0.0))]);
    assert_eq!(guard.next().await.unwrap(), []);
    assert_eq!(*played.noted.lock().unwrap().last().unwrap(), (0, Proof::Failed(Fault::Changed)));
    played.set(&[Some((true, 0.0)), None]);
    assert_eq!(guard.next().await.unwrap()[0].proof, Proof::NotChecked);
}

#[tokio::test(start_paused = true)]
async fn a_judge_that_was_away_at_the_start_is_compared_when_it_answers_also_without_a_canary() {
    let played = two();
    played.set(&[Some((true, 0.0)), None]);
    let mut guard = guard(&played, &["v1"], false, true);
    let changes = guard.start().await;
    assert_eq!((changes[0].proof, changes[0].detail.contains("away")), (Proof::Unproven, true));
    let began = Instant::now();
    assert_eq!(guard.next().await.unwrap(), []);
    played.set(&[Some((true, 0.0)), Some((true, 0.9))]);
    assert_eq!(guard.next().await.unwrap()[0].proof, Proof::Failed(Fault::Changed));
    assert_eq!(began.elapsed(), 2 * RETRY);
    // It is asked about the clips of its fingerprint only, and from now on with the others.
    assert!(played.asked.lock().unwrap().iter().all(|(_, which)| *which == clips_of(BOTH)));
    played.set(&[Some((true, 0.0)), Some((true, 0.0))]);
    assert_eq!(guard.next().await.unwrap()[0].proof, Proof::NotChecked);
    assert_eq!(began.elapsed().as_secs(), 3600);
}

#[test]
fn a_judge_is_as_good_as_its_worst_replica_which_is_named() {
    let heard = |hears: bool| {
        let of = |clip| {
            let effect = match clip {
                CanaryClip::Speech | CanaryClip::LongSpeech if hears => 1.0,
                CanaryClip::Moving => -1.0,
                _ => 0.0,
            };
            (clip, Heard { labels: vec![LabelLogprobs { yes: effect - 9.0, no: -9.0 }; 5], ..Heard::default() })
        };
        CanaryClip::of(BOTH).into_iter().map(of).collect()
    };
    let replica = |name: &str, outcome| Examined { replica: name.into(), outcome };
    let away = || Err(Abstention { reason: AbstentionReason::Unreachable, detail: "away".into() });
    let (good, deaf) = (replica("a", Ok(heard(true))), replica("b", Ok(heard(false))));
    assert_eq!(standing(BOTH, std::slice::from_ref(&good)).0, Proof::Proven);
    let (proof, why) = standing(BOTH, &[good.clone(), deaf, replica("c", away())]);
    assert_eq!(proof, Proof::Failed(Fault::Deaf));
    assert!(why.starts_with("b: sound: "), "{why}");
    assert_eq!(standing(BOTH, &[replica("c", away()), good]).0, Proof::Unproven);
    // The prompt has no part in it.
    assert!(Prompt::parse("<video><audio>", BOTH).is_ok());
}
