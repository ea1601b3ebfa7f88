//! An engine that one test has for itself, so that its loss hurts no other test, and so that it may ask who comes.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::java::Java;
use crate::process::{Record, wait};
use crate::testbed::end_now;
use crate::{Engine, Failed, Kind, Testbed, cassandra, kafka, redis};

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(180);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);

/// What an engine asks of its clients: TLS with a certificate of an authority, and a login. It identifies itself by the same authority.
/// Files are PEM.
#[derive(Debug, Clone)]
pub struct Guard {
    /// Who signs the clients' certificates.
    pub authority: PathBuf,
    /// The engine's key (PKCS #8) and its certificate chain, which names `127.0.0.9`.
    pub identity: PathBuf,
    /// The user of Kafka (SCRAM-SHA-512) and of Redis. In Cassandra it is the test's to make: there is `cassandra`, password `cassandra`.
    pub user: String,
    /// Its password.
    pub password: String,
}

/// An engine at `127.0.0.9`, one node. There is one of a kind at a time on a machine: who wants another waits. Ends when dropped; its
/// folder is the caller's to remove.
#[derive(Debug)]
pub struct Own {
    engine: Engine,
    folder: PathBuf,
    library: PathBuf,
    guard: Option<Guard>,
    _alone: File,
}

impl Own {
    /// Of the testbed only the jars are used. Nothing is started yet.
    pub fn new(kind: Kind, testbed: &Testbed, folder: &Path, guard: Option<Guard>) -> Result<Self, Failed> {
        let path = testbed.directory().join(format!("own-{}.lock", kind.name()));
        let failed = |error: std::io::Error| Failed::at(&path, &error);
        fs::create_dir_all(testbed.directory()).map_err(failed)?;
        let alone = File::create(&path).map_err(failed)?;
        alone.lock().map_err(failed)?;
        fs::create_dir_all(folder).map_err(|error| Failed::at(folder, &error))?;
        Ok(Self {
            engine: Engine::own(kind),
            folder: folder.to_owned(),
            library: testbed.library(),
            guard,
            _alone: alone,
        })
    }

    /// Where clients reach it, while it runs.
    pub fn address(&self) -> SocketAddr {
        self.engine.address()
    }

    /// Starts it with the data it has, and returns when it answers.
    pub fn start(&self) -> Result<(), Failed> {
        let mut command = self.command()?;
        let record = Record::of(&self.folder);
        record.launch(&mut command)?;
        let answers = wait(START, || match record.process() {
            None => Some(Err(Failed(format!("it has ended: {}", record.last_words())))),
            Some(_) => self.answers().then_some(Ok(())),
        });
        answers.unwrap_or_else(|| Err(Failed(format!("{} does not answer", self.address()))))
    }

    /// Kills it (SIGKILL), if it runs.
    pub fn kill(&self) -> Result<(), Failed> {
        match Record::of(&self.folder).process() {
            Some(process) => end_now(self.engine, &process),
            None => Ok(()),
        }
    }

    /// Stops it in its tracks (SIGSTOP): its connections stay and nothing answers.
    pub fn pause(&self) -> Result<(), Failed> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) -> Result<(), Failed> {
        self.signal(Signal::CONT)
    }

    /// Drops its data, while it does not run.
    pub fn wipe(&self) -> Result<(), Failed> {
        let data = self.folder.join("data");
        match fs::remove_dir_all(&data) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Failed::at(&data, &error)),
            _ => Ok(()),
        }
    }

    fn command(&self) -> Result<Command, Failed> {
        let (engine, folder, guard) = (self.engine, &self.folder, self.guard.as_ref());
        let java = || Java::with_jars(engine.kind(), &self.library, |_| ());
        match engine.kind() {
            Kind::Kafka => {
                let java = java()?;
                kafka::configure(engine, &[engine.node()], folder, &java, guard)?;
                kafka::command(engine, folder, &java)
            }
            Kind::Cassandra => {
                cassandra::configure(engine, folder, guard)?;
                cassandra::command(engine, folder, &java()?)
            }
            Kind::Redis => {
                redis::configure(engine, folder, guard)?;
                Ok(redis::command(folder))
            }
        }
    }

    /// Behind a guard it is enough that it listens, which all of them do last.
    fn answers(&self) -> bool {
        let engine = self.engine;
        match engine.kind() {
            Kind::Kafka => {
                let own = i32::from(engine.node());
                let inside = kafka::client_port(self.guard.as_ref());
                kafka::brokers(engine.at(inside)).is_ok_and(|brokers| brokers.contains(&own))
            }
            _ if self.guard.is_some() => TcpStream::connect_timeout(&engine.address(), CONNECT).is_ok(),
            Kind::Cassandra => cassandra::answers(engine).is_ok(),
            Kind::Redis => redis::answers(engine).is_ok(),
        }
    }

    fn signal(&self, signal: Signal) -> Result<(), Failed> {
        let process = Record::of(&self.folder).process();
        let process =
            process.ok_or_else(|| Failed(format!("the test's own {} does not run", self.engine)))?;
        process.signal(signal)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // Whoever drops it in a failing test has an error to tell already.
        let _ = self.kill();
    }
}
