//! `postrider-loadtest demo`: all of it in two minutes, with nothing set up.
//!
//! Starts a Postrider node in a temporary directory and a sink that answers as the rest of the Internet does, plays
//! `morning.toml` against it, kills the node half-way and starts it again at once, looks whether every promise was kept, and
//! leaves `report.html` and `report.json`. Needs no root and no other program; loopback addresses only.
#![allow(clippy::print_stdout, reason = "a command talks to a person")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::process::Sampler;
use crate::profile::Profile;
use crate::progress::Style;
use crate::recorder::Recorder;
use crate::report::data::Report;
use crate::report::summary::Judgement;
use crate::report::text::Text;
use crate::run::command::{interrupted, status};
use crate::run::{self, Options, PAGE, REPORT, Run, SinkHere};
use crate::server::{self, Options as NodeOptions, Postrider};
use crate::sink::Rules;
use crate::soak::{QUICK_RETRIES, free_address};

/// Who does what.
const MORNING: &str = include_str!("morning.toml");

/// Mailboxes.
const ACCOUNTS: u64 = 50;

/// Domains elsewhere; the sink is all of them.
const DOMAINS: u32 = 8;

/// Load a Postrider node for two minutes, kill it half-way, and prove that nothing was lost.
///
/// Everything happens in a temporary directory and on loopback addresses. Leaves report.html and report.json.
///
/// Exit status: 0 every promise was kept, 1 one was broken or something failed, 2 wrong usage.
#[derive(Debug, Args)]
pub struct Command {
    /// How long the load goes on; the crash is in the middle.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(10..=3600))]
    seconds: u64,
    /// Where the reports go; made when it is not there.
    #[arg(long, value_name = "DIR", default_value = "postrider-loadtest-demo")]
    out: PathBuf,
    /// The same seed is the same messages at the same times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The postrider to load [default: beside this program].
    #[arg(long, value_name = "PATH")]
    postrider: Option<PathBuf>,
}

impl Command {
    /// Plays it to its end.
    pub async fn run(self) -> Result<ExitCode> {
        let mut profile = Profile::parse(MORNING).context("the load of the demo")?;
        profile.duration = Duration::from_secs(self.seconds);
        fs::create_dir_all(&self.out).with_context(|| format!("cannot make {}", self.out.display()))?;
        let binary = server::find(self.postrider.as_deref())?;
        let place = tempfile::tempdir().context("no temporary directory")?;
        let sink = free_address()?;
        eprintln!(
            "Starting a node with {} mailboxes in {}",
            ACCOUNTS,
            place.path().display()
        );
        let node = start(&binary, &place.path().join("node"), sink).await?;
        let options = Options {
            seed: self.seed,
            sink: Some(SinkHere {
                listen: vec![sink],
                rules: Rules::load("internet")?,
            }),
            progress: Style::Auto,
            command: std::env::args().collect::<Vec<_>>().join(" "),
            ..Options::new(profile, node.target()?, place.path().join("run"))
        };
        let report = play(options, node, self.seconds).await?;
        run::write(&report, &self.out)?;
        println!("{}", Text(&report));
        println!(
            "{}\n{}",
            self.out.join(PAGE).display(),
            self.out.join(REPORT).display()
        );
        leave(place, &report);
        Ok(status(&report))
    }
}

async fn start(binary: &Path, directory: &Path, sink: std::net::SocketAddr) -> Result<Postrider> {
    let (binary, directory) = (binary.to_owned(), directory.to_owned());
    spawn_blocking(move || {
        let mut options = NodeOptions::new(ACCOUNTS).routed(DOMAINS, sink);
        options.more = QUICK_RETRIES.to_owned();
        Postrider::start(&binary, &directory, options)
    })
    .await
    .context("the task that starts the node broke off")?
}

/// The load with the crash in its middle, and the reconciliation while the node still runs.
async fn play(options: Options, node: Postrider, length: u64) -> Result<Report> {
    let interrupt = interrupted();
    let mut run = Run::start(options).await?;
    let progress = run.show();
    let half = Duration::from_secs(length) / 2;
    let crashed = crash(
        node,
        half,
        run.recorder().clone(),
        run.sampler().clone(),
        interrupt.clone(),
    );
    let (node, ()) = tokio::join!(crashed, run.play(&interrupt, &progress));
    progress.finish();
    let mut node = node?;
    eprintln!("Looking for every message that was answered for");
    let report = run.finish().await;
    spawn_blocking(move || node.stop())
        .await
        .context("the task that stops the node broke off")??;
    report
}

/// Kills the node after a while and starts it again at once; the node.
async fn crash(
    mut node: Postrider,
    after: Duration,
    recorder: Recorder,
    sampler: Sampler,
    interrupt: CancellationToken,
) -> Result<Postrider> {
    tokio::select! {
        () = sleep(after) => {}
        () = interrupt.cancelled() => return Ok(node),
    }
    spawn_blocking(move || {
        recorder.mark("killed (SIGKILL)");
        node.kill()?;
        node.restart()
            .context("it does not start again after it was killed")?;
        recorder.mark("ready again");
        sampler.follow(&node.pid().into_iter().collect::<Vec<_>>());
        Ok(node)
    })
    .await
    .context("the task that kills the node broke off")?
}

/// What a broken promise left behind is kept for whoever looks into it.
fn leave(place: TempDir, report: &Report) {
    if Judgement::of(report) == Judgement::Broken {
        println!("Ledger, log and data of the node: {}", place.keep().display());
    }
}
