//! `meta_data.yml`: who the participants are.

use std::collections::BTreeMap;
use std::path::Path;

use super::BahError;
use super::yaml::{Node, Yaml};

/// A participant. None: not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Participant {
    /// Years.
    pub age: Option<u32>,
    /// `Age range`, e.g. `45 - 54 years`.
    pub age_range: Option<String>,
    /// `Gender`.
    pub gender: Option<String>,
    /// `Ethnicity simplified`, else `Ethnicity`.
    pub ethnicity: Option<String>,
    /// `Use in challenges`.
    pub use_in_challenges: Option<bool>,
    /// `Use in publications`.
    pub use_in_publications: Option<bool>,
}

/// Reads the file: participants by id.
///
/// # Errors
/// The file cannot be read, is no YAML, or holds what it should not; names line and column.
pub fn read_metadata(file: &Path) -> Result<BTreeMap<String, Participant>, BahError> {
    let (mut yaml, filled) = Yaml::open(file)?;
    let mut all = BTreeMap::new();
    if !filled {
        return Ok(all);
    }
    while let Some(id) = yaml.key()? {
        if yaml.next()? != Node::Map {
            return Err(yaml.wrong("a participant's entry must be a mapping"));
        }
        let mut one = Participant::default();
        let mut full_ethnicity = None;
        while let Some(key) = yaml.key()? {
            match key.to_lowercase().as_str() {
                "age" => one.age = text(&mut yaml, &key)?.and_then(|age| age.parse().ok()),
                "age range" => one.age_range = text(&mut yaml, &key)?,
                "gender" => one.gender = text(&mut yaml, &key)?,
                "ethnicity" => full_ethnicity = text(&mut yaml, &key)?,
                "ethnicity simplified" => one.ethnicity = text(&mut yaml, &key)?,
                "use in challenges" => one.use_in_challenges = yes_no(&mut yaml, &key)?,
                "use in publications" => one.use_in_publications = yes_no(&mut yaml, &key)?,
                _ => yaml.skip()?,
            }
        }
        one.ethnicity = one.ethnicity.or(full_ethnicity);
        if all.insert(id.clone(), one).is_some() {
            return Err(yaml.wrong(format!("participant {id} has a second entry")));
        }
    }
    Ok(all)
}

fn text(yaml: &mut Yaml, key: &str) -> Result<Option<String>, BahError> {
    let scalar = yaml.scalar(key)?;
    Ok(if scalar.is_null() { None } else { Some(scalar.text) })
}

fn yes_no(yaml: &mut Yaml, key: &str) -> Result<Option<bool>, BahError> {
    let Some(text) = text(yaml, key)? else { return Ok(None) };
    match text.to_lowercase().as_str() {
        "yes" | "true" => Ok(Some(true)),
        "no" | "false" => Ok(Some(false)),
        _ => Err(yaml.wrong(format!("{key} must be Yes or No"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, Participant>, BahError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read_metadata(file.path())
    }

    #[test]
    fn participants_are_read_as_the_release_writes_them() {
        let all = read(
            "'90001':\n  Age: 51\n  Age range: 45 - 54 years\n  Ethnicity: East Asian (Chinese,\n    Korean)\n  Ethnicity simplified: Asian\n  \
             Gender: Male\n  Is student: 'No'\n  Use in challenges: 'Yes'\n  Use in publications: No\n90002:\n  Gender: null\n",
        )
        .unwrap();
        let one = &all["90001"];
        assert_eq!((one.age, one.age_range.as_deref()), (Some(51), Some("45 - 54 years")));
        assert_eq!((one.gender.as_deref(), one.ethnicity.as_deref()), (Some("Male"), Some("Asian")));
        assert_eq!((one.use_in_challenges, one.use_in_publications), (Some(true), Some(false)));
        assert_eq!(all["90002"], Participant::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, says) in [
            ("'1':\n  Use in challenges: maybe\n", ":2:22: Use in challenges must be Yes or No"),
            ("'1':\n  Age: 3\n'1':\n  Age: 4\n", "second entry"),
            ("'1': x\n", "mapping"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
    }
}
