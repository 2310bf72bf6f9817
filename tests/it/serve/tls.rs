//! HTTPS by the service itself, with a certificate of an authority that only this test trusts.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::kit::run::{Finished, Running, ahwatch};

const LIMIT: Duration = Duration::from_secs(30);

struct Pair {
    authority: String,
    cert: String,
    key: String,
}

fn pair() -> Pair {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap().pem();
    Pair { authority, cert, key: key.serialize_pem() }
}

fn start(dir: &Path, server: &str) -> crate::kit::run::Run {
    let config = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nmedia_listen = \"127.0.0.1:0\"\n{server}\n[journal]\npath = \"j.db\"\n\
         [controller]\nname = \"Test clinic\"\ncontact = \"a@example.org\"\n"
    );
    std::fs::write(dir.join("a.toml"), config).unwrap();
    ahwatch(["serve", "--config", "a.toml"]).dir(dir)
}

fn address(run: &mut Running) -> String {
    run.wait_until(LIMIT, "it to listen", |run| {
        run.stderr().lines().find_map(|line| line.strip_prefix("listening on ").map(str::to_owned))
    })
}

/// What `/livez` says over a new connection to who trusts this authority alone.
fn ask(at: &str, authority: &str) -> reqwest::Result<(reqwest::Version, String)> {
    let port = at.rsplit(':').next().unwrap();
    let trusted = reqwest::Certificate::from_pem(authority.as_bytes()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([trusted]).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let answer = client.get(format!("https://localhost:{port}/livez")).timeout(LIMIT).send().await?;
        Ok((answer.version(), answer.text().await?))
    })
}

const BOTH: &str = "tls_cert = \"cert.pem\"\ntls_key = \"key.pem\"";

#[test]
fn https_answers_and_plain_http_gets_no_word_of_the_service() {
    let dir = tempfile::tempdir().unwrap();
    let made = pair();
    std::fs::write(dir.path().join("cert.pem"), &made.cert).unwrap();
    std::fs::write(dir.path().join("key.pem"), &made.key).unwrap();
    let mut run: Running = start(dir.path(), BOTH).start();
    let at = address(&mut run);
    let pages = format!("dashboard  https://{at}/");
    run.wait_until(LIMIT, "the address of its pages", |run| run.stderr().contains(&pages).then_some(()));
    let well = (reqwest::Version::HTTP_2, "ok\n".to_owned());
    assert_eq!(ask(&at, &made.authority).unwrap(), well);
    assert!(ask(&at, &pair().authority).unwrap_err().is_connect(), "another authority is not trusted");

    for request in ["GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n", "GET /join/x HTTP/1.0\r\n\r\n", "\r\n"] {
        let mut plain = TcpStream::connect(&at).unwrap();
        plain.set_read_timeout(Some(LIMIT)).unwrap();
        plain.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // It may be reset as well as ended.
        let ended = plain.read_to_end(&mut answer);
        assert!(ended.is_ok() || ended.unwrap_err().kind() == std::io::ErrorKind::ConnectionReset);
        // At most a TLS alert (RFC 8446, 6): its type, two bytes of version, two of length, what is wrong in two.
        assert!(answer.is_empty() || (answer[0] == 21 && answer.len() == 7), "{:?}", String::from_utf8_lossy(&answer));
    }
    run.signal("TERM");
    run.finish(LIMIT).expect_code(0);
}

#[test]
fn a_renewed_certificate_is_taken_while_it_runs_and_a_bad_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    // As certbot does: another file in its place.
    let file = |name: &str, text: &str| {
        std::fs::write(dir.path().join("new"), text).unwrap();
        std::fs::rename(dir.path().join("new"), dir.path().join(name)).unwrap();
    };
    let (first, second) = (pair(), pair());
    file("cert.pem", &first.cert);
    file("key.pem", &first.key);
    let mut run: Running = start(dir.path(), BOTH).start();
    let at = address(&mut run);
    ask(&at, &first.authority).unwrap();

    file("key.pem", &second.key);
    run.wait_until(LIMIT, "a word about the pair that is none", |run| {
        run.stderr().contains("cannot be used together").then_some(())
    });
    ask(&at, &first.authority).unwrap();
    file("cert.pem", &second.cert);
    run.wait_until(LIMIT, "the new one", |_| ask(&at, &second.authority).ok());
    assert!(ask(&at, &first.authority).unwrap_err().is_connect(), "the old one is shown no more");
    let told = "the certificate was read again";
    run.wait_until(LIMIT, "a word about the new one", |run| run.stderr().contains(told).then_some(()));
    run.signal("TERM");
    run.finish(LIMIT).expect_code(0);
}

#[test]
fn a_pair_that_could_not_be_read_is_tried_again_though_its_files_look_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (first, second) = (pair(), pair());
    std::fs::write(path("cert.pem"), &first.cert).unwrap();
    std::fs::write(path("key.pem"), &first.key).unwrap();
    let mut run: Running = start(dir.path(), BOTH).start();
    let at = address(&mut run);
    // As long as the right ones, and of the same time: as files whose owner is set right afterwards, for who may read them all.
    let then = std::time::SystemTime::now();
    let put = |name: &str, text: &str| {
        let file = std::fs::OpenOptions::new().write(true).truncate(true).open(path(name)).unwrap();
        (&file).write_all(text.as_bytes()).unwrap();
        file.set_modified(then).unwrap();
    };
    put("cert.pem", &second.cert);
    put("key.pem", &"x".repeat(second.key.len()));
    run.wait_until(LIMIT, "a word about the key", |run| run.stderr().contains("holds no private key").then_some(()));
    // Some looks later it still was said once.
    std::thread::sleep(Duration::from_millis(2500));
    put("key.pem", &second.key);
    run.wait_until(LIMIT, "the new one", |_| ask(&at, &second.authority).ok());
    run.signal("TERM");
    let run = run.finish(LIMIT).expect_code(0);
    assert_eq!(run.stderr.matches("was not taken").count(), 1, "{}", run.stderr);
}

#[test]
fn what_is_wrong_with_a_certificate_or_key_is_one_line_and_nothing_starts() {
    let dir = tempfile::tempdir().unwrap();
    let (made, other) = (pair(), pair());
    let file = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    file("cert.pem", &made.cert);
    file("key.pem", &made.key);
    file("other.pem", &other.key);
    file("empty.pem", "");
    file("locked.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    file("damaged.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    std::fs::create_dir(dir.path().join("folder.pem")).unwrap();
    for (cert, key, words) in [
        ("none.pem", "key.pem", &["none.pem", "tls_cert", "cannot be read"][..]),
        ("cert.pem", "none.pem", &["none.pem", "tls_key", "cannot be read"]),
        ("folder.pem", "key.pem", &["folder.pem", "tls_cert", "cannot be read"]),
        ("empty.pem", "key.pem", &["empty.pem", "tls_cert", "holds no certificate"]),
        ("cert.pem", "empty.pem", &["empty.pem", "tls_key", "holds no private key"]),
        ("key.pem", "cert.pem", &["key.pem", "tls_cert", "holds no certificate"]),
        ("cert.pem", "locked.pem", &["locked.pem", "tls_key", "passphrase"]),
        ("damaged.pem", "key.pem", &["damaged.pem", "key.pem", "cannot be used together"]),
        ("cert.pem", "other.pem", &["cert.pem", "other.pem", "cannot be used together"]),
    ] {
        let server = format!("tls_cert = \"{cert}\"\ntls_key = \"{key}\"");
        let run: Finished = start(dir.path(), &server).finish(LIMIT).expect_code(2);
        let said: Vec<&str> = run.stderr.lines().filter(|line| line.contains("tls_")).collect();
        assert_eq!(said.len(), 1, "{cert} {key}: {}", run.stderr);
        assert!(words.iter().all(|word| said[0].contains(word)), "{cert} {key}: {}", said[0]);
        assert!(!run.stderr.contains("listening on"), "{}", run.stderr);
    }
    let alone = start(dir.path(), "tls_cert = \"cert.pem\"").finish(LIMIT).expect_code(2);
    assert!(alone.stderr.contains("tls_cert and tls_key go together"), "{}", alone.stderr);
}
