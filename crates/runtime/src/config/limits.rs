//! `[limits]`: what anybody may use of the node.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::{duration, size};

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The largest message. Default: 50 MiB.
    #[serde(with = "size")]
    pub message_size: u64,
    /// Recipients of one message (RFC 5321 §4.5.3.1.8 asks for 100 at least). Default: 1,000.
    pub recipients: usize,
    /// `Received:` lines after which a message is taken to be in a loop (RFC 5321 §6.3). Default: 100.
    pub received_lines: u32,
    /// Message bytes this process may hold at a time; when they are spent, readers wait. Default: 256 MiB.
    #[serde(with = "size")]
    pub in_flight_bytes: u64,

    /// Connections of one listener. Default: 50,000.
    pub connections: usize,
    /// Connections of one listener from one address (IPv6: from one /64); 0: no limit. Default: 200.
    pub connections_per_address: usize,
    /// IMAP connections of one account. Default: 100.
    pub connections_per_account: usize,
    /// Messages over one SMTP connection. Default: 1,000.
    pub messages_per_connection: usize,
    /// Commands that failed before an SMTP or POP3 connection is closed. Default: 25.
    pub errors_per_connection: usize,

    /// Wrong passwords before a connection is closed. Default: 3.
    pub auth_failures_per_connection: usize,
    /// Wrong passwords from one address within `auth_failure_window` before it is refused unheard. Default: 50.
    pub auth_failures_per_address: u64,
    /// Wrong passwords for one account within `auth_failure_window` before it is refused unheard. Default: 100.
    pub auth_failures_per_account: u64,
    /// How long a wrong password is counted. Default: 10 minutes.
    #[serde(with = "duration")]
    pub auth_failure_window: Duration,

    /// Recipients one account may submit to in an hour; 0: no limit. Default: 2,000.
    pub submitted_per_hour: u64,
    /// Messages one address may deliver in a minute; 0: no limit. Default: 0.
    pub received_per_minute: u64,

    /// Silence before an SMTP connection is closed (RFC 5321 §4.5.3.2.7 asks for 5 minutes). A message that comes in small pieces has as long,
    /// and a second more for each 256 octets. Default: 5 minutes.
    #[serde(with = "duration")]
    pub smtp_idle: Duration,
    /// Silence before a POP3 connection is closed (RFC 1939 §3 asks for 10 minutes). Default: 10 minutes.
    #[serde(with = "duration")]
    pub pop3_idle: Duration,
    /// Silence before an IMAP connection is closed (RFC 9051 §5.4 asks for 30 minutes). Default: 30 minutes.
    #[serde(with = "duration")]
    pub imap_idle: Duration,
    /// How long a POP3 or IMAP connection may take to log in. Default: 1 minute.
    #[serde(with = "duration")]
    pub login: Duration,
    /// How long a TLS handshake may take. Default: 30 seconds.
    #[serde(with = "duration")]
    pub handshake: Duration,
    /// How long a write may wait for a peer that does not read. Default: 5 minutes.
    #[serde(with = "duration")]
    pub write: Duration,
    /// How long sessions may take to end when the node is stopped. Default: 30 seconds.
    #[serde(with = "duration")]
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        Self {
            message_size: 50 << 20,
            recipients: 1000,
            received_lines: 100,
            in_flight_bytes: 256 << 20,
            connections: 50_000,
            connections_per_address: 200,
            connections_per_account: 100,
            messages_per_connection: 1000,
            errors_per_connection: 25,
            auth_failures_per_connection: 3,
            auth_failures_per_address: 50,
            auth_failures_per_account: 100,
            auth_failure_window: minutes(10),
            submitted_per_hour: 2000,
            received_per_minute: 0,
            smtp_idle: minutes(5),
            pop3_idle: minutes(10),
            imap_idle: minutes(30),
            login: minutes(1),
            handshake: Duration::from_secs(30),
            write: minutes(5),
            drain: Duration::from_secs(30),
        }
    }
}
