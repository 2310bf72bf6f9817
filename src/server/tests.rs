//! The API's description.

use super::*;

mod stalled;

#[test]
fn the_document_describes_every_route_with_its_refusals() {
    let document = document();
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
fn every_reference_of_the_document_leads_somewhere_and_queries_are_queries() {
    fn look(value: &Value, document: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(to) = fields.get("$ref").and_then(Value::as_str) {
                    assert!(document.pointer(&to[1..]).is_some(), "{to} leads nowhere");
                }
                fields.values().for_each(|value| look(value, document));
            }
            Value::Array(all) => all.iter().for_each(|value| look(value, document)),
            _ => {}
        }
    }
    let document = document();
    look(&document, &document);
    for (path, item) in document["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap();
                let place = if path.contains(&format!("{{{name}}}")) { "path" } else { "query" };
                assert_eq!(parameter["in"], place, "{path}: {name}");
            }
        }
    }
}

#[test]
fn a_participants_token_is_in_no_message() {
    assert_eq!(without_token("/join/ahw_secret"), "/join/***");
    assert_eq!(without_token("/v1/sessions"), "/v1/sessions");
}
