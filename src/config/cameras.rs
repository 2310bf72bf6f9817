//! `[server] cameras`: which cameras may be watched for who asks by the API. A configured source is the owner's own and is not
//! asked about.

use std::net::{IpAddr, Ipv6Addr};

use super::problem::{Place, Problems};

/// The ports below 1024 that RTSP has: 322 with TLS, 554 without. Others there belong to other services.
const RTSP_PORTS: [u16; 2] = [322, 554];

/// What is allowed: networks, and names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cameras {
    networks: Vec<Network>,
    names: Vec<Pattern>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u8,
}

/// A name, or all names below one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    name: String,
    below: bool,
}

/// Why a camera is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// The host is neither an IP address nor a plain name.
    #[error("{0:?} is neither an IP address nor a plain name of a host")]
    Host(String),
    /// The port is another service's.
    #[error("the port {0} is not one of RTSP's; use 322, 554 or one above 1023")]
    Port(u16),
    /// The address, or all addresses of the name, are not on the list.
    #[error("{0} is not among the cameras that may be watched ([server] cameras)")]
    Address(String),
}

impl Cameras {
    /// Reads the list.
    pub(super) fn read(entries: &[String], place: &Place, problems: &mut Problems) -> Self {
        let mut cameras = Self::default();
        for entry in entries {
            let typed = entry.trim().to_ascii_lowercase();
            if let Some(network) = network(&typed) {
                cameras.networks.push(network);
            } else if let Some(pattern) = pattern(&typed) {
                cameras.names.push(pattern);
            } else {
                let what = format!("{entry:?} is neither a network nor a name");
                let remedy = "write as 192.0.2.7, 192.0.2.0/24, 2001:db8::/32, cam.clinic.example or *.clinic.example";
                problems.push(place, "cameras", what, remedy);
            }
        }
        cameras
    }

    /// Whether a camera there may be watched, as far as that can be said before its name is resolved.
    ///
    /// # Errors
    /// It may not, whatever the name leads to.
    pub fn check(&self, url: &url::Url) -> Result<(), NotAllowed> {
        let port = url.port().unwrap_or(RTSP_PORTS[1]);
        if port < 1024 && !RTSP_PORTS.contains(&port) {
            return Err(NotAllowed::Port(port));
        }
        let host = url.host_str().unwrap_or_default();
        match literal(host) {
            Some(address) if self.lists(address) => Ok(()),
            Some(address) => Err(NotAllowed::Address(address.to_string())),
            None if !is_plain(host) => Err(NotAllowed::Host(host.chars().take(60).collect())),
            None => Ok(()),
        }
    }

    /// Of the addresses that a name has, the one to connect to. A name that is listed may lead anywhere but to this machine or its link,
    /// where only a listed network leads. With `tls` the name is resolved again by who connects, so none of them may be another's.
    ///
    /// # Errors
    /// There is none.
    pub fn choose(&self, host: &str, tls: bool, found: &[IpAddr]) -> Result<IpAddr, NotAllowed> {
        let named = self.names.iter().any(|pattern| pattern.fits(host));
        let fits = |address: &&IpAddr| self.lists(**address) || (named && !is_near(**address));
        let chosen = found.iter().find(fits).filter(|_| !tls || found.iter().all(|address| fits(&address)));
        chosen.copied().ok_or_else(|| NotAllowed::Address(host.to_owned()))
    }

    fn lists(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.holds(address))
    }
}

impl Network {
    fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = own.to_bits() ^ other.to_bits();
                differ.checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl Pattern {
    fn fits(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if !self.below {
            return host == self.name;
        }
        host.strip_suffix(&self.name).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
    }
}

/// `192.0.2.7`, `192.0.2.0/24`; IPv6 with or without brackets.
fn network(typed: &str) -> Option<Network> {
    let (address, bits) = typed.split_once('/').map_or((typed, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = literal(address)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => most,
        Some(bits) => bits.parse().ok().filter(|bits| *bits <= most)?,
    };
    Some(Network { address, bits })
}

fn pattern(typed: &str) -> Option<Pattern> {
    let (name, below) = typed.strip_prefix("*.").map_or((typed, false), |name| (name, true));
    // A last part of digits is an address in some spelling, never a name.
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_name = is_plain(name) && !last.starts_with(|c: char| c.is_ascii_digit());
    is_name.then(|| Pattern { name: name.to_owned(), below })
}

/// An address as it is written in a URL.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bare {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(Into::into),
        None => host.parse().ok(),
    }
}

/// Letters, digits and hyphens between dots: no percent escapes, no digits of other scripts, no signs that some reader of
/// addresses takes for an end.
fn is_plain(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    host.len() <= 253 && host.split('.').all(label)
}

/// This machine, or the link it is on, where some clouds keep their secrets.
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.octets()[0] == 0 || v4.is_broadcast()
        }
        IpAddr::V6(v6) => {
            let embeds = matches!(v6.segments(), [0, 0, 0, 0, 0, _, ..] | [0x64, 0xff9b, ..] | [0x2002, ..]);
            embeds || v6.is_loopback() || v6.is_unicast_link_local() || v6.is_multicast()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cameras(entries: &[&str]) -> Cameras {
        let mut problems = Problems::default();
        let entries: Vec<String> = entries.iter().map(ToString::to_string).collect();
        let cameras = Cameras::read(&entries, &Place::new("a.toml", "[server]"), &mut problems);
        assert_eq!(problems.to_string(), "");
        cameras
    }

    fn may(cameras: &Cameras, host: &str, address: &str) -> bool {
        cameras.choose(host, false, &[address.parse().unwrap()]).is_ok()
    }

    #[test]
    fn networks_hold_their_addresses_in_either_spelling() {
        let list = cameras(&["192.0.2.0/24", "2001:db8::/32", "10.1.2.3", "[fe80::1]"]);
        for (address, fits) in [
            ("192.0.2.0", true),
            ("192.0.2.255", true),
            ("::ffff:192.0.2.9", true),
            ("192.0.3.0", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
            ("10.1.2.3", true),
            ("10.1.2.4", false),
            ("fe80::1", true),
            ("fe80::2", false),
        ] {
            assert_eq!(may(&list, "cam.example", address), fits, "{address}");
        }
        let all = cameras(&["0.0.0.0/0", "::/0"]);
        assert!(may(&all, "x", "127.0.0.1") && may(&all, "x", "::1"));
    }

    #[test]
    fn names_are_whole_names_and_lead_neither_here_nor_to_the_link() {
        let list = cameras(&["cam.clinic.example", "*.ward.example"]);
        for (host, fits) in [
            ("cam.clinic.example", true),
            ("CAM.clinic.example.", true),
            ("xcam.clinic.example", false),
            ("cam.clinic.example.evil.example", false),
            ("a.ward.example", true),
            ("a.b.ward.example", true),
            ("ward.example", false),
            (".ward.example", false),
            ("evilward.example", false),
        ] {
            assert_eq!(may(&list, host, "10.0.0.1"), fits, "{host}");
        }
        for near in ["127.0.0.1", "169.254.169.254", "0.0.0.0", "::1", "fe80::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
        {
            assert!(!may(&list, "a.ward.example", near), "{near}");
        }
        assert!(may(&cameras(&["*.ward.example", "127.0.0.0/8"]), "a.ward.example", "127.0.0.1"));
    }

    #[test]
    fn what_is_neither_is_refused_in_one_line() {
        for wrong in [
            "",
            "*",
            "192.0.2.0/33",
            "::/129",
            "192.0.2.0/",
            "1.2.3",
            "0x7f.1",
            "a b",
            "ca*.example",
            "rtsp://h",
            "h:554",
        ] {
            let mut problems = Problems::default();
            Cameras::read(&[wrong.to_owned()], &Place::new("a.toml", "[server]"), &mut problems);
            assert_eq!(problems.0.len(), 1, "{wrong}");
        }
    }
}
