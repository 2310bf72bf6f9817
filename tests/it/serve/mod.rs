//! The service, run as a user runs it: over HTTP and UDP on loopback, with a scripted browser, a real camera, the endpoint that
//! decodes what it is sent.

mod access;
mod participant;
mod sessions;
mod sinks;
mod stalled;
mod stop;
mod streams;
mod tls;

use serde_json::{Value, json};

use crate::kit::endpoint::{Endpoint, Judge};
use crate::kit::service::Service;

/// A panel of three at the stand-in, whose judges are not examined.
pub fn panel(endpoint: &Endpoint) -> String {
    let table = |name: &&str| {
        format!("[[judge]]\nname = \"{name}\"\nbase_url = \"{}\"\nmodel = \"{name}\"\n", endpoint.base_url())
    };
    "[panel]\ncanary = false\n".to_owned() + &["v1", "v2", "v3"].iter().map(table).collect::<String>()
}

pub fn three() -> Endpoint {
    Endpoint::start([("v1", Judge::default()), ("v2", Judge::default()), ("v3", Judge::default())])
}

/// A camera's session.
pub fn camera(url: &str) -> Value {
    json!({ "source": { "kind": "url", "url": url }, "purpose": "research", "consent": { "reference": "form 1" } })
}

/// Makes a session; its id.
#[track_caller]
pub fn made(service: &Service, token: &str, wanted: &Value) -> String {
    let answer = service.post("/v1/sessions", token, wanted);
    assert_eq!(answer.status, 201, "{}", answer.text);
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), format!("/v1/sessions/{id}"));
    id
}
