//! One line for people from GStreamer's errors.

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
    let missing = error.matches(gst::ResourceError::NotFound) || says("No such entity") || says("No such file");
    let reason = if error.matches(gst::ResourceError::Busy) || says("Device or resource busy") {
        format!("{what} is busy: another program uses it")
    } else if says("Permission denied") {
        format!("{what} may not be opened by this user; add it to the group {}", if hears { "audio" } else { "video" })
    } else if missing {
        format!("{what} is not there (`ahwatch watch --list-devices` shows what is)")
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
