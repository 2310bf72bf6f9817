//! The fault laboratory: real faults on real components. `make faults` runs it and prints the scorecard.
//!
//! - [`case`]: a case of the table in `docs/reliability.md`, what was measured in it, and the scorecard of all.
//! - [`rig`], [`relay`]: what cases share: the program on a camera; a relay that spoils replies.
//! - [`after`]: what must hold after every case, whatever happened in it. [`secrets`]: what must be read nowhere.
//!
//! The other modules hold the cases, by where the fault is. A case is an ignored test named after its number; it ends
//! with [`after::After::check`] and [`case::Case::end`].

#![allow(dead_code, reason = "a frame offers more than any one case uses")]

mod after;
mod browsers;
mod cameras;
mod case;
mod changes;
mod disk;
mod endpoints;
mod hostile;
mod kills;
mod kills_offline;
mod limits;
mod network;
mod relay;
mod rig;
mod secrets;
mod sinks;
mod soak;
mod times;
mod tls;
