//! Every engine and every role taken away while a cluster of processes serves: what is said over SMTP, IMAP and POP3, what the log
//! says (once), what the metrics show, and that everything is well again by itself.
//!
//! Needs the test engines: `cargo xtask engines up`. Faults stay between a test's own processes and the engines (proxies), or are done
//! to engines of the test's own, so that other tests may use the engines meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod clock;
mod database;
mod guarded;
mod kafka;
mod redis;
mod refusals;
mod roles;
mod start;
mod support;
