//! A camera that says goodbye to one of its streams (RTCP BYE, RFC 3550 section 6.6) goes on with the other, as one whose microphone
//! is turned off. `rtspsrc` ends the two pads by which it hands that stream on, one for media and one for reports; over TCP it takes
//! the refusal of a report that the camera still sends of it for the end of everything: what goes on would be connected anew, or
//! be over and called whole under `--once`.
//!
//! So the pad for reports is begun anew, once another stream brings its next packet: not from within the end itself, whose pad is
//! being written to. Media that still comes, as of a microphone that is turned on again, does end the connection: the next one has
//! both streams.

use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;

/// Pads for reports whose stream has ended.
type Ended = Arc<Mutex<Vec<gst::Pad>>>;

/// Holds what is above for an `rtspsrc` that is not yet connected.
pub(super) fn outlive(rtspsrc: &gst::Element) {
    rtspsrc.connect("new-manager", false, |values| {
        if let Some(manager) = values.get(1).and_then(|value| value.get::<gst::Element>().ok()) {
            let ended = Ended::default();
            manager.connect_pad_added(move |_, pad| watch(&ended, pad));
        }
        None
    });
}

/// Watches a pad that `rtspsrc` hands packets to.
fn watch(ended: &Ended, pad: &gst::Pad) {
    let ended = Arc::clone(ended);
    if pad.name().starts_with("recv_rtcp_sink_") {
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
            let is_end =
                matches!(&info.data, Some(gst::PadProbeData::Event(event)) if event.type_() == gst::EventType::Eos);
            if let Some(from) = pad.peer().filter(|_| is_end) {
                ended.lock().unwrap_or_else(PoisonError::into_inner).push(from);
            }
            gst::PadProbeReturn::Ok
        });
    } else if pad.name().starts_with("recv_rtp_sink_") {
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            let pads = std::mem::take(&mut *ended.lock().unwrap_or_else(PoisonError::into_inner));
            for from in pads {
                from.push_event(gst::event::StreamStart::new("reports"));
            }
            gst::PadProbeReturn::Ok
        });
    }
}
