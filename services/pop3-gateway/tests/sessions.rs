//! Sessions over loopback, against a directory and a mail store in memory.

// A player fails by panicking, as a test does.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fakes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use fakes::{FakeDirectory, FakeStore, World};
use postrider_coordination::{Counters, LeaseToken, Leases, LoginLimits, Memory, Unavailable};
use postrider_pop3::client::{Client, Event};
use postrider_pop3_gateway::{Config, Pop3, Services};
use postrider_proto::Link;
use postrider_proto::directory::directory_server::DirectoryServer;
use postrider_proto::mailstore::mail_store_server::MailStoreServer;
use postrider_runtime::{Server, Settings};
use postrider_sasl::Mechanism;
use postrider_types::Secret;
use postrider_wire::{Session, Step};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, DropGuard};

const KETCHUP: &[u8] = b"Subject: ketchup\r\n\r\nDo you like ketchup?\r\n";
const PICKLES: &[u8] = b"Subject: pickles\r\n\r\n.How about pickles?\r\n";

struct Node {
    address: SocketAddr,
    world: Arc<World>,
    drain: CancellationToken,
    _drain: DropGuard,
}

impl Node {
    fn start(world: Arc<World>) -> Self {
        let memory = Arc::new(Memory::new());
        Self::start_with(world, memory.clone(), memory, |_| ())
    }

    fn start_with(
        world: Arc<World>,
        counters: Arc<dyn Counters>,
        leases: Arc<dyn Leases>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config {
            hostname: "hamburger.edu".into(),
            logins: LoginLimits {
                delay: Duration::from_millis(1),
                ..LoginLimits::default()
            },
            ..Config::default()
        };
        change(&mut config);
        let services = Services {
            directory: Link::local(DirectoryServer::new(FakeDirectory(world.clone()))),
            mail_store: Link::local(MailStoreServer::new(FakeStore(world.clone()))),
            counters,
            leases,
        };
        let server = Server::bind(Settings::default()).unwrap();
        let address = server.addresses()[0];
        let drain = CancellationToken::new();
        tokio::spawn(server.serve(
            Arc::new(Pop3::new(config, services).listener(false)),
            drain.clone(),
        ));
        Self {
            address,
            world,
            drain: drain.clone(),
            _drain: drain.drop_guard(),
        }
    }

    async fn connect(&self) -> Wire {
        let mut wire = Wire(BufReader::new(TcpStream::connect(self.address).await.unwrap()));
        assert_eq!(wire.hear().await, "+OK hamburger.edu POP3 server ready");
        wire
    }

    async fn log_in(&self) -> Wire {
        let mut wire = self.connect().await;
        assert!(wire.log_in("hungry").await.starts_with("+OK"));
        wire
    }
}

/// Somebody at a terminal; every wait is bounded.
struct Wire(BufReader<TcpStream>);

impl Wire {
    async fn hear(&mut self) -> String {
        let mut line = String::new();
        within(self.0.read_line(&mut line)).await.unwrap();
        line.strip_suffix("\r\n")
            .unwrap_or_else(|| panic!("the connection ended: {line:?}"))
            .to_owned()
    }

    async fn say(&mut self, line: &str) {
        self.0.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
    }

    async fn ask(&mut self, line: &str) -> String {
        self.say(line).await;
        self.hear().await
    }

    async fn log_in(&mut self, password: &str) -> String {
        assert_eq!(self.ask("user bob").await, "+OK");
        self.ask(&format!("pass {password}")).await
    }

    /// The lines of a multi-line response, `+OK` first and the dot not among them.
    async fn lines(&mut self, line: &str) -> Vec<String> {
        let mut lines = vec![self.ask(line).await];
        assert!(lines[0].starts_with("+OK"), "{lines:?}");
        loop {
            match self.hear().await {
                line if line == "." => return lines,
                line => lines.push(line),
            }
        }
    }

    /// What still comes until the server closes.
    async fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = within(self.0.read_to_end(&mut rest)).await;
        rest
    }
}

async fn within<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), wait)
        .await
        .expect("no answer within five seconds")
}

#[tokio::test]
async fn download_and_delete() {
    let node = Node::start(World::with(&[KETCHUP, PICKLES]));
    let mut wire = node.log_in().await;
    assert_eq!(wire.lines("list").await[1..], ["1 42", "2 41"]);
    assert_eq!(
        wire.lines("retr 1").await[1..],
        ["Subject: ketchup", "", "Do you like ketchup?"]
    );
    assert!(wire.ask("dele 1").await.starts_with("+OK"));
    assert_eq!(
        wire.lines("retr 2").await[1..],
        ["Subject: pickles", "", "..How about pickles?"]
    );
    assert!(wire.ask("dele 2").await.starts_with("+OK"));
    assert_eq!(node.world.expunges.lock().len(), 0, "only QUIT deletes");
    assert!(wire.ask("quit").await.starts_with("+OK"));
    assert_eq!(*node.world.expunges.lock(), [[10, 11]]);
    // The lock is free as soon as the client has heard +OK.
    let mut again = node.log_in().await;
    assert_eq!(again.ask("STAT").await, "+OK 0 0");
}

#[tokio::test]
async fn what_is_not_quit_is_not_deleted() {
    let node = Node::start(World::with(&[KETCHUP, PICKLES]));
    let mut wire = node.log_in().await;
    assert!(wire.ask("DELE 1").await.starts_with("+OK"));
    drop(wire);
    let mut wire = node.log_in_when_free().await;
    assert_eq!(wire.ask("STAT").await, "+OK 2 83");
    assert!(wire.ask("DELE 1").await.starts_with("+OK"));
    assert!(wire.ask("RSET").await.starts_with("+OK"));
    assert!(wire.ask("QUIT").await.starts_with("+OK"));
    assert_eq!(node.world.expunges.lock().len(), 0);
}

impl Node {
    /// Logs in once the lock of a lost session is given back.
    async fn log_in_when_free(&self) -> Wire {
        for _ in 0..100 {
            let mut wire = self.connect().await;
            if wire.log_in("hungry").await.starts_with("+OK") {
                return wire;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the maildrop stays locked");
    }
}

#[tokio::test]
async fn unique_ids_are_the_same_in_every_session() {
    let node = Node::start(World::with(&[KETCHUP, PICKLES]));
    let mut wire = node.log_in().await;
    let first = wire.lines("UIDL").await;
    assert_eq!(first[1], "1 0000000000000000000000000000000a.99.10");
    assert!(wire.ask("DELE 1").await.starts_with("+OK"));
    assert!(wire.ask("QUIT").await.starts_with("+OK"));
    let second = node.log_in().await.lines("UIDL").await;
    assert_eq!(second[1].strip_prefix("1 "), first[2].strip_prefix("2 "));
}

#[tokio::test]
async fn a_maildrop_is_open_once() {
    let node = Node::start(World::with(&[KETCHUP]));
    let mut first = node.log_in().await;
    let mut second = node.connect().await;
    assert!(second.log_in("hungry").await.starts_with("-ERR [IN-USE]"));
    assert!(first.ask("QUIT").await.starts_with("+OK"));
    assert!(second.log_in("hungry").await.starts_with("+OK"));
}

#[tokio::test]
async fn a_large_message_comes_in_pieces() {
    let mut text = b"Subject: large\r\n\r\n".to_vec();
    for number in 0..20_000 {
        text.extend_from_slice(
            format!("{}line {number}\r\n", if number % 3 == 0 { "." } else { "" }).as_bytes(),
        );
    }
    let world = World::with(&[&text]);
    world.most_at_once.store(7777, Ordering::Relaxed);
    let node = Node::start(world);
    let mut wire = node.log_in().await;
    let lines = wire.lines("RETR 1").await;
    assert_eq!(lines[0], format!("+OK {} octets", text.len()));
    let read = lines[1..]
        .iter()
        .map(|line| line.strip_prefix('.').unwrap_or(line).to_owned() + "\r\n");
    assert!(read.collect::<String>().into_bytes() == text);
    assert_eq!(
        wire.lines("TOP 1 2").await[1..],
        ["Subject: large", "", "..line 0", "line 1"]
    );
}

#[tokio::test]
async fn whoever_asks_for_one_after_the_other_is_read_ahead_for() {
    let texts: Vec<Vec<u8>> = [100, 200, 300, 70_000, 400, 500]
        .iter()
        .map(|length| [b"Subject: s\r\n\r\n".as_slice(), &vec![b'x'; *length], b"\r\n"].concat())
        .collect();
    let world = World::with(&texts.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let node = Node::start(world);
    let mut wire = node.log_in().await;
    for (place, text) in texts.iter().enumerate() {
        let lines = wire.lines(&format!("RETR {}", place + 1)).await;
        assert_eq!(lines[0], format!("+OK {} octets", text.len()));
        assert_eq!(lines[3].len(), text.len() - 16);
        assert!(wire.ask(&format!("DELE {}", place + 1)).await.starts_with("+OK"));
    }
    // The first was not expected, the large one is read alone, and then nothing was held.
    assert_eq!(*node.world.read_together.lock(), [2, 2]);
    assert!(wire.ask("QUIT").await.starts_with("+OK"));
}

#[tokio::test]
async fn a_message_that_breaks_off_ends_the_connection() {
    let world = World::with(&[&[b'x'; 5000]]);
    world.most_at_once.store(1000, Ordering::Relaxed);
    world.break_at.store(2000, Ordering::Relaxed);
    let node = Node::start(world);
    let mut wire = node.log_in().await;
    assert_eq!(wire.ask("RETR 1").await, "+OK 5000 octets");
    let rest = wire.rest().await;
    assert!(
        rest.len() <= 2000 && !rest.contains(&b'.'),
        "the half must not look whole"
    );
}

#[tokio::test]
async fn services_that_are_away_are_temporary_failures() {
    let node = Node::start(World::with(&[KETCHUP, PICKLES]));
    let mut wire = node.connect().await;
    node.world.directory_away.store(true, Ordering::Relaxed);
    assert!(wire.log_in("hungry").await.starts_with("-ERR [SYS/TEMP]"));
    assert!(
        wire.ask("AUTH SCRAM-SHA-256 biwsbj1ib2Iscj14eA==")
            .await
            .starts_with("-ERR [SYS/TEMP]")
    );
    node.world.directory_away.store(false, Ordering::Relaxed);
    node.world.store_away.store(true, Ordering::Relaxed);
    assert!(wire.log_in("hungry").await.starts_with("-ERR [SYS/TEMP]"));
    node.world.store_away.store(false, Ordering::Relaxed);
    assert!(
        wire.log_in("hungry").await.starts_with("+OK"),
        "the lock was given back"
    );

    node.world.store_away.store(true, Ordering::Relaxed);
    assert!(wire.ask("RETR 1").await.starts_with("-ERR [SYS/TEMP]"));
    assert!(wire.ask("DELE 1").await.starts_with("+OK"));
    assert!(wire.ask("QUIT").await.starts_with("-ERR [SYS/TEMP]"));
    node.world.store_away.store(false, Ordering::Relaxed);
    assert_eq!(
        node.log_in().await.ask("STAT").await,
        "+OK 2 83",
        "nothing was deleted"
    );
}

#[tokio::test]
async fn a_message_deleted_elsewhere_is_gone() {
    let node = Node::start(World::with(&[KETCHUP, PICKLES]));
    let mut wire = node.log_in().await;
    node.world.messages.lock().remove(0);
    assert!(wire.ask("RETR 1").await.starts_with("-ERR [SYS/PERM]"));
    assert_eq!(wire.lines("RETR 2").await.len(), 4);
}

#[tokio::test]
async fn failed_logins_are_counted_by_address_until_nobody_listens() {
    let memory = Arc::new(Memory::new());
    let node = Node::start_with(World::with(&[]), memory.clone(), memory, |config| {
        config.logins.per_address = 4;
        config.auth_failures = 3;
    });
    let mut wire = node.connect().await;
    for _ in 0..3 {
        assert!(wire.log_in("angry").await.starts_with("-ERR [AUTH]"));
    }
    assert!(wire.rest().await.is_empty(), "the third failure ends the session");
    let mut wire = node.connect().await;
    assert!(wire.log_in("angry").await.starts_with("-ERR [AUTH]"));
    let asked = node.world.authentications.load(Ordering::Relaxed);
    assert!(
        wire.log_in("hungry")
            .await
            .starts_with("-ERR [SYS/TEMP] too many failed logins")
    );
    assert_eq!(
        node.world.authentications.load(Ordering::Relaxed),
        asked,
        "nobody listened"
    );
}

#[tokio::test]
async fn a_failed_login_waits() {
    let memory = Arc::new(Memory::new());
    let node = Node::start_with(World::with(&[]), memory.clone(), memory, |config| {
        config.logins.delay = Duration::from_millis(100);
    });
    let mut wire = node.connect().await;
    let began = std::time::Instant::now();
    assert!(wire.log_in("angry").await.starts_with("-ERR [AUTH]"));
    assert!(wire.log_in("angry").await.starts_with("-ERR [AUTH]"));
    assert!(
        began.elapsed() >= Duration::from_millis(300),
        "100 ms, then 200 ms"
    );
}

#[tokio::test]
async fn pop3_works_without_coordination() {
    let node = Node::start_with(World::with(&[KETCHUP]), Arc::new(Away), Arc::new(Away), |_| ());
    let mut wire = node.connect().await;
    assert!(wire.log_in("angry").await.starts_with("-ERR [AUTH]"));
    assert!(wire.log_in("hungry").await.starts_with("+OK"));
    assert_eq!(wire.lines("RETR 1").await.len(), 4);
    assert!(wire.ask("DELE 1").await.starts_with("+OK"));
    assert!(wire.ask("QUIT").await.starts_with("+OK"));
    assert_eq!(*node.world.expunges.lock(), [[10]]);
}

#[tokio::test]
async fn a_large_maildrop_shows_its_oldest_messages() {
    let memory = Arc::new(Memory::new());
    let world = World::with(&[KETCHUP; 9]);
    let node = Node::start_with(world, memory.clone(), memory, |config| config.messages = 5);
    let lines = node.log_in().await.lines("UIDL").await;
    assert_eq!(lines.len(), 6);
    assert!(lines[5].ends_with(".14"));
}

#[tokio::test]
async fn scram_opens_the_maildrop_and_a_wrong_proof_does_not() {
    let node = Node::start(World::with(&[KETCHUP]));
    assert_eq!(scram(&node, "bob", "hungry").await, Ok(()));
    for (user, password) in [("bob", "angry"), ("carol", "hungry"), ("carol", "nobody")] {
        assert_eq!(
            scram(&node, user, password).await,
            Err(Some("AUTH".into())),
            "{user} {password}"
        );
    }
}

/// Logs in with the client half and QUITs; the response code when that fails.
async fn scram(node: &Node, user: &str, password: &str) -> Result<(), Option<String>> {
    let mut client = Client::new();
    client.authenticate(
        postrider_sasl::Client::new(Mechanism::ScramSha256, user, Secret::new(password)).unwrap(),
    );
    client.send(postrider_pop3::Command::Quit);
    let mut responses = Vec::new();
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let (mut input, mut output) = (bytes::BytesMut::new(), bytes::BytesMut::new());
    loop {
        match client.step(std::time::Instant::now(), &mut input, &mut output) {
            Step::Event(Event::Response(response)) => responses.push(response),
            Step::Event(other) => panic!("{other:?}"),
            Step::Close => break,
            _ => {
                stream.write_all_buf(&mut output).await.unwrap();
                within(stream.read_buf(&mut input)).await.unwrap();
            }
        }
    }
    assert_eq!(responses.len(), 3, "{responses:?}");
    if responses[1].ok {
        Ok(())
    } else {
        Err(responses[1].code())
    }
}

#[tokio::test]
async fn shutting_down_ends_sessions_before_login_and_lets_others_finish() {
    let node = Node::start(World::with(&[KETCHUP]));
    let mut busy = node.log_in().await;
    let idle = node.connect().await;
    node.drain.cancel();
    assert!(idle.rest().await.is_empty());
    assert!(busy.ask("DELE 1").await.starts_with("+OK"));
    assert!(busy.ask("QUIT").await.starts_with("+OK"));
    assert_eq!(*node.world.expunges.lock(), [[10]]);
}

/// Coordination that is away.
struct Away;

#[async_trait]
impl Counters for Away {
    async fn add(&self, _: &str, _: u64, _: Duration) -> Result<u64, Unavailable> {
        Err(Unavailable("switched off".into()))
    }
    async fn get(&self, _: &str) -> Result<u64, Unavailable> {
        Err(Unavailable("switched off".into()))
    }
}

#[async_trait]
impl Leases for Away {
    async fn take(&self, _: &str, _: Duration) -> Result<Option<LeaseToken>, Unavailable> {
        Err(Unavailable("switched off".into()))
    }
    async fn renew(&self, _: &str, _: LeaseToken, _: Duration) -> Result<bool, Unavailable> {
        Err(Unavailable("switched off".into()))
    }
    async fn release(&self, _: &str, _: LeaseToken) {}
}
