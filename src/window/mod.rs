//! Cutting: frames in, windows out. Pure; every time is passed in.
//!
//! - `timeline`: splits what arrives into continuities and sessions (design rule 8) and puts them on session time; pauses; `step`:
//!   clocks of sound and pictures that come apart.
//! - `cutter`: the grid of one continuity (rules 1 and 2).
//! - `sound`: its ring of sound; `stills`: which of its pictures are kept.

mod cutter;
mod sound;
mod stills;
#[cfg(test)]
pub(crate) mod tests;
mod timeline;

use bytes::Bytes;

use crate::judge::{LostReason, WindowId};
use crate::time::{MediaTime, Span};

pub use cutter::{Cutter, picture_count};
pub use stills::Keep;
pub use timeline::Timeline;

/// Sound everywhere in this program: 16 kHz, mono, signed 16-bit (what Qwen3-Omni's audio tower takes).
pub const SAMPLE_RATE: u32 = 16_000;

/// One kept picture, as the JPEG that goes into the clip: full-range BT.601 4:2:0, even width and height.
#[derive(Clone, PartialEq, Eq)]
pub struct Still {
    /// Media time in the continuity.
    pub time: MediaTime,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// A baseline JPEG file.
    pub jpeg: Bytes,
}

impl std::fmt::Debug for Still {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Still({:?}, {}x{}, {} bytes)", self.time, self.width, self.height, self.jpeg.len())
    }
}

/// A span of synchronised sound and pictures, ready to be encoded for a judge.
#[derive(Clone)]
pub struct Window {
    /// Which window of the session.
    pub id: WindowId,
    /// Its span in the time of its continuity.
    pub media: Span,
    /// Its span in session time.
    pub span: Span,
    /// Whether it is `window_secs` long; else it is a kept partial.
    pub full: bool,
    /// The ten pictures of rule 2 (fewer for a partial window; one may occur twice). Empty: the source has no video.
    pub pictures: Vec<Still>,
    /// How many pictures the source delivered in this span.
    pub pictures_seen: u32,
    /// How many it should have delivered at its frame period; 0 while that is unknown.
    pub pictures_expected: u32,
    /// 16 kHz mono, exactly the window's length; holes are zeros. None: the source has no audio.
    pub sound: Option<Vec<i16>>,
    /// How much of `sound` is filled-in silence.
    pub sound_missing: MediaTime,
    /// Frames refused at the bridge into the cutter within this span, because it was full.
    pub refused: u32,
    /// Media time of the window's first sound minus that of its first picture; None without both.
    pub audio_offset: Option<MediaTime>,
    /// Whether sound and pictures are in step. None: nobody can tell, or not yet.
    pub alignment: Option<Alignment>,
}

/// How sound and pictures of a live source stand to each other, as far as their arrival tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alignment {
    /// By so much the sound's timestamps were moved, because the clocks of the two streams drift apart.
    pub moved: MediaTime,
    /// No more than 40 ms are left between them, as far as can be told.
    pub reliable: bool,
}

impl std::fmt::Debug for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Window({:?}, {:?}, {} pictures)", self.id, self.span, self.pictures.len())
    }
}

/// A decoded frame on its source's own timeline. `R` is the picture as the source delivers it, undecided whether it is kept.
#[derive(Clone, Debug)]
pub enum Frame<R> {
    /// A picture.
    Picture {
        /// When it is shown, on the source's timeline.
        time: MediaTime,
        /// The picture.
        image: R,
    },
    /// A block of sound.
    Sound {
        /// When its first value sounds, on the source's timeline.
        time: MediaTime,
        /// 16 kHz mono.
        pcm: Vec<i16>,
    },
}

impl<R> Frame<R> {
    /// When it begins, on the source's timeline.
    #[must_use]
    pub const fn time(&self) -> MediaTime {
        match self {
            Self::Picture { time, .. } | Self::Sound { time, .. } => *time,
        }
    }

    /// Which stream it belongs to.
    #[must_use]
    pub const fn stream(&self) -> Stream {
        match self {
            Self::Picture { .. } => Stream::Video,
            Self::Sound { .. } => Stream::Audio,
        }
    }
}

/// One of a source's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
}

impl Stream {
    /// The other of the two.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Audio => Self::Video,
            Self::Video => Self::Audio,
        }
    }
}

/// A statement about both streams of a source, e.g. which it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// About the sound.
    pub audio: bool,
    /// About the pictures.
    pub video: bool,
}

impl Streams {
    /// The statement about one stream.
    #[must_use]
    pub const fn of(self, stream: Stream) -> bool {
        match stream {
            Stream::Audio => self.audio,
            Stream::Video => self.video,
        }
    }

    /// States it of one stream.
    pub const fn set(&mut self, stream: Stream) {
        match stream {
            Stream::Audio => self.audio = true,
            Stream::Video => self.video = true,
        }
    }
}

/// How to cut. All of it fixed for a session.
#[derive(Clone, Copy, Debug)]
pub struct Cutting {
    /// Length of a full window.
    pub window: MediaTime,
    /// Distance of window starts, `0 < hop <= window`.
    pub hop: MediaTime,
    /// How far one stream may run ahead past a window's end before the window is closed with what is there.
    pub stall: MediaTime,
    /// Whether gaps are measured by arrival (live) or by timestamps (a file).
    pub live: bool,
    /// A longer gap ends a live session.
    pub session_gap: MediaTime,
    /// A session ends after this time.
    pub max_session: Option<MediaTime>,
}

impl Cutting {
    /// A recording in windows of five seconds, one after the other, where nothing else is configured. In a file the streams may be
    /// stored further apart than a camera would send them.
    pub const RECORDING: Self = Self {
        window: MediaTime::from_millis(5000),
        hop: MediaTime::from_millis(5000),
        stall: MediaTime::from_millis(20_000),
        live: false,
        session_gap: MediaTime::MAX,
        max_session: None,
    };
    /// The same of a live source.
    pub const LIVE: Self = Self { stall: MediaTime::from_millis(2000), live: true, ..Self::RECORDING };

    /// Pictures of a full window.
    #[must_use]
    pub fn pictures(&self) -> usize {
        picture_count(self.window)
    }

    /// How long a window's pictures are watched before its targets are fixed: less than the distance of two targets.
    fn settle(&self) -> MediaTime {
        let targets = i64::try_from(self.pictures()).unwrap_or(10);
        MediaTime::from_millis(200).min(self.window.scale(1, 2 * targets))
    }
}

/// What a cutter makes of a continuity; times from its second 0.
pub enum Piece {
    /// A window, full or partial.
    Window {
        /// Place on the grid.
        index: u32,
        /// Its span.
        span: Span,
        /// Whether it is a full window.
        full: bool,
        /// Pictures the source delivered in it.
        pictures_seen: u32,
        /// Pictures it should have delivered; 0: unknown.
        pictures_expected: u32,
        /// The chosen ones.
        pictures: Vec<Still>,
        /// Sound; None: the source has none.
        sound: Option<PieceSound>,
        /// Frames refused at the bridge.
        refused: u32,
        /// First sound minus first picture.
        audio_offset: Option<MediaTime>,
    },
    /// Time at the end that no window covers.
    Tail(Span),
}

/// The sound of a piece.
pub struct PieceSound {
    /// 16 kHz mono.
    pub pcm: Vec<i16>,
    /// How much of it is filled-in silence.
    pub missing: MediaTime,
}

/// What the timeline makes of a source, in session time.
#[derive(Debug)]
pub enum Cut {
    /// The first frame of a session arrived.
    SessionBegan,
    /// The source has these streams; said when a continuity begins.
    ContinuityBegan {
        /// Its number in the session.
        continuity: u32,
        /// Where its second 0 lies in session time.
        start: MediaTime,
        /// What the source has.
        streams: Streams,
    },
    /// A window to judge.
    Window(Box<Window>),
    /// A window that lacks too much to be judged.
    Unjudgeable {
        /// Which window.
        id: WindowId,
        /// Its span in session time.
        span: Span,
        /// What was missing.
        reason: LostReason,
    },
    /// Session time between two continuities.
    Outage(Span),
    /// Session time in which the source was paused.
    Paused(Span),
    /// Session time at a continuity's end that no window covers.
    Tail(Span),
    /// No more windows of this continuity will come.
    ContinuityEnded {
        /// Its number in the session.
        continuity: u32,
        /// How many windows it had, judgeable or not.
        windows: u32,
    },
    /// The session is over.
    SessionEnded {
        /// Its length, at its last frame.
        elapsed: MediaTime,
    },
}
