//! ONNX Runtime: finding it, and running the two models. The only file that knows the runtime's crate.
//!
//! The library is opened at run time, so the program starts, prints its help and judges with a remote panel on machines
//! without it. Nothing of the crate's own types leaves this file: the rest of the gate sees slices of `f32`.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use ndarray::{ArrayView2, ArrayView3, ArrayView4};
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;

use super::models::{Checked, FACE_FILE, ModelError, Models, SPEECH_FILE};

/// A model failed on an input. Does not happen with the shipped models; a replaced one may have another signature.
#[derive(Debug, thiserror::Error)]
#[error("{file} failed: {message}; it must have the signature written in models/manifest.toml")]
pub struct RunError {
    /// The model file.
    pub file: &'static str,
    /// The runtime's words.
    pub message: String,
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

/// What keeps Microsoft's builds of ONNX Runtime from reporting to Microsoft and from keeping a database in the user's cache.
/// They read it when they are opened; the switch of their interface ([`with_telemetry`]) comes after their first report.
///
/// [`with_telemetry`]: ort::environment::EnvironmentBuilder::with_telemetry
pub const NO_TELEMETRY: (&str, &str) = ("ORT_DISABLE_TELEMETRY", "1");

/// Whether that is set. Without it the library is not opened.
#[must_use]
pub fn telemetry_is_off() -> bool {
    env::var_os(NO_TELEMETRY.0).is_some_and(|value| value == NO_TELEMETRY.1)
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
    if !telemetry_is_off() {
        return Err(ModelError::Telemetry { variable: NO_TELEMETRY.0, value: NO_TELEMETRY.1 });
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
/// Length of the speech model's carried state, 2 x 1 x 128.
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
            let (Some(probability), Some(next)) = (outputs.get("output"), outputs.get("stateN")) else {
                return Ok(None);
            };
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

/// Numbers and scores of all anchors.
type FaceOutputs = (Vec<f32>, Vec<f32>);

/// The face model, loaded.
#[derive(Debug)]
pub(super) struct FaceModel(Session);

impl FaceModel {
    pub(super) fn new(models: &Models) -> Result<Self, ModelError> {
        session(&models.faces).map(Self)
    }

    /// `picture`: three planes R, G, B of 128 x 128, -1 to 1. Returns the anchors' numbers (896 x 16, in pixels of the
    /// input, relative to the anchor) and their scores (896, before the sigmoid).
    pub(super) fn run(&mut self, picture: &[f32]) -> Result<FaceOutputs, RunError> {
        let failed = |message: String| RunError { file: FACE_FILE, message };
        let mut run = || -> Result<Option<FaceOutputs>, ort::Error> {
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
