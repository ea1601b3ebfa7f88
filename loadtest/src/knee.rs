//! Where a server's knee is: the rates of a profile are raised until the server cannot keep up, then the point is narrowed down.
//!
//! Every step plays the profile at level rates (each actor's mean, times the step's factor) for a warm-up that is not counted
//! and a stretch that is. It holds while the p99 of acceptance (the wait for the reply to the final dot) and the share of
//! operations that did not end well stay within their bounds. Factors double until one breaks (or halve, when the first one
//! does), then the gap is bisected. A step that breaks is tried once more, for the machine may have been at something else.
//! Between steps it waits until the server is calm, so that a step does not pay for the one before.
//!
//! Steps are not reconciled: `run` at the answer's rate says whether anything is lost there.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio_util::sync::CancellationToken;

use crate::process::Sampler;
use crate::profile::{Actor, Arrivals, Phase, Pollers, Profile, Sender};
use crate::progress::Style;
use crate::report::amount;
use crate::report::data::{Knee, KneeStep, Report};
use crate::run::{self, Options, Run};
use crate::schedule::Schedule;

mod calm;
pub mod command;
mod judge;
mod search;

use search::Search;

/// What breaks, and how it is looked for.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// The bound on p99 of acceptance.
    pub p99: Duration,
    /// The bound on the share of operations that did not end well, 0 to 1.
    pub errors: f64,
    /// How long a step is measured.
    pub step: Duration,
    /// How long it runs before it is measured.
    pub warm_up: Duration,
    /// Bisections after the first break: 4 narrow the answer down to 6 %.
    pub rounds: u32,
    /// A step has broken when it broke so many times in a row: a machine has other things to do now and then.
    pub attempts: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            p99: Duration::from_millis(500),
            errors: 0.001,
            step: Duration::from_secs(15),
            warm_up: Duration::from_secs(5),
            rounds: 4,
            attempts: 2,
        }
    }
}

/// A step and what the answer takes from it.
#[derive(Debug, Clone)]
struct Step {
    told: KneeStep,
    /// Messages accepted per second.
    accepted: f64,
}

/// Searches. The report is that of the best step that held (of the last one, when none did), with the search in
/// [`Report::knee`]; `interrupt` ends it with what is known by then.
pub async fn find(options: &Options, bounds: &Bounds, interrupt: &CancellationToken) -> Result<Report> {
    fs::create_dir_all(&options.out).with_context(|| format!("cannot make {}", options.out.display()))?;
    let profile = level(&options.profile, bounds);
    let watch = Sampler::start(Instant::now(), &options.target, &options.gauges)?;
    let mut search = Search::new(bounds.rounds, bounds.attempts);
    let mut best: Option<Report> = None;
    let mut steps: Vec<Step> = Vec::new();
    show(options.progress, HEADING);
    while let Some(factor) = search.next() {
        let before = watch.server_cpu();
        let report = play(options, &profile, factor, interrupt).await?;
        let cpu = watch
            .server_cpu()
            .zip(before)
            .map(|(after, before)| after - before);
        if interrupt.is_cancelled() && !steps.is_empty() {
            break;
        }
        let step = judge::judge(&report, bounds, factor, cpu);
        show(options.progress, &line(&step));
        search.told(step.told.held);
        // Factors that hold only grow, so the last one that held is the best.
        if step.told.held || !steps.iter().any(|known| known.told.held) {
            best = Some(report);
        }
        steps.push(step);
        if interrupt.is_cancelled() {
            break;
        }
        calm::wait(&watch, interrupt).await;
    }
    let mut report = best.context("it was interrupted before the first step had ended")?;
    report.knee = Some(answer(&options.profile, bounds, steps));
    run::write(&report, &options.out)?;
    Ok(report)
}

/// What a step shows is written into a directory that goes with it: its ledger is not looked at.
async fn play(
    options: &Options,
    profile: &Profile,
    factor: f64,
    interrupt: &CancellationToken,
) -> Result<Report> {
    let directory = tempfile::tempdir_in(&options.out).context("no directory for a step's ledger")?;
    let options = Options {
        profile: profile.scaled(factor),
        verify: false,
        out: directory.path().to_owned(),
        ..options.clone()
    };
    let mut run = Run::start(options).await?;
    let progress = run.show();
    run.play(interrupt, &progress).await;
    progress.finish();
    run.finish().await
}

/// The profile with every rate at its own mean, as long as a step.
fn level(profile: &Profile, bounds: &Bounds) -> Profile {
    let length = bounds.warm_up + bounds.step;
    let mut level = profile.clone();
    for actor in &mut level.actors {
        if let Actor::Mx(Sender { rate, .. })
        | Actor::Submission(Sender { rate, .. })
        | Actor::Pop3Poller(Pollers { rate, .. }) = actor
        {
            let whole = Schedule::new(rate, profile.duration, Arrivals::Constant, 0).expected();
            *rate = vec![Phase {
                length,
                at: Some(whole / profile.duration.as_secs_f64()),
                from: None,
                to: None,
            }];
        }
    }
    level.duration = length;
    level
}

fn answer(profile: &Profile, bounds: &Bounds, steps: Vec<Step>) -> Knee {
    let best = steps.iter().rfind(|step| step.told.held);
    Knee {
        p99_bound: u64::try_from(bounds.p99.as_micros()).unwrap_or(u64::MAX),
        error_bound: bounds.errors,
        messages_per_second: best.map_or(0.0, |step| step.accepted),
        users: best
            .and_then(|step| profile.scaled(step.told.factor).users)
            .unwrap_or(0),
        steps: steps.into_iter().map(|step| step.told).collect(),
    }
}

const HEADING: &str = "  factor    due/s   done/s  accepted/s        p99   errors   CPU";

fn line(step: &Step) -> String {
    let told = &step.told;
    format!(
        "{:>8.3} {:>8.1} {:>8.1} {:>11.1} {:>10} {:>8} {:>5.2}  {}",
        told.factor,
        told.offered,
        told.achieved,
        step.accepted,
        amount::micros(told.p99 as f64),
        amount::share(told.errors),
        told.cpu,
        if told.held { "held" } else { "broke" }
    )
}

fn show(style: Style, line: &str) {
    if style != Style::Silent {
        eprintln!("{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_profile_has_the_means_of_its_rates() {
        let bounds = Bounds::default();
        let level = level(&Profile::load("provider").expect("shipped"), &bounds);
        assert_eq!(level.duration, Duration::from_secs(20));
        let rates: Vec<f64> = level
            .actors
            .iter()
            .filter_map(|actor| match actor {
                Actor::Mx(sender) | Actor::Submission(sender) => sender.rate[0].at,
                _ => None,
            })
            .collect();
        // 20 s from 50 to 700, 100 s at 700; 20 s from 20 to 280, 100 s at 280.
        assert!(
            (rates[0] - (20.0 * 375.0 + 100.0 * 700.0) / 120.0).abs() < 1e-6,
            "{rates:?}"
        );
        assert!(
            (rates[1] - (20.0 * 150.0 + 100.0 * 280.0) / 120.0).abs() < 1e-6,
            "{rates:?}"
        );
    }

    #[test]
    fn the_answer_is_the_last_step_that_held() {
        let step = |factor, held, accepted| Step {
            told: KneeStep {
                factor,
                offered: 1.0,
                achieved: 1.0,
                p99: 1,
                errors: 0.0,
                cpu: 0.0,
                held,
            },
            accepted,
        };
        let steps = vec![
            step(1.0, true, 10.0),
            step(2.0, false, 12.0),
            step(1.5, true, 14.0),
            step(1.75, false, 13.0),
        ];
        let office = Profile::load("office").expect("shipped");
        let knee = answer(&office, &Bounds::default(), steps);
        assert_eq!((knee.messages_per_second, knee.users), (14.0, 750));
        assert_eq!(knee.steps.len(), 4);
        assert_eq!(answer(&office, &Bounds::default(), Vec::new()).users, 0);
    }
}
