//! A terminal for the program to run on: a pseudo-terminal, and what stands on its screen.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

/// What was written to a terminal.
struct Seen {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

/// A program on a terminal of its own; killed when dropped.
pub struct Tty {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    seen: Arc<Mutex<Seen>>,
    gate: Arc<Mutex<()>>,
    reader: Option<JoinHandle<()>>,
}

fn size(columns: u16, rows: u16) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

impl Tty {
    /// Runs a program with these variables beside those of the test.
    pub fn start(program: &str, args: &[&str], env: &[(&str, &str)], columns: u16, rows: u16) -> Self {
        let pair = native_pty_system().openpty(size(columns, rows)).expect("a pseudo-terminal");
        let mut command = CommandBuilder::new(program);
        command.args(args);
        command.cwd(env!("CARGO_MANIFEST_DIR"));
        command.env_remove("NO_COLOR");
        command.env("TERM", "xterm-256color");
        for (name, value) in env {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).unwrap_or_else(|error| panic!("{program}: {error}"));
        drop(pair.slave);
        let nonzero = |n| NonZeroU16::new(n).expect("a size");
        let seen = Seen { parser: vt100::Parser::new(nonzero(rows), nonzero(columns), 1000), bytes: Vec::new() };
        let seen = Arc::new(Mutex::new(seen));
        let mut output = pair.master.try_clone_reader().expect("its output");
        let keys = pair.master.take_writer().expect("its input");
        let also = Arc::clone(&seen);
        let gate: Arc<Mutex<()>> = Arc::default();
        let held = Arc::clone(&gate);
        let reader = std::thread::spawn(move || {
            let mut some = [0; 4096];
            // An error is how a pseudo-terminal says that nobody is left on it.
            while let Ok(n @ 1..) = output.read(&mut some) {
                drop(held.lock());
                let mut seen = also.lock().expect("reader");
                seen.bytes.extend(&some[..n]);
                seen.parser.process(&some[..n]);
            }
        });
        Self { child, master: pair.master, keys, seen, gate, reader: Some(reader) }
    }

    /// What stands on the screen.
    pub fn text(&self) -> String {
        self.seen.lock().expect("reader").parser.screen().contents()
    }

    /// Everything that was written, escape sequences and all.
    pub fn bytes(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().expect("reader").bytes).into_owned()
    }

    /// Whether the screen apart from the scrollback is up, and whether the cursor is hidden.
    pub fn is_taken(&self) -> (bool, bool) {
        let seen = self.seen.lock().expect("reader");
        (seen.parser.screen().alternate_screen(), seen.parser.screen().hide_cursor())
    }

    /// Whether some cell of the screen has a colour.
    pub fn is_coloured(&self) -> bool {
        let seen = self.seen.lock().expect("reader");
        let screen = seen.parser.screen();
        let (rows, columns) = (screen.size().0.get(), screen.size().1.get());
        let mut cells = (0..rows).flat_map(|y| (0..columns).filter_map(move |x| screen.cell(y, x)));
        cells.any(|cell| [cell.fgcolor(), cell.bgcolor()].iter().any(|colour| *colour != vt100::Color::Default))
    }

    /// While this is locked the terminal takes nothing, as a connection that has stalled.
    pub fn gate(&self) -> Arc<Mutex<()>> {
        Arc::clone(&self.gate)
    }

    /// Waits for the program's end without reading on, and gives its exit code. `again` is typed until then.
    ///
    /// # Panics
    /// When it is not done at the limit.
    #[track_caller]
    pub fn end(&mut self, limit: Duration, again: &str) -> u32 {
        let ended = || {
            // Nobody may be left to type to.
            let _ = self.keys.write_all(again.as_bytes());
            self.child.try_wait().expect("child")
        };
        super::wait_until(limit, "its end", ended).exit_code()
    }

    /// Types.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("typed");
    }

    /// Makes the terminal another size; 0 columns too, which some terminals report.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.master.resize(size(columns, rows)).expect("another size");
        if let (Some(rows), Some(columns)) = (NonZeroU16::new(rows), NonZeroU16::new(columns)) {
            self.seen.lock().expect("reader").parser.screen_mut().set_size(rows, columns);
        }
    }

    /// Waits until the screen is as wanted.
    ///
    /// # Panics
    /// At the limit, with the screen.
    #[track_caller]
    pub fn wait_for(&self, limit: Duration, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let start = std::time::Instant::now();
        loop {
            let text = self.text();
            if wanted(&text) {
                return text;
            }
            assert!(start.elapsed() < limit, "waited {limit:?} for {what}:\n{text}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the program's end and gives its exit code.
    ///
    /// # Panics
    /// When it is not done at the limit.
    #[track_caller]
    pub fn finish(&mut self, limit: Duration) -> u32 {
        let code = self.end(limit, "");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("reader");
        }
        code
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
