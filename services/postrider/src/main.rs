//! The mail system in one binary: roles, wiring, administration and the user agent.

fn main() {}
