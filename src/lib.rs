//! placeholder

pub mod time;
pub mod judge;
