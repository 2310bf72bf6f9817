//! Pictures whose timestamps stand still although they keep coming.
//!
//! Where a camera's clock is set back, GStreamer's decoders (1.22, `GstVideoDecoder`) give every picture the timestamp of the
//! newest one, until the camera's clock has come there again: ten seconds of pictures at one moment.

use std::time::{Duration, Instant};

use crate::time::MediaTime;

/// The newest timestamp of a connection's pictures, and when it first came.
#[derive(Debug, Default)]
pub struct Standing(Option<(MediaTime, Instant)>);

impl Standing {
    /// A picture came: for how long the timestamps have been this one.
    pub fn picture(&mut self, time: MediaTime, arrival: Instant) -> Duration {
        match self.0 {
            Some((newest, since)) if newest == time => arrival.saturating_duration_since(since),
            _ => {
                self.0 = Some((time, arrival));
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_is_told_by_how_long_and_what_goes_on_or_back_is_not() {
        let (mut standing, began) = (Standing::default(), crate::time::monotonic());
        let mut at = |time: i64, millis: u64| {
            standing.picture(MediaTime::from_millis(time), began + Duration::from_millis(millis)).as_millis()
        };
        assert_eq!([at(0, 0), at(40, 30), at(80, 90)], [0, 0, 0]);
        assert_eq!([at(80, 130), at(80, 1290)], [40, 1200]);
        assert_eq!([at(120, 1330), at(10, 1370), at(50, 1410)], [0, 0, 0]);
    }
}
