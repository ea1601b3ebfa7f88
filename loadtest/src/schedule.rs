//! When things are due: an open-loop schedule, the same for the same seed, that any number of generators can share.
//!
//! The integrated rate Λ(t) of a profile's phases says how many arrivals are expected until `t`. An arrival is where Λ
//! reaches the next point of a unit-rate process: evenly spaced points for constant arrivals, points with exponential gaps
//! for a Poisson process. Inverting Λ (a square root, in a ramp) makes ramps exact instead of staircases, and rates of
//! zero cost nothing.
//!
//! Every generator of a run computes the whole schedule and keeps every n-th arrival, so parts never overlap and together
//! are the schedule, whatever their clocks do in between. An arrival's number is its place in the *whole* schedule.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::profile::{Arrivals, Phase};

/// Something that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Its place in the whole schedule, from 0; parts of a run have disjoint numbers.
    pub number: u64,
    /// When it is due, since the run began.
    pub at: Duration,
}

/// The arrivals of one actor, in order; ends with the run.
#[derive(Debug, Clone)]
pub struct Schedule {
    segments: Vec<Segment>,
    /// The segment that the next arrival is looked for in.
    at: usize,
    arrivals: Arrivals,
    seed: u64,
    /// The number of the next arrival of the whole schedule.
    number: u64,
    /// Where the unit-rate process is.
    reached: f64,
    part: (u32, u32),
}

/// A stretch of time over which the rate is linear.
#[derive(Debug, Clone, Copy)]
struct Segment {
    /// Seconds since the run began.
    begin: f64,
    /// Seconds.
    length: f64,
    /// Per second, at the beginning.
    from: f64,
    /// Per second, at the end.
    to: f64,
    /// Arrivals expected before it.
    before: f64,
}

impl Schedule {
    /// The arrivals of `phases` until `length`; the last phase goes on at the rate it ends with. A phase that says
    /// neither a level nor a ramp, and a rate that is not a number above zero, is silence.
    pub fn new(phases: &[Phase], length: Duration, arrivals: Arrivals, seed: u64) -> Self {
        Self {
            segments: segments(phases, length.as_secs_f64()),
            at: 0,
            arrivals,
            seed,
            number: 0,
            reached: 0.0,
            part: (1, 1),
        }
    }

    /// All rates times `factor`.
    #[must_use]
    pub fn times(mut self, factor: f64) -> Self {
        let factor = rate(factor);
        for segment in &mut self.segments {
            segment.from *= factor;
            segment.to *= factor;
            segment.before *= factor;
        }
        self
    }

    /// Only every n-th arrival: the `k`-th of `n` parts, from 1.
    #[must_use]
    pub fn part(mut self, (k, n): (u32, u32)) -> Self {
        let n = n.max(1);
        self.part = (k.clamp(1, n), n);
        self
    }

    /// How many arrivals the whole schedule is expected to have (exactly so, rounded, when they are constant).
    pub fn expected(&self) -> f64 {
        self.segments.last().map_or(0.0, Segment::after)
    }

    /// The next arrival of the whole schedule.
    fn whole(&mut self) -> Option<Arrival> {
        let number = self.number;
        let point = match self.arrivals {
            // In the middle of its interval, so that actors with the same rate and phases of full seconds do not all
            // begin in the first instant.
            Arrivals::Constant => number as f64 + 0.5,
            Arrivals::Poisson => self.reached + exponential(self.seed, number),
        };
        while point >= self.segments.get(self.at)?.after() {
            self.at += 1;
        }
        self.number += 1;
        self.reached = point;
        let at = self.segments.get(self.at)?.when(point);
        Some(Arrival {
            number,
            at: Duration::from_secs_f64(at),
        })
    }
}

impl Iterator for Schedule {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        let (k, n) = self.part;
        loop {
            let arrival = self.whole()?;
            if arrival.number % u64::from(n) == u64::from(k - 1) {
                return Some(arrival);
            }
        }
    }
}

impl Segment {
    /// Arrivals expected within it.
    fn within(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.length
    }

    /// Arrivals expected until its end.
    fn after(&self) -> f64 {
        self.before + self.within()
    }

    /// When the integrated rate reaches `point`, in seconds since the run began.
    fn when(&self, point: f64) -> f64 {
        let slope = (self.to - self.from) / self.length;
        let wanted = (point - self.before).max(0.0);
        // The root of `from·x + slope/2·x² = wanted`, in the form that neither divides by a slope of zero nor loses digits.
        let root = (self.from * self.from + 2.0 * slope * wanted).max(0.0).sqrt();
        let into = 2.0 * wanted / (self.from + root);
        let into = if into.is_finite() { into } else { 0.0 };
        self.begin + into.clamp(0.0, self.length)
    }
}

/// The phases, cut at the end of the run or continued until it.
fn segments(phases: &[Phase], length: f64) -> Vec<Segment> {
    let mut found: Vec<Segment> = Vec::with_capacity(phases.len() + 1);
    let mut begin = 0.0;
    let mut last = 0.0;
    let mut push = |begin: f64, length: f64, from: f64, to: f64| {
        let before = found.last().map_or(0.0, Segment::after);
        if length > 0.0 {
            found.push(Segment {
                begin,
                length,
                from,
                to,
                before,
            });
        }
    };
    for phase in phases {
        let (from, to) = phase.rates();
        let (from, to) = (rate(from), rate(to));
        let whole = phase.length.as_secs_f64();
        let kept = whole.min(length - begin);
        if kept <= 0.0 {
            break;
        }
        push(begin, kept, from, from + (to - from) * kept / whole);
        begin += kept;
        last = to;
    }
    push(begin, length - begin, last, last);
    found
}

fn rate(value: f64) -> f64 {
    if value.is_finite() { value.max(0.0) } else { 0.0 }
}

/// An exponential gap with mean 1. A hash of the number instead of a generator's state: it is the same on every machine
/// and with every version of a library.
fn exponential(seed: u64, number: u64) -> f64 {
    let random = xxh3_64_with_seed(&number.to_le_bytes(), seed);
    // 53 bits in (0, 1]: the logarithm of 0 does not exist.
    let uniform = ((random >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    -uniform.ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn level(seconds: u64, at: f64) -> Phase {
        Phase {
            length: Duration::from_secs(seconds),
            at: Some(at),
            from: None,
            to: None,
        }
    }

    fn ramp(seconds: u64, from: f64, to: f64) -> Phase {
        Phase {
            length: Duration::from_secs(seconds),
            at: None,
            from: Some(from),
            to: Some(to),
        }
    }

    fn constant(phases: &[Phase], seconds: u64) -> Schedule {
        Schedule::new(phases, Duration::from_secs(seconds), Arrivals::Constant, 0)
    }

    #[test]
    fn a_level_rate_is_evenly_spaced() {
        let at: Vec<u128> = constant(&[level(1, 4.0)], 1)
            .map(|arrival| arrival.at.as_millis())
            .collect();
        assert_eq!(at, [125, 375, 625, 875]);
    }

    #[test]
    fn a_ramp_is_exact() {
        // From 0 to 10/s in 10 s: Λ(t) = t²/2, so the arrival at point p is due at √(2p).
        for arrival in constant(&[ramp(10, 0.0, 10.0)], 10) {
            let due = (2.0 * (arrival.number as f64 + 0.5)).sqrt();
            assert!((arrival.at.as_secs_f64() - due).abs() < 1e-9);
        }
    }

    #[test]
    fn the_last_phase_goes_on_and_a_long_one_is_cut() {
        assert_eq!(constant(&[ramp(10, 0.0, 10.0)], 20).count(), 50 + 100);
        assert_eq!(constant(&[ramp(10, 0.0, 10.0)], 5).count(), 12); // the 13th would be due as the run ends
        assert_eq!(constant(&[level(2, 5.0), level(1, 0.0)], 60).count(), 10);
    }

    #[test]
    fn silence_costs_nothing_and_nonsense_is_silence() {
        assert_eq!(constant(&[], 10).count(), 0);
        assert_eq!(constant(&[level(10, f64::NAN)], 10).count(), 0);
        assert_eq!(constant(&[level(10, -3.0)], 10).count(), 0);
        let at = constant(&[level(5, 0.0), level(5, 1.0)], 10).next().expect("one");
        assert_eq!(at.at, Duration::from_millis(5500));
    }

    #[test]
    fn gaps_of_a_poisson_process_are_exponential() {
        let at: Vec<f64> = Schedule::new(
            &[level(100, 1000.0)],
            Duration::from_secs(100),
            Arrivals::Poisson,
            7,
        )
        .map(|arrival| arrival.at.as_secs_f64())
        .collect();
        let gaps: Vec<f64> = at.windows(2).map(|pair| (pair[1] - pair[0]) * 1000.0).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 1.0).abs() < 0.02, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.05, "variance {variance}");
        let over = gaps.iter().filter(|gap| **gap > 3.0).count() as f64 / gaps.len() as f64;
        assert!((over - (-3.0_f64).exp()).abs() < 0.005, "P(gap > 3) = {over}");
    }

    fn phases() -> impl Strategy<Value = Vec<Phase>> {
        let phase = prop_oneof![
            (0_u64..20, 0.0..80.0).prop_map(|(seconds, at)| level(seconds, at)),
            (0_u64..20, 0.0..80.0, 0.0..80.0).prop_map(|(seconds, from, to)| ramp(seconds, from, to)),
        ];
        prop::collection::vec(phase, 0..6)
    }

    fn kinds() -> impl Strategy<Value = Arrivals> {
        prop_oneof![Just(Arrivals::Constant), Just(Arrivals::Poisson)]
    }

    proptest! {
        #[test]
        fn as_many_as_the_integral(phases in phases(), kind in kinds(), seed: u64, seconds in 1_u64..60, factor in 0.1_f64..3.0) {
            let schedule = Schedule::new(&phases, Duration::from_secs(seconds), kind, seed).times(factor);
            let expected = schedule.expected();
            let count = schedule.count() as f64;
            let slack = match kind {
                Arrivals::Constant => 0.5 + 1e-6,
                // Six standard deviations.
                Arrivals::Poisson => 6.0 * expected.sqrt() + 6.0,
            };
            prop_assert!((count - expected).abs() <= slack, "{count} of {expected}");
        }

        #[test]
        fn in_order_and_within_the_run(phases in phases(), kind in kinds(), seed: u64, seconds in 1_u64..60) {
            let length = Duration::from_secs(seconds);
            let mut before = Duration::ZERO;
            for (place, arrival) in Schedule::new(&phases, length, kind, seed).enumerate() {
                prop_assert!(arrival.at >= before && arrival.at <= length);
                prop_assert_eq!(arrival.number, place as u64);
                before = arrival.at;
            }
        }

        #[test]
        fn parts_are_disjoint_and_complete(phases in phases(), kind in kinds(), seed: u64, n in 1_u32..6) {
            let whole = Schedule::new(&phases, Duration::from_secs(30), kind, seed);
            let mut together: Vec<Arrival> = (1..=n).flat_map(|k| whole.clone().part((k, n))).collect();
            together.sort_by_key(|arrival| arrival.number);
            prop_assert_eq!(together, whole.collect::<Vec<_>>());
        }
    }
}
