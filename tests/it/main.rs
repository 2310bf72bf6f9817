<<<<<<< HEAD
mod wire;
=======
//! The one integration test binary.

mod kit;
>>>>>>> kit
