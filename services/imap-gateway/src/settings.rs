//! What can be set about this role.

use std::time::Duration;

use postrider_coordination::LoginLimits;
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
    /// Memory for envelopes that were asked for lately, in bytes. Default: 32 MiB.
    pub listing_cache_bytes: u64,
    /// Failed authentications before a connection is closed; at least 1. Default: 3.
    pub auth_failures: u8,
    /// Failed logins of an address, and for a user.
    pub logins: LoginLimits,
    /// How long to wait.
    pub timeouts: Timeouts,
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
            listing_cache_bytes: 32 << 20,
            auth_failures: 3,
            logins: LoginLimits::default(),
            timeouts: Timeouts::default(),
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

impl From<&postrider_runtime::Config> for Settings {
    /// What the node's configuration says of this role.
    fn from(node: &postrider_runtime::Config) -> Self {
        let limits = &node.limits;
        Self {
            hostname: node.hostname.to_string(),
            plaintext_auth: node.tls.plaintext_auth,
            append_limit: limits.message_size,
            connections_per_account: limits.connections_per_account,
            auth_failures: u8::try_from(limits.auth_failures_per_connection).unwrap_or(u8::MAX),
            logins: LoginLimits {
                per_address: limits.auth_failures_per_address,
                per_account: limits.auth_failures_per_account,
                window: limits.auth_failure_window,
                ..LoginLimits::default()
            },
            timeouts: Timeouts {
                login: limits.login,
                idle: limits.imap_idle,
                ..Timeouts::default()
            },
            ..Self::default()
        }
    }
}
