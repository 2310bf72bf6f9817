//! What others reach over the network.
//!
//! - [`whip`]: participants' browsers send their camera and microphone (WebRTC, by RFC 9725).

pub mod whip;
