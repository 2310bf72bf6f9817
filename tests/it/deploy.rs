//! `deploy/`: what can be held without a GPU, a registry of images or a cluster.
//!
//! Each rule is a function from documents to complaints, so that it can be seen to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, PersistentVolumeClaim, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::kit::run::ahwatch;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn documents(yaml: &str) -> Vec<Value> {
    use serde::Deserialize as _;
    yaml_serde::Deserializer::from_str(yaml).map(|document| Value::deserialize(document).unwrap()).collect()
}

fn files(folder: &str, extension: &str) -> Vec<String> {
    let entries = std::fs::read_dir(path(folder)).unwrap().map(|entry| entry.unwrap().path());
    let wanted = entries.filter(|path| path.extension().is_some_and(|e| e == extension));
    let mut names: Vec<_> = wanted.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

/// All objects of the cluster.
fn manifests() -> Vec<Value> {
    let names = files("deploy/kubernetes", "yaml").into_iter().filter(|name| name != "kustomization.yaml");
    names.flat_map(|name| documents(&text(&format!("deploy/kubernetes/{name}")))).collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or("nameless")
}

/// The parts of `written` that are not in `read`, which is the same after Kubernetes' types have seen it.
fn lost(at: &str, written: &Value, read: &Value) -> Vec<String> {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => written
            .iter()
            .flat_map(|(key, value)| {
                let at = format!("{at}.{key}");
                read.get(key).map_or_else(|| vec![format!("{at} is unknown")], |read| lost(&at, value, read))
            })
            .collect(),
        (Value::Array(written), Value::Array(read)) if written.len() == read.len() => {
            let each = written.iter().zip(read).enumerate();
            each.flat_map(|(i, (written, read))| lost(&format!("{at}[{i}]"), written, read)).collect()
        }
        _ if written == read => Vec::new(),
        _ => vec![format!("{at} is {written}, and is read as {read}")],
    }
}

fn typed<T: DeserializeOwned + Serialize>(object: &Value) -> Vec<String> {
    let at = format!("{} {}", object["kind"].as_str().unwrap_or("?"), name(object));
    match serde_json::from_value::<T>(object.clone()) {
        Err(error) => vec![format!("{at}: {error}")],
        Ok(read) => lost(&at, object, &serde_json::to_value(read).unwrap()),
    }
}

/// Fields that Kubernetes 1.33 does not have, or has elsewhere.
fn misplaced(objects: &[Value]) -> Vec<String> {
    let check = |object: &Value| match object["kind"].as_str() {
        Some("Deployment") => typed::<Deployment>(object),
        Some("Service") => typed::<Service>(object),
        Some("Namespace") => typed::<Namespace>(object),
        Some("PersistentVolumeClaim") => typed::<PersistentVolumeClaim>(object),
        Some("NetworkPolicy") => typed::<NetworkPolicy>(object),
        Some("PodDisruptionBudget") => typed::<PodDisruptionBudget>(object),
        kind => vec![format!("{kind:?} is not known here")],
    };
    objects.iter().flat_map(check).collect()
}

/// Whether all labels of `selector` are among `labels`; an empty selector is none.
fn selects(selector: &Value, labels: &Value) -> bool {
    let selector = selector.as_object();
    selector.is_some_and(|s| !s.is_empty() && s.iter().all(|(key, value)| labels[key] == *value))
}

fn wrong_judges(objects: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    for judge in of_kind(objects, "Deployment") {
        let mut complain = |what: &str| wrong.push(format!("{}: {what}", name(judge)));
        let (spec, labels) = (&judge["spec"]["template"]["spec"], &judge["spec"]["template"]["metadata"]["labels"]);
        if !selects(&judge["spec"]["selector"]["matchLabels"], labels) {
            complain("its selector does not match its pods");
        }
        let services: Vec<_> =
            of_kind(objects, "Service").filter(|service| selects(&service["spec"]["selector"], labels)).collect();
        if services.len() != 1 || name(services[0]) != name(judge) {
            complain("there is not exactly one Service of its name");
        }
        if !of_kind(objects, "PodDisruptionBudget").any(|b| selects(&b["spec"]["selector"]["matchLabels"], labels)) {
            complain("no PodDisruptionBudget holds it");
        }
        for key in ["hostNetwork", "hostPID", "hostIPC"] {
            if !spec[key].is_null() {
                complain(&format!("{key} is set"));
            }
        }
        if spec["automountServiceAccountToken"] != false {
            complain("it gets a token of the cluster");
        }
        for container in spec["containers"].as_array().into_iter().flatten() {
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                if container[probe]["httpGet"]["path"] != "/health" {
                    complain(&format!("no {probe} on /health"));
                }
            }
            let image = container["image"].as_str().unwrap_or_default();
            if !image.rsplit('/').next().unwrap_or_default().contains(':') || image.ends_with(":latest") {
                complain("its image has no version");
            }
            if container["resources"]["limits"]["memory"].is_null()
                || container["resources"]["limits"]["nvidia.com/gpu"] != "1"
            {
                complain("limits of memory and GPU are not set");
            }
            if container["securityContext"]["allowPrivilegeEscalation"] != false {
                complain("it may gain privileges");
            }
        }
        let inside = of_kind(objects, "Namespace").any(|space| name(space) == judge["metadata"]["namespace"]);
        if !inside {
            complain("its namespace is not made");
        }
    }
    wrong
}

/// Everything is denied in every namespace, and what is let in is for judges.
fn open_doors(objects: &[Value]) -> Vec<String> {
    let mut wrong = Vec::new();
    for space in of_kind(objects, "Namespace") {
        let denied = of_kind(objects, "NetworkPolicy").any(|policy| {
            policy["metadata"]["namespace"] == name(space)
                && policy["spec"] == json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
        });
        if !denied {
            wrong.push(format!("{} does not deny by default", name(space)));
        }
    }
    for policy in of_kind(objects, "NetworkPolicy") {
        if !policy["spec"]["egress"].is_null() {
            wrong.push(format!("{} lets judges call others", name(policy)));
        }
        for rule in policy["spec"]["ingress"].as_array().into_iter().flatten() {
            if rule["from"].as_array().is_none_or(Vec::is_empty) || rule["ports"].as_array().is_none_or(Vec::is_empty) {
                wrong.push(format!("{} lets anybody in, or to any port", name(policy)));
            }
        }
    }
    wrong
}

#[track_caller]
fn holds(complaints: &[String]) {
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// The checker complains once this place of the first object of a kind is changed.
#[track_caller]
fn fails(kind: &str, pointer: &str, value: Value, check: impl Fn(&[Value]) -> Vec<String>) {
    let mut objects = manifests();
    let object = objects.iter_mut().find(|object| object["kind"] == kind).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = object.pointer_mut(parent).unwrap_or_else(|| panic!("{kind} has no {parent}"));
    parent[key] = value;
    assert!(!check(&objects).is_empty(), "{kind}{pointer} may be anything");
}

#[test]
fn manifests_have_only_fields_that_kubernetes_has() {
    let objects = manifests();
    assert!(of_kind(&objects, "Deployment").count() == 3 && objects.len() == 11, "{} objects", objects.len());
    holds(&misplaced(&objects));
    fails("Deployment", "/spec/template/replicas", json!(1), misplaced);
    fails("Deployment", "/spec/template/spec/containers/0/livenessProb", json!({}), misplaced);
    fails("Service", "/spec/ports/0/port", json!("8000"), misplaced);
    fails("PodDisruptionBudget", "/spec/minimum", json!(1), misplaced);
}

#[test]
fn manifests_are_listed() {
    let list = documents(&text("deploy/kubernetes/kustomization.yaml")).remove(0);
    let listed: BTreeSet<_> =
        list["resources"].as_array().unwrap().iter().map(|r| r.as_str().unwrap().to_owned()).collect();
    let there = files("deploy/kubernetes", "yaml").into_iter().filter(|name| name != "kustomization.yaml").collect();
    assert_eq!(listed, there);
}

#[test]
fn judges_in_a_cluster_are_whole_and_shut_in() {
    holds(&wrong_judges(&manifests()));
    holds(&open_doors(&manifests()));
    let container = "/spec/template/spec/containers/0";
    fails("Deployment", "/spec/selector/matchLabels", json!({"app": "other"}), wrong_judges);
    fails("Deployment", "/spec/template/metadata/labels", json!({"app": "other"}), wrong_judges);
    fails("Deployment", "/spec/template/spec/hostNetwork", json!(true), wrong_judges);
    fails("Deployment", "/spec/template/spec/automountServiceAccountToken", json!(true), wrong_judges);
    fails("Deployment", &format!("{container}/readinessProbe/httpGet/path"), json!("/"), wrong_judges);
    fails("Deployment", &format!("{container}/image"), json!("host:5000/vllm"), wrong_judges);
    fails("Deployment", &format!("{container}/image"), json!("vllm:latest"), wrong_judges);
    fails("Deployment", &format!("{container}/resources/limits"), json!({}), wrong_judges);
    fails("Deployment", &format!("{container}/securityContext/allowPrivilegeEscalation"), json!(true), wrong_judges);
    fails("Service", "/spec/selector", json!({"app": "other"}), wrong_judges);
    fails("Namespace", "/metadata/name", json!("other"), wrong_judges);
    fails("PodDisruptionBudget", "/spec/selector/matchLabels", json!({"app": "other"}), wrong_judges);
    fails("NetworkPolicy", "/spec/policyTypes", json!(["Ingress"]), open_doors);
    fails("NetworkPolicy", "/spec/egress", json!([{}]), open_doors);
    fails("NetworkPolicy", "/spec/ingress", json!([{}]), open_doors);
}

/// Options of a command line with their values; what is no option is the model.
fn options<'a>(words: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, String> {
    let option = |word: &str| match word.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None if word.starts_with("--") => (word.to_owned(), String::new()),
        None => ("MODEL".to_owned(), word.to_owned()),
    };
    words.into_iter().map(option).collect()
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array()
        .into_iter()
        .flatten()
        .map(|word| word.as_str().unwrap_or_else(|| panic!("{word} is no text")))
        .collect()
}

fn compose(name: &str) -> Value {
    documents(&text(&format!("deploy/vllm/{name}"))).remove(0)
}

/// By name: the options of the judges' servers, of Compose or of the cluster.
fn servers(of: &Value) -> BTreeMap<String, BTreeMap<String, String>> {
    let services = of["services"].as_object().unwrap();
    services.iter().map(|(name, service)| (name.clone(), options(strings(&service["command"])))).collect()
}

fn servers_in_cluster() -> BTreeMap<String, BTreeMap<String, String>> {
    let objects = manifests();
    let server = |judge: &Value| {
        let args = &judge["spec"]["template"]["spec"]["containers"][0]["args"];
        (name(judge).trim_start_matches("ah-").to_owned(), options(strings(args)))
    };
    of_kind(&objects, "Deployment").map(server).collect()
}

#[test]
fn compose_files_are_whole_and_shut_in() {
    for file in files("deploy/vllm", "yaml") {
        let file = file.as_str();
        let compose = compose(file);
        let mut gpus = BTreeSet::new();
        for (name, service) in compose["services"].as_object().unwrap() {
            assert_eq!(service["entrypoint"], json!(["vllm", "serve"]), "{file} {name}");
            assert!(service["image"].as_str().unwrap().ends_with(":0.32.0"), "{file} {name}");
            for port in strings(&service["ports"]) {
                assert!(port.starts_with("127.0.0.1:"), "{file} {name} listens to the world: {port}");
            }
            assert!(strings(&service["volumes"]).iter().all(|volume| volume.ends_with(":ro")), "{file} {name}");
            assert!(strings(&service["healthcheck"]["test"]).join(" ").contains("/health"), "{file} {name}");
            assert!(service["network_mode"].is_null() && service["privileged"].is_null(), "{file} {name}");
            assert!(service["environment"]["VLLM_API_KEY"].as_str().unwrap().starts_with("${AH_GPU_KEY:?"));
            let devices = &service["deploy"]["resources"]["reservations"]["devices"];
            assert!(gpus.insert(strings(&devices[0]["device_ids"])[0].to_owned()), "{file}: a GPU for two servers");
        }
    }
    let (one, three) = (compose("compose.one-gpu.yaml"), compose("compose.three-gpus.yaml"));
    assert_eq!(one["services"]["v1"], three["services"]["v1"]);
}

#[test]
fn all_recipes_have_the_same_options() {
    let (compose, cluster) = (servers(&compose("compose.three-gpus.yaml")), servers_in_cluster());
    assert_eq!(compose, cluster);
    assert_eq!(compose.keys().collect::<Vec<_>>(), ["v1", "v2", "v3"]);
    // Those that are no judge's own, and the plain commands' and the conformance server's as well.
    let own = ["MODEL", "--served-model-name", "--enable-lora", "--max-lora-rank", "--max-loras", "--lora-modules"];
    let shared = |options: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        options.iter().filter(|(key, _)| !own.contains(&key.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let common = shared(&compose["v2"]);
    assert_eq!(common, shared(&compose["v1"]));
    // vLLM leaves out what an adapter has on the audio tower: only the recipe for those that have nothing there serves one.
    let adapter = servers(&self::compose("compose.adapter.yaml"))["v1"].clone();
    assert_eq!(common, shared(&adapter));
    let lora: Vec<_> = adapter.keys().filter(|key| key.contains("lora")).collect();
    assert_eq!(lora, ["--enable-lora", "--lora-modules", "--max-lora-rank", "--max-loras"]);
    assert!(compose.values().all(|options| lora.iter().all(|key| !options.contains_key(*key))), "v1 is merged first");
    let conformance = text("tests/conformance/serve_vllm.sh");
    let script = text("deploy/vllm/serve.sh");
    for (key, value) in &common {
        let value = value.replace(['"', ' '], "");
        let said = |script: &str| {
            let script = script.replace(['"', '\'', ' '], "");
            script.contains(&format!("{key}={value}")) || value.is_empty() && script.contains(key.as_str())
        };
        assert!(said(&script), "deploy/vllm/serve.sh has no {key}={value}");
        // What only a GPU has, and what the checks vary.
        if !["--dtype", "--gpu-memory-utilization", "--mm-processor-kwargs", "--max-num-seqs"].contains(&key.as_str()) {
            assert!(said(&conformance), "tests/conformance/serve_vllm.sh has no {key}={value}");
        }
    }
    let readme = text("deploy/README.md");
    for key in common.keys().chain(adapter.keys()).filter(|key| *key != "MODEL") {
        assert!(readme.contains(&format!("`{key}")), "deploy/README.md does not say what {key} is for");
    }
}

#[test]
fn panels_fit_their_servers() {
    let three = servers(&compose("compose.three-gpus.yaml"));
    for (panel, servers, judges) in [
        ("deploy/vllm/panel.one-gpu.toml", servers(&compose("compose.one-gpu.yaml")), 1),
        ("deploy/vllm/panel.one-gpu.toml", servers(&compose("compose.adapter.yaml")), 1),
        ("deploy/vllm/panel.three-gpus.toml", three, 3),
        ("deploy/kubernetes/panel.toml", servers_in_cluster(), 3),
        ("deploy/swift/panel.toml", BTreeMap::new(), 3),
    ] {
        let check = ahwatch(["config", "check", path(panel).to_str().unwrap()]).env("AH_GPU_KEY", "word");
        check.finish(Duration::from_secs(30)).expect_code(0);
        let panel_toml: toml::Table = text(panel).parse().unwrap();
        let tables = panel_toml["judge"].as_array().unwrap();
        assert_eq!(tables.len(), judges, "{panel}");
        for judge in tables {
            let (name, model) = (judge["name"].as_str().unwrap(), judge["model"].as_str().unwrap());
            let url = judge["base_url"].as_str().unwrap();
            assert!(
                url.contains(&format!("ah-{name}.")) || url.contains(&format!(":800{}/", &name[1..])),
                "{panel}: {url}"
            );
            let Some(server) = servers.get(name) else { continue };
            let adapter = server.get("--lora-modules").and_then(|module| module.split('=').next());
            let served = server["--served-model-name"].as_str();
            assert!(served == model || adapter == Some(model), "{panel}: {name}'s server has no {model}");
            // `--lora-modules=NAME=PATH` is cut at its first `=`.
            let fps = server.get("--mm-processor-kwargs").is_some_and(|kwargs| kwargs.contains("\"fps\": 2"));
            assert_eq!(
                judge["time_scale"].as_float() == Some(1.0),
                fps,
                "{panel}: {name}'s time_scale and its server's fps"
            );
        }
    }
    // The paper's own panel: other checkpoints, and no fps.
    let example: toml::Table = text("models/panel.example.toml").parse().unwrap();
    assert!(example["judge"].as_array().unwrap().iter().all(|judge| judge["time_scale"].as_float() == Some(2.0)));
    assert!(text("models/panel.example.toml").contains("deploy/"));
}

/// Words of a shell or Dockerfile list that look like packages.
fn packages(text: &str) -> BTreeSet<String> {
    let words = text.lines().map(|line| line.split('#').next().unwrap_or_default()).flat_map(str::split_whitespace);
    words.filter(|word| *word != "\\").map(str::to_owned).collect()
}

#[test]
fn the_container_has_the_packages_of_the_setup() {
    let setup = text("scripts/setup.sh");
    let wanted = packages(setup.split_once("\npackages=(").unwrap().1.split_once("\n)").unwrap().0);
    let dockerfile = text("deploy/ahwatch/Dockerfile");
    let stages: Vec<_> = dockerfile.split("\nFROM ").skip(1).collect();
    assert_eq!(stages.len(), 2, "a stage that builds, and one that runs");
    let installed = |stage: &str| {
        let list = stage.split_once("--no-install-recommends").unwrap().1.split_once("&&").unwrap().0;
        packages(list)
    };
    let (builds, runs) = (installed(stages[0]), installed(stages[1]));
    let for_building = |package: &str| {
        package.ends_with("-dev") || ["gcc", "make", "pkg-config", "python3", "python3-pip"].contains(&package)
    };
    let (build, run): (BTreeSet<_>, BTreeSet<_>) = wanted.into_iter().partition(|package| for_building(package));
    assert_eq!((builds, runs), (build, run));
    assert!(stages[1].starts_with("debian:12-slim\n") && stages[1].contains("\nUSER 10001\n"));
}

#[test]
fn the_units_are_ones_that_systemd_takes() {
    for name in ["ahwatch.service", "ahwatch-serve.service"] {
        the_unit_is_one_that_systemd_takes(name);
    }
}

fn the_unit_is_one_that_systemd_takes(name: &str) {
    let unit = text(&format!("deploy/ahwatch/{name}"));
    // The program and its ONNX Runtime go where the container has them too.
    let library = "ORT_DYLIB_PATH=/usr/local/lib/ahwatch/onnxruntime/libonnxruntime.so";
    assert!(unit.contains(library) && text("deploy/ahwatch/Dockerfile").contains(library));
    for key in ["RestartPreventExitStatus=2", "KillSignal=SIGTERM", "DynamicUser=yes", "ProtectSystem=strict"] {
        assert!(unit.lines().any(|line| line == key), "{key}");
    }
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        println!("systemd-analyze is not here; the unit was not verified");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join(name);
    let verify = |text: &str| {
        // It asks for the program to be there.
        std::fs::write(&copy, text.replace("/usr/local/bin/ahwatch", env!("CARGO_BIN_EXE_ahwatch"))).unwrap();
        let told = Command::new("systemd-analyze").arg("verify").arg(&copy).output().unwrap();
        (told.status.success(), String::from_utf8_lossy(&told.stderr).into_owned())
    };
    let (fine, told) = verify(&unit);
    assert!(fine && told.is_empty(), "{told}");
    let (_, told) = verify(&unit.replace("DynamicUser", "DynamicUsers"));
    assert!(told.contains("DynamicUsers"), "a wrong key is told: {told}");
}
