//! Suspensions: a compacted topic, read whole at start and followed from then on by every process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postrider_types::Domain;
use prost::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::watch;

use super::config::KafkaConfig;
use super::topics::{self, Topic};
use crate::engine::Suspension;
use crate::{Error, Result};

/// How long a look at the topics may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Pause between two looks while something is missing.
const PAUSE: Duration = Duration::from_secs(2);
/// How often brokers and topics are looked at while all is well.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(250);

/// What is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// The topic was read to its end once.
    pub whole: bool,
    /// The offset behind the last record read.
    pub next: i64,
    /// Moves with every record.
    pub version: u64,
    pub suspended: Arc<BTreeMap<Domain, Suspension>>,
    /// What is wrong with the topics or the brokers.
    pub trouble: Option<String>,
}

/// The reader. Ends when dropped.
pub(super) struct Control {
    known: watch::Receiver<Known>,
    stop: Arc<AtomicBool>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Value {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(uint64, tag = "2")]
    since: u64,
}

/// The record's value.
pub(super) fn value(suspension: &Suspension) -> Vec<u8> {
    Value {
        reason: suspension.reason.clone(),
        since: suspension.since,
    }
    .encode_to_vec()
}

impl Control {
    /// Begins to read.
    pub fn open(config: &KafkaConfig) -> Result<Self> {
        let mut client = config.client();
        client
            // Never joined: the one partition is assigned by hand.
            .set("group.id", format!("{}-control", config.group))
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("queued.max.messages.kbytes", "1024");
        let consumer: BaseConsumer = client
            .create()
            .map_err(|error| Error::Invalid(format!("kafka settings: {error}")))?;
        let start = Known {
            trouble: Some("connecting".into()),
            ..Known::default()
        };
        let (teller, known) = watch::channel(start);
        let stop = Arc::new(AtomicBool::new(false));
        let reader = Reader {
            consumer,
            config: config.clone(),
            teller,
            stop: stop.clone(),
        };
        std::thread::Builder::new()
            .name("queue-control".into())
            .spawn(move || reader.run())
            .map_err(|error| Error::Unavailable(format!("no thread: {error}")))?;
        Ok(Self { known, stop })
    }

    /// What is known now.
    pub fn now(&self) -> Known {
        self.known.borrow().clone()
    }

    /// Moves with every record.
    pub fn version(&self) -> u64 {
        self.known.borrow().version
    }

    /// What is known once the topic was read whole, and up to this offset.
    pub async fn read_to(&self, offset: i64, deadline: Duration) -> Result<Known> {
        let mut known = self.known.clone();
        let there = known.wait_for(|known| known.whole && known.next >= offset);
        match tokio::time::timeout(deadline, there).await {
            Ok(Ok(known)) => Ok(known.clone()),
            Ok(Err(_)) => Err(Error::Unavailable("suspensions are not read any more".into())),
            Err(_) => {
                let why = self.now().trouble.unwrap_or_else(|| "no answer".into());
                Err(Error::Unavailable(format!(
                    "suspensions are not known yet: {why}"
                )))
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Reader {
    consumer: BaseConsumer,
    config: KafkaConfig,
    teller: watch::Sender<Known>,
    stop: Arc<AtomicBool>,
}

impl Reader {
    fn run(self) {
        if !self.wait_for_topics() {
            return;
        }
        let topic = Topic::Control.name(&self.config.topic_prefix);
        let mut list = TopicPartitionList::new();
        let assigned = list
            .add_partition_offset(&topic, 0, Offset::Beginning)
            .and_then(|()| self.consumer.assign(&list));
        if let Err(error) = assigned {
            tracing::error!(%error, topic, "suspensions cannot be read");
            return;
        }
        let mut looked = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let polled = self.consumer.poll(POLL);
            // Where nothing is said, nothing would tell that the brokers are gone, or back, or have lost a topic.
            let due = self.teller.borrow().trouble.is_some() || looked.elapsed() >= LOOK_EVERY;
            if polled.is_none() && due {
                if !self.wait_for_topics() {
                    return;
                }
                looked = Instant::now();
            }
            match polled {
                None => {}
                Some(Ok(message)) => self.read(&message),
                Some(Err(KafkaError::PartitionEOF(_))) => self.teller.send_modify(|known| {
                    known.whole = true;
                    known.trouble = None;
                }),
                Some(Err(error)) => {
                    tracing::debug!(%error, topic, "reading suspensions");
                    self.teller
                        .send_modify(|known| known.trouble = Some(error.to_string()));
                }
            }
        }
    }

    /// Waits until all topics are there; false: nobody needs it any more.
    fn wait_for_topics(&self) -> bool {
        let mut said = String::new();
        while !self.stop.load(Ordering::Relaxed) {
            let metadata = self.consumer.fetch_metadata(None, DEADLINE);
            let found = match &metadata {
                Ok(metadata) => topics::check(&self.config, metadata),
                Err(error) => Err(topics::no_broker(&self.config, error)),
            };
            let Err(trouble) = found else {
                self.teller.send_modify(|known| known.trouble = None);
                return true;
            };
            if said != trouble {
                // Whoever runs the engine says it, once, by asking `wakes`.
                tracing::debug!(trouble, "the queue cannot work with kafka yet, trying again");
                said.clone_from(&trouble);
            }
            self.teller.send_modify(|known| known.trouble = Some(trouble));
            std::thread::park_timeout(PAUSE);
        }
        false
    }

    fn read(&self, message: &impl Message) {
        let domain = message.key().and_then(|key| std::str::from_utf8(key).ok());
        let domain = domain.and_then(|text| Domain::new(text).ok());
        let value = message.payload().map(Value::decode).transpose();
        self.teller.send_modify(|known| {
            known.next = message.offset() + 1;
            known.version += 1;
            known.trouble = None;
            let (Some(domain), Ok(value)) = (domain, value) else {
                tracing::warn!(
                    offset = message.offset(),
                    "a record about suspensions cannot be read; it is passed over"
                );
                return;
            };
            let suspended = Arc::make_mut(&mut known.suspended);
            match value {
                Some(Value { reason, since }) => suspended.insert(domain, Suspension { reason, since }),
                None => suspended.remove(&domain),
            };
        });
    }
}
