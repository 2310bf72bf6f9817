//! placeholder

pub mod config;
pub mod time;
pub mod source;
pub mod window;
pub mod gate;
pub mod encode;
pub mod judge;
pub mod session;
pub mod alert;
pub mod run;
