//! What training needs, looked at before anything starts: ms-swift, GPUs and their memory, the rows' files.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::recipe::Recipe;

/// What Python knows of ms-swift and of this machine's GPUs.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Machine {
    /// Versions of the packages that matter; None: not installed.
    pub versions: BTreeMap<String, Option<String>>,
    /// Memory of each GPU, bytes.
    pub gpus: Vec<u64>,
    /// The interpreter that runs `swift`, with its arguments.
    #[serde(skip)]
    pub python: Vec<String>,
}

/// What the rows of a training hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// How many.
    pub count: usize,
    /// What they ask, and how many ask it.
    pub asked: BTreeMap<Asked, usize>,
}

/// What a row asks, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// Its own system message, which wins over the recipe's.
    pub system: Option<String>,
    /// The question, with its `<video>` and `<audio>` tags.
    pub question: String,
}

impl Rows {
    /// What most of them ask.
    #[must_use]
    pub fn asked(&self) -> Asked {
        self.asked.iter().max_by_key(|(_, count)| **count).map(|(asked, _)| asked.clone()).unwrap_or_default()
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.count += other.count;
        for (asked, count) in other.asked {
            *self.asked.entry(asked).or_default() += count;
        }
        self
    }
}

/// Asks the interpreter that runs `swift`, since only its packages count.
const QUESTION: &str = "
import importlib.metadata as m, json
versions = {}
for name in ('ms-swift', 'transformers', 'peft', 'torch', 'msgspec'):
    try: versions[name] = m.version(name)
    except m.PackageNotFoundError: versions[name] = None
gpus = []
try:
    import torch
    gpus = [torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count())]
except Exception: pass
print('AHWATCH' + json.dumps({'versions': versions, 'gpus': gpus}))
";

/// Finds `swift` and asks its Python.
///
/// # Errors
/// It is not there, or is not ms-swift's; says what to do.
pub fn machine(swift: &Path) -> Result<Machine, String> {
    let install = "install ms-swift (`pip install ms-swift==4.6.0`), or name its program with --swift";
    let found = find(swift).ok_or_else(|| format!("there is no program {}; {install}", swift.display()))?;
    let foreign = || format!("{} is not ms-swift's program; {install}", found.display());
    let file = std::fs::File::open(&found).map_err(|e| format!("{}: cannot be read: {e}", found.display()))?;
    let mut first = Vec::new();
    let read = std::io::Read::read_to_end(&mut std::io::Read::take(file, 512), &mut first);
    read.map_err(|e| format!("{}: cannot be read: {e}", found.display()))?;
    let line = first.split(|b| *b == b'\n').next().and_then(|l| std::str::from_utf8(l).ok());
    let python = line.and_then(|l| l.strip_prefix("#!")).filter(|l| l.contains("python")).ok_or_else(foreign)?;
    let python: Vec<String> = python.split_whitespace().map(str::to_owned).collect();
    let (program, words) = python.split_first().ok_or_else(foreign)?;
    let answer = Command::new(program).args(words).args(["-c", QUESTION]).stdin(Stdio::null()).output();
    let answer = answer.map_err(|e| format!("{program}: cannot be run: {e}"))?;
    let text = String::from_utf8_lossy(&answer.stdout);
    let json = text.lines().find_map(|l| l.strip_prefix("AHWATCH")).ok_or_else(foreign)?;
    let machine: Machine = serde_json::from_str(json).map_err(|_| foreign())?;
    if machine.versions.get("ms-swift").is_none_or(Option::is_none) {
        return Err(foreign());
    }
    Ok(Machine { python, ..machine })
}

/// The program as the shell would find it.
fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return Some(program.to_owned()).filter(|p| p.is_file());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|p| p.is_file())
}

/// Whether the GPUs suffice.
///
/// # Errors
/// There is none, or their memory is less than the recipe's least; says both numbers.
pub fn enough(recipe: &Recipe, model: &str, machine: &Machine) -> Result<(), String> {
    let cpu = "(`--cpu` tries a recipe on a tiny model without one)";
    if machine.gpus.is_empty() {
        return Err(format!("PyTorch sees no GPU on this machine {cpu}"));
    }
    #[allow(clippy::cast_precision_loss, reason = "gigabytes for people")]
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    let weights = weights(Path::new(model)).map_or(recipe.weights_gb, gigabytes);
    let (needed, there) = (weights * recipe.memory_factor, gigabytes(machine.gpus.iter().sum()));
    if there < needed {
        return Err(format!(
            "{} GPU{} with {there:.0} GB in all cannot hold it: {model} has {weights:.0} GB of weights, and this recipe needs at least \
             {needed:.0} GB without offloading. More GPUs are used by ms-swift itself: set NPROC_PER_NODE and `--set deepspeed=zero3`; \
             `--no-check` starts anyway",
            machine.gpus.len(),
            if machine.gpus.len() == 1 { "" } else { "s" },
        ));
    }
    Ok(())
}

/// Bytes of the weights in a model's folder; None: it is no folder here.
fn weights(model: &Path) -> Option<u64> {
    let files = std::fs::read_dir(model).ok()?.flatten();
    let weights = files.filter(|f| f.path().extension().is_some_and(|e| e == "safetensors" || e == "bin"));
    Some(weights.filter_map(|f| f.metadata().ok()).map(|m| m.len()).sum()).filter(|sum| *sum > 0)
}

/// Whether the packages are there that the recipe needs and ms-swift does not bring.
///
/// # Errors
/// Names those that are missing, and the command that installs them.
pub fn packages(recipe: &Recipe, machine: &Machine) -> Result<(), String> {
    let there = |name: &&String| machine.versions.get(*name).is_some_and(Option::is_some);
    let missing: Vec<&str> = recipe.needs.iter().filter(|name| !there(name)).map(String::as_str).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let python = machine.python.join(" ");
    let names = missing.join(" ");
    Err(format!("this recipe needs {names}, which ms-swift does not install: `{python} -m pip install {names}`"))
}

/// Versions that differ from those the recipe was run with, for a warning.
#[must_use]
pub fn other_versions(recipe: &Recipe, machine: &Machine) -> Vec<String> {
    let differs = |(name, known): (&String, &String)| {
        let here = machine.versions.get(name).and_then(Clone::clone).unwrap_or_else(|| "none".into());
        (here != *known).then(|| format!("{name} is {here}; the recipe was run with {known}"))
    };
    recipe.versions.iter().filter_map(differs).collect()
}

/// Looks at every row: ms-swift would find a missing file only when it comes to the row, and a tag without its medium never.
///
/// # Errors
/// The first row that is wrong, by its line; no row at all.
pub fn rows(file: &Path, grpo: bool) -> Result<Rows, String> {
    let opened = std::fs::File::open(file).map_err(|e| format!("{}: cannot be read: {e}", file.display()))?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut rows = Rows::default();
    for (number, line) in (1..).zip(BufReader::new(opened).lines()) {
        let wrong = |what: String| format!("{}:{number}: {what}", file.display());
        let line = line.map_err(|e| wrong(format!("cannot be read: {e}")))?;
        let row: serde_json::Value = serde_json::from_str(&line).map_err(|e| wrong(format!("is no JSON: {e}")))?;
        let said = |n: usize, role: &str| {
            let message = &row["messages"][n];
            message["content"].as_str().filter(|_| message["role"] == role).map(str::to_owned)
        };
        let system = said(0, "system");
        let question = said(usize::from(system.is_some()), "user").unwrap_or_default();
        for (tag, keys) in [("<video>", ["videos", "video"]), ("<audio>", ["audios", "audio"])] {
            let listed: Vec<&str> =
                keys.iter().filter_map(|k| row[*k].as_array()).flatten().filter_map(|v| v.as_str()).collect();
            if question.matches(tag).count() != listed.len() {
                let what = format!(
                    "has {} {tag} in its question and {} files for them",
                    question.matches(tag).count(),
                    listed.len()
                );
                return Err(wrong(what));
            }
            for path in listed {
                if !folder.join(path).is_file() {
                    return Err(wrong(format!("there is no file {path}; run `ahwatch bah prepare` again")));
                }
            }
        }
        if grpo != row["solution"].is_string() {
            let remedy = if grpo { "prepare with --grpo" } else { "prepare without --grpo" };
            return Err(wrong(format!("is no row of this recipe; {remedy}")));
        }
        rows.count += 1;
        *rows.asked.entry(Asked { system, question }).or_default() += 1;
    }
    if rows.count == 0 {
        return Err(format!("{}: has no rows", file.display()));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPU: u64 = 80_000_000_000;

    #[test]
    fn too_little_memory_is_said_with_both_numbers() {
        let recipe = |name| Recipe::read(name).unwrap();
        let machine = |gpus: &[u64]| Machine { gpus: gpus.to_vec(), ..Machine::default() };
        assert!(enough(&recipe("v1"), "m", &machine(&[])).unwrap_err().contains("no GPU"));
        assert!(enough(&recipe("v1"), "m", &machine(&[GPU])).is_ok());
        let message = enough(&recipe("v2"), "m", &machine(&[GPU, GPU])).unwrap_err();
        assert!(
            message.contains("2 GPUs with 160 GB") && message.contains("280 GB") && message.contains("zero3"),
            "{message}"
        );
        assert!(enough(&recipe("v2"), "m", &machine(&[GPU; 4])).is_ok());
        let tiny = tempfile::tempdir().unwrap();
        std::fs::write(tiny.path().join("model.safetensors"), [0; 1000]).unwrap();
        assert!(enough(&recipe("v2"), tiny.path().to_str().unwrap(), &machine(&[8_000])).is_ok());
    }

    #[test]
    fn a_missing_package_is_said_with_its_remedy() {
        let machine = Machine { python: vec!["/v/python".into()], ..Machine::default() };
        assert_eq!(packages(&Recipe::read("v1").unwrap(), &machine), Ok(()));
        let grpo = Recipe::read("grpo").unwrap();
        assert!(packages(&grpo, &machine).unwrap_err().contains("`/v/python -m pip install msgspec`"));
        let versions = BTreeMap::from([("msgspec".to_owned(), Some("1".to_owned()))]);
        assert_eq!(packages(&grpo, &Machine { versions, ..machine }), Ok(()));
    }

    #[test]
    fn what_most_rows_ask_is_what_was_trained() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("train.jsonl");
        let user = |text: &str| serde_json::json!({"role": "user", "content": text});
        let text: String = [
            serde_json::json!({"messages": [user("a?"), {"role": "assistant", "content": "x"}]}),
            serde_json::json!({"messages": [{"role": "system", "content": "s"}, user("b?")]}),
            serde_json::json!({"messages": [{"role": "system", "content": "s"}, user("b?")]}),
        ]
        .iter()
        .flat_map(|row| [row.to_string(), "\n".to_owned()])
        .collect();
        std::fs::write(&file, text).unwrap();
        let found = rows(&file, false).unwrap();
        let most = Asked { system: Some("s".into()), question: "b?".into() };
        assert_eq!((found.count, found.asked.len(), found.asked()), (3, 2, most.clone()));
        assert_eq!(found.asked[&most], 2);
        let both = found.clone().and(found);
        assert_eq!((both.count, both.asked[&most]), (6, 4));
    }

    #[test]
    fn a_row_that_would_fail_or_be_misread_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.mp4"), "").unwrap();
        std::fs::write(dir.path().join("a.wav"), "").unwrap();
        let file = dir.path().join("train.jsonl");
        let check = |text: &str, grpo| {
            std::fs::write(&file, text).unwrap();
            rows(&file, grpo).map(|rows| rows.count)
        };
        let row = |question: &str, rest: &str| {
            format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{question}\"}}]{rest}}}\n")
        };
        let media = ",\"videos\":[\"a.mp4\"],\"audios\":[\"a.wav\"]";
        let good = row("<video> and <audio>", media);
        assert_eq!(check(&(good.clone() + &good), false), Ok(2));
        assert_eq!(
            check(&row("<video> and <audio>", ",\"video\":[\"a.mp4\"],\"audio\":[\"a.wav\"],\"solution\":\"x\""), true),
            Ok(1)
        );
        for (text, grpo, says) in [
            (String::new(), false, "has no rows"),
            ("{".to_owned(), false, ":1: is no JSON"),
            (good.clone() + &row("<video>", media), false, ":2: has 0 <audio> in its question and 1 files"),
            (
                row("<video> and <audio>", ",\"videos\":[\"b.mp4\"],\"audios\":[\"a.wav\"]"),
                false,
                "there is no file b.mp4",
            ),
            (good, true, "prepare with --grpo"),
        ] {
            let message = check(&text, grpo).unwrap_err();
            assert!(message.contains(says), "{message}");
        }
    }
}
