//! The configuration: `postrider.toml`, then the environment (`POSTRIDER__SECTION__KEY`).
//!
//! Every key is a field here, with its default beside it; unknown keys are errors. Nothing else in the project reads the
//! environment for configuration. Durations are written `"90s"`, `"30m"`, `"5d"`; sizes `"25MiB"`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use postrider_types::Domain;
use serde::{Deserialize, Serialize};

mod hidden;
mod limits;
mod listeners;
mod load;
mod units;
mod validate;

pub use hidden::{Hidden, HiddenUrl};
pub use limits::Limits;
pub use listeners::{Listener, Listeners};
pub use load::{ConfigError, load, load_text};
pub use units::{duration, format_duration, format_size, parse_duration, parse_size, size};

/// A part a process can play.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Every role there is.
    All,
    /// Port 25 and submission.
    SmtpIngress,
    /// SMTP out.
    DeliveryWorker,
    /// IMAP.
    ImapGateway,
    /// POP3.
    Pop3Gateway,
    /// HTTP; not part of this build.
    WebGateway,
    /// Mailboxes.
    MailStore,
    /// Domains and accounts.
    Directory,
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The name this node greets with, and signs `Received:` lines with. Default: the machine's own name.
    pub hostname: Domain,
    /// What this process does. Default: `["all"]`.
    pub roles: Vec<Role>,
    /// Where state lives: database, content, journal, certificate, token. Default: `postrider-data`.
    pub data_dir: PathBuf,
    /// Where to listen.
    pub listeners: Listeners,
    /// Certificate, and where passwords may travel.
    pub tls: Tls,
    /// Mailboxes and the directory.
    pub storage: Storage,
    /// The outbound queue.
    pub queue: Queue,
    /// Hints, counters and leases.
    pub coordination: Coordination,
    /// Sending to other servers.
    pub outbound: Outbound,
    /// Where roles are that are not in this process, as `http://host:port` of their `rpc` listener. A name may resolve to many instances, and several URLs stand side by side with commas.
    pub services: Services,
    /// How roles in different processes speak to each other.
    pub rpc: Rpc,
    /// What anybody may use of the node.
    pub limits: Limits,
    /// The record of every message's steps.
    pub journal: JournalConfig,
    /// Logs, traces and metrics.
    pub telemetry: Telemetry,
}

/// Where passwords may be sent without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlaintextAuth {
    /// Nowhere.
    Never,
    /// From this machine.
    #[default]
    Loopback,
    /// Everywhere. Passwords can then be read on the way.
    Always,
}

/// `[tls]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain in PEM, leaf first. Default: a self-signed one is made in `data_dir`. Read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its key in PEM. Given exactly when `certificate` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Passwords without TLS: `never`, `loopback` or `always`. Default: `loopback`.
    pub plaintext_auth: PlaintextAuth,
}

/// An engine for accounts, content and the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StorageEngine {
    /// In memory: everything is lost when the process ends.
    Memory,
    /// In `data_dir`, on one machine.
    #[default]
    Embedded,
    /// ScyllaDB or Apache Cassandra, for many processes.
    Cql,
}

/// `[storage]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// `memory`, `embedded` or `cql`. Default: `embedded`.
    pub engine: StorageEngine,
    /// How long an account's changes are kept for clients that synchronise; older clients read everything again.
    /// Default: 30 days.
    #[serde(with = "duration")]
    pub changes_kept: Duration,
    /// How long content stays that nobody refers to. Default: 1 day.
    #[serde(with = "duration")]
    pub grace: Duration,
    /// For `cql`.
    pub cql: Cql,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            engine: StorageEngine::default(),
            changes_kept: DAY * 30,
            grace: DAY,
            cql: Cql::default(),
        }
    }
}

/// `[storage.cql]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cql {
    /// Nodes to begin with, `host:port`. Default: none.
    pub contact_points: Vec<String>,
    /// Where the tables are. Default: `postrider`.
    pub keyspace: String,
    /// Copies of every row, when the keyspace is made. Default: 3.
    pub replication_factor: u32,
    /// The datacenter to work in, by the name the nodes give it. Default: the only one there is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub datacenter: String,
    /// Authorities (PEM) that the nodes' certificates come from: with it, connections are TLS. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Our certificate chain (PEM), where the nodes ask for one. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its key (PEM). Given exactly when `certificate` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Who logs in to the nodes. Default: none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// With which password. Default: none.
    #[serde(skip_serializing_if = "Hidden::is_empty")]
    pub password: Hidden,
}

impl Default for Cql {
    fn default() -> Self {
        Self {
            contact_points: Vec::new(),
            keyspace: "postrider".into(),
            replication_factor: 3,
            datacenter: String::new(),
            ca: None,
            certificate: None,
            key: None,
            username: String::new(),
            password: Hidden::default(),
        }
    }
}

/// An engine for the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueEngine {
    /// In memory: everything is lost when the process ends.
    Memory,
    /// In `data_dir`, on one machine.
    #[default]
    Embedded,
    /// Kafka for wake-ups, the rows in `[storage.cql]`, for many processes.
    Kafka,
}

/// `[queue]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// `memory`, `embedded` or `kafka`. Default: `embedded`.
    pub engine: QueueEngine,
    /// When to try again, and when to stop.
    pub retry: Retry,
    /// For `kafka`.
    pub kafka: Kafka,
}

/// `[queue] retry`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// The pause after the first attempt; every further one is twice as long. Default: 2 minutes.
    #[serde(with = "duration")]
    pub first: Duration,
    /// The longest pause. Default: 30 minutes.
    #[serde(with = "duration")]
    pub max: Duration,
    /// How far a pause may differ from its length, as a fraction. Default: 0.2.
    pub jitter: f64,
    /// When the sender is told that it will not work. Default: 5 days.
    #[serde(with = "duration")]
    pub give_up: Duration,
    /// When the sender is told that it takes longer. Default: 4 hours.
    #[serde(with = "duration")]
    pub warn_after: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(120),
            max: Duration::from_secs(1800),
            jitter: 0.2,
            give_up: DAY * 5,
            warn_after: Duration::from_secs(4 * 3600),
        }
    }
}

/// `[queue.kafka]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kafka {
    /// Brokers to begin with, `host:port`. Default: none.
    pub brokers: Vec<String>,
    /// What the names of topics, and of the group of workers, begin with. Default: `postrider`.
    pub prefix: String,
    /// Partitions of each topic, when it is made: the most workers that can take work. Default: 12.
    pub partitions: u32,
    /// Copies of every partition, when the topics are made. Default: 3.
    pub replication_factor: u32,
    /// How long after its time a wake-up counts as lost, and how often lost ones are looked for. The clocks of all processes must
    /// agree to within a fifth of it. Default: 5 minutes.
    #[serde(with = "duration")]
    pub find_lost: Duration,
    /// Authorities (PEM) that the brokers' certificates come from: with it, connections are TLS. Needs a build with the
    /// feature `kafka-tls`. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Our certificate chain (PEM), where the brokers ask for one. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its key (PEM). Given exactly when `certificate` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Who logs in to the brokers (SCRAM-SHA-512). Needs a build with the feature `kafka-tls`. Default: none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// With which password. Default: none.
    #[serde(skip_serializing_if = "Hidden::is_empty")]
    pub password: Hidden,
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            brokers: Vec::new(),
            prefix: "postrider".into(),
            partitions: 12,
            replication_factor: 3,
            find_lost: Duration::from_secs(300),
            ca: None,
            certificate: None,
            key: None,
            username: String::new(),
            password: Hidden::default(),
        }
    }
}

/// An engine for coordination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CoordinationEngine {
    /// Within this process.
    #[default]
    Memory,
    /// Between processes.
    Redis,
}

/// `[coordination]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Coordination {
    /// `memory` or `redis`. Default: `memory`.
    pub engine: CoordinationEngine,
    /// For `redis`.
    pub redis: Redis,
}

/// `[coordination.redis]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    /// The server, `redis://[user:password@]host:port` (`rediss://` with TLS), or some nodes of a cluster,
    /// `redis-cluster://host:port,host:port`. Default: none.
    pub url: HiddenUrl,
    /// What every key begins with, so that installations can share a server. Default: `postrider`.
    pub prefix: String,
    /// Authorities (PEM) that the servers' certificates come from. Default: those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Our certificate chain (PEM), where the servers ask for one. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its key (PEM). Given exactly when `certificate` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: HiddenUrl::default(),
            prefix: "postrider".into(),
            ca: None,
            certificate: None,
            key: None,
        }
    }
}

/// Who answers DNS questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Resolver {
    /// `"system"`: as `/etc/resolv.conf` says.
    Named(SystemResolver),
    /// These servers, `host:port`.
    Servers(Vec<SocketAddr>),
}

/// The word `system`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemResolver {
    /// `"system"`
    System,
}

/// TLS towards other servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutboundTls {
    /// Never.
    Never,
    /// When the other server offers it, with whatever certificate it has (RFC 7435).
    #[default]
    Opportunistic,
    /// Always, with whatever certificate; mail waits where there is none.
    Required,
}

/// `[outbound]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outbound {
    /// `"system"` (as `/etc/resolv.conf` says), or DNS servers as a list of `address:port`. Default: `"system"`.
    pub resolver: Resolver,
    /// Addresses to send from, used in turn. Default: the system's choice.
    pub source_addresses: Vec<IpAddr>,
    /// Destination domain to `host[:port]`, in place of its MX. Default: none.
    pub routes: BTreeMap<String, String>,
    /// `never`, `opportunistic` or `required`. Default: `opportunistic`.
    pub tls: OutboundTls,
    /// Send with BDAT (RFC 3030) to servers that offer it, otherwise with DATA. Default: true.
    pub chunking: bool,
    /// Connections of this process to all servers together. Default: 1,000.
    pub connections: usize,
    /// Connections of this process to one destination. Default: 20.
    pub connections_per_destination: usize,
    /// Messages over one connection. Default: 100.
    pub messages_per_connection: usize,
    /// How long a connection without work stays open. Default: 10 seconds.
    #[serde(with = "duration")]
    pub idle: Duration,
}

impl Default for Outbound {
    fn default() -> Self {
        Self {
            resolver: Resolver::Named(SystemResolver::System),
            source_addresses: Vec::new(),
            routes: BTreeMap::new(),
            tls: OutboundTls::default(),
            chunking: true,
            connections: 1000,
            connections_per_destination: 20,
            messages_per_connection: 100,
            idle: Duration::from_secs(10),
        }
    }
}

/// `[services]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Services {
    /// Where `mail-store` runs. Default: none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mail_store: String,
    /// Where `directory` runs. Default: none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub directory: String,
    /// Where `smtp-ingress` runs. Default: none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub submission: String,
    /// Where `delivery-worker` runs, which serves the operators' view of the queue. Default: none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub queue: String,
}

/// `[rpc]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rpc {
    /// This process's certificate towards other roles, both as server and as client, in PEM, leaf first; it bears the names of
    /// `[services]` it is called by. With it, roles speak mutual TLS. Default: none. Read at every new connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its key in PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The authority all roles' certificates come from, in PEM. Given exactly when `certificate` and `key` are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<PathBuf>,
    /// Serve `listeners.rpc` beyond loopback without TLS: for networks that encrypt by themselves. Default: false.
    pub insecure: bool,
    /// Calls at work at once on a listener; more are sent to another instance, or away. Default: 4,096.
    pub calls: usize,
}

impl Default for Rpc {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            authority: None,
            insecure: false,
            calls: 4096,
        }
    }
}

/// `[journal]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalConfig {
    /// How long a day's file is kept; 0 keeps no journal. Default: 30 days.
    #[serde(with = "duration")]
    pub kept: Duration,
}

impl Default for JournalConfig {
    fn default() -> Self {
        Self { kept: DAY * 30 }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// `[telemetry]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// `text` or `json`. Default: `text`.
    pub log: LogFormat,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or directives as in `info,postrider_smtp_ingress=debug`.
    /// Default: `info`.
    pub level: String,
    /// An OpenTelemetry collector (gRPC), as in `http://collector:4317`: traces and metrics are pushed there. Default: none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub otlp_endpoint: String,
    /// The fraction of messages that are traced when there is a collector, 0 to 1. Default: 0.01.
    pub sample_ratio: f64,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            log: LogFormat::default(),
            level: "info".into(),
            otlp_endpoint: String::new(),
            sample_ratio: 0.01,
        }
    }
}

const DAY: Duration = Duration::from_secs(86_400);

impl Default for Config {
    fn default() -> Self {
        Self {
            hostname: machine_name(),
            roles: vec![Role::All],
            data_dir: "postrider-data".into(),
            listeners: Listeners::default(),
            tls: Tls::default(),
            storage: Storage::default(),
            queue: Queue::default(),
            coordination: Coordination::default(),
            outbound: Outbound::default(),
            services: Services::default(),
            rpc: Rpc::default(),
            limits: Limits::default(),
            journal: JournalConfig::default(),
            telemetry: Telemetry::default(),
        }
    }
}

impl Config {
    /// Whether this process plays a role.
    pub fn plays(&self, role: Role) -> bool {
        self.roles.contains(&Role::All) || self.roles.contains(&role)
    }

    /// The effective configuration as `postrider.toml` would have it, secrets hidden.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
    }
}

fn machine_name() -> Domain {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let localhost = || Domain::new("localhost").unwrap_or_else(|_| unreachable!("`localhost` is a domain"));
    Domain::new(name.trim()).unwrap_or_else(|_| localhost())
}
