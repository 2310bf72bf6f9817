//! The body of a WHIP PATCH: `application/trickle-ice-sdpfrag` (RFC 8840, RFC 9725 4.3). Pure.

use super::WhipError;

/// No fragment of a browser is larger.
const LARGEST: usize = 16 * 1024;

/// What a fragment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// ICE name and password, where it has them.
    pub ice: Option<(String, String)>,
    /// How many candidates.
    pub candidates: usize,
}

impl Fragment {
    /// Reads one.
    ///
    /// # Errors
    /// It is too large, or holds lines that do not belong there.
    pub fn read(text: &str) -> Result<Self, WhipError> {
        let wrong = |reason: &str| Err(WhipError::Fragment(reason.to_owned()));
        if text.len() > LARGEST {
            return wrong("it is too large");
        }
        let (mut name, mut password, mut candidates) = (None, None, 0);
        for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            let Some((kind, rest)) = line.split_once('=').filter(|(kind, _)| kind.len() == 1) else {
                return wrong("a line is no `letter=value`");
            };
            match (kind, rest.split_once(':').unwrap_or((rest, ""))) {
                ("a", ("ice-ufrag", value)) => name = Some(value.to_owned()),
                ("a", ("ice-pwd", value)) => password = Some(value.to_owned()),
                // Foundation, component, transport, priority, address, port, "typ", type (RFC 8839, 5.1).
                ("a", ("candidate", value)) if value.split_ascii_whitespace().count() >= 8 => candidates += 1,
                ("a", ("candidate", _)) => return wrong("a candidate is incomplete"),
                ("a" | "m" | "c", _) => {}
                _ => return wrong("it holds more than a=, m= and c= lines"),
            }
        }
        let ice = name.zip(password);
        if candidates == 0 && ice.is_none() && !text.contains("a=end-of-candidates") {
            return wrong("it has no candidates");
        }
        Ok(Self { ice, candidates })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browsers_fragment_is_read_and_others_are_not() {
        let fragment = "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\na=group:BUNDLE 0 1\r\n\
                        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
                        a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw\r\n\
                        a=candidate:3471623853 1 udp 2122194687 abc.local 61765 typ host\r\na=end-of-candidates\r\n";
        let read = Fragment::read(fragment).unwrap();
        assert_eq!(read, Fragment { ice: Some(("EsAw".into(), "P2uYro0UCOQ4zxjKXaWCBui1".into())), candidates: 2 });
        for wrong in ["", "hello", "a=candidate:1 1 udp", "v=0\r\na=candidate:1 1 udp 1 192.0.2.1 1 typ host"] {
            assert!(Fragment::read(wrong).is_err(), "{wrong}");
        }
        assert!(Fragment::read(&"a=x\n".repeat(5000)).is_err());
    }
}
