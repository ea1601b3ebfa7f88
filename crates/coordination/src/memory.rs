//! The memory engine: everything in this process.

/// Hints, counters and leases within one process.
#[derive(Debug, Default)]
pub struct Memory {}
