//! How the worker behaves, and the defaults.

use std::net::IpAddr;
use std::time::Duration;

use postrider_runtime::config::{Config, OutboundTls, QueueEngine, Resolver, SystemResolver};
use postrider_smtp::client::Timeouts;
use postrider_types::Domain;

use crate::routes::{RouteError, Routes};

/// Settings of a worker. [`Settings::new`] takes them from `[outbound]` and `[limits]`; the rest has its default here.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our name in EHLO, and in the MX records that lead back to us. Default: the configured `hostname`.
    pub hostname: Domain,
    /// What overrides DNS. Default: none.
    pub routes: Routes,
    /// How other servers are reached.
    pub network: Network,
    /// How long a connection is used.
    pub reuse: Reuse,
    /// How much is done at a time.
    pub limits: Limits,
    /// How often units whose wake-up was lost are looked for. Default: 5 minutes.
    pub reconcile_every: Duration,
    /// How long a unit whose notification could not be made waits until that is tried again. Default: 1 minute.
    pub owed: Duration,
    /// How long attempts under way may go on when the node stops. Default: 30 seconds.
    pub drain: Duration,
}

/// How other servers are reached.
#[derive(Debug, Clone)]
pub struct Network {
    /// Who answers lookups. Default: as the system does.
    pub resolver: Resolver,
    /// Addresses to send from, used in turn. Default: the system's choice.
    pub source_addresses: Vec<IpAddr>,
    /// STARTTLS. Default: when offered.
    pub tls: OutboundTls,
    /// BDAT where it is offered. Default: yes.
    pub chunking: bool,
    /// The port of mail exchangers. Default: 25.
    pub port: u16,
    /// How long a TCP connection may take to come about. Default: 30 seconds.
    pub connect: Duration,
    /// Addresses tried in one attempt. Default: 8.
    pub addresses: usize,
    /// How long replies may take (RFC 5321 §4.5.3.2).
    pub timeouts: Timeouts,
    /// How long the transfer of one message may take in all. Default: 1 hour.
    pub message: Duration,
}

/// How long a connection is used.
#[derive(Debug, Clone)]
pub struct Reuse {
    /// Messages over one connection. Default: 100.
    pub messages: usize,
    /// How long it stays open without work. Default: 10 seconds.
    pub idle: Duration,
    /// Its age after which no message is begun any more. Default: 5 minutes.
    pub age: Duration,
}

/// How much is done at a time.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections to all servers together. Default: 1,000.
    pub connections: usize,
    /// Connections to one destination; it is begun with fewer. Default: 20.
    pub per_destination: usize,
    /// Due units that wait in memory (about 100 bytes each) for a connection. Default: 50,000.
    pub waiting: usize,
    /// Those of one destination, and never more than there is room left; further ones are put off. Default: 20,000.
    pub waiting_per_destination: usize,
    /// Deliveries to our own accounts at a time. Default: 32.
    pub local: usize,
    /// Message bytes in memory. Default: 256 MiB.
    pub in_flight_bytes: u64,
    /// The largest message that a notification returns whole, in bytes. Default: 10 MiB.
    pub returned: u64,
}

impl Settings {
    /// Everything by default, for a host of this name.
    pub fn for_host(hostname: Domain) -> Self {
        Self {
            hostname,
            routes: Routes::default(),
            network: Network::default(),
            reuse: Reuse::default(),
            limits: Limits::default(),
            reconcile_every: Duration::from_secs(300),
            owed: Duration::from_secs(60),
            drain: Duration::from_secs(30),
        }
    }

    /// What the node's configuration says.
    pub fn new(config: &Config) -> Result<Self, RouteError> {
        let outbound = &config.outbound;
        let defaults = Self::for_host(config.hostname.clone());
        Ok(Self {
            routes: Routes::parse(&outbound.routes)?,
            network: Network {
                resolver: outbound.resolver.clone(),
                source_addresses: outbound.source_addresses.clone(),
                tls: outbound.tls,
                chunking: outbound.chunking,
                ..defaults.network
            },
            reuse: Reuse {
                messages: outbound.messages_per_connection,
                idle: outbound.idle,
                ..defaults.reuse
            },
            limits: Limits {
                connections: outbound.connections,
                per_destination: outbound.connections_per_destination,
                in_flight_bytes: config.limits.in_flight_bytes,
                ..defaults.limits
            },
            reconcile_every: match config.queue.engine {
                QueueEngine::Kafka => config.queue.kafka.find_lost,
                _ => defaults.reconcile_every,
            },
            drain: config.limits.drain,
            ..defaults
        })
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            resolver: Resolver::Named(SystemResolver::System),
            source_addresses: Vec::new(),
            tls: OutboundTls::default(),
            chunking: true,
            port: 25,
            connect: Duration::from_secs(30),
            addresses: 8,
            timeouts: Timeouts::default(),
            message: Duration::from_secs(3600),
        }
    }
}

impl Default for Reuse {
    fn default() -> Self {
        Self {
            messages: 100,
            idle: Duration::from_secs(10),
            age: Duration::from_secs(300),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1000,
            per_destination: 20,
            waiting: 50_000,
            waiting_per_destination: 20_000,
            local: 32,
            in_flight_bytes: 256 << 20,
            returned: 10 << 20,
        }
    }
}
