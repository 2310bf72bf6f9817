//! Webhooks: HTTP POST, signed as <https://www.standardwebhooks.com> has it.
//!
//! A name is resolved for each connection, its private addresses are left out, and what is left is what is connected to: a
//! name that points elsewhere a moment later gains nothing. No redirect is followed and no proxy taken from the environment.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, StatusCode, header};
use url::Url;

use super::address::is_public;
use super::{SinkError, away};
use crate::alert::journal::{Failure, FailureKind, Item};
use crate::config::{Receiver, SinkConfig};
use crate::judge::openai::{bare, root_cause};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A webhook's receiver.
pub struct Webhook {
    client: Client,
    url: Url,
    key: standardwebhooks::Webhook,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The path may be a secret.
        f.debug_struct("Webhook").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

impl Webhook {
    /// Sets it up; opens no connection.
    ///
    /// # Errors
    /// The HTTP or TLS library would not start.
    pub fn new(config: &SinkConfig) -> Result<Self, SinkError> {
        let Receiver::Webhook { url, secret, allow_private } = &config.to else {
            return Err(SinkError::Secret(config.name.to_string()));
        };
        let key =
            standardwebhooks::Webhook::new(secret.expose()).map_err(|_| SinkError::Secret(config.name.to_string()))?;
        let wrong = |error: &dyn Error| SinkError::Client(config.name.to_string(), root_cause(error));
        let mut builder = bare(CONNECT_TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(4))
            .dns_resolver(Resolver { allow_private: *allow_private });
        if let Some(pem) = &config.authorities {
            let trusted = reqwest::Certificate::from_pem_bundle(pem).map_err(|error| wrong(&error))?;
            builder = builder.tls_certs_only(trusted);
        } else if url.scheme() == "http" {
            // Plain http needs no certificates, so a machine without any can use it.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| wrong(&error))?;
        Ok(Self { client, url: url.clone(), key })
    }

    /// What stands in `webhook-signature`: of the event's id, the seconds since 1970, and the body.
    ///
    /// # Errors
    /// The library would not sign.
    pub fn signature(&self, id: &str, seconds: i64, body: &[u8]) -> Result<String, String> {
        self.key.sign(id, seconds, body).map_err(|error| error.to_string())
    }

    /// Posts one event, signed at `now`.
    pub(super) async fn post(&self, item: &Item, now: Timestamp) -> Result<(), Failure> {
        let refused = |kind, detail: String| Failure { kind, detail };
        let seconds = now.as_second();
        let signature = self.signature(&item.id, seconds, item.json.as_bytes());
        let signature = signature.map_err(|error| refused(FailureKind::Refused, error))?;
        let request = self
            .client
            .post(self.url.clone())
            .header(header::CONTENT_TYPE, "application/cloudevents+json; charset=utf-8")
            .header(standardwebhooks::HEADER_WEBHOOK_ID, &*item.id)
            .header(standardwebhooks::HEADER_WEBHOOK_TIMESTAMP, seconds)
            .header(standardwebhooks::HEADER_WEBHOOK_SIGNATURE, signature)
            .body(item.json.as_bytes().to_vec());
        let status = request.send().await.map_err(|error| away(root_cause(&error)))?.status();
        let detail = format!("the receiver answered {status}");
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::GONE => Err(refused(FailureKind::Gone, format!("{detail}: it wants nothing any more"))),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => Err(away(detail)),
            status if status.is_server_error() => Err(away(detail)),
            status if status.is_redirection() => {
                Err(refused(FailureKind::Refused, format!("{detail}; redirects are not followed")))
            }
            _ => Err(refused(FailureKind::Refused, detail)),
        }
    }
}

/// Names to addresses, the private ones left out.
struct Resolver {
    allow_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let fit: Vec<SocketAddr> = found.filter(|at| allow_private || is_public(at.ip())).collect();
            if fit.is_empty() {
                let text =
                    "the name leads to this machine or a private network only; allow_private = true would allow it";
                return Err(text.into());
            }
            Ok(Box::new(fit.into_iter()) as Addrs)
        })
    }
}
