//! The word that suspensions have changed: a topic that every process follows. Who reads it is also the one who sees that topics are
//! missing, makes them, and says when the brokers may have lost everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;

use super::config::KafkaConfig;
use super::topics::{self, Lack, Topic};
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
#[derive(Debug, Default)]
struct Known {
    /// Moves with every record, and whenever some may have been missed.
    heard: AtomicU64,
    /// What is wrong with the topics or the brokers.
    trouble: Mutex<Option<String>>,
}

impl Known {
    fn hear(&self) {
        self.heard.fetch_add(1, Ordering::AcqRel);
    }

    fn trouble(&self, trouble: Option<String>) {
        *self.trouble.lock() = trouble;
    }

    fn is_in_trouble(&self) -> bool {
        self.trouble.lock().is_some()
    }
}

/// The reader. Ends when dropped.
pub(super) struct Control {
    known: Arc<Known>,
    stop: Arc<AtomicBool>,
}

impl Control {
    /// Begins to read. `anew` is called when the brokers were away altogether, or topics were: what is there now may have nothing to do
    /// with what was.
    pub fn open(config: &KafkaConfig, anew: impl Fn() + Send + 'static) -> Result<Self> {
        let consumer = consumer(config)?;
        let known = Arc::new(Known::default());
        known.trouble(Some("connecting".into()));
        let stop = Arc::new(AtomicBool::new(false));
        let reader = Reader {
            consumer,
            config: config.clone(),
            runtime: Handle::current(),
            known: known.clone(),
            stop: stop.clone(),
            anew: Box::new(anew),
        };
        std::thread::Builder::new()
            .name("queue-control".into())
            .spawn(move || reader.run())
            .map_err(|error| Error::Unavailable(format!("no thread: {error}")))?;
        Ok(Self { known, stop })
    }

    /// What is wrong with the topics or the brokers, as of the last look.
    pub fn trouble(&self) -> Option<String> {
        self.known.trouble.lock().clone()
    }

    /// Moves when suspensions may have changed.
    pub fn heard(&self) -> u64 {
        self.known.heard.load(Ordering::Acquire)
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
    /// Makes topics.
    runtime: Handle,
    known: Arc<Known>,
    stop: Arc<AtomicBool>,
    anew: Box<dyn Fn() + Send>,
}

impl Reader {
    fn run(mut self) {
        let mut lost = false;
        while self.wait_for_topics(&mut lost) && self.begin() {
            lost = self.follow();
        }
    }

    /// Reads what comes from now on; whoever asks for the suspensions then has not missed any.
    fn begin(&self) -> bool {
        let topic = Topic::Control.name(&self.config.topic_prefix);
        let mut list = TopicPartitionList::new();
        let assigned = list
            .add_partition_offset(&topic, 0, Offset::End)
            .and_then(|()| self.consumer.assign(&list));
        if let Err(error) = assigned {
            tracing::error!(%error, topic, "suspensions cannot be read");
            return false;
        }
        self.known.hear();
        true
    }

    /// Reads until there is trouble and nothing more is said: nothing would tell that the brokers are back. Whether they may have lost
    /// everything.
    fn follow(&self) -> bool {
        let (mut lost, mut looked) = (false, Instant::now());
        while !self.stop.load(Ordering::Relaxed) {
            match self.consumer.poll(POLL) {
                None if self.known.is_in_trouble() => return lost,
                // Where nothing is said, nothing would tell that the brokers are gone, or have lost a topic.
                None if looked.elapsed() >= LOOK_EVERY => {
                    if !self.is_well() {
                        return lost;
                    }
                    looked = Instant::now();
                }
                None => {}
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => {
                    self.known.hear();
                    self.known.trouble(None);
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "reading suspensions");
                    lost |= is_another_topic(&error);
                    self.known.trouble(Some(error.to_string()));
                }
            }
        }
        lost
    }

    /// Waits until all topics are there, and makes those that are not; false: nobody needs it any more.
    fn wait_for_topics(&mut self, lost: &mut bool) -> bool {
        let mut said = String::new();
        while !self.stop.load(Ordering::Relaxed) {
            let metadata = self.consumer.fetch_metadata(None, DEADLINE);
            let found = match &metadata {
                Ok(metadata) => topics::check(&self.config, metadata),
                Err(error) => {
                    *lost = true;
                    self.trouble(topics::no_broker(&self.config, error), &mut said);
                    continue;
                }
            };
            match found {
                Ok(()) => {
                    if *lost {
                        self.renew();
                    }
                    self.known.trouble(None);
                    return true;
                }
                Err(Lack::Partitions(trouble)) => self.trouble(trouble, &mut said),
                // Who deletes all of Kafka's data shall not have to know that we need topics.
                Err(Lack::Topic(trouble)) => match self.make(lost) {
                    Ok(()) => tracing::warn!(
                        prefix = self.config.topic_prefix,
                        "topics were missing and have been made"
                    ),
                    Err(error) => self.trouble(format!("{trouble}; {error}"), &mut said),
                },
            }
        }
        false
    }

    /// Whether brokers answer, with all topics.
    fn is_well(&self) -> bool {
        let metadata = self.consumer.fetch_metadata(None, DEADLINE);
        metadata.is_ok_and(|metadata| topics::check(&self.config, &metadata).is_ok())
    }

    fn make(&self, lost: &mut bool) -> Result<()> {
        *lost = true;
        self.runtime.block_on(topics::make(&self.config))
    }

    /// Everybody begins anew with clients that know nothing.
    fn renew(&mut self) {
        match consumer(&self.config) {
            Ok(consumer) => self.consumer = consumer,
            Err(error) => tracing::error!(%error, "suspensions are read by the old client"),
        }
        (self.anew)();
    }

    /// Says what is wrong, once, and pauses.
    fn trouble(&self, trouble: String, said: &mut String) {
        if *said != trouble {
            // Whoever runs the engine says it, once, by asking `wakes`.
            tracing::debug!(trouble, "the queue cannot work with kafka yet, trying again");
            said.clone_from(&trouble);
        }
        self.known.trouble(Some(trouble));
        std::thread::park_timeout(PAUSE);
    }
}

/// Whether this says that a topic is not the one that it was.
fn is_another_topic(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let code = error.rdkafka_error_code();
    let unknown = [
        Code::UnknownTopic,
        Code::UnknownPartition,
        Code::UnknownTopicOrPartition,
        Code::UnknownTopicId,
    ];
    code.is_some_and(|code| unknown.contains(&code))
}

fn consumer(config: &KafkaConfig) -> Result<BaseConsumer> {
    let mut client = config.client();
    client
        // Never joined: the one partition is assigned by hand.
        .set("group.id", format!("{}-control", config.group))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest")
        .set("queued.max.messages.kbytes", "1024");
    client
        .create()
        .map_err(|error| Error::Invalid(format!("kafka settings: {error}")))
}
