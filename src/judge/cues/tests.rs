#![allow(clippy::float_cmp, reason = "these values are exact")]

use super::*;
use crate::config::GateConfig;
use crate::gate::tests::{FACE_JPEG, detector_models, speech_wav};
use crate::gate::{Gate, Measurer, PictureFaces, Speech};
use crate::judge::WindowId;
use crate::judge::cues::voice::tests::voice;
use crate::time::MediaTime;
use crate::window::Still;
use crate::window::tests::empty;

/// The window at `index` of a continuity that lies `offset` seconds into a session.
fn window(continuity: u32, index: u32, offset: i64, sound: Option<Vec<i16>>) -> Window {
    let window = empty(index);
    let span = window.media.shift(MediaTime::from_millis(offset * 1_000));
    Window { id: WindowId { continuity, index }, span, sound, ..window }
}

/// Measures as a perfect speech model would give them: speech wherever there is sound.
fn heard(sound: &[i16]) -> Measures {
    let steps = sound.chunks_exact(512).map(|step| if step.iter().any(|x| x.abs() > 100) { 0.99 } else { 0.01 });
    Measures { speech: Some(Speech { lead: 0, probabilities: steps.collect() }), pictures: Vec::new() }
}

/// Syllables of 0.15 s with 0.05 s between them, gliding like speech, from the first second of each pair to the second.
fn talk(spans: &[(f32, f32)]) -> Vec<i16> {
    let tone = voice(5.0, 0.5, |t| 120.0 * (1.0 + 0.3 * (t * 9.0).sin()));
    let speaks = |t: f32| spans.iter().any(|(from, to)| (*from..*to).contains(&t)) && t % 0.2 < 0.15;
    tone.iter().enumerate().map(|(i, x)| if speaks(i as f32 / 16_000.0) { *x } else { 0 }).collect()
}

fn measurer() -> Measurer {
    Measurer::new(&detector_models()).unwrap()
}

fn gate() -> Gate {
    Gate::new("a", GateConfig::default())
}

fn index() -> CueIndex {
    CueIndex::new(Weights::load(None).unwrap())
}

fn read(index: &mut CueIndex, number: u32, sound: &[i16]) -> Result<CueReading, Abstention> {
    index.read(&window(0, number, 0, Some(sound.to_vec())), &heard(sound))
}

#[test]
fn missing_sound_is_no_pause_in_its_window_nor_in_the_next() {
    let mut index = index();
    // Silence from 3 s on, of which the stream says that it never came.
    let holed = talk(&[(0.0, 3.0)]);
    let at = |number: u32, sound: &[i16], missing: i64| Window {
        sound_missing: MediaTime::from_millis(missing),
        ..window(0, number, 0, Some(sound.to_vec()))
    };
    let told = index.read(&at(0, &holed, 2_000), &heard(&holed)).unwrap_err();
    assert_eq!(told.reason, AbstentionReason::InsufficientEvidence);
    assert!(told.detail.contains("2.0 s of its sound are missing"), "{}", told.detail);
    let steady = talk(&[(0.5, 5.0)]);
    let after = |index: &mut CueIndex| index.values(&at(1, &steady, 0), &heard(&steady)).unwrap().long_pause;
    assert_eq!(after(&mut index), Some(0.0), "what ends there began in the hole");
    // Had it been silent, there would be a pause.
    index.read(&at(0, &holed, 0), &heard(&holed)).unwrap();
    assert!(after(&mut index).is_some_and(|pause| pause > 2.0));
    // A few lost packets are shorter than any pause.
    assert!(index.read(&at(0, &steady, 240), &heard(&steady)).is_ok());
}

#[test]
fn steady_talk_scores_low_and_broken_talk_high() {
    let mut index = index();
    let threshold = index.weights().threshold;
    let steady = read(&mut index, 0, &talk(&[(0.0, 5.0)])).unwrap();
    assert!(steady.index < threshold / 2.0, "{steady:?}");
    let mut broken = talk(&[(0.0, 0.8), (1.8, 2.4), (4.6, 5.0)]);
    broken[45_000..60_000].copy_from_slice(&voice(15_000.0 / 16_000.0, 0.5, |_| 115.0)[..15_000]);
    let broken = read(&mut index, 1, &broken).unwrap();
    assert!(broken.index >= threshold, "{broken:?}");
    let names: Vec<&str> = broken.top.iter().map(|cue| &*cue.name).collect();
    assert!(names.contains(&"long_hold") && names.contains(&"pause_ratio"), "{names:?}");
    assert!(broken.top.is_sorted_by(|a, b| a.contribution >= b.contribution));
}

#[test]
fn values_are_what_was_made() {
    let sound = talk(&[(0.0, 2.0), (3.0, 5.0)]);
    let values = index().values(&window(0, 0, 0, Some(sound.clone())), &heard(&sound)).unwrap();
    let near = |value: Option<f64>, target: f64, by: f64| assert!((value.unwrap() - target).abs() < by, "{values:?}");
    near(values.long_pause, 1.05, 0.08);
    near(values.pause_rate, 12.0, 1.5);
    near(values.speech_rate, 4.0, 0.6);
    near(values.long_hold, 0.0, 0.01);
    near(values.f0_median, 120.0, 12.0);
    assert!(values.f0_rise.is_none() && values.head_away.is_none() && values.face_present.is_none());
}

#[test]
fn too_little_speech_is_an_abstention_and_silence_no_answer() {
    let mut index = index();
    for (number, sound) in [talk(&[(1.0, 2.0)]), vec![0; 80_000], Vec::new()].iter().enumerate() {
        let abstention = read(&mut index, u32::try_from(number).unwrap(), sound).unwrap_err();
        assert_eq!(abstention.reason, AbstentionReason::InsufficientEvidence);
        assert!(abstention.detail.contains("1.5 s needed"), "{}", abstention.detail);
    }
    let mute = index.read(&window(0, 9, 0, None), &Measures { speech: None, pictures: Vec::new() });
    assert_eq!(mute.unwrap_err().reason, AbstentionReason::NoAudio);
}

#[test]
fn the_other_speakers_turn_adds_nothing() {
    let mut alone = index();
    let mut dialogue = index();
    let (turn, answer) = (talk(&[(0.0, 1.0)]), talk(&[(0.0, 5.0)]));
    let expected = read(&mut alone, 0, &answer).unwrap();
    read(&mut dialogue, 0, &turn).unwrap_err();
    assert_eq!(read(&mut dialogue, 1, &answer).unwrap(), expected);
}

#[test]
fn a_pause_across_windows_is_heard_in_the_second() {
    let mut index = index();
    read(&mut index, 0, &talk(&[(0.0, 4.4)])).unwrap();
    let sound = talk(&[(0.6, 5.0)]);
    let values = index.values(&window(0, 1, 0, Some(sound.clone())), &heard(&sound)).unwrap();
    assert!((values.long_pause.unwrap() - 1.25).abs() < 0.08, "{values:?}");
}

#[test]
fn a_new_continuity_begins_anew() {
    let sound = talk(&[(0.6, 5.0)]);
    let fresh = index().read(&window(0, 0, 0, Some(sound.clone())), &heard(&sound)).unwrap();
    let mut used = index();
    for number in 0..4 {
        read(&mut used, number, &talk(&[(0.0, 4.4)])).unwrap();
    }
    assert_eq!(used.read(&window(1, 4, 0, Some(sound.clone())), &heard(&sound)).unwrap(), fresh);
}

#[test]
fn a_voice_that_rises_is_compared_with_its_own_past() {
    let mut index = index();
    let speak = |hz: f32| voice(5.0, 0.5, move |t| hz * (1.0 + 0.1 * (t * 9.0).sin()));
    let mut rise = |number: u32, hz: f32| {
        let sound = speak(hz);
        index.values(&window(0, number, 0, Some(sound.clone())), &heard(&sound)).unwrap().f0_rise
    };
    assert_eq!((rise(0, 110.0), rise(1, 110.0)), (None, None));
    assert!(rise(2, 110.0).unwrap().abs() < 0.1);
    assert!((rise(3, 123.5).unwrap() - 2.0).abs() < 0.1);
}

#[test]
fn the_result_depends_neither_on_session_time_nor_on_the_run() {
    let judge = |continuity: u32, offset: i64| {
        let (mut measurer, mut judge) = (measurer(), CueJudge::new(None).unwrap());
        let mut gate = gate();
        let mut votes = Vec::new();
        for number in 0..3 {
            let mut sound = speech_wav();
            sound.resize(80_000, 0);
            let mut window = window(continuity, number, offset, Some(sound));
            let time = window.media.start();
            window.pictures = vec![Still { time, width: 320, height: 240, jpeg: FACE_JPEG.into() }; 2];
            let vote = judge.judge_measured(&window, &gate.check(Some(&mut measurer), &window).measures.unwrap());
            votes.push((vote.answer, vote.cues));
        }
        votes
    };
    let first = judge(0, 0);
    assert!(first.iter().all(|(answer, cues)| *answer == Answer::Absent && cues.is_some()), "{first:?}");
    assert_eq!(first, judge(0, 0));
    assert_eq!(first, judge(3, 86_400 * 365));
}

#[test]
fn a_broken_picture_is_an_abstention() {
    let mut window = window(0, 0, 0, Some(vec![0; 80_000]));
    window.pictures = vec![Still { time: MediaTime::ZERO, width: 2, height: 2, jpeg: (&b"x"[..]).into() }];
    let error = gate().check(Some(&mut measurer()), &window).measures.unwrap_err();
    let vote = CueJudge::new(None).unwrap().unmeasured(&error);
    assert!(matches!(vote.answer, Answer::Abstained(_)) && vote.cues.is_none(), "{vote:?}");
    assert_eq!(&*vote.judge, JUDGE);
}

#[test]
fn a_head_turned_away_is_seen_when_half_the_pictures_show_a_face() {
    let face = |nose: f32| Face {
        score: 0.9,
        x: 0.0,
        y: 0.0,
        width: 100.0,
        height: 100.0,
        right_eye: [30.0, 40.0],
        left_eye: [70.0, 40.0],
        nose: [nose, 60.0],
        mouth: [50.0, 80.0],
        right_ear: [0.0, 50.0],
        left_ear: [100.0, 50.0],
    };
    let pictures = |noses: &[Option<f32>]| Measures {
        speech: None,
        pictures: noses
            .iter()
            .map(|nose| PictureFaces {
                time: MediaTime::ZERO,
                width: 320,
                height: 240,
                // What is below the threshold is no face to the index, whatever was measured.
                faces: nose.iter().flat_map(|n| [face(*n), Face { score: 0.69, width: 200.0, ..face(50.0) }]).collect(),
            })
            .collect(),
    };
    let values = faces(&pictures(&[Some(50.0), Some(90.0), Some(10.0), None]));
    assert_eq!((values.face_present, values.head_away), (Some(0.75), Some(2.0 / 3.0)));
    assert_eq!(faces(&pictures(&[Some(50.0), None, None])).head_away, None);
}

#[test]
fn the_judge_may_move_to_a_thread_of_its_own() {
    fn movable<T: Send + 'static>() {}
    movable::<CueJudge>();
    movable::<Measurer>();
}
