//! The fixed list of what GStreamer may choose by itself for media that somebody else made.
//!
//! `decodebin` takes whatever is installed for what it finds. On a usual machine that is several hundred elements, among them
//! some that fetch addresses written in a "recording" (HLS, DASH, Smooth Streaming playlists), open sockets (SDP) or draw SVG.
//! Here every other demuxer, parser, depayloader and decoder loses its rank, which is what automatic choice goes by. A pipeline of
//! the user's own may still name any element.

use gstreamer as gst;
use gstreamer::prelude::*;

/// Demuxers, parsers, depayloaders and decoders that may be chosen. Not faad, which is 21 ms off the sound's timestamps, nor
/// openh264dec, which costs 1.8 times avdec_h264.
const CHOSEN: [&str; 66] = [
    // Containers.
    "qtdemux",
    "matroskademux",
    "avidemux",
    "flvdemux",
    "tsdemux",
    "mpegpsdemux",
    "oggdemux",
    "wavparse",
    "id3demux",
    // Parsers.
    "h263parse",
    "h264parse",
    "h265parse",
    "av1parse",
    "vp9parse",
    "mpegvideoparse",
    "mpeg4videoparse",
    "aacparse",
    "ac3parse",
    "flacparse",
    "mpegaudioparse",
    // Pictures.
    "avdec_h263",
    "avdec_h264",
    "avdec_h265",
    "avdec_mpeg2video",
    "avdec_mpeg4",
    "avdec_prores",
    "av1dec",
    "dav1ddec",
    "jpegdec",
    "vp8dec",
    "vp9dec",
    // Sound.
    "avdec_aac",
    "avdec_ac3",
    "avdec_alac",
    "avdec_amrnb",
    "avdec_g722",
    "avdec_g726",
    "avdec_mp3",
    "adpcmdec",
    "alawdec",
    "flacdec",
    "mulawdec",
    "opusdec",
    "vorbisdec",
    // RTP.
    "rtph264depay",
    "rtph265depay",
    "rtpav1depay",
    "rtpjpegdepay",
    "rtpmp4vdepay",
    "rtpmp4gdepay",
    "rtpmp4adepay",
    "rtpmpadepay",
    "rtpmpvdepay",
    "rtpmp2tdepay",
    "rtpvp8depay",
    "rtpvp9depay",
    "rtpac3depay",
    "rtpopusdepay",
    "rtppcmadepay",
    "rtppcmudepay",
    "rtpg722depay",
    "rtpg726depay",
    "rtpL16depay",
    "rtpL24depay",
    "rtpgstdepay",
    "rtph263pdepay",
];

/// What the elements above, and those of our pipelines, make by name: needed where nothing can be loaded later.
const INNER: [&str; 15] = [
    "typefind",
    "multiqueue",
    "queue",
    "capsfilter",
    "identity",
    "fakesrc",
    "funnel",
    "rtpbin",
    "rtpsession",
    "rtpssrcdemux",
    "rtpptdemux",
    "rtpjitterbuffer",
    "rtpstorage",
    "udpsrc",
    "appsink",
];

/// Extensions of `rtspsrc` for servers of 2005, which it would ask about every camera.
const EXTENSIONS: [&str; 2] = ["rtspreal", "rtspwms"];

/// Takes their rank from all that is not on the list. Once a process, before anything is built.
pub(super) fn restrict() {
    let choosable = gst::ElementFactory::factories_with_type(gst::ElementFactoryType::DECODABLE, gst::Rank::NONE);
    for factory in choosable {
        if !CHOSEN.contains(&factory.name().as_str()) {
            factory.set_rank(gst::Rank::NONE);
        }
    }
    for name in EXTENSIONS {
        if let Some(factory) = gst::ElementFactory::find(name) {
            factory.set_rank(gst::Rank::NONE);
        }
    }
}

/// Loads everything that may be chosen, so that nothing needs to be opened later.
///
/// # Errors
/// GStreamer itself is not there.
pub(crate) fn load() -> Result<(), super::SourceError> {
    super::pipeline::init()?;
    for name in CHOSEN.iter().chain(&INNER) {
        // What is not installed is told when media needs it.
        let _ = gst::ElementFactory::find(name).and_then(|factory| factory.load().ok());
    }
    // What finds out what it is.
    let _ = gst::Plugin::load_by_name("typefindfunctions");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_is_chosen_and_what_fetches_addresses_is_not() {
        super::super::pipeline::init().unwrap();
        let all = gst::ElementFactory::factories_with_type(gst::ElementFactoryType::DECODABLE, gst::Rank::MARGINAL);
        let names: Vec<_> = all.iter().map(|factory| factory.name().to_string()).collect();
        assert!(names.len() > 30, "{names:?}");
        assert_eq!(
            names.iter().filter(|name| !CHOSEN.contains(&name.as_str())).collect::<Vec<_>>(),
            Vec::<&String>::new()
        );
        assert!(!names.iter().any(|name| ["hlsdemux", "dashdemux", "sdpdemux", "rsvgdec"].contains(&name.as_str())));
    }

    #[test]
    fn every_element_that_usual_media_needs_is_on_the_list() {
        let of_usual = super::super::ELEMENTS.iter().filter(|element| element.used_for == super::super::Use::Decoding);
        for element in of_usual {
            assert!(CHOSEN.contains(&element.name), "{}", element.name);
        }
    }
}
