//! Pictures whose timestamps stand still although they keep coming.
//!
//! Where a camera's clock is set back, GStreamer's decoders (1.22, `GstVideoDecoder`) give every picture the timestamp of the
//! newest one, until the camera's clock has come there again: ten seconds of pictures at one moment.

use std::time::{Duration, Instant};

use crate::time::MediaTime;

/// The newest timestamp of a connection's pictures, when it first came, and when it last did.
#[derive(Debug, Default)]
pub struct Standing(Option<(MediaTime, Instant, Instant)>);

impl Standing {
    /// A picture came.
    pub fn picture(&mut self, time: MediaTime, arrival: Instant) {
        let since = self.0.filter(|(newest, ..)| *newest == time).map_or(arrival, |(_, since, _)| since);
        self.0 = Some((time, since, arrival));
    }

    /// For how long pictures have come with the timestamp of the newest.
    pub fn stood(&self) -> Duration {
        self.0.map_or(Duration::ZERO, |(_, since, last)| last.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_is_told_by_how_long_and_what_goes_on_or_back_is_not() {
        let (mut standing, began) = (Standing::default(), crate::time::monotonic());
        let mut at = |time: i64, millis: u64| {
            standing.picture(MediaTime::from_millis(time), began + Duration::from_millis(millis));
            standing.stood().as_millis()
        };
        assert_eq!([at(0, 0), at(40, 30), at(80, 90)], [0, 0, 0]);
        assert_eq!([at(80, 130), at(80, 1290)], [40, 1200]);
        assert_eq!([at(120, 1330), at(10, 1370), at(50, 1410)], [0, 0, 0]);
    }
}
