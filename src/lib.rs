//! placeholder

pub mod config;
pub mod time;
pub mod window;
pub mod encode;
pub mod judge;
