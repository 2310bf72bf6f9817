//! The program itself, run as a user runs it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A command line to be run: start from [`ahwatch`].
pub struct Run(Command);

/// The program: the one that was built with the tests, or the one that `AHWATCH_BIN` names.
pub fn program() -> String {
    std::env::var("AHWATCH_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_ahwatch").to_owned())
}

/// `ahwatch` with these arguments.
pub fn ahwatch<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Run {
    Run::program(&program(), args)
}

/// What a finished program left.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Finished {
    /// The lines of standard output that are JSON, with those that are not as strings.
    pub fn events(&self) -> Vec<Value> {
        self.stdout.lines().map(event).collect()
    }

    /// Events of a type.
    pub fn events_of(&self, kind: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["type"] == kind).collect()
    }

    /// Itself, if it exited so.
    ///
    /// # Panics
    /// If not, with its standard error.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit code; stderr:\n{}\nstdout:\n{}", self.stderr, self.stdout);
        self
    }
}

/// A line of standard output. What is an event must fit the schemas that ship, whichever test it is in.
fn event(line: &str) -> Value {
    let Ok(event) = serde_json::from_str::<Value>(line) else { return Value::String(line.to_owned()) };
    if let Some(kind) = event["type"].as_str().filter(|kind| kind.starts_with("ah.")) {
        for (schema, value) in [("cloudevent", &event), (kind, &event["data"])] {
            if let Err(error) = schema_of(schema).validate(value) {
                panic!("this does not fit schemas/{schema}.schema.json: {error}\n{event:#}");
            }
        }
    }
    event
}

fn schema_of(name: &str) -> Arc<jsonschema::Validator> {
    static KNOWN: Mutex<BTreeMap<String, Arc<jsonschema::Validator>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let read = || {
        let path = format!("{}/schemas/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        Arc::new(jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap())
    };
    known.entry(name.to_owned()).or_insert_with(read).clone()
}

impl Run {
    /// Another program; for the kit's own tests.
    pub fn program<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Self {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command)
    }

    /// The same with the system's allocator, built by `cargo build --example plain_malloc`.
    pub fn with_plain_malloc(self) -> Self {
        let name = std::path::Path::new(env!("CARGO_BIN_EXE_ahwatch")).with_file_name("examples/plain_malloc");
        assert!(name.exists(), "cargo build --locked --all-features --example plain_malloc");
        let mut plain = Self::program(name.to_str().expect("a path of the build"), self.0.get_args());
        plain.0.envs(self.0.get_envs().filter_map(|(name, value)| Some((name, value?))));
        plain
    }

    /// With an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// In a directory.
    pub fn dir(mut self, dir: impl AsRef<std::path::Path>) -> Self {
        self.0.current_dir(dir);
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        let mut child = self.0.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.0.get_program().display()));
        let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let (out, err): (Arc<Mutex<String>>, Arc<Mutex<String>>) = Default::default();
        let readers = vec![collect(stdout, Arc::clone(&out)), collect(stderr, Arc::clone(&err))];
        Running { child, out, err, readers, started: Instant::now() }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it is not done at the limit.
    #[track_caller]
    pub fn finish(self, limit: Duration) -> Finished {
        self.start().finish(limit)
    }
}

/// Copies a stream line by line into `text`.
fn collect(stream: impl Read + Send + 'static, text: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            text.lock().expect("reader").push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}

/// A program that runs; killed when dropped.
pub struct Running {
    child: Child,
    out: Arc<Mutex<String>>,
    err: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    started: Instant,
}

impl Running {
    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Standard output so far.
    pub fn stdout(&self) -> String {
        self.out.lock().expect("reader").clone()
    }

    /// Standard error so far.
    pub fn stderr(&self) -> String {
        self.err.lock().expect("reader").clone()
    }

    /// Both, for who looks why something did not happen.
    fn said(&self) -> String {
        format!("stderr:\n{}\nstdout:\n{}", self.stderr(), self.stdout())
    }

    /// Events so far, from whole lines.
    pub fn events(&self) -> Vec<Value> {
        let out = self.stdout();
        out.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(|line| event(line.trim_end())).collect()
    }

    /// Waits for an event, which is returned.
    ///
    /// # Panics
    /// At the limit, or when the program ends without it; with its standard error.
    #[track_caller]
    pub fn wait_for(&mut self, limit: Duration, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_until(limit, what, |run| run.events().into_iter().find(|event| wanted(event)))
    }

    /// Waits for an event of a type.
    ///
    /// # Panics
    /// As [`Running::wait_for`].
    #[track_caller]
    pub fn wait_for_type(&mut self, limit: Duration, kind: &str) -> Value {
        self.wait_for(limit, kind, |event| event["type"] == kind)
    }

    /// Waits until `ready` answers.
    ///
    /// # Panics
    /// As [`Running::wait_for`].
    #[track_caller]
    pub fn wait_until<T>(&mut self, limit: Duration, what: &str, ready: impl Fn(&Self) -> Option<T>) -> T {
        let found = self.wait_until_or_end(limit, what, ready);
        found.unwrap_or_else(|| panic!("the program ended before {what}; {}", self.said()))
    }

    /// The same; None: the program ended before.
    ///
    /// # Panics
    /// At the limit.
    #[track_caller]
    pub fn wait_until_or_end<T>(
        &mut self,
        limit: Duration,
        what: &str,
        ready: impl Fn(&Self) -> Option<T>,
    ) -> Option<T> {
        let start = Instant::now();
        loop {
            let over = self.child.try_wait().expect("child").is_some();
            if over {
                self.readers.drain(..).for_each(|reader| reader.join().expect("reader"));
            }
            let found = ready(self);
            if found.is_some() || over {
                return found;
            }
            assert!(start.elapsed() < limit, "waited {limit:?} for {what}; {}", self.said());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("child").is_some()
    }

    /// Sends a signal by name, `INT` or `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it is not done at the limit; it is killed, and its standard error told.
    #[track_caller]
    pub fn finish(mut self, limit: Duration) -> Finished {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("child") {
                break status;
            }
            if start.elapsed() > limit {
                let _ = self.child.kill();
                panic!("still running after {limit:?}; {}", self.said());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let took = self.started.elapsed();
        self.readers.drain(..).for_each(|reader| reader.join().expect("reader"));
        Finished { code: status.code(), stdout: self.stdout(), stderr: self.stderr(), took }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Run {
        Run::program("sh", ["-c", script])
    }

    #[test]
    fn lines_come_as_they_are_written_and_the_end_is_told() {
        let mut run =
            shell(r#"trap 'echo over >&2; exit 3' TERM; echo '{"type":"a","n":1}'; while :; do sleep 0.05; done"#)
                .start();
        assert_eq!(run.wait_for_type(LIMIT, "a")["n"], 1);
        run.signal("TERM");
        let done = run.finish(LIMIT).expect_code(3);
        assert_eq!((done.stderr.as_str(), done.events_of("a").len()), ("over\n", 1));
    }

    #[test]
    #[should_panic(expected = "why it hangs")]
    fn an_overrun_is_killed_and_tells_why() {
        let mut run = shell("echo why it hangs >&2; exec sleep 60").start();
        run.wait_until(LIMIT, "the reason", |run| run.stderr().contains("why").then_some(()));
        run.finish(Duration::from_millis(50));
    }

    #[test]
    #[should_panic(expected = "ended before it")]
    fn an_early_end_is_told() {
        shell("exit 0").start().wait_for(LIMIT, "it", |_| false);
    }

    #[test]
    fn the_program_runs() {
        ahwatch(Vec::<String>::new()).finish(LIMIT).expect_code(2);
    }
}
