//! The engine of a cluster: rows in ScyllaDB or Cassandra, wake-ups in Kafka.
//!
//! The rows are the truth and are written first. Kafka carries wake-ups only: who loses all of its data delays mail by some minutes, until
//! the reconciler has found the units (`due`).
//!
//! * `units`: units as rows, claims as leases in them. `rows`: statements. `due`: where the reconciler looks.
//! * `topics`: which topics there are. `record`: a wake-up in one. `producer`: saying wake-ups.
//! * `flight` and `consumer`: what a worker reads, what waits, what is committed.
//! * `control`: the word that suspensions, which are rows, have changed; and whether the brokers are well.
//!
//! A message that is delivered at its first attempt costs three conditional writes (inserted, claimed, removed), two small plain writes (its note)
//! and one record of Kafka; a retry after half an hour costs two conditional writes and five records.
//!
//! # Failures
//! * Without the database nothing can be put in, and nothing is sent: `Unavailable` or `Unknown`.
//! * Without Kafka units are put in as ever, after [`KafkaConfig::patience`] at most; nothing is sent before the brokers answer again.
//! * A worker that dies: its partitions go to others after [`KafkaConfig::session_timeout`], what it was sending when the lease is over and
//!   the reconciler comes by.
//!
//! # Limits
//! A worker holds at most 50,000 records, about 10 MB. All wake-ups of a destination are in one partition, hence in one worker.

mod config;
mod consumer;
mod control;
mod due;
mod flight;
mod metrics;
mod producer;
mod record;
mod rows;
mod topics;
mod units;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use postrider_cql::Session;
use postrider_types::{Domain, UnitId};

pub use self::config::{KafkaConfig, KafkaTls, Scram};
use self::consumer::Consumer;
use self::control::Control;
use self::metrics::Metrics;
pub use self::metrics::Statistics;
use self::producer::Producer;
use self::topics::Topic;
#[cfg(test)]
pub(crate) use self::topics::topic_names;
pub use self::topics::{TopicState, look, prepare};
use self::units::Table;
use crate::engine::{Change, Counts, Cursor, Holds, Page, Suspension, Units, WakeUp, WakeUps, Written};
use crate::queue::Clock;
use crate::{Error, Result, Unit};

/// How long to wait for the brokers' word about a suspension.
const SUSPENDING: Duration = Duration::from_secs(5);
/// How long leaving may take.
const LEAVING: Duration = Duration::from_secs(10);

/// The engine. Cheap to clone; both traits are on it.
///
/// A process that never calls [`WakeUps::take`] joins no group: it only puts units in.
#[derive(Clone)]
pub struct Kafka {
    inner: Arc<Inner>,
}

struct Inner {
    table: Arc<Table>,
    config: KafkaConfig,
    clock: Clock,
    producer: Arc<Producer>,
    control: Control,
    metrics: Arc<Metrics>,
    /// Moves when the brokers may have lost everything.
    era: Arc<AtomicU64>,
    consumer: Mutex<Option<Arc<Consumer>>>,
    begun: Instant,
}

impl Kafka {
    /// Begins to connect and returns at once. An error means that the settings cannot work. Must be called within a tokio runtime.
    pub fn open(config: &KafkaConfig, session: Session, holds: Arc<dyn Holds>, clock: Clock) -> Result<Self> {
        config.validate()?;
        let metrics = Arc::new(Metrics::default());
        let producer = Arc::new(Producer::open(config, metrics.clone())?);
        let era = Arc::new(AtomicU64::new(0));
        let anew = {
            let (producer, era) = (producer.clone(), era.clone());
            move || {
                producer.renew();
                era.fetch_add(1, Ordering::AcqRel);
            }
        };
        let inner = Inner {
            table: Arc::new(Table::new(session, holds, clock.clone(), config)),
            config: config.clone(),
            clock,
            producer,
            control: Control::open(config, anew)?,
            era,
            metrics,
            consumer: Mutex::default(),
            begun: Instant::now(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Whether rows and topics are there; the error says what is wrong.
    pub async fn ready(&self) -> Result<()> {
        self.inner.table.session.ready().await?;
        self.wakes()
    }

    /// Whether the brokers answer and have the topics, as of the last look; the error says what is wrong.
    pub fn wakes(&self) -> Result<()> {
        match self.inner.control.trouble() {
            Some(trouble) => Err(Error::Unavailable(format!("kafka: {trouble}"))),
            None => Ok(()),
        }
    }

    /// Takes no more wake-ups: what is read and not done goes to other workers, at once. Ten seconds at most. For a worker that ends;
    /// [`WakeUps::take`] waits for ever afterwards.
    pub async fn leave(&self) {
        let consumer = self.inner.consumer.lock().clone();
        if let Some(consumer) = consumer {
            consumer.leave(LEAVING).await;
        }
        let producer = self.inner.producer.clone();
        let _ = tokio::task::spawn_blocking(move || producer.flush(Duration::from_secs(2))).await;
    }

    /// What it did so far.
    pub fn statistics(&self) -> Statistics {
        self.inner.metrics.statistics()
    }

    /// Joins the group, if that was not begun yet.
    fn consumer(&self) -> Result<Arc<Consumer>> {
        let inner = &self.inner;
        let mut consumer = inner.consumer.lock();
        if let Some(consumer) = consumer.as_ref() {
            return Ok(consumer.clone());
        }
        let started = Consumer::start(
            &inner.config,
            inner.producer.clone(),
            inner.metrics.clone(),
            inner.clock.clone(),
            inner.era.clone(),
        )?;
        Ok(consumer.insert(Arc::new(started)).clone())
    }

    /// Partitions of the topic by which shards are shared among workers.
    fn partitions(&self) -> Vec<i32> {
        let consumer = self.inner.consumer.lock();
        let flight = consumer.as_ref().map(|consumer| consumer.shared.flight.lock());
        flight.map_or_else(Vec::new, |flight| {
            flight.of_topic(Topic::Ready(crate::engine::Lane::Later))
        })
    }

    /// Waits until partitions of each kind are ours.
    #[cfg(test)]
    pub(crate) async fn joined(&self) -> Result<()> {
        let consumer = self.consumer()?;
        let one_of_each = || {
            let flight = consumer.shared.flight.lock();
            let mut ready = crate::engine::Lane::ALL.map(Topic::Ready).into_iter();
            let has = |topic| !flight.of_topic(topic).is_empty();
            ready.all(has) && (0..topics::DELAYS.len()).any(|at| has(Topic::Delay(at)))
        };
        while !one_of_each() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Does something that must not stop in the middle, even if the caller goes away.
    async fn whole<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let done = tokio::spawn(work).await;
        done.map_err(|error| Error::Unknown(format!("the change was cut off: {error}")))?
    }
}

#[async_trait]
impl Units for Kafka {
    async fn insert(&self, units: Vec<Unit>, body: Option<Bytes>) -> Result<()> {
        let table = self.inner.table.clone();
        self.whole(async move {
            if let (Some(body), Some(first)) = (body, units.first()) {
                table.put(first.new.content, body).await?;
            }
            table.insert(&units).await
        })
        .await
    }

    async fn get(&self, id: UnitId) -> Result<Option<Unit>> {
        self.inner.table.unit(id, rows::GET).await
    }

    async fn get_all(&self, ids: Vec<UnitId>) -> Result<Vec<Unit>> {
        self.inner.table.get_all(ids).await
    }

    async fn claim(&self, id: UnitId, generation: u64, now: u64, lease: u64) -> Result<Option<Unit>> {
        self.inner.table.claim(id, generation, now, lease).await
    }

    async fn renew(&self, id: UnitId, generation: u64, lease: u64) -> Result<Written> {
        self.inner.table.renew(id, generation, lease).await
    }

    async fn unclaim(&self, id: UnitId, generation: u64, due: u64) -> Result<Option<u64>> {
        self.inner.table.unclaim(id, generation, due).await
    }

    async fn apply(&self, change: Change) -> Result<Written> {
        let table = self.inner.table.clone();
        self.whole(async move { table.apply(&change).await }).await
    }

    fn applies_atomically(&self) -> bool {
        false
    }

    async fn page(&self, after: Option<Cursor>, limit: usize) -> Result<Page<Unit>> {
        self.inner.table.page(after, limit.max(1)).await
    }

    async fn overdue(&self, before: u64, after: Option<Cursor>, limit: usize) -> Result<Page<WakeUp>> {
        self.inner.table.overdue(before, after, limit.max(1)).await
    }

    /// Shards are shared out like partitions, so that each worker looks after a part.
    async fn forgotten(&self, before: u64, after: Option<Cursor>, limit: usize) -> Result<Page<WakeUp>> {
        let ours = self.partitions();
        let number = u64::from(self.inner.config.partitions);
        let is_ours = move |shard: u8| {
            let partition = i32::try_from(u64::from(shard) % number).unwrap_or(0);
            ours.contains(&partition)
        };
        let page = self
            .inner
            .table
            .forgotten(before, after, limit.max(1), is_ours)
            .await?;
        if !page.items.is_empty() {
            tracing::info!(units = page.items.len(), "units whose wake-up was lost are woken");
            self.inner.metrics.found(page.items.len() as u64);
        }
        Ok(page)
    }

    async fn counts(&self) -> Result<Counts> {
        self.inner.table.counts().await
    }

    async fn suspend(&self, domain: Domain, suspension: Option<Suspension>) -> Result<()> {
        self.inner.table.suspend(&domain, suspension).await?;
        if let Err(error) = self.inner.producer.control(domain.as_str(), SUSPENDING).await {
            tracing::warn!(%domain, %error, "workers were not told of a suspension; they read it within a minute");
        }
        Ok(())
    }

    async fn suspensions(&self) -> Result<Vec<(Domain, Suspension)>> {
        self.inner.table.suspensions().await
    }

    fn suspensions_version(&self) -> u64 {
        // Also once a minute, for what was told to nobody.
        let minutes = self.inner.begun.elapsed().as_secs() / 60;
        self.inner.control.heard().wrapping_add(minutes)
    }
}

#[async_trait]
impl WakeUps for Kafka {
    async fn schedule(&self, wake_ups: Vec<WakeUp>) -> Result<()> {
        self.inner.producer.say(&wake_ups, (self.inner.clock)()).await
    }

    async fn take(&self, limit: usize) -> Result<Vec<WakeUp>> {
        let consumer = self.consumer()?;
        Ok(consumer.take(limit).await)
    }

    async fn done(&self, wake_up: WakeUp) {
        if let Some(consumer) = self.inner.consumer.lock().as_ref() {
            consumer.shared.flight.lock().finish(wake_up.token);
        }
    }
}
