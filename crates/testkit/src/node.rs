//! A node: the real binary, in a data directory and on a loopback address of its own; one process, or a cluster of many (see [`shape`]).

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::wire::eventually;

mod process;
pub mod shape;

pub use process::Process;
pub use shape::{Member, Shape};

/// A running (or killed, or stopped) node.
pub struct Node {
    /// Where it listens for the world.
    ip: Ipv4Addr,
    shape: Shape,
    processes: Vec<Process>,
    directory: TempDir,
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
        Self::shaped(Shape::wanted(), binary, wish)
    }

    /// As [`Node::prepare`], in a shape the environment does not decide.
    pub fn shaped(shape: Shape, binary: &str, wish: &Wish) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("postrider-test-")
            .tempdir()
            .unwrap();
        let ip = next_address();
        let processes = match &shape {
            Shape::One => vec![Process::new("node", Path::new(binary), ip, directory.path())],
            Shape::Cluster { .. } => shape
                .members()
                .iter()
                .map(|member| {
                    let directory = directory.path().join(member.name);
                    Process::new(member.name, Path::new(binary), next_address(), &directory)
                })
                .collect(),
        };
        let mut node = Self {
            ip,
            shape,
            processes,
            directory,
        };
        node.configure(wish);
        if let Shape::Cluster { .. } = node.shape {
            node.admin(&["cluster", "init"]);
        }
        node
    }

    /// Writes the configuration anew; it counts from the next start on.
    pub fn configure(&mut self, wish: &Wish) {
        for at in 0..self.processes.len() {
            let member = self.shape.members()[at];
            let mut environment = self.shape.environment();
            if let Shape::Cluster { .. } = self.shape {
                environment.extend(self.services(&member));
            }
            let front = self.front(member.name);
            let process = &mut self.processes[at];
            let roles = match member.role.is_empty() {
                true => wish.roles.clone(),
                false => vec![member.role],
            };
            let mut text = String::new();
            writeln!(text, "hostname = \"{}\"", wish.hostname).unwrap();
            writeln!(text, "data_dir = \"{}\"", process.data().display()).unwrap();
            if !roles.is_empty() {
                writeln!(text, "roles = {roles:?}").unwrap();
            }
            for (name, port) in PORTS {
                let ip = if OWN.contains(&name) { process.ip() } else { front };
                writeln!(text, "[listeners.{name}]\nbind = [\"{ip}:{port}\"]").unwrap();
            }
            if !member.role.is_empty() {
                writeln!(text, "[listeners.rpc]\nbind = [\"{}:{RPC}\"]", process.ip()).unwrap();
            }
            if !wish.routes.is_empty() {
                text.push_str("[outbound.routes]\n");
                for (domain, address) in &wish.routes {
                    writeln!(text, "\"{domain}\" = \"{address}\"").unwrap();
                }
            }
            text.push_str(&wish.more);
            fs::write(process.config(), text).unwrap();
            process.set_environment(environment);
        }
    }

    /// Where a process of a cluster finds the others.
    fn services(&self, caller: &Member) -> Vec<(String, String)> {
        let named = [
            ("MAIL_STORE", "mail-store"),
            ("DIRECTORY", "directory"),
            ("SUBMISSION", "smtp-ingress"),
            ("QUEUE", "delivery-worker"),
        ];
        let of = |role: &str| {
            let members = self.shape.members().iter().zip(&self.processes);
            let playing: Vec<_> = members.filter(|(member, _)| member.role == role).collect();
            let chosen = |member: &Member| caller.calls.contains(&member.name);
            let all = !playing.iter().any(|(member, _)| chosen(member));
            let urls = playing
                .iter()
                .filter(|(member, _)| all || chosen(member))
                .map(|(_, process)| format!("http://{}:{RPC}", process.ip()));
            urls.collect::<Vec<_>>().join(",")
        };
        named
            .map(|(key, role)| (format!("POSTRIDER__SERVICES__{key}"), of(role)))
            .into()
    }

    /// Where a process listens for the world.
    fn front(&self, name: &str) -> Ipv4Addr {
        let members = self.shape.members();
        let at = members.iter().position(|member| member.name == name).unwrap();
        match members[..at].iter().any(|other| other.role == members[at].role) {
            true => self.processes[at].ip(),
            false => self.ip,
        }
    }

    /// Starts the node (again) and waits until it is ready.
    pub fn restart(&mut self) {
        self.launch();
        for process in &mut self.processes {
            let what = format!("{} to be ready", process.name());
            eventually(&what, Duration::from_secs(60), || {
                process.is_ready().then_some(())
            });
        }
    }

    /// Starts the processes without waiting for them.
    pub fn launch(&mut self) {
        self.processes.iter_mut().for_each(Process::launch);
    }

    /// Ends it without warning, as a crash does (SIGKILL).
    pub fn kill(&mut self) {
        self.processes.iter_mut().for_each(Process::kill);
    }

    /// Asks it to end (SIGTERM) and waits; whether it ended well.
    pub fn stop(&mut self) -> bool {
        // What listens for the world goes first: it may still need the others.
        let mut well = true;
        for process in &mut self.processes {
            if process.runs() {
                process.signal("TERM");
            }
            well &= process.wait();
        }
        well
    }

    /// Waits until it has ended; whether it ended well.
    pub fn wait(&mut self) -> bool {
        let mut well = true;
        for process in &mut self.processes {
            well &= process.wait();
        }
        well
    }

    /// Sends a signal by name (`STOP`, `CONT`, `TERM`) without waiting.
    pub fn signal(&self, name: &str) {
        self.processes.iter().for_each(|process| process.signal(name));
    }

    /// The process id of a node of one process.
    pub fn pid(&self) -> u32 {
        self.first().pid()
    }

    /// Its processes: one, or those of a cluster.
    pub fn processes(&mut self) -> &mut [Process] {
        &mut self.processes
    }

    /// One of its processes.
    pub fn process(&mut self, name: &str) -> &mut Process {
        let mut all = self.processes.iter_mut();
        all.find(|process| process.name() == name)
            .expect("a process of this name")
    }

    /// Runs an administration command against the node.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with_input(arguments, "")
    }

    /// Runs an administration command with text on its standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = self
            .first()
            .command(arguments)
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

    /// What `postrider trace` prints, once it shows these steps: journals are written beside the mail's way, so that a step may have
    /// been taken a moment before it is found.
    pub fn trace(&self, query: &[&str], steps: &[&str]) -> String {
        let arguments = [&["trace"], query].concat();
        eventually(
            &format!("{steps:?} in {arguments:?}"),
            Duration::from_secs(60),
            || {
                let text = String::from_utf8_lossy(&self.run(&arguments).stdout).into_owned();
                steps.iter().all(|step| text.contains(step)).then_some(text)
            },
        )
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
        let ip = if OWN.contains(&listener) {
            self.first().ip()
        } else {
            self.ip
        };
        SocketAddr::new(IpAddr::V4(ip), port(listener))
    }

    /// The address of a listener of one of its processes.
    pub fn address_of(&self, process: &str, listener: &str) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.front(process)), port(listener))
    }

    /// Where one of the processes of a cluster listens for other roles.
    pub fn rpc_of(&self, process: &str) -> SocketAddr {
        let mut all = self.processes.iter();
        let found = all.find(|other| other.name() == process);
        SocketAddr::new(IpAddr::V4(found.expect("a process of this name").ip()), RPC)
    }

    /// Its loopback address.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.first().data()
    }

    /// A folder the test may use.
    pub fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.first().config()
    }

    /// All it has logged so far.
    pub fn log(&self) -> String {
        self.processes.iter().map(Process::log).collect()
    }

    /// What a path of the `ops` listener answers, head and body; `None` when it cannot be reached.
    pub fn http(&self, path: &str) -> Option<String> {
        self.first().http(path)
    }

    fn first(&self) -> &Process {
        self.processes.first().unwrap()
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

/// Listeners that every process has.
const OWN: [&str; 2] = ["admin", "ops"];

/// Where roles listen for each other, in a cluster.
const RPC: u16 = 7025;

/// A listener's port.
fn port(listener: &str) -> u16 {
    PORTS.iter().find(|(name, _)| *name == listener).unwrap().1
}

/// 127.x.y.z: x from the process, so that test binaries running side by side do not meet; y.z counts.
fn next_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let [_, _, high, low] = (std::process::id() & 0xffff).to_be_bytes();
    let count = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(count < 250, "one test process has started 250 processes");
    Ipv4Addr::new(127, 1 + high % 250, low, 2 + count as u8)
}
