//! What a session is allowed to do, shared by all of a listener.

use std::time::Duration;

use postrider_sasl::Mechanism;

/// Settings of a listener; sessions share one through an `Arc`.
#[derive(Debug, Clone)]
pub struct Config {
    /// How the greeting names the server. Default: `localhost`.
    pub hostname: String,
    /// STARTTLS is offered (until TLS is on). Default: false.
    pub starttls: bool,
    /// Mechanisms offered by AUTHENTICATE, the strongest first. Those that show the password need TLS or
    /// [`crate::Session::allow_plaintext`]. Default: all.
    pub mechanisms: Vec<Mechanism>,
    /// The largest message APPEND takes, in bytes (APPENDLIMIT). Default: 50 MiB.
    pub append_limit: u64,
    /// Silence after which an unauthenticated session ends. Default: 1 minute.
    pub login_timeout: Duration,
    /// Silence after which an authenticated session ends, at least 30 minutes by RFC 9051 §5.4. Default: 30 minutes.
    pub idle_timeout: Duration,
    /// Failed authentications after which the connection ends. Default: 5.
    pub max_failures: u8,
    /// Sizes of input.
    pub limits: Limits,
}

/// Sizes of input, in bytes. Values above the [`Limits::MAX`] ones are cut to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A command's lines in all, literals apart. Default: 64 KiB.
    pub line: usize,
    /// A command's literals in all, messages apart. Default: 64 KiB.
    pub literals: usize,
    /// The lines' limit before authentication. Default: 8 KiB.
    pub line_before_login: usize,
    /// The literals' limit before authentication. Default: 4 KiB.
    pub literals_before_login: usize,
}

impl Limits {
    /// What no limit goes beyond: it decides [`postrider_wire::Session::MAX_BUFFERED`].
    pub const MAX: Limits = Limits {
        line: 64 << 10,
        literals: 64 << 10,
        line_before_login: 64 << 10,
        literals_before_login: 64 << 10,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 64 << 10,
            literals: 64 << 10,
            line_before_login: 8 << 10,
            literals_before_login: 4 << 10,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hostname: "localhost".into(),
            starttls: false,
            mechanisms: Mechanism::ALL.to_vec(),
            append_limit: 50 << 20,
            login_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(30 * 60),
            max_failures: 5,
            limits: Limits::default(),
        }
    }
}
