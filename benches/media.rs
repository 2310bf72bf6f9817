//! Measures what a stream costs.

fn main() {}
