//! How the test endpoint's judges answer, and how it fails.

use std::time::Duration;

use serde_json::json;

use super::clip::Clip;

/// What a judge needs to see planted, to say Yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The mark in the pictures and in the sound.
    Both,
    /// The mark in the pictures.
    Pictures,
    /// The mark in the sound.
    Sound,
}

/// How one model answers.
#[derive(Clone, Debug)]
pub struct Judge {
    /// Where the mark must be.
    pub needs: Needs,
    /// Which of the four marks it looks for.
    pub mark: u8,
    /// Windows (of five source seconds) it says Yes to instead, when given; both streams must come from one of them.
    pub windows: Option<Vec<u64>>,
    /// Frames a second of the source, for `windows`.
    pub fps: f64,
    /// P(Yes) it claims when it says Yes; when it says No, one less this.
    pub p_yes: f64,
}

impl Default for Judge {
    fn default() -> Self {
        Self { needs: Needs::Both, mark: 0, windows: None, fps: 25.0, p_yes: 0.9 }
    }
}

impl Judge {
    /// One that looks for another of the four marks.
    pub fn mark(mark: u8) -> Self {
        Self { mark, ..Self::default() }
    }

    /// One that says Yes to these windows of the source.
    pub fn windows(windows: &[u64]) -> Self {
        Self { windows: Some(windows.to_vec()), ..Self::default() }
    }

    /// What it says of a clip.
    pub fn says_yes(&self, clip: &Clip) -> bool {
        let (pictures, sound) = if let Some(windows) = &self.windows {
            let planted = |secs: Option<f64>| secs.is_some_and(|secs| windows.contains(&((secs / 5.0) as u64)));
            (planted(clip.picture_middle_secs(self.fps)), planted(clip.sound_middle_secs()))
        } else {
            (clip.pictures_marked(self.mark), clip.sound_marked(self.mark))
        };
        match self.needs {
            Needs::Both => pictures && sound,
            Needs::Pictures => pictures,
            Needs::Sound => sound,
        }
    }
}

/// How the endpoint behaves.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Decodes and answers.
    Ok,
    /// Answers No without decoding what it was sent: where that would take the processor from what is measured.
    Blind,
    /// Answers after so long.
    Delay(Duration),
    /// Refuses with a status, extra headers and a body.
    Status(u16, Vec<(String, String)>, String),
    /// A proxy's page, with status 200.
    Html,
    /// This text for an answer.
    Text(String),
    /// Stops in the middle of the answer: finish reason "length".
    Truncated,
    /// A whole answer with finish reason "abort".
    Abort,
    /// Nothing, until [`Endpoint::release`].
    Slow,
    /// Headers and half a body, then the connection is dropped.
    CutBody,
    /// This mode so many times, then [`Mode::Ok`].
    Times(u32, Box<Mode>),
}

impl Mode {
    /// A status with a body in the form vLLM uses.
    pub fn status(code: u16) -> Self {
        let body = json!({"error": {"message": "as the test asked", "type": "Error", "param": null, "code": code}});
        Self::Status(code, vec![("content-type".into(), "application/json".into())], body.to_string())
    }

    /// 429 or 503 with `Retry-After`.
    pub fn retry_after(code: u16, value: &str) -> Self {
        Self::Status(code, vec![("retry-after".into(), value.into())], String::new())
    }

    /// This mode `n` times, then answers.
    pub fn times(self, n: u32) -> Self {
        Self::Times(n, Box::new(self))
    }
}
