//! Keeping credentials out of everything people read: a type that does not print, and filters for text.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;

/// Text that never prints itself: a key, or an address that may hold a password.
#[derive(Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes the text in.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

const HIDDEN: &str = "***";

/// Replaces `user:password` by `***` in every URL of a text.
///
/// It errs on the side of hiding, because people type passwords unescaped: everything from `://` to the *last* `@` of
/// the URL goes, unless what follows `://` is plainly a host (`host/…` without a port, or with a port and no `@` behind).
#[must_use]
pub fn redact_url(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        rest = redact_authority(after, &mut out);
    }
    out.push_str(rest);
    out
}

/// Writes the first URL's user part hidden, if it has one; returns what is left to read.
fn redact_authority<'a>(after: &'a str, out: &mut String) -> &'a str {
    let token = &after[..after.find(|c: char| c.is_whitespace() || "\"'<>`".contains(c)).unwrap_or(after.len())];
    let authority = &token[..token.find(['/', '?', '#']).unwrap_or(token.len())];
    let port = match authority.rfind(']') {
        Some(end) if authority.starts_with('[') => authority[end + 1..].strip_prefix(':'),
        _ => authority.split_once(':').map(|(_, port)| port),
    };
    // Prose may put punctuation behind a URL.
    let is_port =
        |port: &str| port.trim_end_matches([',', ';', ':', '.', ')', ']', '}']).bytes().all(|b| b.is_ascii_digit());
    let plain_host = match port {
        None => !authority.contains('@'),
        Some(port) => is_port(port) && !token.contains('@'),
    };
    if plain_host {
        return after;
    }
    if let Some(last) = token.rfind('@') {
        out.push_str(HIDDEN);
        return &after[last..];
    }
    // A password with a blank or a quote in it: look further along the line, else hide the whole word.
    out.push_str(HIDDEN);
    let line = &after[..after.find('\n').unwrap_or(after.len())];
    match line.find('@') {
        Some(last) => &after[last..],
        None => &after[token.len()..],
    }
}

/// [`redact_url`], and values after `password=`, `token=` and their kin, and after `Bearer` and `Basic`.
#[must_use]
pub fn redact_text(text: &str) -> String {
    const KEYS: [&str; 10] =
        ["password", "passwd", "passphrase", "user-pw", "pwd", "token", "secret", "api_key", "api-key", "apikey"];
    let mut text = redact_url(text);
    for key in KEYS {
        text = hide_after(&text, key, |tail| {
            let value = tail
                .trim_start_matches([' ', '"', '\''])
                .strip_prefix(['=', ':'])?
                .trim_start_matches([' ', '"', '\'']);
            Some((
                tail.len() - value.len(),
                value.find(|c: char| c.is_whitespace() || "&;,\"'".contains(c)).unwrap_or(value.len()),
            ))
        });
    }
    for scheme in ["bearer", "basic"] {
        text = hide_after(&text, scheme, |tail| {
            let value = tail.trim_start_matches(' ');
            let gap = tail.len() - value.len();
            let length = value.find(|c: char| c.is_whitespace() || "\"',;".contains(c)).unwrap_or(value.len());
            // "basic settings" is prose; a credential has 8 characters or more, not all of them small letters.
            let is_word = value[..length].bytes().all(|b| b.is_ascii_lowercase());
            (gap > 0 && length >= 8 && !is_word).then_some((gap, length))
        });
    }
    text
}

/// After each occurrence of `key` (any case), hides `length` bytes from `skip` on, where `measure` finds a value.
fn hide_after(text: &str, key: &str, measure: impl Fn(&str) -> Option<(usize, usize)>) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(found) = lower[from..].find(key) {
        let end = from + found + key.len();
        out.push_str(&text[from..end]);
        from = end;
        if let Some((skip, length)) = measure(&text[end..])
            && length > 0
        {
            out.push_str(&text[end..end + skip]);
            out.push_str(HIDDEN);
            from = end + skip + length;
        }
    }
    out.push_str(&text[from..]);
    out
}

/// A server's message made fit to keep: credentials, encoded media and control characters out, at most `max` characters.
#[must_use]
pub fn clean_message(text: &str, secret: Option<&Secret>, max: usize) -> String {
    let text = match secret {
        Some(secret) if !secret.expose().is_empty() => Cow::Owned(text.replace(secret.expose(), HIDDEN)),
        _ => Cow::Borrowed(text),
    };
    let plain: String =
        redact_text(&drop_encoded(&text)).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().count() <= max {
        return words;
    }
    words.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

/// Replaces what follows `base64,` and any run of 40 or more base64 characters by `…`.
fn drop_encoded(text: &str) -> String {
    let is_code = |c: char| c.is_ascii_alphanumeric() || "+/=_-".contains(c);
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_code) {
        let (before, run) = rest.split_at(start);
        out.push_str(before);
        let (run, after) = run.split_at(run.find(|c| !is_code(c)).unwrap_or(run.len()));
        out.push_str(if run.len() >= 40 || out.ends_with("base64,") { "…" } else { run });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn user_and_password_go_from_every_url() {
        for (from, to) in [
            ("rtsp://user:p%40ss@host/stream", "rtsp://***@host/stream"),
            ("rtsp://user:p@ss@host/stream", "rtsp://***@host/stream"),
            ("rtsp://user:p:a:ss@host:554/s", "rtsp://***@host:554/s"),
            ("rtsp://user:p/a?s#s@host/s", "rtsp://***@host/s"),
            ("rtsp://user:12/34@host/s", "rtsp://***@host/s"),
            ("rtsp://user@host", "rtsp://***@host"),
            ("rtsp://:secret@host", "rtsp://***@host"),
            ("rtsp://u:my pass@host/s", "rtsp://***@host/s"),
            ("rtsp://u:my pass", "rtsp://*** pass"),
            ("RTSPS://U:P@[::1]:8554/s", "RTSPS://***@[::1]:8554/s"),
            (
                "cannot open 'rtsp://a:b@h/x', nor http://c:d@e:1, sorry",
                "cannot open 'rtsp://***@h/x', nor http://***@e:1, sorry",
            ),
        ] {
            assert_eq!(redact_url(from), to, "{from}");
        }
    }

    #[test]
    fn urls_without_credentials_stay() {
        for text in [
            "rtsp://host/stream",
            "rtsp://host:554/stream",
            "rtsp://host/a@2",
            "rtsp://[::1]:8554/s",
            "rtsp://[fe80::1]/s",
            "https://gpu.example.org/v1: mail me@example.org",
            "rtsp://cam:554: connection refused",
            "cannot reach (http://127.0.0.1:8000), retrying",
            "file:///home/a@b/x.mp4",
            "no url: a@b",
            "://",
        ] {
            assert_eq!(redact_url(text), text);
        }
    }

    #[test]
    fn text_loses_named_secrets() {
        for (from, to) in [
            ("rtsp://h:554/user=admin&password=x1y&channel=1", "rtsp://h:554/user=admin&password=***&channel=1"),
            ("user-pw=abc user-id=me", "user-pw=*** user-id=me"),
            ("Authorization: Bearer sk-0123456789", "Authorization: Bearer ***"),
            ("{\"api_key\": \"sk-1\"}", "{\"api_key\": \"***\"}"),
            ("basic settings", "basic settings"),
            ("Password: hunter2", "Password: ***"),
        ] {
            assert_eq!(redact_text(from), to);
        }
    }

    #[test]
    fn messages_are_cleaned_and_short() {
        let key = Secret::new("sk-abc".into());
        let body =
            format!("Value error, value: data:image/jpeg;base64,/9j/4 and {} key sk-abc\n\nend", "QUJD".repeat(100));
        assert_eq!(
            clean_message(&body, Some(&key), 200),
            "Value error, value: data:image/jpeg;base64,… and … key *** end"
        );
        assert_eq!(clean_message(&"x y ".repeat(200), None, 200).chars().count(), 200);
    }

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::new("hunter2".into());
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
    }

    proptest! {
        #[test]
        fn a_password_never_survives(user in "[a-z]{1,8}", password in "[A-Z%@:/?#=&!$.]{3,20}[A-Z]Q", host in "[a-z]{3,9}") {
            let shown = redact_url(&format!("rtsp://{user}:{password}@{host}/stream"));
            prop_assert_eq!(shown, format!("rtsp://***@{host}/stream"));
        }

        #[test]
        fn any_text_passes(text in ".*") {
            let _ = redact_text(&text);
            let _ = clean_message(&text, None, 200);
        }
    }
}
