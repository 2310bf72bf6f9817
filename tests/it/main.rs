//! The one integration test binary.

#![allow(clippy::disallowed_methods, reason = "tests and their peers have threads and clocks of their own")]
#![allow(
    clippy::format_push_string,
    clippy::large_stack_arrays,
    clippy::type_complexity,
    reason = "a matter of speed and of interfaces, which tests have none of"
)]

/// As the program has, since some tests play media in this process and look at what it keeps.
#[global_allocator]
static MEMORY: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

mod attacks;
mod bah;
mod books;
mod browser;
mod canary;
mod cli;
mod conformance;
mod control;
mod deploy;
mod devices;
mod doctor;
mod faults;
mod fuzz;
mod gate;
mod isolation;
mod journal;
mod kit;
mod long;
mod many;
mod odd_media;
mod outage;
mod pushed;
mod record;
mod recorded;
mod reload;
mod replicas;
mod rtsps;
mod screen;
mod serve;
mod servers;
mod tidy;
mod watch_file;
mod watch_rtsp;
mod whip;
mod whip_chromium;
mod wire;
