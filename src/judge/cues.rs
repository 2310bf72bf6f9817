//! The embedded baseline: an interpretable index of hesitation cues, run on measured windows in place of a panel.
//!
//! It is **not** a model of Ambivalence/Hesitancy and its index is no probability of it. It weighs pauses, drawn-out
//! sounds, rate, pitch and the turning away of the head by `models/cue-baseline-v0.toml`, fitted to nothing. In BAH
//! 85.7 % of the annotated cross-modal cues involve words, and it hears no words. It takes every voice it hears for the
//! speaker's: where the other side of a talk is in the same sound, its figures are of both.
//!
//! - [`Weights`]: cues to index. - `voice`: the sound as a track of level, pitch and timbre. - `talk`: sounding
//!   stretches and the pauses between them, carried over windows. - `rhythm`: syllables and flat voiced stretches.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "counts within a window: small, and float to int casts saturate"
)]

mod rhythm;
mod talk;
mod voice;
mod weights;

use std::path::Path;
use std::sync::Arc;

pub use weights::{WEIGHTS_FILE, Weights, WeightsError};

use super::{Abstention, AbstentionReason, Answer, CueReading, Vote};
use crate::gate::faces::THRESHOLD;
use crate::gate::speech::position;
use crate::gate::{Face, MeasureError, Measures};
use crate::time;
use crate::window::Window;
use talk::{SHORTEST_PAUSE, Talk};
use voice::{Analyser, FRAMES_PER_SEC, Track, semitones};

/// Name of the judge in its votes.
pub const JUDGE: &str = "cues";
/// A head turned further than this ([`Face::turn`]) is turned away. The tip of the nose lies about 1.7 times as far
/// before the line of the ears as these lie from the middle, so a head at an angle has a turn of 1.7 times its tangent:
/// 0.7 is about 22 degrees.
const AWAY: f32 = 0.7;
/// Voiced frames (10 ms each) without which nothing is said about pitch.
const MIN_VOICED: usize = 50;
/// Earlier windows of speech without which the speaker's own pitch is not known.
const MIN_EARLIER: usize = 2;
/// Earlier windows that make the speaker's own pitch.
const MAX_EARLIER: usize = 24;

/// The cues of one window, as measured. None: could not be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Values {
    /// Pauses per minute of talk; talk is speech and the pauses that end in the window.
    pub pause_rate: Option<f64>,
    /// Pauses over talk, 0 to 1.
    pub pause_ratio: Option<f64>,
    /// Seconds of the longest pause; 0 without any.
    pub long_pause: Option<f64>,
    /// Time in flat voiced stretches over speech, 0 to 1.
    pub hold_ratio: Option<f64>,
    /// Seconds of the longest flat voiced stretch; 0 without any.
    pub long_hold: Option<f64>,
    /// Syllable nuclei per second of talk.
    pub speech_rate: Option<f64>,
    /// Syllable nuclei per second of speech.
    pub articulation_rate: Option<f64>,
    /// 5th to 95th percentile of F0, in semitones.
    pub f0_range: Option<f64>,
    /// Median F0 over the median of the speaker's earlier windows, in semitones.
    pub f0_rise: Option<f64>,
    /// Share of the pictures with a face in which the head is turned away.
    pub head_away: Option<f64>,
    /// Share of the pictures that show a face.
    pub face_present: Option<f64>,
    /// Median F0 in Hz.
    pub f0_median: Option<f64>,
    /// Seconds of speech in the window.
    pub speech_secs: f64,
}

impl Values {
    /// Those that a weights file may weigh. The rest says how far to trust them.
    pub const NAMES: &[&str] = &[
        "pause_rate",
        "pause_ratio",
        "long_pause",
        "hold_ratio",
        "long_hold",
        "speech_rate",
        "articulation_rate",
        "f0_range",
        "f0_rise",
        "head_away",
    ];

    fn get(&self, name: &str) -> Option<f64> {
        match name {
            "pause_rate" => self.pause_rate,
            "pause_ratio" => self.pause_ratio,
            "long_pause" => self.long_pause,
            "hold_ratio" => self.hold_ratio,
            "long_hold" => self.long_hold,
            "speech_rate" => self.speech_rate,
            "articulation_rate" => self.articulation_rate,
            "f0_range" => self.f0_range,
            "f0_rise" => self.f0_rise,
            "head_away" => self.head_away,
            _ => None,
        }
    }
}

/// Cues from measures and sound. Pure: the same windows in the same order give the same readings, wherever in a session
/// they lie. State (open pauses, the speaker's own pitch) is carried along a continuity and nowhere else.
#[derive(Debug)]
pub struct CueIndex {
    weights: Weights,
    analyser: Analyser,
    talk: Talk,
    /// Median F0 of earlier windows with their ends, in amplitudes of the continuity.
    pitches: Vec<(i64, f32)>,
}

impl CueIndex {
    /// With the weights of a file.
    #[must_use]
    pub fn new(weights: Weights) -> Self {
        Self { weights, analyser: Analyser::new(), talk: Talk::default(), pitches: Vec::new() }
    }

    /// The weights in use.
    #[must_use]
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Where the next window begins, in amplitudes of the continuity. What was carried is forgotten if it does not go on there.
    fn enter(&mut self, window: &Window) -> i64 {
        let start = position(window.media.start());
        if !self.talk.goes_on(window.id.continuity, start) {
            self.pitches.clear();
        }
        start
    }

    /// The cues of the next window; None when it has no sound.
    pub fn values(&mut self, window: &Window, measures: &Measures) -> Option<Values> {
        let (sound, speech) = (window.sound.as_ref()?, measures.speech.as_ref()?);
        let start = self.enter(window);
        let track = self.analyser.track(sound);
        let sounding = talk::sounding(&track, speech);
        let pauses = self.talk.pauses(window.id.continuity, start, sound.len(), &sounding);
        let mut values = Values { speech_secs: seconds(&sounding), ..faces(measures) };
        if values.speech_secs < self.weights.min_speech_secs || sounding.is_empty() {
            return Some(values);
        }
        let silent = pauses.iter().fold(0.0, |sum, pause| sum + pause);
        let talked = values.speech_secs + silent;
        let nuclei = rhythm::nuclei(&track, &sounding).len() as f64;
        let holds = rhythm::holds(&track, &sounding);
        let longest = |lengths: &mut dyn Iterator<Item = f64>| lengths.fold(0.0, f64::max);
        values.pause_rate = Some(60.0 * pauses.len() as f64 / talked);
        values.pause_ratio = Some(silent / talked);
        values.long_pause = Some(longest(&mut pauses.iter().copied()));
        values.hold_ratio = Some(seconds(&holds) / values.speech_secs);
        values.long_hold = Some(longest(&mut holds.iter().map(|hold| seconds(&[*hold]))));
        values.speech_rate = Some(nuclei / talked);
        values.articulation_rate = Some(nuclei / values.speech_secs);
        if let Some((median, range)) = pitch(&track, &sounding) {
            values.f0_median = Some(f64::from(median));
            values.f0_range = Some(f64::from(range));
            values.f0_rise = self.rise(start, start + i64::try_from(sound.len()).unwrap_or(i64::MAX), median);
        }
        Some(values)
    }

    /// Against the windows that ended before this one began, so that overlapping windows are not compared with
    /// themselves.
    fn rise(&mut self, start: i64, end: i64, median: f32) -> Option<f64> {
        let mut earlier: Vec<f32> =
            self.pitches.iter().rev().filter(|(end, _)| *end <= start).take(MAX_EARLIER).map(|(_, hz)| *hz).collect();
        earlier.sort_by(f32::total_cmp);
        let own = earlier.get(earlier.len() / 2).copied().filter(|_| earlier.len() >= MIN_EARLIER);
        // Rolling windows overlap up to tens of times; keep room for them.
        if self.pitches.len() >= 32 * MAX_EARLIER {
            self.pitches.drain(..16 * MAX_EARLIER);
        }
        self.pitches.push((end, median));
        own.map(|own| f64::from(semitones(median, own)))
    }

    /// The index of the next window, or why there is none.
    ///
    /// # Errors
    /// The window has no sound, or too little speech; or so much of its sound is missing that the hole would be taken for a pause.
    pub fn read(&mut self, window: &Window, measures: &Measures) -> Result<CueReading, Abstention> {
        let missing = window.sound_missing;
        if let Some(sound) = window.sound.as_ref().filter(|_| position(missing) >= SHORTEST_PAUSE) {
            let start = self.enter(window);
            self.talk.unheard(window.id.continuity, start, sound.len());
            let detail =
                format!("{:.1} s of its sound are missing, and might be taken for a pause", missing.as_secs_f64());
            return Err(Abstention { reason: AbstentionReason::InsufficientEvidence, detail });
        }
        let Some(values) = self.values(window, measures) else {
            return Err(Abstention { reason: AbstentionReason::NoAudio, detail: "the window has no sound".to_owned() });
        };
        let least = self.weights.min_speech_secs;
        if values.speech_secs < least {
            let detail = format!("{:.1} s of speech, {least:.1} s needed", values.speech_secs);
            return Err(Abstention { reason: AbstentionReason::InsufficientEvidence, detail });
        }
        Ok(self.weights.read(&values))
    }
}

/// The embedded judge: reads the cues of measured windows. One for each source, windows in order.
#[derive(Debug)]
pub struct CueJudge {
    index: CueIndex,
    name: Arc<str>,
}

impl CueJudge {
    /// Loads the weights.
    ///
    /// # Errors
    /// The weights file cannot be used.
    pub fn new(assets: Option<&Path>) -> Result<Self, WeightsError> {
        Ok(Self::with(CueIndex::new(Weights::load(assets)?)))
    }

    /// With an index that is there already.
    #[must_use]
    pub fn with(index: CueIndex) -> Self {
        Self { index, name: JUDGE.into() }
    }

    /// Votes on the next window: Present from the threshold of the weights on.
    pub fn judge_measured(&mut self, window: &Window, measures: &Measures) -> Vote {
        let begun = time::monotonic();
        let reading = self.index.read(window, measures);
        self.vote(reading, begun)
    }

    /// Abstains on a window that could not be measured.
    #[must_use]
    pub fn unmeasured(&self, error: &MeasureError) -> Vote {
        let abstention = Abstention { reason: AbstentionReason::Encoding, detail: error.to_string() };
        self.vote(Err(abstention), time::monotonic())
    }

    /// The vote where a window never came back from being measured.
    #[must_use]
    pub fn broken_off() -> Vote {
        let detail = "measuring broke off, which is a defect of this program".to_owned();
        let abstention = Abstention { reason: AbstentionReason::Encoding, detail };
        Vote::new(JUDGE.into(), Answer::Abstained(abstention))
    }

    fn vote(&self, reading: Result<CueReading, Abstention>, begun: std::time::Instant) -> Vote {
        let (answer, cues) = match reading {
            Ok(reading) if reading.index >= self.index.weights.threshold => (Answer::Present, Some(reading)),
            Ok(reading) => (Answer::Absent, Some(reading)),
            Err(abstention) => (Answer::Abstained(abstention), None),
        };
        Vote { cues, latency: time::monotonic() - begun, ..Vote::new(self.name.clone(), answer) }
    }
}

fn seconds(stretches: &[(usize, usize)]) -> f64 {
    stretches.iter().map(|(start, end)| end - start).sum::<usize>() as f64 / FRAMES_PER_SEC
}

/// Median in Hz, and the range in semitones, of the voice within the sounding stretches.
fn pitch(track: &Track, sounding: &[(usize, usize)]) -> Option<(f32, f32)> {
    let voiced = sounding.iter().flat_map(|&(start, end)| track.f0[start..end].iter().flatten());
    let mut f0: Vec<f32> = voiced.copied().collect();
    if f0.len() < MIN_VOICED {
        return None;
    }
    f0.sort_by(f32::total_cmp);
    let at = |percent: usize| f0[(f0.len() - 1) * percent / 100];
    Some((at(50), semitones(at(95), at(5))))
}

/// What the pictures say; of several faces the largest counts.
fn faces(measures: &Measures) -> Values {
    let pictures = measures.pictures.len();
    if pictures == 0 {
        return Values::default();
    }
    let sure = |face: &Face| face.score >= THRESHOLD;
    let largest = |faces: &[Face]| faces.iter().copied().filter(sure).max_by(|a, b| a.width.total_cmp(&b.width));
    let turns: Vec<f32> =
        measures.pictures.iter().filter_map(|picture| largest(&picture.faces)).filter_map(|face| face.turn()).collect();
    let share = |count: usize, of: usize| count as f64 / of as f64;
    let away = turns.iter().filter(|turn| turn.abs() > AWAY).count();
    Values {
        face_present: Some(share(turns.len(), pictures)),
        head_away: (2 * turns.len() >= pictures).then(|| share(away, turns.len())),
        ..Values::default()
    }
}

#[cfg(test)]
mod tests;
