//! What is wrong with a configuration: all of it, each with its place and its remedy.

use std::fmt;

use super::redact::redact_text;

/// One thing wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file it is in, or "command line".
    pub file: String,
    /// The key or option, e.g. `judge[2] ("v2"): threshold` or `--hop-secs`. Empty when it concerns the whole file.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// Everything wrong with a configuration. Displayed one problem a line; holds no credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Notes one. What could hold a typed-in value is stripped of credentials, and of what could move a
    /// terminal's cursor, here, once for all.
    pub(crate) fn push(&mut self, place: &Place, key: &str, what: impl AsRef<str>, remedy: impl AsRef<str>) {
        let key = match (place.table.is_empty(), key.is_empty()) {
            (true, _) => key.to_owned(),
            (false, true) => place.table.clone(),
            (false, false) => format!("{}: {key}", place.table),
        };
        self.0.push(Problem {
            file: shown(&place.file),
            key: shown(&key),
            what: shown(what.as_ref()),
            remedy: shown(remedy.as_ref()),
        });
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

fn shown(text: &str) -> String {
    redact_text(text).chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Where in which file.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// File name as the user gave it, or "command line".
    pub file: String,
    /// Table, e.g. `[window]`; empty at the top level.
    pub table: String,
}

impl Place {
    pub(crate) fn new(file: &str, table: impl Into<String>) -> Self {
        Self { file: file.to_owned(), table: table.into() }
    }

    pub(crate) fn command_line() -> Self {
        Self::new("command line", "")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Config, Overrides, RawConfig};

    #[test]
    fn what_was_typed_does_not_reach_the_terminal_as_an_escape_sequence() {
        let esc = "\\u001b[2J\\n\\u0007";
        for text in [
            format!("[[source]]\nname = \"a{esc}\"\nurl = \"test:\""),
            format!("[[source]]\npath = \"/nowhere/{esc}\""),
            format!("[[judge]]\nname = \"v{esc}\"\nmodel = \"m\"\nbase_url = \"ftp://{esc}\""),
            format!("[window]\n\"{esc}\" = 1"),
            format!("\"{esc}\" = 1"),
            format!("[session]\nrule = \"{esc}\""),
            "a = \u{1b}[2J".to_owned(),
        ] {
            let raw = RawConfig::parse(&text, Path::new("\u{1b}]0;a.toml"));
            let problems = Config::build(raw, Overrides::default(), &|_| None).expect_err(&text);
            let told = problems.to_string();
            let lines = problems.0.len();
            assert!(!told.replace('\n', "").contains(char::is_control), "{told:?}");
            assert_eq!(told.lines().count(), lines, "one problem a line: {told:?}");
        }
    }

    #[test]
    fn what_follows_from_a_mistake_is_no_other() {
        let problems = |text: &str| {
            let raw = RawConfig::parse(text, Path::new("a.toml"));
            Config::build(raw, Overrides::default(), &|_| None).expect_err(text).to_string()
        };
        let told = problems("[window]\nwindow_secs = 0\n");
        assert!(told.contains("window_secs") && !told.contains("hop_secs"), "{told}");
        let told = problems("[window]\nwindow_secs = 0\nhop_secs = 0\n");
        assert!(told.contains("window_secs") && told.contains("hop_secs"), "{told}");
    }
}
