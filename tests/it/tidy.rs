//! The rules of this tree that no compiler checks. Each is a function from files to complaints, so that it can be seen to fail.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// A file of the tree: its path from the top, with `/`, and its text.
type File = (String, String);

const LONGEST: usize = 420;
const GSTREAMER_WORDS: [&str; 5] = ["Sample", "Buffer", "Segment", "Pad", "Caps"];
const DOCS: [&str; 9] = [
    "docs",
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "deploy/README.md",
    "models/README.md",
    "tests/conformance/README.md",
    "web/README.md",
];
/// Where core types live. Their wire twins, which serde knows, live at the rim.
const CORE: [&str; 8] = [
    "src/time.rs",
    "src/source/",
    "src/window/",
    "src/gate/",
    "src/encode/",
    "src/judge/",
    "src/session/",
    "src/alert/mod.rs",
];

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text files below these folders, and these files.
fn tree(roots: &[&str]) -> Vec<File> {
    let mut files = Vec::new();
    let mut paths: Vec<_> = roots.iter().map(|root| top().join(root)).collect();
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            files.push((path.strip_prefix(top()).unwrap().to_str().unwrap().replace('\\', "/"), text));
        }
    }
    assert!(!files.is_empty(), "nothing found below {roots:?}");
    files.sort();
    files
}

fn rust(roots: &[&str]) -> Vec<File> {
    tree(roots).into_iter().filter(|(path, _)| Path::new(path).extension().is_some_and(|e| e == "rs")).collect()
}

/// Code without its comments, strings and character literals.
fn code(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(c) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("r#\"") {
            rest.get(3..).and_then(|r| r.find("\"#")).map_or(rest.len(), |end| end + 5)
        } else if c == '"' {
            let mut escaped = false;
            let ends = |c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            };
            rest.get(1..).and_then(|r| r.find(ends)).map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") {
            4
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.push(' ');
        rest = &rest[skip..];
    }
    out
}

fn names(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|name| !name.is_empty())
}

/// Files that use a crate outside the places it belongs to.
fn strays(files: &[File], krate: &str, places: &[&str]) -> Vec<String> {
    let alias = if krate == "gstreamer" { "gst" } else { krate };
    let is_it = |name: &str| name == alias || name == krate || name.starts_with(&format!("{krate}_"));
    files
        .iter()
        .filter(|(path, _)| !places.iter().any(|place| path.starts_with(place)))
        .filter(|(_, text)| names(&code(text)).any(is_it))
        .map(|(path, _)| format!("{path} uses {krate}, which belongs to {}", places.join(", ")))
        .collect()
}

fn too_long(files: &[File]) -> Vec<String> {
    let lines = files.iter().map(|(path, text)| (path, text.lines().count()));
    lines.filter(|(_, n)| *n > LONGEST).map(|(path, n)| format!("{path} has {n} lines, more than {LONGEST}")).collect()
}

/// The words of a camel-case name.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for c in name.chars() {
        match words.last_mut() {
            Some(word) if !c.is_uppercase() => word.push(c),
            _ => words.push(c.to_string()),
        }
    }
    words
}

fn borrowed_names(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in files {
        let code = code(text);
        let names: Vec<_> = names(&code).collect();
        for pair in names.windows(2).filter(|pair| ["struct", "enum", "trait", "type"].contains(&pair[0])) {
            if let Some(word) = words(pair[1]).iter().find(|word| GSTREAMER_WORDS.contains(&word.as_str())) {
                wrong.push(format!("{path}: {} bears GStreamer's word {word}", pair[1]));
            }
        }
    }
    wrong
}

fn not_embedded(assets: &[File], files: &[File]) -> Vec<String> {
    let embedded = |path: &str| files.iter().any(|(_, text)| text.contains(&format!("/{path}\")")));
    assets.iter().filter(|(p, _)| !embedded(p)).map(|(p, _)| format!("{p} is not embedded by include_str!")).collect()
}

fn serialised_core(files: &[File]) -> Vec<String> {
    let core = files.iter().filter(|(path, _)| CORE.iter().any(|core| path.starts_with(core)));
    let serialised = core.filter(|(_, text)| names(&code(text)).any(|name| name == "Serialize"));
    serialised.map(|(path, _)| format!("{path}: core types know no serde::Serialize")).collect()
}

fn without_doc(files: &[File]) -> Vec<String> {
    let modules = files.iter().filter(|(path, _)| !path.ends_with("/tests.rs") && !path.contains("/tests/"));
    modules.filter(|(_, text)| !text.starts_with("//! ")).map(|(p, _)| format!("{p} does not say what it is")).collect()
}

fn unfinished(files: &[File]) -> Vec<String> {
    let marks = ["TODO", "FIXME", "XXX", "unimplemented!", "todo!"];
    let mut found = Vec::new();
    for (path, text) in files {
        found.extend(marks.iter().filter(|mark| text.contains(*mark)).map(|mark| format!("{path}: {mark}")));
    }
    found
}

/// What stands in backquotes, and the lines of fenced blocks.
fn commands(text: &str) -> Vec<&str> {
    let (mut fenced, mut found) = (false, Vec::new());
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            found.push(line.trim().trim_start_matches("$ "));
        } else {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found
}

/// `make X` where the Makefile has no X.
fn unknown_targets(files: &[File], makefile: &str) -> Vec<String> {
    let targets: BTreeSet<&str> = makefile.lines().filter_map(|line| line.split_once(':')).map(|(t, _)| t).collect();
    let mut wrong = Vec::new();
    for (path, text) in files {
        let makes = commands(text).into_iter().filter_map(|command| command.strip_prefix("make "));
        for target in makes.filter_map(|rest| rest.split_whitespace().next()).filter(|t| !targets.contains(t)) {
            wrong.push(format!("{path}: the Makefile has no target {target}"));
        }
    }
    wrong
}

/// Options of `ahwatch watch` that its help does not know.
fn unknown_options(files: &[File], help: &str) -> Vec<String> {
    let known: BTreeSet<&str> = help.split([' ', '\n', ',', '[', ']', '=', '`']).collect();
    let mut wrong = Vec::new();
    for (path, text) in files {
        for command in commands(text).into_iter().filter(|command| command.contains("ahwatch watch ")) {
            let options = command.split_whitespace().take_while(|word| *word != "#").filter(|w| w.starts_with("--"));
            wrong.extend(options.filter(|o| !known.contains(o)).map(|o| format!("{path}: watch has no option {o}")));
        }
    }
    wrong
}

/// Links inside the tree that lead nowhere.
fn broken_links(files: &[File], exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for (path, text) in files {
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for target in targets.filter(|target| !target.is_empty() && !target.contains("://")) {
            if !exists(&Path::new(path).with_file_name(target)) {
                wrong.push(format!("{path}: there is no {target}"));
            }
        }
    }
    wrong
}

#[track_caller]
fn holds(complaints: &[String]) {
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// The checker complains exactly once about this made-up file.
#[track_caller]
fn fails(path: &str, text: &str, check: impl Fn(&[File]) -> Vec<String>) {
    let complaints = check(&[(path.to_owned(), text.to_owned())]);
    assert_eq!(complaints.len(), 1, "{complaints:?} about {text}");
}

#[test]
fn foreign_crates_stay_in_their_files() {
    let places = [
        ("gstreamer", vec!["src/source/", "src/encode/", "tests/it/kit/", "benches/"]),
        ("ort", vec!["src/gate/onnx.rs"]),
        ("reqwest", vec!["src/judge/openai", "src/alert/sink/webhook.rs", "tests/"]),
        ("rusqlite", vec!["src/alert/journal/", "tests/it/journal"]),
        ("rumqttc", vec!["src/alert/sink/mqtt.rs", "tests/it/journal"]),
        ("str0m", vec!["src/server/whip/", "tests/it/kit/peer.rs"]),
        ("if_addrs", vec!["src/run/whip.rs"]),
        ("axum", vec!["src/server/", "src/run/serve.rs", "tests/", "benches/load.rs", "benches/serving.rs"]),
        ("ratatui", vec!["src/screen/", "src/run/terminal.rs"]),
        ("crossterm", vec!["src/screen/", "src/run/terminal.rs"]),
    ];
    for (krate, places) in places {
        holds(&strays(&rust(&["src", "tests", "benches", "examples"]), krate, &places));
        let check = |files: &[File]| strays(files, krate, &places);
        fails("src/session/mod.rs", &format!("fn f() {{ {krate}::init() }}"), check);
        holds(&check(&[("src/session/mod.rs".into(), format!("// {krate}::init\nconst S: &str = \"use {krate}\";"))]));
        assert!(!strays(&rust(&["src"]), krate, &["nowhere"]).is_empty(), "{krate} is found where it is");
    }
    fails("src/window/mod.rs", "use gstreamer_app::AppSink;", |files| strays(files, "gstreamer", &["src/source/"]));
    fails("src/window/mod.rs", "let a = '\"'; gst::init()", |files| strays(files, "gstreamer", &["src/source/"]));
}

#[test]
fn files_are_short() {
    holds(&too_long(&rust(&["src"])));
    fails("src/a.rs", &"\n".repeat(LONGEST + 1), too_long);
}

#[test]
fn no_type_bears_a_word_of_gstreamer() {
    holds(&borrowed_names(&rust(&["src"])));
    fails("src/a.rs", "pub struct AudioSample;", borrowed_names);
    fails("src/a.rs", "enum Caps {}", borrowed_names);
    holds(&borrowed_names(&[("src/a.rs".into(), "struct Padding; struct Sampling; // struct Pad\n".into())]));
}

#[test]
fn prompts_and_pipelines_are_embedded() {
    let assets = tree(&["models/prompts", "models/recipes", "pipelines"]);
    holds(&not_embedded(&assets, &rust(&["src"])));
    fails("pipelines/new.gst", "", |files| not_embedded(files, &rust(&["src"])));
}

#[test]
fn core_types_are_not_serialised() {
    holds(&serialised_core(&rust(&["src"])));
    fails("src/session/mod.rs", "#[derive(serde::Serialize)]\nstruct S;", serialised_core);
    holds(&serialised_core(&[("src/judge/reply.rs".into(), "#[derive(Deserialize)]".into())]));
}

#[test]
fn every_module_says_what_it_is() {
    holds(&without_doc(&rust(&["src", "examples", "benches", "tests"])));
    fails("src/a.rs", "use std::fmt;\n", without_doc);
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    holds(&unfinished(&rust(&["src"])));
    fails("src/a.rs", "fn f() { todo!() }", unfinished);
}

#[test]
fn documents_name_commands_and_files_that_exist() {
    let documents = tree(&DOCS);
    let makefile = std::fs::read_to_string(top().join("Makefile")).unwrap();
    holds(&unknown_targets(&[documents.clone(), rust(&["src"])].concat(), &makefile));
    fails("README.md", "say `make coffee`", |files| unknown_targets(files, &makefile));
    fails("README.md", "```\nmake coffee\n```", |files| unknown_targets(files, &makefile));

    let help = Command::new(env!("CARGO_BIN_EXE_ahwatch")).args(["watch", "--help"]).output().unwrap().stdout;
    let help = String::from_utf8(help).unwrap();
    holds(&unknown_options(&documents, &help));
    fails("README.md", "```\nahwatch watch --psychic x.mp4\n```", |files| unknown_options(files, &help));

    holds(&broken_links(&documents, |path| top().join(path).exists()));
    fails("README.md", "[see](no/such.md#part)", |files| broken_links(files, |path| top().join(path).exists()));
}
