//! `cargo xtask cluster`: a whole cluster on loopback, two processes of each role behind a balancer, over the test engines.
//!
//! Everything lies in one directory: `NAME/` of each process with its configuration, log, recorded process id and data (journal,
//! token), `tls.pem` and `tls.key` of all, `binary` (which program runs), `engines-started` (the engines are ours to stop).
//! Mail, accounts and queue are in the engines.

mod files;
mod load;
mod member;
mod watch;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use postrider_testbed::{Kind, Process, Record, Signal, State, Testbed, wait};

use crate::packages;
use crate::run::{Failed, cache};
use member::{Engines, Member, OPS, PUBLIC};
use watch::{end, free, in_use, ready};

const HELP: &str = "\
A cluster on loopback to point a mail client at: two processes of each role (smtp-ingress, delivery-worker,
imap-gateway, pop3-gateway, mail-store, directory) behind HAProxy, over real Kafka, Cassandra and Redis.

usage: cargo xtask cluster COMMAND [--directory DIR]

  up [--binary FILE] [--load]
                       start what does not run, wait until everything is ready, print address, ports and password
                       (starts `cargo xtask engines` with the data they have, if they are not up;
                       builds postrider unless --binary names one; installs Debian packages that are missing).
                       --load: without limits, with accounts and routes for `postrider-loadtest compare --peer`, and
                       prints where the target file for that is
  down                 stop everything in good order; mail, logs and data stay.
                       The engines are stopped too if `up` has started them
  status               a line for each process: address, process, memory, and whether it is ready

One of them, to see the cluster go on without it (NAME as `status` prints it: mail-store-1, balancer …):

  kill NAME            as if the power went (SIGKILL)
  pause NAME           connections stay, nothing answers (SIGSTOP) …
  resume NAME          … until now
  start NAME           start it with the data it has, wait until it is ready

Clients come to 127.64.0.1; its page http://127.64.0.1:9625/ shows who is behind which port.
Everything lies in ~/.cache/postrider/cluster unless --directory says otherwise; NAME/log is what to read in trouble.";

const DOMAIN: &str = "hamburger.edu";
const ACCOUNT: &str = "bob@hamburger.edu";
/// Known to everybody who reads this: the cluster is reached from this machine alone.
const PASSWORD: &str = "hungry";

/// How long a process may take from its start until it is ready. A few seconds are usual; a busy machine takes longer.
const READY: Duration = Duration::from_secs(120);
/// How long a killed process may take to vanish.
const VANISH: Duration = Duration::from_secs(20);

/// What the command line asks for.
pub fn command(arguments: &[&str]) -> Result<(), Failed> {
    let (mut words, mut directory, mut binary, mut load) = (Vec::new(), None, None, false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || {
            let value = rest.next().map(PathBuf::from);
            value.ok_or_else(|| Failed(format!("cluster: {argument} wants a path")))
        };
        match *argument {
            "--directory" => directory = Some(value()?),
            "--binary" => binary = Some(value()?),
            "--load" => load = true,
            "help" | "--help" | "-h" => {
                println!("{HELP}");
                return Ok(());
            }
            word => words.push(word),
        }
    }
    if (binary.is_some() || load) && words != ["up"] {
        return Err(Failed("cluster: --binary and --load are for `up`".into()));
    }
    let cluster = Cluster::of(directory, load)?;
    match words[..] {
        ["up"] => cluster.up(binary),
        ["down"] => cluster.down(),
        ["status"] => cluster.status(),
        ["kill", name] => cluster.kill(Member::named(name)?),
        ["pause", name] => cluster.pause(Member::named(name)?),
        ["resume", name] => Ok(cluster.must_run(Member::named(name)?)?.signal(Signal::CONT)?),
        ["start", name] => cluster.start(Member::named(name)?),
        _ => Err(Failed(format!(
            "cluster: `{}` is no command; `cargo xtask cluster --help`",
            words.join(" ")
        ))),
    }
}

/// The cluster of one directory.
struct Cluster {
    home: PathBuf,
    /// What a person adds to a command about it.
    option: String,
    /// Whether it is to be loaded: see [`load`].
    load: bool,
    testbed: Testbed,
}

impl Cluster {
    fn of(directory: Option<PathBuf>, load: bool) -> Result<Self, Failed> {
        let chosen = directory.clone().unwrap_or_else(|| cache().join("cluster"));
        let home = std::path::absolute(&chosen).map_err(|error| failed(&chosen, &error))?;
        // The path goes into configuration files and command lines.
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
        if !home.to_str().is_some_and(|text| text.chars().all(plain)) {
            return Err(Failed(format!(
                "{} has letters that configuration files would misread; name a plain path with --directory",
                home.display()
            )));
        }
        let testbed = Testbed::new()?.telling(|step| println!("engines: {step}"));
        Ok(Self {
            option: directory.map_or(String::new(), |_| format!(" --directory {}", home.display())),
            home,
            load,
            testbed,
        })
    }

    fn up(&self, binary: Option<PathBuf>) -> Result<(), Failed> {
        let _alone = self.lock()?;
        let paused = |member: &Member| self.process(*member).is_some_and(|process| process.is_paused());
        if let Some(member) = Member::all().into_iter().find(paused) {
            return Err(self.paused(member));
        }
        let stopped = |member: &Member| self.process(*member).is_none();
        let missing: Vec<Member> = Member::all().into_iter().filter(stopped).collect();
        packages::install_balancer()?;
        free(&missing)?;
        let engines = self.engines_up()?;
        if !missing.is_empty() {
            self.choose(binary)?;
            self.certificate()?;
        }
        for member in missing.iter().chain([&Member::first_ingress()]) {
            self.configure(*member, &engines)?;
        }
        println!("cluster: {}", self.postrider(&["cluster", "init"], "")?.trim());
        // The balancer last: it takes everybody for healthy until it has looked.
        let is_balancer = |member: &Member| matches!(member, Member::Balancer);
        let (balancer, processes): (Vec<Member>, Vec<Member>) =
            missing.iter().partition(|member| is_balancer(member));
        self.start_all(&processes)?;
        self.start_all(&balancer)?;
        for member in Member::all() {
            self.wait_for(member, Instant::now())?;
        }
        if missing.is_empty() {
            println!("cluster: up already");
        }
        self.users()?;
        self.print();
        if self.load {
            self.prepare_load()?;
        }
        Ok(())
    }

    fn down(&self) -> Result<(), Failed> {
        let _alone = self.lock()?;
        let running = Member::all()
            .into_iter()
            .filter_map(|member| Some((member, self.process(member)?)));
        // Who serves clients goes first, and finishes what it does with those that it needs.
        let (front, behind): (Vec<_>, Vec<_>) = running.partition(|(member, _)| member.is_front());
        if front.is_empty() && behind.is_empty() {
            println!("cluster: nothing runs in {}", self.home.display());
        }
        for group in [front, behind] {
            end(&group)?;
        }
        let mark = self.home.join("engines-started");
        if mark.exists() {
            self.testbed.down()?;
            fs::remove_file(&mark).map_err(|error| failed(&mark, &error))?;
        }
        Ok(())
    }

    fn status(&self) -> Result<(), Failed> {
        let mut fine = true;
        for member in Member::all() {
            let process = self.process(member);
            let state = match &process {
                None => "stopped".into(),
                Some(process) if process.is_paused() => "paused".into(),
                Some(_) => ready(member).map_or_else(|why| format!("not ready: {why}"), |()| "ready".into()),
            };
            fine &= state == "ready";
            println!(
                "{member:<18} {:<11} pid {:<8} {:>5} MiB  {state}",
                member.address().to_string(),
                process
                    .as_ref()
                    .map_or("-".into(), |process| process.pid.to_string()),
                process.as_ref().map_or(0, Process::memory) >> 20,
            );
        }
        let engines = self.testbed.status();
        let answer = engines.iter().filter(|one| one.state == State::Answers).count();
        println!(
            "engines            {answer} of {} answer (`cargo xtask engines status`)",
            engines.len()
        );
        if fine && answer == engines.len() {
            return Ok(());
        }
        Err(Failed(format!(
            "not everything is up: `cargo xtask cluster up{}`; logs are {}/NAME/log",
            self.option,
            self.home.display()
        )))
    }

    fn kill(&self, member: Member) -> Result<(), Failed> {
        let process = self.must_run(member)?;
        process.signal(Signal::KILL)?;
        match process.has_ended(VANISH) {
            true => Ok(()),
            false => Err(Failed(format!("{member} was killed and does not vanish"))),
        }
    }

    fn pause(&self, member: Member) -> Result<(), Failed> {
        let process = self.must_run(member)?;
        process.signal(Signal::STOP)?;
        wait(VANISH, || process.is_paused().then_some(()))
            .ok_or_else(|| Failed(format!("{member} does not pause")))
    }

    fn start(&self, member: Member) -> Result<(), Failed> {
        if !self.folder(member).join(member.file()).exists() {
            return Err(Failed(format!(
                "{member} was never up in {}: `cargo xtask cluster up{}`",
                self.home.display(),
                self.option
            )));
        }
        match self.process(member) {
            Some(process) if process.is_paused() => return Err(self.paused(member)),
            Some(_) => {}
            None => free(&[member])?,
        }
        self.start_all(&[member])
    }

    /// Starts the engines if none runs, with the data they have; where they are.
    fn engines_up(&self) -> Result<Engines, Failed> {
        packages::install_engines()?;
        let ran = self.testbed.status().iter().any(|one| one.pid.is_some());
        if !ran {
            let mark = self.home.join("engines-started");
            fs::write(&mark, "").map_err(|error| failed(&mark, &error))?;
        }
        self.testbed.up(None, true)?;
        let redis = self.testbed.addresses(Kind::Redis)?;
        Ok(Engines {
            cassandra: self.testbed.addresses(Kind::Cassandra)?,
            kafka: self.testbed.addresses(Kind::Kafka)?,
            redis: *redis
                .first()
                .ok_or_else(|| Failed("Redis has no address".into()))?,
        })
    }

    /// Starts them at the same time and waits until all of them are ready, and in use by a balancer that runs.
    fn start_all(&self, members: &[Member]) -> Result<(), Failed> {
        let begin = Instant::now();
        for member in members {
            self.launch(*member)?;
        }
        for member in members {
            self.wait_for(*member, begin)?;
            println!(
                "cluster: {member} is ready after {:.1} s",
                begin.elapsed().as_secs_f64()
            );
        }
        Ok(())
    }

    /// Waits until it is ready, at most [`READY`] after `begin`.
    fn wait_for(&self, member: Member, begin: Instant) -> Result<(), Failed> {
        let log = self.folder(member).join("log");
        let look = || {
            ready(member)?;
            match member.is_front()
                && self
                    .process(Member::Balancer)
                    .is_some_and(|process| !process.is_paused())
            {
                true => in_use(member),
                false => Ok(()),
            }
        };
        let outcome = wait(READY.saturating_sub(begin.elapsed()), || {
            match self.process(member) {
                None => Some(Err(Failed(format!(
                    "{member} has ended: {}; see {}",
                    Record::of(&self.folder(member)).last_words(),
                    log.display()
                )))),
                Some(_) => look().is_ok().then_some(Ok(())),
            }
        });
        outcome.unwrap_or_else(|| {
            let why = look().err().unwrap_or_default();
            Err(Failed(format!(
                "{member} is not ready within {READY:?} ({why}); see {}",
                log.display()
            )))
        })
    }

    /// Makes the domain and the account if they are not there.
    fn users(&self) -> Result<(), Failed> {
        let has = |kind: &str, name: &str| -> Result<bool, Failed> {
            let list = self.postrider(&[kind, "list", "--json"], "")?;
            Ok(list.contains(&format!("\"{name}\"")))
        };
        if !has("domain", DOMAIN)? {
            self.postrider(&["domain", "add", DOMAIN], "")?;
        }
        if !has("account", ACCOUNT)? {
            self.postrider(&["account", "add", ACCOUNT, "--password-stdin"], PASSWORD)?;
        }
        Ok(())
    }

    fn print(&self) {
        println!("\n{:<34} {:<12} port", "what", "address");
        for port in Member::public_ports() {
            println!("{:<34} {:<12} {}", port.about, PUBLIC.to_string(), port.number);
        }
        println!(
            "\nuser {ACCOUNT}, password {PASSWORD}; the certificate is self-signed: {}/tls.pem\n\
             who is behind which port: http://{PUBLIC}:{OPS}/\n\
             ask and change: {} queue list --config {}\n\
             who runs: cargo xtask cluster status{o}    lose one: cargo xtask cluster kill mail-store-1{o}\n\
             stop: cargo xtask cluster down{o}",
            self.home.display(),
            self.binary().unwrap_or_else(|_| "postrider".into()).display(),
            self.folder(Member::first_ingress())
                .join("postrider.toml")
                .display(),
            o = self.option,
        );
    }

    fn paused(&self, member: Member) -> Failed {
        Failed(format!(
            "{member} is paused: `cargo xtask cluster resume {member}{}`",
            self.option
        ))
    }

    fn must_run(&self, member: Member) -> Result<Process, Failed> {
        self.process(member).ok_or_else(|| {
            Failed(format!(
                "{member} does not run: `cargo xtask cluster start {member}{}`",
                self.option
            ))
        })
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Failed {
    Failed(format!("{}: {error}", path.display()))
}
