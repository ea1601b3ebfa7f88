//! `postrider-loadtest reconcile`.
#![allow(clippy::print_stdout, reason = "a command talks to a person")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use postrider_runtime::config::parse_duration;

use super::{Options, Verify, reconcile};
use crate::ledger::{Findings, Verdict};
use crate::target::Target;

/// Findings of each kind that are shown; all of them are in files.
const SHOWN: usize = 10;

/// Compare what a run was promised with what is really there: lost, duplicated, altered, out of order.
///
/// Reads every mailbox of every account that was promised something, and changes nothing. The exit status is 0 when every promise
/// was kept, 1 when one was not or nobody can tell.
#[derive(Debug, clap::Args)]
pub struct Command {
    /// The run's ledger: a directory; once for each part of a run that had parts.
    #[arg(long, required = true, value_name = "DIRECTORY", num_args = 1..)]
    ledger: Vec<PathBuf>,
    /// The server that made the promises: the file that was given to `run`.
    #[arg(long, value_name = "FILE")]
    target: PathBuf,
    /// What the sink wrote down; needed when the run sent mail elsewhere.
    #[arg(long, value_name = "FILE")]
    sink_record: Option<PathBuf>,
    /// How accounts are read.
    #[arg(long, value_enum, default_value_t)]
    verify: Verify,
    /// Read ids only, not content: much quicker, and nothing is found altered.
    #[arg(long)]
    ids_only: bool,
    /// How long to wait for mail that is still queued.
    #[arg(long, default_value = "5m", value_parser = parse_duration, value_name = "TIME")]
    wait: Duration,
    /// How long nothing may come before waiting is over: longer than the server pauses between two attempts.
    #[arg(long, default_value = "1m", value_parser = parse_duration, value_name = "TIME")]
    quiet: Duration,
    /// Accounts read at once.
    #[arg(long, default_value_t = 4, value_name = "NUMBER")]
    connections: usize,
    /// Write the verdict as JSON to this file as well.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Command {
    /// Runs it to its end.
    pub fn run(self) -> Result<ExitCode> {
        let text = std::fs::read_to_string(&self.target)
            .with_context(|| format!("cannot read the target {}", self.target.display()))?;
        let target: Target =
            toml::from_str(&text).with_context(|| format!("in the target {}", self.target.display()))?;
        let directory = self.ledger.first().cloned().unwrap_or_default();
        let options = Options {
            ledgers: self.ledger,
            target,
            sink_record: self.sink_record,
            verify: self.verify,
            content: !self.ids_only,
            wait: self.wait,
            quiet: self.quiet,
            connections: self.connections,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let verdict = runtime.block_on(reconcile(&options))?;
        print!("{}", summary(&verdict));
        if !verdict.is_clean() {
            println!(
                "All of them: {}",
                directory
                    .join("{lost,duplicated,altered,out-of-order}.txt")
                    .display()
            );
        }
        if let Some(path) = &self.json {
            let json = serde_json::to_vec_pretty(&verdict)?;
            std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(if verdict.is_clean() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// A verdict for people.
fn summary(verdict: &Verdict) -> String {
    let mut text = format!("{:>12} promised\n{:>12} found\n", verdict.promised, verdict.found);
    for (count, what) in [
        (
            verdict.returned,
            "returned: the sink refused the recipient for good",
        ),
        (verdict.unpromised, "there without a promise, which is allowed"),
    ] {
        if count > 0 {
            text.push_str(&format!("{count:>12} {what}\n"));
        }
    }
    for (findings, what) in [
        (&verdict.lost, "LOST"),
        (&verdict.duplicated, "DUPLICATED"),
        (&verdict.altered, "ALTERED"),
        (&verdict.out_of_order, "OUT OF ORDER"),
    ] {
        list(findings, what, &mut text);
    }
    text
}

fn list(findings: &Findings, what: &str, text: &mut String) {
    let what = if findings.count == 0 {
        what.to_lowercase()
    } else {
        what.to_owned()
    };
    text.push_str(&format!("{:>12} {what}\n", findings.count));
    for example in findings.examples.iter().take(SHOWN) {
        text.push_str(&format!("{:>12} {example}\n", ""));
    }
    let more = findings.count.saturating_sub(SHOWN as u64);
    if more > 0 {
        text.push_str(&format!("{:>12} and {more} more\n", ""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_not_overlooked() {
        let mut verdict = Verdict {
            promised: 20,
            found: 8,
            ..Verdict::default()
        };
        assert!(summary(&verdict).contains("           0 lost\n"));
        verdict.lost.count = 12;
        verdict.lost.examples = (0..12)
            .map(|number| format!("1-{number} bob@hamburger.edu"))
            .collect();
        let text = summary(&verdict);
        assert!(text.contains("          12 LOST\n"), "{text}");
        assert!(
            text.contains("1-9 bob") && !text.contains("1-10 bob") && text.contains("and 2 more"),
            "{text}"
        );
    }
}
