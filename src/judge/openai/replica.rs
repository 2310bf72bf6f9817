//! One judge's way to one `base_url`: single exchanges, each a request and its bounded reply.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response};
use tokio::sync::Semaphore;
use url::Url;

use super::client::{SetupError, Shared, root_cause};
use crate::config::JudgeConfig;
use crate::config::redact::{Secret, clean_message};
use crate::judge::reply::{Failure, Headers, Retry, read_failure};
use crate::judge::{Abstention, AbstentionReason};
use crate::time::wall;

/// A chat completion with 32 tokens and 20 alternatives each is under 100 kB.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// An error's message is near its beginning; a body may echo the whole request.
const MAX_ERROR_BYTES: usize = 1 << 16;

/// One `base_url` as one judge uses it: with that judge's key.
pub struct Replica {
    base_url: Url,
    client: Client,
    authorization: Option<HeaderValue>,
    key: Option<Secret>,
    pub(super) places: Arc<Semaphore>,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Replica").field(&self.base_url.as_str()).finish()
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
            base_url: base_url.clone(),
            client: shared.client(base_url.scheme())?,
            authorization,
            key: config.api_key.clone(),
            places: shared.places(base_url, config.max_in_flight),
        })
    }

    /// Where it is: without credentials, query and final slash.
    #[must_use]
    pub const fn base_url(&self) -> &Url {
        &self.base_url
    }

    /// A path of this server: `models` is below `base_url`; `/version` is beside its last part, so that `https://h/x/v1` gives
    /// `https://h/x/version`, where vLLM has what is not `OpenAI`'s.
    #[must_use]
    pub fn address(&self, path: &str) -> Url {
        let base = self.base_url.path().trim_end_matches('/');
        let path = match path.strip_prefix('/') {
            Some(beside) => format!("{}/{beside}", base.rsplit_once('/').map_or("", |(above, _)| above)),
            None => format!("{base}/{path}"),
        };
        let mut url = self.base_url.clone();
        url.set_path(&path);
        url
    }

    /// Asks for a path (see [`Replica::address`]) with the judge's key; takes no place of the judge's requests.
    ///
    /// # Errors
    /// No whole reply with status 200 `within` that time. The detail holds no credential.
    pub async fn get(&self, path: &str, within: Duration) -> Result<Reply, Abstention> {
        match tokio::time::timeout(within, self.exchange(self.client.get(self.address(path)))).await {
            Ok(outcome) => outcome.map_err(|failure| failure.abstention),
            Err(_) => {
                let detail = format!("{}: no answer within {} ms", self.host(), within.as_millis());
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
            let detail = format!("{}: status 200, but no JSON ({} bytes)", self.host(), reply.body.len());
            Abstention { reason: AbstentionReason::NotACompletion, detail }
        })
    }

    /// One request for a completion.
    pub(super) async fn complete(&self, body: Bytes) -> Result<Reply, Failure> {
        let json = HeaderValue::from_static("application/json");
        let request = self.client.post(self.address("chat/completions")).header(CONTENT_TYPE, json).body(body);
        self.exchange(request).await
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
                return Err(Failure::new(AbstentionReason::NotACompletion, detail, Retry::No));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let what = if error.is_connect() { "cannot connect to" } else { "the connection broke with" };
        let why = if error.is_timeout() {
            "no reply".to_owned()
        } else {
            clean_message(&root_cause(error), self.key.as_ref(), 120)
        };
        Failure::new(AbstentionReason::Unreachable, format!("{what} {}: {why}", self.host()), Retry::Backoff)
    }

    /// Host and port.
    pub(super) fn host(&self) -> String {
        let host = self.base_url.host_str().unwrap_or_default();
        format!("{host}:{}", self.base_url.port_or_known_default().unwrap_or_default())
    }
}

/// As much of an error's body as can matter: its status says enough without it.
async fn beginning(mut response: Response) -> Bytes {
    let mut body = BytesMut::new();
    while let Ok(Some(chunk)) = response.chunk().await
        && body.len() + chunk.len() <= MAX_ERROR_BYTES
    {
        body.extend_from_slice(&chunk);
    }
    body.freeze()
}

fn text_of(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
