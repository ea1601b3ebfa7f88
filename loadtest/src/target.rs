//! The server under load, as its clients see it: addresses, accounts, and (when it runs on this machine) its processes.

use std::net::SocketAddr;

use postrider_types::Secret;
use serde::{Deserialize, Deserializer, Serialize};

/// Where and what to load. A TOML file; unknown keys are errors.
///
/// ```toml
/// name = "Postrider 0.1"
/// smtp = "127.0.0.1:2525"
/// submission = "127.0.0.1:2587"
/// imap = "127.0.0.1:2143"
/// pop3 = "127.0.0.1:2110"
/// tls = "never"
/// metrics = "http://127.0.0.1:9625/metrics"
/// processes = [4711]
///
/// [accounts]
/// domain = "hamburger.edu"
/// pattern = "user{}"
/// first = 0
/// count = 100
/// password = "hungry"
/// ```
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The system's name and version, for the report.
    pub name: String,
    /// Where other servers bring mail; without it no `mx` actors.
    pub smtp: Option<SocketAddr>,
    /// Where users hand in mail.
    pub submission: Option<SocketAddr>,
    /// IMAP in the clear or with STARTTLS.
    pub imap: Option<SocketAddr>,
    /// POP3 in the clear or with STLS.
    pub pop3: Option<SocketAddr>,
    /// Whether clients use TLS.
    #[serde(default)]
    pub tls: Tls,
    /// A Prometheus page with the queue's depth, sampled every second.
    pub metrics: Option<String>,
    /// Process ids whose trees are sampled for CPU and memory (only on this machine).
    #[serde(default)]
    pub processes: Vec<u32>,
    /// Process ids of what those stand on and did not write themselves: databases, brokers, balancers. `compare` shows their CPU apart.
    #[serde(default)]
    pub engines: Vec<u32>,
    /// Who has a mailbox there.
    pub accounts: Accounts,
    /// Domains whose mail the server is routed to send to the sink: recipients of outbound mail.
    #[serde(default)]
    pub remote_domains: Vec<String>,
}

/// Whether a client upgrades to TLS. Certificates are not verified: this is a load generator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// In the clear.
    #[default]
    Never,
    /// STARTTLS or STLS before anything else.
    Start,
}

/// The accounts of the server, numbered.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Accounts {
    /// The part after the @.
    pub domain: String,
    /// The part before it; `{}` is the number.
    pub pattern: String,
    /// The first number.
    #[serde(default)]
    pub first: u64,
    /// How many accounts.
    pub count: u64,
    /// Everybody's password; never written into a report.
    #[serde(skip_serializing, deserialize_with = "secret")]
    pub password: Secret,
}

impl Accounts {
    /// The address of the account with this rank (0 is the one the Zipf law favours); ranks past the end wrap around.
    pub fn address(&self, rank: u64) -> String {
        let number = self.first + rank % self.count.max(1);
        let local = self.pattern.replacen("{}", &number.to_string(), 1);
        format!("{local}@{}", self.domain)
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}
