//! The seconds of an operation, put together so that a plot has neither too many points nor points of one sample.

use crate::report::data::{Latency, Measured, Second};
use crate::report::histogram;

/// Lengths that a bucket may have, in seconds.
const LENGTHS: [u32; 14] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200];

/// At most so many points in a line.
const POINTS: f64 = 300.0;

/// A bucket holds about so many results, so that its p99 is not merely its maximum, when that leaves [`FEWEST`] points.
const RESULTS: f64 = 100.0;

/// A line keeps at least so many points.
const FEWEST: f64 = 60.0;

/// One operation over time.
#[derive(Debug)]
pub struct Buckets {
    /// How long each is, in seconds.
    pub length: u32,
    /// All of them, the empty ones too.
    pub all: Vec<Bucket>,
}

/// A stretch of time.
#[derive(Debug, Clone, Default)]
pub struct Bucket {
    /// Its middle, seconds since the run began.
    pub middle: f64,
    /// Seconds of it that lie inside the run.
    pub length: f64,
    /// How many were due in it.
    pub offered: u64,
    /// How many ended well in it.
    pub done: u64,
    /// How many ended otherwise in it.
    pub failed: u64,
    /// Latency of those that ended well; `None` when there are none.
    pub latency: Option<Latency>,
}

impl Buckets {
    /// One operation in a run whose last second ends at `end`.
    pub fn of(measured: &Measured, end: f64) -> Self {
        Self::with_length(&[measured], end, fitting(measured.done, end), true)
    }

    /// Several operations added up, counts only: for throughput.
    pub fn sum(operations: &[&Measured], end: f64) -> Self {
        let done = operations.iter().map(|measured| measured.done).sum();
        Self::with_length(operations, end, fitting(done, end), false)
    }

    fn with_length(operations: &[&Measured], end: f64, length: u32, latency: bool) -> Self {
        let number = (end / f64::from(length)).ceil().max(1.0) as usize;
        let mut all: Vec<Bucket> = (0..number)
            .map(|index| {
                let begin = index as f64 * f64::from(length);
                let inside = (end - begin).clamp(1.0, f64::from(length));
                Bucket {
                    middle: (begin + f64::from(length) / 2.0).min(end),
                    length: inside,
                    ..Bucket::default()
                }
            })
            .collect();
        let mut seconds: Vec<Vec<&Second>> = vec![Vec::new(); number];
        for second in operations.iter().flat_map(|measured| &measured.seconds) {
            let index = ((second.at / length) as usize).min(number - 1);
            let bucket = &mut all[index];
            bucket.offered += second.offered;
            bucket.done += second.done;
            bucket.failed += second.failed;
            if latency && second.done > 0 {
                seconds[index].push(second);
            }
        }
        for (bucket, seconds) in all.iter_mut().zip(&seconds) {
            bucket.latency = together(seconds);
        }
        Self { length, all }
    }

    /// A line: middle of each bucket and a value.
    pub fn line(&self, value: impl Fn(&Bucket) -> f64) -> Vec<(f64, f64)> {
        self.all
            .iter()
            .map(|bucket| (bucket.middle, value(bucket)))
            .collect()
    }

    /// `by second`, `by 5 s`: for the note beside a plot.
    pub fn note(&self) -> String {
        match self.length {
            1 => "by second".to_owned(),
            length if length.is_multiple_of(60) => format!("by {} min", length / 60),
            length => format!("by {length} s"),
        }
    }
}

/// Percentiles of several seconds: of their histograms, since percentiles themselves do not add up.
fn together(seconds: &[&Second]) -> Option<Latency> {
    match seconds {
        [] => None,
        [only] => Some(only.latency),
        several => histogram::merged(several.iter().map(|second| second.histogram.as_str()))
            .map(|sum| histogram::latency(&sum)),
    }
}

fn fitting(done: u64, end: f64) -> u32 {
    let end = end.max(1.0);
    let least = end / POINTS;
    let most = end / FEWEST;
    let wanted = (RESULTS * end / (done.max(1) as f64)).min(most).max(least);
    let last = LENGTHS[LENGTHS.len() - 1];
    LENGTHS
        .into_iter()
        .find(|length| f64::from(*length) >= wanted)
        .unwrap_or_else(|| (least / f64::from(last)).ceil().max(1.0) as u32 * last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_and_rare_results_get_long_buckets() {
        assert_eq!(fitting(120_000, 120.0), 1);
        assert_eq!(fitting(60_000, 600.0), 2);
        assert_eq!(fitting(60, 600.0), 10);
        assert!(36_000.0 / f64::from(fitting(1_000_000, 36_000.0)) <= POINTS);
        assert!(1e9 / f64::from(fitting(1, 1e9)) <= POINTS);
    }

    #[test]
    fn counts_stay_whole_and_late_ones_fall_into_the_last() {
        let second = |at: u32| Second {
            at,
            offered: 3,
            done: 2,
            failed: 1,
            ..Second::default()
        };
        let measured = Measured {
            done: 20,
            seconds: vec![second(0), second(59), second(90)],
            ..Measured::default()
        };
        let buckets = Buckets::of(&measured, 60.0);
        assert_eq!(buckets.all.iter().map(|bucket| bucket.offered).sum::<u64>(), 9);
        assert_eq!(buckets.all.last().map(|bucket| bucket.done), Some(4));
        assert!(buckets.all.iter().map(|bucket| bucket.length).sum::<f64>() <= 60.0 + 1e-9);
    }
}
