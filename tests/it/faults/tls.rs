//! Certificates that are no good: nothing is sent to who shows one, and it is said why.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::after::After;
use super::case::Case;
use super::relay::Relay;
use super::rig::{self, LIMIT, camera, judge, voted};
use super::secrets::Secrets;
use crate::journal::SECRET;
use crate::kit::endpoint::{Endpoint, Judge};
use crate::kit::media::Recipe;
use crate::kit::rtsp::{Camera, Show};
use crate::kit::run::{Run, ahwatch, program};
use crate::kit::service::Service;
use crate::kit::wait_until;

/// An authority: its certificate (PEM), and what signs.
fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
}

/// A server's certificate for loopback and its key.
fn leaf(issuer: &Issuer<'static, KeyPair>, expired: bool) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    if expired {
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1));
    }
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, issuer).unwrap(), key)
}

/// A TLS server that counts the bytes it can read, behind a relay that keeps what is sent.
struct Secretive {
    relay: Relay,
    read: Arc<AtomicUsize>,
}

impl Secretive {
    fn start(runtime: &tokio::runtime::Runtime, (certificate, key): &(rcgen::Certificate, KeyPair)) -> Self {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let (port, read) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&read);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut bytes = vec![0; 4096];
                    while let Ok(n @ 1..) = stream.read(&mut bytes).await {
                        count.fetch_add(n, Ordering::SeqCst);
                    }
                });
            }
        });
        Self { relay: Relay::to(port), read }
    }

    /// Rows of a case: what was sent, and could be read.
    fn row(&self, case: &mut Case, who: &str) {
        let read = self.read.load(Ordering::SeqCst);
        sealed(case, who, &self.relay.sent(), read);
    }
}

/// Bytes outside TLS records; and those within records of application data beyond what may end a handshake: TLS 1.3 sends its
/// "finished" (at most 69 bytes) and alerts (19) as such.
fn beyond_the_handshake(sent: &[u8]) -> (usize, usize) {
    const END: usize = 69 + 2 * 19;
    let (mut rest, mut data) = (sent, 0);
    while let [kind @ 20..=23, 3, _, high, low, body @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(body.len());
        data += if *kind == 23 { length } else { 0 };
        rest = &body[length..];
    }
    (rest.len(), data.saturating_sub(END))
}

fn sealed(case: &mut Case, who: &str, sent: &[Vec<u8>], read: usize) {
    let (mut plain, mut data) = (0, 0);
    for connection in sent {
        let (outside, within) = beyond_the_handshake(connection);
        plain += outside;
        data += within;
    }
    let said = format!("{plain} plain, {data} encrypted, {read} read by the server ({} connections)", sent.len());
    let ok = plain + data + read == 0 && !sent.is_empty();
    case.row(&format!("{who}: bytes beyond the handshake"), "0", &said, ok);
}

/// The two ways, and a word of the reason.
const WAYS: [(&str, &str); 2] = [("expired", "expired"), ("stranger", "nknown")];

/// A good authority in `ca.pem`, and for each way a certificate: one of its that has expired, one of another authority.
fn leaves(dir: &Path) -> [(rcgen::Certificate, KeyPair); 2] {
    let (trusted, issuer) = authority("trusted");
    std::fs::write(dir.join("ca.pem"), trusted).unwrap();
    [leaf(&issuer, true), leaf(&authority("stranger").1, false)]
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
#[ignore = "make faults"]
fn case_21_judges() {
    let mut case = Case::begin("21", "expired certificate, wrong CA: judges");
    let (runtime, dir) = (runtime(), tempfile::tempdir().unwrap());
    let servers = leaves(dir.path()).map(|leaf| Secretive::start(&runtime, &leaf));
    let endpoint = Endpoint::start([("well", Judge::default())]);
    let tables = WAYS.iter().zip(&servers).map(|((way, _), server)| {
        judge(way, &format!("https://localhost:{}/v1", server.relay.port()), "deadline_ms = 20000")
    });
    let text = tables.collect::<String>() + &judge("well", &endpoint.base_url(), "deadline_ms = 20000");
    let recording = Recipe::new(10.0).size(320, 240).plant(&[0, 1]).make();
    let file = rig::config(dir.path(), &format!("[[source]]\npath = \"{}\"\n{text}", recording.display()));
    let run = Secrets::plant(ahwatch(["watch", "--json", "--config", file.to_str().unwrap()]));
    let run = run.env("SSL_CERT_FILE", dir.path().join("ca.pem")).finish(LIMIT).expect_code(0);
    let events = run.events();
    let first = voted(&events)[0];
    for ((way, word), server) in WAYS.iter().zip(&servers) {
        let votes = first["data"]["votes"].as_array().unwrap();
        let vote = votes.iter().find(|vote| vote["judge"] == *way).unwrap();
        let detail = vote["abstention"]["detail"].as_str().unwrap();
        let clear = detail.contains("certificate") && detail.contains(word);
        case.row(&format!("{way}: why it abstains"), "names the certificate's fault", detail, clear);
        server.row(&mut case, way);
    }
    After::watch(&run, &[&endpoint]).check(&mut case);
    case.end();
}

#[test]
#[ignore = "make faults"]
fn case_21_receivers() {
    let mut case = Case::begin("21", "expired certificate, wrong CA: webhook and broker");
    let (runtime, dir) = (runtime(), tempfile::tempdir().unwrap());
    let leaves = leaves(dir.path());
    let (endpoint, show) = (Endpoint::start([("v1", Judge::default())]), camera());
    let mut text = format!("[panel]\ncanary = false\n{}", judge("v1", &endpoint.base_url(), ""));
    let mut receivers = Vec::new();
    for (way, word) in WAYS {
        for kind in ["webhook", "mqtt"] {
            let server = Secretive::start(&runtime, &leaves[usize::from(way == "stranger")]);
            let port = server.relay.port();
            let more = match kind {
                "webhook" => {
                    format!("url = \"https://localhost:{port}/hook\"\nsecret_env = \"HOOK\"\nallow_private = true\n")
                }
                _ => format!(
                    "url = \"mqtts://localhost:{port}\"\nusername_env = \"AH_PLANTED_3\"\npassword_env = \"AH_PLANTED_4\"\n"
                ),
            };
            text += &format!("[[sink]]\nname = \"{way}-{kind}\"\nkind = \"{kind}\"\nca_file = \"ca.pem\"\n{more}");
            receivers.push((format!("{way}-{kind}"), word, server));
        }
    }
    let service = Service::start_by(dir.path(), &text, |args| Secrets::plant(ahwatch(args)).env("HOOK", SECRET));
    let token = service.token("op", "admin");
    let id = crate::serve::made(&service, &token, &crate::serve::camera(&show.url("/live")));
    for (name, word, server) in &receivers {
        let why = wait_until(LIMIT, "an attempt that failed", || {
            let alerts = service.get("/v1/alerts", &token).ok().json();
            let found = alerts["alerts"]
                .as_array()?
                .iter()
                .flat_map(|alert| alert["deliveries"].as_array().into_iter().flatten());
            found
                .filter(|delivery| delivery["sink"] == name.as_str())
                .find_map(|delivery| Some(delivery["detail"].as_str()?.to_owned()))
        });
        let clear = why.to_lowercase().contains("certificate") && why.contains(word);
        case.row(&format!("{name}: why it is not delivered"), "names the certificate's fault", &why, clear);
        server.row(&mut case, name);
    }
    service.post(&format!("/v1/sessions/{id}/end"), &token, &json!({})).ok();
    After::serve(&service, &token, &[&endpoint]).check(&mut case);
    service.stop().expect_code(0);
    case.end();
}

#[test]
#[ignore = "make faults"]
fn case_21_cameras() {
    /// Where `GnuTLS` looks for whom the system trusts, on Debian and Ubuntu.
    const TRUSTED: &str = "/etc/ssl/certs/ca-certificates.crt";
    let mut case = Case::begin("21", "expired certificate, wrong CA: camera");
    let dir = tempfile::tempdir().unwrap();
    let leaves = leaves(dir.path());
    let own_mounts = Command::new("unshare")
        .args(["--map-root-user", "--mount", "true"])
        .output()
        .is_ok_and(|out| out.status.success());
    for ((way, _), (certificate, key)) in WAYS.iter().zip(&leaves) {
        let camera = Camera::start_secret(Show::file(&Recipe::new(10.0)), &(certificate.pem() + &key.serialize_pem()));
        let relay = Relay::to(camera.port());
        let url = format!("rtsps://user:{}@localhost:{}/live", Secrets::new().take(), relay.port());
        let args = ["watch", "--once", "--json", &url];
        // On a system that trusts the good authority, where there may be such a system.
        let script = format!("mount --bind \"$0\" {TRUSTED} && exec \"$@\"");
        let ca = dir.path().join("ca.pem");
        let ahwatch_at = program();
        let own = ["--map-root-user", "--mount", "sh", "-c", &script, ca.to_str().unwrap(), &ahwatch_at];
        let run = if own_mounts { Run::program("unshare", own.iter().chain(&args)) } else { ahwatch(args) };
        let run = Secrets::plant(run).finish(Duration::from_secs(60)).expect_code(1);
        let why = run.stderr.lines().find(|line| line.contains("certificate")).unwrap_or_default().to_owned();
        let what = format!(
            "{way}: why it is not watched{}",
            if own_mounts { "" } else { " (no mount namespace here: the CA is not trusted)" }
        );
        case.row(&what, "names the certificate", &why, why.contains("certificate"));
        sealed(&mut case, &format!("camera, {way}"), &relay.sent(), 0);
        After::watch(&run, &[]).check(&mut case);
    }
    case.end();
}

#[test]
fn what_is_sent_beyond_a_handshake_is_seen() {
    let record = |kind: u8, length: u8| [vec![kind, 3, 3, 0, length], vec![7; length.into()]].concat();
    let handshake = [record(22, 200), record(20, 1), record(23, 19)].concat();
    assert_eq!(beyond_the_handshake(&handshake), (0, 0));
    assert_eq!(beyond_the_handshake(&[handshake.clone(), record(23, 188)].concat()), (0, 100));
    assert_eq!(beyond_the_handshake(&[&handshake, &b"POST / HTTP/1.1"[..]].concat()), (15, 0));
}
