//! The engine of a cluster passes the suite on real brokers and a real database, and does what only it promises.
//!
//! Each test has topics, a group and a keyspace of its own.
#![allow(clippy::unwrap_used, clippy::panic)]

mod cases;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_cql::testing::Fresh;
use postrider_types::{ContentId, UnitId};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

use crate::engine::Holds;
use crate::suite::{Fixture, TestClock};
use crate::{Error, Kafka, KafkaConfig, Queue, Result, Settings, kafka};

const BROKER: &str = "127.0.0.1:19092";

/// Contents and who holds them.
#[derive(Default)]
struct Contents {
    stored: parking_lot::Mutex<HashSet<ContentId>>,
    holders: parking_lot::Mutex<HashSet<(ContentId, UnitId)>>,
}

impl Contents {
    fn put(&self) -> ContentId {
        let content = ContentId::generate();
        self.stored.lock().insert(content);
        content
    }

    fn holders(&self, content: ContentId) -> usize {
        let holders = self.holders.lock();
        holders.iter().filter(|(held, _)| *held == content).count()
    }
}

#[async_trait]
impl Holds for Contents {
    async fn put(&self, content: ContentId, _: Bytes) -> Result<()> {
        self.stored.lock().insert(content);
        Ok(())
    }

    async fn hold(&self, content: ContentId, unit: UnitId) -> Result<()> {
        if !self.stored.lock().contains(&content) {
            return Err(Error::Invalid(format!("no content {content}")));
        }
        self.holders.lock().insert((content, unit));
        Ok(())
    }

    async fn release(&self, content: ContentId, unit: UnitId) -> Result<()> {
        self.holders.lock().remove(&(content, unit));
        Ok(())
    }
}

/// Topics and a keyspace of its own.
struct World {
    config: KafkaConfig,
    fresh: Fresh,
    contents: Arc<Contents>,
    clock: TestClock,
}

impl World {
    async fn open() -> Self {
        broker_answers().await;
        let fresh = Fresh::open().await.unwrap();
        let name = format!("test-{}", UnitId::generate());
        let config = KafkaConfig {
            brokers: vec![BROKER.into()],
            topic_prefix: name.clone(),
            group: name,
            partitions: 2,
            replication_factor: 1,
            session_timeout: Duration::from_secs(6),
            // Other work may slow the brokers down.
            patience: Duration::from_secs(20),
            count_every: Duration::ZERO,
            ..KafkaConfig::default()
        };
        kafka::prepare(&config).await.unwrap();
        Self {
            config,
            fresh,
            contents: Arc::default(),
            clock: TestClock::default(),
        }
    }

    /// An engine of its own process, so to speak.
    fn engine(&self) -> Kafka {
        self.engine_with(&self.config)
    }

    fn engine_with(&self, config: &KafkaConfig) -> Kafka {
        let session = self.fresh.session.clone();
        Kafka::open(config, session, self.contents.clone(), self.clock.clock()).unwrap()
    }

    async fn worker(&self) -> (Kafka, Queue) {
        let engine = self.engine();
        let joined = tokio::time::timeout(Duration::from_secs(60), engine.joined()).await;
        joined.expect("the group is joined").unwrap();
        let queue = self.queue(&engine);
        queue.refresh().await.unwrap();
        (engine, queue)
    }

    fn queue(&self, engine: &Kafka) -> Queue {
        let engine = Arc::new(engine.clone());
        Queue::new(engine.clone(), engine, Settings::default(), self.clock.clock())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The test's runtime may be ending.
        let (brokers, prefix) = (self.config.brokers.join(","), self.config.topic_prefix.clone());
        let thread = std::thread::spawn(move || remove_topics(&brokers, &prefix));
        let _ = thread.join();
    }
}

fn remove_topics(brokers: &str, prefix: &str) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .unwrap();
    let names = kafka::topic_names(prefix);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _ = runtime.block_on(admin.delete_topics(&names, &options));
}

async fn broker_answers() {
    let connect = tokio::net::TcpStream::connect(BROKER);
    let answer = tokio::time::timeout(Duration::from_secs(5), connect).await;
    assert!(
        matches!(answer, Ok(Ok(_))),
        "no kafka broker answers at {BROKER}: start the test engines with `cargo xtask engines up`"
    );
}

async fn make() -> Fixture {
    let world = World::open().await;
    let (engine, _) = world.worker().await;
    let engine = Arc::new(engine);
    let (putting, counting) = (world.contents.clone(), world.contents.clone());
    Fixture {
        units: engine.clone(),
        wake_ups: engine,
        clock: world.clock.clone(),
        put_content: Box::new(move || {
            let content = putting.put();
            Box::pin(async move { content })
        }),
        holders: Box::new(move |content| {
            let count = counting.holders(content);
            Box::pin(async move { count })
        }),
        settle: Duration::from_secs(1),
        keep: Box::new(world),
    }
}

crate::queue_suite!(make);
