//! What a server offers, and its limits.

use std::time::Duration;

use crate::reply::{Enhanced, Reply};

/// Whether clients may or must say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthMode {
    /// AUTH is not known here (port 25).
    #[default]
    Off,
    /// AUTH is offered.
    Optional,
    /// MAIL before AUTH is refused with 530 5.7.0 (submission, RFC 6409 §4.3).
    Required,
}

/// What is the same for all connections of one listener.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our name in greeting, EHLO and 221.
    pub hostname: String,
    /// STARTTLS is offered while the connection is not encrypted.
    pub starttls: bool,
    /// AUTH. Mechanisms that send the password are offered inside TLS, or where the connection's owner allows it.
    pub auth: AuthMode,
    /// BINARYMIME is offered: content may then have bare CR, LF and NUL.
    pub binary_mime: bool,
    /// Limits.
    pub limits: Limits,
    /// Time-outs.
    pub timeouts: Timeouts,
}

/// Limits of one connection.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Octets of a message; announced with SIZE. RFC 5321 §4.5.3.1.7: at least 64 KiB.
    pub message_size: u64,
    /// Recipients of a message; announced with RCPTMAX. RFC 5321 §4.5.3.1.8: at least 100.
    pub recipients: u32,
    /// MAIL commands of a connection; announced with MAILMAX. One more closes it with 421.
    pub transactions: u32,
    /// Octets of a command line with its CRLF (RFC 5321 §4.5.3.1.4), extensions' room not counted.
    pub command_line: usize,
    /// Commands that are refused for their syntax, order or name; one more closes the connection with 421.
    pub errors: u32,
    /// Failed authentications; the last one closes the connection with 421.
    pub auth_failures: u32,
}

/// How long silence may last (RFC 5321 §4.5.3.2.7). A command line has to be whole within its time.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// Between commands.
    pub command: Duration,
    /// Between pieces of a message.
    pub data: Duration,
    /// Octets a second: a message may take `data`, and a second more for each so many octets that have come. Whoever sends a little now and
    /// then would otherwise hold what a message needs for ever.
    pub slowest: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hostname: "localhost".into(),
            starttls: false,
            auth: AuthMode::Off,
            binary_mime: true,
            limits: Limits::default(),
            timeouts: Timeouts::default(),
        }
    }
}

impl Default for Limits {
    /// 50 MiB, 1,000 recipients, 1,000 transactions, 512 octets, 10 errors, 3 failed authentications.
    fn default() -> Self {
        Self {
            message_size: 50 << 20,
            recipients: 1000,
            transactions: 1000,
            command_line: 512,
            errors: 10,
            auth_failures: 3,
        }
    }
}

impl Default for Timeouts {
    /// 5 minutes, 3 minutes, 256 octets a second: a tenth of what modems did.
    fn default() -> Self {
        Self {
            command: Duration::from_secs(300),
            data: Duration::from_secs(180),
            slowest: 256,
        }
    }
}

/// 552: the message is larger than we take.
pub(super) fn too_large() -> Reply {
    Reply::new(
        552,
        Enhanced(5, 3, 4),
        "the message is larger than this server takes",
    )
}

/// 550: the message has a bare CR or LF.
pub(super) fn bare_line_end() -> Reply {
    Reply::new(
        550,
        Enhanced(5, 6, 0),
        "the message has a bare CR or LF; lines end with CRLF",
    )
}
