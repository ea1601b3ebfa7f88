//! `postrider-loadtest soak --cluster`.
#![allow(clippy::print_stdout, reason = "a command talks to a person")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tokio_util::sync::CancellationToken;

use super::fault::{FAULTS, Fault};
use super::round;
use super::site::Site;
use super::table::{Row, Table, duplicates};
use crate::run::ledger_directory;
use crate::soak::seconds;

/// What a round takes beside its fault, in seconds. Only for deciding whether one more fits into the time.
const BESIDE: u64 = 30;
/// The table as JSON.
const FILE: &str = "soak.json";

/// What is asked for.
#[derive(Debug)]
pub struct Wish {
    /// For how long; `None`: the short form, a few faults once each.
    pub minutes: Option<u64>,
    /// Seed of everything random.
    pub seed: u64,
    /// Only these faults.
    pub only: Vec<String>,
}

/// Prints every fault.
pub fn list() {
    for fault in FAULTS {
        println!("{:<24} {}", fault.name, fault.about());
    }
}

/// Torments a cluster; whether everything held. Files go below `base`.
pub async fn run(binary: &Path, base: &Path, wish: Wish, interrupt: &CancellationToken) -> Result<bool> {
    let faults = chosen(&wish)?;
    let begin = Instant::now();
    eprintln!("starting two processes of each role");
    let site = Site::start(binary, base).await?;
    eprintln!("ready after {:.0} s", begin.elapsed().as_secs_f64());
    let deadline = begin + seconds(60 * wish.minutes.unwrap_or(0));
    let mut rows: Vec<Row> = Vec::new();
    let mut ledgers = Vec::new();
    'cycles: for cycle in 0_u64.. {
        for fault in &faults {
            let over = Instant::now() + seconds(BESIDE + fault.hold) > deadline;
            if interrupt.is_cancelled() || (cycle > 0 && (over || wish.minutes.is_none())) {
                break 'cycles;
            }
            let number = rows.len() as u64 + 1;
            eprintln!("round {number}: {} ({})", fault.name, fault.about());
            let out = base.join(format!("round-{number:02}-{}", fault.name));
            ledgers.push(ledger_directory(&out));
            let row = Box::pin(round::play(fault, &site, wish.seed + number, out, interrupt)).await?;
            eprintln!("{row}");
            rows.push(row);
        }
    }
    let together = together(&site, ledgers, &rows).await;
    site.stop().await?;
    let file = base.join(FILE);
    let json = serde_json::to_vec_pretty(&rows)?;
    std::fs::write(&file, json).with_context(|| file.display().to_string())?;
    println!("\n{}", Table(&rows));
    let held = rows.iter().all(|row| row.violations.is_empty());
    match together {
        Ok(()) => Ok(held),
        Err(error) => {
            println!("all rounds together: VIOLATED\n    {error:#}");
            Ok(false)
        }
    }
}

/// What comes twice may come the second time in a later round.
async fn together(site: &Site, ledgers: Vec<PathBuf>, rows: &[Row]) -> Result<()> {
    if ledgers.is_empty() {
        return Ok(());
    }
    let late = rows.iter().map(|row| row.late).max().unwrap_or(0);
    let verdict = round::look(site, ledgers, seconds(late)).await?;
    let (here, elsewhere) = duplicates(&verdict, &site.target());
    let on_their_way: u64 = rows.iter().map(|row| row.on_their_way).sum();
    let mut wrong = Vec::new();
    for (count, what) in [
        (verdict.lost.count, "lost"),
        (here, "twice in a mailbox"),
        (verdict.altered.count, "altered"),
    ] {
        if count > 0 {
            wrong.push(format!("{count} {what}"));
        }
    }
    if elsewhere > on_their_way {
        wrong.push(format!(
            "{elsewhere} came to other servers twice, and {on_their_way} were on their way"
        ));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}", wrong.join("; "))
}

fn chosen(wish: &Wish) -> Result<Vec<Fault>> {
    let mut chosen = Vec::new();
    for name in &wish.only {
        match FAULTS.into_iter().find(|fault| fault.name == name) {
            Some(fault) => chosen.push(fault),
            None => bail!("there is no fault {name}; `soak --cluster --list` names them"),
        }
    }
    if chosen.is_empty() {
        chosen.extend(
            FAULTS
                .iter()
                .filter(|fault| fault.short || wish.minutes.is_some()),
        );
    }
    Ok(chosen)
}
