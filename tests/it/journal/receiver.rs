//! A receiver of webhooks.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;

/// What was received.
#[derive(Clone, Debug)]
pub struct Got {
    pub id: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// What it was answered.
    pub status: u16,
}

type Answer = Arc<Mutex<Box<dyn FnMut(&str) -> u16 + Send>>>;

/// Answers as it is told, and keeps everything. Gone with its runtime.
#[derive(Clone)]
pub struct Receiver {
    pub at: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    answer: Answer,
}

impl Receiver {
    /// On a port of its own.
    pub async fn start(answer: impl FnMut(&str) -> u16 + Send + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let receiver = Self { at, got: Arc::default(), answer: Arc::new(Mutex::new(Box::new(answer))) };
        let router = Router::new().route("/hook", post(take)).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    /// A `[[sink]]` that leads here.
    pub fn sink(&self, name: &str) -> String {
        format!(
            "[[sink]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"http://{}/hook\"\nsecret_env = \"HOOK\"\nallow_private = true\n",
            self.at
        )
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// Ids that were taken.
    pub fn taken(&self) -> Vec<String> {
        self.got().into_iter().filter(|got| got.status < 300).map(|got| got.id).collect()
    }

    pub fn answers(&self, answer: impl FnMut(&str) -> u16 + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let id = headers["webhook-id"].to_str().unwrap().to_owned();
    let status = (receiver.answer.lock().unwrap())(&id);
    receiver.got.lock().unwrap().push(Got { id, headers, body, status });
    StatusCode::from_u16(status).unwrap()
}

/// Waits on a condition, at most half a minute.
pub async fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = ready() {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), found)
        .await
        .unwrap_or_else(|_| panic!("waited for {what}"))
}
