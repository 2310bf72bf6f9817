//! The HTTP clients: one without and one with TLS, and the endpoints they serve.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, redirect, retry};
use url::Url;

use super::endpoint::Endpoint;
use crate::config::JudgeConfig;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A host that is gone without a word breaks its connections after about 3 + 3 x 1 s, in time to ask another.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(3), Duration::from_secs(1), 3);
/// The same while bytes are unacknowledged, where the kernel sends no keepalives.
const UNACKNOWLEDGED: Duration = Duration::from_secs(6);

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

/// What the judges of a panel share: clients, and the endpoint behind each `base_url`.
#[derive(Default)]
pub(in crate::judge) struct Shared {
    plain: Option<Client>,
    tls: Option<Client>,
    /// Places at each `base_url`: the smallest number that a judge there was given.
    places: BTreeMap<Url, usize>,
    endpoints: BTreeMap<Url, Arc<Endpoint>>,
}

impl Shared {
    /// For the judges of one panel.
    pub(in crate::judge) fn new(judges: &[JudgeConfig]) -> Self {
        let mut shared = Self::default();
        for judge in judges {
            for url in &judge.base_urls {
                let places = shared.places.entry(url.clone()).or_insert(judge.max_in_flight);
                *places = judge.max_in_flight.min(*places);
            }
        }
        shared
    }

    /// All endpoints that judges were set up with.
    pub(in crate::judge) fn endpoints(self) -> Vec<Arc<Endpoint>> {
        self.endpoints.into_values().collect()
    }

    /// The endpoint behind this `base_url`, the same for all who name it.
    pub(super) fn endpoint(&mut self, base_url: &Url) -> Result<Arc<Endpoint>, SetupError> {
        if let Some(endpoint) = self.endpoints.get(base_url) {
            return Ok(Arc::clone(endpoint));
        }
        let client = self.client(base_url.scheme())?;
        let places = self.places.get(base_url).copied().unwrap_or(1);
        let endpoint = Arc::new(Endpoint::new(base_url.clone(), client, places));
        self.endpoints.insert(base_url.clone(), Arc::clone(&endpoint));
        Ok(endpoint)
    }

    /// The client for `http` or `https`; the first endpoint that needs one sets it up.
    fn client(&mut self, scheme: &str) -> Result<Client, SetupError> {
        let tls = scheme != "http";
        let slot = if tls { &mut self.tls } else { &mut self.plain };
        if let Some(client) = slot {
            return Ok(client.clone());
        }
        let (idle, interval, probes) = KEEPALIVE;
        let mut builder = bare(CONNECT_TIMEOUT)
            .tcp_keepalive(idle)
            .tcp_keepalive_interval(interval)
            .tcp_keepalive_retries(probes)
            .tcp_user_timeout(UNACKNOWLEDGED)
            // A connection for each request. On one that is used again, a reply that a broken proxy sends twice would be taken for
            // the next window's. vLLM closes them after 5 s anyway, which is a window.
            .pool_max_idle_per_host(0);
        if !tls {
            // Plain http needs no certificates, so a machine without any can use it.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| SetupError::Client(root_cause(&error)))?;
        *slot = Some(client.clone());
        Ok(client)
    }
}

/// A client that goes nowhere but where it is told, and sends nothing twice.
pub(crate) fn bare(connect_timeout: Duration) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("ahwatch/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(retry::never())
        .connect_timeout(connect_timeout)
}

/// The innermost of an error's causes: "Connection refused", not "error sending request for url (…)", which has the URL.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
