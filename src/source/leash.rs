//! Keeps `rtspsrc` to the address it was given. By itself it follows every redirect (301, 302) of a camera, which could so make it
//! talk to anything that this machine reaches.
//!
//! Nothing of GStreamer's turns that off. But it says in a message that it is going to connect, and asks before it sends a request,
//! both from the thread that would do it. Where its location is not the one it was given any more, that thread is kept until the
//! element has been told to close, which cancels the connection before it is made.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

/// What is said of a camera that redirects.
pub(super) const STRAYED: &str =
    "the camera sends us to another address, which is not followed; name that address itself";

/// So long a straying thread waits for its element to be told. It is told by somebody before: here, or by who closes the pipeline.
const TOLD: Duration = Duration::from_secs(5);

/// What is known of a source's location.
struct Leash {
    /// As it was given, or as the session description names the whole of it, which connects to nothing.
    location: Mutex<String>,
    /// A session description came since the last request.
    described: AtomicBool,
    strayed: Arc<AtomicBool>,
}

/// Holds an `rtspsrc` whose location is set. True from when it strayed, which ends it.
pub(super) fn hold(input: &gst::Element, bus: &gst::Bus) -> Arc<AtomicBool> {
    let strayed = Arc::<AtomicBool>::default();
    if input.factory().is_none_or(|factory| factory.name() != "rtspsrc") {
        return strayed;
    }
    let leash = Arc::new(Leash {
        location: Mutex::new(input.property::<Option<String>>("location").unwrap_or_default()),
        described: AtomicBool::new(false),
        strayed: Arc::clone(&strayed),
    });
    let described = Arc::clone(&leash);
    input.connect("on-sdp", false, move |_| {
        described.described.store(true, Ordering::SeqCst);
        None
    });
    let sending = Arc::clone(&leash);
    input.connect("before-send", false, move |values| {
        let input = values.first().and_then(|value| value.get::<gst::Element>().ok());
        if let Some(input) = input {
            sending.look(&input);
        }
        // Where it strayed, sending fails on the connection that was cancelled. A request that is left out would count as answered.
        Some(true.to_value())
    });
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Progress(progress) = message.view()
            && progress.get().1 == "connect"
            && let Some(input) = message.src().and_then(|from| from.downcast_ref::<gst::Element>())
            && input.factory().is_some_and(|factory| factory.name() == "rtspsrc")
        {
            leash.look(input);
        }
        gst::BusSyncReply::Pass
    });
    strayed
}

impl Leash {
    /// Where the element is not where it should be, it was told to close when this returns: the connection that it has is cancelled.
    fn look(&self, input: &gst::Element) {
        let now = input.property::<Option<String>>("location").unwrap_or_default();
        {
            let mut location = self.location.lock().unwrap_or_else(PoisonError::into_inner);
            if self.described.swap(false, Ordering::SeqCst) {
                *location = now;
                return;
            }
            if *location == now {
                return;
            }
        }
        self.strayed.store(true, Ordering::SeqCst);
        let told = Arc::new((Mutex::new(false), Condvar::new()));
        let telling = Arc::clone(&told);
        input.call_async(move |input| {
            let _ = input.set_state(gst::State::Ready);
            *telling.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
            telling.1.notify_all();
        });
        let guard = told.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Should somebody else be closing it just now, then it was told by them.
        let _ = told.1.wait_timeout_while(guard, TOLD, |told| !*told);
    }
}
