//! `ahwatch worker`: decodes one source for the `ahwatch` that started it. No command for people.

use super::Exit;

pub fn run() -> Exit {
    match crate::run::decode() {
        Ok(()) => Exit::Done,
        Err(error) => {
            tracing::error!("a source is not decoded: {error}");
            Exit::Failed
        }
    }
}
