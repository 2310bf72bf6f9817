//! Decoding in a process of its own: `isolation = "process"` of a source.
//!
//! What decodes media that somebody else made runs as this same program started anew (the hidden command `worker`), which can
//! open one recording or reach one camera and nothing else. Frames come over a socket as plain bytes. docs/isolation.md says what
//! this stops and what it costs.
//!
//! - `task`: what a worker is told. `wire`: what it says. `parent`: starts workers, believes little of what they say, and starts
//!   another when one dies. `sandbox`: what a worker gives up.

mod parent;
mod sandbox;
mod task;
mod wire;

pub use parent::{Relay, supervise};
pub use sandbox::{Held, SandboxError, available, enter};
pub use task::Task;
pub use wire::{Said, WireError, read, write, write_ready};
