//! The role with everything around it in memory, and a client that speaks line by line.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod directory;
pub mod store;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use parking_lot::Mutex;
use postrider_coordination::{Counters, Memory, Unavailable};
use postrider_proto::Link;
use postrider_proto::directory::directory_server::DirectoryServer;
use postrider_proto::mailstore::mail_store_server::MailStoreServer;
use postrider_proto::submission::submission_server::SubmissionServer;
use postrider_queue::{Error, NewUnit};
use postrider_runtime::journal::MemoryJournal;
use postrider_runtime::{Budget, Server, Settings};
use postrider_smtp_ingress::{
    Config, Ingress, Kind, Listener, Neighbours, Outbound, Services, SubmissionService,
};
use postrider_types::{ContentId, DeliveryId, UnitId};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tonic::{Response, Status};

use directory::FakeDirectory;
use store::FakeStore;

pub type Answer<T> = Result<Response<T>, Status>;
pub type Rows<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

pub fn not_here() -> Status {
    Status::unimplemented("not in this fake")
}

/// What happened, in order.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    pub fn add(&self, what: &'static str) {
        self.0.lock().push(what);
    }

    pub fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock())
    }
}

/// A unit, and who was taken out of it.
pub type Settled = (UnitId, Vec<DeliveryId>);

/// A queue in memory.
#[derive(Clone, Default)]
pub struct FakeQueue {
    pub units: Arc<Mutex<Vec<NewUnit>>>,
    /// Contents that came with units.
    pub bodies: Arc<Mutex<HashMap<ContentId, Bytes>>>,
    pub settled: Arc<Mutex<Vec<Settled>>>,
    pub away: Arc<AtomicBool>,
    /// The next so many calls happen and are not heard of.
    pub unheard: Arc<Mutex<usize>>,
    pub log: Log,
}

#[async_trait]
impl Outbound for FakeQueue {
    async fn enqueue(&self, units: Vec<NewUnit>, body: Option<Bytes>) -> Result<(), Error> {
        if self.away.load(Ordering::Relaxed) {
            return Err(Error::Unavailable("away".into()));
        }
        self.log.add("enqueue");
        if let (Some(body), Some(first)) = (body, units.first()) {
            assert!(units.iter().all(|unit| unit.content == first.content));
            self.bodies.lock().insert(first.content, body);
        }
        let mut there = self.units.lock();
        for unit in units {
            if there.iter().all(|known| known.id != unit.id) {
                there.push(unit);
            }
        }
        let mut unheard = self.unheard.lock();
        if *unheard > 0 {
            *unheard -= 1;
            return Err(Error::Unknown("unheard".into()));
        }
        Ok(())
    }

    async fn settle_local(&self, unit: UnitId, delivered: &[DeliveryId]) -> Result<(), Error> {
        self.log.add("settle");
        self.settled.lock().push((unit, delivered.to_vec()));
        Ok(())
    }
}

/// Counters that can be away.
pub struct FakeCounters {
    memory: Memory,
    pub away: AtomicBool,
}

#[async_trait]
impl Counters for FakeCounters {
    async fn add(&self, key: &str, amount: u64, window: Duration) -> Result<u64, Unavailable> {
        if self.away.load(Ordering::Relaxed) {
            return Err(Unavailable("away".into()));
        }
        self.memory.add(key, amount, window).await
    }

    async fn get(&self, key: &str) -> Result<u64, Unavailable> {
        if self.away.load(Ordering::Relaxed) {
            return Err(Unavailable("away".into()));
        }
        self.memory.get(key).await
    }
}

/// The role and its surroundings.
pub struct World {
    pub ingress: Arc<Ingress>,
    pub directory: FakeDirectory,
    pub store: FakeStore,
    pub queue: FakeQueue,
    pub counters: Arc<FakeCounters>,
    pub journal: Arc<MemoryJournal>,
    pub budget: Budget,
    pub log: Log,
}

impl World {
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let log = Log::default();
        let store = FakeStore {
            log: log.clone(),
            ..FakeStore::default()
        };
        Self::over(store, log, None, change)
    }

    /// Two instances of the role over one mail store, which know each other.
    pub fn two() -> (Self, Self) {
        let links = Arc::new(OnceLock::<Vec<Link>>::new());
        let known = links.clone();
        let neighbours: Neighbours = Arc::new(move || {
            let links = known.get().cloned().unwrap_or_default();
            Box::pin(async move { links })
        });
        let one = Self::with(|_| ());
        let world = || {
            let (store, log) = (one.store.clone(), one.log.clone());
            Self::over(store, log, Some(neighbours.clone()), |config| {
                config.fingerprint_secret = 7;
            })
        };
        let (here, there) = (world(), world());
        let link = |world: &Self| {
            let service = SubmissionService::new(world.ingress.clone());
            Link::local(SubmissionServer::new(service))
        };
        let _ = links.set(vec![link(&here), link(&there)]);
        (here, there)
    }

    fn over(
        store: FakeStore,
        log: Log,
        neighbours: Option<Neighbours>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut config = Config {
            hostname: "hamburger.edu".into(),
            starttls: false,
            ..Config::default()
        };
        config.timeouts.delivery = Duration::from_millis(200);
        config.timeouts.storage = Duration::from_secs(2);
        config.timeouts.settling = Duration::ZERO;
        change(&mut config);
        let directory = FakeDirectory::default();
        let queue = FakeQueue {
            log: log.clone(),
            ..FakeQueue::default()
        };
        let counters = Arc::new(FakeCounters {
            memory: Memory::new(),
            away: AtomicBool::new(false),
        });
        let journal = Arc::new(MemoryJournal::default());
        let budget = Budget::new(1 << 20);
        let services = Services {
            directory: Link::local(DirectoryServer::new(directory.clone())),
            mail_store: Link::local(MailStoreServer::new(store.clone())),
            outbound: Arc::new(queue.clone()),
            counters: counters.clone(),
            journal: journal.clone(),
            budget: budget.clone(),
            neighbours,
        };
        let ingress = Ingress::new(config, services);
        Self {
            ingress,
            directory,
            store,
            queue,
            counters,
            journal,
            budget,
            log,
        }
    }

    /// A client of a listener of this kind.
    pub async fn connect(&self, kind: Kind) -> Client {
        let listener = Arc::new(Listener::new(self.ingress.clone(), kind));
        let server = Server::bind(Settings::default()).expect("a free port");
        let address = server.addresses()[0];
        tokio::spawn(server.serve(listener, Default::default()));
        let stream = BufReader::new(TcpStream::connect(address).await.expect("a connection"));
        let mut client = Client { stream };
        client.expect("220 ").await;
        client
    }

    /// A client of port 25 that has said HELO.
    pub async fn mx(&self) -> Client {
        let mut client = self.connect(Kind::Mx).await;
        client.say("HELO crepes.fr", "250 ").await;
        client
    }

    /// A client of port 587 that has authenticated as Alice.
    pub async fn alice(&self) -> Client {
        let mut client = self.connect(Kind::Submission).await;
        client.say("EHLO laptop", "250-").await;
        let token = postrider_sasl::encode(b"\0alice@hamburger.edu\0hungry");
        client.say(&format!("AUTH PLAIN {token}"), "235 ").await;
        client
    }

    pub fn steps(&self, step: &str) -> usize {
        self.journal.steps().iter().filter(|it| it.step == step).count()
    }
}

/// Somebody at a terminal.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Reads one reply; it begins with `prefix`. The last line.
    pub async fn expect(&mut self, prefix: &str) -> String {
        let mut first = String::new();
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(Duration::from_secs(5), self.stream.read_line(&mut line)).await;
            assert!(
                read.expect("an answer in time").expect("an answer") > 0,
                "closed; wanted {prefix}"
            );
            if first.is_empty() {
                first = line.clone();
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                assert!(first.starts_with(prefix), "wanted {prefix:?}, got {first:?}");
                return line;
            }
        }
    }

    pub async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.expect("written");
    }

    /// Says a line and reads the reply.
    pub async fn say(&mut self, line: &str, prefix: &str) -> String {
        self.write(&format!("{line}\r\n")).await;
        self.expect(prefix).await
    }

    /// Begins a transaction with recipients that are taken.
    pub async fn envelope(&mut self, sender: &str, recipients: &[&str]) {
        self.say(&format!("MAIL FROM:<{sender}>"), "250 ").await;
        for recipient in recipients {
            self.say(&format!("RCPT TO:<{recipient}>"), "250 ").await;
        }
    }

    /// Sends a message and reads the reply to it.
    pub async fn message(&mut self, text: &str, prefix: &str) -> String {
        self.say("DATA", "354 ").await;
        self.write(text).await;
        self.say(".", prefix).await
    }
}
