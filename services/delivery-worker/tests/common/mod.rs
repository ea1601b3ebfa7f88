//! A worker among scripted peers, a DNS server, and a mail-store and directory of tables.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    dead_code,
    missing_docs
)]

pub mod peer;
pub mod services;

use std::sync::Arc;
use std::time::Duration;

use postrider_delivery_worker::settings::{Network, Reuse};
use postrider_delivery_worker::{Operator, Parts, Routes, Settings, Worker};
use postrider_proto::Link;
use postrider_proto::directory::directory_server::DirectoryServer;
use postrider_proto::mailstore::mail_store_server::MailStoreServer;
use postrider_queue::engine::Holds;
use postrider_queue::memory::Faults;
use postrider_queue::{
    Destination, Memory, NewUnit, Notify, Priority, Queue, Recipient, RecipientState, RetryPolicy,
    system_clock,
};
use postrider_runtime::journal::{MemoryJournal, Step};
use postrider_smtp::client::Timeouts;
use postrider_testkit::dns::Dns;
use postrider_types::{Address, ContentId, Domain, ReversePath, UnitId};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::services::{Addresses, Store};

pub const LETTER: &str = "From: alice@crepes.fr\r\nTo: bob@hamburger.edu\r\nSubject: ketchup\r\n\r\n\
    Do you like ketchup?\r\n.How about pickles?\r\n";

struct NoHolds;

#[async_trait::async_trait]
impl Holds for NoHolds {
    async fn put(&self, _: ContentId, _: bytes::Bytes) -> postrider_queue::Result<()> {
        Ok(())
    }
    async fn hold(&self, _: ContentId, _: UnitId) -> postrider_queue::Result<()> {
        Ok(())
    }
    async fn release(&self, _: ContentId, _: UnitId) -> postrider_queue::Result<()> {
        Ok(())
    }
}

pub struct Node {
    pub queue: Queue,
    pub store: Store,
    pub journal: Arc<MemoryJournal>,
    pub dns: Dns,
    drain: CancellationToken,
    task: JoinHandle<()>,
}

/// Retries within milliseconds.
pub fn quick() -> RetryPolicy {
    RetryPolicy {
        first: Duration::from_millis(150),
        max: Duration::from_millis(300),
        jitter: 0.1,
        give_up: Duration::from_secs(3600),
        warn_after: Duration::from_secs(3600),
    }
}

pub async fn start(retry: RetryPolicy, change: impl FnOnce(&mut Settings)) -> Node {
    start_on(Memory::new(Arc::new(NoHolds), system_clock()), retry, change).await
}

/// With a queue whose calls fail as `faults` says.
pub async fn start_failing(faults: Faults, change: impl FnOnce(&mut Settings)) -> Node {
    let engine = Memory::new(Arc::new(NoHolds), system_clock()).with_faults(faults);
    start_on(engine, quick(), change).await
}

async fn start_on(engine: Memory, retry: RetryPolicy, change: impl FnOnce(&mut Settings)) -> Node {
    let dns = Dns::start().await;
    let engine = Arc::new(engine);
    let settings = postrider_queue::Settings {
        retry,
        ..Default::default()
    };
    let queue = Queue::new(engine.clone(), engine, settings, system_clock());
    let (store, journal) = (Store::default(), Arc::new(MemoryJournal::default()));
    let mut settings = Settings::for_host(Domain::new("mx.crepes.fr").unwrap());
    let half = Duration::from_millis(500);
    settings.network = Network {
        resolver: postrider_runtime::config::Resolver::Servers(vec![dns.address()]),
        connect: half,
        timeouts: Timeouts {
            greeting: half,
            command: half,
            data: half,
            end: half,
            quit: half,
        },
        ..Network::default()
    };
    settings.reuse = Reuse {
        idle: half,
        ..Reuse::default()
    };
    settings.drain = Duration::from_secs(3);
    change(&mut settings);
    let parts = Parts {
        queue: queue.clone(),
        store: Link::local(MailStoreServer::new(store.clone())),
        directory: Link::local(DirectoryServer::new(Addresses)),
        journal: journal.clone(),
        budget: None,
    };
    let worker = Worker::new(parts, settings).unwrap();
    let drain = CancellationToken::new();
    let task = tokio::spawn(worker.run(drain.clone()));
    Node {
        queue,
        store,
        journal,
        dns,
        drain,
        task,
    }
}

pub fn route(settings: &mut Settings, domain: &str, to: std::net::SocketAddr) {
    routes(settings, &[(domain, to)]);
}

pub fn routes(settings: &mut Settings, table: &[(&str, std::net::SocketAddr)]) {
    let table = table
        .iter()
        .map(|(domain, to)| ((*domain).to_owned(), to.to_string()))
        .collect();
    settings.routes = Routes::parse(&table).unwrap();
}

impl Node {
    pub fn letter(&self, to: &[&str]) -> NewUnit {
        self.message(LETTER, to)
    }

    pub fn message(&self, text: &str, to: &[&str]) -> NewUnit {
        let recipient = |to: &&str| Recipient {
            address: Address::new(to).unwrap(),
            original: String::new(),
            notify: Notify::default(),
            state: RecipientState::Pending,
            last_reply: String::new(),
            local: None,
        };
        let front = "Return-Path: <alice@crepes.fr>\r\n";
        NewUnit {
            id: UnitId::generate(),
            content: self.store.put(&format!("{front}{text}")),
            skip: front.len() as u64,
            size: (front.len() + text.len()) as u64,
            sender: ReversePath(Some(Address::new("alice@crepes.fr").unwrap())),
            destination: Destination::Remote(Address::new(to[0]).unwrap().domain().clone()),
            recipients: to.iter().map(recipient).collect(),
            priority: Priority::Normal,
            eight_bit: !text.is_ascii(),
            utf8: false,
            envelope_id: String::new(),
            return_full: false,
            submitter: None,
            trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00".into(),
            message_id: "1@crepes.fr".into(),
            not_before: 0,
        }
    }

    pub async fn send(&self, unit: NewUnit) -> UnitId {
        let id = unit.id;
        self.queue.enqueue(vec![unit]).await.unwrap();
        id
    }

    pub fn operator(&self) -> Operator {
        Operator::new(self.queue.clone(), self.journal.clone())
    }

    pub fn steps(&self, step: &str) -> Vec<Step> {
        self.journal
            .steps()
            .into_iter()
            .filter(|seen| seen.step == step)
            .collect()
    }

    pub async fn wait_for_step(&self, step: &str, count: usize) -> Vec<Step> {
        let what = format!("{count} times `{step}` in the journal");
        let found = tokio::time::timeout(Duration::from_secs(20), async {
            loop {
                let steps = self.steps(step);
                if steps.len() >= count {
                    return steps;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        match found.await {
            Ok(steps) => steps,
            Err(_) => panic!("{what}; there are {:#?}", self.journal.steps()),
        }
    }

    /// Waits until nothing is left.
    pub async fn wait_until_empty(&self) {
        let begun = std::time::Instant::now();
        loop {
            let counts = self.queue.statistics().await.unwrap();
            if counts.queued + counts.sending + counts.held == 0 {
                return;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{counts:?} {:#?}",
                self.journal.steps()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn stop(self) -> Queue {
        self.drain.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.task)
            .await
            .expect("it drains in time")
            .unwrap();
        self.queue
    }
}

pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "waited for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
