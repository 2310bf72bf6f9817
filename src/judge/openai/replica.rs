//! One judge's way to one `base_url`: single exchanges, each a request and its bounded reply.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{RequestBuilder, Response};
use tokio::time::{Instant, timeout};
use url::Url;

use super::client::{SetupError, Shared, root_cause};
use super::endpoint::Endpoint;
use super::pace::Pace;
use crate::config::JudgeConfig;
use crate::config::redact::{Secret, clean_message};
use crate::judge::reply::{Failure, Headers, Retry, read_failure};
use crate::judge::{Abstention, AbstentionReason};
use crate::time::wall;

/// A chat completion with 32 tokens and 20 alternatives each is under 100 kB.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// An error's message is near its beginning; a body may echo the whole request.
const MAX_ERROR_BYTES: usize = 1 << 16;
/// An error's status says enough without the rest of its body.
const ERROR_TIME: Duration = Duration::from_secs(2);
/// How long a server's list of models is believed, and how long it may take.
const LIST_FOR: Duration = Duration::from_secs(30);
const LIST_TIME: Duration = Duration::from_secs(1);
/// Longest list of models in a message, characters.
const LIST_CHARS: usize = 100;

/// One `base_url` as one judge uses it: with that judge's key.
pub struct Replica {
    pub(super) endpoint: Arc<Endpoint>,
    authorization: Option<HeaderValue>,
    key: Option<Secret>,
    waits: Mutex<Waits>,
    pace: Mutex<Pace>,
    models: tokio::sync::Mutex<Option<(Instant, Option<String>)>>,
}

/// Until when this judge does not ask here.
#[derive(Clone, Copy, Debug, Default)]
struct Waits {
    /// The server asked for it.
    paused: Option<Instant>,
    /// It has another model or key than this judge wants: asked only if there is no other.
    avoided: Option<Instant>,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Replica").field(&self.base_url().as_str()).finish()
    }
}

/// A reply with status 200, read whole.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its body.
    pub body: Bytes,
    pub(super) headers: Headers,
}

impl Replica {
    pub(super) fn new(config: &JudgeConfig, base_url: &Url, shared: &mut Shared) -> Result<Self, SetupError> {
        let authorization = match &config.api_key {
            Some(key) => {
                let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose()))
                    .map_err(|_| SetupError::Key(config.name.clone()))?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        Ok(Self {
            endpoint: shared.endpoint(base_url)?,
            authorization,
            key: config.api_key.clone(),
            waits: Mutex::default(),
            pace: Mutex::default(),
            models: tokio::sync::Mutex::default(),
        })
    }

    /// Where it is: without credentials, query and final slash.
    #[must_use]
    pub fn base_url(&self) -> &Url {
        self.endpoint.url()
    }

    /// A path of this server: `models` is below `base_url`; `/version` is beside its last part, so that `https://h/x/v1` gives
    /// `https://h/x/version`, where vLLM has what is not `OpenAI`'s.
    #[must_use]
    pub fn address(&self, path: &str) -> Url {
        self.endpoint.address(path)
    }

    /// Asks for a path (see [`Replica::address`]) with the judge's key. Takes none of the `base_url`'s places, and asks whatever
    /// its circuit says.
    ///
    /// # Errors
    /// No whole reply with status 200 `within` that time. The detail holds no credential.
    pub async fn get(&self, path: &str, within: Duration) -> Result<Reply, Abstention> {
        match timeout(within, self.exchange(self.endpoint.client().get(self.address(path)))).await {
            Ok(outcome) => outcome.map_err(|failure| failure.abstention),
            Err(_) => {
                let detail = format!("{}: no answer within {} ms", self.endpoint.host(), within.as_millis());
                Err(Abstention { reason: AbstentionReason::Deadline, detail })
            }
        }
    }

    /// [`Replica::get`], read as JSON.
    ///
    /// # Errors
    /// As there, and when the reply is no JSON.
    pub async fn get_json(&self, path: &str, within: Duration) -> Result<serde_json::Value, Abstention> {
        let reply = self.get(path, within).await?;
        serde_json::from_slice(&reply.body).map_err(|_| {
            let detail = format!("{}: status 200, but no JSON ({} bytes)", self.endpoint.host(), reply.body.len());
            Abstention { reason: AbstentionReason::NotACompletion, detail }
        })
    }

    /// The models it serves, for a message: `a, b`. None if it does not say.
    pub(super) async fn models(&self) -> Option<String> {
        let mut known = self.models.lock().await;
        match &*known {
            Some((at, models)) if at.elapsed() < LIST_FOR => return models.clone(),
            _ => {}
        }
        let list = self.get_json("models", LIST_TIME).await.ok();
        let listed = list.as_ref().and_then(|list| list["data"].as_array());
        let models = listed.map(|models| {
            let names: Vec<_> = models.iter().filter_map(|model| model["id"].as_str()).collect();
            clean_message(&names.join(", "), self.key.as_ref(), LIST_CHARS)
        });
        // Also that it does not say: windows must not ask and wait for it each time.
        *known = Some((Instant::now(), models.clone()));
        models
    }

    /// One request for a completion.
    pub(super) async fn complete(&self, body: Bytes) -> Result<Reply, Failure> {
        let json = HeaderValue::from_static("application/json");
        let url = self.address("chat/completions");
        self.exchange(self.endpoint.client().post(url).header(CONTENT_TYPE, json).body(body)).await
    }

    async fn exchange(&self, mut request: RequestBuilder) -> Result<Reply, Failure> {
        request = request.header(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        let headers = Headers {
            content_type: text_of(response.headers(), &CONTENT_TYPE),
            retry_after: text_of(response.headers(), &RETRY_AFTER),
            date: text_of(response.headers(), &DATE),
            location: text_of(response.headers(), &LOCATION),
        };
        if status == 200 {
            Ok(Reply { body: self.whole(response).await?, headers })
        } else {
            let body = beginning(response).await;
            Err(read_failure(status, &headers, &body, self.key.as_ref(), SystemTime::from(wall())))
        }
    }

    async fn whole(&self, mut response: Response) -> Result<Bytes, Failure> {
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                let detail = format!("status 200, but an answer of more than {MAX_ANSWER_BYTES} bytes");
                return Err(Failure::new(AbstentionReason::NotACompletion, detail, Retry::Elsewhere));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let cause = root_cause(error);
        let (remedy, retry) = match &*cause {
            // rustls' words. A certificate does not mend itself while a window waits.
            cause if cause.contains("UnknownIssuer") => (
                "; no authority that this machine trusts has signed its certificate: add its CA to the system's certificates, \
                 or name the CA's file in SSL_CERT_FILE",
                Retry::Elsewhere,
            ),
            cause if cause.contains("certificate expired") => (
                "; its certificate has expired: renew it there, or set this machine's clock if that is wrong",
                Retry::Elsewhere,
            ),
            cause if cause.contains("certificate") => {
                ("; its certificate is no good for this address", Retry::Elsewhere)
            }
            cause if cause.contains("corrupt message") || cause.contains("InvalidContentType") => {
                ("; it speaks no TLS there: is it plain http?", Retry::Elsewhere)
            }
            cause if self.base_url().scheme() == "http" && cause.contains("invalid HTTP version") => {
                ("; it speaks no http there: is it https?", Retry::Elsewhere)
            }
            _ => ("", Retry::Backoff),
        };
        let what = if error.is_connect() { "cannot connect to" } else { "the connection broke with" };
        let why =
            if error.is_timeout() { "no reply".to_owned() } else { clean_message(&cause, self.key.as_ref(), 120) };
        let detail = format!("{what} {}: {why}{remedy}", self.endpoint.host());
        Failure::new(AbstentionReason::Unreachable, detail, retry)
    }

    /// Until when the server asked this judge to wait, if that is not over.
    pub(super) fn paused(&self, now: Instant) -> Option<Instant> {
        self.waits().paused.filter(|until| *until > now)
    }

    /// Nobody of this judge asks here until then.
    pub(super) fn pause(&self, until: Instant) {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        waits.paused = waits.paused.max(Some(until));
    }

    /// Whether another is asked first.
    pub(super) fn avoided(&self, now: Instant) -> bool {
        self.waits().avoided.is_some_and(|until| until > now)
    }

    /// Until then, another is asked first.
    pub(super) fn avoid(&self, until: Instant) {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner).avoided = Some(until);
    }

    /// An answer came so long after its request had a place.
    pub(super) fn answered(&self, took: Duration) {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).note(took);
    }

    /// Whether a request that has so much time left would rather keep another waiting than be answered. Where nobody waits it may
    /// try.
    pub(super) fn is_too_late(&self, left: Duration) -> bool {
        let expected = || self.pace.lock().unwrap_or_else(PoisonError::into_inner).expected();
        self.endpoint.is_wanted() && expected().is_some_and(|expected| left < expected)
    }

    fn waits(&self) -> Waits {
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As much of an error's body as can matter.
async fn beginning(mut response: Response) -> Bytes {
    let mut body = BytesMut::new();
    let reading = async {
        while let Ok(Some(chunk)) = response.chunk().await
            && body.len() + chunk.len() <= MAX_ERROR_BYTES
        {
            body.extend_from_slice(&chunk);
        }
    };
    // What came by then has to do.
    let _ = timeout(ERROR_TIME, reading).await;
    body.freeze()
}

fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
