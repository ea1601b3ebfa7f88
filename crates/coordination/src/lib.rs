//! Hints, counters and leases between processes.
