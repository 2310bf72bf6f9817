//! Where a source's media is, as properties of the element that opens it.

use gstreamer as gst;
use gstreamer::prelude::*;

use super::Location;

/// Sets the user's values as properties; nothing of them is ever pasted into pipeline text. Credentials are kept out of the
/// location, so that no message of GStreamer's can repeat them.
pub(super) fn locate(input: &gst::Element, location: &Location) {
    match location {
        Location::File(path) => input.set_property("location", path.to_string_lossy().as_ref()),
        Location::Rtsp(url) => {
            input.set_property("location", super::without_credentials(url).as_str());
            let decode = |text: &str| percent_decode(text);
            if !url.username().is_empty() && input.has_property("user-id") {
                input.set_property("user-id", decode(url.username()));
                input.set_property("user-pw", decode(url.password().unwrap_or_default()));
            }
        }
        // A pipeline of the user's own names its device itself.
        Location::Webcam { .. } | Location::Mic(_) | Location::Test { .. } | Location::Pushed(_) => {}
    }
}

fn percent_decode(text: &str) -> String {
    // What means something in a form only stands for itself here.
    let pair = format!("x={}", text.replace('+', "%2B").replace('&', "%26"));
    url::form_urlencoded::parse(pair.as_bytes()).next().map_or_else(String::new, |(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_reach_the_camera_as_typed() {
        for (typed, password) in [("a&b=c", "a&b=c"), ("a+b", "a+b"), ("p%40ss%26%2B", "p@ss&+"), ("50%", "50%")] {
            let url = url::Url::parse(&format!("rtsp://user:{typed}@host/s")).unwrap();
            assert_eq!(percent_decode(url.password().unwrap()), password, "{typed}");
        }
    }
}
