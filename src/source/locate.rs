//! Where a pipeline's source element connects to, and as whom.
//!
//! A camera's name becomes an address once, is looked at, and that address is what is connected to: a name that leads elsewhere a
//! moment later gains nothing. Only for cameras that came by the API, where the operator says which may be watched.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use gstreamer as gst;
use gstreamer::prelude::*;
use url::Url;

use super::{Location, Spec};
use crate::config::Cameras;
use crate::config::cameras::literal;

/// The address to connect to: `url` with an IP address in place of its name. With TLS the name stays, since the certificate has to
/// be of it.
///
/// # Errors
/// In one line: it may not be watched, or the name is not known.
fn pinned(
    url: &Url,
    cameras: &Cameras,
    resolve: impl FnOnce(&str) -> std::io::Result<Vec<IpAddr>>,
) -> Result<Url, String> {
    cameras.check(url).map_err(|refused| refused.to_string())?;
    let host = url.host_str().unwrap_or_default();
    if literal(host).is_some() {
        return Ok(url.clone());
    }
    let found = resolve(host).map_err(|error| format!("the name {host} cannot be resolved: {error}"))?;
    let tls = url.scheme() == "rtsps";
    let address = cameras.choose(host, tls, &found).map_err(|refused| refused.to_string())?;
    if tls {
        return Ok(url.clone());
    }
    let mut pinned = url.clone();
    pinned.set_ip_host(address).map_err(|()| format!("{host} cannot be replaced by its address"))?;
    Ok(pinned)
}

/// Where to connect: where the operator says which cameras may be watched, an address that was looked at. Blocks while a name is
/// looked up.
///
/// # Errors
/// In one line: it may not be watched, or the name is not known.
pub(crate) fn whereabouts(spec: &Spec) -> Result<Location, String> {
    match (&spec.location, &spec.cameras) {
        (Location::Rtsp(url), Some(cameras)) => pinned(url, cameras, resolve).map(Location::Rtsp),
        (location, _) => Ok(location.clone()),
    }
}

/// Sets the user's values as properties; nothing of them is ever pasted into pipeline text. Credentials are kept out of the
/// location, so that no message of GStreamer's can repeat them.
pub(super) fn locate(input: &gst::Element, location: &Location) {
    match location {
        Location::File(path) => input.set_property("location", path.to_string_lossy().as_ref()),
        Location::Rtsp(url) => {
            input.set_property("location", super::without_credentials(url).as_str());
            if !url.username().is_empty() && input.has_property("user-id") {
                input.set_property("user-id", percent_decode(url.username()));
                input.set_property("user-pw", percent_decode(url.password().unwrap_or_default()));
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

/// All addresses of a name, by the system. Blocking.
fn resolve(host: &str) -> std::io::Result<Vec<IpAddr>> {
    Ok((host, 0).to_socket_addrs()?.map(|address: SocketAddr| address.ip()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cameras(text: &str) -> std::sync::Arc<Cameras> {
        let raw = crate::config::RawConfig::parse(&format!("[server]\ncameras = {text}"), "a.toml".as_ref());
        let config = crate::config::Config::build(raw, crate::config::Overrides::default(), &|_| None).unwrap();
        config.server.cameras.unwrap()
    }

    fn ips(text: &[&str]) -> Vec<IpAddr> {
        text.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn a_name_that_leads_elsewhere_a_moment_later_gains_nothing() {
        let list = cameras("[\"192.0.2.0/24\"]");
        let mut asked = 0;
        let url = Url::parse("rtsp://user:pass@cam.example/live?x=1").unwrap();
        let pinned = pinned(&url, &list, |host| {
            asked += 1;
            assert_eq!(host, "cam.example");
            // The next who asks gets another answer.
            Ok(ips(if asked == 1 { &["192.0.2.7", "127.0.0.1"] } else { &["127.0.0.1"] }))
        });
        assert_eq!(pinned.unwrap().as_str(), "rtsp://user:pass@192.0.2.7/live?x=1");
        assert_eq!(asked, 1);
    }

    #[test]
    fn with_tls_the_name_stays_and_none_of_its_addresses_may_be_anothers() {
        let list = cameras("[\"192.0.2.0/24\"]");
        let url = Url::parse("rtsps://cam.example/live").unwrap();
        assert_eq!(pinned(&url, &list, |_| Ok(ips(&["192.0.2.7"]))).unwrap(), url);
        assert!(
            pinned(&url, &list, |_| Ok(ips(&["192.0.2.7", "127.0.0.1"]))).unwrap_err().contains("[server] cameras")
        );
    }

    #[test]
    fn what_is_not_on_the_list_is_refused_with_the_key_that_would_allow_it() {
        let list = cameras("[\"192.0.2.0/24\", \"*.clinic.example\"]");
        let refused = |url: &str, to: &[&str]| pinned(&Url::parse(url).unwrap(), &list, |_| Ok(ips(to))).unwrap_err();
        assert!(refused("rtsp://evil.example/", &["10.0.0.1"]).contains("[server] cameras"));
        assert!(refused("rtsp://a.clinic.example/", &["127.0.0.1"]).contains("[server] cameras"));
        assert!(refused("rtsp://a.clinic.example:22/", &["192.0.2.1"]).contains("port 22"));
        assert!(refused("rtsp://a.clinic.example/", &[]).contains("[server] cameras"));
    }

    #[test]
    fn passwords_reach_the_camera_as_typed() {
        for (typed, password) in [("a&b=c", "a&b=c"), ("a+b", "a+b"), ("p%40ss%26%2B", "p@ss&+"), ("50%", "50%")] {
            let url = Url::parse(&format!("rtsp://user:{typed}@host/s")).unwrap();
            assert_eq!(percent_decode(url.password().unwrap()), password, "{typed}");
        }
    }
}
