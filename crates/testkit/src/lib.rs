//! A node to test against, clients by hand, a DNS server: what end-to-end tests stand on.
//!
//! * [`node::Node`] runs the real binary in a data directory of its own, on a loopback address of its own with the default
//!   ports, so that any number of nodes run side by side and no port has to be guessed.
//! * [`wire::Wire`] is a person at a terminal: lines out, lines in, every one bounded in time, the dialogue kept for the
//!   message of a failed test.
//! * [`collector::Collector`] is an OpenTelemetry collector that remembers the spans it is sent.
//! * [`peer`] is a scripted SMTP server, the Internet at its worst.
//!
//! Everything here panics when an expectation fails: it is test code.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

pub mod collector;
pub mod dns;
pub mod imap;
pub mod node;
pub mod peer;
pub mod wire;
