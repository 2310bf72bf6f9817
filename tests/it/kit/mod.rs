//! Test kit: planted media, and stand-ins for the peers the program talks to.
//!
//! - [`codes`]: the frame number burnt into a picture. [`tones`]: the source time carried by the sound.
//! - [`media`]: recordings made of both, in every shape the tests need. [`decode`]: what a recording or stream holds.
//! - [`bah`]: a small dataset in exactly BAH's format.
//! - [`scenes`]: recordings of faces and voices, for the gate.
//! - [`endpoint`]: a judge that decodes what it is sent and answers from what it saw. A stand-in: it judges nobody.
//! - [`senses`]: how it answers the canary.
//! - [`encoded`]: the encoded media of a recording; [`station`]: a source that it is pushed into; [`peer`]: a browser;
//!   [`chromium`]: a real one.
//! - [`service`]: `ahwatch serve`, and a client of its API.
//! - [`rtsp`]: a camera. [`pulse`]: microphones. [`pipewire`]: a webcam. [`proxy`]: a bad network, [`interleaved`] what RTSP puts on it; [`udp`]: one that loses packets. [`run`]: the program itself, as a user runs it; [`process`]: what the kernel says of it;
//!   [`tty`]: on a terminal.
//!
//! Nothing here sleeps to be right: waits end on a condition, and fail at a deadline.

#![allow(dead_code, reason = "a kit offers more than any one test uses")]
#![allow(clippy::disallowed_methods, reason = "peers have threads and clocks of their own")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "sizes of test media are small"
)]
#![allow(clippy::doc_markdown, clippy::format_push_string, reason = "prose and pipeline text")]
#![allow(clippy::large_stack_arrays, reason = "a second of silence")]

pub mod bah;
pub mod behaviour;
pub mod chromium;
pub mod clip;
pub mod codes;
pub mod decode;
pub mod encoded;
pub mod endpoint;
pub mod feed;
pub mod interleaved;
pub mod media;
pub mod peer;
pub mod pipewire;
pub mod process;
pub mod proxy;
pub mod pulse;
pub mod reply;
pub mod rtsp;
pub mod run;
pub mod scenes;
pub mod senses;
pub mod service;
pub mod station;
pub mod tones;
pub mod tty;
pub mod udp;
pub mod wait;
pub mod wav;

pub use wait::wait_until;
