//! The worker's consumers: threads that join a group each, read, move, pause and commit.
//!
//! There is one for each ready topic and one for all delays: partitions are shared out evenly over a group, whatever topic they are of, and
//! first attempts have to be spread evenly over workers. Everything about a partition happens on its thread, rebalances included, so that
//! what a worker has in flight and what the brokers think it has change together. The others only touch [`Flight`] under its lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::{Notify, mpsc, watch};

use super::config::KafkaConfig;
use super::flight::{Flight, Move, Place};
use super::metrics::Metrics;
use super::producer::{Moved, Producer};
use super::record::Record;
use super::topics::{self, Topic};
use crate::engine::{Lane, WakeUp};
use crate::queue::Clock;
use crate::{Error, Result};

/// How long one poll waits: how late a wake-up may be that is held here, and how late a paused partition goes on.
const POLL: Duration = Duration::from_millis(100);
/// How often offsets are committed.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// How often it is said that reading fails.
const SAY_EVERY: Duration = Duration::from_secs(30);
/// How many records are read before the rest gets a turn.
const TURN: usize = 500;
/// How long a look at the topics may take, and the pause between two.
const DEADLINE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(2);

/// What the thread and the callers share.
pub(super) struct Shared {
    pub flight: Mutex<Flight>,
    /// Something can be taken.
    pub ready: Notify,
    stop: AtomicBool,
    /// Moves when the brokers may have lost everything: clients begin anew.
    era: Arc<AtomicU64>,
    /// How many threads run; told when one has ended and its partitions are given up.
    running: watch::Sender<usize>,
}

/// Groups: a suffix of the group's name, and the topics.
fn groups() -> [(&'static str, Vec<Topic>); 3] {
    let delays = Topic::consumed()
        .into_iter()
        .filter(|topic| matches!(topic, Topic::Delay(_)));
    [
        ("fresh", vec![Topic::Ready(Lane::Fresh)]),
        ("later", vec![Topic::Ready(Lane::Later)]),
        ("delay", delays.collect()),
    ]
}

/// The running consumers. They end when dropped, in a moment.
pub(super) struct Consumer {
    pub shared: Arc<Shared>,
}

impl Consumer {
    /// Begins to join; does not wait for a broker.
    pub fn start(
        config: &KafkaConfig,
        producer: Arc<Producer>,
        metrics: Arc<Metrics>,
        clock: Clock,
        era: Arc<AtomicU64>,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            flight: Mutex::default(),
            ready: Notify::new(),
            stop: AtomicBool::new(false),
            era,
            running: watch::Sender::new(0),
        });
        for (suffix, topics) in groups() {
            let thread = Thread::new(config, suffix, &topics, &shared, &producer, &metrics, &clock)?;
            shared.running.send_modify(|running| *running += 1);
            let spawned = std::thread::Builder::new()
                .name(format!("queue-{suffix}"))
                .spawn(move || thread.run());
            if let Err(error) = spawned {
                shared.stop.store(true, Ordering::Release);
                return Err(Error::Unavailable(format!("no thread: {error}")));
            }
        }
        Ok(Self { shared })
    }

    /// Waits for due wake-ups. Cancel-safe: nothing is taken before it answers.
    pub async fn take(&self, limit: usize) -> Vec<WakeUp> {
        loop {
            let ready = self.shared.ready.notified();
            let taken = self.shared.flight.lock().take(limit.max(1), Instant::now());
            if !taken.is_empty() {
                if self.shared.flight.lock().has_ready() {
                    self.shared.ready.notify_one();
                }
                return taken;
            }
            ready.await;
        }
    }

    /// Leaves the group; waits until that is done, at most so long.
    pub async fn leave(&self, most: Duration) {
        self.shared.stop.store(true, Ordering::Release);
        let mut running = self.shared.running.subscribe();
        let _ = tokio::time::timeout(most, running.wait_for(|running| *running == 0)).await;
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
    }
}

struct Thread {
    client: BaseConsumer<Context>,
    suffix: &'static str,
    config: KafkaConfig,
    shared: Arc<Shared>,
    names: Arc<HashMap<String, Topic>>,
    producer: Arc<Producer>,
    metrics: Arc<Metrics>,
    clock: Clock,
    told: mpsc::UnboundedSender<Moved>,
    hears: mpsc::UnboundedReceiver<Moved>,
    committed: Instant,
    /// When it was last said that something is wrong.
    said: Option<Instant>,
}

impl Thread {
    fn new(
        config: &KafkaConfig,
        suffix: &'static str,
        topics: &[Topic],
        shared: &Arc<Shared>,
        producer: &Arc<Producer>,
        metrics: &Arc<Metrics>,
        clock: &Clock,
    ) -> Result<Self> {
        let named = |topic: &Topic| (topic.name(&config.topic_prefix), *topic);
        let names: Arc<HashMap<String, Topic>> = Arc::new(topics.iter().map(named).collect());
        let client = client(config, suffix, shared, &names)?;
        #[allow(
            clippy::disallowed_methods,
            reason = "holds one word for each record in flight at most"
        )]
        let (told, hears) = mpsc::unbounded_channel();
        Ok(Self {
            client,
            suffix,
            config: config.clone(),
            shared: shared.clone(),
            names,
            producer: producer.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            told,
            hears,
            committed: Instant::now(),
            said: None,
        })
    }

    fn is_ours(&self, topic: Topic) -> bool {
        self.names.values().any(|ours| *ours == topic)
    }

    fn run(mut self) {
        let mut era = self.shared.era.load(Ordering::Acquire);
        while self.wait_for_topics() && self.subscribe() {
            while !self.shared.stop.load(Ordering::Acquire) && era == self.shared.era.load(Ordering::Acquire)
            {
                self.turn();
            }
            if self.shared.stop.load(Ordering::Acquire) {
                // What was said in the last moment may still be on its way: then it is read again by the next one.
                self.hear();
                self.commit(CommitMode::Sync);
                self.client.unsubscribe();
                break;
            }
            era = self.shared.era.load(Ordering::Acquire);
            self.renew();
        }
        let shared = self.shared.clone();
        drop(self);
        shared.running.send_modify(|running| *running -= 1);
    }

    /// Says what is wrong, not as often as it is.
    fn say(&mut self, error: &KafkaError) {
        if self.said.is_none_or(|when| when.elapsed() > SAY_EVERY) {
            self.said = Some(Instant::now());
            tracing::warn!(%error, group = self.suffix, "reading wake-ups");
        } else {
            tracing::debug!(%error, group = self.suffix, "reading wake-ups");
        }
    }

    /// Another client takes the place of this one, and nothing of what was read counts: a client that knew topics of these names takes
    /// the new ones, whose leaders' epochs begin anew, for news from the past, and reads nothing.
    fn renew(&mut self) {
        tracing::info!(group = self.suffix, "reading the queue's wake-ups anew");
        // Before the old client goes: it would commit what it has read to the new topics.
        {
            let mut flight = self.shared.flight.lock();
            for topic in self.names.values() {
                for partition in flight.of_topic(*topic) {
                    flight.revoke((*topic, partition));
                }
            }
        }
        match client(&self.config, self.suffix, &self.shared, &self.names) {
            Ok(client) => drop(std::mem::replace(&mut self.client, client)),
            Err(error) => tracing::error!(%error, "wake-ups are read by the old client"),
        }
    }

    /// Reads what is there, or waits for it a moment; then does what is due.
    fn turn(&mut self) {
        let mut wait = POLL;
        for _ in 0..TURN {
            match self.client.poll(wait) {
                None => break,
                Some(Ok(message)) => {
                    self.read(&message);
                    wait = Duration::ZERO;
                }
                Some(Err(error)) => {
                    self.say(&error);
                    break;
                }
            }
        }
        self.hear();
        let moves = self.shared.flight.lock().tick((self.clock)(), Instant::now());
        for moved in moves {
            self.relay(moved);
        }
        if self.shared.flight.lock().has_ready() {
            self.shared.ready.notify_one();
        }
        self.pause();
        if self.committed.elapsed() >= COMMIT_EVERY {
            self.commit(CommitMode::Async);
        }
    }

    fn read(&self, message: &rdkafka::message::BorrowedMessage<'_>) {
        let Some(topic) = self.names.get(message.topic()).copied() else {
            return;
        };
        self.metrics.consumed(topic);
        let (place, offset) = ((topic, message.partition()), message.offset());
        match Record::read(message) {
            Ok(record) => {
                let now = (self.clock)();
                let moved = self.shared.flight.lock().read(place, offset, record, now);
                if let Some(moved) = moved {
                    self.relay(moved);
                }
            }
            Err(why) => {
                tracing::error!(
                    topic = message.topic(),
                    partition = message.partition(),
                    offset,
                    why,
                    "a record is no wake-up"
                );
                let token = self.shared.flight.lock().read_dead(place, offset);
                if let Some(token) = token {
                    self.bury(token, &message.detach(), &why);
                }
            }
        }
    }

    fn relay(&self, Move { token, topic, record }: Move) {
        if self
            .producer
            .relay(token, topic, &record, self.told.clone())
            .is_err()
        {
            self.shared.flight.lock().not_moved(token, (self.clock)());
        }
    }

    fn bury(&self, token: u64, message: &OwnedMessage, why: &str) {
        if self
            .producer
            .bury(token, message, why, self.told.clone())
            .is_err()
        {
            // The queue of the producer is full: when there is room again.
            let _ = self.told.send(Moved::StillDead(token, message.clone()));
        }
    }

    /// How records ended that were moved.
    fn hear(&mut self) {
        for _ in 0..self.hears.len() {
            match self.hears.try_recv() {
                Ok(Moved::Yes(token)) => self.shared.flight.lock().finish(token),
                Ok(Moved::No(token)) => self.shared.flight.lock().not_moved(token, (self.clock)()),
                Ok(Moved::StillDead(token, message)) => self.bury(token, &message, ""),
                Err(_) => return,
            }
        }
    }

    fn pause(&self) {
        let (pause, resume) = self.shared.flight.lock().pauses(|topic| self.is_ours(topic));
        for (places, stop) in [(pause, true), (resume, false)] {
            if places.is_empty() {
                continue;
            }
            let list = self.list(places.into_iter().map(|place| (place, None)));
            let result = match stop {
                true => self.client.pause(&list),
                false => self.client.resume(&list),
            };
            if let Err(error) = result {
                tracing::warn!(%error, stop, "a partition does not pause or go on as it should");
            }
        }
    }

    fn commit(&mut self, mode: CommitMode) {
        self.committed = Instant::now();
        let commits = self.shared.flight.lock().commits(|topic| self.is_ours(topic));
        if commits.is_empty() {
            return;
        }
        let list = self.list(commits.into_iter().map(|(place, offset)| (place, Some(offset))));
        if let Err(error) = self.client.commit(&list, mode) {
            tracing::warn!(%error, "offsets are not committed; their records may be read again");
        }
    }

    fn list(&self, places: impl Iterator<Item = (Place, Option<i64>)>) -> TopicPartitionList {
        list(&self.names, places)
    }

    fn subscribe(&self) -> bool {
        let names: Vec<&str> = self.names.keys().map(String::as_str).collect();
        match self.client.subscribe(&names) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "wake-ups cannot be read");
                false
            }
        }
    }

    /// Waits until all topics are there; false: nobody needs it any more. What is missing is said by the reader of suspensions.
    fn wait_for_topics(&self) -> bool {
        while !self.shared.stop.load(Ordering::Acquire) {
            let metadata = self.client.fetch_metadata(None, DEADLINE);
            if metadata.is_ok_and(|metadata| topics::check(&self.config, &metadata).is_ok()) {
                return true;
            }
            std::thread::park_timeout(PAUSE);
        }
        false
    }
}

fn client(
    config: &KafkaConfig,
    suffix: &str,
    shared: &Arc<Shared>,
    names: &Arc<HashMap<String, Topic>>,
) -> Result<BaseConsumer<Context>> {
    let mut client = config.client();
    client
        .set("group.id", format!("{}.{suffix}", config.group))
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set(
            "session.timeout.ms",
            config.session_timeout.as_millis().to_string(),
        )
        .set(
            "heartbeat.interval.ms",
            (config.session_timeout.as_millis() / 4).to_string(),
        )
        .set("fetch.wait.max.ms", "500")
        .set("fetch.message.max.bytes", "262144")
        .set("queued.max.messages.kbytes", "4096");
    let context = Context {
        shared: shared.clone(),
        names: names.clone(),
    };
    client
        .create_with_context(context)
        .map_err(|error| Error::Invalid(format!("kafka settings: {error}")))
}

/// Hears of rebalances, on the thread that polls.
struct Context {
    shared: Arc<Shared>,
    names: Arc<HashMap<String, Topic>>,
}

impl ClientContext for Context {}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => {
                let mut flight = self.shared.flight.lock();
                for place in self.places(partitions) {
                    flight.assign(place);
                }
                tracing::info!(
                    partitions = partitions.count(),
                    "partitions of the queue are ours"
                );
            }
            Rebalance::Revoke(partitions) => {
                let mut commits = Vec::new();
                {
                    let mut flight = self.shared.flight.lock();
                    for place in self.places(partitions) {
                        commits.extend(flight.revoke(place).map(|offset| (place, Some(offset))));
                    }
                }
                tracing::info!(
                    partitions = partitions.count(),
                    "partitions of the queue go to others"
                );
                // Whoever has them now commits for himself.
                if consumer.assignment_lost() || commits.is_empty() {
                    return;
                }
                let list = list(&self.names, commits.into_iter());
                if let Err(error) = consumer.commit(&list, CommitMode::Sync) {
                    tracing::warn!(%error, "offsets are not committed; their records are read again");
                }
            }
            Rebalance::Error(error) => tracing::error!(%error, "sharing the queue's partitions failed"),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result
            && !matches!(
                error,
                KafkaError::ConsumerCommit(rdkafka::types::RDKafkaErrorCode::NoOffset)
            )
        {
            tracing::warn!(%error, "offsets are not committed; their records may be read again");
        }
    }
}

impl Context {
    fn places(&self, partitions: &TopicPartitionList) -> Vec<Place> {
        let elements = partitions.elements();
        let places = elements.iter().filter_map(|element| {
            let topic = self.names.get(element.topic()).copied()?;
            Some((topic, element.partition()))
        });
        places.collect()
    }
}

fn list(
    names: &HashMap<String, Topic>,
    places: impl Iterator<Item = (Place, Option<i64>)>,
) -> TopicPartitionList {
    let names: HashMap<Topic, &str> = names
        .iter()
        .map(|(name, topic)| (*topic, name.as_str()))
        .collect();
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in places {
        let Some(name) = names.get(&topic) else {
            continue;
        };
        match offset {
            None => drop(list.add_partition(name, partition)),
            Some(offset) => {
                if let Err(error) = list.add_partition_offset(name, partition, Offset::Offset(offset)) {
                    tracing::warn!(%error, "an offset cannot be committed");
                }
            }
        }
    }
    list
}
