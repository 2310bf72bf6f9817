//! Where the speaker sounds and where not, and which silences are pauses. Carries over from window to window.

use super::voice::{HOP, Track};
use crate::gate::Speech;

/// A speech probability from here on begins speech, and one below [`OFF`] ends it (Silero's own defaults).
const ON: f32 = 0.5;
const OFF: f32 = 0.35;
/// Speech is within this of the window's loudest, in dB (de Jong & Wempe 2009). The model runs on after speech ends,
/// the level does not.
const DEPTH_DB: f32 = 25.0;
/// Shorter sounds are clicks, in frames (Praat's "minimum sounding duration", 0.1 s).
const SHORTEST_SOUND: usize = 10;
/// Silences from here on are pauses, in amplitudes: 0.25 s (Goldman-Eisler 1968); shorter ones belong to articulation.
pub(super) const SHORTEST_PAUSE: i64 = 4_000;
/// Longer silences may be the other's turn, in amplitudes: 3 s.
const LONGEST_PAUSE: i64 = 48_000;

/// Stretches of sounding frames `start..end` of a window, in order, none touching the next.
pub(super) fn sounding(track: &Track, speech: &Speech) -> Vec<(usize, usize)> {
    let mut on = false;
    let says: Vec<bool> = (0..track.level.len())
        .map(|frame| {
            on = speech.at(frame * HOP + HOP / 2) >= if on { OFF } else { ON };
            on
        })
        .collect();
    let Some(floor) = floor(track, &says) else { return Vec::new() };
    let active = |frame: usize| says[frame] && track.level[frame] > floor;
    let frames = says.len();
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let mut begin = None;
    for frame in 0..=frames {
        match (begin, frame < frames && active(frame)) {
            (None, true) => begin = Some(frame),
            (Some(start), false) => {
                // What touches the window's edge may go on beyond it.
                if frame - start >= SHORTEST_SOUND || start == 0 || frame == frames {
                    runs.push((start, frame));
                }
                begin = None;
            }
            _ => {}
        }
    }
    runs
}

/// Level below which nothing is speech: 25 dB under the 99th percentile of the frames the model calls speech.
fn floor(track: &Track, says: &[bool]) -> Option<f32> {
    let mut levels: Vec<f32> =
        track.level.iter().zip(says).filter(|(_, says)| **says).map(|(level, _)| *level).collect();
    levels.sort_by(f32::total_cmp);
    levels.get(levels.len().saturating_sub(1) * 99 / 100).map(|loud| loud - DEPTH_DB)
}

/// The speech of a continuity so far, as far back as a pause may reach.
#[derive(Debug, Default)]
pub(super) struct Talk {
    /// Continuity, start of the latest window and end of what was heard.
    place: Option<(u32, i64, i64)>,
    /// Sounding stretches, in amplitudes of the continuity.
    runs: Vec<(i64, i64)>,
}

impl Talk {
    /// Whether a window goes on where earlier ones were; if not, everything carried is forgotten.
    pub(super) fn goes_on(&mut self, continuity: u32, start: i64) -> bool {
        let same = |(old, latest, end): (u32, i64, i64)| old == continuity && (latest..=end).contains(&start);
        let goes_on = self.place.is_some_and(same);
        if !goes_on {
            *self = Self::default();
        }
        goes_on
    }

    /// Of a window it is not known where the speaker sounds: no pause reaches into it or out of it.
    pub(super) fn unheard(&mut self, continuity: u32, start: i64, length: usize) {
        self.pauses(continuity, start, length, &[]);
        self.runs.clear();
    }

    /// Takes in a window's sounding frames and returns the pauses that end in it, in seconds. A pause is known only
    /// when speech resumes, so one across an edge counts, whole, in the window in which it ends.
    pub(super) fn pauses(
        &mut self,
        continuity: u32,
        start: i64,
        length: usize,
        sounding: &[(usize, usize)],
    ) -> Vec<f64> {
        self.goes_on(continuity, start);
        // Overlapping windows: what lies in this one is heard anew.
        self.runs.retain(|run| run.0 < start && run.1 > start - LONGEST_PAUSE);
        if let Some(last) = self.runs.last_mut() {
            last.1 = last.1.min(start);
        }
        let at = |frame: usize| start + i64::try_from(frame * HOP).unwrap_or(i64::MAX);
        let mut pauses = Vec::new();
        let mut last = self.runs.last().map(|run| run.1);
        for &(from, to) in sounding {
            let silence = last.map_or(0, |end| at(from) - end);
            if (SHORTEST_PAUSE..=LONGEST_PAUSE).contains(&silence) {
                pauses.push(silence as f64 / 16_000.0);
            }
            last = Some(at(to));
            self.runs.push((at(from), at(to)));
        }
        self.place = Some((continuity, start, start + i64::try_from(length).unwrap_or(i64::MAX)));
        pauses
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;

    const WINDOW: usize = 80_000;

    fn window(talk: &mut Talk, index: i64, sounding: &[(usize, usize)]) -> Vec<f64> {
        talk.pauses(0, index * 80_000, WINDOW, sounding)
    }

    #[test]
    fn a_pause_has_speech_on_both_sides_and_lasts_a_quarter_to_three_seconds() {
        let mut talk = Talk::default();
        let pauses = window(&mut talk, 0, &[(50, 100), (124, 150), (175, 200), (260, 300)]);
        assert_eq!(pauses, [0.25, 0.6]);
    }

    #[test]
    fn silence_of_the_other_speakers_turn_is_no_pause() {
        let mut talk = Talk::default();
        assert!(window(&mut talk, 0, &[(0, 150)]).is_empty());
        assert!(window(&mut talk, 1, &[(0, 50), (360, 500)]).is_empty(), "3.1 s within a window");
        assert!(window(&mut talk, 2, &[]).is_empty());
        assert!(window(&mut talk, 3, &[(10, 500)]).is_empty(), "5 s across windows");
    }

    #[test]
    fn a_pause_across_an_edge_counts_once_and_whole() {
        let mut talk = Talk::default();
        assert!(window(&mut talk, 0, &[(0, 460)]).is_empty());
        assert_eq!(window(&mut talk, 1, &[(80, 500)]), [1.2]);
        assert!(window(&mut talk, 2, &[(0, 500)]).is_empty());
    }

    #[test]
    fn nothing_is_carried_over_a_hole_or_to_another_continuity() {
        let mut talk = Talk::default();
        window(&mut talk, 0, &[(0, 450)]);
        assert!(window(&mut talk, 2, &[(10, 500)]).is_empty());
        assert!(talk.pauses(1, 15 * 16_000, WINDOW, &[(50, 500)]).is_empty());
    }

    #[test]
    fn overlapping_windows_count_the_pauses_that_end_in_each() {
        let mut talk = Talk::default();
        assert_eq!(talk.pauses(0, 0, WINDOW, &[(0, 300), (400, 500)]), [1.0]);
        assert_eq!(talk.pauses(0, 40_000, WINDOW, &[(0, 50), (150, 500)]), [1.0]);
        assert_eq!(talk.pauses(0, 80_000, WINDOW, &[(0, 100), (150, 500)]), [0.5]);
    }
}
