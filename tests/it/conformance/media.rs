//! The recording of the checks: as our clips, by the program's own cutter and encoder, and as the files that training reads.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use ahwatch::config::ClipCodec;
use ahwatch::encode::{ClipSet, StillEncoder, clips};
use ahwatch::run::{FromSource, cut};
use ahwatch::source::{Description, Location, Retry, Spec};
use ahwatch::window::{Cut, Cutting};

use crate::kit::media::Recipe;

const MAX_PIXELS: u32 = 786_432;
/// Length of the recording's second window, which is a partial one.
const TAIL_SECS: f64 = 3.4;

/// One window of the recording.
pub struct Piece {
    /// What it is called.
    pub name: &'static str,
    /// What our client sends.
    pub clips: ClipSet,
    /// The same seconds as training has them: the recording's own pictures and rate, and a WAV, cut by ffmpeg.
    pub training: (PathBuf, PathBuf),
    /// Pictures in our clip.
    pub pictures: usize,
    /// Values of sound at 16 kHz in our clip.
    pub sound: usize,
}

/// What the checks show to servers.
pub struct Media {
    /// Of a recording of 640x480, 25 pictures a second and 8.4 s: its full window, and its tail of 3.4 s.
    pub pieces: [Piece; 2],
    /// The full window of another recording, 1280x720.
    pub wide: ClipSet,
    /// The full window with its pictures as H.264.
    pub h264: ClipSet,
}

impl Media {
    /// Makes recordings and clips; `scratch` takes the files of training.
    pub fn make(scratch: &Path) -> Self {
        let recipe = Recipe::new(5.0 + TAIL_SECS).plant(&[0]);
        let recording = recipe.clone().size(640, 480).make();
        let wide = windows(&recipe.size(1280, 720).make(), ClipCodec::Jpeg).remove(0).0;
        let h264 = windows(&recording, ClipCodec::H264).remove(0).0;
        let mut windows = windows(&recording, ClipCodec::Jpeg);
        assert_eq!(windows.len(), 2, "the recording has a full window and a tail");
        let tail = windows.pop().expect("two");
        let full = windows.pop().expect("two");
        let piece = |name, (clips, pictures, sound), from: &str, to: &str| Piece {
            name,
            clips,
            training: training(&recording, scratch, name, from, to),
            pictures,
            sound,
        };
        let pieces = [piece("full window", full, "0", "5"), piece("tail of 3.4 s", tail, "5", "60")];
        Self { pieces, wide, h264 }
    }
}

/// The clips of a recording's windows, with their pictures and values of sound.
fn windows(recording: &Path, codec: ClipCodec) -> Vec<(ClipSet, usize, usize)> {
    let spec = Spec::once(
        "conformance",
        Location::File(recording.to_owned()),
        Description::shipped("file.gst", None).expect("shipped"),
    );
    let stills = StillEncoder::new(MAX_PIXELS, 90).expect("GStreamer");
    let (_running, stop) = crossbeam_channel::bounded(0);
    let mut found = Vec::new();
    cut(&spec, &Retry::default(), Cutting::RECORDING, stills, &stop, |message| {
        match message {
            FromSource::Cut(Cut::Window(window), _) => {
                let set = clips(&window, codec, &BTreeSet::from([MAX_PIXELS])).expect("encoded");
                found.push((set, window.pictures.len(), window.sound.as_ref().map_or(0, Vec::len)));
            }
            FromSource::Finished(finish) => assert!(finish.error.is_none(), "{:?}", finish.error),
            _ => {}
        }
        true
    });
    found
}

/// Cut as the published preparation does it: one ffmpeg command for the pictures, one for the sound. The tail goes to the
/// recording's end, where AAC's last block may outlast the pictures by some hundredths of a second.
fn training(recording: &Path, scratch: &Path, name: &str, from: &str, to: &str) -> (PathBuf, PathBuf) {
    let name = name.replace(' ', "-");
    let (video, audio) = (scratch.join(format!("{name}.mp4")), scratch.join(format!("{name}.wav")));
    for (more, out) in [
        (&["-an", "-c:v", "libx264", "-preset", "veryfast", "-crf", "18"][..], &video),
        (&["-vn", "-ac", "1", "-ar", "16000", "-c:a", "pcm_s16le"][..], &audio),
    ] {
        let ffmpeg = Command::new("ffmpeg")
            .args(["-v", "error", "-y", "-ss", from, "-to", to, "-i"])
            .arg(recording)
            .args(more)
            .arg(out)
            .output()
            .expect("ffmpeg; scripts/setup.sh --conformance installs it");
        assert!(ffmpeg.status.success(), "ffmpeg: {}", String::from_utf8_lossy(&ffmpeg.stderr));
    }
    (video, audio)
}
