//! The table of work: what is compared, in which unit, in what order.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::sink::Sink;
use super::system::{Sample, System};
use super::work::{append, copy, fetch, idle, inbound, outbound, pop3, push, search, select, session};

/// One row of the table.
pub struct Row {
    /// Its name on the command line and in files.
    pub key: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// What the value is.
    pub measure: Measure,
    /// Whether only Postrider does it.
    pub alone: bool,
    /// Rounds, when it is not worth as many as asked for.
    pub rounds: Option<u32>,
    /// What the reader must know.
    pub note: &'static str,
    /// Makes the work.
    pub make: fn() -> Box<dyn Work>,
}

/// What the value of a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Units per second: more is better.
    Rate,
    /// Bytes per unit: less is better.
    Bytes,
    /// Milliseconds: less is better.
    Milliseconds,
}

/// What every row may use.
pub struct Bench {
    /// How long a round goes on, where that can be chosen.
    pub time: Duration,
    /// Where outbound mail ends.
    pub sink: Sink,
    /// Idling connections to Postrider and to the peer.
    pub idle: [u64; 2],
}

/// Work that both systems do alike.
pub trait Work {
    /// What is not measured and done once per system: mailboxes are filled.
    fn prepare(&mut self, system: &mut System, bench: &Bench) -> Result<()> {
        let _ = (system, bench);
        Ok(())
    }

    /// One round, numbered from 0.
    fn round(&mut self, system: &mut System, round: u32, bench: &Bench) -> Result<Sample>;
}

impl Bench {
    /// The sink listens at `sink`.
    pub fn new(time: Duration, sink: SocketAddr, idle: [u64; 2]) -> Result<Self> {
        Ok(Self {
            time,
            sink: Sink::listen(sink)?,
            idle,
        })
    }

    /// How many connections idle on this system.
    pub fn idle_on(&self, system: &System) -> u64 {
        self.idle[usize::from(!system.is_postrider())]
    }
}

/// Accounts that a target must have: families of rows use ranks of their own below this.
pub const ACCOUNTS: u64 = 100;
/// Whom inbound mail is for, and who logs in again and again: ranks from 0.
pub const RECIPIENTS: u64 = 50;
/// Who appends: ten ranks from here.
pub const APPENDERS: u64 = 50;
/// Whose folders are large.
pub const READER: u64 = 60;
/// Whose maildrop is drained.
pub const DRAINED: u64 = 61;
/// Whose devices are told of mail: ranks from here to the last.
pub const WATCHERS: u64 = 80;

const READABLE: &str = "time stops when the last message is visible through IMAP";
const WARM: &str = "asked for once before";
const COLD: &str =
    "asked for the first time since the mailbox was filled; Postrider started again in between";

const fn row(key: &'static str, title: &'static str, unit: &'static str, make: fn() -> Box<dyn Work>) -> Row {
    Row {
        key,
        title,
        unit,
        measure: Measure::Rate,
        alone: false,
        rounds: None,
        note: "",
        make,
    }
}

const fn noted(row: Row, note: &'static str) -> Row {
    Row { note, ..row }
}

const fn at_most(row: Row, rounds: u32) -> Row {
    Row {
        rounds: Some(rounds),
        ..row
    }
}

const fn measured(row: Row, measure: Measure) -> Row {
    Row { measure, ..row }
}

const fn alone(row: Row) -> Row {
    Row { alone: true, ..row }
}

/// Every row, in the order in which they run. A new process idles first, before other work has left memory behind.
pub static ROWS: &[Row] = &[
    noted(
        at_most(
            measured(
                row("idle-plain", "IMAP in IDLE: memory", "connection", || {
                    Box::new(idle::Idle { tls: false })
                }),
                Measure::Bytes,
            ),
            1,
        ),
        idle::NOTE,
    ),
    noted(
        at_most(
            measured(
                row("idle-tls", "IMAP in IDLE with TLS: memory", "connection", || {
                    Box::new(idle::Idle { tls: true })
                }),
                Measure::Bytes,
            ),
            1,
        ),
        idle::NOTE,
    ),
    noted(
        measured(
            row("push-p99", "SMTP to a device in IDLE, p99", "message", || {
                Box::new(push::Push)
            }),
            Measure::Milliseconds,
        ),
        push::NOTE,
    ),
    noted(
        row("inbound-4k-1", "SMTP in, 4 KiB, 1 connection", "message", || {
            Box::new(inbound::Inbound::new(1, 4 << 10))
        }),
        READABLE,
    ),
    noted(
        row(
            "inbound-4k-10",
            "SMTP in, 4 KiB, 10 connections",
            "message",
            || Box::new(inbound::Inbound::new(10, 4 << 10)),
        ),
        READABLE,
    ),
    noted(
        row(
            "inbound-4k-50",
            "SMTP in, 4 KiB, 50 connections",
            "message",
            || Box::new(inbound::Inbound::new(50, 4 << 10)),
        ),
        READABLE,
    ),
    noted(
        row(
            "inbound-75k-10",
            "SMTP in, 75 KiB, 10 connections",
            "message",
            || Box::new(inbound::Inbound::new(10, 75 << 10)),
        ),
        READABLE,
    ),
    noted(
        row(
            "outbound-4k-10",
            "Submission to another server, 4 KiB, 100 domains",
            "message",
            || Box::new(outbound::Outbound::new(10, 4 << 10)),
        ),
        "time stops when the last message is at the sink",
    ),
    noted(
        row(
            "imap-session",
            "IMAP session: login, SELECT, 50 envelopes, logout",
            "session",
            || Box::new(session::Session),
        ),
        "10 at a time; passwords: Argon2id at Postrider (a verified one is remembered for a while), plain at the peer",
    ),
    noted(
        row(
            "fetch-flags-100000",
            "FETCH 1:* (FLAGS RFC822.SIZE), 100,000 messages",
            "message",
            || Box::new(fetch::Fetch::warm(100_000, fetch::FLAGS)),
        ),
        WARM,
    ),
    noted(
        row(
            "fetch-envelope-cold-10000",
            "FETCH 1:* envelopes, 10,000 messages, first time",
            "message",
            || Box::new(fetch::Fetch::cold(10_000, fetch::ENVELOPE)),
        ),
        COLD,
    ),
    noted(
        row(
            "fetch-envelope-10000",
            "FETCH 1:* envelopes, 10,000 messages, again",
            "message",
            || Box::new(fetch::Fetch::warm(10_000, fetch::ENVELOPE)),
        ),
        WARM,
    ),
    noted(
        at_most(
            row(
                "fetch-envelope-cold-100000",
                "FETCH 1:* envelopes, 100,000 messages, first time",
                "message",
                || Box::new(fetch::Fetch::cold(100_000, fetch::ENVELOPE)),
            ),
            1,
        ),
        COLD,
    ),
    noted(
        row(
            "fetch-envelope-100000",
            "FETCH 1:* envelopes, 100,000 messages, again",
            "message",
            || Box::new(fetch::Fetch::warm(100_000, fetch::ENVELOPE)),
        ),
        WARM,
    ),
    row("select-1000", "SELECT, 1,000 messages", "SELECT", || {
        Box::new(select::Select::warm(1000))
    }),
    alone(row(
        "select-1000000",
        "SELECT, 1,000,000 messages",
        "SELECT",
        || Box::new(select::Select::warm(1_000_000)),
    )),
    alone(measured(
        noted(
            row(
                "select-cold-1000000",
                "SELECT, 1,000,000 messages, first after a start",
                "SELECT",
                || Box::new(select::Select::cold(1_000_000)),
            ),
            "Postrider started again before each",
        ),
        Measure::Milliseconds,
    )),
    noted(
        row(
            "search-unseen-100000",
            "SEARCH UNSEEN, 100,000 messages",
            "SEARCH",
            || Box::new(search::Search { criterion: "UNSEEN" }),
        ),
        "1,000 of them are unseen",
    ),
    row(
        "search-from-100000",
        "SEARCH FROM, 100,000 messages",
        "SEARCH",
        || {
            Box::new(search::Search {
                criterion: "FROM sender7@",
            })
        },
    ),
    noted(
        row(
            "search-text-100000",
            "SEARCH TEXT, 100,000 messages",
            "SEARCH",
            || {
                Box::new(search::Search {
                    criterion: "TEXT \"order 99999\"",
                })
            },
        ),
        "neither has a full-text index: every message is read",
    ),
    row("append-4k-10", "APPEND, 4 KiB, 10 connections", "message", || {
        Box::new(append::Append)
    }),
    row("copy-10000", "COPY 1:*, 10,000 messages", "message", || {
        Box::new(copy::Copy)
    }),
    row(
        "pop3-drain",
        "POP3: 1,000 messages of 4 KiB read and deleted",
        "message",
        || Box::new(pop3::Drain),
    ),
];
