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
        let own: Option<fn(&[u8]) -> _> = match factory.name().as_str() {
            "jpegdec" => Some(of_jpeg),
            "vp8dec" => Some(of_vp8),
            _ => None,
        };
        if let (Some(own), Some(pad)) = (own, element.static_pad("sink")) {
            own_sizes(&pad, own);
        }
    });
}

/// Lets no picture through that would be too large: before the decoder where the size is known there, else when the decoder
/// says it.
fn sizes(pad: &gst::Pad) {
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |pad, info| {
        let Some(gst::PadProbeData::Event(event)) = &info.data else { return gst::PadProbeReturn::Ok };
        let gst::EventView::Caps(caps) = event.view() else { return gst::PadProbeReturn::Ok };
        match size(caps.caps()) {
            Some((width, height)) if !fits(width, height) => stop(pad, info, (width, height)),
            _ => gst::PadProbeReturn::Ok,
        }
    });
}

/// The same of each picture's own header, for decoders that no parser stands before: a container may say anything.
fn own_sizes(pad: &gst::Pad, own: fn(&[u8]) -> Option<(i32, i32)>) {
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(gst::PadProbeData::Buffer(unit)) = &info.data else { return gst::PadProbeReturn::Ok };
        let size = unit.map_readable().ok().and_then(|unit| own(&unit));
        match size {
            Some((width, height)) if !fits(width, height) => stop(pad, info, (width, height)),
            _ => gst::PadProbeReturn::Ok,
        }
    });
}

fn stop(pad: &gst::Pad, info: &mut gst::PadProbeInfo, (width, height): (i32, i32)) -> gst::PadProbeReturn {
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
}

/// Of a JPEG (ITU-T T.81, B.2.2: the frame header).
fn of_jpeg(unit: &[u8]) -> Option<(i32, i32)> {
    let number = |at: usize| Some(i32::from(u16::from_be_bytes([*unit.get(at)?, *unit.get(at + 1)?])));
    let mut at = 0;
    loop {
        let marker = *unit.get(at + 1)?;
        at += match marker {
            _ if unit[at] != 0xFF || marker == 0xFF => 1,
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => return Some((number(at + 7)?, number(at + 5)?)),
            0 | 1 | 0xD0..=0xD9 => 2,
            _ => 2 + usize::try_from(number(at + 2)?).ok()?,
        };
    }
}

/// Of a VP8 key frame (RFC 6386, 9.1).
fn of_vp8(unit: &[u8]) -> Option<(i32, i32)> {
    let [first, _, _, 0x9D, 0x01, 0x2A, w, wide, h, high, ..] = *unit else { return None };
    let side = |low, high| i32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
    (first & 1 == 0).then(|| (side(w, wide), side(h, high)))
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
    fn a_picture_says_its_size_itself() {
        let face = include_bytes!("../../tests/fixtures/face.jpg");
        assert_eq!(of_jpeg(face).unwrap(), jpeg_size(face));
        assert_eq!(of_vp8(&[0x10, 2, 0, 0x9D, 1, 0x2A, 0xFF, 0x3F, 0x40, 0x41]), Some((16383, 320)));
        assert_eq!(of_vp8(&[0x11, 2, 0, 0x9D, 1, 0x2A, 0xFF, 0x3F, 0x40, 0x41]), None);
        for end in 0..face.len().min(4000) {
            let _ = of_jpeg(&face[..end]);
            let _ = of_vp8(&face[end..]);
        }
    }

    fn jpeg_size(jpeg: &[u8]) -> (i32, i32) {
        let mut decoder = jpeg_decoder::Decoder::new(jpeg);
        decoder.read_info().unwrap();
        let info = decoder.info().unwrap();
        (info.width.into(), info.height.into())
    }

    #[test]
    fn four_k_fits_upright_and_across_and_nonsense_does_not() {
        assert!(fits(3840, 2160) && fits(2160, 3840) && fits(4096, 4096) && fits(17, 13));
        assert!(!fits(4097, 16) && !fits(16, 16384) && !fits(-1, 16) && !fits(i32::MAX, i32::MAX));
    }
}
