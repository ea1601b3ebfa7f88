//! How a client connects.

use std::time::Duration;

use postrider_types::Secret;

/// What is the same for all connections of one purpose.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our name in EHLO.
    pub name: String,
    /// STARTTLS.
    pub tls: Tls,
    /// AUTH, before the first message.
    pub credentials: Option<Credentials>,
    /// Send with BDAT where CHUNKING is offered. BINARYMIME always does.
    pub chunking: bool,
    /// Time-outs.
    pub timeouts: Timeouts,
}

/// Whether STARTTLS is used. On a connection that was encrypted from its beginning (`tls_started` was called before
/// the first step) it never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    /// Never.
    Off,
    /// When offered. If the handshake fails, connect again with `Off`.
    #[default]
    Opportunistic,
    /// Always; without it the connection fails.
    Required,
}

/// Who we are.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// The password may be sent without TLS (loopback, tests).
    pub allow_plaintext: bool,
}

/// How long to wait for a reply (RFC 5321 §4.5.3.2).
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// For the greeting.
    pub greeting: Duration,
    /// For the reply to EHLO, MAIL, RCPT and everything not named here.
    pub command: Duration,
    /// For 354.
    pub data: Duration,
    /// For the reply to the final dot: the server may be working.
    pub end: Duration,
    /// For the reply to QUIT.
    pub quit: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "localhost".into(),
            tls: Tls::default(),
            credentials: None,
            chunking: false,
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Timeouts {
    /// 5 minutes for greeting and commands, 2 for 354, 10 for the end, 5 seconds for QUIT.
    fn default() -> Self {
        Self {
            greeting: Duration::from_secs(300),
            command: Duration::from_secs(300),
            data: Duration::from_secs(120),
            end: Duration::from_secs(600),
            quit: Duration::from_secs(5),
        }
    }
}
