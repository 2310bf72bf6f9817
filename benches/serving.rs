//! The service in a process of its own, and its peers in this one: judges, who reads events, a webhook's receiver.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::{get, post};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What both ends of the webhook know; 32 bytes in base64.
pub const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// The program, serving; killed when dropped.
pub struct Service {
    pub child: Child,
    at: String,
    token: String,
    began: Instant,
    _dir: tempfile::TempDir,
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Service {
    /// Starts it with this configuration, and its journal on the disk of `target`.
    pub fn start(config: &str, more: &[&str]) -> Self {
        let dir = tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target")).expect("target is writable");
        let file = dir.path().join("ahwatch.toml");
        let whole = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nmedia_listen = \"127.0.0.1:0\"\nrequests_per_second = 10000\n\
             [journal]\npath = \"journal.db\"\n{config}"
        );
        std::fs::write(&file, whole).expect("the folder is writable");
        let program = || Command::new(env!("CARGO_BIN_EXE_ahwatch"));
        let made = program()
            .args(["token", "create", "bench", "--role", "operator", "--config"])
            .arg(&file)
            .output()
            .expect("the program starts");
        let token = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        assert!(token.starts_with("ahw_"), "{}", String::from_utf8_lossy(&made.stderr));
        let began = Instant::now();
        let mut child = program()
            .args(["serve", "--config"])
            .arg(&file)
            .args(more)
            .env("BENCH_SECRET", SECRET)
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let at =
            lines.by_ref().map_while(Result::ok).find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        let at = at.expect("it says where it listens");
        // Somebody has to read on, or it stands still.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, at, token, began, _dir: dir }
    }

    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        reqwest::Client::new().get(format!("http://{}{path}", self.at)).bearer_auth(&self.token)
    }

    /// Since it was started, until it said that it is ready.
    pub async fn ready(&self) -> Duration {
        let request = self.get("/readyz");
        loop {
            let answer = request.try_clone().expect("no body").send().await;
            if answer.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                return self.began.elapsed();
            }
            assert!(self.began.elapsed() < Duration::from_secs(60), "it is not ready");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Judges that answer after 0.3 to 0.9 s, by chance Yes or No. Each answer has a number, as its tokens, and a moment: when it was
/// ready to be sent.
#[derive(Clone)]
pub struct Judges {
    url: String,
    pub answered: Arc<Mutex<HashMap<u64, Instant>>>,
}

impl Judges {
    pub async fn start() -> Self {
        let answered: Arc<Mutex<HashMap<u64, Instant>>> = Arc::default();
        let (number, rng) = (Arc::new(AtomicU64::new(1)), Arc::new(Mutex::new(StdRng::seed_from_u64(7))));
        let noted = Arc::clone(&answered);
        let answer = move |_: Bytes| {
            let (noted, number, rng) = (Arc::clone(&noted), Arc::clone(&number), Arc::clone(&rng));
            async move {
                let (wait, yes) = {
                    let mut rng = rng.lock().expect("not poisoned");
                    (rng.random_range(0.3..0.9), rng.random_bool(0.5))
                };
                tokio::time::sleep(Duration::from_secs_f64(wait)).await;
                let number = number.fetch_add(1, Ordering::Relaxed);
                let word = if yes { "Yes" } else { "No" };
                let message =
                    json!({"message": {"content": format!("<answer>{word}</answer>")}, "finish_reason": "stop"});
                let usage = json!({"prompt_tokens": number, "completion_tokens": 1, "total_tokens": number + 1});
                let body = axum::Json(json!({"choices": [message], "usage": usage}));
                noted.lock().expect("not poisoned").insert(number, Instant::now());
                body
            }
        };
        let models = || async { axum::Json(json!({"data": [{"id": "m"}]})) };
        let app = Router::new().route("/v1/models", get(models)).route("/v1/chat/completions", post(answer));
        let app = app.layer(axum::extract::DefaultBodyLimit::max(64 << 20));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback port");
        let url = format!("http://{}/v1", listener.local_addr().expect("address"));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, answered }
    }

    /// A panel of three there.
    pub fn panel(&self) -> String {
        let judge = |n: usize| {
            format!("[[judge]]\nname = \"v{n}\"\nbase_url = \"{}\"\nmodel = \"m\"\nmax_in_flight = 64\n", self.url)
        };
        "[panel]\ncanary = false\n".to_owned() + &(1..=3).map(judge).collect::<String>()
    }
}

/// What came, and when.
pub type Heard = Arc<Mutex<Vec<(Instant, Bytes)>>>;

/// A receiver of webhooks.
pub async fn receiver() -> (String, Heard) {
    let heard = Heard::default();
    let kept = Arc::clone(&heard);
    let take = move |body: Bytes| {
        kept.lock().expect("not poisoned").push((Instant::now(), body));
        async { StatusCode::NO_CONTENT }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback port");
    let url = format!("http://{}/hook", listener.local_addr().expect("address"));
    let app = Router::new().route("/hook", post(take));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, heard)
}

/// A reader of all events.
pub async fn follow(service: &Service) -> Heard {
    let heard = Heard::default();
    let kept = Arc::clone(&heard);
    let mut stream = service.get("/v1/events").send().await.expect("it answers");
    assert_eq!(stream.status(), StatusCode::OK);
    tokio::spawn(async move {
        let mut text: Vec<u8> = Vec::new();
        while let Ok(Some(chunk)) = stream.chunk().await {
            let now = Instant::now();
            text.extend_from_slice(&chunk);
            while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = text.drain(..end + 2).collect();
                let data = String::from_utf8_lossy(&event);
                let data = data.lines().find_map(|line| line.strip_prefix("data:")).unwrap_or_default();
                kept.lock().expect("not poisoned").push((now, Bytes::copy_from_slice(data.trim().as_bytes())));
            }
        }
    });
    heard
}

/// Opens an event stream by hand, and reads no further than its head.
pub async fn open(service: &Service) -> TcpStream {
    let mut stream = TcpStream::connect(&service.at).await.expect("it listens");
    let request = format!("GET /v1/events HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n", service.token);
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0; 1024];
        let many = stream.read(&mut part).await.expect("it answers");
        assert!(many > 0, "closed after {}", String::from_utf8_lossy(&head));
        head.extend_from_slice(&part[..many]);
    }
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head));
    stream
}
