//! Starting and stopping pipelines without being held by what they open: a sound server or a driver that does not answer keeps
//! GStreamer's call, and whoever made it, for as long as it likes.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

/// A change of a pipeline's state that is under way in one of GStreamer's own threads.
#[derive(Clone)]
pub(super) struct Change(Arc<(Mutex<Option<bool>>, Condvar)>);

impl Change {
    /// Begins it.
    pub fn begin(pipeline: &gst::Pipeline, state: gst::State) -> Self {
        let change = Self(Arc::default());
        let done = change.clone();
        pipeline.call_async(move |pipeline| {
            let succeeded = pipeline.set_state(state).is_ok();
            let (result, came) = &*done.0;
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(succeeded);
            came.notify_all();
        });
        change
    }

    /// Whether it succeeded; None while it is under way.
    pub fn result(&self) -> Option<bool> {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for its end, but no longer than this. False: it is still under way.
    pub fn wait(&self, longest: Duration) -> bool {
        let (result, came) = &*self.0;
        let guard = result.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = came.wait_timeout_while(guard, longest, |result| result.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.is_some()
    }
}
