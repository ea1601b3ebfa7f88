//! What one thread has recorded.

use hdrhistogram::Histogram;

use super::MOST_SECONDS;
use crate::operation::{Operation, Outcome};

/// By operation, made when it is first used.
#[derive(Debug, Default)]
pub(super) struct Shard {
    tallies: [Option<Box<Tally>>; Operation::ALL.len()],
}

/// One operation in one shard.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) offered: u64,
    pub(super) done: u64,
    pub(super) deferred: u64,
    pub(super) refused: u64,
    pub(super) broken: u64,
    /// All latencies, 3 significant digits; grows with the longest one.
    pub(super) all: Histogram<u64>,
    /// Counts by second since the run began.
    pub(super) seconds: Vec<Count>,
    /// Latencies of the second that goes on, 2 significant digits.
    pub(super) live: Histogram<u64>,
    pub(super) live_second: u32,
}

/// One second.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    pub(super) offered: u32,
    pub(super) done: u32,
    pub(super) failed: u32,
}

impl Shard {
    pub(super) fn tally(&mut self, operation: Operation) -> &mut Tally {
        self.tallies[operation as usize].get_or_insert_default()
    }

    pub(super) fn tallies(&mut self) -> impl Iterator<Item = (Operation, &mut Tally)> {
        Operation::ALL
            .into_iter()
            .zip(&mut self.tallies)
            .filter_map(|(operation, tally)| Some((operation, tally.as_deref_mut()?)))
    }
}

impl Tally {
    pub(super) fn end(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.done += 1,
            Outcome::Deferred => self.deferred += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Broken => self.broken += 1,
        }
    }

    pub(super) fn ended(&self) -> u64 {
        self.done + self.deferred + self.refused + self.broken
    }

    /// The counts of a second; none when it is past what is told apart.
    pub(super) fn second(&mut self, at: u32) -> Option<&mut Count> {
        if at >= MOST_SECONDS {
            return None;
        }
        let at = at as usize;
        if self.seconds.len() <= at {
            self.seconds.resize(at + 1, Count::default());
        }
        self.seconds.get_mut(at)
    }

    /// Adds another shard's totals and counts (not the second that goes on).
    pub(super) fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.done += other.done;
        self.deferred += other.deferred;
        self.refused += other.refused;
        self.broken += other.broken;
        if let Err(error) = self.all.add(&other.all) {
            // Both have 3 digits and grow; they always fit.
            tracing::warn!(%error, "histograms do not add up");
        }
        if self.seconds.len() < other.seconds.len() {
            self.seconds.resize(other.seconds.len(), Count::default());
        }
        for (own, theirs) in self.seconds.iter_mut().zip(&other.seconds) {
            own.offered += theirs.offered;
            own.done += theirs.done;
            own.failed += theirs.failed;
        }
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            offered: 0,
            done: 0,
            deferred: 0,
            refused: 0,
            broken: 0,
            all: histogram(3),
            seconds: Vec::new(),
            live: histogram(2),
            live_second: 0,
        }
    }
}

/// An empty histogram of microseconds that grows with the longest latency, so that fast runs stay small.
pub(super) fn histogram(digits: u8) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, 1_000_000, digits)
        .unwrap_or_else(|error| unreachable!("these bounds are constant and good: {error}"));
    histogram.auto(true);
    histogram
}

/// Records a value so many times, growing the histogram when it must.
pub(super) fn record(histogram: &mut Histogram<u64>, value: u64, times: u64) {
    if histogram.record_n(value, times).is_err() {
        histogram.saturating_record_n(value, times);
    }
}
