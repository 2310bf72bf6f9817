//! The BAH dataset, offline: evaluation, scoring and reports on the same core as live.

pub mod metrics;
