//! Where speech is: Silero VAD, one probability for each 512 amplitudes (32 ms) of a continuity.

use std::collections::VecDeque;

use super::onnx::{RunError, SPEECH_CONTEXT, SPEECH_STATE, SPEECH_STEP, SpeechModel};
use crate::time::MediaTime;
use crate::window::SAMPLE_RATE;

/// Amplitudes each probability stands for: 512, 32 ms at 16 kHz.
pub const STEP: usize = SPEECH_STEP;

/// Probabilities of speech over one window.
///
/// The grid of 32 ms belongs to the continuity, not to the window: windows are no multiple of it, so the first
/// probability usually stands for some milliseconds before the window, and the last may end some before its end (the
/// rest comes first in the next window).
#[derive(Clone, Debug, PartialEq)]
pub struct Speech {
    /// How many amplitudes of the first probability lie before the window, 0 to 511.
    pub lead: usize,
    /// 0 to 1, one per [`STEP`] amplitudes.
    pub probabilities: Vec<f32>,
}

impl Speech {
    /// The probability at an amplitude's index in the window; the last known one beyond the end, 0 without any.
    #[must_use]
    pub fn at(&self, index: usize) -> f32 {
        let step = ((index + self.lead) / STEP).min(self.probabilities.len().saturating_sub(1));
        self.probabilities.get(step).copied().unwrap_or(0.0)
    }

    /// How long the probability is at least `threshold`, within the window and to 32 ms.
    #[must_use]
    pub fn time_from(&self, threshold: f32) -> MediaTime {
        let steps = self.probabilities.iter().filter(|p| **p >= threshold).count();
        let before = if self.probabilities.first().is_some_and(|p| *p >= threshold) { self.lead } else { 0 };
        let amplitudes = i64::try_from((steps * STEP).saturating_sub(before)).unwrap_or(i64::MAX);
        MediaTime::from_nanos(amplitudes).scale(1_000_000_000, i64::from(SAMPLE_RATE))
    }
}

/// Position of a time on the continuity's 16 kHz grid.
pub(crate) fn position(time: MediaTime) -> i64 {
    time.scale(i64::from(SAMPLE_RATE), 1_000_000_000).as_nanos()
}

/// What is carried along one source's continuity. The model itself is not part of it, so that sources can share one.
#[derive(Debug, Default)]
pub(super) struct Listener {
    run: Option<Run>,
}

/// An unbroken stretch of sound.
#[derive(Debug)]
struct Run {
    continuity: u32,
    /// Start of the latest window.
    latest: i64,
    /// Position of the next amplitude that is new.
    next: i64,
    /// Amplitudes that do not fill a step yet; they end at `next`.
    pending: Vec<f32>,
    state: [f32; SPEECH_STATE],
    context: [f32; SPEECH_CONTEXT],
    /// Probabilities since the latest window began, the first standing for the step at `first`.
    known: VecDeque<f32>,
    first: i64,
}

impl Listener {
    pub(super) fn measure(
        &mut self,
        model: &mut SpeechModel,
        continuity: u32,
        start: MediaTime,
        sound: &[i16],
    ) -> Result<Speech, RunError> {
        let start = position(start);
        let mut run = self
            .run
            .take()
            .filter(|run| run.continuity == continuity && (run.latest..=run.next).contains(&start))
            .unwrap_or_else(|| Run::new(continuity, start));
        run.latest = start;
        let seen = usize::try_from(run.next - start).unwrap_or(0).min(sound.len());
        run.feed(model, &sound[seen..])?;
        let speech = run.over(start, sound.len());
        self.run = Some(run);
        Ok(speech)
    }
}

/// [`STEP`], for positions.
const STEP_I64: i64 = 512;
const _: () = assert!(STEP == 512, "both say the same");

impl Run {
    fn new(continuity: u32, start: i64) -> Self {
        Self {
            continuity,
            latest: start,
            next: start,
            pending: Vec::with_capacity(STEP),
            state: [0.0; SPEECH_STATE],
            context: [0.0; SPEECH_CONTEXT],
            known: VecDeque::new(),
            first: start,
        }
    }

    fn feed(&mut self, model: &mut SpeechModel, new: &[i16]) -> Result<(), RunError> {
        for &amplitude in new {
            self.pending.push(f32::from(amplitude) / 32_768.0);
            self.next += 1;
            if self.pending.len() == STEP {
                let mut input = [0.0; SPEECH_CONTEXT + STEP];
                input[..SPEECH_CONTEXT].copy_from_slice(&self.context);
                input[SPEECH_CONTEXT..].copy_from_slice(&self.pending);
                self.known.push_back(model.run(&input, &mut self.state)?);
                self.context.copy_from_slice(&self.pending[STEP - SPEECH_CONTEXT..]);
                self.pending.clear();
            }
        }
        Ok(())
    }

    /// Forgets what lies before `start`, and returns what is known over the `length` amplitudes from there.
    fn over(&mut self, start: i64, length: usize) -> Speech {
        while self.first + STEP_I64 <= start && !self.known.is_empty() {
            self.known.pop_front();
            self.first += STEP_I64;
        }
        let lead = usize::try_from(start - self.first).unwrap_or(0);
        let steps = (lead + length) / STEP;
        Speech { lead, probabilities: self.known.iter().copied().take(steps).collect() }
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;
    use crate::gate::tests::{detector_models, speech_wav};

    struct Detector(SpeechModel, Listener);

    impl Detector {
        fn measure(&mut self, continuity: u32, start: MediaTime, sound: &[i16]) -> Result<Speech, RunError> {
            self.1.measure(&mut self.0, continuity, start, sound)
        }
    }

    fn detector() -> Detector {
        Detector(SpeechModel::new(&detector_models()).unwrap(), Listener::default())
    }

    fn at(samples: usize) -> MediaTime {
        MediaTime::from_nanos(i64::try_from(samples).unwrap() * 62_500)
    }

    #[test]
    fn silence_is_no_speech_and_speech_is() {
        let mut detector = detector();
        let quiet = detector.measure(0, MediaTime::ZERO, &vec![0; 80_000]).unwrap();
        assert_eq!(quiet.probabilities.len(), 156);
        assert!(quiet.probabilities.iter().all(|p| *p < 0.1));
        let speech = detector.measure(1, MediaTime::ZERO, &speech_wav()).unwrap();
        let sure = speech.probabilities.iter().filter(|p| **p > 0.5).count();
        assert!(sure * 2 > speech.probabilities.len(), "{sure} of {}", speech.probabilities.len());
    }

    #[test]
    fn windows_in_a_row_are_one_stretch_of_sound() {
        let wav = speech_wav();
        let whole = detector().measure(0, MediaTime::ZERO, &wav).unwrap().probabilities;
        let mut cut = detector();
        let first = cut.measure(0, MediaTime::ZERO, &wav[..16_100]).unwrap();
        let second = cut.measure(0, at(16_100), &wav[16_100..]).unwrap();
        assert_eq!((first.lead, second.lead), (0, 16_100 % STEP));
        let mut joined = first.probabilities;
        joined.extend(second.probabilities);
        assert_eq!(joined, whole);
    }

    #[test]
    fn overlapping_windows_hear_the_same() {
        let wav = speech_wav();
        let whole = detector().measure(0, MediaTime::ZERO, &wav).unwrap().probabilities;
        let mut rolling = detector();
        for start in [0, 4_000, 8_000, 12_000] {
            let speech = rolling.measure(0, at(start), &wav[start..start + 20_000]).unwrap();
            let from = start / STEP;
            assert_eq!(speech.lead, start % STEP);
            assert_eq!(speech.probabilities, whole[from..from + speech.probabilities.len()]);
            assert!(speech.probabilities.len() >= 39);
        }
    }

    #[test]
    fn a_new_continuity_and_a_hole_start_anew() {
        let wav = speech_wav();
        let fresh = detector().measure(0, MediaTime::ZERO, &wav).unwrap();
        let mut used = detector();
        used.measure(0, MediaTime::ZERO, &wav).unwrap();
        assert_eq!(used.measure(1, MediaTime::ZERO, &wav).unwrap(), fresh);
        assert_eq!(used.measure(1, at(1_000_000), &wav).unwrap(), fresh);
    }

    #[test]
    fn time_from_a_threshold_leaves_out_what_lies_before_the_window() {
        let speech = Speech { lead: 112, probabilities: vec![0.6, 0.5, 0.4, 0.9] };
        assert_eq!(speech.time_from(0.5), MediaTime::from_millis(3 * 32 - 7));
        assert_eq!(speech.time_from(0.7), MediaTime::from_millis(32));
        assert_eq!(speech.time_from(0.95), MediaTime::ZERO);
    }

    #[test]
    fn beyond_the_last_step_the_last_probability_holds() {
        let speech = Speech { lead: 500, probabilities: vec![0.1, 0.9] };
        assert_eq!([speech.at(0), speech.at(11), speech.at(12), speech.at(9_999)], [0.1, 0.1, 0.9, 0.9]);
        assert!(Speech { lead: 0, probabilities: vec![] }.at(3) == 0.0);
    }
}
