//! Syllable nuclei and flat voiced stretches, on a window's track.

use super::voice::{Track, semitones, timbre_change};

/// A nucleus rises above the dips on both sides by this, in dB (de Jong & Wempe 2009).
const DIP_DB: f32 = 2.0;
/// Frames on each side over which "flat" is looked at: 0.1 s in all.
const REACH: usize = 5;
/// Flat pitch moves less than this over that time, in semitones: 5 per second, the slope that is just heard as a glide
/// over 0.18 s ('t Hart 1976: 0.16 / T^2).
const FLAT_PITCH: f32 = 0.5;
/// Flat timbre changes less than this over that time, in dB (root mean square over the bands).
const FLAT_TIMBRE_DB: f32 = 4.0;
/// Shortest flat stretch that counts, in frames: 0.25 s.
const SHORTEST_HOLD: usize = 25;

/// Frames of the syllable nuclei: voiced peaks of the level within the sounding stretches, told apart by dips.
pub(super) fn nuclei(track: &Track, sounding: &[(usize, usize)]) -> Vec<usize> {
    let voiced =
        |frame: usize| track.f0[frame.saturating_sub(1)..track.f0.len().min(frame + 2)].iter().any(Option::is_some);
    let mut nuclei = Vec::new();
    for &(start, end) in sounding {
        // Stretches are bounded by silence, so the first rise counts from nothing. `peak` is the highest frame since
        // the last dip, `dip` the lowest level since the last nucleus.
        let (mut peak, mut dip) = (start, f32::NEG_INFINITY);
        let mut rising = true;
        for frame in start..end {
            let level = track.level[frame];
            if rising {
                if level > track.level[peak] {
                    peak = frame;
                } else if level < track.level[peak] - DIP_DB {
                    nuclei.push(peak);
                    (rising, dip) = (false, level);
                }
            } else if level > dip + DIP_DB {
                (rising, peak) = (true, frame);
            } else {
                dip = dip.min(level);
            }
        }
        if rising {
            nuclei.push(peak);
        }
    }
    nuclei.retain(|frame| voiced(*frame));
    nuclei
}

/// Stretches `start..end` of at least 0.25 s without movement of pitch or timbre: filled pauses and lengthened sounds
/// (Goto, Itou & Hayamizu 1999: a speaker in search of words does not move the articulators).
pub(super) fn holds(track: &Track, sounding: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut holds: Vec<(usize, usize)> = Vec::new();
    let mut push = |from: usize, to: usize| {
        if to - from >= SHORTEST_HOLD {
            holds.push((from, to));
        }
    };
    for &(start, end) in sounding {
        let mut run: Option<(usize, usize)> = None;
        for frame in start + REACH..end.saturating_sub(REACH) {
            if !flat(track, frame) {
                continue;
            }
            let (from, to) = (frame - REACH, frame + REACH + 1);
            run = match run {
                Some((begin, reached)) if frame <= reached - REACH => Some((begin, to)),
                Some((begin, reached)) => {
                    push(begin, reached);
                    Some((from.max(reached), to))
                }
                None => Some((from, to)),
            };
        }
        if let Some((begin, reached)) = run {
            push(begin, reached);
        }
    }
    holds
}

/// Whether nothing moves within 50 ms to both sides of a frame.
fn flat(track: &Track, frame: usize) -> bool {
    let span = frame - REACH..=frame + REACH;
    let Some(pitches) = track.f0[span].iter().copied().collect::<Option<Vec<f32>>>() else { return false };
    let (low, high) = pitches.iter().fold((f32::MAX, 0.0_f32), |(low, high), hz| (low.min(*hz), high.max(*hz)));
    semitones(high, low) <= FLAT_PITCH
        && timbre_change(&track.timbre[frame - REACH], &track.timbre[frame + REACH]) <= FLAT_TIMBRE_DB
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::cues::voice::{Analyser, tests::voice};

    fn whole(track: &Track) -> Vec<(usize, usize)> {
        vec![(0, track.level.len())]
    }

    #[test]
    fn pulses_of_voice_are_counted_as_syllables() {
        // Five a second: 4 dB dips, as between real syllables.
        let mut sound = voice(3.0, 0.5, |_| 120.0);
        for (i, x) in sound.iter_mut().enumerate() {
            let t = i as f32 / 16_000.0;
            *x = (f32::from(*x) * (0.65 - 0.35 * (t * 5.0 * std::f32::consts::TAU).cos())) as i16;
        }
        let track = Analyser::new().track(&sound);
        assert_eq!(nuclei(&track, &whole(&track)).len(), 15);
    }

    #[test]
    fn a_level_tone_is_one_syllable_and_one_hold() {
        let track = Analyser::new().track(&voice(0.8, 0.5, |_| 110.0));
        assert_eq!(nuclei(&track, &whole(&track)).len(), 1);
        let holds = holds(&track, &whole(&track));
        assert_eq!(holds.len(), 1, "{holds:?}");
        assert!(holds[0].1 - holds[0].0 > 65, "{holds:?}");
    }

    #[test]
    fn moving_pitch_and_short_tones_are_no_holds() {
        let analyser = Analyser::new();
        let gliding = analyser.track(&voice(0.8, 0.5, |t| 110.0 * (1.0 + 0.6 * t)));
        assert!(holds(&gliding, &whole(&gliding)).is_empty());
        let short = analyser.track(&voice(0.2, 0.5, |_| 110.0));
        assert!(holds(&short, &whole(&short)).is_empty());
    }

    #[test]
    fn silence_has_neither() {
        let track = Analyser::new().track(&vec![0; 16_000]);
        assert!(nuclei(&track, &whole(&track)).is_empty() && holds(&track, &whole(&track)).is_empty());
    }
}
