//! A pushed source that is played and cut as the program does it, and what came out.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use ahwatch::config::defaults;
use ahwatch::encode::StillEncoder;
use ahwatch::run::{FromSource, cut};
use ahwatch::source::{Description, FeedSender, Finish, Location, Retry, Spec, pushed};
use ahwatch::window::{Cut, Cutting, Still, Window};
use crossbeam_channel::{Sender, bounded};

use super::codes::{self, FrameCode};
use super::tones;
use super::wait_until;

/// What a source said.
#[derive(Debug, Default)]
pub struct Told {
    /// Windows.
    pub windows: Vec<Window>,
    /// Continuities that began.
    pub continuities: usize,
    /// Windows that lacked too much.
    pub unjudgeable: usize,
    /// Why it was away, each time.
    pub lost: Vec<String>,
    /// How often it came back.
    pub restored: usize,
    /// How it ended.
    pub finish: Option<Finish>,
}

/// A source that is played.
pub struct Station {
    /// The other end of its feed.
    pub sender: Option<FeedSender>,
    told: Arc<Mutex<Told>>,
    running: Option<Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl Station {
    /// Waits for somebody to push.
    pub fn start() -> Self {
        let (sender, feed) = pushed("participant");
        let told = Arc::<Mutex<Told>>::default();
        let (running, stop) = bounded::<Infallible>(0);
        let shared = Arc::clone(&told);
        let thread = std::thread::spawn(move || play(Location::Pushed(feed), Cutting::LIVE, &stop, &shared));
        Self { sender: Some(sender), told, running: Some(running), thread: Some(thread) }
    }

    /// Waits until what was told is so.
    pub fn wait<T>(&self, limit: Duration, what: &str, ready: impl Fn(&Told) -> Option<T>) -> T {
        wait_until(limit, what, || ready(&self.told.lock().expect("no panic")))
    }

    /// Reads what was told so far.
    pub fn read<T>(&self, read: impl FnOnce(&Told) -> T) -> T {
        read(&self.told.lock().expect("no panic"))
    }

    /// Ends the feed, and gives all that was told.
    pub fn finish(mut self) -> Told {
        self.sender = None;
        self.join()
    }

    /// Stops the source, and gives all that was told.
    pub fn stop(mut self) -> Told {
        self.running = None;
        self.join()
    }

    fn join(&mut self) -> Told {
        self.thread.take().expect("once").join().expect("no panic");
        std::mem::take(&mut self.told.lock().expect("no panic"))
    }
}

impl Drop for Station {
    fn drop(&mut self) {
        (self.sender, self.running) = (None, None);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn play(location: Location, cutting: Cutting, stop: &crossbeam_channel::Receiver<Infallible>, told: &Mutex<Told>) {
    let name = match location {
        Location::File(_) => "file.gst",
        _ => "pushed.gst",
    };
    let mut spec = Spec::once("test", location, Description::shipped(name, None).expect("shipped"));
    spec.once = false;
    let stills = StillEncoder::new(defaults::MAX_PIXELS, defaults::JPEG_QUALITY).expect("encoder");
    cut(&spec, &Retry::default(), cutting, stills, stop, |message| {
        let mut told = told.lock().expect("no panic");
        match message {
            FromSource::Cut(Cut::Window(window), _) => told.windows.push(*window),
            FromSource::Cut(Cut::ContinuityBegan { .. }, _) => told.continuities += 1,
            FromSource::Cut(Cut::Unjudgeable { .. }, _) => told.unjudgeable += 1,
            FromSource::Lost(loss) => told.lost.push(loss.reason),
            FromSource::Restored => told.restored += 1,
            FromSource::Finished(finish) => told.finish = Some(finish),
            // Nobody commands it.
            FromSource::Cut(..) | FromSource::Paused(_) | FromSource::Resumed(_) | FromSource::Released => {}
        }
        true
    });
}

/// The windows of a recording.
pub fn windows_of(path: &std::path::Path) -> Vec<Window> {
    let told = Mutex::default();
    let (_running, stop) = bounded::<Infallible>(0);
    play(Location::File(path.to_owned()), Cutting::RECORDING, &stop, &told);
    told.into_inner().expect("no panic").windows
}

/// The code in a kept picture.
pub fn code(still: &Still) -> Option<FrameCode> {
    let mut decoder = jpeg_decoder::Decoder::new(&still.jpeg[..]);
    let rgb = decoder.decode().ok()?;
    let luma: Vec<u8> = rgb
        .chunks_exact(3)
        .map(|p| ((u32::from(p[0]) * 299 + u32::from(p[1]) * 587 + u32::from(p[2]) * 114) / 1000) as u8)
        .collect();
    let (width, height) = (still.width as usize, still.height as usize);
    codes::read(codes::Luma { data: &luma, stride: width, width, height })
}

/// The frame numbers in a window's pictures; a picture that carries none shows as `u32::MAX`.
pub fn frames(window: &Window) -> Vec<u32> {
    window.pictures.iter().map(|still| code(still).map_or(u32::MAX, |code| code.frame)).collect()
}

/// By how much what is heard in a window lags what is seen, in seconds: at most and at least.
pub fn lag(window: &Window, fps: f64) -> (f64, f64) {
    let first = &window.pictures[0];
    let seen = f64::from(code(first).expect("a code").frame) / fps - (first.time - window.media.start()).as_secs_f64();
    let heard = tones::read(window.sound.as_ref().expect("sound"));
    let lags: Vec<f64> =
        heard.anchors.iter().map(|anchor| anchor.at as f64 / 16e3 - (anchor.source_secs() - seen)).collect();
    assert!(lags.len() > 10, "{} blocks of sound were read", lags.len());
    (lags.iter().copied().fold(f64::MAX, f64::min), lags.iter().copied().fold(f64::MIN, f64::max))
}

/// Whether pictures and sound of a window carry mark 0.
pub fn planted(window: &Window) -> (bool, bool) {
    let seen = window.pictures.iter().filter_map(code).filter(|code| code.marks & 1 == 1).count();
    let heard = tones::read(window.sound.as_deref().unwrap_or_default());
    (2 * seen > window.pictures.len(), 2 * heard.marked(0) > heard.anchors.len())
}
