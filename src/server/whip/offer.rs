//! Reading a browser's SDP offer: what of it is taken, what is declined, and the offer and answer rewritten accordingly. Pure.
//!
//! Taken are the first sound in Opus and the first pictures in H.264 (packetization mode 1) or VP8, whichever the browser names
//! first: one codec, so that the decoder is known before anything arrives. The rest (further streams, data channels, layers of a
//! simulcast) is declined. The str0m library sees an offer of the taken sections only; the declined ones are put back into the
//! answer, with port 0 (RFC 3264, section 6). The browser's candidates are left out: nothing is sent to an address before
//! something came from it that knew the session's password.

use super::WhipError;
use crate::source::Codec;

/// No offer of a browser is larger: Chromium's has 8 kB.
pub const LARGEST: usize = 64 * 1024;
/// No offer has more sections.
const MOST_SECTIONS: usize = 16;

/// One codec of a section, as the browser numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// How the media is encoded.
    pub codec: Codec,
    /// Its payload type.
    pub number: u8,
    /// The payload type of its retransmissions.
    pub resend: Option<u8>,
    /// H.264: profile and level, as six hexadecimal digits mean them.
    pub profile: Option<u32>,
}

/// What of an offer is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The offer with nothing but what is taken.
    pub reduced: String,
    /// Sound: all payload types in Opus.
    pub audio: Vec<Payload>,
    /// Pictures: all payload types of the one codec.
    pub video: Vec<Payload>,
    /// What was left out, in words.
    pub declined: Vec<String>,
    /// The sections in order: None is taken, the rest stands in the answer so.
    sections: Vec<Option<String>>,
    /// ICE name and password of the browser.
    pub ice: (String, String),
}

/// A section: its lines, and what matters of them.
struct Section<'a> {
    lines: Vec<&'a str>,
    kind: &'a str,
    port: &'a str,
    protocol: &'a str,
    formats: Vec<&'a str>,
}

impl<'a> Section<'a> {
    fn begin(line: &'a str) -> Option<Self> {
        let mut words = line.strip_prefix("m=")?.split_ascii_whitespace();
        let (kind, port, protocol) = (words.next()?, words.next()?, words.next()?);
        Some(Self { lines: vec![line], kind, port, protocol, formats: words.collect() })
    }

    fn value(&self, attribute: &str) -> Option<&'a str> {
        value(&self.lines, attribute)
    }

    /// What stands behind `a=NAME:NUMBER `.
    fn of(&self, name: &str, number: &str) -> Option<&'a str> {
        let mut values =
            self.lines.iter().filter_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'));
        values.find_map(|value| value.split_once(' ').filter(|(n, _)| *n == number).map(|(_, rest)| rest))
    }

    fn sends(&self, otherwise: bool) -> bool {
        let has = |direction: &str| self.lines.contains(&direction);
        let port = self.port != "0" || has("a=bundle-only");
        let silent = has("a=recvonly") || has("a=inactive");
        port && !silent && (otherwise || has("a=sendonly") || has("a=sendrecv"))
    }

    /// The payload types that can be taken, in the browser's order.
    fn payloads(&self) -> Vec<Payload> {
        let resend = |number: &str| {
            self.formats.iter().copied().find(|format| {
                let is_resend =
                    self.of("rtpmap", format).is_some_and(|map| map.to_ascii_lowercase().starts_with("rtx/"));
                is_resend && self.of("fmtp", format).and_then(|fmtp| parameter(fmtp, "apt")) == Some(number)
            })
        };
        let taken = |format: &&str| {
            let map = self.of("rtpmap", format)?.to_ascii_lowercase();
            let parameters = self.of("fmtp", format).unwrap_or_default();
            let mut profile = None;
            let codec = match (self.kind, map.as_str()) {
                ("audio", "opus/48000/2") => Codec::Opus,
                ("video", "vp8/90000") => Codec::Vp8,
                ("video", "h264/90000") if parameter(parameters, "packetization-mode") == Some("1") => {
                    // RFC 6184, 8.1: without it, Constrained Baseline at level 1.
                    let typed = parameter(parameters, "profile-level-id").unwrap_or("42c00a");
                    profile = Some(u32::from_str_radix(typed, 16).ok()?);
                    Codec::H264
                }
                _ => return None,
            };
            let number = format.parse().ok().filter(|number| *number < 128)?;
            Some(Payload { codec, number, resend: resend(format).and_then(|n| n.parse().ok()), profile })
        };
        self.formats.iter().filter_map(taken).collect()
    }

    /// The names of the codecs it has, for messages.
    fn codecs(&self) -> String {
        let names = self.formats.iter().filter_map(|format| self.of("rtpmap", format)?.split('/').next());
        let mut names: Vec<&str> = names.collect();
        names.dedup();
        // A browser's own words, but not a page of them.
        names
            .iter()
            .take(12)
            .map(|name| name.chars().filter(char::is_ascii_graphic).take(20).collect::<String>())
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// As it stands in the answer when it is declined.
    fn declined(&self) -> String {
        let mid = self.value("mid").map_or_else(String::new, |mid| format!("a=mid:{mid}\r\n"));
        format!(
            "m={} 0 {} {}\r\nc=IN IP4 0.0.0.0\r\n{mid}a=inactive\r\n",
            self.kind,
            self.protocol,
            self.formats.join(" ")
        )
    }

    /// As str0m gets it.
    fn reduced(&self, shared: &[String]) -> String {
        let mut text = format!("m={} 9 {} {}\r\n", self.kind, self.protocol, self.formats.join(" "));
        let rest = self.lines.iter().skip(1).filter(|line| !is_dropped(line)).map(|line| (*line).to_owned());
        for line in rest.chain(shared.iter().cloned()).chain(["a=sendonly".to_owned()]) {
            text.push_str(&line);
            text.push_str("\r\n");
        }
        text
    }
}

/// What holds for the whole bundle, wherever it stands.
const SHARED: [&str; 4] = ["ice-ufrag", "ice-pwd", "fingerprint", "setup"];

/// What is ours to say, and what is not taken, in a section or above all of them.
fn is_dropped(line: &str) -> bool {
    let name = line.strip_prefix("a=").unwrap_or_default().split(':').next().unwrap_or_default();
    let directions = ["sendrecv", "sendonly", "recvonly", "inactive"];
    directions.contains(&name)
        || SHARED.contains(&name)
        || ["candidate", "end-of-candidates", "simulcast", "rid", "bundle-only"].contains(&name)
}

fn value<'a>(lines: &[&'a str], attribute: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| line.strip_prefix("a=")?.strip_prefix(attribute)?.strip_prefix(':'))
}

/// One of `a=1;b=2`.
fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = parameters.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// It is too large or no SDP, has no bundle or no ICE password, or nothing in it can be taken: the message says what it has.
    pub fn read(sdp: &str) -> Result<Self, WhipError> {
        let wrong = |reason: &str| WhipError::Sdp(reason.to_owned());
        if sdp.len() > LARGEST {
            return Err(WhipError::TooLarge(sdp.len()));
        }
        let mut lines = sdp.lines().map(str::trim_end).filter(|line| !line.is_empty());
        if lines.next() != Some("v=0") {
            return Err(wrong("it does not begin with the line v=0"));
        }
        let (mut session, mut sections) = (Vec::new(), Vec::<Section>::new());
        for line in lines {
            if !matches!(line.as_bytes(), [b'a'..=b'z', b'=', ..]) || line.chars().any(char::is_control) {
                return Err(wrong("a line is no `letter=value`"));
            }
            match (line.starts_with("m="), sections.last_mut()) {
                (true, _) => sections.push(Section::begin(line).ok_or_else(|| wrong("an m= line is incomplete"))?),
                (false, Some(section)) => section.lines.push(line),
                (false, None) => session.push(line),
            }
        }
        if sections.is_empty() || sections.len() > MOST_SECTIONS {
            return Err(wrong(&format!("it has {} sections (m=), not 1 to {MOST_SECTIONS}", sections.len())));
        }
        let otherwise = !session.iter().any(|line| matches!(*line, "a=recvonly" | "a=inactive"));
        let (mut audio, mut video, mut declined) = (Vec::new(), Vec::new(), Vec::new());
        let mut taken = Vec::new();
        for section in &sections {
            let (mine, what) = match section.kind {
                "audio" => (&mut audio, "sound"),
                "video" => (&mut video, "pictures"),
                other => {
                    declined.push(format!("{}: not used here", other.chars().take(20).collect::<String>()));
                    taken.push(false);
                    continue;
                }
            };
            let payloads = section.payloads();
            let reason = match payloads.first() {
                _ if !section.sends(otherwise) => Some("nothing is sent".to_owned()),
                _ if !mine.is_empty() => Some("only the first is taken".to_owned()),
                None => Some(format!("no codec of it can be taken: {}", section.codecs())),
                Some(first) => {
                    mine.extend(payloads.iter().filter(|payload| payload.codec == first.codec));
                    None
                }
            };
            taken.push(reason.is_none());
            declined.extend(reason.map(|reason| format!("{what}: {reason}")));
        }
        if !taken.contains(&true) {
            return Err(WhipError::Nothing(declined.join("; ")));
        }
        for (what, missing) in [("sound", audio.is_empty()), ("pictures", video.is_empty())] {
            if missing && !declined.iter().any(|reason| reason.starts_with(what)) {
                declined.push(format!("{what}: not offered"));
            }
        }
        let kept = || sections.iter().zip(&taken).filter(|(_, taken)| **taken).map(|(section, _)| section);
        let group = value(&session, "group").filter(|group| group.starts_with("BUNDLE"));
        let mids: Vec<&str> = kept().filter_map(|section| section.value("mid")).collect();
        if mids.len() < kept().count() || (mids.len() > 1 && group.is_none()) {
            return Err(wrong("its sections are not one bundle (a=mid, a=group:BUNDLE)"));
        }
        // In a bundle any section may carry them, also one that is declined.
        let anywhere = |name: &str| value(&session, name).or_else(|| sections.iter().find_map(|s| s.value(name)));
        let mut shared = Vec::new();
        for name in SHARED {
            let found = anywhere(name).ok_or_else(|| wrong(&format!("a={name} is missing")))?;
            shared.push(format!("a={name}:{found}"));
        }
        let ice = |name: &str| anywhere(name).unwrap_or_default().to_owned();
        let mut reduced = "v=0\r\n".to_owned();
        let bundle = format!("a=group:BUNDLE {}", mids.join(" "));
        let kept_above = |line: &&&str| {
            let replaced = ["a=group", "a=ice-lite", "a=msid-semantic"];
            !is_dropped(line) && !replaced.iter().any(|start| line.starts_with(start))
        };
        for line in session.iter().filter(kept_above).copied().chain([bundle.as_str()]) {
            reduced.push_str(line);
            reduced.push_str("\r\n");
        }
        reduced.extend(kept().map(|section| section.reduced(&shared)));
        let ice = (ice("ice-ufrag"), ice("ice-pwd"));
        let sections =
            sections.iter().zip(&taken).map(|(section, taken)| (!taken).then(|| section.declined())).collect();
        Ok(Self { reduced, audio, video, declined, sections, ice })
    }

    /// str0m's answer to the reduced offer, with the declined sections where the browser had them.
    #[must_use]
    pub fn answer(&self, reduced: &str) -> String {
        let mut parts = reduced.split_inclusive('\n').fold(vec![String::new()], |mut parts, line| {
            if line.starts_with("m=") {
                parts.push(String::new());
            }
            if let Some(part) = parts.last_mut() {
                part.push_str(line);
            }
            parts
        });
        let mut taken = parts.split_off(1).into_iter();
        let sections =
            self.sections.iter().map(|declined| declined.clone().or_else(|| taken.next()).unwrap_or_default());
        parts.into_iter().chain(sections).collect()
    }
}

#[cfg(test)]
#[path = "offer_tests.rs"]
mod tests;
