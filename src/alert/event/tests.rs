use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::*;
use crate::alert::fixtures;

fn wire(events: &[Event]) -> Vec<Value> {
    events.iter().map(|event| serde_json::to_value(CloudEvent::from(event)).unwrap()).collect()
}

fn kind(event: &Value) -> &str {
    event["type"].as_str().unwrap()
}

/// `UPDATE_SCHEMAS=1 cargo test schemas_on_disk` writes them.
#[test]
fn schemas_on_disk_are_those_of_the_types() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let update = std::env::var_os("UPDATE_SCHEMAS").is_some();
    let mut names = BTreeSet::new();
    for (name, schema) in schemas() {
        let file = dir.join(format!("{name}.schema.json"));
        if update {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(&file, serde_json::to_string_pretty(&schema).unwrap() + "\n").unwrap();
        }
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let on_disk: Value = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!(on_disk, schema, "{} is out of date: UPDATE_SCHEMAS=1 cargo test schemas_on_disk", file.display());
        names.insert(file);
    }
    let cloudevent_or_event = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("ah.") || name.starts_with("cloudevent")
    };
    let files = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
    let strays: Vec<PathBuf> = files.filter(cloudevent_or_event).filter(|file| !names.contains(file)).collect();
    assert_eq!(strays, Vec::<PathBuf>::new(), "schemas of events that do not exist");
}

#[test]
fn every_event_and_every_reason_stands_on_the_page_that_explains_them() {
    let page = include_str!("../../../docs/events.md");
    let readme = include_str!("../../../README.md");
    for kind in TYPES {
        assert!(readme.contains(&format!("`{kind}`")), "{kind} is not in README.md");
    }
    let all: BTreeMap<_, _> = schemas().into_iter().collect();
    let words = |kind: &str, name: &str| -> Vec<String> {
        let words = all[kind]["$defs"][name]["oneOf"].as_array().unwrap_or_else(|| panic!("{kind} has no {name}"));
        words.iter().map(|word| word["const"].as_str().unwrap().to_owned()).collect()
    };
    let lost = words("ah.window.lost.v1", "LostWord");
    let others = [words("ah.window.skipped.v1", "SkipWord"), words("ah.window.dropped.v1", "DropWord")].concat();
    let abstained = crate::judge::AbstentionReason::ALL.map(|reason| reason.as_str().to_owned());
    for word in lost.iter().chain(&others).chain(&abstained) {
        assert!(page.contains(&format!("`{word}`")), "{word} is not in docs/events.md");
    }
}

#[test]
fn every_event_is_valid_and_every_type_occurs() {
    let schemas: BTreeMap<&str, Value> = schemas().into_iter().collect();
    let validators: BTreeMap<&str, jsonschema::Validator> =
        schemas.iter().map(|(name, schema)| (*name, jsonschema::draft202012::new(schema).unwrap())).collect();
    let mut seen = BTreeSet::new();
    for event in wire(&fixtures::all()) {
        for (name, part) in [("cloudevent", &event), (kind(&event), &event["data"])] {
            let problems: Vec<String> = validators[name].iter_errors(part).map(|e| e.to_string()).collect();
            assert!(problems.is_empty(), "{name}: {problems:?}\n{event:#}");
        }
        assert_eq!(event["dataschema"], schemas[kind(&event)]["$id"]);
        seen.insert(kind(&event).to_owned());
    }
    assert_eq!(seen, TYPES.iter().map(ToString::to_string).collect());
}

/// A field that is written must be in the schema, and a schema must refuse what lacks a field: else it says nothing.
#[test]
fn schemas_name_every_field_and_require_what_is_always_there() {
    let schemas: BTreeMap<&str, Value> = schemas().into_iter().collect();
    for event in wire(&fixtures::all()) {
        for (name, part) in [("cloudevent", &event), (kind(&event), &event["data"])] {
            for (field, _) in part.as_object().unwrap() {
                assert!(schemas[name]["properties"].get(field).is_some(), "{name}.{field}");
                let mut without = part.clone();
                without.as_object_mut().unwrap().remove(field);
                let optional = ["subject", "calibrated"].contains(&field.as_str());
                assert_eq!(jsonschema::is_valid(&schemas[name], &without), optional, "{name} without {field}");
            }
        }
    }
}

#[test]
fn every_event_says_whose_where_and_when() {
    for event in wire(&fixtures::panel_session()) {
        let data = &event["data"];
        if kind(&event) == "ah.judge.changed.v1" {
            assert_eq!((data["session"].clone(), event.get("subject")), (Value::Null, None));
        } else {
            assert_eq!((&data["session"], &event["subject"]), (&"0195".into(), &"0195".into()));
        }
        assert!(
            data["continuity"].is_u64() && data["span"]["start_secs"].is_f64() && data["span"]["end_secs"].is_f64()
        );
        assert_eq!(event["time"], "2025-03-04T05:06:07.089Z");
    }
}

#[test]
fn ids_are_unique_and_made_the_same_way_each_time() {
    let ids = |events: &[Event]| wire(events).iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let once = ids(&fixtures::all());
    assert_eq!(once, ids(&fixtures::all()));
    assert_eq!(once.iter().collect::<BTreeSet<_>>().len(), once.len());
}

#[test]
fn no_credential_and_no_model_text_leaves() {
    for event in fixtures::all() {
        let text = serde_json::to_string(&CloudEvent::from(&event)).unwrap();
        for secret in ["hunter2", "admin", "token=", "secret words"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[test]
fn credentials_are_removed_from_any_address() {
    for (address, public) in [
        ("rtsp://u:p@cam/one", "rtsp://cam/one"),
        ("rtsp://u:p@ss@cam:554/one", "rtsp://cam:554/one"),
        ("rtsp://u:p/ss@cam/one", "rtsp://cam/one"),
        ("rtsp://u@cam/a@b?user=u&password=p", "rtsp://cam/a@b"),
        ("rtsp://cam/one#p", "rtsp://cam/one"),
        ("rtsp://[::1]:8554/one", "rtsp://[::1]:8554/one"),
        ("front door", "front door"),
        ("webcam:/dev/video0", "webcam:/dev/video0"),
        ("talk@home.mp4", "talk@home.mp4"),
    ] {
        assert_eq!(without_credentials(address), public, "{address}");
    }
}

#[test]
fn the_heuristic_never_speaks_of_ah_and_never_claims_calibration() {
    let events = wire(&fixtures::heuristic_session());
    let mut alerts = 0;
    for event in &events {
        let text = event.to_string().to_lowercase();
        assert!(!text.contains("a/h") && !text.contains("ambivalen"), "{text}");
        let data = &event["data"];
        match kind(event) {
            "ah.session.started.v1" | "ah.window.judged.v1" | "ah.session.ended.v1" => {
                assert_eq!((&data["kind"], &data["calibrated"]), (&"heuristic".into(), &false.into()));
            }
            "ah.alert.raised.v1" => {
                alerts += 1;
                assert_eq!((&data["judged_by"], &data["calibrated"]), (&"heuristic".into(), &false.into()));
                assert!(data["text"].as_str().unwrap().contains("long_pause 1.84 s"), "{data}");
                assert!(!data["text"].as_str().unwrap().contains("NaN"), "{data}");
                assert_eq!(data["cues"]["top"][0]["value"], 1.84);
            }
            _ => {}
        }
    }
    assert_eq!(alerts, 2, "session and episode");
    let judged = events.iter().find(|event| kind(event) == "ah.window.judged.v1").unwrap();
    assert_eq!(judged["data"]["votes"][0]["cues"]["top"][2]["value"], Value::Null, "not a number is null");
}

#[test]
fn every_alert_and_every_end_is_advisory() {
    for event in wire(&fixtures::all()) {
        if ["ah.alert.raised.v1", "ah.session.ended.v1"].contains(&kind(&event)) {
            assert!(event["data"]["advisory"].as_str().unwrap().starts_with("Advisory, not a diagnosis"), "{event}");
        }
    }
}

#[test]
fn a_sources_name_becomes_a_uri_reference() {
    assert_eq!(percent_encoded("front door/\u{fc}"), "front%20door%2F%C3%BC");
    let event = &wire(&fixtures::panel_session())[0];
    assert_eq!(event["source"], "/ahwatch/rtsp%3A%2F%2Fcam.example%2Fone");
}

/// The contract as a reader sees it: a change here is a change for every receiver.
#[test]
fn the_wire_of_a_panel_session() {
    let events = wire(&fixtures::panel_session());
    let first_of_each: BTreeMap<&str, &Value> = events.iter().rev().map(|event| (kind(event), event)).collect();
    insta::assert_json_snapshot!(first_of_each);
}

#[test]
fn the_wire_of_a_heuristic_session() {
    insta::assert_json_snapshot!(wire(&fixtures::heuristic_session()));
}

#[test]
fn the_wire_of_a_saturated_end() {
    insta::assert_json_snapshot!(wire(&fixtures::early_stop_session()).last());
}
