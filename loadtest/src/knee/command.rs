//! `postrider-loadtest knee`.
#![allow(clippy::print_stdout, reason = "a command talks to a person")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use postrider_runtime::config::parse_duration;

use super::{Bounds, find};
use crate::report::text::Text;
use crate::run::command::{Load, interrupted};
use crate::run::{PAGE, REPORT};

/// Raise a profile's rates until the server cannot keep up: how many messages, how many users?
///
/// Plays the profile at level rates, step by step: factors double until a bound breaks, then the gap is halved. Nothing is
/// verified meanwhile; `run --rate-factor` with the answer says whether anything is lost there.
///
/// Exit status: 0 a step held, 1 none did or it failed, 2 wrong usage.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Command {
    #[command(flatten)]
    load: Load,
    /// The bound on p99 of acceptance: the wait for the reply to the final dot.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "500ms")]
    p99: Duration,
    /// The bound on the share of operations that do not end well.
    #[arg(long, value_name = "SHARE", default_value_t = 0.001)]
    errors: f64,
    /// How long a step is measured.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "15s")]
    step: Duration,
    /// How long a step runs before it is measured.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "5s")]
    warm_up: Duration,
    /// Halvings of the gap after the first break; 4 narrow the answer down to 6 %.
    #[arg(long, default_value_t = 4)]
    rounds: u32,
    /// A step has broken when it broke so many times in a row.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    attempts: u32,
}

const EXAMPLES: &str = "\
Examples:
  postrider-loadtest knee --profile provider --target here.toml --rate-factor 0.1
      Begins at a tenth of the profile's rates.
  postrider-loadtest knee --profile office --target here.toml --p99 2s --errors 0.01 --step 1m
      How many people can work there, if two seconds are good enough?";

impl Command {
    /// Runs it.
    pub async fn run(self) -> Result<ExitCode> {
        if self.step < Duration::from_secs(1) {
            bail!("--step is less than 1s: too short to measure");
        }
        if !(0.0..=1.0).contains(&self.errors) {
            bail!("--errors is a share, from 0 to 1");
        }
        let options = self.load.options()?;
        let bounds = Bounds {
            p99: self.p99,
            errors: self.errors,
            step: self.step,
            warm_up: self.warm_up,
            rounds: self.rounds,
            attempts: self.attempts,
        };
        let report = find(&options, &bounds, &interrupted()).await?;
        println!("{}", Text(&report));
        println!(
            "{}  {}",
            options.out.join(REPORT).display(),
            options.out.join(PAGE).display()
        );
        let held = report
            .knee
            .is_some_and(|knee| knee.steps.iter().any(|step| step.held));
        Ok(if held {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
