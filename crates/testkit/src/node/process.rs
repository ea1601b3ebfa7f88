//! One process of a node: the real binary with a configuration, a data directory and a log of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::wire::pause;

/// A process that runs, or may run.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    binary: PathBuf,
    /// Where its `ops`, `admin` and `rpc` listeners are.
    ip: Ipv4Addr,
    directory: PathBuf,
    environment: Vec<(String, String)>,
    child: Option<Child>,
}

impl Process {
    /// A process whose files are in `directory`.
    pub fn new(name: &'static str, binary: &Path, ip: Ipv4Addr, directory: &Path) -> Self {
        fs::create_dir_all(directory).unwrap();
        Self {
            name,
            binary: binary.to_owned(),
            ip,
            directory: directory.to_owned(),
            environment: Vec::new(),
            child: None,
        }
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Its own loopback address.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.directory.join("postrider.toml")
    }

    /// What stands over its configuration, in variables.
    pub fn set_environment(&mut self, environment: Vec<(String, String)>) {
        self.environment = environment;
    }

    /// Sets one variable over those; it counts from the next start on.
    pub fn set(&mut self, key: &str, value: &str) {
        self.environment.push((key.to_owned(), value.to_owned()));
    }

    /// A command of the binary in the surroundings of this process.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .envs(self.environment.iter().cloned());
        command
    }

    /// Starts it without waiting for it.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let child = self
            .command(&["run"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Whether it says that it is ready.
    ///
    /// # Panics
    /// When it has ended by itself.
    pub fn is_ready(&mut self) -> bool {
        if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().unwrap()) {
            panic!("{} ended by itself ({status}):\n{}", self.name, self.log());
        }
        self.http("/readyz")
            .is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// Ends it without warning, as a crash does (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Waits until it has ended; whether it ended well.
    pub fn wait(&mut self) -> bool {
        let Some(mut child) = self.child.take() else {
            return true;
        };
        for _ in 0..600 {
            if let Some(status) = child.try_wait().unwrap() {
                return status.success();
            }
            pause(Duration::from_millis(50));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("{} did not end within 30 s:\n{}", self.name, self.log());
    }

    /// Sends a signal by name (`STOP`, `CONT`, `TERM`) without waiting.
    pub fn signal(&self, name: &str) {
        let pid = self.pid();
        let status = Command::new("kill")
            .args([&format!("-{name}"), &pid.to_string()])
            .status()
            .unwrap();
        assert!(status.success(), "kill -{name} {pid}");
    }

    /// Whether it was started and not ended since.
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// All it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// What a path of the `ops` listener answers, head and body; `None` when it cannot be reached.
    pub fn http(&self, path: &str) -> Option<String> {
        let address = SocketAddr::new(IpAddr::V4(self.ip), super::port("ops"));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let ip = self.ip;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {ip}\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("node.log")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.lines().rev().take(40).collect::<Vec<_>>();
            eprintln!("--- log of {} at {} (its end)", self.name, self.ip);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}
