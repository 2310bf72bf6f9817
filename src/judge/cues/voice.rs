//! A window's sound as a track of 10-ms frames: level, pitch, timbre.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

/// Amplitudes between two frames: 10 ms at 16 kHz.
pub(super) const HOP: usize = 160;
/// Frames in a second.
pub(super) const FRAMES_PER_SEC: f64 = 100.0;
/// Bands of the timbre.
const BANDS: usize = 20;
/// Bands further under the strongest, in dB, count as that far under it.
const BAND_DEPTH_DB: f32 = 40.0;
/// Lowest level, in dB below full scale.
const FLOOR_DB: f32 = -100.0;

const RATE: f32 = 16_000.0;
/// Level is taken over 40 ms, so that it does not follow single glottal pulses.
const LEVEL_SPAN: usize = 640;
/// YIN's integration window, 32 ms: over two periods of the lowest voice.
const PITCH_SPAN: usize = 512;
/// 60 Hz.
const LONGEST_PERIOD: usize = 267;
/// 500 Hz.
const SHORTEST_PERIOD: usize = 32;
/// Of YIN's normalised difference; above it there is no voice. (de Cheveigne & Kawahara 2002 use 0.1 on clean speech.)
const APERIODIC: f32 = 0.2;
const PITCH_FFT: usize = 1024;
const TIMBRE_FFT: usize = 512;

/// One frame per 10 ms, frame i centred on amplitude 160 i + 80.
#[derive(Clone, Debug, Default)]
pub(super) struct Track {
    /// dB relative to full scale, -100 to 0.
    pub level: Vec<f32>,
    /// Fundamental frequency in Hz, 60 to 500; None where there is no voice.
    pub f0: Vec<Option<f32>>,
    /// Band levels in dB about their own mean: what remains when loudness is taken away.
    pub timbre: Vec<[f32; BANDS]>,
}

/// Plans and windows for [`Track`]s.
pub(super) struct Analyser {
    pitch_forward: Arc<dyn RealToComplex<f32>>,
    pitch_back: Arc<dyn ComplexToReal<f32>>,
    timbre: Arc<dyn RealToComplex<f32>>,
    level_window: Vec<f32>,
    timbre_window: Vec<f32>,
    /// First bin of each band, and the end of the last.
    edges: [usize; BANDS + 1],
}

impl std::fmt::Debug for Analyser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Analyser")
    }
}

fn hann(length: usize) -> Vec<f32> {
    let step = std::f32::consts::TAU / length as f32;
    (0..length).map(|i| 0.5 - 0.5 * ((i as f32 + 0.5) * step).cos()).collect()
}

impl Analyser {
    pub(super) fn new() -> Self {
        let mut planner = RealFftPlanner::new();
        // Equal steps on the mel scale from 100 Hz to 5 kHz, at least one bin (31 Hz) wide.
        let mel = |hz: f32| 1127.0 * (1.0 + hz / 700.0).ln();
        let hz = |mel: f32| 700.0 * ((mel / 1127.0).exp() - 1.0);
        let (low, high) = (mel(100.0), mel(5_000.0));
        let edges = std::array::from_fn(|band| {
            let at = hz(low + (high - low) * band as f32 / BANDS as f32);
            (at * TIMBRE_FFT as f32 / RATE).round() as usize
        });
        Self {
            pitch_forward: planner.plan_fft_forward(PITCH_FFT),
            pitch_back: planner.plan_fft_inverse(PITCH_FFT),
            timbre: planner.plan_fft_forward(TIMBRE_FFT),
            level_window: hann(LEVEL_SPAN),
            timbre_window: hann(TIMBRE_FFT),
            edges,
        }
    }

    pub(super) fn track(&self, sound: &[i16]) -> Track {
        let frames = sound.len() / HOP;
        let mut track = Track::default();
        let mut scratch = Scratch::new(self);
        for frame in 0..frames {
            let centre = frame * HOP + HOP / 2;
            let level = self.level(sound, centre);
            track.level.push(level);
            track.f0.push(if level > FLOOR_DB { self.pitch(sound, centre, &mut scratch) } else { None });
            track.timbre.push(self.timbre(sound, centre, &mut scratch));
        }
        track.f0 = smooth(&track.f0);
        track
    }

    fn level(&self, sound: &[i16], centre: usize) -> f32 {
        let weighted = around(sound, centre, LEVEL_SPAN).zip(&self.level_window).map(|(x, w)| x * x * w).sum::<f32>();
        let mean_square = weighted / self.level_window.iter().sum::<f32>();
        (10.0 * mean_square.log10()).max(FLOOR_DB)
    }

    /// YIN (de Cheveigne & Kawahara 2002): the shortest period at which the sound repeats itself well enough. The
    /// correlation is done by FFT.
    fn pitch(&self, sound: &[i16], centre: usize, scratch: &mut Scratch) -> Option<f32> {
        const REACH: usize = PITCH_SPAN + LONGEST_PERIOD;
        let long: Vec<f32> = around(sound, centre, REACH).collect();
        let mut correlate = |length: usize, out: &mut Vec<Complex<f32>>| {
            scratch.time[..length].copy_from_slice(&long[..length]);
            scratch.time[length..].fill(0.0);
            // The only error is a wrong length, and the lengths are the plan's own.
            let _ = self.pitch_forward.process(&mut scratch.time, out);
        };
        correlate(PITCH_SPAN, &mut scratch.short);
        correlate(REACH, &mut scratch.long);
        for (a, b) in scratch.short.iter_mut().zip(&scratch.long) {
            *a = a.conj() * b;
        }
        for edge in [0, PITCH_FFT / 2] {
            scratch.short[edge].im = 0.0;
        }
        let _ = self.pitch_back.process(&mut scratch.short, &mut scratch.time);

        let energy: f32 = long[..PITCH_SPAN].iter().map(|x| x * x).sum();
        let mut moved = energy;
        let mut sum = 0.0;
        let mut difference = [1.0_f32; LONGEST_PERIOD];
        for lag in 1..LONGEST_PERIOD {
            moved += long[lag + PITCH_SPAN - 1].powi(2) - long[lag - 1].powi(2);
            let d = (energy + moved - 2.0 * scratch.time[lag] / PITCH_FFT as f32).max(0.0);
            sum += d;
            difference[lag] = if sum > 0.0 { d * lag as f32 / sum } else { 1.0 };
        }
        let mut lag = (SHORTEST_PERIOD..LONGEST_PERIOD - 1).find(|&lag| difference[lag] < APERIODIC)?;
        while lag + 1 < LONGEST_PERIOD - 1 && difference[lag + 1] < difference[lag] {
            lag += 1;
        }
        // The minimum between the grid's points, by a parabola through three of them.
        let (before, at, after) = (difference[lag - 1], difference[lag], difference[lag + 1]);
        let bend = before - 2.0 * at + after;
        let shift = if bend > 0.0 { (0.5 * (before - after) / bend).clamp(-0.5, 0.5) } else { 0.0 };
        Some(RATE / (lag as f32 + shift))
    }

    fn timbre(&self, sound: &[i16], centre: usize, scratch: &mut Scratch) -> [f32; BANDS] {
        for (slot, (x, w)) in scratch.frame.iter_mut().zip(around(sound, centre, TIMBRE_FFT).zip(&self.timbre_window)) {
            *slot = x * w;
        }
        let _ = self.timbre.process(&mut scratch.frame, &mut scratch.bins);
        let mut bands: [f32; BANDS] = std::array::from_fn(|band| {
            let bins = &scratch.bins[self.edges[band]..self.edges[band + 1].max(self.edges[band] + 1)];
            let power = bins.iter().map(Complex::norm_sqr).sum::<f32>() / bins.len() as f32;
            10.0 * (power + 1e-12).log10()
        });
        // What lies far under the strongest band is noise, and would move by itself.
        let least = bands.iter().fold(f32::MIN, |a, b| a.max(*b)) - BAND_DEPTH_DB;
        for band in &mut bands {
            *band = band.max(least);
        }
        let mean = bands.iter().sum::<f32>() / BANDS as f32;
        bands.map(|band| band - mean)
    }
}

struct Scratch {
    time: Vec<f32>,
    short: Vec<Complex<f32>>,
    long: Vec<Complex<f32>>,
    frame: Vec<f32>,
    bins: Vec<Complex<f32>>,
}

impl Scratch {
    fn new(analyser: &Analyser) -> Self {
        Self {
            time: analyser.pitch_forward.make_input_vec(),
            short: analyser.pitch_forward.make_output_vec(),
            long: analyser.pitch_forward.make_output_vec(),
            frame: analyser.timbre.make_input_vec(),
            bins: analyser.timbre.make_output_vec(),
        }
    }
}

/// `span` amplitudes around `centre`, -1 to 1; zeros beyond the ends.
fn around(sound: &[i16], centre: usize, span: usize) -> impl Iterator<Item = f32> + '_ {
    (0..span).map(move |i| {
        let at = (centre + i).checked_sub(span / 2);
        at.and_then(|at| sound.get(at)).map_or(0.0, |x| f32::from(*x) / 32_768.0)
    })
}

/// Takes out what is not voice: a frame whose pitch is over three semitones off the median of the voiced ones within
/// 30 ms (octave errors), or which has fewer than two voiced neighbours there.
fn smooth(f0: &[Option<f32>]) -> Vec<Option<f32>> {
    (0..f0.len())
        .map(|i| {
            let mut near: Vec<f32> = f0[i.saturating_sub(3)..f0.len().min(i + 4)].iter().flatten().copied().collect();
            if near.len() < 3 {
                return None;
            }
            near.sort_by(f32::total_cmp);
            let median = near[near.len() / 2];
            f0[i].filter(|hz| semitones(*hz, median).abs() < 3.0)
        })
        .collect()
}

/// From `reference` up to `hz`.
pub(super) fn semitones(hz: f32, reference: f32) -> f32 {
    12.0 * (hz / reference).log2()
}

/// Root mean square difference of two timbres, in dB.
pub(super) fn timbre_change(a: &[f32; BANDS], b: &[f32; BANDS]) -> f32 {
    (a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / BANDS as f32).sqrt()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A pulse train with a soft spectrum: a voice without a mouth. `hz` gives the pitch at a time in seconds.
    pub(in super::super) fn voice(secs: f32, amplitude: f32, hz: impl Fn(f32) -> f32) -> Vec<i16> {
        let mut phase = 0.0_f32;
        (0..(secs * RATE) as usize)
            .map(|i| {
                phase += hz(i as f32 / RATE) / RATE;
                let harmonics = (1_u8..12).map(|k| (std::f32::consts::TAU * phase * f32::from(k)).sin() / f32::from(k));
                (harmonics.sum::<f32>() * amplitude * 16_000.0) as i16
            })
            .collect()
    }

    fn median_f0(sound: &[i16]) -> Option<f32> {
        let mut f0: Vec<f32> = Analyser::new().track(sound).f0.into_iter().flatten().collect();
        f0.sort_by(f32::total_cmp);
        f0.get(f0.len() / 2).copied()
    }

    #[test]
    fn pitch_of_voices_from_70_to_400_hz_is_right_within_a_percent() {
        for hz in [70.0, 110.0, 146.8, 220.0, 400.0] {
            let found = median_f0(&voice(0.5, 0.5, |_| hz)).unwrap();
            assert!((found / hz - 1.0).abs() < 0.01, "{hz}: {found}");
        }
    }

    #[test]
    fn silence_and_noise_have_no_pitch() {
        assert_eq!(median_f0(&[0; 8_000]), None);
        let mut state = 1_u32;
        let noise: Vec<i16> = (0..16_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 17) as i16 - 16_384
            })
            .collect();
        let voiced = Analyser::new().track(&noise).f0.iter().flatten().count();
        assert!(voiced < 5, "{voiced} of 100 frames");
    }

    #[test]
    fn level_of_a_full_scale_sine_is_minus_3_db() {
        let sine: Vec<i16> =
            (0..16_000).map(|i| ((i as f32 * std::f32::consts::TAU * 200.0 / RATE).sin() * 32_767.0) as i16).collect();
        let level = Analyser::new().track(&sine).level[50];
        assert!((level + 3.01).abs() < 0.1, "{level}");
    }

    #[test]
    fn timbre_does_not_depend_on_loudness() {
        let (loud, soft) = (voice(0.3, 0.5, |_| 120.0), voice(0.3, 0.05, |_| 120.0));
        let analyser = Analyser::new();
        let change = timbre_change(&analyser.track(&loud).timbre[15], &analyser.track(&soft).timbre[15]);
        assert!(change < 1.5, "{change} dB");
    }
}
