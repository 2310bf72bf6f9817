//! A local RTSP server that shows recordings as cameras would, for evaluations by the live path.
//!
//! Loopback only. Each client gets a recording from its beginning to its end, at its own pace, as it is encoded (H.264 and AAC).

use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError};
use gstreamer::glib;
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::prelude::*;

use super::{Probe, SourceError, probe};

/// How often it is looked whether to go on.
const LOOK: Duration = Duration::from_millis(100);

/// A server that is bound to a port, and not yet running.
#[derive(Debug)]
pub struct RtspServer {
    server: rtsp::RTSPServer,
    context: glib::MainContext,
    port: u16,
}

impl RtspServer {
    /// Shows these recordings at `/0`, `/1` and so on, at a free port of 127.0.0.1. What cannot be read is not shown.
    ///
    /// # Errors
    /// The server does not start.
    pub fn bind(recordings: &[PathBuf]) -> Result<Self, SourceError> {
        super::pipeline::init()?;
        let failed = |reason: &str| SourceError::Gstreamer(format!("the local RTSP server does not start: {reason}"));
        let server = rtsp::RTSPServer::new();
        server.set_address("127.0.0.1");
        server.set_service("0");
        let mounts = server.mount_points().ok_or_else(|| failed("it has no paths"))?;
        for (n, path) in recordings.iter().enumerate() {
            match probe(path) {
                Ok(probe) => mounts.add_factory(&format!("/{n}"), factory(path, probe)),
                Err(error) => tracing::warn!("{error}"),
            }
        }
        let context = glib::MainContext::new();
        server.attach(Some(&context)).map_err(|error| failed(&error.to_string()))?;
        let port = u16::try_from(server.bound_port()).map_err(|_| failed("it has no port"))?;
        Ok(Self { server, context, port })
    }

    /// Where it shows the `n`th recording.
    #[must_use]
    pub fn address(&self, n: usize) -> String {
        format!("rtsp://127.0.0.1:{}/{n}", self.port)
    }

    /// Serves until `stop` is disconnected. Blocks: give it a thread.
    pub fn serve(&self, stop: &Receiver<Infallible>) {
        let serve = || {
            let main_loop = glib::MainLoop::new(Some(&self.context), false);
            let (quit, stop) = (main_loop.clone(), stop.clone());
            let source = glib::timeout_source_new(LOOK, None, glib::Priority::DEFAULT, move || {
                if stop.try_recv() == Err(TryRecvError::Disconnected) {
                    quit.quit();
                    return glib::ControlFlow::Break;
                }
                glib::ControlFlow::Continue
            });
            source.attach(Some(&self.context));
            main_loop.run();
            self.server.client_filter(Some(&mut |_, _| rtsp::RTSPFilterResult::Remove));
        };
        if self.context.with_thread_default(serve).is_err() {
            tracing::error!("the local RTSP server has no context of its own");
        }
    }
}

fn factory(path: &std::path::Path, streams: Probe) -> rtsp::RTSPMediaFactory {
    // In a pipeline's text a name stands in quotes, with these two escaped.
    let location = path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"");
    let mut text = format!("( filesrc location=\"{location}\" ! qtdemux name=d");
    if streams.video {
        text += " d.video_0 ! queue ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1";
    }
    if streams.audio {
        let pay = u8::from(streams.video);
        let _ = write!(text, " d.audio_0 ! queue ! aacparse ! rtpmp4gpay name=pay{pay} pt=97");
    }
    let factory = rtsp::RTSPMediaFactory::new();
    factory.set_launch(&(text + " )"));
    factory
}
