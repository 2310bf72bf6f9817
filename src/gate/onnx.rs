//! ONNX Runtime and the two models: the only file that knows the runtime's crate.
//!
//! The library is opened at run time, so the program starts, prints its help and judges with a remote panel on machines
//! without it. Nothing of the crate's own types leaves this file: the rest of the gate sees slices of `f32`.

use std::borrow::Cow;
use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use ndarray::{ArrayView2, ArrayView3, ArrayView4};
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;
use serde::Deserialize;
use sha2::{Digest, Sha256};

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

/// A model failed on an input. Does not happen with the shipped models; a replaced one may have another signature.
#[derive(Debug, thiserror::Error)]
#[error("{file} failed: {message}; it must have the signature written in models/manifest.toml")]
pub struct RunError {
    /// The model file.
    pub file: &'static str,
    /// The runtime's words.
    pub message: String,
}

/// The bytes of both models, their hashes checked. Cheap to keep; sessions are made from it with
/// [`Measurer::new`](super::Measurer::new).
#[derive(Debug)]
pub struct Models {
    speech: Checked,
    faces: Checked,
}

struct Checked {
    file: String,
    bytes: Cow<'static, [u8]>,
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
        let found = Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
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

#[cfg(target_os = "macos")]
const LIBRARY: &str = "libonnxruntime.dylib";
#[cfg(not(target_os = "macos"))]
const LIBRARY: &str = "libonnxruntime.so";

/// Where `scripts/fetch_onnxruntime.sh` puts the library, from the project's root.
const FETCHED: &str = "third_party/onnxruntime";

/// Where the library is looked for: `ORT_DYLIB_PATH` alone if it is set; else `third_party/onnxruntime` beside the
/// executable, then up to three directories above it (a checkout's root, seen from `target/release` and
/// `target/debug/deps`), then below the working directory, then wherever the system's loader looks.
fn candidates(ort_dylib_path: Option<OsString>, exe: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = ort_dylib_path.filter(|path| !path.is_empty()) {
        return vec![path.into()];
    }
    let beside = exe.into_iter().flat_map(|exe| exe.ancestors().skip(1).take(4));
    let mut paths: Vec<PathBuf> = beside.map(|dir| dir.join(FETCHED).join(LIBRARY)).collect();
    paths.push(Path::new(".").join(FETCHED).join(LIBRARY));
    paths.push(LIBRARY.into());
    paths
}

/// The process's one ONNX Runtime. Kept for ever: the crate drops its environment with the last handle and cannot make
/// another.
static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();

/// Finds and opens ONNX Runtime, once per process. `doctor` calls it to say early what is wrong.
///
/// # Errors
/// There is none, or what is there is not usable.
pub fn load_library() -> Result<(), ModelError> {
    environment().map(|_| ())
}

fn environment() -> Result<&'static Environment, ModelError> {
    static OPENING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = OPENING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(environment) = ENVIRONMENT.get() {
        return Ok(environment);
    }
    let opened = open(&candidates(env::var_os("ORT_DYLIB_PATH"), env::current_exe().ok().as_deref()))?;
    Ok(ENVIRONMENT.get_or_init(|| opened))
}

/// Opens the first of `candidates` that exists; one without a directory is left to the system's loader.
fn open(candidates: &[PathBuf]) -> Result<Environment, ModelError> {
    let bare = |path: &Path| path.components().count() == 1;
    for path in candidates.iter().filter(|path| bare(path) || path.exists()) {
        let by_loader = bare(path);
        // The crate resolves relative paths against the executable's directory; ours are meant from the working one.
        let path = if by_loader { path.clone() } else { std::path::absolute(path).unwrap_or_else(|_| path.clone()) };
        match ort::init_from(&path) {
            Ok(builder) => {
                return builder
                    .with_telemetry(false)
                    .build()
                    .map_err(|error| ModelError::Library { path, message: error.to_string() });
            }
            Err(_) if by_loader => {}
            Err(error) => return Err(ModelError::Library { path, message: error.to_string() }),
        }
    }
    let looked_for = candidates.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    Err(ModelError::LibraryMissing { looked_for })
}

/// One thread: a window's measures take a few milliseconds, and many sources share the machine.
fn session(model: &Checked) -> Result<Session, ModelError> {
    let failed = |message: String| ModelError::Session { file: model.file.clone(), message };
    let environment = environment()?;
    let build = || -> Result<Session, ort::Error> {
        Session::builder(environment)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .commit_from_memory(&model.bytes)
    };
    build().map_err(|error| failed(error.to_string()))
}

/// New speech of one call to the speech model, in 16 kHz amplitudes.
pub(super) const SPEECH_STEP: usize = 512;
/// What the speech model sees again of the call before.
pub(super) const SPEECH_CONTEXT: usize = 64;
/// Length of the speech model's carried state, f32[2,1,128].
pub(super) const SPEECH_STATE: usize = 256;

/// The speech model, loaded.
#[derive(Debug)]
pub(super) struct SpeechModel(Session);

impl SpeechModel {
    pub(super) fn new(models: &Models) -> Result<Self, ModelError> {
        session(&models.speech).map(Self)
    }

    /// `input`: 64 amplitudes of context and 512 new ones, -1 to 1. `state`: read and replaced. Returns the probability
    /// of speech.
    pub(super) fn run(
        &mut self,
        input: &[f32; SPEECH_CONTEXT + SPEECH_STEP],
        state: &mut [f32; SPEECH_STATE],
    ) -> Result<f32, RunError> {
        let failed = |message: String| RunError { file: SPEECH_FILE, message };
        let mut run = || -> Result<Option<f32>, ort::Error> {
            let (Ok(x), Ok(s)) =
                (ArrayView2::from_shape((1, input.len()), input), ArrayView3::from_shape((2, 1, 128), &state[..]))
            else {
                return Ok(None);
            };
            let outputs = self.0.run(ort::inputs![
                "input" => TensorRef::from_array_view(x)?,
                "state" => TensorRef::from_array_view(s)?,
            ])?;
            let (Some(probability), Some(next)) = (outputs.get("output"), outputs.get("stateN")) else { return Ok(None) };
            let probability = probability.try_extract_tensor::<f32>()?.1.first().copied();
            let next: Option<[f32; SPEECH_STATE]> = next.try_extract_tensor::<f32>()?.1.try_into().ok();
            drop(outputs);
            if let Some(next) = next {
                *state = next;
            }
            Ok(probability)
        };
        run().map_err(|error| failed(error.to_string()))?.ok_or_else(|| failed("unexpected outputs".to_owned()))
    }
}

/// Side of the face model's square input, in pixels.
pub(super) const FACE_SIDE: usize = 128;
/// Anchors of the face model.
pub(super) const FACE_ANCHORS: usize = 896;
/// Numbers per anchor: box centre and size, then six points.
pub(super) const FACE_NUMBERS: usize = 16;

/// The face model, loaded.
#[derive(Debug)]
pub(super) struct FaceModel(Session);

impl FaceModel {
    pub(super) fn new(models: &Models) -> Result<Self, ModelError> {
        session(&models.faces).map(Self)
    }

    /// `picture`: three planes R, G, B of 128 x 128, -1 to 1. Returns the anchors' numbers (896 x 16, in pixels of the
    /// input, relative to the anchor) and their scores (896, before the sigmoid).
    pub(super) fn run(&mut self, picture: &[f32]) -> Result<(Vec<f32>, Vec<f32>), RunError> {
        let failed = |message: String| RunError { file: FACE_FILE, message };
        let mut run = || -> Result<Option<(Vec<f32>, Vec<f32>)>, ort::Error> {
            let Ok(x) = ArrayView4::from_shape((1, 3, FACE_SIDE, FACE_SIDE), picture) else { return Ok(None) };
            let outputs = self.0.run(ort::inputs!["input" => TensorRef::from_array_view(x)?])?;
            // Told apart by size: the names come from the converted file.
            let (mut numbers, mut scores) = (None, None);
            for (_, value) in &outputs {
                let values = value.try_extract_tensor::<f32>()?.1;
                match values.len() {
                    n if n == FACE_ANCHORS * FACE_NUMBERS => numbers = Some(values.to_vec()),
                    FACE_ANCHORS => scores = Some(values.to_vec()),
                    _ => {}
                }
            }
            Ok(numbers.zip(scores))
        };
        run().map_err(|error| failed(error.to_string()))?.ok_or_else(|| failed("unexpected outputs".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

        let bytes = Sha256::digest(b"not the model").iter().map(|byte| format!("{byte:02X}")).collect::<String>();
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

    #[test]
    fn a_missing_library_names_the_places_and_the_remedy() {
        let error = open(&["/nonexistent/libonnxruntime.so".into()]).unwrap_err();
        assert!(matches!(error, ModelError::LibraryMissing { .. }));
        let text = error.to_string();
        assert!(text.contains("/nonexistent/libonnxruntime.so"), "{text}");
        assert!(text.contains("make setup") && text.contains("ORT_DYLIB_PATH"), "{text}");
    }

    #[test]
    fn ort_dylib_path_is_the_only_place_when_set() {
        let exe = Path::new("/opt/ahwatch/bin/ahwatch");
        assert_eq!(candidates(Some("/x/lib.so".into()), Some(exe)), [PathBuf::from("/x/lib.so")]);
        let paths = candidates(Some(OsString::new()), Some(exe));
        assert_eq!(paths[0], Path::new("/opt/ahwatch/bin/third_party/onnxruntime").join(LIBRARY));
        assert_eq!(paths[1], Path::new("/opt/ahwatch/third_party/onnxruntime").join(LIBRARY));
        assert_eq!(paths.last().unwrap(), Path::new(LIBRARY));
    }
}
