//! `postrider-loadtest soak`.
#![allow(clippy::print_stdout, reason = "a command talks to a person")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::dress::Dress;
use super::fault::Fault;
use super::round::{self, Plan};
use super::site::Site;
use super::table::{Row, Table};
use super::{FAULTS, cluster, killed, seconds};
use crate::profile::Profile;
use crate::run::command::interrupted;
use crate::server;

/// The load of all rounds.
const MIXED: &str = include_str!("mixed.toml");

/// Load alone before a fault, in seconds.
const BEFORE: u64 = 8;

/// What a round takes beside its fault, in seconds: load before and after, reconciling. Only for deciding whether one more
/// fits into the time.
const BESIDE: u64 = 35;

/// Torment a Postrider node under load; exit status 1 when anything was lost, doubled, too big or did not come back.
///
/// In turns: killed, stopped, its disk full, without descriptors, its clock stepped, 10,000 connections from one address, slow
/// clients on every port, clients that never read. Needs no root. After each: nothing lost or doubled, memory within its
/// budget, every service answers again by itself within 10 s.
#[derive(Debug, Args)]
pub struct Command {
    /// For how long; every fault has at least one turn (about six minutes for all of a node) [default: 30; of a cluster: 20].
    #[arg(long)]
    minutes: Option<u64>,
    /// A cluster instead of a node: two processes of each role over three nodes of each test engine, which must be up.
    #[arg(long)]
    cluster: bool,
    /// Two kills under a light load and the ledger, within a minute: for every build. Of a cluster: a few faults, within five.
    #[arg(long, conflicts_with_all = ["minutes", "only"])]
    short: bool,
    /// The same seed is the same messages at the same times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only these faults, by name.
    #[arg(long, value_name = "FAULT", value_delimiter = ',', num_args = 1..)]
    only: Vec<String>,
    /// List the faults and end.
    #[arg(long)]
    list: bool,
    /// The program to torment [default: beside this one].
    #[arg(long, value_name = "PATH")]
    postrider: Option<PathBuf>,
    /// Keep reports, ledgers and logs here [default: only when something did not hold].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Where rounds write.
enum Place {
    Kept(PathBuf),
    Passing(TempDir),
}

impl Command {
    /// Torments it until the time is over.
    pub async fn run(self) -> Result<ExitCode> {
        if self.list && self.cluster {
            cluster::command::list();
            return Ok(ExitCode::SUCCESS);
        }
        if self.list {
            for fault in FAULTS {
                println!("{:<15} {}", fault.name(), fault.about());
            }
            return Ok(ExitCode::SUCCESS);
        }
        let faults = match self.cluster {
            true => Vec::new(),
            false => self.faults()?,
        };
        let binary = server::find(self.postrider.as_deref())?;
        raise_open_files();
        let place = match &self.out {
            Some(out) => {
                std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
                Place::Kept(out.clone())
            }
            None => Place::Passing(tempfile::tempdir().context("no temporary directory")?),
        };
        println!("{}, seed {}", server::version(&binary)?, self.seed);
        if self.cluster {
            let wish = cluster::command::Wish {
                minutes: (!self.short).then(|| self.minutes.unwrap_or(20)),
                seed: self.seed,
                only: self.only,
            };
            let base = place.path().canonicalize()?;
            let held = Box::pin(cluster::command::run(&binary, &base, wish, &interrupted())).await;
            // Also when it could not go on: the logs say why.
            place.leave(!matches!(held, Ok(true)));
            return held.map(status);
        }
        let mut soak = Soak {
            binary,
            base: place.path().to_owned(),
            seed: self.seed,
            interrupt: interrupted(),
            rows: Vec::new(),
        };
        if self.short {
            soak.short().await?;
        } else {
            soak.cycles(&faults, Instant::now() + seconds(60 * self.minutes.unwrap_or(30)))
                .await?;
        }
        println!("\n{}", Table(&soak.rows));
        let violated = soak.rows.iter().any(|row| !row.violations.is_empty());
        place.leave(violated);
        Ok(status(!violated))
    }

    fn faults(&self) -> Result<Vec<&'static dyn Fault>> {
        let mut chosen = Vec::new();
        for name in &self.only {
            match FAULTS.into_iter().find(|fault| fault.name() == name) {
                Some(fault) => chosen.push(fault),
                None => {
                    let names = FAULTS.map(Fault::name).join(", ");
                    bail!("there is no fault {name}; there are {names}");
                }
            }
        }
        Ok(if chosen.is_empty() {
            FAULTS.to_vec()
        } else {
            chosen
        })
    }
}

/// Rounds that go on.
struct Soak {
    binary: PathBuf,
    base: PathBuf,
    seed: u64,
    interrupt: CancellationToken,
    rows: Vec<Row>,
}

impl Soak {
    async fn short(&mut self) -> Result<()> {
        let site = Site::start(&self.binary, self.base.join("node"), Dress::Plain).await?;
        let profile = Profile::load("smoke")?;
        self.round(&killed::Killed, &site, profile, 5).await?;
        site.stop().await
    }

    /// One cycle after the other. A cycle has one node for all faults that need it in nothing special, so that it grows and
    /// ages; the others have a node of their own.
    async fn cycles(&mut self, faults: &[&'static dyn Fault], deadline: Instant) -> Result<()> {
        let over = |fault: &dyn Fault| Instant::now() + seconds(BESIDE + fault.length()) > deadline;
        for cycle in 1.. {
            if cycle > 1 && faults.iter().all(|fault| over(*fault)) {
                break;
            }
            let node = self.base.join(format!("node-{cycle}"));
            let plain = Site::start(&self.binary, node.clone(), Dress::Plain).await?;
            for fault in faults {
                if self.interrupt.is_cancelled() || (cycle > 1 && over(*fault)) {
                    return plain.stop().await;
                }
                self.turn(*fault, &plain).await?;
            }
            plain.stop().await?;
            if self.rows.iter().all(|row| row.violations.is_empty()) {
                std::fs::remove_dir_all(&node).with_context(|| node.display().to_string())?;
            }
        }
        Ok(())
    }

    async fn turn(&mut self, fault: &'static dyn Fault, plain: &Site) -> Result<()> {
        let profile = Profile::parse(MIXED).context("the load of a soak")?;
        match fault.dress() {
            Ok(Dress::Plain) => self.round(fault, plain, profile, BEFORE).await,
            Ok(dress) => {
                let node = self
                    .base
                    .join(format!("node-{}-{}", self.rows.len() + 1, fault.name()));
                let site = Site::start(&self.binary, node, dress).await?;
                self.round(fault, &site, profile, BEFORE).await?;
                site.stop().await
            }
            Err(why) => {
                self.rows.push(Row::impossible(fault.name(), why));
                Ok(())
            }
        }
    }

    async fn round(&mut self, fault: &dyn Fault, site: &Site, profile: Profile, before: u64) -> Result<()> {
        let number = self.rows.len() + 1;
        eprintln!("round {number}: {} ({})", fault.name(), fault.about());
        let plan = Plan {
            profile,
            before,
            seed: self.seed + number as u64 - 1,
            out: self.base.join(format!("round-{number:02}-{}", fault.name())),
        };
        let row = round::play(fault, site, plan, &self.interrupt).await?;
        eprintln!("{row}");
        self.rows.push(row);
        Ok(())
    }
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Passing(directory) => directory.path(),
        }
    }

    fn leave(self, violated: bool) {
        match self {
            Self::Kept(path) => println!("Reports, ledgers and logs: {}", path.display()),
            Self::Passing(directory) if violated => {
                println!("Reports, ledgers and logs: {}", directory.keep().display());
            }
            Self::Passing(_) => {}
        }
    }
}

fn status(held: bool) -> ExitCode {
    if held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Both sides of ten thousand connections need files; the node inherits our limit.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays at {:?}", limit.current);
    }
}
