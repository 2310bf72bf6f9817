//! The API's description.

use super::*;

#[test]
fn the_document_describes_every_route_with_its_refusals() {
    let document: serde_json::Value = serde_json::from_str(&document().to_json().unwrap()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.contains_key("/v1/sessions/{id}/withdraw"), "{:?}", paths.keys());
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            let answers = operation["responses"].as_object().unwrap();
            assert!(operation["summary"].is_string() || operation["description"].is_string(), "{method} {path}");
            assert!(path == "/livez" || answers.contains_key("4XX"), "{method} {path} does not say how it refuses");
        }
    }
}

#[test]
fn a_participants_token_is_in_no_message() {
    assert_eq!(without_token("/join/ahw_secret"), "/join/***");
    assert_eq!(without_token("/v1/sessions"), "/v1/sessions");
}
