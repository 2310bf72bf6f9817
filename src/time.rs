//! Media time, spans, and the only place that reads a clock.
//!
//! Three kinds of time meet in this program and are never mixed:
//!
//! - **media time** ([`MediaTime`]): where in a recording or stream something happened, in whole nanoseconds. Within a
//!   continuity it is measured from its second 0; within a session it is *session time*, measured from the session's
//!   first frame.
//! - **monotonic time** ([`std::time::Instant`], from [`monotonic`]): deadlines, latencies, arrival of live frames.
//! - **wall time** ([`jiff::Timestamp`], from [`wall`]): what people and other systems read in events.
//!
//! Everything that decides takes its times as arguments, so that tests pass hours in microseconds.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::{Duration, Instant};

/// A point, or a signed distance, on a media timeline, in nanoseconds.
///
/// Integers, so that sums of spans are exact (design rule 6) whatever their number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MediaTime(i64);

impl MediaTime {
    /// Second 0.
    pub const ZERO: Self = Self(0);
    /// Later than any time that occurs.
    pub const MAX: Self = Self(i64::MAX);

    /// From whole nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From whole milliseconds.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis * 1_000_000)
    }

    /// From seconds, rounded to the nearest nanosecond; saturates.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "float to int casts saturate, which is what is wanted")]
    pub fn from_secs_f64(secs: f64) -> Self {
        Self((secs * 1e9).round() as i64)
    }

    /// From a duration; saturates after 292 years.
    #[must_use]
    pub fn from_duration(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }

    /// Whole nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Seconds, for people and for JSON.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "exact below 104 days; beyond that by less than a microsecond")]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// As a duration; negative times become zero.
    #[must_use]
    pub fn as_duration(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }

    /// Distance without sign.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }

    /// `self * factor / divisor` in 128-bit arithmetic, rounded to nearest.
    #[must_use]
    pub fn scale(self, factor: i64, divisor: i64) -> Self {
        let (n, d) = (i128::from(self.0) * i128::from(factor), i128::from(divisor));
        let half = d.abs() / 2 * if (n < 0) == (d < 0) { 1 } else { -1 };
        Self(i64::try_from((n + half) / d).unwrap_or(i64::MAX))
    }
}

impl Add for MediaTime {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for MediaTime {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl std::ops::Neg for MediaTime {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl AddAssign for MediaTime {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for MediaTime {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl fmt::Debug for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}s", self.as_secs_f64())
    }
}

/// Seconds with three decimals, `12.345 s`.
impl fmt::Display for MediaTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", self.as_secs_f64())
    }
}

/// A half-open stretch of media time, `start <= t < end`. Never reversed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    start: MediaTime,
    end: MediaTime,
}

impl Span {
    /// From `start` to `end`; an `end` before `start` gives an empty span at `start`.
    #[must_use]
    pub fn new(start: MediaTime, end: MediaTime) -> Self {
        Self { start, end: end.max(start) }
    }

    /// First instant inside.
    #[must_use]
    pub const fn start(self) -> MediaTime {
        self.start
    }

    /// First instant after.
    #[must_use]
    pub const fn end(self) -> MediaTime {
        self.end
    }

    /// `end - start`.
    #[must_use]
    pub fn length(self) -> MediaTime {
        self.end - self.start
    }

    /// Whether nothing lies inside.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The same span on a timeline whose zero lies `offset` earlier.
    #[must_use]
    pub fn shift(self, offset: MediaTime) -> Self {
        Self { start: self.start + offset, end: self.end + offset }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}..{:?}", self.start, self.end)
    }
}

/// How long to wait before another try: `chance` (0 to 1) of a bound that doubles with each of the `tries` before it, up to
/// `longest`. Full jitter, where `chance` is random (Brooker, "Exponential Backoff And Jitter").
#[must_use]
pub fn backoff(first: Duration, longest: Duration, tries: u32, chance: f64) -> Duration {
    first.saturating_mul(1 << tries.min(16)).min(longest).mul_f64(chance.clamp(0.0, 1.0))
}

/// The monotonic clock.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this module is where clocks are read")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The wall clock.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this module is where clocks are read")]
pub fn wall() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scale_rounds_to_nearest_on_both_sides_of_zero() {
        assert_eq!(MediaTime(10).scale(1, 4), MediaTime(3));
        assert_eq!(MediaTime(-10).scale(1, 4), MediaTime(-3));
        assert_eq!(MediaTime(i64::MAX).scale(2, 4), MediaTime(4_611_686_018_427_387_904));
    }

    #[test]
    fn a_reversed_span_is_empty() {
        assert!(Span::new(MediaTime(5), MediaTime(3)).is_empty());
    }
}
