//! The one integration test binary.

mod kit;
mod watch_file;
mod watch_rtsp;
mod wire;
