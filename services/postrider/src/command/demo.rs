//! `postrider demo`: two mail servers and the textbook's letter.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::demo;

/// See a letter travel: two mail servers on this machine, every dialogue shown, then both keep serving
///
/// Needs no root, no other program and no network; leaves nothing outside its data directory.
#[derive(Args)]
pub struct Demo {
    /// Stop after the letter has arrived; the exit status says whether every step worked
    #[arg(long)]
    once: bool,
    /// Keep the servers' data here [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Demo {
    /// Does it.
    pub fn run(self) -> Result<()> {
        // What the demonstration shows, it prints; logs would only be in between.
        postrider_runtime::telemetry::log_for_demo();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime
            .context("cannot start the executor")?
            .block_on(demo::run(self.data, self.once))
    }
}
