//! Fifty planted secrets: whatever happens, none may be read in an event, a log, a page of metrics or the journal.

use std::cell::Cell;

use crate::kit::run::Run;

const COUNT: usize = 50;

/// The secrets of a case. Those that a configuration has no place for stand in the program's environment.
pub struct Secrets {
    next: Cell<usize>,
}

impl Secrets {
    /// Fifty, none of which is in use.
    pub fn new() -> Self {
        Self { next: Cell::new(0) }
    }

    fn nth(n: usize) -> String {
        // Letters and digits only, so that no coding in a URL or in JSON hides it from the search; long enough for a key.
        format!("planted{n:02}Q7x{}kL9w", (n * 7919 + 104_729) % 99_991)
    }

    /// One that is not in use yet: for a place in the configuration.
    ///
    /// # Panics
    /// When all are in use.
    pub fn take(&self) -> String {
        let n = self.next.replace(self.next.get() + 1);
        assert!(n < COUNT, "more than {COUNT} secrets");
        Self::nth(n)
    }

    /// All are in the program's environment, as `AH_PLANTED_0` and so on: where a configuration names a variable, it names these.
    pub fn plant(run: Run) -> Run {
        (0..COUNT).fold(run, |run, n| run.env(&format!("AH_PLANTED_{n}"), Self::nth(n)))
    }

    /// Those that are read in this text.
    pub fn read_in(text: &[u8]) -> Vec<String> {
        (0..COUNT)
            .map(Self::nth)
            .filter(|secret| text.windows(secret.len()).any(|at| at == secret.as_bytes()))
            .collect()
    }
}

#[test]
fn a_secret_in_a_text_is_found() {
    let secrets = Secrets::new();
    let (first, second) = (secrets.take(), secrets.take());
    assert_eq!(Secrets::read_in(format!("rtsp://a:{second}@b").as_bytes()), [second]);
    assert_ne!(Secrets::read_in(first.as_bytes()), Vec::<String>::new());
    assert!(Secrets::read_in(b"nothing planted here").is_empty());
}
