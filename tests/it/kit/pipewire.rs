//! A camera of this machine without hardware: a real PipeWire with a session manager, and a recording that plays as its camera.
//!
//! It has a runtime folder and a message bus of its own, so that it disturbs nobody's devices.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::run::Run;
use super::wait_until;

const LIMIT: Duration = Duration::from_secs(20);

/// A PipeWire with at most one camera; gone when dropped.
pub struct Desktop {
    dir: tempfile::TempDir,
    server: Child,
    camera: Option<Child>,
}

impl Desktop {
    /// Starts one without a camera.
    ///
    /// # Panics
    /// When PipeWire is not installed (`make setup-test`) or does not start.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("folder");
        let script =
            "pipewire & while [ ! -S \"$XDG_RUNTIME_DIR/pipewire-0\" ]; do sleep 0.05; done; wireplumber & wait";
        let mut command = client(dir.path(), "dbus-run-session");
        // A group of its own, which is ended as a whole.
        let server = command.args(["--", "sh", "-c", script]).process_group(0).spawn();
        let desktop =
            Self { dir, server: server.expect("dbus-run-session; `make setup-test` installs it"), camera: None };
        wait_until(LIMIT, "WirePlumber", || desktop.lists("Client", "WirePlumber").then_some(()));
        desktop
    }

    fn lists(&self, kind: &str, name: &str) -> bool {
        let mut command = client(self.dir.path(), "pw-cli");
        let listed = command.args(["ls", kind]).stdout(Stdio::piped()).output();
        listed.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains(name))
    }

    /// A program that sees this PipeWire, and no other sound server.
    pub fn sees(&self, run: Run) -> Run {
        run.env("XDG_RUNTIME_DIR", self.dir.path()).env("HOME", self.dir.path()).env("PULSE_SERVER", "unix:/nowhere")
    }

    /// Plugs a camera in that shows this recording (H.264 in MP4) at its own pace, once.
    ///
    /// # Panics
    /// When it does not appear.
    pub fn plug(&mut self, name: &str, recording: &Path) {
        self.unplug();
        let properties = format!("stream-properties=props,media.class=Video/Source,node.name={name}");
        let file = format!("location={}", recording.display());
        let line = ["-q", "filesrc", &file, "!", "qtdemux", "!", "h264parse", "!", "avdec_h264", "!", "clocksync", "!"];
        let mut command = client(self.dir.path(), "gst-launch-1.0");
        command.args(line).args(["pipewiresink", "mode=provide", &properties]);
        self.camera = Some(command.spawn().expect("gst-launch-1.0; `make setup-test` installs it"));
        wait_until(LIMIT, "the camera", || self.lists("Node", name).then_some(()));
    }

    /// Pulls it out.
    pub fn unplug(&mut self) {
        if let Some(mut camera) = self.camera.take() {
            let _ = camera.kill();
            let _ = camera.wait();
        }
    }
}

fn client(dir: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("XDG_RUNTIME_DIR", dir).env("HOME", dir);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

impl Drop for Desktop {
    fn drop(&mut self) {
        self.unplug();
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.server.id())]).status();
        let _ = self.server.wait();
    }
}
