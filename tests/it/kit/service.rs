//! `ahwatch serve`, run as a user runs it, and a client of its API.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::run::{Finished, Run, Running, ahwatch};
use super::wait_until;

const LIMIT: Duration = Duration::from_secs(30);

/// A service that runs; killed when dropped.
pub struct Service {
    /// The program.
    pub run: Running,
    /// Where it answers, without a slash at the end.
    pub url: String,
    file: PathBuf,
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    kept: Option<tempfile::TempDir>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    /// Its body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text))
    }

    /// Itself, if it is a refusal of this status: a problem (RFC 9457) with words.
    #[track_caller]
    pub fn refused(&self, status: u16) -> Value {
        let told = self.headers.get("content-type").and_then(|kind| kind.to_str().ok());
        assert_eq!((self.status, told), (status, Some("application/problem+json")), "{}", self.text);
        let problem = self.json();
        assert!(problem["status"] == status && problem["type"].is_string() && problem["title"].is_string());
        assert!(problem["detail"].as_str().is_some_and(|words| words.len() > 10), "{problem}");
        problem
    }

    /// Itself, if it is what was asked for.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text);
        self
    }

    /// A header.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Another token than this, and of its form.
pub fn forged(token: &str) -> String {
    let other = if token.ends_with('A') { 'B' } else { 'A' };
    format!("{}{other}", &token[..token.len() - 1])
}

/// An event of a stream.
#[derive(Clone, Debug)]
pub struct Told {
    pub id: u64,
    pub kind: String,
    pub data: Value,
}

/// Who reads an event stream.
pub struct Reader {
    told: Arc<Mutex<Vec<Told>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Reader {
    /// What came so far.
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// Waits for an event.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Told) -> bool) -> Told {
        wait_until(LIMIT, what, || self.told().into_iter().find(|told| wanted(told)))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Service {
    /// Starts one with this configuration, which listens on free ports and whose journal is in a folder of its own.
    pub fn start(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut service = Self::start_in(dir.path(), config);
        service.kept = Some(dir);
        service
    }

    /// The same with these keys of `[server]`.
    pub fn start_so(server: &str, config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut service = Self::run_with(dir.path(), server, config, |args| ahwatch(args));
        service.kept = Some(dir);
        service
    }

    /// The same in this folder, where a journal may be already.
    pub fn start_in(dir: &Path, config: &str) -> Self {
        Self::run_with(dir, "requests_per_second = 10000", config, |args| ahwatch(args))
    }

    /// The same with environment variables.
    pub fn start_with(dir: &Path, config: &str, env: &[(&str, &str)]) -> Self {
        Self::start_by(dir, config, |args| env.iter().fold(ahwatch(args), |run, (name, value)| run.env(name, value)))
    }

    /// The same, run in another way: `run` is given the arguments.
    pub fn start_by(dir: &Path, config: &str, run: impl FnOnce([&str; 3]) -> Run) -> Self {
        Self::run_with(dir, "requests_per_second = 10000", config, run)
    }

    fn run_with(dir: &Path, server: &str, config: &str, run: impl FnOnce([&str; 3]) -> Run) -> Self {
        let file = dir.join("ahwatch.toml");
        write(&file, server, config);
        let mut run = run(["serve", "--config", file.to_str().unwrap()]).start();
        let url = run.wait_until(LIMIT, "the service to listen", |run| {
            let at = run.stderr();
            let at = at.lines().find_map(|line| line.strip_prefix("listening on "))?;
            Some(format!("http://{at}"))
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { run, url, file, runtime, http, kept: None }
    }

    /// Gives it another configuration, which it reads by itself.
    pub fn reconfigure(&self, config: &str) {
        write(&self.file, "requests_per_second = 10000", config);
    }

    /// The same with another `[server]`.
    pub fn reconfigure_server(&self, config: &str) {
        write(&self.file, "requests_per_second = 9999", config);
    }

    /// Its configuration file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The journal's files, as they are on the disk: of what is withdrawn nothing may be in any.
    pub fn journal_bytes(&self) -> Vec<u8> {
        let folder = self.file.parent().unwrap();
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let of_journal = files.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("journal.db"));
        of_journal.flat_map(|path| std::fs::read(path).unwrap()).collect()
    }

    /// A token made by the command.
    pub fn token(&self, name: &str, role: &str) -> String {
        let made = self.command(&["token", "create", name, "--role", role]).expect_code(0);
        made.stdout.trim().to_owned()
    }

    /// A command about this service's journal.
    pub fn command(&self, args: &[&str]) -> Finished {
        ahwatch(args.iter().copied().chain(["--config", self.file.to_str().unwrap()])).finish(LIMIT)
    }

    /// Asks.
    pub fn ask(&self, method: &str, path: &str, token: &str, body: Option<(&str, &[u8])>) -> Answer {
        self.ask_with(method, path, &[("authorization", &format!("Bearer {token}"))], body)
    }

    /// Asks with these headers.
    pub fn ask_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<(&str, &[u8])>) -> Answer {
        let mut request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url)).timeout(LIMIT);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some((kind, body)) = body {
            request = request.header("content-type", kind).body(body.to_vec());
        }
        self.runtime.block_on(async {
            let response = request.send().await.unwrap();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Answer { status, headers, text: response.text().await.unwrap() }
        })
    }

    /// Asks, and reads no more than the status: an event stream has no end.
    pub fn status(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<(&str, &[u8])>) -> u16 {
        let mut request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url)).timeout(LIMIT);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some((kind, body)) = body {
            request = request.header("content-type", kind).body(body.to_vec());
        }
        self.runtime.block_on(async { request.send().await.unwrap().status().as_u16() })
    }

    /// Gets.
    pub fn get(&self, path: &str, token: &str) -> Answer {
        self.ask("GET", path, token, None)
    }

    /// Posts JSON.
    pub fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        self.ask("POST", path, token, Some(("application/json", body.to_string().as_bytes())))
    }

    /// Reads an event stream.
    pub fn follow(&self, path: &str, token: &str) -> Reader {
        let told: Arc<Mutex<Vec<Told>>> = Arc::default();
        let (kept, request) = (Arc::clone(&told), self.http.get(format!("{}{path}", self.url)).bearer_auth(token));
        let (begun, beginning) = std::sync::mpsc::channel();
        let task = self.runtime.spawn(async move {
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 200);
            let _ = begun.send(());
            let (mut response, mut text) = (response, String::new());
            while let Ok(Some(chunk)) = response.chunk().await {
                text += std::str::from_utf8(&chunk).unwrap();
                while let Some((event, rest)) = text.split_once("\n\n") {
                    kept.lock().unwrap().extend(read(event));
                    text = rest.to_owned();
                }
            }
        });
        beginning.recv_timeout(LIMIT).unwrap();
        Reader { told, task }
    }

    /// Stops it as a service manager does.
    pub fn stop(self) -> Finished {
        self.run.signal("TERM");
        self.run.finish(LIMIT)
    }
}

/// Puts a whole new file in the place of the old one, as editors do.
fn write(file: &Path, server: &str, config: &str) {
    let whole = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nmedia_listen = \"127.0.0.1:0\"\n{server}\n\
         [controller]\nname = \"Test clinic\"\ncontact = \"privacy@example.org\"\n[journal]\npath = \"journal.db\"\n{config}"
    );
    let new = file.with_extension("new");
    std::fs::write(&new, whole).unwrap();
    std::fs::rename(new, file).unwrap();
}

/// One event of a stream; None: a comment.
fn read(text: &str) -> Option<Told> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name).map(str::trim));
    let data = serde_json::from_str(field("data:")?).unwrap();
    Some(Told { id: field("id:")?.parse().unwrap(), kind: field("event:")?.to_owned(), data })
}
