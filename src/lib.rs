//! placeholder

pub mod time;
pub mod window;
pub mod judge;
pub mod session;
pub mod alert;
