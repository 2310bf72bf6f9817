//! Starts the real servers, one at a time, and surely ends them.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::runtime::Runtime;

/// vLLM takes a minute or two on two idle cores; others may use them.
const START_LIMIT: Duration = Duration::from_secs(600);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// The key of the server that wants one.
pub const KEY: &str = "open-sesame";

/// Which server, of what, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    program: Program,
    /// Below the cache, or a path from the root.
    model: String,
    fps: Option<u32>,
    adapters: Vec<String>,
    key: bool,
    /// 16-bit numbers, as on a GPU.
    half: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Vllm,
    Swift,
}

impl Setting {
    /// vLLM with a model of the cache, served as `base`.
    pub fn vllm(model: &str) -> Self {
        Self {
            program: Program::Vllm,
            model: model.to_owned(),
            fps: None,
            adapters: Vec::new(),
            key: false,
            half: false,
        }
    }

    /// `swift deploy` with a model of the cache, served as `base`.
    pub fn swift(model: &str) -> Self {
        Self { program: Program::Swift, ..Self::vllm(model) }
    }

    /// With `--mm-processor-kwargs '{"fps": N}'`, the flag of the time scale.
    pub fn fps(self, fps: u32) -> Self {
        Self { fps: Some(fps), ..self }
    }

    /// With adapters of the cache's `judges`, by name.
    pub fn adapters(self, names: &[&str]) -> Self {
        Self { adapters: names.iter().map(|name| (*name).to_owned()).collect(), ..self }
    }

    /// With bfloat16 in place of float32.
    pub fn half(self) -> Self {
        Self { half: true, ..self }
    }

    /// With [`KEY`] as the API key.
    pub fn key(self) -> Self {
        Self { key: true, ..self }
    }

    /// The key that requests need.
    pub fn api_key(&self) -> Option<&'static str> {
        self.key.then_some(KEY)
    }

    /// As the scorecard names it.
    pub fn name(&self) -> String {
        let model = self.model.rsplit('/').next().expect("a name");
        match (self.program, self.fps) {
            (Program::Swift, _) => format!("swift deploy {model}"),
            (Program::Vllm, Some(fps)) if self.half => format!("vLLM {model}, fps {fps}, bfloat16"),
            (Program::Vllm, Some(fps)) => format!("vLLM {model}, fps {fps}"),
            (Program::Vllm, None) => format!("vLLM {model}, no fps"),
        }
    }

    /// Whether it is vLLM.
    pub fn is_vllm(&self) -> bool {
        self.program == Program::Vllm
    }
}

/// Where logs, recorded exchanges, trainings and the scorecard go.
pub fn scratch() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance")
}

/// What `tests/conformance/setup.sh` built, and a place for logs.
pub struct Rig {
    cache: PathBuf,
    scratch: PathBuf,
    runtime: Runtime,
    http: Client,
}

impl Rig {
    /// Finds it.
    ///
    /// # Panics
    /// If it is not there, naming the remedy.
    pub fn find() -> Self {
        let cache = std::env::var_os("AHWATCH_CONFORMANCE").map_or_else(
            || {
                let home = std::env::var_os("HOME").map(PathBuf::from).expect("HOME");
                let caches = std::env::var_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), PathBuf::from);
                caches.join("ahwatch-conformance")
            },
            PathBuf::from,
        );
        assert!(cache.join("stamps/judges").exists(), "{} is not built: say `make conformance`", cache.display());
        let scratch = scratch();
        std::fs::create_dir_all(&scratch).expect("target/tmp is writable");
        let http = Client::builder().no_proxy().timeout(Duration::from_secs(300)).build().expect("HTTP client");
        Self { cache, scratch, runtime: Runtime::new().expect("runtime"), http }
    }

    /// Where logs, recorded exchanges and the scorecard go.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// For what is asynchronous.
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// For requests that are no judge's.
    pub fn http(&self) -> &Client {
        &self.http
    }

    /// A file or folder of the cache.
    pub fn cached(&self, path: &str) -> PathBuf {
        self.cache.join(path)
    }

    /// A script of `tests/conformance`.
    pub fn script(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(name)
    }

    /// Starts a server on a free port, and waits until it answers.
    ///
    /// # Panics
    /// If it does not, with the end of its log.
    pub fn start(&self, setting: &Setting) -> Server {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        self.start_at(setting, port)
    }

    /// The same, on a port.
    ///
    /// # Panics
    /// As [`Rig::start`].
    pub fn start_at(&self, setting: &Setting, port: u16) -> Server {
        let script = match setting.program {
            Program::Vllm => "serve_vllm.sh",
            Program::Swift => "serve_swift.sh",
        };
        let log = self.scratch.join(format!("{port}.log"));
        File::create(&log).expect("log");
        let mut command = Command::new("python3");
        command.arg(Self::script("hold.py")).arg(&log).arg(Self::script(script));
        command.arg(self.cached(&setting.model)).arg(port.to_string()).env("AHWATCH_CONFORMANCE", &self.cache);
        if let Some(fps) = setting.fps {
            command.arg("--mm-processor-kwargs").arg(format!("{{\"fps\": {fps}}}"));
        }
        if !setting.adapters.is_empty() {
            command.args(["--enable-lora", "--max-lora-rank", "8", "--max-loras", "3", "--lora-modules"]);
            for name in &setting.adapters {
                command.arg(format!("{name}={}", self.cached(&format!("judges/{name}")).display()));
            }
        }
        if setting.half {
            command.arg("--dtype=bfloat16");
        }
        if setting.key {
            command.args(["--api-key", KEY]);
        }
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3");
        let mut group = String::new();
        BufReader::new(holder.stdout.take().expect("piped")).read_line(&mut group).expect("hold.py");
        let group = group.trim().parse().expect("hold.py tells the server's process group");
        let stdin = holder.stdin.take();
        let mut server = Server { setting: setting.clone(), port, log, group, holder, stdin };
        let started = Instant::now();
        let health = match setting.program {
            Program::Vllm => format!("http://127.0.0.1:{port}/health"),
            Program::Swift => format!("{}/models", server.base_url()),
        };
        loop {
            // In an async block: reqwest wants the runtime when a request is made.
            let answer = self.runtime.block_on(async { self.http.get(&health).send().await });
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                println!("  {} answers after {:.0} s", setting.name(), started.elapsed().as_secs_f64());
                return server;
            }
            let ended = server.holder.try_wait().expect("hold.py").is_some();
            let waited = started.elapsed() > START_LIMIT;
            assert!(!ended, "{} ended before it answered; its log ends:\n{}", setting.name(), server.log_end());
            assert!(
                !waited,
                "{} did not answer in {START_LIMIT:?}; its log ends:\n{}",
                setting.name(),
                server.log_end()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// A server that runs; ended, with all its processes, when dropped, and however this process ends.
pub struct Server {
    setting: Setting,
    port: u16,
    log: PathBuf,
    group: u32,
    holder: Child,
    /// Closing it ends the server.
    stdin: Option<ChildStdin>,
}

impl Server {
    /// How it was started.
    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As a judge's `base_url`.
    pub fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// SIGKILL to all of its processes; it answers nobody when this returns.
    pub fn kill(&mut self) {
        let group = format!("-{}", self.group);
        let killed = Command::new("kill").args(["-KILL", "--", &group]).status().expect("kill");
        assert!(killed.success(), "kill {group}");
        crate::kit::wait_until(STOP_LIMIT, "the killed server's end", || self.holder.try_wait().expect("hold.py"));
    }

    /// The last lines it wrote.
    pub fn log_end(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let start = Instant::now();
        while start.elapsed() < STOP_LIMIT && self.holder.try_wait().is_ok_and(|ended| ended.is_none()) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
