//! The one integration test binary.

mod kit;
mod wire;
