//! Every default of the configuration, with its unit, in one place.

/// Length of a window, seconds: what the checkpoints were trained on.
pub const WINDOW_SECS: f64 = 5.0;
/// From one window's start to the next, seconds: windows neither overlap nor leave holes.
pub const HOP_SECS: f64 = 5.0;
/// Most pixels of a picture sent to a judge: training kept each picture's own size up to this.
pub const MAX_PIXELS: u32 = 786_432;
/// Quality of the pictures kept as JPEG, 1 to 100.
pub const JPEG_QUALITY: u8 = 85;
/// Share of a session that must be judged before it can be called Absent.
pub const MIN_COVERAGE: f64 = 0.8;
/// Present windows in a row that open an episode.
pub const OPEN_WINDOWS: u32 = 1;
/// Absent windows in a row that close one.
pub const CLEAR_WINDOWS: u32 = 2;
/// Quiet time after a sent episode alert, seconds of session time.
pub const COOLDOWN_SECS: f64 = 60.0;
/// A gap longer than this ends a live session, seconds.
pub const SESSION_GAP_SECS: f64 = 60.0;
/// Probability of speech from which sound counts as speech: the default of Silero VAD's `get_speech_timestamps`.
pub const SPEECH_THRESHOLD: f64 = 0.5;
/// Speech a window needs for the gate, seconds: `min_speech_duration_ms` of the same. There it is an unbroken stretch, here
/// a sum over the window, which lets more pass.
pub const MIN_SPEECH_SECS: f64 = 0.25;
/// Score from which a face is one: measured here, a cat's got 0.57.
pub const FACE_THRESHOLD: f64 = 0.70;
/// Width of the smallest face that counts, in pixels of a picture whose longer side is 320: measured here, the model misses
/// faces under about 31 of 320x240.
pub const MIN_FACE_PIXELS: f64 = 31.0;
/// Pictures of a window that must show such a face: one, since the gate is to skip only what shows nobody.
pub const MIN_FACE_PICTURES: u32 = 1;
/// The shipped prompt a judge is asked with: the one the published checkpoints were trained with.
pub const PROMPT: &str = "trained";
/// System message of training.
pub const SYSTEM: &str = "You are a Multimodal Emotion Analysis Expert.";
/// Seconds per video grid: the published checkpoints' (trained without `fps`), and vLLM's without the `fps` flag.
pub const TIME_SCALE: f64 = 2.0;
/// From a live window's end (a file's window: from when it is put to the panel) to the giving up, milliseconds.
pub const DEADLINE_MS: u64 = 20_000;
/// Requests under way at one `base_url`, over all judges and sources.
pub const MAX_IN_FLIGHT: usize = 8;
/// Longest answer, tokens. `<answer>Yes</answer>` takes 7 and its end 1 as a trained model writes it; a constrained
/// one may spell it out in up to 20 pieces.
pub const MAX_TOKENS: u32 = 32;
/// `profile = "greedy"`.
pub const GREEDY_TEMPERATURE: f64 = 0.0;
/// `profile = "paper"`: the published evaluation's sampling.
pub const PAPER_TEMPERATURE: f64 = 0.3;
/// `profile = "paper"`.
pub const PAPER_TOP_P: f64 = 0.95;
/// Address of `serve`'s API and pages.
pub const LISTEN: &str = "127.0.0.1:8090";
/// Sessions that `serve` runs at once.
pub const MAX_SESSIONS: usize = 64;
/// Validity of a participant's link, hours.
pub const JOIN_HOURS: f64 = 24.0;
/// Requests of one address a second.
pub const REQUESTS_PER_SECOND: u32 = 50;
/// Between two comparisons of a panel with its fingerprint.
pub const FINGERPRINT_SECS: f64 = 3600.0;
/// How far a log-odds may be off from its fingerprint.
pub const FINGERPRINT_TOLERANCE: f64 = crate::judge::fingerprint::TOLERANCE;
/// The journal's file.
pub const JOURNAL: &str = "ahwatch.db";
/// How long the journal keeps events that are no alerts, days.
pub const KEEP_EVENTS_DAYS: u32 = 30;
/// How long the journal keeps alerts and sessions, days.
pub const KEEP_ALERTS_DAYS: u32 = 90;
/// How long the journal keeps who looked at what, days.
pub const KEEP_AUDIT_DAYS: u32 = 365;
/// What the topics of an MQTT sink begin with.
pub const TOPIC_PREFIX: &str = "ahwatch";
