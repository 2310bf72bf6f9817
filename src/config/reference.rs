//! `docs/configuration.md`: every table and key as the schema has them. The test keeps the page equal to it.

use std::fmt::Write as _;

use serde_json::Value;

use super::config_schema;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");

const HEAD: &str = "# Configuration: every key

One TOML file, given by `--config`. The command line overrides it, what neither says is the default, and nothing else counts. A key that does
not exist is refused. `[[judge]]` tables may stand in a file of their own (`--panel`). Units are in the names. `ahwatch config check FILE` tells everything
that is wrong at once; `ahwatch config schema` prints this page as JSON Schema, for editors.

This page is made from that schema, and a test keeps it so (`UPDATE_PAGES=1 cargo test --lib pages_on_disk`).
";

/// The order of a file: who is watched, how it is judged, who is told.
const TABLES: [&str; 10] =
    ["source", "window", "gate", "judge", "panel", "session", "server", "controller", "journal", "sink"];

/// What a value is, or each of a list.
fn definition<'a>(schema: &'a Value, value: &'a Value) -> &'a Value {
    let value = value.get("items").unwrap_or(value);
    let reference = |value: &Value| value["$ref"].as_str().map(|name| name.trim_start_matches('#').to_owned());
    let optional = value["anyOf"].as_array().and_then(|any| any.iter().find_map(reference));
    let name = reference(value).or(optional);
    name.and_then(|name| schema.pointer(&name)).unwrap_or(value)
}

/// What may be written for a key.
fn kind(schema: &Value, value: &Value) -> String {
    let of = definition(schema, value);
    let words = |values: &[Value]| values.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    let list = if value["items"].is_null() { "" } else { "list of " };
    if let Some(any) = of["oneOf"].as_array() {
        return list.to_owned() + &words(&any.iter().map(|one| one["const"].clone()).collect::<Vec<_>>());
    }
    if let Some(any) = of["enum"].as_array() {
        return list.to_owned() + &words(any);
    }
    let first = |kind: &Value| kind.as_array().map_or_else(|| kind.clone(), |kinds| kinds[0].clone());
    let name = match first(&of["type"]).as_str() {
        Some("number") => "number".to_owned(),
        Some("integer") => "whole number".to_owned(),
        Some("boolean") => "`true`, `false`".to_owned(),
        Some("object") => {
            let keys: Vec<String> =
                of["properties"].as_object().into_iter().flatten().map(|(key, _)| format!("`{key}`")).collect();
            format!("table of {}", keys.join(", "))
        }
        _ => "text".to_owned(),
    };
    list.to_owned() + &name
}

fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

fn page() -> String {
    let schema = config_schema();
    let mut page = HEAD.to_owned();
    let tables = schema["properties"].as_object().expect("tables");
    assert_eq!(tables.len(), TABLES.len(), "a table is missing in this page");
    for table in TABLES {
        let value = &tables[table];
        let many = !value["items"].is_null();
        let title = if many { format!("[[{table}]]") } else { format!("[{table}]") };
        let words = value["description"].as_str().expect("a table says what it is");
        let _ = write!(page, "\n## `{title}`\n\n{}\n\n| key | | default | |\n|---|---|---|---|\n", cell(words));
        for (key, value) in definition(&schema, value)["properties"].as_object().expect("keys") {
            let default = value.get("default").map(|default| format!("`{default}`")).unwrap_or_default();
            let words = value["description"].as_str().expect("a key says what it is");
            let _ = writeln!(page, "| `{key}` | {} | {} | {} |", kind(&schema, value), cell(&default), cell(words));
        }
    }
    page
}

#[test]
fn pages_on_disk_are_those_of_the_schema() {
    let page = page();
    if std::env::var_os("UPDATE_PAGES").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    let on_disk = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(on_disk == page, "{PAGE} is out of date: UPDATE_PAGES=1 cargo test --lib pages_on_disk");
}
