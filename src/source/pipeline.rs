//! A description becomes a running GStreamer pipeline, and its frames become messages.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app as app;
use gstreamer_video as video;

use super::locate::{locate, whereabouts};
use super::pace::Pace;
use super::standing::Standing;
use super::state::Change;
use super::{Image, Incoming, Location, Matrix, SourceError, Spec, say, stopped};
use crate::time::{MediaTime, monotonic};
use crate::window::{Frame, Stream, Streams};

/// Starts GStreamer once a process, and fixes what it may choose.
pub(super) fn init() -> Result<(), SourceError> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    let done = DONE.get_or_init(|| {
        gst::init().map_err(|e| e.to_string())?;
        super::choice::restrict();
        Ok(())
    });
    done.clone().map_err(SourceError::Gstreamer)
}

/// What the callbacks of one source share; outlives reconnections.
pub(super) struct Shared {
    pub name: String,
    pub live: bool,
    pub sender: Sender<Incoming>,
    /// Disconnected when the program ends.
    pub stop: Receiver<std::convert::Infallible>,
    /// Only a recording's streams wait for each other.
    pace: Pace,
    /// Frames refused since the last one that was delivered.
    pub refused: AtomicU32,
    began: Instant,
    /// Nanoseconds from `began` to the newest frame; -1 before the first of this connection.
    newest: AtomicI64,
    /// Media time after the newest frame.
    end: AtomicI64,
    /// Of the pictures of this connection.
    standing: Mutex<Standing>,
    /// Number of this connection: what an older one still brings is not wanted.
    connection: AtomicU64,
}

impl Shared {
    pub fn new(
        name: &str,
        live: bool,
        sender: Sender<Incoming>,
        stop: Receiver<std::convert::Infallible>,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            live,
            sender,
            stop,
            pace: Pace::default(),
            refused: AtomicU32::new(0),
            began: monotonic(),
            newest: AtomicI64::new(-1),
            end: AtomicI64::new(0),
            standing: Mutex::default(),
            connection: AtomicU64::new(0),
        })
    }

    pub fn stopped(&self) -> bool {
        stopped(&self.stop)
    }

    /// How long ago the newest frame of this connection came; None before the first.
    pub fn silent_for(&self) -> Option<Duration> {
        let newest = u64::try_from(self.newest.load(Ordering::Relaxed)).ok()?;
        Some(self.began.elapsed().saturating_sub(Duration::from_nanos(newest)))
    }

    /// For how long pictures have come whose timestamps stand still.
    pub fn stood_for(&self) -> Duration {
        self.standing().stood()
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn end(&self) -> MediaTime {
        MediaTime::from_nanos(self.end.load(Ordering::Relaxed))
    }

    /// Sends what must not be lost; waits while the channel is full, but not past a stop.
    pub fn say(&self, message: Incoming) -> bool {
        say(&self.sender, &self.stop, message)
    }

    /// Sends a frame: a live one is refused when the channel is full, a recorded one waits.
    fn deliver(&self, frame: Frame<Image>, end: MediaTime) -> Result<gst::FlowSuccess, gst::FlowError> {
        if !self.live {
            self.pace.wait(frame.stream(), frame.time(), || self.sender.is_empty(), || self.stopped());
        }
        let arrival = monotonic();
        self.newest.store(i64::try_from((arrival - self.began).as_nanos()).unwrap_or(i64::MAX), Ordering::Relaxed);
        self.end.fetch_max(end.as_nanos(), Ordering::Relaxed);
        if let Frame::Picture { time, .. } = &frame {
            self.standing().picture(*time, arrival);
        }
        let refused = self.refused.swap(0, Ordering::Relaxed);
        let message = Incoming::Frame { frame, arrival, refused };
        if !self.live {
            return if self.say(message) { Ok(gst::FlowSuccess::Ok) } else { Err(gst::FlowError::Eos) };
        }
        match self.sender.try_send(message) {
            Ok(()) => Ok(gst::FlowSuccess::Ok),
            Err(TrySendError::Full(_)) => {
                self.refused.fetch_add(refused + 1, Ordering::Relaxed);
                Ok(gst::FlowSuccess::Ok)
            }
            Err(TrySendError::Disconnected(_)) => Err(gst::FlowError::Eos),
        }
    }
}

/// One connection: a pipeline that runs, with its branches.
pub(super) struct Connection {
    pub pipeline: gst::Pipeline,
    pub bus: gst::Bus,
    /// A branch was joined: there is something to see or hear.
    pub joined: Arc<AtomicBool>,
    /// No more streams will appear.
    pub settled: Arc<AtomicBool>,
    /// The camera's certificate was refused.
    pub distrusted: Arc<AtomicBool>,
    /// The camera wanted us elsewhere.
    pub strayed: Arc<AtomicBool>,
    /// Its start, once it was begun.
    pub starting: Option<Change>,
}

impl Connection {
    fn start(mut self) -> Self {
        self.starting = Some(Change::begin(&self.pipeline, gst::State::Playing));
        self
    }

    /// Begins to take it down. What it still brings is refused from now on.
    pub fn close(self, shared: &Shared) -> Change {
        shared.connection.fetch_add(1, Ordering::SeqCst);
        Change::begin(&self.pipeline, gst::State::Null)
    }
}

/// What the streams of a connection are, as far as they are known, and whether it was said.
#[derive(Default)]
struct Found {
    announced: Streams,
    joined: Streams,
    said: bool,
    /// Where the branches of sound and of pictures are joined.
    places: [Option<gst::glib::WeakRef<gst::GhostPad>>; 2],
}

/// Builds and starts the pipeline of a source.
pub(super) fn connect(spec: &Spec, shared: &Arc<Shared>) -> Result<Connection, SourceError> {
    init()?;
    let pipeline = gst::Pipeline::new();
    let bus = pipeline.bus().ok_or_else(|| SourceError::Gstreamer("a pipeline has no bus".into()))?;
    let (joined, settled, distrusted, strayed) = Default::default();
    let mut connection = Connection { pipeline, bus, joined, settled, distrusted, strayed, starting: None };
    let pipeline = &connection.pipeline;
    shared.newest.store(-1, Ordering::Relaxed);
    *shared.standing() = Standing::default();
    super::limits::guard(pipeline);
    let description = &spec.description;
    let Some(source) = &description.source else {
        let streams = Streams { audio: description.audio.is_some(), video: description.video.is_some() };
        shared.pace.begin(streams);
        shared.say(Incoming::Streams(streams));
        for stream in [Stream::Video, Stream::Audio] {
            if streams.of(stream) {
                let bin = branch(spec, shared, stream)?;
                super::device::set(description, &bin, stream, &spec.location)?;
                // Each stream starts by itself: one that was offered and never sends must not hold the other back.
                bin.set_property("async-handling", matches!(spec.location, Location::Pushed(_)));
                pipeline.add(&bin).map_err(|e| SourceError::Gstreamer(e.to_string()))?;
            }
        }
        connection.joined.store(true, Ordering::SeqCst);
        connection.settled.store(true, Ordering::SeqCst);
        return Ok(connection.start());
    };
    let bin = description.source_bin(source)?;
    let input = description.element(&bin, "in")?;
    let at = whereabouts(spec).map_err(|reason| SourceError::Media { location: spec.location.to_string(), reason })?;
    locate(&input, &at);
    connection.distrusted = super::diagnose::distrust(&input);
    connection.strayed = super::leash::hold(&input, &connection.bus);
    let output = bin.by_name("out").unwrap_or_else(|| input.clone());
    let found = Arc::new(Mutex::new(Found::default()));
    if output.factory().is_some_and(|f| f.name() == "rtspsrc") {
        let wanted = Streams { audio: description.audio.is_some(), video: description.video.is_some() };
        announce(&output, &found, wanted);
        super::goodbye::outlive(&output);
    }
    pipeline.add(&bin).map_err(|e| SourceError::Gstreamer(e.to_string()))?;
    let (spec_, shared_, found_) = (spec.clone(), Arc::clone(shared), Arc::clone(&found));
    let (weak, joined) = (bin.downgrade(), Arc::clone(&connection.joined));
    output.connect_pad_added(move |_, pad| {
        if let Some(bin) = weak.upgrade()
            && join(&spec_, &shared_, &found_, &bin, pad)
        {
            joined.store(true, Ordering::SeqCst);
        }
    });
    let (shared_, settled) = (Arc::clone(shared), Arc::clone(&connection.settled));
    output.connect_no_more_pads(move |_| {
        settled.store(true, Ordering::SeqCst);
        say_streams(&shared_, &found);
    });
    Ok(connection.start())
}

/// `rtspsrc` tells of each stream in the camera's session description before any pad appears, and pads appear only with
/// the first packet: this is where it is known what the camera has. Streams that are neither sound nor pictures, or that the
/// description has no branch for, are declined.
fn announce(rtspsrc: &gst::Element, found: &Arc<Mutex<Found>>, wanted: Streams) {
    let found = Arc::clone(found);
    rtspsrc.connect("select-stream", false, move |values| {
        let caps = values.get(2).and_then(|v| v.get::<gst::Caps>().ok());
        let media = caps.as_ref().and_then(|c| c.structure(0)).and_then(|s| s.get::<String>("media").ok());
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = match media.as_deref() {
            Some("audio") if wanted.audio => !std::mem::replace(&mut found.announced.audio, true),
            Some("video") if wanted.video => !std::mem::replace(&mut found.announced.video, true),
            _ => false,
        };
        Some(wanted.to_value())
    });
}

fn say_streams(shared: &Shared, found: &Mutex<Found>) {
    let streams = {
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut found.said, true) {
            return;
        }
        Streams {
            audio: found.announced.audio || found.joined.audio,
            video: found.announced.video || found.joined.video,
        }
    };
    if streams.audio || streams.video {
        shared.pace.begin(streams);
        shared.say(Incoming::Streams(streams));
    }
}

/// Joins a pad that appeared to the branch of its media type. A panic here would abort the process: everything is a `let else`.
fn join(spec: &Spec, shared: &Arc<Shared>, found: &Arc<Mutex<Found>>, bin: &gst::Bin, pad: &gst::Pad) -> bool {
    let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
    let Some(structure) = caps.structure(0) else { return false };
    let kind = structure
        .get::<String>("media")
        .unwrap_or_else(|_| structure.name().split('/').next().unwrap_or_default().to_owned());
    let stream = match kind.as_str() {
        "video" | "image" => Stream::Video,
        "audio" => Stream::Audio,
        _ => return false,
    };
    let part = if stream == Stream::Video { &spec.description.video } else { &spec.description.audio };
    let announced = {
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        let joined = if stream == Stream::Video { &mut found.joined.video } else { &mut found.joined.audio };
        if part.is_none() {
            return false;
        }
        if std::mem::replace(joined, true) {
            // A recording whose codec changes: what was decoded before is gone, and its place is free.
            let place =
                found.places[usize::from(stream == Stream::Video)].as_ref().and_then(gst::glib::WeakRef::upgrade);
            let free = place.filter(|place| place.target().is_none());
            return free.is_some_and(|place| place.set_target(Some(pad)).is_ok());
        }
        found.announced.audio || found.announced.video
    };
    if announced {
        say_streams(shared, found);
    }
    let attached = branch(spec, shared, stream).map_err(|e| e.to_string()).and_then(|branch| attach(bin, &branch, pad));
    match attached {
        Ok(place) => {
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.places[usize::from(stream == Stream::Video)] = Some(place.downgrade());
            true
        }
        Err(reason) => {
            tracing::error!(source = shared.name, ?stream, reason, "a stream could not be joined to its branch");
            false
        }
    }
}

/// Links a pad inside the source's bin to a branch beside it, by the pad of the bin that is given.
fn attach(bin: &gst::Bin, branch: &gst::Bin, pad: &gst::Pad) -> Result<gst::GhostPad, String> {
    let pipeline = bin.parent().and_downcast::<gst::Pipeline>().ok_or("the pipeline is gone")?;
    pipeline.add(branch).map_err(|e| e.to_string())?;
    let sink = branch.static_pad("sink").ok_or("the branch has no open end to join")?;
    let ghost = gst::GhostPad::with_target(pad).map_err(|e| e.to_string())?;
    ghost.set_active(true).map_err(|e| e.to_string())?;
    bin.add_pad(&ghost).map_err(|e| e.to_string())?;
    ghost.link(&sink).map_err(|e| e.to_string())?;
    branch.sync_state_with_parent().map_err(|e| e.to_string())?;
    Ok(ghost)
}

/// Part of the paths of a sound branch's elements.
pub(super) const SOUND_BRANCH: &str = "branch-of-sound";

/// A branch whose appsink delivers frames.
fn branch(spec: &Spec, shared: &Arc<Shared>, stream: Stream) -> Result<gst::Bin, SourceError> {
    let description = &spec.description;
    let (part, name) = match stream {
        Stream::Video => (&description.video, "video"),
        Stream::Audio => (&description.audio, "audio"),
    };
    let bin = description.branch_bin(part.as_deref().unwrap_or_default())?;
    if stream == Stream::Audio {
        bin.set_property("name", SOUND_BRANCH);
    }
    let sink = description.element(&bin, name)?.downcast::<app::AppSink>();
    let sink = sink.map_err(|_| SourceError::Gstreamer(format!("{name} is no appsink")))?;
    sink.set_sync(spec.realtime && !spec.is_live());
    let (frames, ends) = (Arc::clone(shared), Arc::clone(shared));
    let connection = shared.connection.load(Ordering::SeqCst);
    sink.set_callbacks(
        app::AppSinkCallbacks::builder()
            .new_sample(move |sink| {
                if frames.connection.load(Ordering::SeqCst) != connection {
                    return Err(gst::FlowError::Eos);
                }
                let pulled = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                match frame(&pulled, stream) {
                    Some((frame, end)) => frames.deliver(frame, end),
                    None => Ok(gst::FlowSuccess::Ok), // outside the stream's own bounds
                }
            })
            .eos(move |_| {
                if ends.connection.load(Ordering::SeqCst) != connection {
                    return;
                }
                ends.pace.end(stream);
                ends.say(Incoming::StreamEnded(stream));
            })
            .build(),
    );
    Ok(bin)
}

/// The frame in what an appsink gives, and the media time after it. None: it lies outside the segment, or makes no sense.
fn frame(pulled: &gst::Sample, stream: Stream) -> Option<(Frame<Image>, MediaTime)> {
    let data = pulled.buffer_owned()?;
    // Running time, never the raw PTS: a file with B-frames starts its two streams at different ones.
    let segment = pulled.segment()?.downcast_ref::<gst::ClockTime>()?;
    let time = segment.to_running_time(data.pts()?)?;
    let time = MediaTime::from_nanos(i64::try_from(time.nseconds()).ok()?);
    match stream {
        Stream::Audio => {
            let map = data.map_readable().ok()?;
            let pcm: Vec<i16> = map.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
            let length = MediaTime::from_nanos(i64::try_from(pcm.len()).ok()? * 62_500);
            Some((Frame::Sound { time, pcm }, time + length))
        }
        Stream::Video => {
            let info = video::VideoInfo::from_caps(pulled.caps()?).ok()?;
            let meta = data.meta::<video::VideoMeta>().map(|m| (m.stride().to_vec(), m.offset().to_vec()));
            let (strides, offsets) = meta.unwrap_or_else(|| (info.stride().to_vec(), info.offset().to_vec()));
            let matrix = match info.colorimetry().matrix() {
                video::VideoColorMatrix::Bt709 => Matrix::Bt709,
                video::VideoColorMatrix::Bt2020 => Matrix::Bt2020,
                _ => Matrix::Bt601,
            };
            let full_range = info.colorimetry().range() == video::VideoColorRange::Range0_255;
            let length = data.duration().map_or(0, gst::ClockTime::nseconds);
            let image = Image {
                data: Bytes::from_owner(data.into_mapped_buffer_readable().ok()?),
                width: info.width(),
                height: info.height(),
                strides: plane(&strides, |s| usize::try_from(*s).ok())?,
                offsets: plane(&offsets, |o| Some(*o))?,
                matrix,
                full_range,
            };
            Some((Frame::Picture { time, image }, time + MediaTime::from_nanos(i64::try_from(length).ok()?)))
        }
    }
}

fn plane<T>(values: &[T], get: impl Fn(&T) -> Option<usize>) -> Option<[usize; 3]> {
    Some([get(values.first()?)?, get(values.get(1)?)?, get(values.get(2)?)?])
}
