//! The command line: one subcommand per file that it calls.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{report, sink};

/// Load for mail servers: how many users fit, what happens when more come, and is anything ever lost.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Report(report::command::Command),
    Sink(sink::command::Command),
}

/// Runs the command; 0 done and every promise kept, 1 failed or something was lost, 2 wrong usage.
pub fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Report(command) => command.run(),
        Command::Sink(command) => command.run(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("postrider-loadtest: {error:#}");
        ExitCode::FAILURE
    })
}
