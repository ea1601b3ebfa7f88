//! Where the database is, and how long to wait for it.

use std::path::PathBuf;
use std::time::Duration;

use crate::{Error, Result};

/// Settings of a session. The defaults suit a cluster whose servers give up after 2 to 10 seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `host:port` of some nodes; the others are found through them.
    pub contact_points: Vec<String>,
    /// The keyspace: letters, digits and `_`, at most 48, a letter first, lower case. Default: `postrider`.
    pub keyspace: String,
    /// Copies of every row in a datacenter, used when the keyspace is made. Default: 3.
    pub replication_factor: u32,
    /// The datacenter to work in, by the name the nodes give it; empty: the one of the first node that answers, for a cluster that has
    /// only one. Default: empty.
    pub datacenter: String,
    /// User name; empty: no authentication.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// TLS; `None`: plain TCP.
    pub tls: Option<Tls>,
    /// How long a read may take, retries included. Default: 5 s.
    pub read_deadline: Duration,
    /// How long an unconditional write may take, retries included. Default: 10 s.
    pub write_deadline: Duration,
    /// How long a conditional write or a serial read may take. Longer than the server's own limit for these, so that it is
    /// the server who says what happened. Default: 12 s.
    pub conditional_deadline: Duration,
    /// A read that has no answer after this is sent to a second node too. Default: 250 ms.
    pub speculate_after: Duration,
    /// Requests under way at once; more wait for their turn as long as their deadline lasts. Default: 1024.
    pub concurrency: usize,
}

/// TLS towards the nodes. Their certificates must name the host or address that is connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the authorities that sign the nodes' certificates.
    pub ca: PathBuf,
    /// PEM file of our own certificate chain, if the nodes ask for one.
    pub certificate: Option<PathBuf>,
    /// PEM file of its key.
    pub key: Option<PathBuf>,
}

/// A text that does not show in debug output.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            contact_points: vec!["127.0.0.1:9042".into()],
            keyspace: "postrider".into(),
            replication_factor: 3,
            datacenter: String::new(),
            user: String::new(),
            password: Secret::default(),
            tls: None,
            read_deadline: Duration::from_secs(5),
            write_deadline: Duration::from_secs(10),
            conditional_deadline: Duration::from_secs(12),
            speculate_after: Duration::from_millis(250),
            concurrency: 1024,
        }
    }
}

impl Config {
    /// Refuses settings that cannot work, saying which.
    pub fn validate(&self) -> Result<()> {
        let name = |text: &str| {
            let first = text.bytes().next();
            first.is_some_and(|byte| byte.is_ascii_lowercase())
                && text.len() <= 48
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let deadlines = [self.read_deadline, self.write_deadline, self.conditional_deadline];
        let rules = [
            (!self.contact_points.is_empty(), "contact_points must name a node"),
            (
                name(&self.keyspace),
                "keyspace must be up to 48 lower case letters, digits and _",
            ),
            (
                (1..=9).contains(&self.replication_factor),
                "replication_factor must be from 1 to 9",
            ),
            (
                !self.datacenter.contains(['\'', '\\']),
                "datacenter must not contain quotes",
            ),
            (
                deadlines.iter().all(|deadline| !deadline.is_zero()),
                "deadlines must be above 0",
            ),
            (
                (1..=100_000).contains(&self.concurrency),
                "concurrency must be from 1 to 100000",
            ),
        ];
        match rules.iter().find(|(kept, _)| !kept) {
            Some((_, rule)) => Err(Error::Refused(format!("database settings: {rule}"))),
            None => Ok(()),
        }
    }
}
