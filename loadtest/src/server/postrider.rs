//! One Postrider node: configured, started, tormented, stopped.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use postrider_types::Secret;

use super::{accounts, binary};
use crate::target::{Accounts, Target, Tls};

/// How long a start may take: a large store that was killed is checked first.
const START: Duration = Duration::from_secs(120);
/// How long a node may take to end when asked to; it drains for up to 30 s by itself.
const STOP: Duration = Duration::from_secs(45);
/// How long one that is dropped may take to end by itself.
const DROP: Duration = Duration::from_secs(3);
/// How much of the log an error quotes.
const LOG_LINES: usize = 15;

/// The listeners that are opened, with their ports: those of the defaults. Every node has its own address.
const PORTS: [(&str, u16); 7] = [
    ("smtp", 2525),
    ("submission", 2587),
    ("pop3", 2110),
    ("imap", 2143),
    ("imaps", 2993),
    ("admin", 7026),
    ("ops", 9625),
];
/// Those that would otherwise be opened too.
const CLOSED: [&str; 3] = ["submissions", "pop3s", "http"];
/// Where a node that plays some roles only meets the others.
const RPC: u16 = 7025;

/// Nothing but the machine bounds a load; what a production node would limit is what is being measured.
const OPEN_LIMITS: &str = "\
[limits]
connections_per_address = 0
connections_per_account = 0
messages_per_connection = 1000000000
submitted_per_hour = 0
login = \"5m\"
";

/// What a node is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name it greets with.
    pub hostname: String,
    /// Who has a mailbox; opened after the start, those that exist are left alone.
    pub accounts: Accounts,
    /// Domains whose mail goes to the sink, and where that is.
    pub routes: Vec<(String, SocketAddr)>,
    /// Its loopback address; `None`: a free one.
    pub address: Option<Ipv4Addr>,
    /// The roles it plays, and then it listens for other processes; empty: all of them, by itself.
    pub roles: Vec<&'static str>,
    /// More configuration: whole TOML sections, except `[listeners]`, `[limits]` and `[outbound.routes]`.
    pub more: String,
}

/// A node. It is ended when dropped: asked for 3 s, then killed. Its directory stays.
#[derive(Debug)]
pub struct Postrider {
    binary: PathBuf,
    directory: PathBuf,
    address: Ipv4Addr,
    options: Options,
    child: Option<Child>,
}

impl Options {
    /// A node with accounts `user0` to `user{count - 1}` at hamburger.edu, password `hungry`, that sends nothing elsewhere.
    pub fn new(count: u64) -> Self {
        Self {
            hostname: "mx.hamburger.edu".into(),
            accounts: Accounts {
                domain: "hamburger.edu".into(),
                pattern: "user{}".into(),
                first: 0,
                count,
                password: Secret::new("hungry"),
            },
            routes: Vec::new(),
            address: None,
            roles: Vec::new(),
            more: String::new(),
        }
    }

    /// With mail for `far0.example` to `far{domains - 1}.example` going to `sink`.
    #[must_use]
    pub fn routed(mut self, domains: u32, sink: SocketAddr) -> Self {
        self.routes = (0..domains)
            .map(|number| (format!("far{number}.example"), sink))
            .collect();
        self
    }
}

impl Postrider {
    /// Writes the configuration to `directory`, starts the node, waits until it is ready and opens the accounts.
    /// Data that the directory holds already is kept.
    pub fn start(binary: &Path, directory: &Path, options: Options) -> Result<Self> {
        let mut node = Self::prepare(binary, directory, options)?;
        node.restart()?;
        node.open_accounts()?;
        Ok(node)
    }

    /// Writes the configuration to `directory`, and no more.
    pub fn prepare(binary: &Path, directory: &Path, options: Options) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
        let directory = directory.canonicalize()?;
        let address = match options.address {
            Some(address) => address,
            None => free_address()?,
        };
        let node = Self {
            binary: binary.to_owned(),
            directory,
            address,
            options,
            child: None,
        };
        fs::write(node.configuration(), node.configuration_text())?;
        Ok(node)
    }

    /// Makes the domain and opens the accounts of the options that are missing.
    pub fn open_accounts(&self) -> Result<()> {
        accounts::open(&self.binary, &self.configuration(), &self.options.accounts)
    }

    /// Runs a command of the program with this node's configuration; what it printed.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.binary)
            .args(arguments)
            .arg("--config")
            .arg(self.configuration())
            .stdin(Stdio::null())
            .output()
            .with_context(|| self.binary.display().to_string())?;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            bail!("postrider {}: {}", arguments.join(" "), words.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts it again after [`kill`](Self::kill) or [`stop`](Self::stop), and waits until it is ready.
    pub fn restart(&mut self) -> Result<()> {
        self.launch()?;
        let begin = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                bail!("postrider ended by itself ({status}):\n{}", self.log_end());
            }
            if self.is_ready() {
                return Ok(());
            }
            if begin.elapsed() > START {
                let log = self.log_end();
                self.kill()?;
                bail!("postrider was not ready within {START:?}:\n{log}");
            }
            pause(Duration::from_millis(20));
        }
    }

    /// Whether it says that it is ready.
    pub fn is_ready(&self) -> bool {
        self.http("/readyz")
            .is_some_and(|head| head.starts_with("HTTP/1.1 200"))
    }

    /// Starts the process without waiting until it is ready. A process that runs is left alone.
    pub fn launch(&mut self) -> Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let child = Command::new(&self.binary)
            .args(["run", "--config"])
            .arg(self.configuration())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| self.binary.display().to_string())?;
        self.child = Some(child);
        Ok(())
    }

    /// Ends it without warning, as a crash does (SIGKILL).
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits. One that does not within 45 s is killed, and that is an error.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        match self.end_within(STOP)? {
            Some(status) => Ok(status),
            None => bail!("postrider did not end within {STOP:?}:\n{}", self.log_end()),
        }
    }

    /// Stops it in its tracks (SIGSTOP): connections stay open and nothing answers.
    pub fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// How it ended, when it has ended by itself.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let status = match &mut self.child {
            Some(child) => child.try_wait()?,
            None => None,
        };
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// Its process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// What a load generator must know of it. The process id changes with every start.
    pub fn target(&self) -> Result<Target> {
        Ok(Target {
            name: binary::version(&self.binary)?,
            smtp: Some(self.listener("smtp")),
            submission: Some(self.listener("submission")),
            imap: Some(self.listener("imap")),
            pop3: Some(self.listener("pop3")),
            tls: Tls::Never,
            metrics: Some(format!("http://{}/metrics", self.listener("ops"))),
            processes: self.pid().into_iter().collect(),
            engines: Vec::new(),
            accounts: self.options.accounts.clone(),
            remote_domains: self
                .options
                .routes
                .iter()
                .map(|(domain, _)| domain.clone())
                .collect(),
        })
    }

    /// Where a listener is, by its name in the configuration (`smtp`, `submission`, `pop3`, `imap`, `imaps`, `admin`, `ops`,
    /// `rpc`; any other has port 0).
    pub fn listener(&self, name: &str) -> SocketAddr {
        let port = PORTS
            .iter()
            .chain(&[("rpc", RPC)])
            .find(|(known, _)| *known == name)
            .map_or(0, |(_, port)| *port);
        SocketAddr::new(IpAddr::V4(self.address), port)
    }

    /// What a path of the `ops` listener answers, head and body; `None` when it does not answer.
    pub fn http(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect_timeout(&self.listener("ops"), Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        let host = self.address;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Its configuration file.
    pub fn configuration(&self) -> PathBuf {
        self.directory.join("postrider.toml")
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// All it has logged, over all its starts.
    pub fn log_path(&self) -> PathBuf {
        self.directory.join("postrider.log")
    }

    fn configuration_text(&self) -> String {
        let mut text = String::new();
        // Debug escapes as TOML's basic strings do.
        let _ = writeln!(text, "hostname = {:?}", self.options.hostname);
        let _ = writeln!(text, "data_dir = {:?}", self.data());
        if !self.options.roles.is_empty() {
            let _ = writeln!(text, "roles = {:?}", self.options.roles);
        }
        for (name, port) in PORTS {
            let _ = writeln!(text, "[listeners.{name}]\nbind = [\"{}:{port}\"]", self.address);
        }
        for name in CLOSED {
            let _ = writeln!(text, "[listeners.{name}]\nbind = []");
        }
        let rpc = match self.options.roles.is_empty() {
            true => String::new(),
            false => format!("\"{}:{RPC}\"", self.address),
        };
        let _ = writeln!(text, "[listeners.rpc]\nbind = [{rpc}]");
        text.push_str(OPEN_LIMITS);
        if !self.options.routes.is_empty() {
            text.push_str("[outbound.routes]\n");
        }
        for (domain, address) in &self.options.routes {
            let _ = writeln!(text, "{domain:?} = \"{address}\"");
        }
        text.push_str(&self.options.more);
        text
    }

    fn signal(&self, name: &str) -> Result<()> {
        let Some(pid) = self.pid() else {
            bail!("postrider does not run");
        };
        let status = Command::new("kill")
            .args([&format!("-{name}"), &pid.to_string()])
            .status()?;
        if !status.success() {
            bail!("kill -{name} {pid} failed ({status})");
        }
        Ok(())
    }

    /// Asks it to end; `None` when it had to be killed after `limit`.
    fn end_within(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        self.signal("TERM")?;
        // A paused process hears nothing.
        self.signal("CONT")?;
        let begin = Instant::now();
        while begin.elapsed() < limit {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            pause(Duration::from_millis(20));
        }
        self.kill()?;
        Ok(None)
    }

    fn log_end(&self) -> String {
        let text = fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

impl Drop for Postrider {
    fn drop(&mut self) {
        if self.pid().is_some() && self.end_within(DROP).is_err() {
            // Nothing more can be done for it here.
            let _ = self.kill();
        }
    }
}

/// A loopback address on which none of the ports is taken: 127.x.y.z, x.y from the process so that several programs rarely
/// try the same one, z counts.
pub fn free_address() -> Result<Ipv4Addr> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let [_, _, high, low] = (std::process::id() & 0xffff).to_be_bytes();
    for _ in 0..250 {
        let [.., last] = (2 + NEXT.fetch_add(1, Ordering::Relaxed) % 250).to_be_bytes();
        let address = Ipv4Addr::new(127, 128 + high % 120, low, last);
        if PORTS
            .iter()
            .all(|(_, port)| TcpListener::bind((address, *port)).is_ok())
        {
            return Ok(address);
        }
    }
    bail!("no loopback address 127.x.y.z has the ports of a node free")
}

/// Waits without taking a processor.
fn pause(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
    {
        thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::{Options, Postrider};

    #[test]
    fn the_configuration_is_toml_with_every_route() {
        let node = Postrider {
            binary: "postrider".into(),
            directory: "/tmp/with \"quotes\"".into(),
            address: "127.0.0.9".parse().expect("an address"),
            options: Options::new(1).routed(3, "127.0.0.8:2525".parse().expect("an address")),
            child: None,
        };
        let parsed: toml::Table = node.configuration_text().parse().expect("TOML");
        assert_eq!(parsed["data_dir"].as_str(), Some("/tmp/with \"quotes\"/data"));
        assert_eq!(
            parsed["outbound"]["routes"]["far2.example"].as_str(),
            Some("127.0.0.8:2525")
        );
        assert_eq!(
            parsed["listeners"]["imap"]["bind"][0].as_str(),
            Some("127.0.0.9:2143")
        );
    }
}
