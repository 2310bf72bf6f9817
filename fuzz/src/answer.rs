//! What an endpoint answers: its body becomes Present or Absent only where it plainly says so, else an abstention that repeats
//! neither the key nor control characters.

use std::time::SystemTime;

use ahwatch::config::redact::Secret;
use ahwatch::judge::Label;
use ahwatch::judge::answer::parse_answer;
use ahwatch::judge::reply::{Failure, Headers, read_completion, read_failure};

/// The key of the judge, which a hostile server knows and may send back.
const KEY: &str = "sk-PLANTED-7f3a";

/// A first byte chooses; the rest is the model's text, the body of a 200, or a status with its body.
pub fn run(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    match first % 3 {
        0 => text(&String::from_utf8_lossy(rest)),
        1 => body(rest, first & 4 > 0, first & 8 > 0),
        _ => failure(rest),
    }
}

fn text(text: &str) {
    assert_eq!(parse_answer(text).ok(), plainly(text), "{text:?}");
}

/// The same, the slow way: the words and signs of the text, one after the other, are those of an answer.
pub fn plainly(text: &str) -> Option<Label> {
    let mut tokens: Vec<String> = Vec::new();
    let mut in_word = false;
    for c in text.chars() {
        match c {
            '<' | '>' | '/' => {
                tokens.push(c.to_string());
                in_word = false;
            }
            c if c.is_whitespace() => in_word = false,
            c => {
                match tokens.last_mut() {
                    Some(word) if in_word => word.push(c.to_ascii_lowercase()),
                    _ => tokens.push(c.to_ascii_lowercase().to_string()),
                }
                in_word = true;
            }
        }
    }
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    match tokens[..] {
        ["<", "answer", ">", "yes", "<", "/", "answer", ">"] => Some(Label::Present),
        ["<", "answer", ">", "no", "<", "/", "answer", ">"] => Some(Label::Absent),
        _ => None,
    }
}

fn body(body: &[u8], score: bool, constrained: bool) {
    let headers = Headers { content_type: Some("application/json".into()), ..Headers::default() };
    match read_completion(&headers, body, score, constrained) {
        Ok(reading) => {
            assert_eq!(Some(reading.label), plainly(&reading.text));
            same_as_plain_json(body, &reading.text);
            assert_eq!(reading.score.is_some(), score);
            if let Some(Ok(score)) = reading.score {
                assert!((0.0..=1.0).contains(&score.p_yes), "{score:?}");
                assert!(score.label_mass.is_none_or(|mass| mass > 0.0 && mass <= 1.0), "{score:?}");
            }
        }
        Err(failure) => plain(&failure),
    }
}

/// Read again without types, where it is made of objects: serde takes a list of the fields for one too.
fn same_as_plain_json(body: &[u8], text: &str) {
    // A number that no float holds is passed over by the typed reader where nobody asked for it.
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else { return };
    let Some(choices) = value["choices"].as_array() else { return };
    assert_eq!(choices.len(), 1, "one answer, not the first of several");
    if choices[0].is_object() && choices[0]["message"].is_object() {
        assert_eq!(choices[0]["finish_reason"], "stop");
        assert_eq!(choices[0]["message"]["content"], *text);
    }
}

/// Two bytes of status, a line for each header, then the body.
fn failure(data: &[u8]) {
    let Some((status, rest)) = data.split_at_checked(2) else { return };
    let status = u16::from_be_bytes([status[0], status[1]]);
    let mut parts = rest.splitn(4, |byte| *byte == b'\n');
    let mut next = || parts.next().map(|part| String::from_utf8_lossy(part).into_owned());
    let headers = Headers { retry_after: next(), date: next(), location: next(), ..Headers::default() };
    let body = parts.next().unwrap_or_default();
    let key = Secret::new(KEY.to_owned());
    let failure = read_failure(status, &headers, body, Some(&key), SystemTime::UNIX_EPOCH);
    assert!(failure.text.is_none(), "what is no 200 has no words of a model");
    plain(&failure);
}

fn plain(failure: &Failure) {
    let detail = &failure.abstention.detail;
    assert!(!detail.contains(KEY), "{detail:?}");
    assert!(!detail.chars().any(char::is_control), "{detail:?}");
    assert!(detail.chars().count() <= 400, "{detail:?}");
}
