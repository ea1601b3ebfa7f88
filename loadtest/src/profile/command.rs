//! `postrider-loadtest profiles`.
#![allow(clippy::print_stdout, reason = "a command talks to a person")]

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use super::{Profile, SHIPPED};

/// List the shipped profiles, print one, or check one of your own.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  postrider-loadtest profiles office > mine.toml
      A profile to begin one's own with.
  postrider-loadtest profiles --check mine.toml
      Every mistake in it, before a run.")]
pub struct Command {
    /// Print this one.
    name: Option<String>,
    /// Check a file.
    #[arg(long, value_name = "FILE", conflicts_with = "name")]
    check: Option<String>,
}

impl Command {
    /// Runs it.
    pub fn run(&self) -> Result<ExitCode> {
        if let Some(path) = &self.check {
            let profile = Profile::load(path)?;
            println!("{}: no mistakes", profile.name);
            return Ok(ExitCode::SUCCESS);
        }
        match &self.name {
            Some(name) => match SHIPPED.iter().find(|(shipped, _)| shipped == name) {
                Some((_, text)) => print!("{text}"),
                None => bail!("no profile named {name} is shipped"),
            },
            None => {
                for (name, text) in SHIPPED {
                    println!("{name:<14} {}", Profile::parse(text)?.about);
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
