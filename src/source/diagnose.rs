//! One line for people from GStreamer's errors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gstreamer as gst;
use gstreamer::prelude::*;

use super::Location;

/// Why a connection failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// One line, without credentials.
    pub reason: String,
    /// The other side refuses our credentials.
    pub auth: bool,
}

/// What an error message of a source's pipeline means.
pub(super) fn diagnose(location: &Location, message: &gst::message::Error) -> Failure {
    let (error, debug) = (message.error(), message.debug());
    if location.is_device() {
        let from = message.src().map(|s| s.path_string().to_string()).unwrap_or_default();
        return Failure { reason: device(location, &from, &error, debug.as_deref()), auth: false };
    }
    network_or_file(&error, debug.as_deref())
}

/// What is said of a certificate that was refused.
pub(super) const DISTRUSTED: &str = "this system does not trust the camera's certificate for this address; add the authority \
    that signed it to the system's (`update-ca-certificates`), and use the name that stands in it";

/// True from when `rtspsrc` found a certificate unacceptable, which it still refuses: its error then says nothing of that.
pub(super) fn distrust(input: &gst::Element) -> Arc<AtomicBool> {
    const SIGNAL: &str = "accept-certificate";
    let distrusted = Arc::<AtomicBool>::default();
    if gst::glib::subclass::SignalId::lookup(SIGNAL, input.type_()).is_some() {
        let found = Arc::clone(&distrusted);
        input.connect(SIGNAL, false, move |_| {
            found.store(true, Ordering::SeqCst);
            Some(false.to_value())
        });
    }
    distrusted
}

/// The debug text is read for the status code only, never shown: it holds full addresses.
fn network_or_file(error: &gst::glib::Error, debug: Option<&str>) -> Failure {
    let says = |code: &str| {
        debug.is_some_and(|d| d.contains(&format!("({code})"))) || error.message().contains(&format!("({code})"))
    };
    let auth = error.matches(gst::ResourceError::NotAuthorized) || says("401") || says("403");
    let reason = if auth {
        "the camera refuses the user name or password (401 or 403)".to_owned()
    } else if error.matches(gst::ResourceError::NotFound) && says("404") {
        "the camera knows no such stream (404)".to_owned()
    } else if error.matches(gst::StreamError::TypeNotFound) || error.matches(gst::StreamError::WrongType) {
        "this is no recording that GStreamer can read (`ffprobe` shows what it is)".to_owned()
    } else if error.matches(gst::StreamError::Demux) {
        format!("this recording is damaged or cut off ({})", error.message().trim_end_matches('.'))
    } else if error.matches(gst::StreamError::CodecNotFound) || error.matches(gst::CoreError::MissingPlugin) {
        format!("a decoder is missing: {}", error.message())
    } else {
        crate::config::redact::redact_text(error.message())
    };
    Failure { reason, auth }
}

/// `from`: the path of the element that complains; a camera with a microphone is told which of the two it is.
fn device(location: &Location, from: &str, error: &gst::glib::Error, debug: Option<&str>) -> String {
    let hears = from.contains("audioin");
    let what = if hears { "the microphone" } else { "the camera" };
    let debug = debug.unwrap_or_default();
    let says = |text: &str| error.message().contains(text) || debug.contains(text);
    let plain = error.message().trim_end_matches('.');
    // ALSA's word for a card that is not there.
    let no_card = says("Recording open error") && (says("Invalid argument") || says("No such device"));
    let missing =
        error.matches(gst::ResourceError::NotFound) || no_card || says("No such entity") || says("No such file");
    let reason = if error.matches(gst::ResourceError::Busy) || says("Device or resource busy") {
        format!("{what} is busy: another program uses it")
    } else if says("Permission denied") {
        format!("{what} may not be opened by this user; add it to the group {}", if hears { "audio" } else { "video" })
    } else if missing {
        format!("{what} is not there (`ahwatch watch --list-devices` shows what is)")
    } else if says("Access denied") {
        format!("{what} cannot be reached: the sound server refuses this user ({plain})")
    } else if says("can't connect") {
        format!("{what} cannot be reached: PipeWire does not answer")
    } else if says("Connection refused") || says("Connection terminated") {
        format!("{what} cannot be reached: the sound server does not answer ({plain})")
    } else if error.matches(gst::CoreError::Negotiation) || says("not-negotiated") {
        format!("{what} offers no format that can be used ({plain})")
    } else {
        format!("{what}: {plain}")
    };
    let both = matches!(location, Location::Webcam { microphone, .. } if *microphone != super::Microphone::Off);
    if both && hears { format!("{reason}; --no-audio watches without it, --audio names another") } else { reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Microphone;

    /// For what no peer can be had for; the texts are GStreamer 1.22's.
    #[test]
    fn what_keeps_a_device_is_told_in_one_line_with_the_remedy() {
        super::super::pipeline::init().unwrap();
        let webcam = Location::Webcam { device: Some("/dev/video0".into()), microphone: Microphone::Usual };
        let cases: [(&str, gst::glib::Error, &str, &[&str]); 5] = [
            (
                "videoin",
                gst::glib::Error::new(gst::ResourceError::Busy, "Device '/dev/video0' is busy"),
                "gst_v4l2_object_set_format_full (): Call to S_FMT failed",
                &["the camera is busy", "another program"],
            ),
            (
                "videoin",
                gst::glib::Error::new(gst::ResourceError::OpenReadWrite, "Could not open device '/dev/video0'."),
                "system error: Permission denied",
                &["the camera may not be opened", "group video"],
            ),
            (
                "audioin",
                gst::glib::Error::new(gst::ResourceError::OpenRead, "Could not open audio device for recording."),
                "Recording open error on device 'hw:0,0': Device or resource busy",
                &["the microphone is busy", "--no-audio"],
            ),
            (
                "audioin",
                gst::glib::Error::new(gst::ResourceError::OpenRead, "Failed to connect: Access denied"),
                "gst_pulsesrc_prepare ()",
                &["the microphone", "refuses this user", "--no-audio"],
            ),
            (
                "videoin",
                gst::glib::Error::new(gst::StreamError::Failed, "Internal data stream error."),
                "streaming stopped, reason not-negotiated (-4)",
                &["the camera offers no format"],
            ),
        ];
        for (element, error, debug, words) in cases {
            let says = device(&webcam, &format!("/GstPipeline:p/GstBin:b/{element}"), &error, Some(debug));
            assert!(words.iter().all(|word| says.contains(word)) && !says.contains('\n'), "{says}");
        }
    }
}
