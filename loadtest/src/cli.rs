//! The command line: one subcommand per file that it calls.

use std::future::Future;
use std::process::ExitCode;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

use crate::{compare, demo, knee, ledger, merge, profile, report, run, sink, soak};

/// Load for mail servers: how many users fit, what happens when more come, and is anything ever lost.
///
/// Works against any SMTP, IMAP and POP3 server. A profile says who does what how often, a target says where; both are TOML
/// files, and some profiles are shipped.
#[derive(Debug, Parser)]
#[command(version, after_long_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::command::Command>),
    Knee(Box<knee::command::Command>),
    Merge(merge::Command),
    Compare(Box<compare::command::Command>),
    Profiles(profile::command::Command),
    Report(report::command::Command),
    Demo(demo::Command),
    Soak(soak::command::Command),
    Sink(sink::command::Command),
    Reconcile(ledger::reconcile::Command),
}

const EXAMPLES: &str = "\
Examples:
  postrider-loadtest profiles
      What is shipped, and whom it models.
  postrider-loadtest run --profile smoke --target here.toml
      Is it all set up? 20 seconds of everything, then the proof that nothing was lost.
  postrider-loadtest knee --profile provider --target here.toml --rate-factor 0.1
      How many messages per second, until it breaks?

Load only what is yours.";

/// Runs the command; 0 done and every promise kept, 1 failed or something was lost, 2 wrong usage.
pub fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(std::io::stderr)
        .init();
    let outcome = match Arguments::parse().command {
        Command::Run(command) => wait(command.run()),
        Command::Knee(command) => wait(command.run()),
        Command::Merge(command) => wait(command.run()),
        Command::Compare(command) => command.run(),
        Command::Profiles(command) => command.run(),
        Command::Report(command) => command.run(),
        Command::Demo(command) => wait(command.run()),
        Command::Soak(command) => wait(command.run()),
        Command::Sink(command) => command.run(),
        Command::Reconcile(command) => command.run(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("postrider-loadtest: {error:#}");
        ExitCode::FAILURE
    })
}

/// Waits for a command on a runtime of its own. Half of the processors are left to the server: it may be on this machine,
/// and a thread of the generator is good for more than ten thousand messages per second.
fn wait<T>(command: impl Future<Output = Result<T>>) -> Result<T> {
    let cores = available_parallelism().map_or(1, usize::from);
    let runtime = Builder::new_multi_thread()
        .worker_threads(cores.div_ceil(2))
        .enable_all()
        .build()
        .context("the runtime cannot begin")?;
    runtime.block_on(Box::pin(command))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
