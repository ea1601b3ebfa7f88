//! The engines together: up, down, status, and faults of single ones.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::engine::MOST_NODES;
use crate::java::{self, Java};
use crate::process::{Process, Record, wait};
use crate::{Engine, Failed, Kind, cassandra, kafka, redis};

/// How long an engine may take from its start until it answers. Some ten seconds are usual; a busy machine takes longer.
const START: Duration = Duration::from_secs(240);
/// How long an engine may take to end in good order before it is killed.
const STOP: Duration = Duration::from_secs(60);
/// How long a killed process may take to vanish.
const VANISH: Duration = Duration::from_secs(20);

const UP: &str = "cargo xtask engines up";
const DOWN: &str = "cargo xtask engines down";

/// Kafka, Cassandra and Redis of one directory.
#[derive(Debug, Clone)]
pub struct Testbed {
    home: PathBuf,
    say: fn(&str),
}

/// How an engine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It answers in its own protocol, as part of a cluster that is complete to its knowledge.
    Answers,
    /// The process runs and does not answer: it starts, or it is in trouble.
    Silent,
    /// Stopped by a signal until `resume`.
    Paused,
    /// No process.
    Stopped,
}

/// One engine, looked at.
#[derive(Debug, Clone, Copy)]
pub struct Status {
    /// Which one.
    pub engine: Engine,
    /// Its process, if it runs.
    pub pid: Option<u32>,
    /// Resident memory in bytes, 0 if it does not run.
    pub memory: u64,
    /// How it does.
    pub state: State,
}

impl Testbed {
    /// The testbed of the directory that the environment's `POSTRIDER_ENGINES_DIR` names, else of `~/.cache/postrider/engines`.
    /// Nothing is started or made.
    pub fn new() -> Result<Self, Failed> {
        let home = match std::env::var_os("POSTRIDER_ENGINES_DIR") {
            Some(directory) => PathBuf::from(directory),
            None => std::env::var_os("HOME")
                .map_or_else(std::env::temp_dir, PathBuf::from)
                .join(".cache/postrider/engines"),
        };
        let home = std::path::absolute(&home).map_err(|error| Failed::at(&home, &error))?;
        // The path goes into configuration files of three kinds, and into a list of processes.
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
        match home.to_str() {
            Some(text) if text.chars().all(plain) => Ok(Self { home, say: |_| () }),
            _ => Err(Failed(format!(
                "{} has letters that the engines' configuration files would misread; set POSTRIDER_ENGINES_DIR to a plain path",
                home.display()
            ))),
        }
    }

    /// Whoever wants to hear of each step.
    #[must_use]
    pub fn telling(mut self, say: fn(&str)) -> Self {
        self.say = say;
        self
    }

    /// Where everything lies.
    pub fn directory(&self) -> &Path {
        &self.home
    }

    /// Starts what does not run and returns when everything answers. With nothing running it begins with empty data, unless `keep`.
    /// `nodes` is 1 or 3; where it is not said, it is what runs already, else 1. A running testbed of another size is an error.
    pub fn up(&self, nodes: Option<u8>, keep: bool) -> Result<(), Failed> {
        let _alone = self.lock(true)?;
        let recorded = self.nodes();
        let running = self.running();
        let nodes = nodes
            .or(recorded.filter(|_| keep || !running.is_empty()))
            .unwrap_or(1);
        if nodes != 1 && nodes != MOST_NODES {
            return Err(Failed(format!("{nodes} nodes: 1 or {MOST_NODES}")));
        }
        if let Some(other) = recorded.filter(|other| *other != nodes) {
            if !running.is_empty() {
                return Err(Failed(format!(
                    "engines with {other} node(s) run in {}: stop them first, `{DOWN}`",
                    self.home.display()
                )));
            }
            if keep {
                return Err(Failed(format!(
                    "the kept data are of {other} node(s); start as many, or without --keep"
                )));
            }
        }
        let all = Engine::all(nodes);
        let missing: Vec<Engine> = all
            .iter()
            .filter(|engine| !running.contains(engine))
            .copied()
            .collect();
        if missing.is_empty() {
            (self.say)(&format!("up already, {nodes} node(s)"));
        } else {
            self.programs(&missing)?;
            self.ports(&missing)?;
            if running.is_empty() && !keep {
                self.wipe()?;
            }
            self.write_nodes(nodes)?;
        }
        self.start_all(&missing, &all, nodes)
    }

    /// Ends everything that runs, in good order, and returns when it has ended. Data and logs stay until the next `up`.
    pub fn down(&self) -> Result<(), Failed> {
        let _alone = self.lock(true)?;
        let begin = Instant::now();
        let running: Vec<(Engine, Process)> = Engine::all(MOST_NODES)
            .into_iter()
            .filter_map(|engine| Some((engine, self.process(engine)?)))
            .collect();
        if running.is_empty() {
            (self.say)("nothing runs");
        }
        // Together: the nodes of a cluster wait for each other less.
        for (_, process) in &running {
            process.signal(Signal::TERM)?;
            process.signal(Signal::CONT)?;
        }
        for (engine, process) in running {
            if process.has_ended(STOP.saturating_sub(begin.elapsed())) {
                java::keep_archive(engine, &self.folder(engine), &self.library());
                (self.say)(&format!("{engine} ended after {}", seconds(begin)));
            } else {
                end_now(engine, &process)?;
                (self.say)(&format!("{engine} did not end within {STOP:?}: killed"));
            }
        }
        Ok(())
    }

    /// How each engine of the testbed does; those of one node when nothing was ever started.
    pub fn status(&self) -> Vec<Status> {
        let nodes = self.nodes().unwrap_or(1);
        Engine::all(nodes)
            .into_iter()
            .map(|engine| match self.process(engine) {
                None => Status {
                    engine,
                    pid: None,
                    memory: 0,
                    state: State::Stopped,
                },
                Some(process) => Status {
                    engine,
                    pid: Some(process.pid),
                    memory: process.memory(),
                    state: self.state(engine, &process, nodes),
                },
            })
            .collect()
    }

    /// The addresses of the running engines of a kind; an error that says what to do when there is none. Whether they answer is
    /// not asked.
    pub fn addresses(&self, kind: Kind) -> Result<Vec<SocketAddr>, Failed> {
        let running = self.running().into_iter().filter(|engine| engine.kind() == kind);
        let addresses: Vec<SocketAddr> = running.map(Engine::address).collect();
        if addresses.is_empty() {
            return Err(Failed(format!(
                "{} does not run here: start it with `{UP}`",
                kind.name()
            )));
        }
        Ok(addresses)
    }

    /// Starts one engine with the data it has, and returns when it answers. No error when it does already.
    pub fn start(&self, engine: Engine) -> Result<(), Failed> {
        let _shared = self.lock(false)?;
        let nodes = match self.nodes() {
            Some(nodes) => nodes,
            None => self.write_nodes(1).map(|()| 1)?,
        };
        if engine.node() > nodes {
            return Err(Failed(format!(
                "the engines are of {nodes} node(s), without {engine}"
            )));
        }
        if self.process(engine).is_some_and(|process| process.is_paused()) {
            return Err(Failed(format!(
                "{engine} is paused: `cargo xtask engines resume {engine}`"
            )));
        }
        if self.process(engine).is_none() {
            self.programs(&[engine])?;
            self.ports(&[engine])?;
        }
        self.launch(engine, nodes)?;
        self.wait_for(engine, |engine| ready_alone(engine, nodes))
    }

    /// Kills one engine (SIGKILL) and returns when its process is gone.
    pub fn kill(&self, engine: Engine) -> Result<(), Failed> {
        end_now(engine, &self.must_run(engine)?)
    }

    /// Drops the data of an engine that does not run: it will start as a new one. Its log stays.
    pub fn forget(&self, engine: Engine) -> Result<(), Failed> {
        let _shared = self.lock(false)?;
        if self.process(engine).is_some() {
            return Err(Failed(format!(
                "{engine} runs: kill it before its data are dropped"
            )));
        }
        let folder = self.folder(engine);
        let failed = |error: std::io::Error| Failed::at(&folder, &error);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                fs::remove_dir_all(&path).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Stops one engine in its tracks (SIGSTOP): its connections stay and nothing answers. Returns when it is so.
    pub fn pause(&self, engine: Engine) -> Result<(), Failed> {
        let process = self.must_run(engine)?;
        process.signal(Signal::STOP)?;
        wait(VANISH, || process.is_paused().then_some(()))
            .ok_or_else(|| Failed(format!("{engine} does not pause")))
    }

    /// Lets a paused engine go on (SIGCONT).
    pub fn resume(&self, engine: Engine) -> Result<(), Failed> {
        self.must_run(engine)?.signal(Signal::CONT)
    }

    /// Starts engines at the same time and waits until all of `all` answer as one complete cluster.
    fn start_all(&self, missing: &[Engine], all: &[Engine], nodes: u8) -> Result<(), Failed> {
        let begin = Instant::now();
        // Before the threads: two of a kind would fetch the same jars.
        for kind in [Kind::Kafka, Kind::Cassandra] {
            if missing.iter().any(|engine| engine.kind() == kind) {
                Java::with_jars(kind, &self.library(), self.say)?;
            }
        }
        std::thread::scope(|scope| {
            let started: Vec<_> = missing
                .iter()
                .map(|engine| scope.spawn(|| self.launch(*engine, nodes)))
                .collect();
            started.into_iter().try_for_each(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(Failed("a thread that starts an engine panicked".into())))
            })
        })?;
        for engine in all {
            self.wait_for(*engine, |engine| ready_together(engine, nodes))?;
            if missing.contains(engine) {
                (self.say)(&format!("{engine} answers after {}", seconds(begin)));
            }
        }
        Ok(())
    }

    /// Starts one engine if it does not run; its configuration is written anew, its data are left alone.
    fn launch(&self, engine: Engine, nodes: u8) -> Result<(), Failed> {
        if self.process(engine).is_some() {
            return Ok(());
        }
        let folder = self.folder(engine);
        fs::create_dir_all(&folder).map_err(|error| Failed::at(&folder, &error))?;
        let java = |kind| Java::with_jars(kind, &self.library(), self.say);
        let mut command = match engine.kind() {
            Kind::Kafka => {
                let java = java(Kind::Kafka)?;
                let all: Vec<u8> = (1..=nodes).collect();
                kafka::configure(engine, &all, &folder, &java, None)?;
                kafka::command(engine, &folder, &java)?
            }
            Kind::Cassandra => {
                cassandra::configure(engine, &folder, None)?;
                cassandra::command(engine, &folder, &java(Kind::Cassandra)?)?
            }
            Kind::Redis => {
                redis::configure(engine, &folder, None)?;
                redis::command(&folder)
            }
        };
        Record::of(&folder).launch(&mut command)
    }

    fn wait_for(&self, engine: Engine, ready: impl Fn(Engine) -> bool) -> Result<(), Failed> {
        let log = self.folder(engine).join("log");
        let outcome = wait(START, || match self.process(engine) {
            None => Some(Err(Failed(format!(
                "{engine} has ended: {}; see {}",
                Record::of(&self.folder(engine)).last_words(),
                log.display()
            )))),
            Some(_) => ready(engine).then_some(Ok(())),
        });
        outcome.unwrap_or_else(|| {
            Err(Failed(format!(
                "{engine} does not answer within {START:?}; see {}",
                log.display()
            )))
        })
    }

    fn state(&self, engine: Engine, process: &Process, nodes: u8) -> State {
        if process.is_paused() {
            State::Paused
        } else if ready_alone(engine, nodes) {
            State::Answers
        } else {
            State::Silent
        }
    }

    fn must_run(&self, engine: Engine) -> Result<Process, Failed> {
        self.process(engine).ok_or_else(|| {
            Failed(format!(
                "{engine} does not run: `cargo xtask engines start {engine}`"
            ))
        })
    }

    fn running(&self) -> Vec<Engine> {
        let runs = |engine: &Engine| self.process(*engine).is_some();
        Engine::all(MOST_NODES).into_iter().filter(runs).collect()
    }

    fn process(&self, engine: Engine) -> Option<Process> {
        Record::of(&self.folder(engine)).process()
    }

    /// Are the programs there that these engines are?
    fn programs(&self, engines: &[Engine]) -> Result<(), Failed> {
        let wanted = engines.iter().any(|engine| engine.kind() == Kind::Redis);
        if wanted
            && std::process::Command::new(redis::PROGRAM)
                .arg("--version")
                .output()
                .is_err()
        {
            return Err(Failed(format!(
                "{} is not installed (Debian: redis-server)",
                redis::PROGRAM
            )));
        }
        Ok(())
    }

    /// Is every port free that these engines, none of which runs, will listen on?
    fn ports(&self, engines: &[Engine]) -> Result<(), Failed> {
        for engine in engines {
            let between = match engine.kind() {
                Kind::Kafka => Some(kafka::CONTROLLER_PORT),
                Kind::Cassandra => Some(cassandra::STORAGE_PORT),
                Kind::Redis => None,
            };
            let addresses = [Some(engine.address()), between.map(|port| engine.at(port))];
            for address in addresses.into_iter().flatten() {
                if let Err(error) = std::net::TcpListener::bind(address) {
                    let why = match error.kind() {
                        ErrorKind::AddrInUse => "somebody else listens there (`ss -ltnp` says who)".into(),
                        _ => error.to_string(),
                    };
                    return Err(Failed(format!("{engine} cannot have {address}: {why}")));
                }
            }
        }
        Ok(())
    }

    /// Drops the data, configuration and logs of all engines.
    fn wipe(&self) -> Result<(), Failed> {
        let path = self.home.join("run");
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Failed::at(&path, &error)),
            _ => Ok(()),
        }
    }

    /// How many nodes the data are of.
    fn nodes(&self) -> Option<u8> {
        fs::read_to_string(self.home.join("nodes"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    fn write_nodes(&self, nodes: u8) -> Result<(), Failed> {
        let path = self.home.join("nodes");
        fs::write(&path, format!("{nodes}\n")).map_err(|error| Failed::at(&path, &error))
    }

    /// `up` and `down` are alone; single engines are handled side by side.
    fn lock(&self, alone: bool) -> Result<File, Failed> {
        let path = self.home.join("lock");
        let failed = |error: std::io::Error| Failed::at(&path, &error);
        fs::create_dir_all(&self.home).map_err(|error| Failed::at(&self.home, &error))?;
        let file = File::create(&path).map_err(failed)?;
        let taken = if alone {
            file.try_lock()
        } else {
            file.try_lock_shared()
        };
        if taken.is_err() {
            (self.say)("another command is busy with the engines: waiting for it");
            if alone { file.lock() } else { file.lock_shared() }.map_err(failed)?;
        }
        Ok(file)
    }

    fn folder(&self, engine: Engine) -> PathBuf {
        self.home.join("run").join(engine.to_string())
    }

    pub(crate) fn library(&self) -> PathBuf {
        self.home.join("lib")
    }
}

/// Whether it answers, and knows all of its cluster.
fn ready_together(engine: Engine, nodes: u8) -> bool {
    match engine.kind() {
        Kind::Kafka => {
            let all: Vec<i32> = (1..=i32::from(nodes)).collect();
            kafka::brokers(engine.address()).is_ok_and(|mut brokers| {
                brokers.sort_unstable();
                brokers == all
            })
        }
        _ => ready_alone(engine, nodes),
    }
}

/// Whether it answers and has joined its cluster, while other nodes may be down.
fn ready_alone(engine: Engine, nodes: u8) -> bool {
    match engine.kind() {
        Kind::Kafka => {
            kafka::brokers(engine.address()).is_ok_and(|brokers| brokers.contains(&i32::from(engine.node())))
        }
        // Nodes that are down stay in its table of peers.
        Kind::Cassandra => {
            cassandra::answers(engine).is_ok()
                && cassandra::peers(engine).is_ok_and(|peers| peers >= usize::from(nodes) - 1)
        }
        Kind::Redis => redis::answers(engine).is_ok(),
    }
}

pub(crate) fn end_now(engine: Engine, process: &Process) -> Result<(), Failed> {
    process.signal(Signal::KILL)?;
    if process.has_ended(VANISH) {
        return Ok(());
    }
    Err(Failed(format!("{engine} was killed and does not vanish")))
}

fn seconds(begin: Instant) -> String {
    format!("{:.1} s", begin.elapsed().as_secs_f64())
}
