//! Redis servers of a test's own, to be killed, stopped and started again.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A server on a loopback address that nobody else has, with the usual port. It keeps nothing.
pub struct Server {
    address: SocketAddr,
    options: Vec<String>,
    folder: TempDir,
    child: Option<Child>,
}

impl Server {
    /// Starts one with further options, as in `["--requirepass", "x"]`.
    pub fn start(options: &[&str]) -> Self {
        let mut server = Self::prepared(options);
        server.start_again();
        server
    }

    /// One that is not started yet.
    pub fn prepared(options: &[&str]) -> Self {
        // A network for each test process, as far as process ids differ, an address for each server.
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let [.., high, low] = std::process::id().to_be_bytes();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            address: (Ipv4Addr::new(127, 128 | high >> 1, low, number), 6379).into(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            folder: tempfile::tempdir().unwrap(),
            child: None,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Starts it, empty, and waits until it listens.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let child = Command::new("redis-server")
            .args(["--bind", &self.address.ip().to_string(), "--port", "6379"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            // Nodes of a cluster would take each other's address from connections that come from 127.0.0.1.
            .args(["--cluster-announce-ip", &self.address.ip().to_string()])
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.options)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server cannot be run: install it (`cargo xtask engines up` does on Debian)");
        self.child = Some(child);
        let begin = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "redis-server does not listen"
            );
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// As if the power went.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it does not run");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// It keeps its connections and does nothing, until [`Self::resume`].
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Says something to it with the ordinary client; its answer.
    pub fn say(&self, words: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-h", &self.address.ip().to_string(), "--no-auth-warning"])
            .args(words)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().expect("it does not run").id();
        let pid = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}
