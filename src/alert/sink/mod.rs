//! Sinks: receivers of events beyond this machine, which may be slow, away or gone without anything being lost.
//!
//! - `address`: which addresses a webhook may be sent to.

pub mod address;
