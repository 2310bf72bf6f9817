//! Keeps the two streams of a recording together.
//!
//! A file's sound decodes far faster than its pictures, and a demuxer reads ahead by megabytes: without a hold the sound
//! of a whole clip would arrive before its second picture, and have to be kept.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::time::MediaTime;
use crate::window::{Stream, Streams};

/// How far one stream may run ahead of the other.
const LEAD: MediaTime = MediaTime::from_millis(1000);
/// So long without any frame, while the cutter has nothing to do: the other stream has a hole, and is not waited for.
const STARVED: Duration = Duration::from_millis(200);
/// How much further a stream then goes by itself, before it waits again: the other may only be slow to decode, and must not
/// find its windows closed when it comes.
const ALONE: MediaTime = MediaTime::from_millis(2000);

#[derive(Default)]
struct State {
    streams: Streams,
    ended: Streams,
    audio: MediaTime,
    video: MediaTime,
    frames: u64,
    /// The stream that runs alone through a hole of the other, and up to where.
    alone: Option<(Stream, MediaTime)>,
}

/// Where a recording's two streams are.
#[derive(Default)]
pub(super) struct Pace {
    state: Mutex<State>,
    moved: Condvar,
}

impl Pace {
    pub fn begin(&self, streams: Streams) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State { streams, ..State::default() };
    }

    pub fn end(&self, stream: Stream) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.ended.set(stream);
        self.moved.notify_all();
    }

    /// Waits until a frame at `time` is no more than the lead ahead of the other stream. `idle` tells whether everything
    /// delivered so far was taken; `stopped` whether to give up waiting.
    pub fn wait(&self, stream: Stream, time: MediaTime, idle: impl Fn() -> bool, stopped: impl Fn() -> bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let other = match stream {
            Stream::Audio => Stream::Video,
            Stream::Video => Stream::Audio,
        };
        if state.alone.is_some_and(|(stream, _)| stream == other) {
            state.alone = None;
        }
        loop {
            let of_other = if other == Stream::Audio { state.audio } else { state.video };
            let both = state.streams.of(other) && !state.ended.of(other);
            let alone = state.alone.is_some_and(|(_, until)| time <= until);
            if !both || alone || time <= of_other + LEAD || stopped() {
                break;
            }
            let before = state.frames;
            let (next, timeout) = self.moved.wait_timeout(state, STARVED).unwrap_or_else(PoisonError::into_inner);
            state = next;
            if timeout.timed_out() && state.frames == before && idle() {
                state.alone = Some((stream, time + ALONE));
            }
        }
        match stream {
            Stream::Audio => state.audio = state.audio.max(time),
            Stream::Video => state.video = state.video.max(time),
        }
        state.frames += 1;
        self.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_picture_lets_the_sound_run_on_a_little_at_a_time() {
        let pace = Pace::default();
        pace.begin(Streams { audio: true, video: true });
        let began = crate::time::monotonic();
        // No picture comes for long: the sound goes on through the hole, but not all at once, since a picture that is only
        // slow to decode must not find its windows closed.
        for block in 0..1000 {
            pace.wait(Stream::Audio, MediaTime::from_millis(20 * block), || true, || false);
        }
        assert!(began.elapsed() > 5 * STARVED, "20 s of sound after {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(10), "a hole is passed in the end: {:?}", began.elapsed());
    }
}
