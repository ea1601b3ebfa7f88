//! Configuration of the role.

use std::time::Duration;

use postrider_coordination::LoginLimits;
use postrider_runtime::config::{PlaintextAuth, StorageEngine};
use xxhash_rust::xxh3::xxh3_64;

/// What the role may do, and how long it waits.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our name in greetings and `Received:`. Default: `localhost`.
    pub hostname: String,
    /// STARTTLS is offered. Default: true.
    pub starttls: bool,
    /// Where passwords may be sent without TLS. Default: loopback.
    pub plaintext_auth: PlaintextAuth,
    /// BINARYMIME is offered. Default: false, since such a message has to be converted for every server that does not
    /// offer it.
    pub binary_mime: bool,
    /// The author fields of a submitted message must name addresses of the account (RFC 6409 §6.1). Default: true.
    pub check_authors: bool,
    /// Octets of a message. Default: 50 MiB.
    pub message_size: u64,
    /// Octets of a message that is kept in memory and delivered with one call; a larger one is streamed to the mail
    /// store. At most 1 MiB. Default: 256 KiB.
    pub inline_size: u64,
    /// Recipients of a message. Default: 1,000.
    pub recipients: u32,
    /// Messages over one connection. Default: 1,000.
    pub transactions: u32,
    /// Refused commands before a connection is closed. Default: 25.
    pub errors: u32,
    /// `Received:` fields with which a message is in a loop (554 5.4.6). Default: 100, as RFC 5321 §6.3 asks.
    pub received_lines: u32,
    /// Limits of rates.
    pub rates: Rates,
    /// Time-outs.
    pub timeouts: Timeouts,
    /// How long an answer of the directory about an address of ours is believed without asking again. A transaction asks when it
    /// hears RCPT and may be over minutes later; this is of that kind, and much shorter. Default: 0, which is right where the
    /// directory is in the same process.
    pub believed: Duration,
    /// What senders do not know and all instances do, so that they know a message again by its fingerprint. Default: by chance, for one
    /// instance.
    pub fingerprint_secret: u64,
}

/// How often somebody may do something. 0: no limit.
#[derive(Debug, Clone)]
pub struct Rates {
    /// Failed authentications before a connection is closed; at least 1. Default: 3.
    pub auth_failures: u32,
    /// Failed authentications of an address, and for a user.
    pub logins: LoginLimits,
    /// Recipients one account may submit to in an hour. Default: 2,000.
    pub submitted_per_hour: u64,
    /// Messages one address may deliver in a minute. Default: 0.
    pub received_per_minute: u64,
}

/// How long to wait.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// For the next command (RFC 5321 §4.5.3.2.7). Default: 5 minutes.
    pub command: Duration,
    /// For the next piece of a message (RFC 5321 §4.5.3.2.5). Default: 3 minutes.
    pub data: Duration,
    /// For the directory. Default: 5 seconds.
    pub directory: Duration,
    /// For a delivery to accounts of ours, before it becomes a unit of the queue. Default: 5 seconds.
    pub delivery: Duration,
    /// For the mail store to have a message, and for the queue to have its units. Default: 60 seconds.
    pub storage: Duration,
    /// How long a sender is kept waiting, beyond a first attempt, for the answer to a message of which nobody knows whether it was
    /// taken: long enough for a connection that broke to be made again elsewhere, short enough for a database that is silent not to
    /// gather senders. Default: 5 seconds.
    pub settling: Duration,
    /// How long the queue leaves a message to several recipients alone, so that this role can deliver it to the local
    /// ones itself. Default: 60 seconds.
    pub intent: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hostname: "localhost".into(),
            starttls: true,
            plaintext_auth: PlaintextAuth::default(),
            binary_mime: false,
            check_authors: true,
            message_size: 50 << 20,
            inline_size: 256 << 10,
            recipients: 1000,
            transactions: 1000,
            errors: 25,
            received_lines: 100,
            rates: Rates::default(),
            timeouts: Timeouts::default(),
            believed: Duration::ZERO,
            fingerprint_secret: rand::random(),
        }
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            auth_failures: 3,
            logins: LoginLimits::default(),
            submitted_per_hour: 2000,
            received_per_minute: 0,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            command: Duration::from_secs(300),
            data: Duration::from_secs(180),
            directory: Duration::from_secs(5),
            delivery: Duration::from_secs(5),
            storage: Duration::from_secs(60),
            settling: Duration::from_secs(5),
            intent: Duration::from_secs(60),
        }
    }
}

impl From<&postrider_runtime::Config> for Config {
    /// What the node's configuration says of this role.
    fn from(node: &postrider_runtime::Config) -> Self {
        let limits = &node.limits;
        let count = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        Self {
            hostname: node.hostname.to_string(),
            plaintext_auth: node.tls.plaintext_auth,
            message_size: limits.message_size,
            recipients: count(limits.recipients).max(100),
            transactions: count(limits.messages_per_connection).max(1),
            errors: count(limits.errors_per_connection),
            received_lines: limits.received_lines,
            rates: Rates {
                auth_failures: count(limits.auth_failures_per_connection).max(1),
                logins: LoginLimits {
                    per_address: limits.auth_failures_per_address,
                    per_account: limits.auth_failures_per_account,
                    window: limits.auth_failure_window,
                    ..LoginLimits::default()
                },
                submitted_per_hour: limits.submitted_per_hour,
                received_per_minute: limits.received_per_minute,
            },
            timeouts: Timeouts {
                command: limits.smtp_idle,
                ..Timeouts::default()
            },
            fingerprint_secret: match node.storage.engine {
                StorageEngine::Cql => shared_secret(node),
                _ => rand::random(),
            },
            ..Self::default()
        }
    }
}

/// The same at all instances that work with the same engines; as secret as the passwords towards these.
fn shared_secret(node: &postrider_runtime::Config) -> u64 {
    let parts = [
        node.storage.cql.keyspace.as_str(),
        node.storage.cql.password.expose(),
        node.queue.kafka.password.expose(),
        node.coordination.redis.url.expose(),
    ];
    xxh3_64(parts.join("\n").as_bytes())
}
