//! What can be set about this role.

use std::time::Duration;

use postrider_runtime::config::PlaintextAuth;

/// Settings of the gateway, for all its listeners.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How the greeting names the server. Default: `localhost`.
    pub hostname: String,
    /// STARTTLS is offered on connections that began in the clear. Default: true.
    pub starttls: bool,
    /// Where passwords may be sent without TLS. Default: loopback.
    pub plaintext_auth: PlaintextAuth,
    /// The largest message APPEND takes, in bytes. Default: 50 MiB.
    pub append_limit: u64,
    /// Connections of one account; 0: no limit. Default: 100.
    pub connections_per_account: usize,
    /// Memory for folder indexes that no session holds, in bytes. Default: 16 MiB.
    pub index_cache_bytes: u64,
    /// Limits of guessing.
    pub failures: Failures,
    /// How long to wait.
    pub timeouts: Timeouts,
}

/// Failed authentications. 0: no limit.
#[derive(Debug, Clone)]
pub struct Failures {
    /// On one connection before it is closed; at least 1. Default: 3.
    pub per_connection: u8,
    /// Of one address within the window. Default: 50.
    pub per_address: u64,
    /// For one user name within the window. Default: 100.
    pub per_account: u64,
    /// Default: 10 minutes.
    pub window: Duration,
    /// How long the answer to the first failure of a connection is held back; to the second, twice as long, and so on.
    /// Default: 1 second.
    pub delay: Duration,
}

/// How long to wait.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// Silence before login. Default: 1 minute.
    pub login: Duration,
    /// Silence after login (RFC 9051 §5.4 asks for 30 minutes at least). Default: 30 minutes.
    pub idle: Duration,
    /// For the directory. Default: 5 seconds.
    pub directory: Duration,
    /// For one answer of the mail store. Default: 30 seconds.
    pub store: Duration,
    /// For the mail store to search a folder, or to have a message stored. Default: 10 minutes.
    pub long: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hostname: "localhost".into(),
            starttls: true,
            plaintext_auth: PlaintextAuth::default(),
            append_limit: 50 << 20,
            connections_per_account: 100,
            index_cache_bytes: 16 << 20,
            failures: Failures::default(),
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Failures {
    fn default() -> Self {
        Self {
            per_connection: 3,
            per_address: 50,
            per_account: 100,
            window: Duration::from_secs(600),
            delay: Duration::from_secs(1),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            login: Duration::from_secs(60),
            idle: Duration::from_secs(30 * 60),
            directory: Duration::from_secs(5),
            store: Duration::from_secs(30),
            long: Duration::from_secs(600),
        }
    }
}
