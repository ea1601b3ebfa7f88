//! `cargo xtask engines`: the command line of `deploy/testbed`.

use postrider_testbed::{Engine, Failed as Why, State, Testbed};

use crate::packages;
use crate::run::Failed;

const HELP: &str = "\
Real Kafka, Cassandra and Redis on loopback, which tests of the cluster need.

usage: cargo xtask engines COMMAND

  up [--nodes 1|3] [--keep]  start what does not run, wait until everything answers
                             (the first time fetches 130 MB and installs Debian packages that are missing)
                             --nodes 1   kafka-1 cassandra-1 redis: about 0.6 GiB of memory (the default)
                             --nodes 3   three of each but one redis: about 2.5 GiB
                             --keep      with the data of last time; otherwise it begins empty
  down                       stop everything; data and logs stay until the next `up`
  status                     a line for each: process, address, memory, and whether it answers

One of them, for tests of faults (NAME is kafka-1, cassandra-2, redis …):

  kill NAME                  as if the power went (SIGKILL)
  pause NAME                 connections stay, nothing answers (SIGSTOP) …
  resume NAME                … until now
  start NAME                 start it with the data it has, wait until it answers

Addresses: Kafka 127.0.0.n:19092, CQL 127.0.0.n:19042 (n is the node), Redis 127.0.0.1:16379.
Everything lies in ~/.cache/postrider/engines, or where POSTRIDER_ENGINES_DIR says; run/NAME/log is what to read in trouble.";

/// What the command line asks for.
pub fn command(arguments: &[&str]) -> Result<(), Failed> {
    let testbed = Testbed::new()
        .map_err(said)?
        .telling(|step| println!("engines: {step}"));
    let engine = |name: &str| name.parse::<Engine>().map_err(said);
    match arguments {
        ["up", options @ ..] => up(&testbed, options),
        ["down"] => testbed.down().map_err(said),
        ["status"] => status(&testbed),
        ["kill", name] => testbed.kill(engine(name)?).map_err(said),
        ["pause", name] => testbed.pause(engine(name)?).map_err(said),
        ["resume", name] => testbed.resume(engine(name)?).map_err(said),
        ["start", name] => {
            packages::install_engines()?;
            testbed.start(engine(name)?).map_err(said)
        }
        ["help" | "--help" | "-h"] | [_, "--help" | "-h"] => {
            println!("{HELP}");
            Ok(())
        }
        _ => Err(Failed(format!(
            "engines: `{}` is no command; `cargo xtask engines --help`",
            arguments.join(" ")
        ))),
    }
}

/// Does something with engines up, of so many nodes (1 or 3); where three run and one is asked for, the three serve. Those that ran
/// before run on afterwards, others are stopped. Three nodes cannot be made of one: then those that run are ended before, and
/// started again afterwards, empty.
pub fn during(nodes: u8, work: impl FnOnce() -> Result<(), Failed>) -> Result<(), Failed> {
    packages::install_engines()?;
    let testbed = Testbed::new()
        .map_err(said)?
        .telling(|step| println!("engines: {step}"));
    let status = testbed.status();
    let ran = status.iter().any(|one| one.pid.is_some());
    let more = status.iter().any(|one| one.engine.node() > 1);
    let too_few = ran && nodes > 1 && !more;
    if too_few {
        println!("engines: one node of each runs and {nodes} are needed: those are stopped for a while");
        testbed.down().map_err(said)?;
    }
    let wanted = (!ran || too_few).then_some(nodes);
    testbed.up(wanted, false).map_err(said)?;
    let outcome = work();
    if ran && !too_few {
        return outcome;
    }
    let stopped = testbed.down().map_err(said);
    if too_few {
        testbed.up(Some(1), false).map_err(said)?;
    }
    outcome.and(stopped)
}

fn up(testbed: &Testbed, options: &[&str]) -> Result<(), Failed> {
    let (mut nodes, mut keep) = (None, false);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match *option {
            "--keep" => keep = true,
            "--nodes" => {
                let number = options.next().and_then(|text| text.parse().ok());
                nodes = Some(number.ok_or_else(|| Failed("engines: --nodes 1 or --nodes 3".into()))?);
            }
            "--help" | "-h" => return command(&["help"]),
            other => return Err(Failed(format!("engines: up knows no `{other}`"))),
        }
    }
    packages::install_engines()?;
    testbed.up(nodes, keep).map_err(said)?;
    status(testbed)
}

fn status(testbed: &Testbed) -> Result<(), Failed> {
    let all = testbed.status();
    for one in &all {
        let state = match one.state {
            State::Answers => "answers",
            State::Silent => "does not answer",
            State::Paused => "paused",
            State::Stopped => "stopped",
        };
        let pid = one.pid.map_or("-".into(), |pid| pid.to_string());
        println!(
            "{:<12} pid {pid:<8} {:<16} {:>5} MiB  {state}",
            one.engine,
            one.engine.address().to_string(),
            one.memory >> 20,
        );
    }
    if all.iter().all(|one| one.state == State::Answers) {
        return Ok(());
    }
    Err(Failed(format!(
        "not all engines are up: `cargo xtask engines up`; logs are in {}/run",
        testbed.directory().display()
    )))
}

fn said(why: Why) -> Failed {
    Failed(why.0)
}
