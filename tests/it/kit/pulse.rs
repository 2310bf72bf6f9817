//! Microphones: a real PulseAudio with null sinks, whose monitors hear what is played into them.
//!
//! It has a runtime folder, a home and a socket of its own, so that it disturbs nobody's sound.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::run::Run;
use super::{tones, wait_until, wav};

/// A null sink: its name, samples a second, channels.
pub type Sink = (&'static str, u32, u8);

/// A sound server; gone when dropped.
pub struct SoundServer {
    dir: tempfile::TempDir,
    sinks: Vec<Sink>,
    server: Option<Child>,
    players: Vec<Child>,
}

impl SoundServer {
    /// Starts one with these sinks; the first one's monitor is the default microphone.
    ///
    /// # Panics
    /// When PulseAudio is not installed (`make setup-test`) or does not start.
    pub fn start(sinks: &[Sink]) -> Self {
        let dir = tempfile::tempdir().expect("folder");
        let mut server = Self { dir, sinks: sinks.to_vec(), server: None, players: Vec::new() };
        server.restart();
        server
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("native")
    }

    /// What a client of it needs to know.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        let dir = self.dir.path().to_str().expect("UTF-8").to_owned();
        [
            ("PULSE_SERVER", format!("unix:{}", self.socket().display())),
            ("PULSE_COOKIE", format!("{dir}/cookie")),
            ("XDG_RUNTIME_DIR", dir.clone()),
            ("HOME", dir),
        ]
    }

    /// A program that hears through this server.
    pub fn hears(&self, run: Run) -> Run {
        self.environment().into_iter().fold(run, |run, (name, value)| run.env(name, value))
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.envs(self.environment()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Plays the planted sound of source seconds `from ..`, `secs` long, into a sink.
    pub fn play(&mut self, sink: &str, from: u64, secs: u64) {
        let path = self.dir.path().join(format!("{sink}-{from}.wav"));
        let rate = tones::RATE as u64;
        let sound = tones::sound(tones::RATE as u32, from * rate, (secs * rate) as usize, |_| 0);
        std::fs::write(&path, wav::write(&sound)).expect("folder");
        let player = self.client("paplay").arg(format!("--device={sink}")).arg(&path).spawn().expect("paplay");
        self.players.push(player);
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        for mut child in self.server.take().into_iter().chain(self.players.drain(..)) {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_file(self.socket());
    }

    /// Stops it where it stands, or lets it go on: it is there, and does not answer.
    pub fn freeze(&self, frozen: bool) {
        let id = self.server.as_ref().expect("a server").id();
        let signal = if frozen { "-STOP" } else { "-CONT" };
        let sent = Command::new("kill").args([signal, &id.to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {signal}");
    }

    /// Tells it something, in the words of `pactl`.
    pub fn tell(&self, words: &[&str]) {
        let told = self.client("pactl").args(words).status();
        assert!(told.is_ok_and(|status| status.success()), "pactl {words:?}");
    }

    /// Starts it again at the same socket.
    ///
    /// # Panics
    /// As [`SoundServer::start`].
    pub fn restart(&mut self) {
        self.kill();
        let mut script =
            format!("load-module module-native-protocol-unix auth-anonymous=1 socket={}\n", self.socket().display());
        for (name, rate, channels) in &self.sinks {
            script += &format!("load-module module-null-sink sink_name={name} rate={rate} channels={channels}\n");
        }
        if let Some((name, ..)) = self.sinks.first() {
            script += &format!("set-default-source {name}.monitor\n");
        }
        let file = self.dir.path().join("server.pa");
        std::fs::write(&file, script).expect("folder");
        let mut command = self.client("pulseaudio");
        command.args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--disable-shm=yes", "--use-pid-file=no", "-F"]);
        command.env_remove("PULSE_SERVER");
        self.server = Some(command.arg(&file).spawn().expect("pulseaudio; `make setup-test` installs it"));
        wait_until(Duration::from_secs(20), "the sound server", || {
            self.client("pactl").arg("info").status().is_ok_and(|status| status.success()).then_some(())
        });
    }
}

impl Drop for SoundServer {
    fn drop(&mut self) {
        self.kill();
    }
}
