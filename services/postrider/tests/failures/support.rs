//! A cluster of one process a role whose engines can be taken away.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use postrider_cql::testing::{Mode, Proxy};
use postrider_testkit::imap::Imap;
use postrider_testkit::node::shape::Member;
use postrider_testkit::node::{Node, Process, Shape, Wish};
use postrider_testkit::wire::{Wire, eventually};
use tokio::runtime::Runtime;

pub const BINARY: &str = env!("CARGO_BIN_EXE_postrider");
pub const MINUTE: Duration = Duration::from_secs(60);
pub const BOB: &str = "bob@hamburger.edu";
pub const PASSWORD: &str = "hungry";
pub const LETTER: &str =
    "From: alice@crepes.fr\r\nTo: bob@hamburger.edu\r\nSubject: Condiments\r\n\r\nDo you like ketchup?\r\n";

/// `\0bob@hamburger.edu\0hungry`
pub const AUTH: &str = "AUTH PLAIN AGJvYkBoYW1idXJnZXIuZWR1AGh1bmdyeQ==";

/// How long a reply may take while something is wrong: the longest deadline of the database (12 s), and a slow machine.
pub const REPLY: Duration = Duration::from_secs(20);

/// A process of each role.
pub const MEMBERS: [Member; 6] = [
    Member::new("smtp-ingress", "smtp-ingress"),
    Member::new("imap-gateway", "imap-gateway"),
    Member::new("pop3-gateway", "pop3-gateway"),
    Member::new("delivery-worker", "delivery-worker"),
    Member::new("mail-store", "mail-store"),
    Member::new("directory", "directory"),
];
/// Those that speak to the database.
pub const WITH_DATABASE: [&str; 4] = ["smtp-ingress", "delivery-worker", "mail-store", "directory"];

/// Where proxies live.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
});

/// A cluster that is not started yet; its tables are made.
pub fn cluster(wish: &Wish) -> Node {
    Node::shaped(Shape::cluster_of(&MEMBERS), BINARY, wish)
}

pub fn wish() -> Wish {
    Wish {
        hostname: "mx.hamburger.edu".into(),
        ..Wish::default()
    }
}

/// A way to the database that can be cut, for the processes of these names.
pub fn database_between(node: &mut Node, names: &[&str]) -> Proxy {
    let proxy = RUNTIME.block_on(postrider_cql::testing::proxy()).unwrap();
    for name in names {
        let key = "POSTRIDER__STORAGE__CQL__CONTACT_POINTS";
        node.process(name).set(key, &proxy.address().to_string());
    }
    proxy
}

/// What a test, which is no asynchronous program, asks of something that is.
pub fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.block_on(work)
}

/// Sets a variable for all processes.
pub fn set(node: &mut Node, key: &str, value: &str) {
    for process in node.processes() {
        process.set(key, value);
    }
}

pub fn wait_ready(node: &mut Node) {
    for process in node.processes() {
        let what = format!("{} to be ready", process.name());
        eventually(&what, MINUTE, || process.is_ready().then_some(()));
    }
}

/// A Redis of the test's own.
pub struct OwnRedis {
    port: u16,
    child: Option<Child>,
}

impl OwnRedis {
    /// On a free port; not started yet.
    pub fn new() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        Self { port, child: None }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it, empty; with a password, if one is given.
    pub fn start(&mut self, password: &str) {
        assert!(self.child.is_none());
        let port = self.port.to_string();
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        if !password.is_empty() {
            command.args(["--requirepass", password]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        self.child = Some(child.expect("redis-server is installed (Debian: redis-server)"));
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        Wire::connect(address);
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// A command; the first line of the answer.
    pub fn ask(&self, command: &str) -> String {
        let mut wire = Wire::connect(SocketAddr::from(([127, 0, 0, 1], self.port)));
        wire.send(command);
        wire.line()
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The lines above `INFO` that a process logged since this was made.
pub struct Log {
    name: &'static str,
    from: usize,
}

impl Log {
    pub fn of(process: &Process) -> Self {
        Self {
            name: process.name(),
            from: process.log().len(),
        }
    }

    /// Of every process of a node.
    pub fn of_all(node: &mut Node) -> Vec<Self> {
        node.processes().iter().map(Self::of).collect()
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn warnings(&self, node: &mut Node) -> Vec<String> {
        let log = node.process(self.name).log();
        let fresh = log.get(self.from..).unwrap_or_default();
        let loud = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
        fresh.lines().filter(loud).map(ToOwned::to_owned).collect()
    }

    /// How many warnings contain this.
    pub fn count(&self, node: &mut Node, what: &str) -> usize {
        self.warnings(node)
            .iter()
            .filter(|line| line.contains(what))
            .count()
    }
}

/// A metric's value, the sum over its labels that contain `labels`; 0 when it is not there.
pub fn metric(process: &Process, name: &str, labels: &str) -> f64 {
    let text = process.http("/metrics").unwrap_or_default();
    let of_name = |line: &&str| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
            && line.contains(labels)
    };
    text.lines()
        .filter(of_name)
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// An SMTP session after EHLO.
pub fn smtp(node: &Node) -> Wire {
    let mut wire = Wire::connect(node.address("smtp"));
    wire.reply("220");
    wire.command("EHLO client.example", "250");
    wire
}

/// A submission session, logged in as Bob.
pub fn submission(node: &Node) -> Wire {
    let mut wire = Wire::connect(node.address("submission"));
    wire.reply("220");
    wire.command("EHLO client.example", "250");
    wire.command(AUTH, "235");
    wire
}

/// A transaction up to and including the message; the reply to it.
pub fn letter(wire: &mut Wire, from: &str, to: &[&str]) -> String {
    wire.command(&format!("MAIL FROM:<{from}>"), "250");
    for recipient in to {
        wire.command(&format!("RCPT TO:<{recipient}>"), "250");
    }
    wire.command("DATA", "354");
    wire.send_bytes(LETTER.replace("alice@crepes.fr", from).as_bytes());
    wire.send(".");
    wire.line()
}

/// A POP3 login; the last answer.
pub fn pop3(node: &Node) -> (Wire, String) {
    let mut wire = Wire::connect(node.address("pop3"));
    wire.expect("+OK");
    wire.send(&format!("USER {BOB}"));
    wire.expect("+OK");
    wire.send(&format!("PASS {PASSWORD}"));
    let answer = wire.line();
    (wire, answer)
}

/// An IMAP login; the tagged answer.
pub fn imap_login(node: &Node) -> String {
    let mut imap = Imap::connect(node.address("imap"));
    imap.command(&format!("LOGIN {BOB} {PASSWORD}")).1
}

/// How many messages are in Bob's INBOX, by a new session.
pub fn inbox(node: &Node) -> u32 {
    Imap::login(node.address("imap"), BOB, PASSWORD).select("INBOX")
}

/// Bob's mail can be put in, and read over both protocols; how many there are then.
pub fn all_is_well(node: &Node) -> u32 {
    let before = inbox(node);
    assert!(letter(&mut smtp(node), "alice@crepes.fr", &[BOB]).starts_with("250"));
    let after = eventually("the letter", MINUTE, || {
        let now = inbox(node);
        (now > before).then_some(now)
    });
    eventually("POP3", MINUTE, || pop3(node).1.starts_with("+OK").then_some(()));
    after
}

/// Fails unless `work` ends in time.
pub fn within<T>(limit: Duration, what: &str, work: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let done = work();
    let took = begin.elapsed();
    assert!(took < limit, "{what} took {took:?}, more than {limit:?}");
    done
}

/// Cut, so that connections break and none can be made.
pub fn cut(proxy: &Proxy) {
    proxy.set(Mode::Cut);
}
