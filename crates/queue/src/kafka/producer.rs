//! Saying wake-ups: one producer, whose acknowledgements arrive on a thread of its own.
//!
//! It is not an idempotent one: a wake-up said twice wakes nobody twice, since the claim decides. And the numbers that make a producer
//! idempotent are the brokers', who hand them out again when they have lost everything: then such a producer is of no more use, for ever.
//!
//! When the brokers have lost everything it is another one from then on: a client that knew topics of these names takes the new ones, whose
//! leaders' epochs begin anew, for news from the past, and never finds their leaders.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use rdkafka::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::util::Timeout;
use tokio::sync::{mpsc, oneshot};

use super::config::KafkaConfig;
use super::metrics::Metrics;
use super::record::Record;
use super::topics::Topic;
use crate::engine::WakeUp;
use crate::{Error, Result};

/// While records wait so long for a broker, nobody else waits for one.
const STUCK: Duration = Duration::from_secs(2);
/// How long its thread listens to the client at once. What arrives is heard at once however long that is; but in the last millisecond the
/// library asks again and again, so that its own thread, which listens for 0.1 s, takes a hundredth of a processor when nothing happens.
const HEAR: Duration = Duration::from_secs(2);
/// How often it is said that records are lost.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// How a record ended that was said for the consumer.
#[derive(Debug)]
pub(super) enum Moved {
    /// Another topic has it.
    Yes(u64),
    /// No broker took it.
    No(u64),
    /// No broker took what was to go to the topic of dead records.
    StillDead(u64, OwnedMessage),
}

/// Who is told of an acknowledgement.
enum Purpose {
    /// Somebody waits for it.
    Said(oneshot::Sender<std::result::Result<(), String>>),
    /// The consumer moves a record.
    Moved(u64, mpsc::UnboundedSender<Moved>),
    /// The consumer puts away a record nobody can read.
    Dead(u64, mpsc::UnboundedSender<Moved>),
}

/// What goes along with a record.
pub(super) struct Opaque {
    topic: Topic,
    purpose: Purpose,
}

/// The producer.
pub(super) struct Producer {
    client: RwLock<Arc<BaseProducer<Context>>>,
    config: KafkaConfig,
    metrics: Arc<Metrics>,
    names: Vec<(Topic, String)>,
    patience: Duration,
}

struct Context {
    metrics: Arc<Metrics>,
    began: Instant,
    /// When a broker last took or refused something, and when something was last handed over while nothing was under way; milliseconds
    /// since `began`.
    moved: AtomicU64,
    under_way: AtomicU64,
    said: Mutex<Option<Instant>>,
}

impl Producer {
    /// Does not wait for a broker.
    pub fn open(config: &KafkaConfig, metrics: Arc<Metrics>) -> Result<Self> {
        let names = Topic::all()
            .into_iter()
            .map(|topic| (topic, topic.name(&config.topic_prefix)))
            .collect();
        Ok(Self {
            client: RwLock::new(client(config, metrics.clone())?),
            config: config.clone(),
            metrics,
            names,
            patience: config.patience,
        })
    }

    /// Begins anew: the brokers may have lost everything. If they have not, what is under way still arrives.
    pub fn renew(&self) {
        let new = match client(&self.config, self.metrics.clone()) {
            Ok(new) => new,
            Err(error) => {
                return tracing::error!(%error, "there is no new producer; the old one may not be heard");
            }
        };
        let old = std::mem::replace(&mut *self.client.write(), new);
        let patience = Timeout::After(self.config.delivery_timeout);
        let spawned = std::thread::Builder::new()
            .name("queue-old".into())
            .spawn(move || drop(old.flush(patience)));
        if let Err(error) = spawned {
            tracing::warn!(%error, "wake-ups under way are lost; the reconciler will find their units");
        }
    }

    fn client(&self) -> Arc<BaseProducer<Context>> {
        self.client.read().clone()
    }

    /// Hands wake-ups over and waits a moment for the brokers' word. An error means that not all were taken over; those that were may
    /// still be lost, which the reconciler finds out.
    pub async fn say(&self, wake_ups: &[WakeUp], now: u64) -> Result<()> {
        let mut answers = Vec::with_capacity(wake_ups.len());
        for wake_up in wake_ups {
            let (topic, record) = Record::of(wake_up, now);
            let (sender, answer) = oneshot::channel();
            self.send(topic, &record, Purpose::Said(sender))?;
            answers.push(answer);
        }
        if self.client().context().is_stuck() {
            return Ok(());
        }
        let all = async {
            for answer in answers {
                if let Ok(Err(text)) = answer.await {
                    return Err(Error::Unavailable(format!("kafka: {text}")));
                }
            }
            Ok(())
        };
        tokio::time::timeout(self.patience, all).await.unwrap_or(Ok(()))
    }

    /// Puts a record into another topic; the consumer hears how that ended.
    pub fn relay(
        &self,
        token: u64,
        topic: Topic,
        record: &Record,
        told: mpsc::UnboundedSender<Moved>,
    ) -> Result<()> {
        self.send(topic, record, Purpose::Moved(token, told))
    }

    /// Puts a record nobody can read into the topic of dead ones, with where it was and why.
    pub fn bury(
        &self,
        token: u64,
        message: &OwnedMessage,
        why: &str,
        told: mpsc::UnboundedSender<Moved>,
    ) -> Result<()> {
        let place = format!("{}/{}/{}", message.topic(), message.partition(), message.offset());
        let headers = message.headers().cloned().unwrap_or_else(OwnedHeaders::new);
        let headers = if why.is_empty() {
            headers
        } else {
            headers
                .insert(Header {
                    key: "postrider-error",
                    value: Some(why),
                })
                .insert(Header {
                    key: "postrider-from",
                    value: Some(&place),
                })
        };
        let opaque = Box::new(Opaque {
            topic: Topic::Dead,
            purpose: Purpose::Dead(token, told),
        });
        let mut record: BaseRecord<'_, [u8], [u8], Box<Opaque>> =
            BaseRecord::with_opaque_to(self.name(Topic::Dead), opaque).headers(headers);
        if let Some(key) = message.key() {
            record = record.key(key);
        }
        if let Some(value) = message.payload() {
            record = record.payload(value);
        }
        self.hand_over(record)
    }

    /// Says in the control topic that something has changed; returns once the brokers have it.
    pub async fn control(&self, key: &str, deadline: Duration) -> Result<()> {
        let (sender, answer) = oneshot::channel();
        let opaque = Box::new(Opaque {
            topic: Topic::Control,
            purpose: Purpose::Said(sender),
        });
        let record: BaseRecord<'_, str, [u8], Box<Opaque>> =
            BaseRecord::with_opaque_to(self.name(Topic::Control), opaque).key(key);
        self.hand_over(record)?;
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(text))) => Err(Error::Unavailable(format!("kafka: {text}"))),
            Ok(Err(_)) | Err(_) => Err(Error::Unknown("kafka did not answer in time".into())),
        }
    }

    /// Waits until everything handed over has ended, at most so long.
    pub fn flush(&self, most: Duration) {
        if let Err(error) = self.client().flush(Timeout::After(most)) {
            tracing::warn!(%error, "wake-ups are left unsaid; the reconciler will find their units");
        }
    }

    fn send(&self, topic: Topic, record: &Record, purpose: Purpose) -> Result<()> {
        let (key, value) = (record.key(), record.value());
        let opaque = Box::new(Opaque { topic, purpose });
        let record: BaseRecord<'_, [u8], [u8], Box<Opaque>> =
            BaseRecord::with_opaque_to(self.name(topic), opaque)
                .key(key.as_slice())
                .payload(value.as_slice())
                .headers(record.headers());
        self.hand_over(record)
    }

    fn hand_over<K: rdkafka::message::ToBytes + ?Sized>(
        &self,
        record: BaseRecord<'_, K, [u8], Box<Opaque>>,
    ) -> Result<()> {
        let client = self.client();
        client.context().begins();
        client.send(record).map_err(|(error, record)| {
            let context = client.context();
            context.under_way.fetch_sub(1, Ordering::Relaxed);
            context.metrics.lost(record.delivery_opaque.topic);
            Error::Unavailable(format!("kafka: {error}"))
        })
    }

    fn name(&self, topic: Topic) -> &str {
        let found = self.names.iter().find(|(named, _)| *named == topic);
        found.map_or("", |(_, name)| name)
    }
}

/// A client and the thread that hears its acknowledgements, which ends soon after the last owner has dropped the client.
fn client(config: &KafkaConfig, metrics: Arc<Metrics>) -> Result<Arc<BaseProducer<Context>>> {
    let mut client = config.client();
    client
        .set("acks", "all")
        .set("linger.ms", "2")
        .set(
            "message.timeout.ms",
            config.delivery_timeout.as_millis().to_string(),
        )
        .set("queue.buffering.max.messages", "100000")
        .set("queue.buffering.max.kbytes", "65536");
    let context = Context {
        metrics,
        began: Instant::now(),
        moved: AtomicU64::new(0),
        under_way: AtomicU64::new(0),
        said: Mutex::new(None),
    };
    let client: BaseProducer<Context> = client
        .create_with_context(context)
        .map_err(|error| Error::Invalid(format!("kafka settings: {error}")))?;
    let client = Arc::new(client);
    let heard = Arc::downgrade(&client);
    std::thread::Builder::new()
        .name("queue-said".into())
        .spawn(move || {
            while let Some(client) = heard.upgrade() {
                client.poll(HEAR);
            }
        })
        .map_err(|error| Error::Unavailable(format!("a thread for kafka's acknowledgements: {error}")))?;
    Ok(client)
}

impl Context {
    fn now(&self) -> u64 {
        crate::machine::millis(self.began.elapsed())
    }

    fn begins(&self) {
        if self.under_way.fetch_add(1, Ordering::Relaxed) == 0 {
            self.moved.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Whether records wait and none has ended for a while.
    fn is_stuck(&self) -> bool {
        let silent = self.now().saturating_sub(self.moved.load(Ordering::Relaxed));
        self.under_way.load(Ordering::Relaxed) > 0 && silent > crate::machine::millis(STUCK)
    }

    fn say_lost(&self, topic: Topic, error: &KafkaError) {
        let mut said = self.said.lock();
        if said.is_none_or(|when| when.elapsed() > SAY_EVERY) {
            *said = Some(Instant::now());
            tracing::warn!(topic = topic.kind(), %error, "no broker takes records; the reconciler will find what they were about");
        }
    }
}

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Opaque>;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        let Opaque { topic, purpose } = *opaque;
        match result {
            Ok(_) => {
                self.moved.store(self.now(), Ordering::Relaxed);
                self.metrics.produced(topic);
            }
            Err((error, _)) => {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::MessageTimedOut) {
                    self.moved.store(self.now(), Ordering::Relaxed);
                }
                self.metrics.lost(topic);
                self.say_lost(topic, error);
            }
        }
        match (purpose, result) {
            (Purpose::Said(sender), Ok(_)) => drop(sender.send(Ok(()))),
            (Purpose::Said(sender), Err((error, _))) => drop(sender.send(Err(error.to_string()))),
            (Purpose::Moved(token, told) | Purpose::Dead(token, told), Ok(_)) => {
                drop(told.send(Moved::Yes(token)));
            }
            (Purpose::Moved(token, told), Err(_)) => drop(told.send(Moved::No(token))),
            (Purpose::Dead(token, told), Err((_, message))) => {
                drop(told.send(Moved::StillDead(token, message.detach())));
            }
        }
    }
}
