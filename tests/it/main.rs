//! The one integration test binary.

mod kit;
