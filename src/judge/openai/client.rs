//! The HTTP clients: one without and one with TLS, and the base URLs they serve.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, redirect, retry};
use tokio::sync::Semaphore;
use url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// vLLM closes idle connections after 5 s; a request on one being closed would fail.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// Why judges could not be set up at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The HTTP or TLS library would not start, e.g. for want of the system's certificates.
    #[error("cannot set up the HTTP client: {0}; https needs the system's certificates (package ca-certificates)")]
    Client(String),
    /// The key cannot be sent in a header.
    #[error("judge {0}: the key holds characters that cannot be sent")]
    Key(Arc<str>),
}

/// Connections and limits shared by the judges of a panel.
#[derive(Default)]
pub(in crate::judge) struct Shared {
    plain: Option<Client>,
    tls: Option<Client>,
    permits: BTreeMap<Url, Arc<Semaphore>>,
}

impl Shared {
    /// The client for `http` or `https`; the first judge that needs one sets it up.
    pub(super) fn client(&mut self, scheme: &str) -> Result<Client, SetupError> {
        let tls = scheme != "http";
        let slot = if tls { &mut self.tls } else { &mut self.plain };
        if let Some(client) = slot {
            return Ok(client.clone());
        }
        let mut builder = Client::builder()
            .user_agent(concat!("ahwatch/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .retry(retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE);
        if !tls {
            // Plain http needs no certificates, so a machine without any can use it.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| SetupError::Client(root_cause(&error)))?;
        *slot = Some(client.clone());
        Ok(client)
    }

    /// The places for requests at a `base_url`, the same for all who name it.
    pub(super) fn places(&mut self, base_url: &Url, count: usize) -> Arc<Semaphore> {
        self.permits.entry(base_url.clone()).or_insert_with(|| Arc::new(Semaphore::new(count))).clone()
    }
}

/// The innermost of an error's causes: "Connection refused", not "error sending request for url (…)", which has the URL.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
