//! The sound code: blocks of 200 ms, each a chirp (where) and a chord (which).
//!
//! The first 50 ms of a block sweep 400 to 3,600 Hz; a matched filter finds the sweep to the sample. The other 150 ms hold
//! six tones, one of sixteen in each of six bands: four nibbles of block number, the four marks, a four-bit check.
//! So a block says which source time it came from, its chirp says exactly where, and a cut anywhere does no harm.

use std::f64::consts::PI;
use std::ops::Range;
use std::sync::LazyLock;

use super::codes::crc8;

/// Blocks a second.
pub const BLOCKS_PER_SEC: u64 = 5;
/// Rate the reader works at.
pub const RATE: usize = 16_000;

const BLOCK: usize = RATE / BLOCKS_PER_SEC as usize;
const CHIRP_SECS: f64 = 0.050;
const CHIRP: usize = (CHIRP_SECS * RATE as f64) as usize;
const BLOCK_SECS: f64 = 1.0 / BLOCKS_PER_SEC as f64;
const BANDS: usize = 6;
/// What the reader listens to, after the chirp, within the chord.
const EAR: Range<usize> = CHIRP + 200..CHIRP + 2200;
/// Correlation above which a sweep is taken for one.
const HEARD: f64 = 0.5;

fn tone(band: usize, nibble: u8) -> f64 {
    500.0 + (band * 16 + usize::from(nibble)) as f64 * 32.0
}

fn nibbles(block: u64, marks: u8) -> [u8; BANDS] {
    let index = block as u16;
    let [high, low] = index.to_be_bytes();
    let check = crc8(&[high, low, marks & 15]);
    [high >> 4, high & 15, low >> 4, low & 15, marks & 15, (check >> 4) ^ (check & 15)]
}

/// 0 to 1 and back within `ramp` of the ends of `0..length`.
fn fade(t: f64, length: f64, ramp: f64) -> f64 {
    let edge = t.min(length - t).clamp(0.0, ramp);
    0.5 - 0.5 * (PI * edge / ramp).cos()
}

fn sweep(t: f64) -> f64 {
    let (low, high) = (400.0, 3600.0);
    0.4 * fade(t, CHIRP_SECS, 0.004) * (2.0 * PI * (low * t + (high - low) * t * t / (2.0 * CHIRP_SECS))).sin()
}

/// The sound of source seconds `first / rate ..`, `count` samples at `rate` Hz; `marks` of a block by its number.
pub fn sound(rate: u32, first: u64, count: usize, marks: impl Fn(u64) -> u8) -> Vec<i16> {
    let per_block = u64::from(rate) / BLOCKS_PER_SEC;
    let mut chord = (u64::MAX, [0; BANDS]);
    (first..first + count as u64)
        .map(|n| {
            let (block, t) = (n / per_block, (n % per_block) as f64 / f64::from(rate));
            if chord.0 != block {
                chord = (block, nibbles(block, marks(block)));
            }
            let value = if t < CHIRP_SECS {
                sweep(t)
            } else {
                let envelope = 0.09 * fade(t - CHIRP_SECS, BLOCK_SECS - CHIRP_SECS, 0.006);
                let chord = chord.1.iter().enumerate();
                envelope
                    * chord.map(|(band, nibble)| (2.0 * PI * tone(band, *nibble) * t + band as f64).sin()).sum::<f64>()
            };
            (value * 32_000.0) as i16
        })
        .collect()
}

/// One block found in a sound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Anchor {
    /// Sample of the received sound at which the block begins.
    pub at: usize,
    /// Number of the block in its source; source time is a fifth of it, in seconds.
    pub block: u64,
    /// The marks it carries.
    pub marks: u8,
}

impl Anchor {
    /// Source time of the block's first sample, seconds.
    pub fn source_secs(&self) -> f64 {
        self.block as f64 * BLOCK_SECS
    }
}

/// What a sound was found to carry.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Samples read.
    pub samples: usize,
    /// Blocks found, in order.
    pub anchors: Vec<Anchor>,
    /// Runs of digital silence of 20 ms or more.
    pub silences: Vec<Range<usize>>,
}

impl Heard {
    /// Source time, in seconds, of sample `position`: from the nearest whole block, at most 400 ms away.
    pub fn source_secs_at(&self, position: usize) -> Option<f64> {
        let nearest = self.anchors.iter().min_by_key(|anchor| anchor.at.abs_diff(position))?;
        let offset = position as f64 - nearest.at as f64;
        (offset.abs() <= BLOCK as f64 * 2.0).then(|| nearest.source_secs() + offset / RATE as f64)
    }

    /// How many of the blocks carry mark `bit`.
    pub fn marked(&self, bit: u8) -> usize {
        self.anchors.iter().filter(|anchor| anchor.marks >> bit & 1 == 1).count()
    }
}

static TEMPLATE: LazyLock<Vec<f32>> =
    LazyLock::new(|| (0..CHIRP).map(|n| sweep(n as f64 / RATE as f64) as f32).collect());

/// Normalised correlation with the sweep at `at`, -1 to 1.
fn likeness(samples: &[f32], at: usize) -> f64 {
    let Some(part) = samples.get(at..at + CHIRP) else { return 0.0 };
    let (mut cross, mut energy, mut own) = (0f32, 0f32, 0f32);
    for (a, b) in part.iter().zip(TEMPLATE.iter()) {
        cross += a * b;
        energy += a * a;
        own += b * b;
    }
    if energy < 1e-2 { 0.0 } else { f64::from(cross / (energy * own).sqrt()) }
}

/// Best match of the sweep within `range`, with its likeness.
fn best(samples: &[f32], range: Range<usize>) -> (usize, f64) {
    range.map(|at| (at, likeness(samples, at))).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0))
}

/// Power of `frequency` in `samples` (Goertzel under a Hann window applied by the caller).
fn power(samples: &[f64], frequency: f64) -> f64 {
    let k = 2.0 * (2.0 * PI * frequency / RATE as f64).cos();
    let (mut s1, mut s2) = (0.0, 0.0);
    for x in samples {
        (s1, s2) = (x + k * s1 - s2, s1);
    }
    s1 * s1 + s2 * s2 - k * s1 * s2
}

/// The chord of the block beginning at `at`.
fn chord(samples: &[f32], at: usize) -> Option<(u64, u8)> {
    let part = samples.get(at + EAR.start..at + EAR.end)?;
    let hann = |n: usize| 0.5 - 0.5 * (2.0 * PI * n as f64 / EAR.len() as f64).cos();
    let part: Vec<f64> = part.iter().enumerate().map(|(n, x)| f64::from(*x) * hann(n)).collect();
    let mut found = [0u8; BANDS];
    for (band, nibble) in found.iter_mut().enumerate() {
        let powers: Vec<f64> = (0..16).map(|value| power(&part, tone(band, value))).collect();
        let top = (0..16).max_by(|a, b| powers[*a].total_cmp(&powers[*b]))?;
        let second = (0..16).filter(|v| *v != top).map(|v| powers[v]).fold(0.0, f64::max);
        if powers[top] < 4.0 * second {
            return None; // 6 dB over the next, or nothing was said
        }
        *nibble = top as u8;
    }
    let block = found[..4].iter().fold(0, |block, nibble| block << 4 | u64::from(*nibble));
    (nibbles(block, found[4]) == found).then_some((block, found[4]))
}

/// Reads 16 kHz mono sound.
pub fn read(sound: &[i16]) -> Heard {
    let samples: Vec<f32> = sound.iter().map(|x| f32::from(*x) / 32_768.0).collect();
    let mut heard = Heard { samples: sound.len(), silences: silences(sound), ..Heard::default() };
    let mut at = 0;
    while at + BLOCK <= samples.len() + BLOCK - EAR.end {
        // Where the block before says; else look through the next block for the first sweep.
        let expected = heard.anchors.last().map_or(usize::MAX, |last| last.at + BLOCK);
        let near = if expected == at { best(&samples, at.saturating_sub(24)..at + 24) } else { (0, 0.0) };
        let (found, how) = if near.1 > HEARD {
            near
        } else {
            let first = (at..at + BLOCK).find(|at| likeness(&samples, *at) > HEARD);
            first.map_or((0, 0.0), |first| best(&samples, first..first + 64))
        };
        if how <= HEARD {
            at += BLOCK;
        } else if let Some((block, marks)) = chord(&samples, found) {
            heard.anchors.push(Anchor { at: found, block, marks });
            at = found + BLOCK;
        } else {
            at = found + CHIRP;
        }
    }
    heard
}

fn silences(sound: &[i16]) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = 0;
    for (n, loud) in sound.iter().map(|x| *x != 0).chain([true]).enumerate() {
        if loud {
            if n - start >= RATE / 50 {
                runs.push(start..n);
            }
            start = n + 1;
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_says_where_it_came_from_wherever_it_is_cut() {
        for first in [0, 1, 799, 1600, 3199, 12_345, 99_999] {
            let heard = read(&sound(16_000, first, 40_000, |block| (block % 16) as u8));
            assert!(heard.anchors.len() >= 11, "{first}: {heard:?}");
            for position in [0, 5_000, 20_000, 39_999] {
                let true_secs = (first + position) as f64 / 16_000.0;
                let said = heard.source_secs_at(position as usize).expect("a block nearby");
                assert!((said - true_secs).abs() < 1.1 / 16_000.0, "{first}+{position}: {said} for {true_secs}");
            }
            assert!(heard.anchors.iter().all(|anchor| u64::from(anchor.marks) == anchor.block % 16));
            assert!(heard.silences.is_empty());
        }
    }

    #[test]
    fn silence_and_splices_are_seen() {
        let mut cut = sound(16_000, 0, 16_000, |_| 0);
        cut[8_000..12_000].fill(0);
        cut.extend(sound(16_000, 160_000 + 500, 16_000, |_| 1));
        let heard = read(&cut);
        assert!(heard.silences.iter().any(|run| run.start <= 8_000 && run.end >= 12_000), "{:?}", heard.silences);
        let after = heard.source_secs_at(20_000).expect("second part");
        assert!((after - (160_500.0 + 4_000.0) / 16_000.0).abs() < 0.001, "{after}");
        assert!(heard.marked(0) >= 3 && heard.marked(1) == 0);
        assert_eq!(read(&[0; 16_000]).anchors, []);
    }
}
