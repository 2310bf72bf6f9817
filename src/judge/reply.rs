//! What a server's reply means: a label, or an abstention and whether asking again makes sense. Pure.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::answer::{NoScore, TokenLogprob, parse_answer, read_score};
use super::{Abstention, AbstentionReason, Label, Score, Tokens};
use crate::config::redact::{Secret, clean_message};

/// Longest part of a server's message that is kept, characters.
const MESSAGE_CHARS: usize = 200;

/// A reply that is an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Present or Absent, as the text says.
    pub label: Label,
    /// P(Yes), or why there is none; None if it was not asked for.
    pub score: Option<Result<Score, NoScore>>,
    /// The model's words.
    pub text: String,
    /// What it took, where the server says.
    pub tokens: Option<Tokens>,
}

/// A reply, or none, that is no answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What it comes to.
    pub abstention: Abstention,
    /// Whether another request may fare better.
    pub retry: Retry,
    /// What the model said, where it said something.
    pub text: Option<String>,
    /// What that took, where the server says.
    pub tokens: Option<Tokens>,
}

/// Whether to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request would fare the same anywhere.
    No,
    /// It would fare the same here; another server may do better.
    Elsewhere,
    /// After a moment.
    Backoff,
    /// When the server says.
    After(Duration),
}

impl Failure {
    /// Without words of a model.
    pub fn new(reason: AbstentionReason, detail: impl Into<String>, retry: Retry) -> Self {
        Self { abstention: Abstention { reason, detail: detail.into() }, retry, text: None, tokens: None }
    }
}

/// What of a reply's headers matters.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "each is the header of its name")]
pub struct Headers {
    pub content_type: Option<String>,
    pub retry_after: Option<String>,
    pub date: Option<String>,
    pub location: Option<String>,
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    /// Read apart, like the log-probabilities.
    #[serde(default)]
    usage: Value,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    finish_reason: Option<String>,
    /// Read apart: odd log-probabilities do not spoil an answer.
    #[serde(default)]
    logprobs: Value,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}

/// Reads the body of a 200. `score`: whether log-probabilities were asked for; `constrained`: whether the answer was.
///
/// # Errors
/// It is no answer; says what it is.
pub fn read_completion(headers: &Headers, body: &[u8], score: bool, constrained: bool) -> Result<Reading, Failure> {
    let completion: Option<Completion> = serde_json::from_slice(body).ok();
    let tokens = completion.as_ref().and_then(|completion| Tokens::read(&completion.usage));
    let mut choices = completion.map(|completion| completion.choices).unwrap_or_default();
    let (Some(choice), true) = (choices.pop(), choices.is_empty()) else {
        let kind = headers
            .content_type
            .as_deref()
            .map_or_else(|| "no content type".to_owned(), |kind| clean_message(kind, None, 60));
        let mut detail = format!("status 200, but no chat completion ({kind}, {} bytes)", body.len());
        if kind.contains("html") {
            detail.push_str("; a web page, perhaps of a proxy or a login: check base_url");
        }
        return Err(Failure { tokens, ..Failure::new(AbstentionReason::NotACompletion, detail, Retry::Elsewhere) });
    };
    let text = choice.message.content.unwrap_or_default();
    let failed = |reason, detail: String| Failure {
        text: Some(text.clone()),
        tokens,
        ..Failure::new(reason, detail, Retry::No)
    };
    match choice.finish_reason.as_deref() {
        Some("stop") => {}
        reason => {
            let reason =
                reason.map_or_else(|| "none".to_owned(), |reason| format!("\"{}\"", clean_message(reason, None, 20)));
            return Err(failed(AbstentionReason::Truncated, format!("finish_reason is {reason}, not \"stop\"")));
        }
    }
    let label = parse_answer(&text).map_err(|error| {
        failed(AbstentionReason::Unparsable, format!("{error} ({} characters)", text.chars().count()))
    })?;
    let score = score.then(|| {
        let tokens: Vec<TokenLogprob> = choice
            .logprobs
            .get("content")
            .and_then(|content| Deserialize::deserialize(content).ok())
            .ok_or(NoScore::NotGiven)?;
        read_score(&tokens, label, constrained)
    });
    Ok(Reading { label, score, text, tokens })
}

/// Reads a reply that is not a 200. `now` is the wall clock, for a Retry-After that is a date.
pub fn read_failure(status: u16, headers: &Headers, body: &[u8], secret: Option<&Secret>, now: SystemTime) -> Failure {
    let message = server_message(body);
    let said = message
        .as_deref()
        .map_or_else(String::new, |message| format!(": {}", clean_message(message, secret, MESSAGE_CHARS)));
    let says = |words: &[&str]| {
        let message = message.as_deref().unwrap_or_default().to_ascii_lowercase();
        words.iter().all(|word| message.contains(word))
    };
    let (reason, retry) = match status {
        300..=399 => {
            let target = headers.location.as_deref().map_or_else(String::new, |location| redirected(location, secret));
            let detail = format!(
                "status {status}: a redirect{target}, which is not followed; base_url must be the final address"
            );
            return Failure::new(AbstentionReason::Refused, detail, Retry::Elsewhere);
        }
        // Servers quote keys in these messages, so theirs is not kept.
        401 | 403 => return unauthorized(status),
        400 if says(&["api key"]) => return unauthorized(status),
        404 if !says(&["model"]) => {
            let detail = format!("status 404{said}; check that base_url is right, usually ending in /v1");
            return Failure::new(AbstentionReason::UnknownModel, detail, Retry::Elsewhere);
        }
        404 => (AbstentionReason::UnknownModel, Retry::Elsewhere),
        400 | 422 if says(&["is not in the model_list"]) || says(&["model", "does not exist"]) => {
            (AbstentionReason::UnknownModel, Retry::Elsewhere)
        }
        // nginx and others, to plain http on a port that speaks https.
        400 if body.windows(13).any(|part| part.eq_ignore_ascii_case(b"to HTTPS port")) => {
            let detail = format!("status {status}: this port speaks https; write https:// in base_url");
            return Failure::new(AbstentionReason::Refused, detail, Retry::Elsewhere);
        }
        429 => (AbstentionReason::RateLimited, wait(headers, now)),
        500 | 502 | 503 | 504 => (AbstentionReason::ServerError, wait(headers, now)),
        501..=599 => (AbstentionReason::ServerError, Retry::No),
        200..=299 => (AbstentionReason::NotACompletion, Retry::Elsewhere),
        _ => (AbstentionReason::Refused, Retry::No),
    };
    Failure::new(reason, format!("status {status}{said}"), retry)
}

fn unauthorized(status: u16) -> Failure {
    let detail = format!("status {status}: the endpoint wants another key; check api_key_env");
    Failure::new(AbstentionReason::Unauthorized, detail, Retry::Elsewhere)
}

/// Where a redirect leads: scheme, host and port alone, since the rest may hold credentials.
fn redirected(location: &str, secret: Option<&Secret>) -> String {
    let Ok(url) = Url::parse(location) else { return " within the same server".to_owned() };
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    let host = clean_message(url.host_str().unwrap_or_default(), secret, 100);
    format!(" to {}://{host}{port}", clean_message(url.scheme(), secret, 20))
}

/// From Retry-After, in seconds or as a date; a date counts from the server's own clock where it says it.
fn wait(headers: &Headers, now: SystemTime) -> Retry {
    let Some(value) = headers.retry_after.as_deref().map(str::trim) else { return Retry::Backoff };
    if let Ok(secs) = value.parse::<u64>() {
        return Retry::After(Duration::from_secs(secs));
    }
    let Ok(until) = httpdate::parse_http_date(value) else { return Retry::Backoff };
    let now = headers.date.as_deref().and_then(|date| httpdate::parse_http_date(date).ok()).unwrap_or(now);
    Retry::After(until.duration_since(now).unwrap_or_default())
}

/// The message of an error body in the shapes seen: `{"error": {"message"}}`, `{"error": ".."}`, `{"message"}`,
/// `{"detail": ".."}`, `{"detail": [{"msg"}]}`. Other bodies are not quoted: they may echo the request.
fn server_message(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let message = [
        body.pointer("/error/message"),
        body.get("error"),
        body.get("message"),
        body.pointer("/detail/0/msg"),
        body.get("detail"),
    ]
    .into_iter()
    .flatten()
    .find_map(Value::as_str)?;
    Some(message.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failure(status: u16, body: &str) -> Failure {
        read_failure(
            status,
            &Headers::default(),
            body.as_bytes(),
            Some(&Secret::new("sk-1234".into())),
            SystemTime::UNIX_EPOCH,
        )
    }

    #[test]
    fn statuses_have_their_reason_and_their_patience() {
        use AbstentionReason as R;
        for (status, body, reason, retry) in [
            (401, r#"{"error":"Unauthorized"}"#, R::Unauthorized, Retry::Elsewhere),
            (403, "", R::Unauthorized, Retry::Elsewhere),
            (400, r#"{"message":"API key error"}"#, R::Unauthorized, Retry::Elsewhere),
            (404, r#"{"error":{"message":"The model `x` does not exist."}}"#, R::UnknownModel, Retry::Elsewhere),
            (400, r#"{"message":"`x` is not in the model_list: `['base']`."}"#, R::UnknownModel, Retry::Elsewhere),
            (400, r#"{"error":{"message":"Could not open video stream"}}"#, R::Refused, Retry::No),
            (422, r#"{"detail":[{"msg":"no"}]}"#, R::Refused, Retry::No),
            (413, "<html>", R::Refused, Retry::No),
            (307, "", R::Refused, Retry::Elsewhere),
            (429, "", R::RateLimited, Retry::Backoff),
            (500, "Internal Server Error", R::ServerError, Retry::Backoff),
            (503, "", R::ServerError, Retry::Backoff),
            (501, "", R::ServerError, Retry::No),
            (204, "", R::NotACompletion, Retry::Elsewhere),
        ] {
            let failure = failure(status, body);
            assert_eq!((failure.abstention.reason, failure.retry), (reason, retry), "{status} {body}");
        }
    }

    #[test]
    fn details_hold_no_key_and_no_media() {
        let body =
            format!(r#"{{"error":{{"message":"bad sk-1234 data:video/mp4;base64,{} end"}}}}"#, "QUJD".repeat(9999));
        assert_eq!(failure(400, &body).abstention.detail, "status 400: bad *** data:video/mp4;base64,… end");
        assert_eq!(failure(500, &"<p>".repeat(999)).abstention.detail, "status 500");
        assert!(
            !failure(401, r#"{"error":{"message":"Incorrect API key provided: sk-12**"}}"#)
                .abstention
                .detail
                .contains("sk-")
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let wait = |retry_after: &str, date: Option<&str>| {
            wait(
                &Headers { retry_after: Some(retry_after.into()), date: date.map(Into::into), ..Headers::default() },
                now,
            )
        };
        assert_eq!(wait(" 7 ", None), Retry::After(Duration::from_secs(7)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:37 GMT", None), Retry::After(Duration::from_mins(1)));
        assert_eq!(
            wait("Sun, 06 Nov 1994 08:50:37 GMT", Some("Sun, 06 Nov 1994 08:50:07 GMT")),
            Retry::After(Duration::from_secs(30))
        );
        assert_eq!(wait("Sun, 06 Nov 1994 08:00:00 GMT", None), Retry::After(Duration::ZERO));
        assert_eq!(wait("soon", None), Retry::Backoff);
        assert_eq!(wait("99999999999999999999999", None), Retry::Backoff);
    }

    proptest! {
        #[test]
        fn any_reply_is_read_without_panic(status in 100_u16..600, body in ".*", retry_after in ".*") {
            let headers = Headers { retry_after: Some(retry_after), ..Headers::default() };
            let failure = read_failure(status, &headers, body.as_bytes(), None, SystemTime::UNIX_EPOCH);
            prop_assert!(failure.abstention.detail.chars().count() <= 300);
            let _ = read_completion(&headers, body.as_bytes(), true, false);
        }

        #[test]
        fn any_content_is_a_label_only_if_it_says_so(content in "(<answer>)?(Yes|No|maybe| )?(</answer>)?.?") {
            let body = serde_json::json!({"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}).to_string();
            let reading = read_completion(&Headers::default(), body.as_bytes(), false, false);
            prop_assert_eq!(reading.is_ok(), parse_answer(&content).is_ok());
        }

        #[test]
        fn odd_log_probabilities_do_not_spoil_an_answer(logprobs in prop_oneof![Just("null"), Just("7"), Just("{}"), Just("{\"content\":null}"),
            Just("{\"content\":[]}"), Just("{\"content\":[{\"token\":1}]}"), Just("{\"content\":[{\"token\":\"<\",\"logprob\":null}]}")]) {
            let body = format!("{{\"choices\":[{{\"message\":{{\"content\":\"<answer>No</answer>\"}},\"finish_reason\":\"stop\",\"logprobs\":{logprobs}}}]}}");
            let reading = read_completion(&Headers::default(), body.as_bytes(), true, false).unwrap();
            prop_assert_eq!((reading.label, reading.score), (Label::Absent, Some(Err(NoScore::NotGiven))));
        }
    }
}
