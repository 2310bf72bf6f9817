//! What is too much of one source, however well-formed: it ends that source with a message, before it costs the others.

use std::sync::atomic::{AtomicUsize, Ordering};

use gstreamer as gst;
use gstreamer::prelude::*;

/// Pixels of a picture's longer and shorter side.
pub const LARGEST_PICTURE: u32 = 4096;
/// Elements of one pipeline; a usual one has some twenty, and each further track of a recording adds up to five.
const MOST_ELEMENTS: usize = 250;

/// Watches everything that is put into a pipeline: how much it is, how large its pictures are, how many threads it takes.
pub(super) fn guard(pipeline: &gst::Pipeline) {
    let made = AtomicUsize::new(0);
    pipeline.connect_deep_element_added(move |_, _, element| {
        let Some(factory) = element.factory() else { return };
        if made.fetch_add(1, Ordering::Relaxed) == MOST_ELEMENTS {
            refuse(element, "it has too many streams");
        }
        // One decoding thread a stream: frame threading costs a third more CPU and several pictures of memory and delay.
        if factory.name().starts_with("avdec_") && element.has_property("max-threads") {
            element.set_property("max-threads", 1i32);
        }
        if factory.name() == "vp8dec" {
            element.set_property("threads", 1u32);
        }
        let klass = factory.metadata("klass").unwrap_or_default();
        if klass.contains("Decoder") && (klass.contains("Video") || klass.contains("Image")) {
            element.pads().iter().for_each(sizes);
        }
    });
}

/// Lets no picture through that would be too large: before the decoder where the size is known there, else when the decoder
/// says it, before it takes the memory.
fn sizes(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |pad, info| {
        let Some(gst::PadProbeData::Event(event)) = &info.data else { return gst::PadProbeReturn::Ok };
        let gst::EventView::Caps(caps) = event.view() else { return gst::PadProbeReturn::Ok };
        let Some((width, height)) = size(caps.caps()).filter(|(width, height)| !fits(*width, *height)) else {
            return gst::PadProbeReturn::Ok;
        };
        if let Some(element) = pad.parent_element() {
            let most = LARGEST_PICTURE;
            refuse(&element, &format!("its pictures are {width}x{height}; at most {most}x{most} is decoded"));
        }
        // Nothing of what follows may reach the decoder, or what is behind it, until the pipeline is down.
        pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
            info.flow_res = Err(gst::FlowError::Error);
            gst::PadProbeReturn::Handled
        });
        info.flow_res = Err(gst::FlowError::Error);
        gst::PadProbeReturn::Handled
    });
}

fn size(caps: &gst::CapsRef) -> Option<(i32, i32)> {
    let structure = caps.structure(0)?;
    Some((structure.get("width").ok()?, structure.get("height").ok()?))
}

fn fits(width: i32, height: i32) -> bool {
    [width, height].iter().all(|side| u32::try_from(*side).is_ok_and(|side| side <= LARGEST_PICTURE))
}

/// Ends the pipeline with a reason for people.
fn refuse(element: &gst::Element, reason: &str) {
    gst::element_error!(element, gst::StreamError::Failed, ("{reason}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_k_fits_upright_and_across_and_nonsense_does_not() {
        assert!(fits(3840, 2160) && fits(2160, 3840) && fits(4096, 4096) && fits(17, 13));
        assert!(!fits(4097, 16) && !fits(16, 16384) && !fits(-1, 16) && !fits(i32::MAX, i32::MAX));
    }
}
