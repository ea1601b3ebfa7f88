//! Configuration of the role.

use std::time::Duration;

use postrider_coordination::LoginLimits;
use postrider_runtime::config::PlaintextAuth;

/// What the role may do, and how long it waits.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name in the greeting. Default: `localhost`.
    pub hostname: String,
    /// Where passwords may be sent without TLS. Default: loopback.
    pub plaintext_auth: PlaintextAuth,
    /// Commands that failed before a connection is closed. Default: 25.
    pub errors: usize,
    /// Failed logins before a connection is closed. Default: 3.
    pub auth_failures: usize,
    /// Failed logins of an address, and for a user.
    pub logins: LoginLimits,
    /// Messages of a maildrop shown at a time; of a larger one the oldest, and the others once those are deleted. Default:
    /// 1,000,000 (32 MB).
    pub messages: usize,
    /// Messages on their way out at a time; more wait. Default: 1,024.
    pub retrievals: usize,
    /// Time-outs.
    pub timeouts: Timeouts,
}

/// How long to wait.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// Of a session that is silent (RFC 1939 §3 asks for 10 minutes at least). Default: 10 minutes.
    pub idle: Duration,
    /// For somebody to log in. Default: 1 minute.
    pub login: Duration,
    /// For the directory. Default: 10 seconds.
    pub directory: Duration,
    /// For an answer of the mail store, and for the next part of a listing. Default: 30 seconds.
    pub store: Duration,
    /// How long a maildrop stays locked when the process that has it is gone. Default: 1 minute.
    pub lock: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hostname: "localhost".into(),
            plaintext_auth: PlaintextAuth::default(),
            errors: 25,
            auth_failures: 3,
            logins: LoginLimits::default(),
            messages: 1_000_000,
            retrievals: 1024,
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(600),
            login: Duration::from_secs(60),
            directory: Duration::from_secs(10),
            store: Duration::from_secs(30),
            lock: Duration::from_secs(60),
        }
    }
}

impl From<&postrider_runtime::Config> for Config {
    /// What the node's configuration says of this role.
    fn from(node: &postrider_runtime::Config) -> Self {
        let limits = &node.limits;
        Self {
            hostname: node.hostname.to_string(),
            plaintext_auth: node.tls.plaintext_auth,
            errors: limits.errors_per_connection.max(1),
            auth_failures: limits.auth_failures_per_connection.max(1),
            logins: LoginLimits {
                per_address: limits.auth_failures_per_address,
                per_account: limits.auth_failures_per_account,
                window: limits.auth_failure_window,
                ..LoginLimits::default()
            },
            timeouts: Timeouts {
                idle: limits.pop3_idle,
                login: limits.login,
                ..Timeouts::default()
            },
            ..Self::default()
        }
    }
}
