//! Servers that are not what the configuration says: each costs one clear message, and none a credential or a hang.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use ahwatch::encode::{Clip, ClipSet};
use ahwatch::judge::panel::Due;
use ahwatch::judge::{AbstentionReason, Answer, Tokens};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::Method;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::server::TlsStream;

use crate::kit::media::Recipe;
use crate::kit::run::ahwatch;
use crate::watch_file::{ended, panel};
use crate::wire::{MapStatus as _, abstained, ask, clips, completion, json_reply, judge_table, panel_of, serve};

const KEY: &str = "api_key_env = \"TEST_KEY\"";

/// A server with a certificate for these names, of an authority of its own, whose certificate (PEM) is returned.
async fn tls_server(names: &[&str]) -> (SocketAddr, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config =
        ServerConfig::builder_with_provider(Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listener = Tls { listener, acceptor: TlsAcceptor::from(Arc::new(config)) };
    let app = Router::new().fallback(|_: Bytes| async { completion("<answer>Yes</answer>", "stop") });
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, authority.pem())
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let Ok((stream, address)) = self.listener.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_told_with_its_remedy() {
    let (address, _) = tls_server(&["localhost"]).await;
    let url = format!("https://localhost:{}/v1", address.port());
    let vote = ask(&url, KEY).await;
    abstained(&vote, AbstentionReason::Unreachable, "SSL_CERT_FILE");
    // It will not mend itself while the window waits.
    assert_eq!(vote.attempts, 1);
}

/// The program trusts what the system trusts; the authority's file stands in for the system's certificates.
#[tokio::test(flavor = "multi_thread")]
async fn https_is_answered_where_the_authority_is_known_and_the_name_is_right() {
    let (address, pem) = tls_server(&["localhost"]).await;
    let dir = tempfile::tempdir().unwrap();
    let authority = dir.path().join("ca.pem");
    std::fs::write(&authority, pem).unwrap();
    let recording = Recipe::new(5.0).make();
    for (host, code) in [("localhost", 0), ("127.0.0.1", 1)] {
        let url = format!("https://{host}:{}/v1", address.port());
        let panel = panel(dir.path(), &url, &["v1"], "deadline_ms = 20000");
        let args = ["watch", recording.to_str().unwrap(), "--panel", panel.to_str().unwrap()];
        let run = ahwatch(args).env("SSL_CERT_FILE", &authority);
        let run = tokio::task::spawn_blocking(move || run.finish(crate::watch_file::LIMIT)).await.unwrap();
        let run = run.expect_code(code);
        let events = run.events();
        if code == 0 {
            assert_eq!(ended(&events)["judges"][0]["present"], 1);
        } else {
            let lost = crate::watch_file::lost_windows(&events);
            let detail = lost[0]["data"]["votes"][0]["abstention"]["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains("certificate is no good for this address"), "{detail}");
        }
    }
}

#[tokio::test]
async fn plain_http_where_tls_is_meant_and_the_reverse_are_told() {
    let plain = serve(|_| async { completion("<answer>Yes</answer>", "stop") }).await;
    let vote = ask(&plain.url.replace("http://", "https://"), KEY).await;
    abstained(&vote, AbstentionReason::Unreachable, "is it plain http?");
    assert_eq!((vote.attempts, plain.hits()), (1, 0));

    let (address, _) = tls_server(&["localhost"]).await;
    let vote = ask(&format!("http://localhost:{}/v1", address.port()), KEY).await;
    abstained(&vote, AbstentionReason::Unreachable, "is it https?");
    let nginx = serve(|_| async {
        let page = "<html><title>400 The plain HTTP request was sent to HTTPS port</title></html>";
        ([("content-type", "text/html")], page).into_response().map_status(400)
    })
    .await;
    abstained(&ask(&nginx.url, KEY).await, AbstentionReason::Refused, "this port speaks https");
}

#[tokio::test]
async fn a_redirect_is_told_with_its_host_and_nothing_else_of_it() {
    for (location, told) in [
        (
            "https://me:hunter2@login.example.org:8443/sso?token=hunter2",
            "a redirect to https://login.example.org:8443, which",
        ),
        ("/v1/chat/completions/", "a redirect within the same server, which"),
    ] {
        let server =
            serve(move |_| async move { ([("location", location)], "").into_response().map_status(302) }).await;
        let vote = ask(&server.url, KEY).await;
        abstained(&vote, AbstentionReason::Refused, told);
        assert!(!format!("{vote:?}").contains("hunter2"), "{vote:?}");
    }
}

#[tokio::test]
async fn a_web_page_with_status_200_is_no_answer() {
    let server = serve(|_| async { axum::response::Html("<html>Sign in as hunter2</html>").into_response() }).await;
    let vote = ask(&server.url, KEY).await;
    abstained(&vote, AbstentionReason::NotACompletion, "a web page, perhaps of a proxy or a login: check base_url");
    assert!(!format!("{vote:?}").contains("hunter2"));
}

/// As fast as it can, and a byte at a time: neither keeps a window longer than its deadline, nor fills the memory.
#[tokio::test]
async fn a_server_that_streams_for_ever_is_cut() {
    let flood = |status: u16| async move {
        let endless = stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from_static(&[b' '; 4096])));
        Response::builder().status(status).body(Body::from_stream(endless)).unwrap()
    };
    let drip = |status: u16| async move {
        let endless = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Some((Ok::<_, io::Error>(Bytes::from_static(b" ")), ()))
        });
        Response::builder().status(status).body(Body::from_stream(endless)).unwrap()
    };
    let server = serve(move |_| flood(200)).await;
    abstained(&ask(&server.url, KEY).await, AbstentionReason::NotACompletion, "more than");
    let server = serve(move |_| flood(400)).await;
    abstained(&ask(&server.url, KEY).await, AbstentionReason::Refused, "status 400");
    let server = serve(move |_| drip(400)).await;
    abstained(&ask(&server.url, KEY).await, AbstentionReason::Refused, "status 400");
    let server = serve(move |_| drip(200)).await;
    abstained(&ask(&server.url, "deadline_ms = 1500").await, AbstentionReason::Deadline, "no answer within 1500 ms");
}

#[tokio::test]
async fn an_adapter_that_vanishes_is_told_with_what_is_there_and_spares_the_others() {
    let (gone, lists) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (is_gone, listed) = (gone.clone(), lists.clone());
    let app = Router::new().fallback(move |request: Request| {
        let (gone, listed) = (is_gone.load(Ordering::SeqCst), listed.clone());
        async move {
            if request.method() == Method::GET {
                listed.fetch_add(1, Ordering::SeqCst);
                let data = if gone { json!([{"id": "base"}, {"id": "ah-v2"}]) } else { json!([]) };
                return json_reply(200, &json!({"data": data}));
            }
            let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            if gone && body["model"] == "ah-v1" {
                return json_reply(404, &json!({"error": {"message": "The model `ah-v1` does not exist."}}));
            }
            completion("<answer>Yes</answer>", "stop")
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let tables =
        ["ah-v1", "ah-v2", "ah-v3"].map(|name| judge_table(name, &url, "").replace("\"m\"", &format!("\"{name}\"")));
    let panel = panel_of(&tables.concat());
    let votes = panel.judge(&clips(), &[], Due::After(Instant::now())).await;
    assert!(votes.iter().all(|vote| vote.answer == Answer::Present));
    gone.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        let votes = panel.judge(&clips(), &[], Due::After(Instant::now())).await;
        abstained(&votes[0], AbstentionReason::UnknownModel, "The model `ah-v1` does not exist; 127.0.0.1:");
        abstained(&votes[0], AbstentionReason::UnknownModel, "serves: base, ah-v2");
        assert!(votes[1..].iter().all(|vote| vote.answer == Answer::Present));
    }
    assert_eq!(lists.load(Ordering::SeqCst), 1, "the list is asked for once in a while, not for each window");
    gone.store(false, Ordering::SeqCst);
    assert_eq!(panel.judge(&clips(), &[], Due::After(Instant::now())).await[0].answer, Answer::Present);
}

/// Counted at the socket: request line, headers and body of a clip as large as a window's at 640x480.
#[tokio::test]
async fn the_wire_carries_base64_and_little_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let counted = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"}") && stream.read_buf(&mut seen).await.unwrap() > 0 {}
        let body = r#"{"choices": [{"message": {"content": "<answer>No</answer>"}, "finish_reason": "stop"}]}"#;
        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(reply.as_bytes()).await.unwrap();
        seen.len()
    });
    let media = (380_000, 160_044);
    let mut clips = ClipSet::new();
    clips.insert(786_432, Arc::new(Clip::new(Some(vec![7; media.0].into()), Some(vec![9; media.1].into()))));
    let panel = panel_of(&judge_table("v1", &url, KEY));
    assert_eq!(panel.judge(&clips, &[], Due::After(Instant::now())).await[0].answer, Answer::Absent);
    assert!(counted.await.unwrap() * 300 <= (media.0 + media.1) * 400 * 102 / 100);
}

#[tokio::test]
async fn tokens_are_counted_as_the_server_tells_them() {
    let server = serve(|call| async move {
        let details = json!({"multimodal_tokens": {"audio": 65, "video": 1500}});
        let finish = if call.number == 0 { "length" } else { "stop" };
        let message = json!({"message": {"content": "<answer>No</answer>"}, "finish_reason": finish});
        let usage = json!({"prompt_tokens": 1637, "completion_tokens": 7, "prompt_tokens_details": details});
        json_reply(200, &json!({"choices": [message], "usage": usage}))
    })
    .await;
    let tokens = Some(Tokens { prompt: 1637, completion: 7, audio: Some(65), video: Some(1500) });
    // A cut answer was paid for as well.
    for reason in [Some(AbstentionReason::Truncated), None] {
        let vote = ask(&server.url, "").await;
        assert_eq!(vote.tokens, tokens);
        match (&vote.answer, reason) {
            (Answer::Abstained(why), Some(reason)) => assert_eq!(why.reason, reason),
            (answer, None) => assert_eq!(*answer, Answer::Absent),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ask("http://127.0.0.1:1/v1", "deadline_ms = 500").await.tokens, None);
}
