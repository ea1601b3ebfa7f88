//! `postrider-loadtest run`.
#![allow(clippy::print_stdout, reason = "a command talks to a person")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use jiff::Timestamp;
use postrider_runtime::config::parse_duration;
use tokio_util::sync::CancellationToken;

use super::{Options, PAGE, REPORT, SinkHere, execute, load_target};
use crate::profile::Profile;
use crate::progress::Style;
use crate::report::data::Report;
use crate::report::summary::Judgement;
use crate::report::text::Text;
use crate::sink::Rules;

/// Load a server with a profile, then prove that nothing was lost.
///
/// Arrivals do not wait for the server: a latency counts from the moment something was due. Afterwards every message that
/// the server has answered for is looked for, through IMAP, POP3 and the sink. Ctrl-C ends arrivals early; what was
/// promised until then is looked for all the same.
///
/// Exit status: 0 every promise was kept (or nothing was verified), 1 it failed or something was lost, doubled, altered or out of
/// order, 2 wrong usage.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Command {
    #[command(flatten)]
    load: Load,
    /// How long arrivals go on, in place of the profile's: 90s, 10m.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Play only the K-th of N parts of the schedule, for several generators with the same seed: 2/5.
    #[arg(long, value_name = "K/N", value_parser = parse_part, default_value = "1/1")]
    part: (u32, u32),
    /// Do not look whether everything has arrived: no verdict.
    #[arg(long)]
    no_verify: bool,
    /// The record of a sink that runs elsewhere (`postrider-loadtest sink --record FILE`).
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "sink")]
    sink_record: Vec<PathBuf>,
    /// How long clients and outbound mail may take to end when arrivals have ended.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "1m")]
    patience: Duration,
}

/// What `run` and `knee` have in common.
#[derive(Debug, Args)]
pub struct Load {
    /// Who does what: the name of a shipped profile (see `postrider-loadtest profiles`) or a file.
    #[arg(long, value_name = "NAME|FILE")]
    pub profile: String,
    /// The server: addresses, accounts, processes (a TOML file; an example is below with --help).
    #[arg(long, value_name = "FILE")]
    pub target: PathBuf,
    /// All rates and populations times this.
    #[arg(long, value_name = "FACTOR", value_parser = parse_factor, default_value = "1")]
    pub rate_factor: f64,
    /// The same seed is the same messages at the same times.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Where ledger, report.json and report.html are written [default: loadtest-PROFILE-TIME here].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Be the rest of the Internet on this address; the target's remote_domains have to be routed to it.
    #[arg(long, value_name = "ADDRESS:PORT", num_args = 1..)]
    pub sink: Vec<SocketAddr>,
    /// How the sink answers: `perfect`, `internet`, or a file of rules.
    #[arg(long, value_name = "FILE", default_value = "perfect", requires = "sink")]
    pub sink_rules: String,
    /// Keep the metrics that begin with this [default: gauges of queues, connections and sessions].
    #[arg(long, value_name = "PREFIX", num_args = 1..)]
    pub gauge: Vec<String>,
    /// Plain lines of progress even on a terminal.
    #[arg(long)]
    pub plain: bool,
    /// No progress at all.
    #[arg(long, conflicts_with = "plain")]
    pub quiet: bool,
}

const EXAMPLES: &str = "\
Examples:
  postrider-loadtest run --profile smoke --target here.toml
      Is it all set up?
  postrider-loadtest run --profile provider --target here.toml --rate-factor 0.5 --sink 127.0.0.2:2600
      500 messages per second, with outbound mail that is received here.
  postrider-loadtest run --profile inbound-flood --target mx.toml --part 2/3 --seed 7
      The second of three generators on three machines; `merge` makes one report of theirs.

A target (TOML):
  name = \"Postrider 0.1\"
  smtp = \"127.0.0.1:2525\"
  submission = \"127.0.0.1:2587\"
  imap = \"127.0.0.1:2143\"
  pop3 = \"127.0.0.1:2110\"
  metrics = \"http://127.0.0.1:9625/metrics\"      # for queue depths
  processes = [4711]                             # for CPU and memory
  remote_domains = [\"elsewhere.test\"]            # routed to the sink
  [accounts]
  domain = \"hamburger.edu\"
  pattern = \"user{}\"
  count = 100
  password = \"hungry\"";

impl Command {
    /// Runs it to its end.
    pub async fn run(self) -> Result<ExitCode> {
        let mut options = self.load.options()?;
        if let Some(duration) = self.duration {
            if duration.is_zero() {
                bail!("--duration is 0");
            }
            options.profile.duration = duration;
        }
        options.part = self.part;
        options.verify = !self.no_verify;
        options.patience = self.patience;
        options.sink_records = self.sink_record;
        let out = options.out.clone();
        let report = execute(options, &interrupted()).await?;
        println!("{}", Text(&report));
        println!("{}  {}", out.join(REPORT).display(), out.join(PAGE).display());
        Ok(status(&report))
    }
}

impl Load {
    /// The options that follow from it.
    pub fn options(self) -> Result<Options> {
        let profile = Profile::load(&self.profile)?.scaled(self.rate_factor);
        let target = load_target(&self.target)?;
        let out = self.out.unwrap_or_else(|| {
            let time = Timestamp::now().strftime("%Y%m%d-%H%M%S");
            PathBuf::from(format!("loadtest-{}-{time}", profile.name))
        });
        let progress = match (self.quiet, self.plain) {
            (true, _) => Style::Silent,
            (false, true) => Style::Plain,
            (false, false) => Style::Auto,
        };
        let sink = match self.sink.is_empty() {
            true => None,
            false => Some(SinkHere {
                listen: self.sink,
                rules: Rules::load(&self.sink_rules)?,
            }),
        };
        Ok(Options {
            seed: self.seed,
            sink,
            gauges: self.gauge,
            progress,
            command: std::env::args().collect::<Vec<_>>().join(" "),
            ..Options::new(profile, target, out)
        })
    }
}

/// Cancelled by the first Ctrl-C or SIGTERM; the second Ctrl-C ends the process.
pub fn interrupted() -> CancellationToken {
    let interrupt = CancellationToken::new();
    let cancel = interrupt.clone();
    tokio::spawn(async move {
        if ended_from_outside().await.is_ok() {
            cancel.cancel();
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            eprintln!("interrupted twice: no report");
            std::process::exit(130);
        }
    });
    interrupt
}

async fn ended_from_outside() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot listen for Ctrl-C"),
    }
}

/// 1 when a promise was broken.
pub fn status(report: &Report) -> ExitCode {
    match Judgement::of(report) {
        Judgement::Broken => ExitCode::FAILURE,
        Judgement::Kept | Judgement::Unknown => ExitCode::SUCCESS,
    }
}

fn parse_part(text: &str) -> Result<(u32, u32), String> {
    let part = text
        .split_once('/')
        .and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    match part {
        Some((k, n)) if 1 <= k && k <= n => Ok((k, n)),
        _ => Err("a part is K/N with K from 1 to N, as in 2/5".to_owned()),
    }
}

fn parse_factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
        _ => Err("a factor is a number above 0, as in 0.5 or 10".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        assert_eq!(parse_part("2/5"), Ok((2, 5)));
        for wrong in ["0/5", "6/5", "2", "a/b", "-1/2"] {
            assert!(parse_part(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn factors() {
        assert_eq!(parse_factor("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "inf", "NaN", "x"] {
            assert!(parse_factor(wrong).is_err(), "{wrong}");
        }
    }
}
