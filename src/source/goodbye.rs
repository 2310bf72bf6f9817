//! A camera that says goodbye to one of its streams (RTCP BYE, RFC 3550 section 6.6) goes on with the other, as one whose microphone
//! is turned off. `rtspsrc` ends the two pads by which it hands that stream on, one for media and one for reports; over TCP it takes
//! the refusal of a report that the camera still sends of it for the end of everything: what goes on would be connected anew, or
//! be over and called whole under `--once`.
//!
//! So the pad for reports is begun anew as soon as it was ended. Media that still comes, as of a microphone that is turned on again, does
//! end the connection: the next one has both streams.

use gstreamer as gst;
use gstreamer::prelude::*;

/// Holds what is above for an `rtspsrc` that is not yet connected.
pub(super) fn outlive(rtspsrc: &gst::Element) {
    rtspsrc.connect("new-manager", false, |values| {
        if let Some(manager) = values.get(1).and_then(|value| value.get::<gst::Element>().ok()) {
            manager.connect_pad_added(|_, pad| {
                if pad.name().starts_with("recv_rtcp_sink_") {
                    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, begin_anew);
                }
            });
        }
        None
    });
}

fn begin_anew(pad: &gst::Pad, info: &mut gst::PadProbeInfo<'_>) -> gst::PadProbeReturn {
    match &info.data {
        Some(gst::PadProbeData::Event(event)) if event.type_() == gst::EventType::Eos => {
            if let Some(from) = pad.peer() {
                from.push_event(gst::event::StreamStart::new("reports"));
            }
            gst::PadProbeReturn::Drop
        }
        _ => gst::PadProbeReturn::Ok,
    }
}
