//! Where Kafka is, and how the queue uses it.

use std::path::PathBuf;
use std::time::Duration;

use postrider_types::Secret;
use rdkafka::ClientConfig;

use crate::{Error, Result};

/// Settings of the engine's Kafka half. Its rows are where the session of `postrider-cql` points.
#[derive(Debug, Clone)]
pub struct KafkaConfig {
    /// `host:port` of some brokers; the others are found through them.
    pub brokers: Vec<String>,
    /// What the names of topics begin with: letters, digits, `.`, `_` and `-`, at most 100. Default: `postrider`.
    pub topic_prefix: String,
    /// What the names of the workers' consumer groups begin with. Default: `postrider-workers`.
    pub group: String,
    /// Partitions of each topic of wake-ups: the most workers that can take work. Topics with more are used as they are. Default: 12.
    pub partitions: u32,
    /// Copies of every partition, used when topics are made. Default: 3.
    pub replication_factor: u32,
    /// User name and password; `None`: no authentication.
    pub scram: Option<Scram>,
    /// TLS; `None`: plain TCP.
    pub tls: Option<KafkaTls>,
    /// After so long without a heartbeat a worker counts as dead, and its partitions go to others. Default: 10 s.
    pub session_timeout: Duration,
    /// How long a record waits for brokers that do not answer before it is given up; what it was about is then found by the
    /// reconciler. Default: 1 minute.
    pub delivery_timeout: Duration,
    /// How long putting units in waits for Kafka's word, after their rows are durable. Default: 1 s.
    pub patience: Duration,
    /// How old an answer to "how many units" may be. Default: 1 minute.
    pub count_every: Duration,
    /// How long after its time a wake-up counts as lost. The clocks of all processes must agree to within a fifth of it. Default: 5
    /// minutes.
    pub find_lost: Duration,
}

/// A user (SASL/SCRAM, RFC 5802). Other mechanisms are not supported.
#[derive(Debug, Clone)]
pub struct Scram {
    /// Name.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// SCRAM-SHA-512 instead of SCRAM-SHA-256.
    pub sha512: bool,
}

/// TLS towards the brokers. Their certificates must name the host that is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaTls {
    /// PEM file of the authorities that sign the brokers' certificates.
    pub ca: PathBuf,
    /// PEM file of our own certificate chain, if the brokers ask for one.
    pub certificate: Option<PathBuf>,
    /// PEM file of its key.
    pub key: Option<PathBuf>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            brokers: vec!["127.0.0.1:9092".into()],
            topic_prefix: "postrider".into(),
            group: "postrider-workers".into(),
            partitions: 12,
            replication_factor: 3,
            scram: None,
            tls: None,
            session_timeout: Duration::from_secs(10),
            delivery_timeout: Duration::from_secs(60),
            patience: Duration::from_secs(1),
            count_every: Duration::from_secs(60),
            find_lost: Duration::from_secs(300),
        }
    }
}

impl KafkaConfig {
    /// Refuses settings that cannot work, saying which.
    pub fn validate(&self) -> Result<()> {
        let name = |text: &str| {
            (1..=100).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        let range = |time: Duration, from: u64, to: u64| {
            (Duration::from_millis(from)..=Duration::from_millis(to)).contains(&time)
        };
        let rules = [
            (!self.brokers.is_empty(), "brokers must name a broker"),
            (
                self.brokers
                    .iter()
                    .all(|broker| !broker.is_empty() && !broker.contains(',')),
                "brokers must be host:port each",
            ),
            (
                name(&self.topic_prefix),
                "topic_prefix must be up to 100 letters, digits, ., _ and -",
            ),
            (
                name(&self.group),
                "group must be up to 100 letters, digits, ., _ and -",
            ),
            (
                self.scram
                    .as_ref()
                    .is_none_or(|scram| scram.password.expose_str().is_some()),
                "the password must be UTF-8",
            ),
            (
                cfg!(feature = "kafka-tls") || (self.tls.is_none() && self.scram.is_none()),
                "this build speaks to Kafka neither TLS nor SCRAM; build it with `--features kafka-tls`",
            ),
            (
                (1..=1000).contains(&self.partitions),
                "partitions must be from 1 to 1000",
            ),
            (
                (1..=9).contains(&self.replication_factor),
                "replication_factor must be from 1 to 9",
            ),
            (
                range(self.session_timeout, 1000, 300_000),
                "session_timeout must be from 1 s to 5 min",
            ),
            (
                range(self.find_lost, 10_000, 3_600_000),
                "find_lost must be from 10 s to 1 h",
            ),
            (
                range(self.delivery_timeout, 1000, 600_000),
                "delivery_timeout must be from 1 s to 10 min",
            ),
        ];
        match rules.iter().find(|(kept, _)| !kept) {
            Some((_, rule)) => Err(Error::Invalid(format!("kafka settings: {rule}"))),
            None => Ok(()),
        }
    }

    /// What every client of the brokers is configured with.
    pub(super) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", self.brokers.join(","))
            .set("client.id", "postrider")
            .set("socket.keepalive.enable", "true")
            .set("reconnect.backoff.max.ms", "2000")
            .set("topic.metadata.refresh.interval.ms", "30000")
            // What the library would write to the log by itself: we say what matters.
            .set("log.connection.close", "false");
        let protocol = match (&self.scram, &self.tls) {
            (None, None) => "plaintext",
            (None, Some(_)) => "ssl",
            (Some(_), None) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        };
        client.set("security.protocol", protocol);
        if let Some(scram) = &self.scram {
            let mechanism = if scram.sha512 {
                "SCRAM-SHA-512"
            } else {
                "SCRAM-SHA-256"
            };
            client
                .set("sasl.mechanisms", mechanism)
                .set("sasl.username", &scram.user)
                .set("sasl.password", scram.password.expose_str().unwrap_or_default());
        }
        if let Some(tls) = &self.tls {
            client.set("ssl.ca.location", tls.ca.to_string_lossy());
            if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
                client
                    .set("ssl.certificate.location", certificate.to_string_lossy())
                    .set("ssl.key.location", key.to_string_lossy());
            }
        }
        client
    }
}
