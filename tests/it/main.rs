//! The one integration test binary.

mod kit;
mod tidy;
mod wire;
