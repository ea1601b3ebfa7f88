//! The project's own commands.
//!
//! ```text
//! cargo xtask test    everything the project tests, real clients and engines included; installs what it needs
//! cargo xtask soak    slow proofs: crash rounds, then every fault under load (POSTRIDER_SOAK_MINUTES together, default 30);
//!                     --cluster: the same to a cluster over three nodes of each engine (--minutes N, default 20)
//! cargo xtask guarded engines that want TLS and logins, Kafka included: builds what is shipped with `--features kafka-tls` (OpenSSL)
//! cargo xtask fuzz    coverage-guided fuzzing of one target for a while (needs a nightly toolchain and cargo-fuzz)
//! cargo xtask engines Kafka, Cassandra and Redis to test with: up, down, status, and faults of single ones
//! cargo xtask cluster two processes of each role behind a balancer, over those engines, for a mail client: up, down, status
//! cargo xtask peers   Postfix and Dovecot to compare with: up, down or status (as root)
//! ```
#![allow(clippy::print_stdout, reason = "a command talks to a person")]

mod cluster;
mod engines;
mod packages;
mod peers;
mod run;

use std::process::ExitCode;

use run::{Failed, Run, cargo};

const USAGE: &str = "usage: cargo xtask test | soak [--cluster [--minutes N]] | guarded | fuzz TARGET [SECONDS] | engines --help | cluster --help | peers up|down|status [--directory DIR]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["test"] => test(),
        ["soak"] => soak(),
        ["soak", "--cluster"] => soak_cluster("20"),
        ["soak", "--cluster", "--minutes", minutes] => soak_cluster(minutes),
        ["guarded"] => guarded(),
        ["fuzz", target] => fuzz(target, "300"),
        ["fuzz", target, seconds] => fuzz(target, seconds),
        ["engines", ref rest @ ..] => engines::command(rest),
        ["cluster", ref rest @ ..] => cluster::command(rest),
        ["peers", action] => peers::command(action, None),
        ["peers", action, "--directory", directory] => peers::command(action, Some(directory)),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed(what)) => {
            eprintln!("xtask: {what}");
            ExitCode::FAILURE
        }
    }
}

fn test() -> Result<(), Failed> {
    packages::install_debian()?;
    let modules = packages::install_npm()?;
    cargo(&["fmt", "--all", "--check"]).go()?;
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ])
    .go()?;
    // One build of everything first, so that the time a test takes is its own.
    cargo(&["test", "--workspace", "--locked", "--no-run"]).go()?;
    engines::during(1, || {
        cargo(&["test", "--workspace", "--locked", "--no-fail-fast"])
            .env("POSTRIDER_TEST_NODE_MODULES", &modules)
            .go()?;
        // The same letters and clients once more, against a process a role over the engines. Each node is nine processes. Of the whole
        // workspace, as above: for one package alone cargo would build most of it again.
        let again = ["test", "--workspace", "--locked", "--no-fail-fast"];
        let suites = [
            "--test",
            "journey",
            "--test",
            "clients",
            "--",
            "--test-threads",
            "3",
        ];
        cargo(&[&again[..], &suites].concat())
            .env("POSTRIDER_TEST_NODE_MODULES", &modules)
            .env("POSTRIDER_TEST_SHAPE", "cluster")
            .go()
    })?;
    // Their programs were built for the tests.
    let loadtest = run::output("postrider-loadtest");
    Run::new(&loadtest, &["soak", "--short"]).go()?;
    engines::during(3, || Run::new(&loadtest, &["soak", "--cluster", "--short"]).go())
}

fn soak() -> Result<(), Failed> {
    packages::install_debian()?;
    let minutes = std::env::var("POSTRIDER_SOAK_MINUTES").unwrap_or_else(|_| "30".into());
    let whole = |text: &str| text.parse::<u64>().ok().filter(|minutes| *minutes > 1);
    let minutes = whole(&minutes).ok_or_else(|| {
        Failed(format!(
            "POSTRIDER_SOAK_MINUTES is `{minutes}`, not a whole number above 1"
        ))
    })?;
    let crashes = (minutes / 3).max(1);
    cargo(&[
        "test",
        "--release",
        "--locked",
        "-p",
        "postrider",
        "--test",
        "crash",
        "--",
        "--nocapture",
    ])
    .env("POSTRIDER_SOAK_MINUTES", crashes.to_string())
    .go()?;
    let faults = (minutes - crashes).to_string();
    load(&["soak", "--minutes", &faults])
}

fn soak_cluster(minutes: &str) -> Result<(), Failed> {
    packages::install_debian()?;
    engines::during(3, || load(&["soak", "--cluster", "--minutes", minutes]))
}

fn guarded() -> Result<(), Failed> {
    packages::install_debian()?;
    engines::during(1, || {
        cargo(&[
            "test",
            "--locked",
            "-p",
            "postrider",
            "--features",
            "kafka-tls",
            "--test",
            "failures",
            "guarded",
        ])
        .go()
    })
}

/// The load generator against the server of this tree, both as they are shipped.
fn load(arguments: &[&str]) -> Result<(), Failed> {
    let both = [
        "build",
        "--release",
        "--locked",
        "-p",
        "postrider",
        "-p",
        "postrider-loadtest",
    ];
    cargo(&both).go()?;
    let run = [
        "run",
        "--release",
        "--locked",
        "-q",
        "-p",
        "postrider-loadtest",
        "--",
    ];
    cargo(&[&run[..], arguments].concat()).go()
}

fn fuzz(target: &str, seconds: &str) -> Result<(), Failed> {
    let limit = format!("-max_total_time={seconds}");
    Run::new(
        "cargo",
        &[
            "+nightly",
            "fuzz",
            "run",
            "--fuzz-dir",
            "crates/fuzz/cargo-fuzz",
            target,
            "--",
            &limit,
        ],
    )
    .go()
}
