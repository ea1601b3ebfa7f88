//! Power loss: after any moment of a run, the embedded engine finds everything it had acknowledged.
//!
//! A run of [`workload`] is watched with `strace`; its file calls are given to a model of a [`disk`] that keeps what was synced and loses the
//! rest as chance has it; at hundreds of moments a data directory is made of what such a disk would still have, opened, and checked.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod check;
mod disk;
mod trace;
mod workload;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use disk::{Chance, Disk, Ignore};
use trace::Event;

/// Set in the process that is watched: the directory it works in.
const DIRECTORY: &str = "POSTRIDER_POWER_LOSS_DIRECTORY";
/// Moments at which the power goes.
const MOMENTS: usize = 240;

/// Not a case: what the watched process runs. Does nothing unless told where to work.
#[test]
fn watched_run() {
    if let Ok(dir) = std::env::var(DIRECTORY) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        runtime.unwrap().block_on(workload::run(Path::new(&dir)));
    }
}

/// This very program, about to run the workload in `dir`.
fn watched(mut command: Command, dir: &Path) -> Command {
    if command.get_program() == "strace" {
        command.arg(std::env::current_exe().unwrap());
    }
    command
        .args(["watched_run", "--exact", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, dir);
    command
}

fn record(dir: &Path) -> Vec<Event> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-xx", "-s", "16777216", "-e", "signal=none", "-e"])
        .arg(format!("trace={}", trace::CALLS));
    strace.arg("-o").arg(log.path());
    let done = watched(strace, dir)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    let done = done.unwrap_or_else(|error| {
        panic!("this test needs `strace` (apt-get install strace), which did not start: {error}")
    });
    assert!(
        done.status.success(),
        "the watched run failed; it needs a system where strace may trace (ptrace): {}",
        String::from_utf8_lossy(&done.stderr)
    );
    trace::parse(&std::fs::read_to_string(log.path()).unwrap())
}

/// Loses power at moments spread over the run and checks what is left. The first thing that is wrong, with the moment.
fn lose_power(root: &Path, events: &[Event], ignore: Ignore, moments: usize) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut chance = Chance(0x706f_7374);
    let mut at: Vec<usize> = (0..moments)
        .map(|_| chance.below(events.len() as u64 + 1) as usize)
        .collect();
    at.push(events.len());
    at.sort_unstable();
    let mut disk = Disk::new(root, ignore);
    let mut followed = 0;
    for moment in at {
        for event in &events[followed..moment] {
            disk.follow(event);
        }
        followed = moment;
        let left = tempfile::tempdir().unwrap();
        std::fs::create_dir(left.path().join("content")).unwrap();
        for (name, bytes) in disk.lose_power(&mut chance) {
            std::fs::write(left.path().join(name), bytes).unwrap();
        }
        let acks = disk.acks.iter().map(String::as_str);
        runtime
            .block_on(check::check(left.path(), acks))
            .map_err(|error| {
                let _ = left.keep();
                format!("power lost at event {moment} of {}: {error}", events.len())
            })?;
    }
    assert_eq!(
        disk.acks.last().map(String::as_str),
        Some("done"),
        "the run was not seen to its end"
    );
    Ok(())
}

#[test]
fn nothing_acknowledged_is_lost_with_the_power() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap().join("data");
    let events = record(&root);
    lose_power(&root, &events, Ignore::Nothing, MOMENTS).unwrap();
    // The same run on disks that ignore one sort of sync each: the check is able to fail.
    for ignore in [Ignore::Files(".seg"), Ignore::Files("-wal"), Ignore::Directories] {
        let found = lose_power(&root, &events, ignore, MOMENTS);
        assert!(found.is_err(), "a disk that ignores {ignore:?} went unnoticed");
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for lines in [1, 7, 30, 61, 90] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("data");
        let mut child = watched(Command::new(std::env::current_exe().unwrap()), &root)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut acks = Vec::new();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let ack = |line: std::io::Result<String>| Some(line.unwrap().split_once("ack ")?.1.to_owned());
        while acks.len() < lines
            && let Some(line) = output.next()
        {
            acks.extend(ack(line));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts, too; a line it could not end does not.
        acks.extend(output.map_while(|line| ack(line).filter(|ack| !ack.is_empty())));
        let whole = acks.iter().map(String::as_str);
        runtime.block_on(check::check(&root, whole)).unwrap();
    }
}
