//! What a watch needs of this machine.

use std::collections::BTreeMap;
use std::path::Path;

use super::Check;
use crate::config::{ClipCodec, Config, GateRequire, Input, Judging};
use crate::gate::{Models, load_library};
use crate::source::{DeviceKind, ELEMENTS, Element, Use, devices, version};

const GSTREAMER: &str = "GStreamer";
const MODELS: &str = "local models";

/// GStreamer, its elements by package, devices, ONNX Runtime and the models. Without a configuration as a watch without one.
#[must_use]
pub fn machine(config: Option<&Config>, assets: Option<&Path>) -> Vec<Check> {
    let mut checks = elements(config);
    checks.push(found_devices(config));
    checks.push(isolation(config));
    checks.extend(models(config, assets));
    checks
}

fn elements(config: Option<&Config>) -> Vec<Check> {
    let found = match version() {
        Ok(found) => found,
        Err(error) => {
            return vec![Check::failed(GSTREAMER, "version", error.to_string(), "run `make setup`")];
        }
    };
    let mut packages: BTreeMap<&str, Vec<Element>> = BTreeMap::new();
    for element in ELEMENTS {
        packages.entry(element.package).or_default().push(element);
    }
    let package = |(package, elements): (&str, Vec<Element>)| {
        let (there, missing): (Vec<_>, Vec<_>) = elements.into_iter().partition(Element::installed);
        let names = |elements: &[Element]| elements.iter().map(|e| e.name).collect::<Vec<_>>().join(", ");
        if missing.is_empty() {
            return Check::ok(GSTREAMER, package, names(&there));
        }
        let mut uses: Vec<&str> = missing.iter().map(|element| element.used_for.as_str()).collect();
        uses.dedup();
        let finding = format!("missing: {} (for {})", names(&missing), uses.join("; "));
        let remedy = format!("apt-get install {package}, or run `make setup`");
        if missing.iter().any(|element| needed(element.used_for, config)) {
            Check::failed(GSTREAMER, package, finding, remedy)
        } else {
            Check::warning(GSTREAMER, package, finding, remedy)
        }
    };
    let version = Check::ok(GSTREAMER, "version", found);
    std::iter::once(version).chain(packages.into_iter().map(package)).collect()
}

/// Whether the configuration cannot do without. What opens a device is asked when its source's pipeline is built.
fn needed(used_for: Use, config: Option<&Config>) -> bool {
    match used_for {
        Use::Always => true,
        Use::H264Clips => config.is_some_and(|config| config.window.clip_codec == ClipCodec::H264),
        Use::Rtsp => config.is_some_and(|c| c.sources.iter().any(|source| matches!(source.input, Input::Rtsp(_)))),
        Use::V4l2 | Use::PipeWire | Use::Pulse | Use::Alsa | Use::Test | Use::Decoding | Use::Prepare => false,
    }
}

fn found_devices(config: Option<&Config>) -> Check {
    const WHAT: &str = "cameras and microphones";
    let found = match devices() {
        Ok(found) => found,
        Err(error) => return Check::failed("devices", WHAT, error.to_string(), "run `make setup`"),
    };
    let list = |kind| {
        let names: Vec<_> = found.iter().filter(|d| d.kind == kind).map(|device| device.source.as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let finding = format!("cameras: {}; microphones: {}", list(DeviceKind::Camera), list(DeviceKind::Microphone));
    let wanted = config.is_some_and(|config| {
        config.sources.iter().any(|source| matches!(source.input, Input::Webcam(..) | Input::Mic(_)))
    });
    if found.is_empty() && wanted {
        let remedy = "plug it in; in a container, hand it in; a user may need the groups video and audio";
        return Check::failed("devices", WHAT, finding, remedy);
    }
    Check::ok("devices", WHAT, finding)
}

/// What of `isolation = "process"` this kernel can hold.
fn isolation(config: Option<&Config>) -> Check {
    const WHAT: &str = "isolation = \"process\"";
    let Some(missing) = crate::isolate::available().missing() else {
        return Check::ok("kernel", WHAT, "Landlock and seccomp hold what it decodes in");
    };
    let finding = format!("a process that decodes is not fully confined: this kernel lacks {missing}");
    if config.is_some_and(|config| config.sources.iter().any(|source| source.isolated)) {
        Check::warning(
            "kernel",
            WHAT,
            finding,
            "use a newer kernel, or one with `landlock` in its list of security modules",
        )
    } else {
        Check::ok("kernel", WHAT, finding)
    }
}

fn models(config: Option<&Config>, assets: Option<&Path>) -> Vec<Check> {
    let deciding = config.is_none_or(|config| {
        matches!(config.judging, Judging::Cues { .. }) || config.gate.require != GateRequire::None
    });
    let runtime = match load_library() {
        Ok(()) => Check::ok(MODELS, "ONNX Runtime", "can be used"),
        Err(error) if deciding => Check::failed(MODELS, "ONNX Runtime", error.to_string(), "run `make setup`"),
        Err(error) => {
            let finding = format!("speech and faces are not measured, their flags are null: {error}");
            Check::warning(MODELS, "ONNX Runtime", finding, "run `make setup`")
        }
    };
    let hashes = match Models::load(assets) {
        Ok(_) => Check::ok(MODELS, "hashes", "as in their manifest"),
        Err(error) => {
            Check::failed(MODELS, "hashes", error.to_string(), "restore the file, or its line in the manifest")
        }
    };
    vec![runtime, hashes]
}

/// The configuration and what it names: its sources' pipelines are built, none is opened.
#[must_use]
pub fn configured(config: &Config) -> Vec<Check> {
    let judges = match &config.judging {
        Judging::Cues { .. } => "the embedded hesitation-cue index".to_owned(),
        Judging::Panel(judges) => format!("a panel of {}", judges.len()),
    };
    let mut checks = vec![Check::ok("configuration", "values", format!("in order; judged by {judges}"))];
    for source in &config.sources {
        let what = format!("source {}", source.name);
        checks.push(match crate::run::build_source(source, config) {
            Ok(()) => Check::ok("configuration", &what, "its pipeline can be built"),
            Err(error) => Check::failed("configuration", &what, error.to_string(), "install or correct what is named"),
        });
    }
    checks
}
