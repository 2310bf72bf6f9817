//! Cameras over TLS: a certificate that nobody vouches for is refused, one that the system trusts is not.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kit::media::Recipe;
use crate::kit::rtsp::{Camera, Show};
use crate::kit::run::{Run, ahwatch};
use crate::watch_file::{LIMIT, labels, panel, three};

/// Where `GnuTLS` looks for whom the system trusts, on Debian and Ubuntu.
const TRUSTED: &str = "/etc/ssl/certs/ca-certificates.crt";

/// An authority and a camera's certificate that it signed, made by openssl, which `ca-certificates` brings along.
struct Certificates {
    dir: tempfile::TempDir,
}

impl Certificates {
    fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = "set -e
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout ca.key -out ca.pem \
                -subj /CN=test-authority -addext basicConstraints=critical,CA:TRUE
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout cam.key -out cam.csr -subj /CN=camera
            printf 'subjectAltName=IP:127.0.0.1\\nbasicConstraints=CA:FALSE\\n' > ext
            openssl x509 -req -in cam.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out cam.pem";
        let made = Command::new("sh").args(["-c", script]).current_dir(dir.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { dir }
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap()
    }

    fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }
}

/// `ahwatch` on a system that trusts this authority: in a mount namespace of its own, with another list of the trusted.
fn trusting(authority: &Path, args: &[&str]) -> Run {
    let script = format!("mount --bind \"$0\" {TRUSTED} && exec \"$@\"");
    let own = ["--map-root-user", "--mount", "sh", "-c", &script, authority.to_str().unwrap()];
    let program = [env!("CARGO_BIN_EXE_ahwatch")];
    Run::program("unshare", own.iter().chain(&program).chain(args))
}

#[test]
fn a_camera_that_nobody_vouches_for_is_refused_and_one_that_the_system_trusts_is_watched() {
    let made = Certificates::make();
    let camera = Camera::start_secret(
        Show::file(&Recipe::new(11.0).plant(&[1])),
        &(made.read("cam.pem") + &made.read("cam.key")),
    );
    let url = camera.url("/live");
    assert!(url.starts_with("rtsps://"));
    let (endpoint, models) = three();
    let dir = tempfile::tempdir().unwrap();
    let panel = panel(dir.path(), &endpoint.base_url(), &models, "");
    let args = ["watch", &url, "--once", "--panel", panel.to_str().unwrap()];

    let refused = ahwatch(args).finish(LIMIT).expect_code(1);
    let said: Vec<_> = refused.stderr.lines().filter(|line| line.contains("certificate")).collect();
    assert!(said.len() == 1 && said[0].contains("never reached"), "{}", refused.stderr);
    assert!(endpoint.requests().is_empty());

    // Not everybody may have a namespace of their own; then this half is not tried.
    let allowed = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).output();
    if !allowed.is_ok_and(|out| out.status.success()) {
        eprintln!("no mount namespace here: a trusted certificate was not tried");
        return;
    }
    let watched = trusting(&made.authority(), &args).finish(LIMIT).expect_code(0);
    assert_eq!(labels(&watched.events())[..2], [(0.0, "absent".to_owned()), (5.0, "present".to_owned())]);
}
