//! A broker that one test has for itself, so that its loss hurts no other test.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::java::Java;
use crate::process::{Record, wait};
use crate::testbed::end_now;
use crate::{Engine, Failed, Kind, Testbed, kafka};

/// How long it may take until it answers.
const START: Duration = Duration::from_secs(120);

/// Kafka at `127.0.0.9:19092`, one node. There is one at a time on a machine: who wants another waits. Ends when dropped; its folder is the
/// caller's to remove.
#[derive(Debug)]
pub struct OwnKafka {
    engine: Engine,
    folder: PathBuf,
    library: PathBuf,
    _alone: File,
}

impl OwnKafka {
    /// Of the testbed only the jars are used. Nothing is started yet.
    pub fn new(testbed: &Testbed, folder: &Path) -> Result<Self, Failed> {
        let path = testbed.directory().join("own-kafka.lock");
        let failed = |error: std::io::Error| Failed::at(&path, &error);
        fs::create_dir_all(testbed.directory()).map_err(failed)?;
        let alone = File::create(&path).map_err(failed)?;
        alone.lock().map_err(failed)?;
        fs::create_dir_all(folder).map_err(|error| Failed::at(folder, &error))?;
        Ok(Self {
            engine: Engine::own_kafka(),
            folder: folder.to_owned(),
            library: testbed.library(),
            _alone: alone,
        })
    }

    /// Where clients reach it, while it runs.
    pub fn address(&self) -> SocketAddr {
        self.engine.address()
    }

    /// Starts it with the data it has, and returns when it answers.
    pub fn start(&self) -> Result<(), Failed> {
        let java = Java::with_jars(Kind::Kafka, &self.library, |_| ())?;
        kafka::configure(self.engine, &[self.engine.node()], &self.folder, &java)?;
        let mut command = kafka::command(self.engine, &self.folder, &java)?;
        let record = Record::of(&self.folder);
        record.launch(&mut command)?;
        let own = i32::from(self.engine.node());
        let answers = wait(START, || match record.process() {
            None => Some(Err(Failed(format!("it has ended: {}", record.last_words())))),
            Some(_) => kafka::brokers(self.engine)
                .is_ok_and(|brokers| brokers.contains(&own))
                .then_some(Ok(())),
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

    fn signal(&self, signal: Signal) -> Result<(), Failed> {
        let process = Record::of(&self.folder).process();
        let process = process.ok_or_else(|| Failed("the test's own kafka does not run".into()))?;
        process.signal(signal)
    }
}

impl Drop for OwnKafka {
    fn drop(&mut self) {
        // Whoever drops it in a failing test has an error to tell already.
        let _ = self.kill();
    }
}
