//! The models' bytes: embedded or from an assets directory, their hashes checked against a manifest.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::digest::sha256;

/// File name of the speech model.
pub const SPEECH_FILE: &str = "silero_vad_openvino_16k.onnx";
/// File name of the face model.
pub const FACE_FILE: &str = "blazeface_short.onnx";

const MANIFEST: &str = include_str!("../../models/manifest.toml");
const SPEECH_MODEL: &[u8] = include_bytes!("../../models/silero_vad_openvino_16k.onnx");
const FACE_MODEL: &[u8] = include_bytes!("../../models/blazeface_short.onnx");

/// Why the local models cannot be used. Each names the file and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No library where it is looked for.
    #[error(
        "no ONNX Runtime library found (looked for {looked_for}); run `make setup`, or set ORT_DYLIB_PATH to a \
         libonnxruntime.so of version 1.17 or newer"
    )]
    LibraryMissing {
        /// The places, comma separated.
        looked_for: String,
    },
    /// It would report to Microsoft, so it is left alone.
    #[error(
        "ONNX Runtime would report what it does to Microsoft; set {variable}={value} in the environment to forbid it"
    )]
    Telemetry {
        /// What has to be set.
        variable: &'static str,
        /// To this.
        value: &'static str,
    },
    /// A file is there but it is no usable ONNX Runtime.
    #[error(
        "{} cannot be used as ONNX Runtime: {message}; run `make setup`, or set ORT_DYLIB_PATH to a libonnxruntime.so \
         of version 1.17 or newer", path.display()
    )]
    Library {
        /// The library that was tried.
        path: PathBuf,
        /// The loader's words.
        message: String,
    },
    /// A file of the assets directory is there but cannot be read.
    #[error("cannot read {}: {source}; make it readable, or leave `--assets` out to use the embedded one", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The manifest is not what it should be.
    #[error("{manifest} is not a model manifest: {message}; see models/README.md for its form")]
    Manifest {
        /// Which manifest.
        manifest: String,
        /// What is wrong in it.
        message: String,
    },
    /// The model's bytes are not those the manifest promises.
    #[error(
        "{file} has sha256 {found}, but {manifest} expects {expected}; restore the file, or if you changed it on \
         purpose write its hash into the manifest beside it"
    )]
    WrongHash {
        /// The model file.
        file: String,
        /// The manifest that was asked.
        manifest: String,
        /// Hash in the manifest, hexadecimal.
        expected: String,
        /// Hash of the bytes, hexadecimal.
        found: String,
    },
    /// ONNX Runtime does not take the model.
    #[error("{file} cannot be loaded: {message}; it must have the signature written in models/manifest.toml")]
    Session {
        /// The model file.
        file: String,
        /// The runtime's words.
        message: String,
    },
}

/// The bytes of both models, their hashes checked. Cheap to keep; sessions are made from it with
/// [`Measurer::new`](super::Measurer::new).
#[derive(Debug)]
pub struct Models {
    pub(super) speech: Checked,
    pub(super) faces: Checked,
}

/// One model whose hash is right.
pub(super) struct Checked {
    /// Its path, or its name where it is the embedded one.
    pub(super) file: String,
    pub(super) bytes: Cow<'static, [u8]>,
}

impl std::fmt::Debug for Checked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.file, self.bytes.len())
    }
}

impl Models {
    /// The embedded models, or for each the file `<assets>/models/<name>` where there is one, checked against
    /// `<assets>/models/manifest.toml` where there is one and else against the embedded manifest.
    ///
    /// # Errors
    /// A file cannot be read, a manifest cannot be parsed, or a hash differs.
    pub fn load(assets: Option<&Path>) -> Result<Self, ModelError> {
        let dir = assets.map(|assets| assets.join("models"));
        let own = dir.as_deref().map(|dir| dir.join("manifest.toml")).filter(|path| path.exists());
        let (name, manifest) = match own {
            Some(path) => (path.display().to_string(), Cow::Owned(String::from_utf8_lossy(&read(&path)?).into_owned())),
            None => ("the embedded manifest".to_owned(), Cow::Borrowed(MANIFEST)),
        };
        let manifest = Manifest::parse(name, &manifest)?;
        let model = |file: &str, embedded: &'static [u8]| {
            let replaced = dir.as_deref().map(|dir| dir.join(file)).filter(|path| path.exists());
            let (shown, bytes) = match replaced {
                Some(path) => (path.display().to_string(), Cow::Owned(read(&path)?)),
                None => (file.to_owned(), Cow::Borrowed(embedded)),
            };
            manifest.check(file, &shown, &bytes)?;
            Ok(Checked { file: shown, bytes })
        };
        Ok(Self { speech: model(SPEECH_FILE, SPEECH_MODEL)?, faces: model(FACE_FILE, FACE_MODEL)? })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    std::fs::read(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })
}

/// `models/manifest.toml`. Only what the program needs; source, licence and signature are for people.
struct Manifest {
    name: String,
    models: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    file: String,
    sha256: String,
}

impl Manifest {
    fn parse(name: String, text: &str) -> Result<Self, ModelError> {
        #[derive(Deserialize)]
        struct File {
            model: Vec<Entry>,
        }
        match toml::from_str::<File>(text) {
            Ok(file) => Ok(Self { name, models: file.model }),
            Err(error) => Err(ModelError::Manifest { manifest: name, message: error.message().to_owned() }),
        }
    }

    fn check(&self, file: &str, shown: &str, bytes: &[u8]) -> Result<(), ModelError> {
        let entry = self.models.iter().find(|entry| entry.file == file).ok_or_else(|| ModelError::Manifest {
            manifest: self.name.clone(),
            message: format!("it has no [[model]] with file = \"{file}\""),
        })?;
        let found = sha256([bytes]);
        if entry.sha256.eq_ignore_ascii_case(&found) {
            return Ok(());
        }
        Err(ModelError::WrongHash {
            file: shown.to_owned(),
            manifest: self.name.clone(),
            expected: entry.sha256.clone(),
            found,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::onnx::FaceModel;

    #[test]
    fn the_embedded_models_are_those_of_the_manifest() {
        Models::load(None).unwrap();
    }

    #[test]
    fn a_changed_model_is_refused_with_both_hashes() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("models")).unwrap();
        std::fs::write(dir.path().join("models").join(FACE_FILE), b"not the model").unwrap();
        let error = Models::load(Some(dir.path())).unwrap_err();
        let text = error.to_string();
        let ModelError::WrongHash { expected, found, .. } = error else { panic!("{text}") };
        assert_eq!(expected, "4ad7b9b90b38adb1493d0dca9cf9c824fe6acecdfb72df1f333117730321a397");
        assert!(text.contains(FACE_FILE) && text.contains(&expected) && text.contains(&found), "{text}");
    }

    #[test]
    fn a_changed_model_with_its_own_manifest_is_taken_and_fails_only_when_it_is_no_model() {
        let dir = tempfile::tempdir().unwrap();
        let models = dir.path().join("models");
        std::fs::create_dir(&models).unwrap();
        std::fs::write(models.join(FACE_FILE), b"not the model").unwrap();
        let entry = |file: &str, sha256: &str| format!("[[model]]\nfile = \"{file}\"\nsha256 = \"{sha256}\"\n");
        std::fs::write(models.join("manifest.toml"), entry(FACE_FILE, "00")).unwrap();
        let error = Models::load(Some(dir.path())).unwrap_err().to_string();
        assert!(error.contains("[[model]]") && error.contains(SPEECH_FILE), "{error}");

        let bytes = sha256([b"not the model"]).to_uppercase();
        let speech = Manifest::parse(String::new(), MANIFEST).unwrap();
        let speech = &speech.models.iter().find(|entry| entry.file == SPEECH_FILE).unwrap().sha256;
        let both = entry(FACE_FILE, &bytes) + &entry(SPEECH_FILE, speech);
        std::fs::write(models.join("manifest.toml"), both).unwrap();
        let loaded = Models::load(Some(dir.path())).unwrap();
        let error = FaceModel::new(&loaded).unwrap_err().to_string();
        assert!(error.contains(FACE_FILE) && error.contains("signature"), "{error}");
    }

    #[test]
    fn a_manifest_that_is_none_says_so() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("models")).unwrap();
        std::fs::write(dir.path().join("models/manifest.toml"), "model = 3").unwrap();
        let error = Models::load(Some(dir.path())).unwrap_err().to_string();
        assert!(error.contains("manifest.toml") && error.contains("models/README.md"), "{error}");
    }
}
