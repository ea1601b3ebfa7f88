//! Whether a step held.

use super::{Bounds, Step};
use crate::report::data::{KneeStep, Measured, Report, Second};
use crate::report::histogram::merged;

/// Judges what was due in the measured stretch, however late it ended. `cpu`: seconds the server used in the whole step.
pub(super) fn judge(report: &Report, bounds: &Bounds, factor: f64, cpu: Option<f64>) -> Step {
    let from = seconds(bounds.warm_up.as_secs());
    let until = from + seconds(bounds.step.as_secs());
    let length = bounds.step.as_secs_f64().max(1.0);
    let all = || report.operations.values();
    let acceptances = || {
        let operations = report.operations.iter();
        operations
            .filter(|(operation, _)| operation.is_acceptance())
            .map(|(_, measured)| measured)
    };

    let within = |second: &&Second| (from..until).contains(&second.at);
    let offered: u64 = all()
        .flat_map(|one| &one.seconds)
        .filter(within)
        .map(|one| one.offered)
        .sum();
    let done: u64 = all()
        .flat_map(|one| &one.seconds)
        .filter(within)
        .map(|one| one.done)
        .sum();
    let accepted: u64 = acceptances()
        .flat_map(|one| &one.seconds)
        .filter(within)
        .map(|one| one.done)
        .sum();
    let due: u64 = acceptances()
        .flat_map(|one| &one.seconds)
        .filter(within)
        .map(|one| one.offered)
        .sum();

    let late = |second: &&Second| second.at >= from;
    let latencies = acceptances()
        .flat_map(|one| &one.seconds)
        .filter(late)
        .map(|one| one.histogram.as_str());
    let p99 = merged(latencies).map_or(0, |histogram| histogram.value_at_quantile(0.99));
    let ended_well: u64 = all()
        .flat_map(|one| &one.seconds)
        .filter(late)
        .map(|one| one.done)
        .sum();
    let failed: u64 = all()
        .flat_map(|one| &one.seconds)
        .filter(late)
        .map(|one| one.failed)
        .sum::<u64>()
        + all().map(unended).sum::<u64>();
    let errors = match ended_well + failed {
        0 => 0.0,
        ended => failed as f64 / ended as f64,
    };

    let quick = u128::from(p99) <= bounds.p99.as_micros();
    // Nothing accepted has no latency; that is not quick.
    let alive = due == 0 || accepted > 0;
    Step {
        told: KneeStep {
            factor,
            offered: offered as f64 / length,
            achieved: done as f64 / length,
            p99,
            errors,
            cpu: cpu.unwrap_or(0.0) / (bounds.warm_up + bounds.step).as_secs_f64().max(1.0),
            held: quick && alive && errors <= bounds.errors,
        },
        accepted: accepted as f64 / length,
    }
}

/// Due, and without any end: clients that were stopped after the run's patience.
fn unended(measured: &Measured) -> u64 {
    measured.offered.saturating_sub(measured.done + measured.failed())
}

fn seconds(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::operation::{Operation, Outcome};
    use crate::profile::Profile;
    use crate::recorder::Recorder;
    use crate::report::data::{Environment, Run};

    const BOUNDS: Bounds = Bounds {
        p99: Duration::from_millis(500),
        errors: 0.01,
        step: Duration::from_secs(10),
        warm_up: Duration::from_secs(5),
        rounds: 4,
        attempts: 2,
    };

    /// Ten messages per second for 15 s; each takes so many milliseconds, by its second, and ends so.
    fn report(of: impl Fn(u64) -> (u64, Outcome)) -> Report {
        let recorder = Recorder::new(Instant::now(), Duration::from_secs(15));
        for number in 0..150 {
            let second = number / 10;
            let due = recorder.begin() + Duration::from_millis(number * 100);
            let (millis, outcome) = of(second);
            recorder.offered(Operation::MxMessage, due);
            let end = due + Duration::from_millis(millis);
            recorder.ended_at(Operation::MxMessage, due, end, outcome);
        }
        Report {
            format: 1,
            run: Run {
                system: String::new(),
                command: String::new(),
                started: String::new(),
                seconds: 15.0,
                seed: 1,
                part: (1, 1),
                generator: String::new(),
            },
            environment: Environment::default(),
            profile: Profile::load("smoke").expect("shipped"),
            operations: recorder.measured(),
            processes: Vec::new(),
            gauges: BTreeMap::new(),
            marks: Vec::new(),
            ledger: None,
            knee: None,
        }
    }

    #[test]
    fn what_is_quick_and_well_holds() {
        let step = judge(&report(|_| (50, Outcome::Done)), &BOUNDS, 2.0, Some(7.5));
        assert!(step.told.held, "{step:?}");
        assert!(
            (step.accepted - 10.0).abs() < 0.2 && (step.told.offered - 10.0).abs() < 0.2,
            "{step:?}"
        );
        assert!((step.told.cpu - 0.5).abs() < 1e-9 && step.told.p99.abs_diff(50_000) < 1000);
    }

    #[test]
    fn a_slow_warm_up_is_forgiven_and_a_slow_stretch_is_not() {
        let slow = |until: u64| {
            move |second| match second < until {
                true => (900, Outcome::Done),
                false => (50, Outcome::Done),
            }
        };
        assert!(judge(&report(slow(4)), &BOUNDS, 1.0, None).told.held);
        assert!(!judge(&report(slow(9)), &BOUNDS, 1.0, None).told.held);
    }

    #[test]
    fn what_ends_after_the_stretch_counts() {
        let report = report(|second| {
            if second == 14 {
                (30_000, Outcome::Done)
            } else {
                (5, Outcome::Done)
            }
        });
        assert!(!judge(&report, &BOUNDS, 1.0, None).told.held);
    }

    #[test]
    fn errors_break_it() {
        let report = report(|second| {
            if second == 8 {
                (5, Outcome::Deferred)
            } else {
                (5, Outcome::Done)
            }
        });
        let step = judge(&report, &BOUNDS, 1.0, None);
        assert!(
            !step.told.held && (step.told.errors - 0.1).abs() < 1e-9,
            "{step:?}"
        );
    }

    #[test]
    fn silence_is_not_quick() {
        let mut report = report(|_| (5, Outcome::Done));
        for measured in report.operations.values_mut() {
            measured.done = 0;
            for second in &mut measured.seconds {
                second.done = 0;
                second.histogram.clear();
            }
        }
        assert!(!judge(&report, &BOUNDS, 1.0, None).told.held);
    }
}
