//! How long the stages of a window's way take, for whoever wants to know. Decides nothing.

use std::sync::Arc;
use std::time::Duration;

/// A stage of a window's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// From the arrival of the frame that completes a window until its source's task has it.
    Cut,
    /// Speech, faces, flags, the cue index: on the measuring thread.
    Measure,
    /// From the arrival of that frame until it is the window's turn before the panel. Has [`Stage::Cut`] in it, and with a gate the
    /// measuring.
    Wait,
    /// A window's clips.
    Encode,
    /// All judges of a window, from its clips being there until the last has answered or given up.
    Panel,
    /// Events into the journal.
    Journal,
    /// An attempt to bring an event to a receiver, whatever came of it.
    Sink,
}

impl Stage {
    /// The word of the metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Measure => "measure",
            Self::Wait => "wait",
            Self::Encode => "encode",
            Self::Panel => "panel",
            Self::Journal => "journal",
            Self::Sink => "sink",
        }
    }
}

/// Who listens. By default nobody does.
#[derive(Clone, Default)]
pub struct Stages(Option<Arc<dyn Fn(Stage, Duration) + Send + Sync>>);

impl std::fmt::Debug for Stages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Stages").field(&self.0.is_some()).finish()
    }
}

impl Stages {
    /// Tells this.
    #[must_use]
    pub fn to(listener: impl Fn(Stage, Duration) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// A stage took so long.
    pub fn took(&self, stage: Stage, time: Duration) {
        if let Some(listener) = &self.0 {
            listener(stage, time);
        }
    }
}
