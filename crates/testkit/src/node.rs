//! A node: the real binary, in a data directory and on a loopback address of its own.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::wire::{eventually, pause};

/// A running (or killed, or stopped) node.
pub struct Node {
    binary: PathBuf,
    ip: Ipv4Addr,
    directory: TempDir,
    child: Option<Child>,
}

/// What a test wants of a node beyond the defaults.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Its host name; `mx.` and the domain by habit.
    pub hostname: String,
    /// What it does; empty: everything.
    pub roles: Vec<&'static str>,
    /// Static routes: domain and where its mail goes.
    pub routes: Vec<(String, SocketAddr)>,
    /// More configuration: whole TOML sections.
    pub more: String,
}

impl Node {
    /// Writes the configuration, starts the node and waits until it says that it is ready.
    pub fn start(binary: &str, wish: &Wish) -> Self {
        let mut node = Self::prepare(binary, wish);
        node.restart();
        node
    }

    /// Writes the configuration only.
    pub fn prepare(binary: &str, wish: &Wish) -> Self {
        let node = Self {
            binary: binary.into(),
            ip: next_address(),
            directory: tempfile::Builder::new()
                .prefix("postrider-test-")
                .tempdir()
                .unwrap(),
            child: None,
        };
        node.configure(wish);
        node
    }

    /// Writes the configuration anew; it counts from the next start on.
    pub fn configure(&self, wish: &Wish) {
        let mut text = String::new();
        writeln!(text, "hostname = \"{}\"", wish.hostname).unwrap();
        writeln!(text, "data_dir = \"{}\"", self.data().display()).unwrap();
        if !wish.roles.is_empty() {
            writeln!(text, "roles = {:?}", wish.roles).unwrap();
        }
        for (name, port) in PORTS {
            writeln!(text, "[listeners.{name}]\nbind = [\"{}:{port}\"]", self.ip).unwrap();
        }
        if !wish.routes.is_empty() {
            text.push_str("[outbound.routes]\n");
            for (domain, address) in &wish.routes {
                writeln!(text, "\"{domain}\" = \"{address}\"").unwrap();
            }
        }
        text.push_str(&wish.more);
        fs::write(self.config(), text).unwrap();
    }

    /// Starts the node (again) and waits until it is ready.
    pub fn restart(&mut self) {
        self.launch();
        eventually("the node to be ready", Duration::from_secs(60), || {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().unwrap()) {
                panic!("the node ended by itself ({status}):\n{}", self.log());
            }
            self.http("/readyz")
                .filter(|answer| answer.starts_with("HTTP/1.1 200"))
                .map(drop)
        });
    }

    /// Starts the process without waiting for it.
    pub fn launch(&mut self) {
        assert!(self.child.is_none(), "the node runs already");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let child = Command::new(&self.binary)
            .args(["run", "--config"])
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Ends it without warning, as a crash does (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Asks it to end (SIGTERM) and waits; whether it ended well.
    pub fn stop(&mut self) -> bool {
        if self.child.is_some() {
            self.signal("TERM");
        }
        self.wait()
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
        panic!("the node did not end within 30 s:\n{}", self.log());
    }

    /// Sends a signal by name (`STOP`, `CONT`, `TERM`) without waiting.
    pub fn signal(&self, name: &str) {
        self.signal_pid(name, self.child.as_ref().unwrap().id());
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Runs an administration command against the node.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with_input(arguments, "")
    }

    /// Runs an administration command with text on its standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(&self.binary)
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The command may refuse before it reads its input.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Runs an administration command that must succeed; what it printed.
    pub fn admin(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "postrider {} failed: {error}{text}\n{}",
            arguments.join(" "),
            self.log()
        );
        text
    }

    /// Adds the domain (if need be) and an account with a password.
    pub fn add_account(&self, address: &str, password: &str) {
        let domain = address.split_once('@').unwrap().1;
        if !self.admin(&["domain", "list"]).contains(domain) {
            self.admin(&["domain", "add", domain]);
        }
        let output = self.run_with_input(
            &["account", "add", address, "--password-stdin"],
            &format!("{password}\n"),
        );
        assert!(
            output.status.success(),
            "account add: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// A listener's address by its name in the configuration.
    pub fn address(&self, listener: &str) -> SocketAddr {
        let port = PORTS.iter().find(|(name, _)| *name == listener).unwrap().1;
        SocketAddr::new(IpAddr::V4(self.ip), port)
    }

    /// Its loopback address.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A folder the test may use.
    pub fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.directory.path().join("postrider.toml")
    }

    /// All it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// What a path of the `ops` listener answers, head and body; `None` when it cannot be reached.
    pub fn http(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect_timeout(&self.address("ops"), Duration::from_secs(2)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.ip
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("node.log")
    }

    fn signal_pid(&self, name: &str, pid: u32) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &pid.to_string()])
            .status()
            .unwrap();
        assert!(status.success(), "kill -{name} {pid}");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.lines().rev().take(40).collect::<Vec<_>>();
            eprintln!("--- log of {} (its end)", self.ip);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// The default ports of `docs/configuration`; every node has its own address, so they never collide.
const PORTS: [(&str, u16); 10] = [
    ("smtp", 2525),
    ("submission", 2587),
    ("submissions", 2465),
    ("pop3", 2110),
    ("pop3s", 2995),
    ("imap", 2143),
    ("imaps", 2993),
    ("http", 8080),
    ("admin", 7026),
    ("ops", 9625),
];

/// 127.x.y.z: x from the process, so that test binaries running side by side do not meet; y.z counts.
fn next_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let [_, _, high, low] = (std::process::id() & 0xffff).to_be_bytes();
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(count < 250, "one test process has started 250 nodes");
    Ipv4Addr::new(127, 1 + high % 250, low, 2 + count as u8)
}
