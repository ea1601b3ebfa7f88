//! `postrider-loadtest compare`.
#![allow(clippy::print_stdout, reason = "a command talks to a person")]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use super::figures::{Comparison, Named, RowResult};
use super::rows::{ACCOUNTS, Bench, ROWS, Row};
use super::system::{Sample, System};
use super::text::Markdown;
use super::work::idle::raise_open_files;
use crate::run::environment;
use crate::server::{self, Options};

/// The same work on Postrider and on a peer, interleaved: rates, CPU, memory and their ratios.
///
/// Everything runs on this machine: the two systems, the clients and the sink. `cargo xtask peers up` starts Postfix and
/// Dovecot and writes their target file. The whole table takes about half an hour and some gigabytes of disk.
#[derive(Debug, Args)]
pub struct Command {
    /// Only these rows, by name; `list` prints all names.
    #[arg(long, value_name = "ROW,…", value_delimiter = ',')]
    rows: Vec<String>,
    /// Pairs of rounds per row.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of a round, where that can be chosen.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// The peer: a target file with `processes`, and `remote_domains` that are routed to the sink.
    #[arg(long, value_name = "TARGET.toml", required_unless_present_any = ["alone", "rows"])]
    peer: Option<PathBuf>,
    /// Postrider only.
    #[arg(long, conflicts_with = "peer")]
    alone: bool,
    /// The program to compare [default: the one beside this program, or what cargo builds].
    #[arg(long, value_name = "PATH")]
    postrider: Option<PathBuf>,
    /// Where the results go: compare.json and compare.md.
    #[arg(long, value_name = "DIR", required_unless_present = "rows")]
    out: Option<PathBuf>,
    /// Where Postrider keeps its data meanwhile; removed at the end. It should be on the file system of the peer's
    /// [default: a new folder in DIR].
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Where the sink listens; the peer's routes must lead there.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.64.2:2525")]
    sink: SocketAddr,
    /// Connections in IDLE to Postrider.
    #[arg(long, default_value_t = 10_000)]
    idle: u64,
    /// Connections in IDLE to the peer.
    #[arg(long, default_value_t = 2000)]
    idle_peer: u64,
}

impl Command {
    /// Measures, prints the table and writes it. Fails when a row did.
    pub fn run(&self) -> Result<ExitCode> {
        if self.rows == ["list"] {
            ROWS.iter()
                .for_each(|row| println!("{:28} {}", row.key, row.title));
            return Ok(ExitCode::SUCCESS);
        }
        let rows = self.chosen()?;
        ensure!(
            self.alone || self.peer.is_some(),
            "say --peer TARGET.toml, or --alone for Postrider only"
        );
        let out = self.out.as_deref().context("--out DIR: where the results go")?;
        raise_open_files();
        fs::create_dir_all(out).with_context(|| out.display().to_string())?;
        let data = tempfile::Builder::new()
            .prefix("postrider-")
            .tempdir_in(self.directory.as_deref().unwrap_or(out))?;
        let bench = Bench::new(
            Duration::from_secs(self.seconds),
            self.sink,
            [self.idle, self.idle_peer],
        )?;
        let mut systems = self.systems(data.path())?;
        let mut comparison = self.begin(&systems, data.path())?;
        for row in rows {
            let result = compare(row, &mut systems, &bench, self.rounds);
            comparison.rows.push(result);
            // After every row: an interrupted night has not been for nothing.
            self.write(&comparison, out)?;
        }
        print!("\n{}", Markdown(&comparison));
        println!("\n{}", out.join("compare.json").display());
        let failed = comparison.rows.iter().any(|row| row.failed.is_some());
        Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }

    fn chosen(&self) -> Result<Vec<&'static Row>> {
        for key in &self.rows {
            if !ROWS.iter().any(|row| row.key == key) {
                bail!("there is no row {key:?}; --rows list prints all");
            }
        }
        let wanted = |row: &&Row| self.rows.is_empty() || self.rows.iter().any(|key| key == row.key);
        Ok(ROWS.iter().filter(wanted).collect())
    }

    fn systems(&self, data: &Path) -> Result<Vec<System>> {
        let mut systems = Vec::new();
        let peer = self.peer.as_deref().map(System::peer).transpose()?;
        if let Some(peer) = &peer
            && peer.target.accounts.count < ACCOUNTS
        {
            bail!(
                "the peer has {} accounts, and {ACCOUNTS} are needed",
                peer.target.accounts.count
            );
        }
        let binary = server::find(self.postrider.as_deref())?;
        let domains = peer.as_ref().map_or(100, |peer| peer.target.remote_domains.len());
        let options = Options::new(ACCOUNTS).routed(u32::try_from(domains).unwrap_or(100), self.sink);
        println!("starting {} with {ACCOUNTS} accounts", binary.display());
        systems.push(System::postrider(&binary, data, options)?);
        systems.extend(peer);
        Ok(systems)
    }

    fn begin(&self, systems: &[System], data: &Path) -> Result<Comparison> {
        let named = |system: &System| Named {
            name: system.name.clone(),
            version: system.target.name.clone(),
        };
        let mut remarks = vec![
            "Postrider: embedded engine, every message synced before its 250 and every change before its OK; limits on connections \
             and rates lifted. Peer: as its target file's owner has set it up"
                .to_owned(),
        ];
        if cfg!(debug_assertions) {
            remarks.push("the generator is a debug build: these figures are for trying it out only".into());
        }
        let device = |path: &Path| fs::metadata(path).map(|data| data.dev()).ok();
        if let Some(peer) = &self.peer
            && device(peer) != device(data)
        {
            remarks.push(
                "the systems' data are on different file systems: disks are compared too (see --directory)"
                    .into(),
            );
        }
        Ok(Comparison {
            format: 1,
            started: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            generator: env!("CARGO_PKG_VERSION").into(),
            environment: environment(),
            systems: systems.iter().map(named).collect(),
            rounds: self.rounds,
            seconds: self.seconds,
            remarks,
            rows: Vec::new(),
        })
    }

    fn write(&self, comparison: &Comparison, out: &Path) -> Result<()> {
        let json = serde_json::to_string_pretty(comparison)?;
        fs::write(out.join("compare.json"), json)?;
        fs::write(out.join("compare.md"), Markdown(comparison).to_string())?;
        Ok(())
    }
}

/// One row on all systems, A/B/A/B.
fn compare(row: &Row, systems: &mut [System], bench: &Bench, rounds: u32) -> RowResult {
    let systems = match row.alone {
        true => &mut systems[..1],
        false => systems,
    };
    let names: Vec<String> = systems.iter().map(|system| system.name.clone()).collect();
    let mut samples = vec![Vec::new(); systems.len()];
    println!("\n{}: {}", row.key, row.title);
    let outcome = rounds_of(
        row,
        systems,
        bench,
        row.rounds.map_or(rounds, |most| most.min(rounds)),
        &mut samples,
    );
    let failed = outcome.err().map(|error| format!("{error:#}"));
    if let Some(error) = &failed {
        println!("  failed: {error}");
    }
    RowResult::new(row, &names, samples, failed)
}

fn rounds_of(
    row: &Row,
    systems: &mut [System],
    bench: &Bench,
    rounds: u32,
    samples: &mut [Vec<Sample>],
) -> Result<()> {
    let mut work = (row.make)();
    for system in &mut *systems {
        work.prepare(system, bench)
            .with_context(|| format!("preparing {}", system.name))?;
    }
    for round in 0..rounds {
        for index in 0..systems.len() {
            systems.iter().for_each(System::settle);
            let system = &mut systems[index];
            let sample = work
                .round(system, round, bench)
                .with_context(|| system.name.clone())?;
            println!(
                "  {}: {:.1}, {} in {:.2} s, CPU: server {:.2} s, generator {:.2} s",
                system.name,
                sample.value,
                sample.units,
                sample.seconds,
                sample.server_cpu,
                sample.generator_cpu
            );
            samples[index].push(sample);
        }
    }
    Ok(())
}
